"""Made-up runs whose errors are known, compared."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import cli, retrieval
from fitexp.errors import InputError
from fitexp.report import statistics
from fitexp.report.compare import Comparison, Row, _by_unit, compare
from fitexp.report.compare_sheets import document, records
from fitexp.report.document import FORMATS
from fitexp.report.results import score
from fitexp.report.unit_errors import _of_predictions
from fitexp.run import (
    BEST,
    CONFIG_KEYS,
    METRICS,
    PREDICTIONS,
    RECOMMEND,
    Run,
    identity,
    write_json,
)

WORDS = {"data": "SIMULATED made", "target": "heart_rate (bpm)", "history": "previous"}


def printed(name: str, found: Comparison) -> str:
    return FORMATS[name](document(found))


def made(
    folder: Path,
    *,
    model: str = "good",
    better: float = 0.0,
    seed: int = 0,
    users: int = 20,
    workouts: int = 3,
    world: int = 0,
    words: Mapping[str, str] = WORDS,
    horizons: Mapping[str, int] | None = None,
    unit: str = "bpm",
    simulated: bool = True,
    shuffle: bool = False,
    **config: Any,
) -> Run:
    """A finished run. The baseline user_mean errs by |N(0, 8)|; the model as much, less `better`
    per cent."""
    rng = np.random.default_rng([7, world])
    steps = {} if horizons is None else dict(horizons)
    rows = []
    for user in range(users):
        sd = rng.uniform(4, 12)
        for workout in range(workouts):
            length = int(rng.integers(5, 15))
            for ahead in steps.values() or (1,):
                rows.append(
                    pd.DataFrame(
                        {
                            "unit_id": f"w{user}-{workout}",
                            "user_id": f"u{user}",
                            "fold": 0,
                            "step": np.arange(length) + ahead,
                            "target": rng.normal(140, 15, length),
                            "sd": sd * math.sqrt(ahead),
                            "steps_ahead": ahead,
                        }
                    )
                )
    table = pd.concat(rows, ignore_index=True)
    noise = table.pop("sd") * rng.normal(size=len(table))
    table["baseline_user_mean"] = table["target"] + noise
    table["baseline_global_mean"] = table["target"] + 2 * noise
    table["expected"] = table["target"] + 0.1 * noise
    own = np.random.default_rng([seed, len(model)]).normal(0, 0.5, len(table))
    table["prediction"] = table["target"] + noise * (1 - better / 100) + own
    if not steps:
        table = table.drop(columns="steps_ahead")
    spec = {"unit": unit, "simulated": simulated, "horizons": steps, "protocol": dict(words)}
    spec |= {"kind": "workouts"}
    full = {**dict.fromkeys(CONFIG_KEYS), "seed": seed, "model": {"_target_": f"x.{model}.Net"}}
    for key, value in config.items():
        group, _, name = key.partition("__")
        full[group] = {**(full[group] or {}), name: value}
    data = f"{users}{workouts}{world}{sorted(words.items())}"
    run = Run.create(
        folder,
        full,
        spec,
        {
            "choices": {"model": model, "data": "made"},
            "seed": seed,
            "data_hash": data,
            "split_hash": "s",
            "identity": identity(full, data),
        },
    )
    with run.working():
        metrics = score(table, SimpleNamespace(horizons=steps, unit=unit, step_unit="m"), "test")  # type: ignore[arg-type]
        if shuffle:
            table = table.sample(frac=1, random_state=1)
        table.to_parquet(run.file(PREDICTIONS), index=False)
        write_json(run.file(METRICS), {**metrics, f"val/mae_{unit}": 7.0 + seed})
        run.file(BEST).write_bytes(b"weights")
    return run


def row(comparison: Comparison, label: str) -> Row:
    (found,) = [row for row in comparison.rows if row.label == label]
    return found


def labels(comparison: Comparison) -> list[str]:
    return [row.label for row in comparison.rows]


def test_seeds_are_averaged_beside_baselines_and_the_ceiling(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(s), better=20, seed=s) for s in range(3)]
    runs.append(made(tmp_path / "other", model="other", seed=0))
    found, left_out = compare(runs, resamples=500)
    assert left_out == []
    assert found.metrics == ["test/mae_bpm", "test/rmse_bpm"]
    noise_floor = "noise floor of the simulator"
    assert labels(found) == ["good", "other", "user_mean", "global_mean", noise_floor]
    for metric in found.metrics:
        values = [run.metrics[metric] for run in runs[:3]]
        cell = row(found, "good").cells[metric]
        assert cell.mean == pytest.approx(np.mean(values))
        assert cell.sd == pytest.approx(np.std(values, ddof=1))
        assert len(cell.values) == 3
        assert cell.low is not None
        assert cell.high is not None
        assert cell.low < cell.mean < cell.high
        assert cell.clusters == "20 users"
        assert not cell.few_users
    assert len(row(found, "user_mean").cells["test/mae_bpm"].values) == 1
    assert row(found, "other").cells["test/mae_bpm"].sd is None
    assert "0, 1, 2" in found.notes[0]


@pytest.mark.parametrize("metric", ["mae", "rmse", "mae_sequence", "rmse_sequence"])
def test_weights_of_one_give_the_printed_metric(tmp_path: Path, metric: str) -> None:
    run = made(tmp_path / "a", shuffle=True)
    errors = _of_predictions(pd.read_parquet(run.file(PREDICTIONS)), f"test/{metric}_bpm", {})
    assert len(errors) == 4
    for (prefix, name), found in errors.items():
        printed = run.metrics[f"{prefix}{name}"]
        assert float(statistics.pooled(_by_unit([found]))) == pytest.approx(printed, rel=1e-12)


@pytest.mark.slow
def test_differences_equal_a_slow_bootstrap_over_users(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(s), better=10, seed=s, users=12) for s in range(2)]
    found, _ = compare(runs, metrics=["test/rmse_bpm"], resamples=200, seed=4)
    tables = [pd.read_parquet(run.file(PREDICTIONS)) for run in runs]
    users = sorted(tables[0]["user_id"].unique())
    differences = []
    for drawn in np.random.default_rng(4).integers(0, 12, (200, 12)):
        seeds = []
        for table in tables:
            taken = pd.concat([table[table["user_id"] == users[u]] for u in drawn])
            error = [taken[c] - taken["target"] for c in ("prediction", "baseline_user_mean")]
            seeds.append([np.sqrt((e**2).mean()) for e in error])
        own, other = np.mean(seeds, axis=0)
        differences.append(own - other)
    cell = row(found, "good").cells["test/rmse_bpm"]
    assert cell.against == "user_mean"
    low, high = np.quantile(differences, [0.025, 0.975])
    assert (cell.difference_low, cell.difference_high) == pytest.approx((low, high))
    reference = row(found, "user_mean").cells["test/rmse_bpm"].mean
    assert cell.difference == pytest.approx(cell.mean - reference)


def test_an_oracle_is_a_reference_only_where_it_is_asked_for(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    table = pd.read_parquet(run.file(PREDICTIONS))
    table["baseline_user_mean_oracle"] = table["target"] + 0.5
    table.to_parquet(run.file(PREDICTIONS))
    oracle = {f"baseline/user_mean_oracle/test/{e}_bpm": 0.5 for e in ("mae", "rmse")}
    write_json(run.file(METRICS), {**run.metrics, **oracle})
    for asked, reference in ((None, "user_mean"), ("user_mean_oracle",) * 2):
        found, _ = compare([run], against=asked, resamples=50)
        assert row(found, "good").cells["test/mae_bpm"].against == reference
        assert row(found, "user_mean_oracle").cells["test/mae_bpm"].mean == pytest.approx(0.5)


def test_a_known_effect_is_found_and_no_effect_is_not(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a", model="strong", better=10)]
    runs += [made(tmp_path / "b", model="null", better=0.0)]
    found, _ = compare(runs, metrics=["test/mae_bpm"])
    strong, null = (row(found, name).cells["test/mae_bpm"] for name in ("strong", "null"))
    assert strong.difference == pytest.approx(-0.1 * 6.4, rel=0.25)
    assert strong.difference_high is not None
    assert strong.difference_high < 0
    assert strong.p_adjusted is not None
    assert strong.p_adjusted < 0.01
    assert null.difference_low is not None
    assert null.difference_high is not None
    assert null.difference_low < 0 < null.difference_high
    assert null.p_adjusted is not None
    assert null.p_adjusted > 0.05
    p = [c.p for r in found.rows for c in r.cells.values() if c.p is not None]
    adjusted = [c.p_adjusted for r in found.rows for c in r.cells.values() if c.p is not None]
    np.testing.assert_allclose(adjusted, statistics.holm(p))
    # the same two against each other
    found, _ = compare(runs, metrics=["test/mae_bpm"], against="strong")
    assert row(found, "user_mean").cells["test/mae_bpm"].against == "strong"
    null = row(found, "null").cells["test/mae_bpm"]
    assert null.difference_low is not None
    assert null.difference_low > 0


@pytest.mark.slow
def test_false_alarms_are_rare(tmp_path: Path) -> None:
    """One model under 40 worlds, its errors drawn like the reference's: p < 0.05 in few."""
    low = 0
    for world in range(40):
        run = made(tmp_path / str(world), world=world)
        table = pd.read_parquet(run.file(PREDICTIONS))
        sign = np.random.default_rng(world).permutation(len(table))
        noise = (table["baseline_user_mean"] - table["target"]).to_numpy()
        table["prediction"] = table["target"] + noise[sign]
        table["baseline_user_mean"] = table["target"] + np.roll(noise[sign], 1)
        table.to_parquet(run.file(PREDICTIONS))
        spec = SimpleNamespace(horizons={}, unit="bpm", step_unit="m")
        write_json(run.file(METRICS), score(table, spec, "test"))  # type: ignore[arg-type]
        found, _ = compare([run], metrics=["test/mae_bpm"], resamples=500)
        p = row(found, "good").cells["test/mae_bpm"].p
        assert p is not None
        low += p < 0.05
    assert low <= 6


