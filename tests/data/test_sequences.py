from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data.sequences import (
    centred_mean,
    forward_fill,
    interpolate,
    pieces,
    step_ends,
)

FINITE = st.floats(-1e3, 1e3)
WITH_HOLES = st.lists(st.one_of(FINITE, st.just(np.nan)), max_size=30).map(np.array)


def test_pieces_cut_only_at_long_gaps() -> None:
    time = np.array([0.0, 10, 70, 131, 132])
    assert [time[p].tolist() for p in pieces(time, 60)] == [[0, 10, 70], [131, 132]]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.floats(1, 90))
def test_pieces_cover_everything_once(gaps: list[float], limit: float) -> None:
    time = np.cumsum(gaps)
    parts = pieces(time, limit)
    assert np.concatenate([time[p] for p in parts]).tolist() == time.tolist()
    for a, b in pairwise(parts):
        assert time[b.start] - time[a.stop - 1] > limit


def interpolate_literally(at, time, values, max_gap):
    """One step at a time, by hand."""
    out = []
    known = [(t, v) for t, v in zip(time, values, strict=True) if np.isfinite(v)]
    for a in at:
        before = [(t, v) for t, v in known if t <= a]
        after = [(t, v) for t, v in known if t >= a]
        if not before or not after or after[0][0] - before[-1][0] > max_gap:
            out.append(np.nan)
        elif after[0][0] == before[-1][0]:
            out.append(after[0][1])
        else:
            (t0, v0), (t1, v1) = before[-1], after[0]
            out.append(v0 + (v1 - v0) * (a - t0) / (t1 - t0))
    return np.array(out)


@given(st.lists(st.tuples(st.floats(0.5, 40), st.one_of(FINITE, st.just(np.nan))), max_size=20))
def test_interpolate_equals_the_literal_loop(samples: list[tuple[float, float]]) -> None:
    time = np.cumsum([gap for gap, _ in samples])
    values = np.array([value for _, value in samples])
    at = np.arange(0, 200, 7.0)
    got = interpolate(at, time, values, 30.0)
    np.testing.assert_allclose(got, interpolate_literally(at, time, values, 30.0), atol=1e-9)


@given(WITH_HOLES)
def test_forward_fill_takes_the_last_known_value(values: np.ndarray) -> None:
    filled, last = forward_fill(values, 7.0), 7.0
    for before, after in zip(values, filled, strict=True):
        last = before if np.isfinite(before) else last
        assert after == last


@given(WITH_HOLES, st.sampled_from([1, 3, 5]))
def test_centred_mean_equals_the_literal_loop(values: np.ndarray, width: int) -> None:
    got = centred_mean(values, width) if len(values) else values
    half = width // 2
    for i, value in enumerate(got):
        near = values[max(0, i - half) : i + half + 1]
        near = near[np.isfinite(near)]
        expected = near.mean() if len(near) else np.nan
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_step_ends() -> None:
    assert step_ends(np.array([0, 0, 0, 2, 2, 5])).tolist() == [3, 3, 3, 5, 5, 6]
    assert step_ends(np.zeros(0, dtype=int)).tolist() == []
