"""The raw samples of one person's file, in chunks and checked: in order, in g, gravity in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fitexp.data.windows.devices import READERS, device_chunks
from fitexp.data.windows.long_tables import LongTable
from fitexp.data.windows.signals import Array
from fitexp.errors import InputError

AXES = ("x", "y", "z")
LONGEST_GAP_S = 30 * 86400.0  # a longer one is a clock that jumped
UNITS = (  # median |a| of someone in g, and what else gives such numbers
    (0.5, 1.5, ""),
    (5.0, 15.0, "m/s2: divide x, y, z by 9.80665"),
    (500.0, 1500.0, "milli-g: divide x, y, z by 1000"),
)


def samples(
    file: Path, utc_offset_h: float, rejected: Counter[str]
) -> Iterator[tuple[Array, Array]]:
    """Local times (n,) in s since 1970 and acceleration (3, n) in g, n > 0.

    Samples that lack an axis, and those of 0, 0, 0 (ActiGraph's idle sleep, damaged blocks: no
    gravity in them), are left out and counted in `rejected`.
    Raises InputError where times go back or jump by a month, or where the unit is not g.
    """
    table = samples_table(file, utc_offset_h)
    last, row, checked = np.nan, 0, False
    for time_s, a in device_chunks(file) if table is None else _chunks(table):
        since = np.diff(time_s, prepend=last)
        for at in np.flatnonzero((since < 0) | (since > LONGEST_GAP_S))[:1]:
            how = f"jumps by {since[at] / 86400:.0f} days; mend the clock or cut the file there"
            if since[at] < 0:
                how = (
                    f"goes back by {-since[at]:.6g} s; sort the rows by time, or give times in "
                    "UTC where the clock was put back"
                )
            if table is None:
                raise InputError(f"{file}, sample {row + at + 1}, time: {how}")
            raise table.error(row + int(at), "time", how)
        last, row = time_s[-1], row + len(time_s)
        squares = np.einsum("kn,kn->n", a, a)
        kept = squares > 0.0
        if not kept.all():
            lacking = int(np.isnan(squares).sum())
            for number, reason in (
                (lacking, "samples without x, y or z"),
                (int((~kept).sum()) - lacking, "samples of 0, 0, 0: a device asleep, or damaged"),
            ):
                if number:
                    rejected[reason] += number
            time_s, a = time_s[kept], a[:, kept]
        if not len(time_s):
            continue
        if not checked:
            _check_unit(file, a)
            checked = True
        yield time_s, a


def samples_table(file: Path, utc_offset_h: float) -> LongTable | None:
    """The file as a table; None where a device wrote it."""
    if file.suffix.lower() in READERS:
        return None
    return LongTable(file=file, numbers=AXES, words=(), utc_offset_h=utc_offset_h)


def _chunks(table: LongTable) -> Iterator[tuple[Array, Array]]:
    for chunk in table.chunks():
        yield chunk["time"], np.stack([chunk[axis] for axis in AXES])


def _check_unit(file: Path, a: Array) -> None:
    median = float(np.median(np.linalg.norm(a, axis=0)))
    for low, high, unit in UNITS:
        if low <= median <= high:
            if unit:
                raise InputError(
                    f"{file}: the median of |x, y, z| is {median:.4g}, not 1 g; {unit}"
                )
            return
    raise InputError(
        f"{file}: the median of |x, y, z| is {median:.4g}, not 1 g; "
        "give raw acceleration in g, with gravity in it"
    )
