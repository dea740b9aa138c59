"""Made-up runs of rankings whose ranks are known, compared, and beside a paper's figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp import cli
from fitexp.report.compare import Comparison, Row, compare
from fitexp.report.compare_sheets import document
from fitexp.report.document import FORMATS
from fitexp.report.paper_table import paper_table
from fitexp.report.rankings import score
from fitexp.report.reproduce import document as reproduced
from fitexp.run import (
    BEST,
    CONFIG_KEYS,
    DESCRIBED,
    METRICS,
    PREDICTIONS,
    Run,
    identity,
    write_json,
)
from tests.report.test_compare import made

ITEMS = 30
RANKED = ("rank_of_target", "baseline_bigram_rank", "baseline_popularity_rank", "ceiling_rank")


def ranked(
    folder: Path,
    *,
    model: str = "net",
    better: int = 0,
    seed: int = 0,
    users: int = 12,
    events: int = 9,
    repeats: int = 1,
    again: bool = True,
) -> Run:
    """A finished run of rankings without ties. The model's rank is the bigram's, `better` places
    up, of other lots for each seed. again: an item can come again, so no seen mask."""
    world = np.random.default_rng(3)
    own = np.random.default_rng([seed, len(model)])
    one = pd.DataFrame(
        [
            {"unit_id": f"u{user}:{step}", "user_id": f"u{user}", "step": step}
            for user in range(users)
            for step in range(3, 3 + int(world.integers(3, events)))
        ]
    )
    one["target"] = [f"item{n}" for n in world.integers(0, ITEMS, len(one))]
    bigram = world.integers(1, 15, len(one))
    one["baseline_bigram_rank"] = bigram.astype(float)
    one["baseline_popularity_rank"] = bigram + 8.0
    one["ceiling_rank"] = 1.0
    parts = []
    for repeat in range(repeats):
        rank = np.maximum(bigram - better + own.integers(-1, 2, len(one)), 1)
        parts.append(one.assign(fold=repeat, rank_of_target=rank.astype(float)))
    table = pd.concat(parts, ignore_index=True)
    for column in RANKED:
        ties = column.replace("rank_of", "ties_of").replace("_rank", "_ties")
        table[ties] = 1.0
        table[f"{ties}_seen_mask"] = 1.0
        masked = np.maximum(table[column] - 1, 1)
        masked[(table["step"] == 3) & again] = np.nan
        table[f"{column}_seen_mask"] = masked
    table["prediction"] = "item0"
    table["p_target"] = table["p_prediction"] = 0.5
    words = {"data": "made SIMULATED", "split": f"leave one user out: {repeats} repeats"}
    full = {**dict.fromkeys(CONFIG_KEYS), "seed": seed, "model": {"_target_": f"x.{model}.Net"}}
    full["data"] = {"repeats": repeats}
    run = Run.create(
        folder,
        full,
        {"kind": "exercises", "simulated": True, "protocol": words},
        {
            "choices": {"model": model, "data": "made"},
            "data_hash": "d",
            "split_hash": "s",
            "identity": identity(full, "d"),
        },
    )
    with run.working():
        table.sample(frac=1, random_state=seed).to_parquet(run.file(PREDICTIONS), index=False)
        write_json(run.file(METRICS), {**score(table, "test"), "count/test/users": users})
        run.file(BEST).write_bytes(b"weights")
    return run


def row(comparison: Comparison, label: str) -> Row:
    (found,) = [row for row in comparison.rows if row.label == label]
    return found


def test_top_figures_beside_counters_and_the_ceiling(tmp_path: Path) -> None:
    runs = [ranked(tmp_path / str(s), better=4, seed=s) for s in range(2)]
    found, left_out = compare(runs, resamples=300)
    assert left_out == []
    assert found.metrics == ["test/top1", "test/top5", "test/top10"]
    ceiling = "ceiling of the simulator"
    assert [row.label for row in found.rows] == ["net", "bigram", "popularity", ceiling]
    for metric in found.metrics:
        cell = row(found, "net").cells[metric]
        assert cell.values == [run.metrics[metric] for run in runs]
        assert cell.clusters == "12 users"
        assert cell.against == "bigram"  # the best: the highest
        assert cell.difference is not None
        assert cell.difference > 0
    top5 = row(found, ceiling).cells["test/top5"]
    assert (top5.low, top5.mean, top5.high) == (100.0, 100.0, 100.0)
    assert top5.difference is None
    text = FORMATS["table"](document(found))
    assert "higher is better   SIMULATED DATA" in text
    assert "above zero is better" in text


@pytest.mark.parametrize(("name", "places"), [("top5", 5), ("top10", 10)])
def test_intervals_equal_a_slow_bootstrap_over_users(
    tmp_path: Path, name: str, places: int
) -> None:
    """An event that two models answered counts twice, as it does in the figure."""
    run = ranked(tmp_path / "a", better=2, repeats=2)
    found, _ = compare([run], metrics=[f"test/{name}"], resamples=200, seed=4)
    table = pd.read_parquet(run.file(PREDICTIONS))
    parts = [part for _, part in table.groupby("user_id", sort=True)]
    own, differences = [], []
    for drawn in np.random.default_rng(4).integers(0, 12, (200, 12)):
        taken = pd.concat([parts[u] for u in drawn])
        hits = [100 * (taken[c] <= places).mean() for c in RANKED[:2]]
        own.append(hits[0])
        differences.append(hits[0] - hits[1])
    cell = row(found, "net").cells[f"test/{name}"]
    assert (cell.low, cell.high) == pytest.approx(tuple(np.quantile(own, [0.025, 0.975])))
    expected = tuple(np.quantile(differences, [0.025, 0.975]))
    assert (cell.difference_low, cell.difference_high) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mrr", "ndcg10", "top1_seen_mask", "ndcg10_seen_mask"])
def test_every_figure_of_ranks_has_an_interval(tmp_path: Path, name: str) -> None:
    run = ranked(tmp_path / "a", again=False)
    found, left_out = compare([run], metrics=[f"test/{name}"], resamples=200)
    assert left_out == []
    cell = row(found, "net").cells[f"test/{name}"]
    assert cell.mean == run.metrics[f"test/{name}"]
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < cell.mean < cell.high


def test_repeats_do_not_change_what_was_tested(tmp_path: Path) -> None:
    """Runs of one and of three repeats are both compared with a counter of either."""
    runs = [ranked(tmp_path / "a"), ranked(tmp_path / "b", model="other", repeats=3)]
    found, _ = compare(runs, metrics=["test/top10"], resamples=200)
    bigram = row(found, "bigram (a,b)").cells["test/top10"]
    assert bigram.reference
    for label in ("net (a)", "other (b)"):
        cell = row(found, label).cells["test/top10"]
        assert cell.difference == pytest.approx(cell.mean - bigram.mean)


def test_other_events_are_not_compared(tmp_path: Path) -> None:
    runs = [ranked(tmp_path / "a"), ranked(tmp_path / "b", model="other", events=8)]
    found, _ = compare(runs, metrics=["test/top10"], resamples=200)
    against = [row(found, name).cells["test/top10"].against for name in ("net (a)", "other (b)")]
    assert against == ["bigram (a)", "bigram (b)"]


def test_few_users_are_resampled_by_events_within(tmp_path: Path) -> None:
    found, _ = compare([ranked(tmp_path / "a", users=4)], resamples=200)
    assert any("within 4 users; seeds as they are; FEW USERS" in note for note in found.notes)


def test_rankings_and_workouts_are_not_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "w", users=2)
    ranked(tmp_path / "e")
    assert cli.main(["compare", str(tmp_path), "--metric", "test/top1"]) == 2
    error = capsys.readouterr().err
    assert "exercises" in error
    assert "workouts" in error
    assert "compare runs of one kind" in error
    assert len(error.splitlines()) == 1


def test_predictions_that_do_not_give_the_figures_are_left_out(tmp_path: Path) -> None:
    good, bad = ranked(tmp_path / "a"), ranked(tmp_path / "b", seed=1)
    table = pd.read_parquet(bad.file(PREDICTIONS))
    table["rank_of_target"] += 1
    table.to_parquet(bad.file(PREDICTIONS), index=False)
    found, left_out = compare([good, bad], resamples=100)
    assert len(found.rows[0].cells["test/top1"].values) == 1
    assert left_out == [
        f"{bad.path}: damaged (predictions.parquet does not give the test/top1 of metrics.json)"
    ]


def test_figures_between_0_and_1_have_three_digits(tmp_path: Path) -> None:
    found, _ = compare([ranked(tmp_path / "a")], metrics=["test/mrr", "test/top1"], resamples=200)
    text = FORMATS["table"](document(found))
    cells = row(found, "net").cells
    assert f"{cells['test/mrr'].mean:.3f} [" in text
    assert f"{cells['test/top1'].mean:.2f} [" in text


def test_a_papers_figures_stand_beside_measured_ranks(tmp_path: Path) -> None:
    runs = {"a": [ranked(tmp_path / str(s), better=4, seed=s) for s in range(2)]}
    rows = [{"row": "net", "experiment": "a", "paper": {"test/top1": 63.78}}]
    section = {"name": "study", "metrics": ["test/top1", "test/top5"], "rows": rows}
    table = paper_table("x", {"title": "t", "source": "Made, 2020", "sections": [section]})
    found = reproduced(table, runs, quick=True)
    records = {(r["row"], r["metric"]): r for r in found.records}
    first = records["study: net", "test/top1"]
    assert first["paper"] == 63.78
    assert first["measured"]["mean"] == pytest.approx(
        np.mean([run.metrics["test/top1"] for run in runs["a"]])
    )
    assert records["study: ceiling of the simulator", "test/top5"]["kind"] == "ceiling"
    text = FORMATS["table"](found)
    assert "difference to bigram [95 % interval] adjusted p; above zero is better" in text
    assert "SIMULATED" in text
    assert json.loads(FORMATS["json"](found))[0]["simulated"] is True


def test_what_a_model_does_not_read_stands_beneath(tmp_path: Path) -> None:
    """The protocol says what the data offer; two models of it may read other parts."""
    runs = [ranked(tmp_path / name, model=name) for name in ("items", "all", "more")]
    for run in (runs[0], runs[2]):
        write_json(run.file(DESCRIBED), {"not read": "profile of items"})
    comparison, _ = compare(runs)
    assert "not read by items, more: profile of items" in comparison.notes
    assert sum(note.startswith("not read") for note in comparison.notes) == 1
    assert len(comparison.protocols) == 1
