"""The 80 features are describe() and polyfit; the others are their formulas."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fitexp.data.windows import features


def literal(series: Any, first: Any, steps: int) -> np.ndarray:
    """describe() and polyfit, a window at a time."""
    found = np.empty((len(first), series.shape[1], 8))
    for window, row in enumerate(first):
        x = pd.DataFrame(series[row : row + steps], dtype=np.float64)
        found[window, :, :7] = x.describe()[1:].T
        for name, values in x.items():
            there = np.flatnonzero(values.notna())
            line = np.polyfit(there, values[there], 1)[0] if len(there) > 1 else np.nan
            found[window, int(name), 7] = line
    return found.reshape(len(first), -1) if len(first) else np.empty((0, series.shape[1] * 8))


def assert_equal(found: np.ndarray, wanted: np.ndarray, largest: float) -> None:
    """To 1e-10, relative to the value or to the largest value (a slope of about 0)."""
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10 * largest)


numbers = st.one_of(
    st.just(np.nan),
    st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
    st.integers(-2, 2).map(float),
)


@settings(max_examples=30, deadline=None)
@given(
    series=hnp.arrays(np.float32, st.tuples(st.integers(7, 12), st.just(2)), elements=numbers),
    data=st.data(),
)
def test_statistics_are_describe_and_a_fitted_line(series: Any, data: st.DataObject) -> None:
    first = np.array(data.draw(st.lists(st.integers(0, len(series) - 7), max_size=2)), np.int64)
    found = features.statistics(series, first, 7)
    assert_equal(found, literal(series, first, 7), np.nanmax(np.abs(series), initial=0))


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_statistics_at_full_length(absent: float) -> None:
    draw = np.random.default_rng(0)
    series = (draw.gamma(0.3, 50, (2000, 3)) + np.array([0, 0, 1000])).astype(np.float32)
    series[draw.random(series.shape) < absent] = np.nan
    first = draw.integers(0, 2000 - 512, 9)
    found, wanted = features.statistics(series, first, 512), literal(series, first, 512)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=0)


def test_by_hand() -> None:
    """x = 1, 3, absent, 4: mean 8/3, slope sum (t - 4/3)(x - 8/3) / (14/3) = 13/14."""
    series = np.array([[9], [1], [3], [np.nan], [4], [9]], np.float32)
    found = features.statistics(series, np.array([1]), 4)
    wanted = [8 / 3, np.sqrt(7 / 3), 1, 2, 3, 3.5, 4, 13 / 14]
    np.testing.assert_allclose(found, [wanted], rtol=1e-14)


def test_names_say_series_and_statistic() -> None:
    names = features.statistic_names(("x_mean", "enmo_mean"))
    assert (len(names), names[0], names[15]) == (16, "x_mean__mean", "enmo_mean__slope")


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    series = draw.random((300, 2), np.float32)
    first = draw.integers(0, 250, 40)
    constants = np.array([1.0, 9.0])

    def both() -> tuple[np.ndarray, np.ndarray]:
        return (
            features.statistics(series, first, 50),
            features.averages(series, first, 50, column=1, constants=constants),
        )

    whole = both()
    monkeypatch.setattr(features, "BLOCK", 7 * 50)
    for one, other in zip(whole, both(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_memory_does_not_grow_with_the_windows_read() -> None:
    """8 times the windows: no more than their answers is added."""
    series = np.zeros((3000, 2), np.float32)

    def peak(windows: int) -> int:
        first = np.arange(windows) % 2000
        tracemalloc.start()
        features.statistics(series, first, 512)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found - windows * 16 * 8

    assert peak(1600) <= peak(200) * 1.05


def test_recent_samples_are_the_last_rows_of_the_window() -> None:
    series = np.arange(40, dtype=np.float32).reshape(20, 2)
    series[9, 1] = np.nan
    found = features.recent_samples(series, np.array([0, 3]), 8, column=1, k=3)
    np.testing.assert_array_equal(found, [[11, 13, 15], [17, np.nan, 21]])


def test_averages_by_hand() -> None:
    """tau = 1 / log 2: a step counts half of the next one. Weights 1/8, absent, 1/2, 1."""
    x = np.expm1([5.0, 8.0, np.nan, 2.0, 1.0, 7.0])
    found = features.averages(
        x[:, None], np.array([1]), 4, column=0, constants=np.array([1 / np.log(2)])
    )
    np.testing.assert_allclose(found, [[(8 / 8 + 2 / 2 + 1) / (1 / 8 + 1 / 2 + 1)]], rtol=1e-13)


def test_averages_lie_between_the_last_value_and_the_mean() -> None:
    x = np.expm1(np.random.default_rng(2).random((64, 1)))
    found = features.averages(x, np.array([0]), 64, column=0, constants=np.array([1e-3, 1e9]))
    np.testing.assert_allclose(found, [[np.log1p(x[-1, 0]), np.log1p(x).mean()]], rtol=1e-6)


def test_nothing_there_is_absent() -> None:
    series = np.full((5, 1), np.nan, np.float32)
    assert np.isnan(features.statistics(series, np.array([0]), 5)).all()
    averaged = features.averages(series, np.array([0]), 5, column=0, constants=np.ones(2))
    assert np.isnan(averaged).all()