def test_pairing_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    found = []
    for shuffle in (False, True):
        folder = tmp_path / str(shuffle)
        runs = [made(folder / "a", better=5), made(folder / "b", model="o", shuffle=shuffle)]
        found.append(records(compare(runs, resamples=300)[0]))
    for one, other in zip(*found, strict=True):
        for key in ("mean", "low", "high", "difference", "p_adjusted"):
            assert one[key] == pytest.approx(other[key]), key


def test_few_users_are_marked_and_their_workouts_resampled(tmp_path: Path) -> None:
    found, _ = compare([made(tmp_path / "a", users=4, workouts=3)], resamples=300)
    cell = row(found, "good").cells["test/mae_bpm"]
    assert cell.clusters == "12 units within 4 users"
    assert cell.few_users
    for name in FORMATS:
        assert ("few_users" if name in ("json", "csv") else "FEW USERS") in printed(name, found)
    found, _ = compare([made(tmp_path / "b", users=1, workouts=1)], resamples=300)
    cell = row(found, "good").cells["test/mae_bpm"]
    assert (cell.low, cell.difference, cell.p) == (None, None, None)
    assert any("no interval" in note for note in found.notes)


def test_horizons_of_the_short_regime(tmp_path: Path) -> None:
    horizons = {"10s": 1, "60s": 6}
    runs = [made(tmp_path / str(s), better=20, seed=s, horizons=horizons) for s in range(2)]
    names = ["test/at_60s/mae_bpm", "test/mae_bpm", "test/at_10s/rmse_bpm"]
    found, _ = compare(runs, metrics=names, resamples=300)
    assert found.metrics == names
    for name in names:
        cell = row(found, "good").cells[name]
        assert cell.mean == pytest.approx(np.mean([run.metrics[name] for run in runs]))
        assert cell.difference is not None
        assert cell.difference < 0
    far, near = (row(found, "user_mean").cells[name].mean for name in names[:2])
    assert far > 2 * near
    assert max(map(len, printed("table", found).splitlines())) <= 100


