"""Non-wear: a device that lies still for an hour is not worn; and who wore it long enough.

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
    """
    still = (std_mg < STILL_MG).sum(axis=1) >= STILL_AXES
    change = np.flatnonzero(np.diff(still.astype(np.int8), prepend=0, append=0))
    out = np.zeros(len(still), dtype=bool)
    for begin, end in change.reshape(-1, 2):
        out[begin:end] = (end - begin) * step_s >= NON_WEAR_S
    return out


def wear_h(recording: Recording, series: tuple[str, ...], step_s: float) -> float:
    """Hours of epochs that have the axes' standard deviations."""
    present = np.isfinite(_axis_std(recording, series)).all(axis=1)
    return float(present.sum() * step_s / 3600.0)


def worn(
    recordings: Iterable[Recording],
    *,
    series: tuple[str, ...],
    step_s: float,
    min_wear_h: float,
    rejected: MutableMapping[str, int],
) -> Iterator[Recording]:
    """Recordings with non-wear epochs absent, of users with `min_wear_h` hours of wear or more.

    Users with less are left out; they and the epochs are counted in `rejected`. Heart rates stay.
    """
    for recording in recordings:
        off = non_wear(_axis_std(recording, series), step_s)
        kept = replace(
            recording, series=np.where(off[:, None], np.float32(np.nan), recording.series)
        )
        _count(rejected, "epochs of non-wear", int(off.sum()))
        if wear_h(kept, series, step_s) < min_wear_h:
            _count(rejected, f"users with less than {min_wear_h:g} h of wear", 1)
        else:
            yield kept


def _axis_std(recording: Recording, series: tuple[str, ...]) -> NDArray[np.float32]:
    return recording.series[:, [series.index(name) for name in AXIS_STD]]


def _count(rejected: MutableMapping[str, int], reason: str, number: int) -> None:
    if number:
        rejected[reason] = rejected.get(reason, 0) + number
