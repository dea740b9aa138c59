"""How long heart rate lags behind movement: the cross-correlation of the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
MOVEMENT = ("enmo_mean", "vm_hpf_mean", "vm_mean", "counts", "steps")  # which series is drawn
LEAST = 3  # pairs of epochs for a correlation
BOUT_S, RECOVERY_S, FALL_BPM = 120.0, 900.0, 10.0


def movement_of(series: Sequence[str]) -> str:
    """The series that stands for movement in pictures: the first of MOVEMENT, else of its own."""
    return next((name for name in MOVEMENT if name in series), series[0])


def lagged_correlation(movement: ArrayLike, heart_rate: ArrayLike, lags: Sequence[int]) -> Float:
    """(K,) r_k = corr(movement_t, heart rate_(t + k)) over epochs t where both are known (not NaN).

    Above 0 the heart rate comes after the movement. NaN where fewer than LEAST pairs are known or
    one of the two does not vary.
    """
    x, y = np.asarray(movement, np.float64), np.asarray(heart_rate, np.float64)
    out = np.full(len(lags), np.nan)
    for i, lag in enumerate(lags):
        early, late = (x[: max(len(x) - lag, 0)], y[lag:]) if lag >= 0 else (x[-lag:], y[:lag])
        both = np.isfinite(early) & np.isfinite(late)
        a, b = early[both], late[both]
        if len(a) >= LEAST and np.ptp(a) > 0 and np.ptp(b) > 0:
            out[i] = np.corrcoef(a, b)[0, 1]
    return out


def liveliest(movement: ArrayLike, heart_rate: ArrayLike, rows: int) -> slice:
    """Of stretches of `rows` rows those with the most known heart rates, of these the most varied.

    All rows, where there are fewer.
    """
    x = np.nan_to_num(np.asarray(movement, np.float64))
    if len(x) <= rows:
        return slice(0, len(x))

    def moving(values: Float) -> Float:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray((total[rows:] - total[:-rows]) / rows)

    known = moving(np.isfinite(np.asarray(heart_rate)).astype(np.float64))
    variance = moving(x**2) - moving(x) ** 2
    first = int(np.argmax(np.where(known >= known.max() - 1e-9, variance, -1.0)))
    return slice(first, first + rows)


def recoveries(movement: ArrayLike, heart_rate: ArrayLike, step_s: float) -> list[tuple[int, int]]:
    """Rows from the end of each bout of movement to where heart rate is nine tenths down again.

    A bout: BOUT_S or longer with a minute's mean of movement above that of all rows. Down: from the
    highest heart rate in the bout's last minute to the lowest in the RECOVERY_S behind it, or until
    movement begins anew; falls of less than FALL_BPM are left out.
    """
    x, y = np.nan_to_num(np.asarray(movement, np.float64)), np.asarray(heart_rate, np.float64)
    minute, bout, longest = (max(round(s / step_s), 1) for s in (60.0, BOUT_S, RECOVERY_S))
    mean = np.convolve(x, np.full(minute, 1 / minute), "same")[: len(x)]
    edges = np.diff((mean > mean.mean()).astype(int), prepend=0, append=0)
    begins, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    found = []
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        until = min(begins[i + 1] if i + 1 < len(begins) else len(y), end + longest)
        before, behind = y[max(begin, end - minute) : end], y[end:until]
        if end - begin < bout or not (np.isfinite(before).any() and np.isfinite(behind).any()):
            continue
        high, low = np.nanmax(before), np.nanmin(behind)
        if high - low >= FALL_BPM:
            down = np.flatnonzero(behind <= high - 0.9 * (high - low))[0]
            found.append((int(end), int(end + down)))
    return found
