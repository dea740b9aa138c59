"""What a test's files say of every user: of scores by hand, and files that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fitexp.errors import InputError
from fitexp.report.unit_errors import read
from fitexp.run import METRICS, PREDICTIONS, RECOMMEND, SCORES, SPEC, Run, write_json

MAE, MRR, AUC = "test/mae_bpm", "test/recommend/mrr", "test/transfer/age_years/auc_pca99"
ALONE = "baseline/resting_hr_alone/"
OF = {MAE: PREDICTIONS, MRR: RECOMMEND, AUC: SCORES}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three users of a workout each; all that is written of them, by hand."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    users = ["b", "c", "a"]
    pd.DataFrame(
        {"user_id": users, "unit_id": ["1", "2", "3"], "step": 0, "target": 100.0}
        | {"prediction": [101.0, 98.0, 106.0]}
    ).to_parquet(run.file(PREDICTIONS))
    workouts = [
        {"user": user, "workout": "w", "candidates": ["x", "y"], "figures": {"": {"mrr": mrr}}}
        for user, mrr in zip(users, (1.0, 0.5, 0.0), strict=True)
    ]
    write_json(run.file(RECOMMEND), {"workouts": workouts})
    _write_scores(run, {"": [0.9, 0.4, 0.4], ALONE: [0.1, 0.7, 0.3]})
    write_json(run.file(SPEC), {"unit": "bpm"})
    metrics = {MAE: 3.0, MRR: 0.5, AUC: 75.0, ALONE + AUC: 50.0}
    write_json(run.file(METRICS), metrics)
    return run


def _write_scores(run: Run, scores: dict[str, list[float]]) -> None:
    """Of users b, c and a, the first two in the upper class."""
    parts = [
        {"user_id": ["b", "c", "a"], "prefix": prefix, "metric": AUC, "score": score}
        | {"upper": [True, True, False]}
        for prefix, score in scores.items()
    ]
    pd.concat(map(pd.DataFrame, parts)).to_parquet(run.file(SCORES))


def test_scores_are_of_users_in_order_whatever_the_files(run: Run) -> None:
    found = read(run, [AUC])
    assert list(found) == [("", AUC), (ALONE, AUC)]
    own, alone = found.values()
    for errors in (own, alone):
        assert errors.users.tolist() == errors.units.tolist() == ["a", "b", "c"]
        assert errors.count.tolist() == [0, 1, 1]
        assert errors.form == "auc"
    assert own.total.tolist() == [0.4, 0.9, 0.4]
    assert own.tested == alone.tested
    assert own.value == 75  # b scores above a, c as a: 1.5 of 2
    assert alone.value == 50  # c scores above a, b below it


def test_other_users_or_classes_are_another_test(run: Run) -> None:
    tested = read(run, [AUC])["", AUC].tested
    table = pd.read_parquet(run.file(SCORES))
    for column, values in (("user_id", ["b", "c", "d"] * 2), ("upper", [True, False, True] * 2)):
        table.assign(**{column: values}).to_parquet(run.file(SCORES))
        write_json(run.file(METRICS), {AUC: _auc(run), ALONE + AUC: _auc(run, ALONE)})
        assert read(run, [AUC])["", AUC].tested != tested


def _auc(run: Run, prefix: str = "") -> float:
    table = pd.read_parquet(run.file(SCORES))
    own = table[table["prefix"] == prefix]
    return 100 * float(roc_auc_score(own["upper"], own["score"]))


@pytest.mark.parametrize("name", [MAE, MRR, AUC])
def test_figures_of_all_files_are_those_of_the_metrics(run: Run, name: str) -> None:
    assert read(run, [name])["", name].value == pytest.approx(run.metrics[name])
    assert set(read(run, [MAE, MRR, AUC])) >= {("", MAE), ("", MRR), ("", AUC), (ALONE, AUC)}


REMEDY = {
    MAE: "",
    MRR: "; fitexp recommend {} --evaluate writes it",
    AUC: "; fitexp transfer {} --evaluate writes it",
}


@pytest.mark.parametrize("name", [MAE, MRR, AUC])
def test_a_file_that_is_missing_is_named(run: Run, name: str) -> None:
    run.file(OF[name]).unlink()
    with pytest.raises(InputError) as raised:
        read(run, [name])
    assert str(raised.value) == f"no {OF[name]}{REMEDY[name].format(run.path)}"


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _without_users(file: Path) -> None:
    if file.suffix == ".parquet":
        pd.read_parquet(file).drop(columns="user_id").to_parquet(file)
    else:
        file.write_text(file.read_text().replace('"user"', '"person"'))


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _without_users, _empty])
@pytest.mark.parametrize("name", [MAE, MRR, AUC])
def test_a_damaged_file_is_named(run: Run, name: str, damage: Callable[[Path], None]) -> None:
    damage(run.file(OF[name]))
    with pytest.raises(InputError) as raised:
        read(run, [name])
    said = str(raised.value)
    assert said.startswith(f"{OF[name]}: ")
    assert said.endswith(REMEDY[name].format(run.path))


@pytest.mark.parametrize("name", [MAE, MRR, AUC, ALONE + AUC])
def test_a_file_of_other_figures_is_refused(run: Run, name: str) -> None:
    write_json(run.file(METRICS), run.metrics | {name: run.metrics[name] + 0.01})
    metric = name.removeprefix(ALONE)
    with pytest.raises(InputError) as raised:
        read(run, [metric])
    assert str(raised.value) == f"{OF[metric]} does not give the {name} of metrics.json"


def test_scores_that_lack_a_metric_are_refused(run: Run) -> None:
    """A file of an older transfer: without it the metric would have no interval, unsaid."""
    other = AUC.replace("age_years", "bmi")
    write_json(run.file(METRICS), run.metrics | {other: 60.0})
    with pytest.raises(InputError, match=f"^{SCORES} does not give the {other} of metrics.json$"):
        read(run, [AUC, other])


def test_other_metrics_have_no_units(run: Run) -> None:
    assert read(run, ["val/mae_bpm", "test/ece"]) == {}
