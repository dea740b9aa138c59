"""Non-wear: a device that lies still for an hour is not worn.

Works on the epochs of any reader that gives the axes' standard deviations in milli-g.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fitexp.data.windows.epochs import Recording
from fitexp.data.windows.signals import AXIS_STD

STILL_MG = 13.0
STILL_AXES = 2  # so many axes still: the epoch is still
NON_WEAR_S = 3600.0

Mask = NDArray[np.bool_]


def non_wear(std_mg: NDArray[np.floating], step_s: float) -> Mask:
    """Standard deviations of the axes (n, 3), NaN absent -> (n,), True in a still hour or more.

    An epoch is still where two axes or more have less than 13 mg. An absent epoch ends a stretch.
    After van Hees et al. 2013 (PLoS ONE 8:e61691); departures: 13 mg hold in each epoch, not over
    the hour, whose range (50 mg there) is not asked for. So one bump ends a stretch.
    """
    still = (std_mg < STILL_MG).sum(axis=1) >= STILL_AXES
    change = np.flatnonzero(np.diff(still.astype(np.int8), prepend=0, append=0))
    out = np.zeros(len(still), dtype=bool)
    for begin, end in change.reshape(-1, 2):
        out[begin:end] = (end - begin) * step_s >= NON_WEAR_S
    return out


def without_non_wear(
    recordings: Iterable[Recording],
    *,
    series: tuple[str, ...],
    step_s: float,
    rejected: MutableMapping[str, int],
) -> Iterator[Recording]:
    """Recordings whose epochs of non-wear are absent, and counted in `rejected`.

    Heart rates stay. Hours of wear, and who has too few of them, are the protocol's to count
    (`data.min_wear_h`): epochs that are not absent.
    """
    reason = "epochs of non-wear (absent)"
    for recording in recordings:
        std = recording.series[:, [series.index(name) for name in AXIS_STD]]
        off = non_wear(std, step_s)
        if off.any():
            rejected[reason] = rejected.get(reason, 0) + int(off.sum())
        values = np.where(off[:, None], np.float32(np.nan), recording.series)
        yield replace(recording, series=values)
