"""Non-wear: a still hour is absent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data.windows.epochs import Recording
from fitexp.data.windows.signals import SERIES
from fitexp.data.windows.wear import non_wear, without_non_wear

STEP_S = 600.0  # six epochs an hour: cases that can be written down


def stds(still_axes: list[int]) -> np.ndarray:
    """Epochs with so many still axes; -1: absent."""
    rows = [[12.9] * n + [13.0] * (3 - n) if n >= 0 else [np.nan] * 3 for n in still_axes]
    return np.array(rows, np.float32)


def test_an_hour_with_two_still_axes_is_non_wear_and_less_is_not() -> None:
    std = stds([2, 2, 2, 2, 2, 0, 2, 3, 2, 2, 2, 2, 1, 3, 3])
    assert non_wear(std, STEP_S).tolist() == [False] * 6 + [True] * 6 + [False] * 3


def test_an_absent_epoch_ends_a_stretch() -> None:
    std = stds([3] * 5 + [-1] + [3] * 6)
    assert non_wear(std, STEP_S).tolist() == [False] * 6 + [True] * 6


@given(st.lists(st.integers(-1, 3), max_size=40))
def test_non_wear_is_what_a_slow_search_finds(still_axes: list[int]) -> None:
    """An epoch is non-wear if some six in a row around it are all still."""
    runs = [range(i, i + 6) for i in range(len(still_axes) - 5)]
    off = {k for run in runs if all(still_axes[k] >= 2 for k in run) for k in run}
    found = non_wear(stds(still_axes).reshape(-1, 3), STEP_S)
    assert set(np.flatnonzero(found).tolist()) == off


def recording(user: str, still_axes: list[int]) -> Recording:
    series = np.ones((len(still_axes), len(SERIES)), np.float32)
    series[:, 1:6:2] = stds(still_axes)
    return Recording(
        user=user,
        start_s=0.0,
        series=series,
        heart_rate=np.full(len(series), 70.0, np.float32),
    )


def test_non_wear_becomes_absent_and_is_counted() -> None:
    rejected = {"users without heart rate (kept)": 1}
    recordings = [recording("a", [0] * 9 + [3] * 6), recording("b", [3] * 7 + [0] * 8)]
    kept = list(without_non_wear(recordings, series=SERIES, step_s=STEP_S, rejected=rejected))
    assert [r.user for r in kept] == ["a", "b"]
    absent = [np.isnan(r.series).all(axis=1).tolist() for r in kept]
    assert absent == [[False] * 9 + [True] * 6, [True] * 7 + [False] * 8]
    assert (kept[0].heart_rate == 70.0).all()
    assert np.isfinite(recordings[0].series).all()  # the reader's own array is left alone
    assert rejected == {"users without heart rate (kept)": 1, "epochs of non-wear (absent)": 13}


def test_the_series_are_found_by_name() -> None:
    turned = tuple(reversed(SERIES))
    one = recording("a", [0] * 3 + [3] * 6)
    other = Recording(user="a", start_s=0.0, series=one.series[:, ::-1], heart_rate=one.heart_rate)
    rejected: dict[str, int] = {}
    (kept,) = without_non_wear([other], series=turned, step_s=STEP_S, rejected=rejected)
    assert np.isnan(kept.series).all(axis=1).tolist() == [False] * 3 + [True] * 6
