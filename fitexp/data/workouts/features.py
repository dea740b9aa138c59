"""What the plan says at a step: present values of the inputs and their exponential averages.

Pure numpy. All of it is causal: a step knows the inputs up to its own, none behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fitexp.data.prepare import Arrays
from fitexp.data.sequences import Bool, Float, Int
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.series import MAX_GRADE, MAX_VERTICAL_M_S

SPEEDS = ("derived_speed", "speed")
RATES = (*SPEEDS, "vertical_speed", "grade")
STANDING_KM_H = 0.1  # up to this
UNMOVED_STEPS = 18
CUMULATIVE = ("distance", "time_elapsed", "total_time")
RISE_STEPS = 3  # steps that a rise is measured over, as in series.py: 30 s on a grid of 10 s
BLOCK = 256  # workouts whose features are in memory at once


def blocks(
    spec: WorkoutSpec,
    arrays: Arrays,
    rows: Int,
    origins: Int | None,
    *,
    scales: Sequence[float],
    memory: int,
) -> Iterator[tuple[Int, Float]]:
    """Features of steps `rows` (n,), a block of workouts at a time.

    Yields places in `rows` (m,) and features (m, C): `of_steps` at the row. With `origins` (short
    regime; the last known step of each row): `past` at the origin, then `of_steps` at the row, and
    its change since the origin.
    """
    offset = np.asarray(arrays["offset"])
    workout = np.searchsorted(offset, rows, side="right") - 1
    order = np.argsort(workout, kind="stable")
    workouts, first = np.unique(workout[order], return_index=True)
    for a in range(0, len(workouts), BLOCK):
        end = first[a + BLOCK] if a + BLOCK < len(workouts) else len(order)
        places = order[first[a] : end]
        steps, values = of_steps(spec, arrays, workouts[a : a + BLOCK], scales)
        at_row = values[np.searchsorted(steps, rows[places])]
        if origins is None:
            yield places, at_row
        else:
            origin = origins[places]
            change = at_row - values[np.searchsorted(steps, origin)]
            yield places, np.hstack([past(arrays, origin, memory), at_row, change])


def of_steps(
    spec: WorkoutSpec, arrays: Arrays, workouts: Int, scales: Sequence[float]
) -> tuple[Int, Float]:
    """All steps of some workouts: their rows (n,), rising, and features (n, C).

    C columns: each rate (`rates`), the cumulative inputs, the number of the step; then, for every
    rate and for a constant 1, its exponential average over each of `scales` (in steps). The
    average of the constant, 1 - e^(-t/scale), is how far the others have come from rest. The
    number of the step tells neither target: it is time on a time grid, distance on a distance grid.
    A speed and its averages are unknown (NaN) where `never_moved` says so.
    """
    rows, number, starts = rows_of(arrays, workouts)
    present = np.column_stack([*rates(spec, arrays, rows, number), np.ones(len(rows))])
    averaged = averages(present, starts, _steps_since(spec, arrays, rows, number), scales)
    for r in range(sum(name in SPEEDS for name in spec.inputs)):  # the first rates
        unknown = never_moved(present[:, r], number)
        present[unknown, r] = averaged[unknown, r] = np.nan
    others = [_input(spec, arrays, rows, name) for name in CUMULATIVE if name in spec.inputs]
    flat = averaged.reshape(len(rows), -1)
    return rows, np.column_stack([present[:, :-1], *others, number, flat])


def rows_of(arrays: Arrays, workouts: Int) -> tuple[Int, Int, Int]:
    """All steps of some workouts: rows (n,), numbers within, (W+1,) where each begins."""
    offset = np.asarray(arrays["offset"])
    begin, length = offset[workouts], offset[workouts + 1] - offset[workouts]
    starts = np.concatenate([[0], np.cumsum(length)])
    number = np.arange(starts[-1]) - np.repeat(starts[:-1], length)
    return np.repeat(begin, length) + number, number, starts


def rates(spec: WorkoutSpec, arrays: Arrays, rows: Int, number: Int) -> list[Float]:
    """The inputs that say how hard it is now, 0 at rest; `number` (n,) of each step in its workout.

    Those of RATES among the inputs. From altitude, where no input says it: on a time grid vertical
    speed in m/s, on a distance grid the grade, over the last 3 steps of the piece, clipped as
    series.py clips them.
    """
    found = [_input(spec, arrays, rows, name) for name in RATES if name in spec.inputs]
    timed = spec.step_unit == "s"
    if "altitude" in spec.inputs and ("vertical_speed" if timed else "grade") not in spec.inputs:
        altitude = _input(spec, arrays, rows, "altitude")
        new = _begins_piece(arrays, rows, number)
        start = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
        back = np.maximum(np.arange(len(rows)) - RISE_STEPS, start)
        run = np.maximum(np.arange(len(rows)) - back, 1) * spec.step
        limit = MAX_VERTICAL_M_S if timed else MAX_GRADE
        found.append(((altitude - altitude[back]) / run).clip(-limit, limit))
    return found


def never_moved(speed: Float, number: Int) -> Bool:
    """(n,) steps of workouts that stood from their start, for UNMOVED_STEPS and up to now.

    Missing speeds are 0 in `x`; whoever does not move that long was not measured.
    """
    moved = np.cumsum(speed > STANDING_KM_H)
    begin = np.arange(len(number)) - number
    before = np.where(begin > 0, moved[begin - 1], 0)
    return np.asarray((moved == before) & (number >= UNMOVED_STEPS))


def averages(x: Float, starts: Int, since: Float, scales: Sequence[float]) -> Float:
    """Exponential averages of x (n, C), from rest (0) at the start of every workout: (n, C, K).

    m_t = a^(g_t) m_(t-1) + (1 - a) x_t with a = e^(-1/scale). since: g (n,), steps since the one
    before, more than 1 behind a gap, which counts as rest. starts (W+1,): workouts in x.
    """
    keep = np.exp(-1.0 / np.asarray(scales, dtype=np.float64))  # (K,)
    length = np.diff(starts)
    longest = np.argsort(-length, kind="stable")
    begin, length = starts[:-1][longest], length[longest]
    out = np.empty((*x.shape, len(keep)))
    mean = np.zeros((len(length), x.shape[1], len(keep)))
    for step in range(int(length.max(initial=0))):  # all workouts of that length at once
        n = int(np.searchsorted(-length, -step, side="left"))
        row = begin[:n] + step
        mean[:n] *= keep ** since[row, None, None]
        mean[:n] += (1 - keep) * x[row, :, None]
        out[row] = mean[:n]
    return out


def past(arrays: Arrays, origins: Int, memory: int) -> Float:
    """(n, memory) the target at the last known step, then its last `memory` - 1 differences.

    Before the workout's first step the first target is repeated. Targets as they are fed: holes
    hold the value before them.
    """
    offset = np.asarray(arrays["offset"])
    begin = offset[np.searchsorted(offset, origins, side="right") - 1]
    rows = np.maximum(origins[:, None] - np.arange(memory), begin[:, None])
    y = np.asarray(arrays["y"])[rows].astype(np.float64)
    return np.hstack([y[:, :1], y[:, :-1] - y[:, 1:]])


def _input(spec: WorkoutSpec, arrays: Arrays, rows: Int, name: str) -> Float:
    """An input in its own unit."""
    scale = spec.scaling[name]
    scaled = np.asarray(arrays["x"])[rows, spec.inputs.index(name)].astype(np.float64)
    return np.asarray(scaled / scale.factor * scale.sd + scale.mean)


def _begins_piece(arrays: Arrays, rows: Int, number: Int) -> Bool:
    ends = np.asarray(arrays["piece_end"])[rows]
    return np.asarray((number == 0) | (np.diff(ends, prepend=-1) != 0))


def _steps_since(spec: WorkoutSpec, arrays: Arrays, rows: Int, number: Int) -> Float:
    """Steps since the one before, by true time on a time grid; on a distance grid 1.

    There the time of a gap would be part of the speed.
    """
    if spec.step_unit != "s":
        return np.ones(len(rows))
    passed = np.diff(np.asarray(arrays["elapsed_s"])[rows].astype(np.float64), prepend=0.0)
    return np.where(number == 0, 1.0, np.maximum(passed / spec.step, 1.0))
