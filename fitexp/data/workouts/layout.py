"""Where things stand in prepared workouts: rows of the S steps that lie end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays
from fitexp.data.sequences import Int
from fitexp.data.splits import TRAIN as TRAIN


def workout_of(arrays: Arrays) -> Int:
    """(S,) number of each step's workout."""
    offset = arrays["offset"]
    number: Int = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    return number


def step_of(arrays: Arrays) -> Int:
    """(S,) number of each step within its workout, from 0."""
    workout = workout_of(arrays)
    step: Int = np.arange(len(workout)) - arrays["offset"][workout]
    return step


def training_rows(arrays: Arrays) -> Int:
    """Rows of the measured steps of training workouts."""
    training = np.asarray(arrays["part"])[workout_of(arrays)] == TRAIN
    rows: Int = np.flatnonzero(training & np.asarray(arrays["observed"]))
    return rows


def whole_rows(arrays: Arrays, windows: Int, steps: int) -> tuple[Int, NDArray[np.bool_]]:
    """Rows (N, T) of windows of whole workouts, and which exist: behind the end, the last row."""
    begin, end = _bounds(arrays, windows[:, 0])
    row = (begin + windows[:, 1])[:, None] + np.arange(steps)
    return np.minimum(row, end[:, None] - 1), row < end[:, None]


def ahead_rows(
    arrays: Arrays, windows: Int, steps: int, ahead: int
) -> tuple[Int, Int, NDArray[np.bool_]]:
    """Short-term windows: rows (N,) `ahead` steps after the last known row, those, which exist.

    The last known row is the window's last but one; a horizon behind a gap does not exist.
    """
    begin, _ = _bounds(arrays, windows[:, 0])
    origin = begin + windows[:, 1] + steps - 2
    end = begin + np.asarray(arrays["piece_end"])[begin + windows[:, 1]]
    row = origin + ahead
    return np.minimum(row, end - 1), origin, row < end


def _bounds(arrays: Arrays, workout: NDArray[Any]) -> tuple[Int, Int]:
    offset = np.asarray(arrays["offset"])
    return offset[workout], offset[workout + 1]


def training_pairs(arrays: Arrays, steps: int, ahead: int) -> tuple[Int, Int]:
    """Measured training steps (n,) and the last known step `ahead` before each, one step apart.

    As windows of `steps` have them (`ahead_rows`): `steps` known targets in one piece.
    """
    rows = training_rows(arrays)
    step, number, origins = step_of(arrays), step_of(arrays)[rows], rows - ahead
    rows, origins = (v[number - ahead >= steps - 1] for v in (rows, origins))
    within = np.asarray(arrays["piece_end"])[origins - steps + 1] > step[rows]
    return rows[within], origins[within]
