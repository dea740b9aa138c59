"""Among which plans a test workout's true plan has to be found, and who is to follow them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays, Prepared, scored
from fitexp.data.sequences import Bool, Float, Int
from fitexp.data.splits import OUT, TEST, TRAIN

MOST, LEAST = 50, 10  # candidates of a test workout, the true plan among them
LONGER = 0.1  # their lengths differ by at most this share
SEED = 0


def drawn(arrays: Arrays) -> tuple[dict[int, Int], int]:
    """Test workout -> candidates, its own number first; and how many workouts have too few.

    The others: up to 49 drawn by chance from all workouts of the data, whatever their athlete and
    part, of the same sport and with a length (steps kept by the protocol) within 10 %. The draw
    depends on the data and the workout's number alone: every model ranks the same candidates.
    """
    length = np.diff(np.asarray(arrays["offset"]))
    sport = np.asarray(arrays["sport"])
    found: dict[int, Int] = {}
    left_out = 0
    for test in np.unique(np.asarray(arrays["test"])[:, 0]).tolist():
        alike = (sport == sport[test]) & (np.abs(length - length[test]) <= LONGER * length[test])
        alike[test] = False
        others = np.flatnonzero(alike)
        if 1 + len(others) < LEAST:
            left_out += 1
            continue
        chosen = np.random.default_rng([SEED, test]).permutation(others)[: MOST - 1]
        found[test] = np.concatenate([[test], chosen])
    return found, left_out


def followed(prepared: Prepared, owner: Int, plan: Int) -> Prepared:
    """Workouts with the plans of workouts `plan` (N,), done by the people of `owner` (N,).

    They are the test part, in order, behind the workouts their people look back on. Of the plan:
    x, times, sport; of the owner: attributes, start value, history, days since. No heart rate.
    """
    arrays = prepared.arrays
    before = np.asarray(arrays["previous"])[owner]
    context = np.unique(before[before >= 0])
    taken = np.concatenate([context, plan])
    person = np.concatenate([context, owner])
    rows, lengths = _rows(arrays, taken)
    new = np.arange(len(taken)) >= len(context)
    new_step = np.repeat(new, lengths)
    start = np.asarray(arrays["start"])[person]
    offset = np.concatenate([[0], np.cumsum(lengths)])
    previous = np.full(len(taken), -1, dtype=np.int64)
    previous[new] = np.where(before >= 0, np.searchsorted(context, before), -1)
    out: dict[str, NDArray[np.generic]] = {
        name: np.asarray(arrays[name])[rows] for name in ("x", "elapsed_s", "piece_end")
    }
    out |= {
        name: np.asarray(arrays[name])[person] for name in ("attributes", "since_last", "user_id")
    }
    out |= {
        "y": np.where(new_step, np.repeat(start, lengths), np.asarray(arrays["y"])[rows]),
        "observed": np.asarray(arrays["observed"])[rows] & ~new_step,
        "offset": offset,
        "previous": previous,
        "start": start,
        "part": np.where(new, TEST, OUT).astype(np.int8),
        "workout_id": np.asarray(arrays["workout_id"])[taken],
        "sport": np.asarray(arrays["sport"])[taken],
        "test": _blocks(np.flatnonzero(new), lengths[new], prepared.spec.steps),
    }
    return dataclasses.replace(prepared, arrays=out)


def _rows(arrays: Arrays, workouts: Int) -> tuple[Int, Int]:
    """Rows of the steps of workouts, end to end, and the lengths."""
    offset = np.asarray(arrays["offset"])
    lengths = np.diff(offset)[workouts]
    behind = np.cumsum(lengths) - lengths
    rows = np.arange(lengths.sum()) + np.repeat(offset[workouts] - behind, lengths)
    return rows, lengths


def _blocks(workouts: Int, lengths: Int, steps: int) -> Int:
    """(N, 2) workout and first step of blocks; every first block before any second one."""
    windows = [
        (workout, first)
        for first in range(0, int(lengths.max(initial=0)), steps)
        for workout in workouts[lengths > first].tolist()
    ]
    return np.array(windows, dtype=np.int64).reshape(-1, 2)


# What a person did in training


def in_training(arrays: Arrays, values: Float) -> Float:
    """(W,) mean of `values` (W,) over the training workouts of each one's athlete and sport.

    Without any of those: of everybody in the sport; without these: of everybody. NaN are left out.
    """
    known: Bool = (np.asarray(arrays["part"]) == TRAIN) & np.isfinite(values)
    found = np.full(len(values), values[known].mean() if known.any() else np.nan)
    codes = [np.unique(arrays[name], return_inverse=True)[1] for name in ("sport", "user_id")]
    for group in (codes[0], codes[0] * (codes[1].max() + 1) + codes[1]):
        count = np.bincount(group, weights=known)
        total = np.bincount(group, weights=np.where(known, values, 0.0))
        has = count[group] > 0
        found[has] = (total[group] / np.maximum(count[group], 1))[has]
    return found


def lengths(arrays: Arrays) -> Float:
    """(W,) steps kept of each workout."""
    return np.diff(np.asarray(arrays["offset"])).astype(np.float64)


def mean_targets(arrays: Arrays) -> Float:
    """(W,) mean measured target of each workout."""
    return _means(arrays, np.asarray(scored(arrays)), np.asarray(arrays["observed"]))


def mean_speeds(prepared: Prepared) -> Float | None:
    """(W,) mean speed in km/h of each workout; None where the inputs do not hold one."""
    spec = prepared.spec
    for name in ("derived_speed", "speed"):
        if name in spec.inputs:
            scale = spec.scaling[name]
            column = np.asarray(prepared.arrays["x"])[:, spec.inputs.index(name)]
            speed = column.astype(np.float64) / scale.factor * scale.sd + scale.mean
            return _means(prepared.arrays, speed, np.ones(len(speed), dtype=bool))
    return None


def _means(arrays: Arrays, values: NDArray[np.generic], counts: Bool) -> Float:
    lengths = np.diff(np.asarray(arrays["offset"]))
    workout = np.repeat(np.arange(len(lengths)), lengths)[counts]
    number = np.bincount(workout, minlength=len(lengths))
    total = np.bincount(workout, weights=values[counts], minlength=len(lengths))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / number, np.float64)
