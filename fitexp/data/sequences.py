"""Irregular samples to even steps, and steps to windows. Pure numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]


def pieces(time: Float, max_gap: float) -> list[slice]:
    """Slices of `time` (increasing) between neighbours more than `max_gap` apart."""
    cuts = np.flatnonzero(np.diff(time) > max_gap) + 1
    edges = [0, *cuts.tolist(), len(time)]
    return [slice(a, b) for a, b in pairwise(edges)]


def interpolate(at: Float, time: Float, values: Float, max_gap: float) -> Float:
    """Linear interpolation of the non-missing `values` at the times `at`.

    A step is missing (NaN) unless it lies on a sample or between two samples at most `max_gap`
    apart: nothing is extrapolated and no long hole is bridged.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(at), np.nan)
    time, values = time[known], values[known]
    after = np.searchsorted(time, at, side="left").clip(0, len(time) - 1)
    before = (np.searchsorted(time, at, side="right") - 1).clip(0, len(time) - 1)
    inside = (time[before] <= at) & (at <= time[after]) & (time[after] - time[before] <= max_gap)
    return np.where(inside, np.interp(at, time, values), np.nan)


def forward_fill(values: Float, first: float = np.nan) -> Float:
    """Replace NaN by the last finite value before it; leading NaN by `first`."""
    index = np.where(np.isfinite(values), np.arange(len(values)), -1)
    index = np.maximum.accumulate(index) if len(index) else index
    return np.where(index >= 0, values[np.maximum(index, 0)], first)


def centred_mean(values: Float, width: int) -> Float:
    """Mean over `width` (odd) neighbours, fewer at the ends; NaN are left out of the mean."""
    known = np.isfinite(values)
    kernel = np.ones(width)
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="full")
    count = np.convolve(known.astype(float), kernel, mode="full")
    half = width // 2
    total, count = total[half : half + len(values)], count[half : half + len(values)]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def step_ends(piece: Int) -> Int:
    """For each step, the step after the last one of its run of equal `piece` values."""
    if not len(piece):
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(np.append(np.diff(piece) != 0, True))
    return (last + 1)[np.searchsorted(last, np.arange(len(piece)))]
