"""Errors of parts of the test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fitexp.data.workouts.protocol import arrays_of
from fitexp.report.results import predicted_columns, predictions_table, score
from fitexp.report.subgroups import score_subgroups, subgroups
from fitexp.report.table import groups_table
from tests.data.workouts.made import protocol, table, trivial

PREPARED = arrays_of(
    protocol(steps=60, max_steps=60, min_piece_steps=20, fractions=[0.6, 0.2, 0.2]),
    table(workouts=12),
)


def predictions() -> pd.DataFrame:
    model = trivial(PREPARED)["user_curve"]
    found = model.predict(PREPARED.arrays, "test")
    return predictions_table(PREPARED, found, trivial(PREPARED))


def test_groups_by_plain_filters() -> None:
    found = predictions()
    errors = score_subgroups(found, PREPARED, predicted_columns(found), "test/")
    apart = (found["prediction"] - found["target"]).abs()
    for sport in ("run", "bike"):
        rows = found["sport"] == sport
        assert errors[f"test/by_sport/{sport}/mae_bpm"] == pytest.approx(apart[rows].mean())
        assert errors[f"count/test/by_sport/{sport}/workouts"] == found[rows]["unit_id"].nunique()
    mean = found.groupby("unit_id")["target"].mean()
    band = found["unit_id"].map(mean).between(130, 150, inclusive="left")
    assert errors["test/by_bpm/130-149/mae_bpm"] == pytest.approx(apart[band].mean())
    baseline = (found["baseline_user_mean"] - found["target"])[band]
    key = "baseline/user_mean/test/by_bpm/130-149/rmse_bpm"
    assert errors[key] == pytest.approx(np.sqrt((baseline**2).mean()))


def test_every_way_of_parting_covers_each_step_once() -> None:
    found = predictions()
    parts: dict[str, np.ndarray] = {}
    for by, _, rows in subgroups(found, PREPARED):
        parts[by] = parts.get(by, np.zeros(len(found), int)) + rows
    assert set(parts) == {"sport", "bpm", "own", "athlete"}
    assert all((count == 1).all() for count in parts.values())


def test_athletes_by_what_training_knew_of_them() -> None:
    prepared = arrays_of(
        protocol(steps=60, max_steps=60, split="user", folds=4, min_piece_steps=20),
        table(workouts=6),
    )
    model = trivial(prepared)["global_mean"]
    found = predictions_table(prepared, model.predict(prepared.arrays, "test"), {})
    names = [name for by, name, _ in subgroups(found, prepared) if by == "own"]
    assert names == ["new"]
    names = [name for by, name, _ in subgroups(predictions(), PREPARED) if by == "own"]
    assert names == ["6-10"]  # 12 workouts: one for context, of the others 60 % in training


def test_first_two_minutes_are_apart() -> None:
    found = predictions()
    errors = score(found, PREPARED.spec, "test")
    early = found["elapsed_s"] < 120
    apart = (found["prediction"] - found["target"]).abs()
    assert errors["test/first_2min/mae_bpm"] == pytest.approx(apart[early].mean())
    assert errors["test/after_2min/mae_bpm"] == pytest.approx(apart[~early].mean())


def test_the_table_names_the_best_baseline_of_each_group() -> None:
    metrics = {
        "test/by_sport/run/mae_bpm": 5.0,
        "baseline/a/test/by_sport/run/mae_bpm": 7.0,
        "baseline/b/test/by_sport/run/mae_bpm": 6.0,
        "count/test/by_sport/run/workouts": 3,
    }
    lines = groups_table(metrics, [], "bpm").splitlines()
    assert lines[1].split() == ["sport:", "run", "3", "5.00", "6.00", "b"]
    assert groups_table({"test/mae_bpm": 1.0}, [], "bpm") == ""
