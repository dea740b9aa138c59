"""Bands around forecasts: calibrated on validation users, looked at by user."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.report import bands
from fitexp.report.forecasts import _bands, closing_table, score
from fitexp.run import PLOTS, PREDICTIONS
from tests.window_run import window_run


def users(n: int, each: int, seed: int, spread: tuple[float, float] = (5.0, 5.0)) -> pd.DataFrame:
    """Windows of n users; errors normal, their deviation drawn per user between `spread`."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n), each)
    prediction = rng.normal(80, 10, len(user))
    deviation = rng.uniform(*spread, n)[user]
    return pd.DataFrame(
        {
            "unit_id": [f"{u}:{i}" for i, u in enumerate(user)],
            "user_id": user.astype(str),
            "prediction": prediction,
            "target": prediction + deviation * rng.standard_normal(len(user)),
        }
    )


def with_heads(table: pd.DataFrame, half: float) -> pd.DataFrame:
    return table.assign(
        **{"p_0.05": table["prediction"] - half, "p_0.95": table["prediction"] + half}
    )


def test_without_heads_the_margin_is_the_ninth_of_ten_absolute_errors() -> None:
    """19 errors of 1..19 bpm: ceil(20 x 0.9) = the 18th smallest."""
    error = np.arange(1.0, 20.0) * np.where(np.arange(19) % 2, 1, -1)
    seen = pd.DataFrame({"prediction": 80.0, "target": 80.0 + error, "user_id": "a"})
    assert bands.margin(seen) == 18.0
    found = bands.with_band(seen, 18.0)
    assert (found["low"] == 62).all()
    assert (found["high"] == 98).all()


@pytest.mark.parametrize("half", [1.0, 30.0])
def test_heads_that_are_too_near_or_too_far_move_to_the_same_band(half: float) -> None:
    """Heads at a fixed distance: the band is the one without heads, so the margin differs by it."""
    seen = users(30, 20, seed=0)
    assert bands.margin(with_heads(seen, half)) == pytest.approx(bands.margin(seen) - half)


def test_other_users_targets_are_inside_nine_times_of_ten() -> None:
    margin = bands.margin(users(60, 50, seed=1))
    found = score(bands.with_band(users(60, 50, seed=2), margin), "test", ())
    assert found["test/band90_coverage"] == pytest.approx(90, abs=1.5)
    assert found["test/band90_width_bpm"] == pytest.approx(2 * 1.645 * 5, rel=0.05)


def test_a_band_that_holds_over_all_does_not_hold_for_every_user() -> None:
    margin = bands.margin(users(80, 40, seed=1, spread=(1, 12)))
    found = score(bands.with_band(users(80, 40, seed=2, spread=(1, 12)), margin), "test", ())
    assert found["test/band90_coverage"] == pytest.approx(90, abs=2)
    assert found["test/band90_coverage/lowest_user"] < 75
    assert found["test/band90_coverage/highest_user"] == 100


def test_coverage_by_hand() -> None:
    """User a: both ends are inside; user b: one of four."""
    table = pd.DataFrame(
        {
            "user_id": list("aabbbb"),
            "prediction": 80.0,
            "target": [70.0, 90.0, 80.0, 69.9, 90.1, 120.0],
        }
    )
    found = score(bands.with_band(table, 10.0), "test", ())
    assert found["test/band90_coverage"] == 50
    assert found["test/band90_coverage/lowest_user"] == 25
    assert found["test/band90_coverage/highest_user"] == 100
    assert found["test/band90_width_bpm"] == 20


@pytest.mark.parametrize("windows", [1, 8, 9])
def test_fewest_windows_with_a_band(windows: int) -> None:
    assert math.isfinite(bands.margin(users(1, windows, seed=0))) == (windows >= bands.LEAST)


BAND = {
    "test/band90_coverage": 90.04,
    "test/band90_coverage/lowest_user": 57.0,
    "test/band90_coverage/highest_user": 96.2,
    "test/band90_width_bpm": 41.0,
    "count/val/users": 30,
    "count/val/windows": 330,
}
HEADS = {
    "test/coverage_5_95": 84.0,
    "test/coverage_5_95/lowest_user": 45.4,
    "test/coverage_5_95/highest_user": 100.0,
}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            BAND,
            "90 %, calibrated on 30 validation users: 90.0 % of targets inside, by user "
            "57 to 96 %, 41.0 bpm wide",
        ),
        (
            HEADS | BAND,
            "heads of 5 and 95 %: 84.0 % of targets inside, by user 45 to 100 %; "
            "90 %, calibrated on 30 validation users: 90.0 %",
        ),
        (HEADS, "by user 45 to 100 %; none calibrated: no validation part (data.fractions)"),
        (
            {"count/val/users": 1, "count/val/windows": 4},
            "none calibrated: fewer than 9 windows of validation users",
        ),
    ],
)
def test_words_of_the_closing_table(found: dict[str, Any], said: str) -> None:
    assert said in _bands(found)["bands"]


def test_windows_given_back_have_no_bands() -> None:
    assert _bands({"test/reconstruction_mse": 1.0}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "joint_heads"])
def test_results_of_a_run_have_its_band(tmp_path: Path, loss: str) -> None:
    run = window_run(tmp_path / loss, loss=loss)
    table, found = pd.read_parquet(run.file(PREDICTIONS)), run.metrics
    low, high = bands.ends(table)
    np.testing.assert_allclose(low - table["low"], found["val/band90_margin_bpm"])
    np.testing.assert_allclose(table["high"] - high, found["val/band90_margin_bpm"])
    assert set(bands.HEADS) <= set(table) or loss == "mse"
    inside = (table["low"] <= table["target"]) & (table["target"] <= table["high"])
    assert found["test/band90_coverage"] == pytest.approx(100 * inside.mean())
    assert f"calibrated on {found['count/val/users']:.0f} validation users" in closing_table(run)
    assert run.file(PLOTS).joinpath("coverage_by_user.png").stat().st_size > 5000


@pytest.mark.slow
def test_without_validation_users_there_is_no_band(tmp_path: Path) -> None:
    run = window_run(tmp_path / "a", data__fractions=[0.75, 0.0, 0.25])
    assert not {"low", "high"} & set(pd.read_parquet(run.file(PREDICTIONS)))
    assert "no validation part" in closing_table(run)
    assert not run.file(PLOTS).joinpath("coverage_by_user.png").exists()
