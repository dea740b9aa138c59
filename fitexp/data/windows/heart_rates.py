"""A table of heart rates of many users to means of epochs, one user in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitexp.data.windows.long_tables import LongTable
from fitexp.data.windows.signals import STEP_S, Array

HEART_RATE_BPM = (30.0, 230.0)  # outside: missing

Means = tuple[str, NDArray[np.int64], NDArray[np.float32]]  # user, epochs, bpm


def heart_rate_table(file: Path, utc_offset_h: float) -> LongTable:
    return LongTable(file=file, numbers=("heart_rate",), words=("user",), utc_offset_h=utc_offset_h)


def heart_rates(file: Path, utc_offset_h: float, rejected: Counter[str]) -> Iterator[Means]:
    """User by user: epochs (k,), numbered from 1970, that have readings, and their means (bpm).

    The file has columns user, time, heart_rate; a user's rows stand together, in any order.
    Readings outside 30..230 bpm are counted in `rejected`.
    """
    table = heart_rate_table(file, utc_offset_h)
    user: str | None = None
    seen: set[str] = set()
    parts: list[Array] = []
    row = 0
    for chunk in table.chunks():
        names = chunk["user"]
        changes = np.flatnonzero(names[1:] != names[:-1]) + 1
        for begin, end in pairwise([0, *changes.tolist(), len(names)]):
            if not names[begin]:
                raise table.error(row + begin, "user", "empty; each row needs its user")
            if names[begin] != user:
                if user is not None:
                    yield _means(user, parts)
                user, parts = names[begin], []
                if user in seen:
                    how = f"{user!r} comes again after others; sort the rows by user and time"
                    raise table.error(row + begin, "user", how)
                seen.add(user)
            part = slice(begin, end)
            parts.append(_sums(chunk["time"][part], chunk["heart_rate"][part], rejected))
        row += len(names)
    if user is not None:
        yield _means(user, parts)


def _sums(time_s: Array, bpm: Array, rejected: Counter[str]) -> Array:
    """(3, k): epoch, sum and number of its readings."""
    low, high = HEART_RATE_BPM
    outside = (bpm < low) | (bpm > high)
    if outside.any():
        rejected[f"heart rates outside {low:g}..{high:g} bpm"] += int(outside.sum())
    good = np.isfinite(bpm) & ~outside
    epoch, which = np.unique(np.floor_divide(time_s[good], STEP_S), return_inverse=True)
    total = np.bincount(which, weights=bpm[good], minlength=len(epoch))
    return np.stack([epoch, total, np.bincount(which, minlength=len(epoch))])


def _means(user: str, parts: list[Array]) -> Means:
    epoch, total, count = np.concatenate(parts, axis=1)
    every, which = np.unique(epoch, return_inverse=True)
    mean = np.bincount(which, weights=total) / np.bincount(which, weights=count)
    return user, every.astype(np.int64), mean.astype(np.float32)