def test_a_metric_without_predictions_has_no_interval(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(s), seed=s) for s in range(2)]
    found, _ = compare(runs, metrics=["val/mae_bpm"])
    (only,) = found.rows[:1]
    cell = only.cells["val/mae_bpm"]
    assert (cell.mean, cell.low, cell.difference) == (7.5, None, None)
    assert "val/mae_bpm is not computed" in found.notes[-1]
    assert "7.50" in printed("table", found)


# Ranks of recommended plans


def ranked(folder: Path, ranks: Mapping[str, list[list[int]]], *, seed: int = 0) -> Run:
    """A finished run with ranks among 10: way of ranking -> user -> workouts."""
    run = made(folder, seed=seed)
    tests = [
        retrieval.Tested(
            f"u{u:02}", f"w{u}-{w}", ["c"] * 10, {way: float(ranks[way][u][w]) for way in ranks}
        )
        for u, own in enumerate(ranks[""])
        for w in range(len(own))
    ]
    found = retrieval.Retrieval(tests[::-1], 0)
    write_json(run.file(METRICS), run.metrics | found.metrics())
    write_json(run.file(RECOMMEND), found.written())
    return run


def test_intervals_of_ranks_equal_a_slow_bootstrap_over_users(tmp_path: Path) -> None:
    """Users have 1 to 3 workouts; seeds are averaged; the best baseline has the highest figure."""
    rng = np.random.default_rng(3)
    sizes = [1 + u % 3 for u in range(12)]
    ways = {"nearest_duration": (6, 11), "nearest_speed": (1, 4)}
    beside = {way: [rng.integers(*span, n).tolist() for n in sizes] for way, span in ways.items()}
    own = [[rng.integers(1, 6, n).tolist() for n in sizes] for _ in range(2)]
    runs = [ranked(tmp_path / str(seed), {"": own[seed], **beside}, seed=seed) for seed in range(2)]
    metrics = [f"test/recommend/{name}" for name in ("mrr", "hit_at_1")]
    found, left_out = compare(runs, metrics=metrics, resamples=200, seed=4)
    assert left_out == []
    drawn = np.random.default_rng(4).integers(0, 12, (200, 12))
    scores = {metrics[0]: lambda rank: 1 / rank, metrics[1]: lambda rank: float(rank <= 1)}
    for metric, score_of in scores.items():

        def mean(users: np.ndarray, ranks: list[list[int]], of: Any = score_of) -> float:
            return float(np.mean([of(rank) for u in users for rank in ranks[u]]))

        model = [np.mean([mean(users, ranks) for ranks in own]) for users in drawn]
        speed = [mean(users, beside["nearest_speed"]) for users in drawn]
        cell = row(found, "good").cells[metric]
        assert (cell.low, cell.high) == pytest.approx(tuple(np.quantile(model, [0.025, 0.975])))
        assert cell.against == "nearest_speed"
        apart = np.subtract(model, speed)
        low, high = np.quantile(apart, [0.025, 0.975])
        assert (cell.difference_low, cell.difference_high) == pytest.approx((low, high))
    expected = row(found, "random").cells[metrics[1]]
    assert (expected.low, expected.mean, expected.high) == pytest.approx((0.1, 0.1, 0.1))
    text = printed("table", found)
    assert "adjusted p; above zero is better" in text
    assert "12 users" in text


