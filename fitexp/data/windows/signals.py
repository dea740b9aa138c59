"""Raw acceleration to epochs of 15 s, chunk by chunk: ENMO, VM-HPF and the axes' statistics.

ENMO = max(|a| - 1 g, 0) (van Hees et al. 2013, PLoS ONE 8:e61691). VM-HPF = |high-pass of |a||,
with a 4th-order 0.2 Hz Butterworth filter. Both, and the axes, in milli-g. Samples are taken as
they come, at their mean rate, and not resampled. What comes out does not depend on where the stream
is cut in chunks.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfilt_zi

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Cut = tuple[Numbers, Numbers, Array]  # bins (m,), where each begins (m,) in the samples (K, N)

STEP_S = 15.0
MG = 1000.0  # milli-g in 1 g
SERIES = (
    "x_mean",
    "x_std",
    "y_mean",
    "y_std",
    "z_mean",
    "z_std",
    "enmo_mean",
    "vm_hpf_mean",
    "vm_hpf_min",
    "vm_hpf_max",
)
AXIS_STD = ("x_std", "y_std", "z_std")
CUTOFF_HZ = 0.2
ORDER = 4


class Bins:
    """Cuts a stream of samples into bins of the clock: bin k holds k step <= time < (k+1) step.

    Samples of a bin that is still open are carried; times must not go back.
    """

    def __init__(self, step_s: float, width: int) -> None:
        self.step_s = step_s
        self.number: Numbers = np.empty(0, np.int64)  # the open bin's, once a sample of it
        self.rows: Array = np.empty((width, 0))

    def push(self, time_s: Array, rows: Array) -> Cut:
        """Samples (K, n) at times (n,), K the width -> the complete bins that have samples."""
        new = np.floor_divide(time_s, self.step_s).astype(np.int64)
        number = np.concatenate([self.number, new])
        rows = np.concatenate([self.rows, rows], axis=1)
        cut = int(np.searchsorted(number, number[-1])) if len(number) else 0
        self.number, self.rows = number[cut:].copy(), rows[:, cut:].copy()
        return _cut(number[:cut], rows[:, :cut])

    def finish(self) -> Cut:
        """The bin that is still open, if any."""
        return _cut(self.number, self.rows)


def _cut(number: Numbers, rows: Array) -> Cut:
    first = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    return number[first], first, rows


def mean_and_std(rows: Array, first: Numbers) -> tuple[Array, Array]:
    """(K, N), first samples (m,) of bins -> means and population standard deviations (K, m)."""
    count = np.diff(first, append=rows.shape[1])
    mean = np.add.reduceat(rows, first, axis=1) / count
    off = rows - np.repeat(mean, count, axis=1)
    np.square(off, out=off)
    return mean, np.sqrt(np.add.reduceat(off, first, axis=1) / count)


class HighPass:
    """|4th-order 0.2 Hz Butterworth high-pass of a signal|, in second-order sections.

    The state starts settled at the first value, as if the signal had always been there: else the
    first seconds are as high as gravity itself. `restart` makes the next sample a first one.
    """

    def __init__(self, rate_hz: float) -> None:
        self.sections = butter(ORDER, CUTOFF_HZ, "highpass", fs=rate_hz, output="sos")
        self.settled = sosfilt_zi(self.sections)
        self.state: Array | None = None

    def restart(self) -> None:
        self.state = None

    def __call__(self, signal: Array) -> Array:
        if self.state is None:
            self.state = self.settled * signal[0]
        passed, self.state = sosfilt(self.sections, signal, zi=self.state)
        return np.asarray(np.abs(passed))


class EpochStream:
    """Epochs of a stream of calibrated samples: rows of SERIES, 15 s apart.

    rate_hz: samples a second; gap_s: behind a longer gap the filter starts anew; min_share: an
    epoch with a smaller share of its rate_hz x 15 samples is absent. The grid is the clock's
    (epoch k starts at 15 k s) and stays regular: absent epochs are rows of NaN.
    """

    def __init__(self, *, rate_hz: float, gap_s: float, min_share: float) -> None:
        self.high_pass = HighPass(rate_hz)
        self.bins = Bins(STEP_S, 5)
        self.gap_s = gap_s
        self.fewest = min_share * rate_hz * STEP_S
        self.last_s = -np.inf  # time of the last sample
        self.first: int | None = None  # number of the first epoch
        self.done = 0  # rows given so far

    def push(self, time_s: Array, a: Array) -> Array:
        """Samples in order, times (n,) in s and a (3, n) in g -> finished rows (m, 10)."""
        if not len(time_s):
            return np.empty((0, len(SERIES)))
        rows = np.empty((5, len(time_s)))  # x, y, z, ENMO, VM-HPF
        np.multiply(a, MG, out=rows[:3])
        norm = np.sqrt(np.einsum("kn,kn->n", rows[:3], rows[:3]))
        np.maximum(norm - MG, 0.0, out=rows[3])
        starts = np.flatnonzero(np.diff(time_s, prepend=self.last_s) > self.gap_s)
        self.last_s = time_s[-1]
        for run, (begin, end) in enumerate(pairwise([0, *starts, len(time_s)])):
            if run:  # the first is what goes on from the last chunk
                self.high_pass.restart()
            if begin < end:
                rows[4, begin:end] = self.high_pass(norm[begin:end])
        return self._rows(*self.bins.push(time_s, rows))

    def finish(self) -> Array:
        """The epoch that is still open, if any."""
        return self._rows(*self.bins.finish())

    def _rows(self, number: Numbers, first: Numbers, rows: Array) -> Array:
        if not len(number):
            return np.empty((0, len(SERIES)))
        if self.first is None:
            self.first = int(number[0])
        begin = self.first + self.done
        out = np.full((number[-1] + 1 - begin, len(SERIES)), np.nan)
        enough = np.diff(first, append=rows.shape[1]) >= self.fewest
        out[(number - begin)[enough]] = _statistics(rows, first)[enough]
        self.done += len(out)
        return out


def _statistics(rows: Array, first: Numbers) -> Array:
    """x, y, z, ENMO, VM-HPF (5, N) -> SERIES (m, 10)."""
    mean, std = mean_and_std(rows[:3], first)
    count = np.diff(first, append=rows.shape[1])
    enmo, vm_hpf = np.add.reduceat(rows[3:], first, axis=1) / count
    low, high = np.minimum.reduceat(rows[4], first), np.maximum.reduceat(rows[4], first)
    axes = [statistic[axis] for axis in range(3) for statistic in (mean, std)]
    return np.stack([*axes, enmo, vm_hpf, low, high], axis=1)
