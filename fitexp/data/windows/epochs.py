"""What every reader of windows gives: people on a regular grid of time, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One user: n rows, every one `step_s` after the one before; F series."""

    user: str
    start_s: float  # local time of row 0, seconds since 1970-01-01T00:00 (NaN: unknown)
    series: NDArray[np.float32]  # (n, F), NaN where absent
    heart_rate: NDArray[np.float32]  # (n,) bpm, NaN where unknown
    first: NDArray[np.int64] | None = None  # (w,) first rows of the source's own windows
    target: NDArray[np.float32] | None = None  # (w,) and their targets, bpm


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Users one after the other, and what is known of each."""

    source: str  # name of the reader, as printed
    simulated: bool
    series: tuple[str, ...]  # F names
    step_s: float
    users: pd.DataFrame  # index: user id (str); numeric columns (float64), NaN unknown
    recordings: Callable[[], Iterator[Recording]]  # streamed; every user exactly once
    rejected: Mapping[str, int]  # reason -> number, known so far
    notes: Mapping[str, str]  # label -> words, printed with every number