def test_ranks_that_are_not_those_of_the_figures_are_left_out(tmp_path: Path) -> None:
    ranks = {"": [[1], [2]], "nearest_duration": [[3], [4]]}
    kept, old, none, other = (
        ranked(tmp_path / name, ranks, seed=s)
        for s, name in enumerate(("kept", "old", "none", "other"))
    )
    file = old.file(RECOMMEND)
    file.write_text(file.read_text().replace('"user"', '"person"'))
    none.file(RECOMMEND).unlink()
    write_json(other.file(METRICS), {**other.metrics, "test/recommend/mrr": 0.5})
    found, left_out = compare(
        [kept, old, none, other], metrics=["test/recommend/mrr"], resamples=100
    )
    assert [r.run.path.name for r in found.rows[0].results] == ["kept"]
    for line, said in zip(
        left_out,
        (
            f"KeyError: 'user'; fitexp recommend {old.path} --evaluate writes it",
            "no recommend.json",
            "recommend.json does not give the test/recommend/mrr of metrics.json",
        ),
        strict=True,
    ):
        assert said in line


# Protocols


def test_differing_protocols_are_marked_and_printed(tmp_path: Path) -> None:
    other = {**WORDS, "history": "none"}
    runs = [made(tmp_path / "a"), made(tmp_path / "b", seed=1, words=other)]
    found, _ = compare(runs, resamples=300)
    # the same steps and baselines: these stand once, under both
    assert labels(found)[:3] == ["good (a)", "good (b)", "user_mean (a,b)"]
    assert row(found, "good (b)").cells["test/mae_bpm"].against == "user_mean (a,b)"
    for name in ("table", "md", "latex"):
        text = printed(name, found)
        assert "(a) previous" in text
        assert "(b) none" in text
        assert "DIFFERING" in text
    by_label = {r["group"]: r["protocol"] for r in records(found)}
    assert by_label["good (a)"]["history"] == "previous"
    assert by_label["user_mean (a,b)"]["history"] == "previous | none"


