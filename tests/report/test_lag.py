"""How heart rate lags behind movement."""

from __future__ import annotations

import numpy as np
import pytest

from fitexp.report.lag import lagged_correlation, liveliest, movement_of, recoveries


def test_a_shifted_copy_correlates_fully_at_its_shift() -> None:
    x = np.random.default_rng(0).standard_normal(300)
    for shift in (-7, 0, 4):
        y = np.roll(x, shift)
        found = lagged_correlation(x[10:-10], 60 + 3 * y[10:-10], range(-9, 10))
        assert np.argmax(found) == shift + 9
        assert found[shift + 9] == pytest.approx(1.0)


def test_against_numpy_over_known_pairs() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 40))
    x[5], y[9] = np.nan, np.nan
    pairs = [(x[t], y[t + 2]) for t in range(38) if np.isfinite(x[t] + y[t + 2])]
    expected = np.corrcoef(np.transpose(pairs))[0, 1]
    assert lagged_correlation(x, y, [2])[0] == pytest.approx(expected)


def test_nothing_known_and_nothing_varying_are_no_correlation() -> None:
    x = np.arange(5.0)
    found = lagged_correlation(x, np.full(5, 60.0), [0, 1])
    assert np.isnan(found).all()
    assert np.isnan(
        lagged_correlation(x, x, [3, -3, 5, 6, 7, 9, -7, -9])
    ).all()  # two pairs or fewer
    assert lagged_correlation(x, x, [2])[0] == pytest.approx(1)


def test_the_liveliest_stretch_has_heart_rates_first() -> None:
    movement = np.zeros(100)
    movement[20:25], movement[70:75] = 9.0, 5.0
    beats = np.full(100, 60.0)
    assert liveliest(movement, beats, 10).start in range(15, 26)
    beats[15:30] = np.nan
    found = liveliest(movement, beats, 10)
    assert found.stop - found.start == 10
    assert np.ptp(movement[found]) == 5.0
    assert liveliest(movement, beats, 200) == slice(0, 100)


def test_recovery_of_an_exponential_is_its_ninth_tenth() -> None:
    """Ten minutes of movement; behind them 40 bpm decay with 100 s: nine tenths at 100 ln 10 s."""
    t = np.arange(0, 3000, 15.0)
    moving = (t >= 600) & (t < 1200)
    beats = np.where(moving, 120.0, np.where(t < 600, 80.0, 80 + 40 * np.exp((1200 - t) / 100)))
    ((end, down),) = recoveries(100.0 * moving, beats, 15.0)
    assert abs(end - 80) <= 2  # the mean of a minute ends up to half a minute late
    assert abs(down - (80 + 100 * np.log(10) / 15)) <= 1
    assert recoveries(100.0 * moving, np.where(moving, 85.0, 80.0), 15.0) == []
    assert recoveries(100.0 * moving, np.where(moving, beats, np.nan), 15.0) == []


@pytest.mark.parametrize(
    ("series", "name"),
    [(("x_mean", "enmo_mean"), "enmo_mean"), (("axis1", "vm_mean"), "vm_mean"), (("a", "b"), "a")],
)
def test_series_that_stands_for_movement(series: tuple[str, ...], name: str) -> None:
    assert movement_of(series) == name
