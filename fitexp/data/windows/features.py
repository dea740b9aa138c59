"""Numbers that describe a window of series, for models that are not networks. Imports no torch.

Inputs: all rows of all users, series (R, F), NaN where a value is absent, and the first row of
each window (W,). Windows are worked through in blocks, so that memory grows with the answer only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Series = NDArray[np.floating[Any]]

STATISTICS = ("mean", "std", "min", "p25", "p50", "p75", "max", "slope")
QUANTILES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
BLOCK = 2**15  # rows that are held at once


def statistic_names(series: Sequence[str]) -> tuple[str, ...]:
    """Columns of `statistics`: "enmo_mean__mean", "enmo_mean__std", ..."""
    return tuple(f"{name}__{statistic}" for name in series for statistic in STATISTICS)


def statistics(series: Series, first: Int, steps: int) -> Float:
    """(W, 8 F) mean, std, min, 25 %, 50 %, 75 %, max and slope of each series: XGBoost_A's.

    The first seven are those of pandas' describe(): absent steps are skipped, std divides by
    n - 1, quantiles are interpolated between neighbours. slope: of the least-squares line over the
    number t of the step, over the steps that are there, sum (t - mean t)(x - mean x) /
    sum (t - mean t)^2. NaN: where nothing is there; std and slope of a single step.
    """
    found = np.empty((len(first), series.shape[1], len(STATISTICS)))
    t = np.arange(steps, dtype=np.float64)
    for windows, rows in _blocks(first, steps):
        x = np.ascontiguousarray(np.moveaxis(series[rows], 1, 2))  # (B, F, T)
        there = ~np.isnan(x)
        n = there.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(there, x, 0.0).sum(-1, dtype=np.float64) / n
            apart = np.where(there, x - mean[..., None], 0.0)
            sum_t, sum_tt = there @ t, there @ t**2  # whole numbers: no rounding in the difference
            slope = (n * (apart @ t) - sum_t * apart.sum(-1)) / (n * sum_tt - sum_t**2)
            std = np.sqrt(np.einsum("bft,bft->bf", apart, apart) / np.maximum(n - 1, 0))
        found[windows, :, 0], found[windows, :, 1] = mean, std
        found[windows, :, 2:7] = _quantiles(np.sort(x), n)
        found[windows, :, 7] = slope
    return found.reshape(len(first), series.shape[1] * len(STATISTICS))


def recent_samples(series: Series, first: Int, steps: int, *, column: int, k: int) -> Float:
    """(W, k) the last k values of one series, the newest last; NaN where absent."""
    end = np.asarray(first)[:, None] + steps
    return np.asarray(series[end + np.arange(-k, 0), column], np.float64)


def averages(series: Series, first: Int, steps: int, *, column: int, constants: Float) -> Float:
    """(W, J) exponential averages of log(1 + x) of one series >= 0, one per time constant tau (J,).

    sum_a e^(-a / tau) log(1 + x_a) / sum_a e^(-a / tau), a: steps before the window's last step,
    over the window's steps that are there; tau in steps; what is below 0 counts as 0. NaN where
    nothing is there, or nothing within some 700 tau.
    """
    weights = np.exp(-np.arange(steps)[::-1, None] / constants)
    found = np.empty((len(first), len(constants)))
    for windows, rows in _blocks(first, steps):
        x = np.asarray(series[rows, column], np.float64)
        there = ~np.isnan(x)
        logs = np.log1p(np.where(there, np.maximum(x, 0.0), 0.0))
        with np.errstate(invalid="ignore"):
            found[windows] = (logs @ weights) / (there @ weights)
    return found


def _quantiles(ordered: Series, n: Int) -> Float:
    """(B, F, 5) QUANTILES of the first n values (B, F) of each sorted row (B, F, T)."""
    place = np.maximum(n - 1, 0)[..., None] * QUANTILES
    below = np.floor(place).astype(np.int64)
    above = np.ceil(place).astype(np.int64)
    low, high = (np.take_along_axis(ordered, at, -1).astype(np.float64) for at in (below, above))
    value: Float = low + (high - low) * (place - below)
    return value


def _blocks(first: Int, steps: int) -> Iterator[tuple[slice, Int]]:
    """Blocks of windows: which, and their rows (B, T)."""
    size = max(BLOCK // steps, 1)
    for begin in range(0, len(first), size):
        windows = slice(begin, begin + size)
        yield windows, np.asarray(first[windows])[:, None] + np.arange(steps)