def test_no_difference_across_different_test_steps(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a"), made(tmp_path / "b", model="other", world=1)]
    found, _ = compare(runs, resamples=300)
    assert labels(found)[:2] == ["good (a)", "other (b)"]
    against = [row(found, name).cells["test/mae_bpm"].against for name in labels(found)[:2]]
    assert against == ["user_mean (a)", "user_mean (b)"]
    found, _ = compare(runs, resamples=300, against="good")
    assert row(found, "other (b)").cells["test/mae_bpm"].difference is None
    assert row(found, "user_mean (b)").cells["test/mae_bpm"].difference is None
    assert row(found, "user_mean (a)").cells["test/mae_bpm"].difference is not None
    assert any("no difference in test/mae_bpm for other (b)" in note for note in found.notes)


def test_units_have_columns_of_their_own(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a"), made(tmp_path / "b", unit="km_h", words={"data": "speed"})]
    found, _ = compare(runs, resamples=300)
    assert found.metrics[0] == "test/mae_bpm"
    assert found.metrics[2] == "test/mae_km_h"
    assert list(row(found, "good (b)").cells) == ["test/mae_km_h", "test/rmse_km_h"]


# Groups


def test_groups_by_what_differs_but_the_seed(tmp_path: Path) -> None:
    runs = [
        made(tmp_path / f"{score}{seed}", seed=seed, model__score=score, optimizer__lr=lr)
        for score, lr in (("linear", 0.1), ("tanh", 0.2))
        for seed in (0, 1)
    ]
    found, _ = compare(runs, resamples=100)
    assert labels(found)[:2] == ["good score=linear", "good score=tanh"]  # lr follows
    found, _ = compare(runs, by=["optimizer.lr"], resamples=100)
    assert labels(found)[:2] == ["lr=0.1", "lr=0.2"]
    found, _ = compare(runs, by=["model", "data"], resamples=100)
    assert labels(found)[0] == "good made"
    assert len(found.rows[0].results) == 4
    assert any("MORE THAN SEEDS: model.score = linear, tanh" in note for note in found.notes)
    found, _ = compare(runs, against="score=tanh", resamples=100)
    assert row(found, "good score=tanh").cells["test/mae_bpm"].reference


def test_groups_are_in_natural_order(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(d), model__hidden=d) for d in (16, 8, 128)]
    found, _ = compare(runs, resamples=100)
    assert labels(found)[:3] == [f"good hidden={d}" for d in (8, 16, 128)]


def test_typos_name_the_closest(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a", model__score="tanh")]
    with pytest.raises(InputError, match=r"no metric 'test/mea_bpm'.*did you mean test/mae_bpm"):
        compare(runs, metrics=["test/mea_bpm"])
    with pytest.raises(InputError, match=r"no key 'model.scoer'; did you mean model.score\?"):
        compare(runs, by=["model.scoer"])
    with pytest.raises(InputError, match="'user_maen'; did you mean user_mean"):
        compare(runs, against="user_maen")


def test_an_ambiguous_reference_is_refused(tmp_path: Path) -> None:
    runs = [made(tmp_path / s, model__score=s) for s in ("linear", "tanh")]
    with pytest.raises(InputError, match="names several groups: 'good score=linear', 'good"):
        compare(runs, against="good", resamples=100)
    other = {**WORDS, "history": "none"}
    runs = [made(tmp_path / "a"), made(tmp_path / "b", words=other)]
    with pytest.raises(InputError, match=r"several protocols: 'good \(a\)', 'good \(b\)'"):
        compare(runs, against="good", resamples=100)
    assert compare(runs, against="good (b)", resamples=100)


# What is left out


def test_unfinished_damaged_and_repeated_runs_are_named(tmp_path: Path) -> None:
    good = made(tmp_path / "good")
    failed = made(tmp_path / "failed")
    failed.update(status="failed")
    bare = made(tmp_path / "bare", seed=1)
    bare.file(PREDICTIONS).unlink()
    broken = made(tmp_path / "broken", seed=2)
    broken.file(PREDICTIONS).write_bytes(b"PAR1")
    wrong = made(tmp_path / "wrong", seed=3)
    write_json(wrong.file(METRICS), {**wrong.metrics, "test/mae_bpm": 1.0})
    again = made(tmp_path / "again")
    again.update(created="9999")
    found, left_out = compare([good, failed, bare, broken, wrong, again], resamples=100)
    assert [r.run.path.name for r in found.rows[0].results] == ["again"]
    assert [line.partition(": ")[0].rpartition("/")[2] for line in left_out] == [
        "failed",
        "good",
        "bare",
        "broken",
        "wrong",
    ]
    for line, said in zip(
        left_out,
        ("failed", "the same run", "no predictions", "damaged", "does not give the test/mae_bpm"),
        strict=True,
    ):
        assert said in line
    with pytest.raises(InputError, match="no finished run"):
        compare([failed])
    with pytest.raises(InputError, match="no finished run is left"):
        compare([bare])


# Formats and the command


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_holds_baselines_protocol_and_simulated(tmp_path: Path, name: str) -> None:
    long = "a_name_of_a_model_that_is_longer_than_the_table_has_room_for_in_its_first_column"
    runs = [made(tmp_path / "a", better=20), made(tmp_path / "b", model=long)]
    text = printed(name, compare(runs, resamples=100)[0])
    plain = text.replace("\\_", "_")
    for word in ("SIMULATED", "user_mean", "global_mean", "noise floor", "previous", long):
        assert word in plain, word
    if name not in ("json", "csv"):
        assert max(map(len, text.splitlines())) <= 100
    real = made(tmp_path / "c", simulated=False, words={"data": "recorded"})
    assert "SIMULATED" not in printed(name, compare([real], resamples=100)[0])


def test_json_and_csv_have_the_agreed_keys(tmp_path: Path) -> None:
    found, _ = compare([made(tmp_path / "a")], resamples=100)
    rows = json.loads(printed("json", found))
    keys = ["group", "metric", "mean", "sd", "n", "low", "high"]
    keys += ["against", "difference", "p_adjusted", "protocol"]
    assert list(rows[0])[: len(keys)] == keys
    assert rows[0]["sd"] is None
    assert rows[0]["protocol"]["data"] == "SIMULATED made"
    assert [r["metric"] for r in rows if r["group"] == "user_mean"] == [
        "test/mae_bpm",
        "test/rmse_bpm",
    ]
    lines = list(csv.DictReader(io.StringIO(printed("csv", found))))
    assert [line["group"] for line in lines] == [r["group"] for r in rows]
    assert float(lines[0]["mean"]) == rows[0]["mean"]


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        made(tmp_path / "outputs" / f"seed{seed}", seed=seed, better=20)
    made(tmp_path / "outputs" / "cut").update(status="interrupted")
    (tmp_path / "outputs" / "notes.txt").write_text("x")
    for words in (["outputs"], ["outputs/seed*", "outputs/cut"], ["outputs/*"]):
        assert cli.main(["compare", *words, "--format", "json", "--metric=test/mae_bpm"]) == 0
        printed = capsys.readouterr()
        rows = json.loads(printed.out)
        assert (rows[0]["group"], rows[0]["n"]) == ("good", 2)
        assert rows[0]["difference"] < 0
        assert "left out: outputs/cut: interrupted" in printed.err
    assert cli.main(["compare", "outputs", "--metric", "test/mae_bmp"]) == 2
    assert "did you mean test/mae_bpm?" in capsys.readouterr().err
    assert cli.main(["compare", "outputs/cut"]) == 2
    assert "no finished run to compare (outputs/cut: interrupted)" in capsys.readouterr().err
    assert cli.main(["compare", "outputs", "--by", "model,data", "--against", "global_mean"]) == 0
    assert "reference   global_mean for test/mae_bpm, test/rmse_bpm" in capsys.readouterr().out
