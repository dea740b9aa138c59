"""Runs of windows side by side: medians of heads, folds of users, tests on other data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp import worker
from fitexp.report import plots
from fitexp.report.compare import compare
from fitexp.run import PREDICTIONS, Run
from tests.toy_run import ALLOW
from tests.window_run import window_run


@pytest.fixture(autouse=True, scope="module")
def no_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return window_run(tmp_path_factory.mktemp("runs") / "heads", loss="joint_heads")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    baseline = {"global_mean": {"_target_": "fitexp.models.window_means.GlobalMean"}}
    folder = tmp_path_factory.mktemp("runs") / "plain"
    return window_run(folder, data__baselines=baseline)


def test_mae_is_of_the_median_and_rmse_of_the_mean(heads: Run, plain: Run) -> None:
    found, left_out = compare([heads, plain], by=["loss.heads"], resamples=200)
    assert left_out == []
    assert found.metrics == ["test/rmse_bpm", "test/mae_bpm"]
    row = next(row for row in found.rows if row.kind == "group" and heads in own(row.results))
    table = pd.read_parquet(heads.file(PREDICTIONS))
    error = table[["prediction", "median"]].sub(table["target"], axis=0)
    assert row.cells["test/mae_bpm"].mean == pytest.approx(error["median"].abs().mean())
    assert row.cells["test/mae_bpm"].mean != pytest.approx(error["prediction"].abs().mean())
    assert row.cells["test/rmse_bpm"].mean == pytest.approx(np.sqrt((error**2).mean().iloc[0]))
    low, high = row.cells["test/mae_bpm"].low, row.cells["test/mae_bpm"].high
    assert low is not None
    assert high is not None
    assert low <= row.cells["test/mae_bpm"].mean <= high


def own(results: object) -> list[Run]:
    return [result.run for result in results]  # type: ignore[attr-defined]


def test_differences_of_runs_are_paired_over_the_same_windows(heads: Run, plain: Run) -> None:
    """Both are tested on the same windows: the difference is that of their errors."""
    found, _ = compare([heads, plain], by=["loss.heads"], resamples=200, against="global_mean")
    table = pd.read_parquet(plain.file(PREDICTIONS))
    mean = (table["baseline_global_mean"] - table["target"]).abs().mean()
    for row in (row for row in found.rows if row.kind == "group"):
        cell = row.cells["test/mae_bpm"]
        assert cell.difference == pytest.approx(cell.mean - mean)


@pytest.mark.parametrize("metric", ["test/band90_coverage", "test/band90_width_bpm"])
def test_figures_of_bands_can_be_asked_for(heads: Run, plain: Run, metric: str) -> None:
    found, left_out = compare([heads, plain], by=["loss.heads"], metrics=[metric], resamples=200)
    assert left_out == []
    values = {row.cells[metric].mean for row in found.rows if row.kind == "group"}
    assert values == {run.metrics[metric] for run in (heads, plain)}


def test_folds_of_users_are_one_result(tmp_path: Path) -> None:
    folds = {"data__folds": 3, "data__fractions": [1.0, 0.0, 0.0]}
    runs = [
        window_run(tmp_path / str(fold), "window_global_mean", **folds, data__fold=fold)
        for fold in range(3)
    ]
    found, left_out = compare(runs, resamples=200)
    assert left_out == []
    (row,) = found.rows
    assert len(row.cells["test/rmse_bpm"].values) == 1
    table = pd.concat([pd.read_parquet(run.file(PREDICTIONS)) for run in runs])
    assert table["user_id"].nunique() == 12
    error = table["prediction"] - table["target"]
    assert row.cells["test/rmse_bpm"].mean == pytest.approx(np.sqrt((error**2).mean()))
    assert "3 folds pooled" in found.protocols[""]["split"]
    apart, _ = compare(runs[:2], resamples=200)
    assert len(apart.rows) == 2


def test_a_test_on_other_data_stands_under_its_own_protocol(heads: Run) -> None:
    child, _ = worker.evaluate(heads, ["data.source.seed=1", "data.fractions=[0,0.5,0.5]"], ALLOW)
    assert {"low", "high", "median"} <= set(pd.read_parquet(child.file(PREDICTIONS)))
    found, left_out = compare([heads, child], resamples=200)
    assert left_out == []
    marks = {row.results[0].run.path.name: row.mark for row in found.rows if row.kind == "group"}
    assert set(marks.values()) == {"a", "b"}
    words = found.protocols[marks[child.path.name]]
    assert words["trained on"] == "other data than it is tested on (fitexp evaluate)"
