"""A wearable's epochs as readers give them: one user after the other, on a regular grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Recording:
    user: str
    start_s: float
    series: NDArray[np.float32]
    heart_rate: NDArray[np.float32]
    first: NDArray[np.int64] | None = None
    target: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Epochs:
    source: str
    simulated: bool
    series: tuple[str, ...]
    step_s: float
    users: pd.DataFrame
    recordings: Callable[[], Iterator[Recording]]
    rejected: Mapping[str, int]
    notes: Mapping[str, str]
