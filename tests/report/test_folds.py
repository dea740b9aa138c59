"""Folds of unseen athletes are one result: every athlete tested once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp.report.compare import compare
from fitexp.run import PREDICTIONS, Run
from tests.report.test_compare import WORDS, made


def folds(folder: Path, model: str = "good", seed: int = 0, better: float = 20) -> list[Run]:
    """Three folds of different athletes, as data.split=user gives them."""
    runs = []
    for fold in range(3):
        words = {**WORDS, "split": f"by athlete, fold {fold} of 3"}
        run = made(
            folder / f"{model}{seed}{fold}",
            model=model,
            seed=seed,
            better=better,
            users=8,
            world=fold,
            words=words,
            data__split="user",
            data__folds=3,
            data__fold=fold,
        )
        table = pd.read_parquet(run.file(PREDICTIONS))
        for column in ("user_id", "unit_id"):  # other people in every fold
            table[column] = f"f{fold}" + table[column].astype(str)
        table.to_parquet(run.file(PREDICTIONS), index=False)
        runs.append(run)
    return runs


def test_pooled_figures_are_those_of_all_steps_together(tmp_path: Path) -> None:
    runs = folds(tmp_path)
    found, left_out = compare(runs, resamples=300)
    assert left_out == []
    (row,) = [row for row in found.rows if row.kind == "group"]
    tables = [pd.read_parquet(run.file(PREDICTIONS)) for run in runs]
    error = pd.concat([table["prediction"] - table["target"] for table in tables])
    cell = row.cells["test/mae_bpm"]
    assert cell.values == [pytest.approx(error.abs().mean())]
    assert row.cells["test/rmse_bpm"].mean == pytest.approx(np.sqrt((error**2).mean()))
    assert cell.clusters == "24 users"
    mean = next(row for row in found.rows if row.name == "user_mean").cells["test/mae_bpm"]
    beside = pd.concat([table["baseline_user_mean"] - table["target"] for table in tables])
    assert mean.mean == pytest.approx(beside.abs().mean())
    assert cell.against == "user_mean"
    assert found.protocols[""]["split"] == "by athlete, 3 folds pooled"


def test_seeds_are_still_averaged_and_models_compared(tmp_path: Path) -> None:
    runs = [*folds(tmp_path), *folds(tmp_path, seed=1), *folds(tmp_path, "other", better=0)]
    found, _ = compare(runs, resamples=300)
    groups = {row.label: row.cells["test/mae_bpm"] for row in found.rows if row.kind == "group"}
    assert {name: len(cell.values) for name, cell in groups.items()} == {"good": 2, "other": 1}
    assert groups["good"].mean < groups["other"].mean


def test_a_missing_fold_leaves_the_others_apart(tmp_path: Path) -> None:
    found, _ = compare(folds(tmp_path)[:2], resamples=300)
    assert [row.label for row in found.rows if row.kind == "group"] == [
        "good fold=0 (a)",
        "good fold=1 (b)",
    ]
