"""People on a regular grid of short epochs: what every reader of wearables returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One user: n rows, each `step_s` after the one before.

    start_s: local time of row 0, seconds since 1970-01-01T00:00 (NaN: unknown); series (n, F)
    float32, NaN where absent; heart_rate (n,) float32, bpm, NaN where unknown.
    first (w,) int64 and target (w,) float32, bpm: only where the source has windows of its own,
    the first row of each and its answer; the recording ends with the last of them.
    Raises ValueError where these do not agree.
    """

    user: str
    start_s: float
    series: NDArray[np.float32]
    heart_rate: NDArray[np.float32]
    first: NDArray[np.int64] | None = None
    target: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        rows = len(self.heart_rate)
        _check(self.series.ndim == 2 and self.series.dtype == np.float32, self, "series")
        _check(self.heart_rate.shape == (len(self.series),), self, "heart_rate")
        _check(self.heart_rate.dtype == np.float32, self, "heart_rate")
        _check(not np.isinf(self.start_s), self, "start_s")
        _check((self.first is None) == (self.target is None), self, "first and target")
        if self.first is None or self.target is None:
            return
        _check(self.first.ndim == 1 and self.first.dtype == np.int64, self, "first")
        _check(bool(((self.first >= 0) & (self.first < rows)).all()), self, "first")
        _check(self.target.shape == self.first.shape, self, "target")
        _check(self.target.dtype == np.float32, self, "target")


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """A source of recordings on one grid.

    source: name of the reader, as printed; simulated: made by a program; series: F names;
    step_s: seconds between rows. users: index user (str), float64 columns whose names end in
    their unit, NaN unknown. recordings: a stream that gives every user exactly once.
    rejected: reason -> number of what was left out; the stream may add to it.
    notes: label -> words that are printed with every number.
    Raises ValueError where these do not agree.
    """

    source: str
    simulated: bool
    series: tuple[str, ...]
    step_s: float
    users: pd.DataFrame
    recordings: Callable[[], Iterator[Recording]]
    rejected: Mapping[str, int]
    notes: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.series or len(set(self.series)) < len(self.series):
            raise ValueError(f"{self.source}: names of series must differ: {self.series}")
        if not 0 < self.step_s < np.inf:
            raise ValueError(f"{self.source}: step_s is {self.step_s}; it must be above 0")
        users = self.users
        if not users.index.is_unique or not all(isinstance(user, str) for user in users.index):
            raise ValueError(f"{self.source}: users must be named by different strings")
        if not users.columns.is_unique or not (users.dtypes == np.float64).all():
            raise ValueError(f"{self.source}: columns of users must be float64 and differ in name")


def heart_rate_range(given: Sequence[float]) -> tuple[float, float]:
    """The two numbers of a reader's key heart_rate_bpm, outside which a heart rate is missing."""
    if len(given) != 2 or not 0 <= given[0] < given[1]:
        raise InputError(
            f"data.source.heart_rate_bpm={list(given)}: the lowest and the highest, as [30, 230]"
        )
    return given[0], given[1]


def _check(holds: bool, recording: Recording, what: str) -> None:
    if not holds:
        raise ValueError(
            f"user {recording.user}: {what} is of the wrong shape, type or range "
            f"(series {recording.series.shape}, heart_rate {recording.heart_rate.shape})"
        )
