"""From a table of workouts to prepared arrays: every choice of the protocol in one place.

Source: Ni, Muhlstein, McAuley, "Modeling heart rate and activity data for personalized fitness
recommendation", WWW 2019; departures are said at the keys below.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data import keys, splits
from fitexp.data.prepare import Prepared, digest
from fitexp.data.scaling import apply_scale, fit_scale
from fitexp.data.sequences import Float, Int, forward_fill, step_ends
from fitexp.data.sources import prepared
from fitexp.data.spec import UNKNOWN, Scale, WorkoutSpec
from fitexp.data.workouts.series import SERIES, Samples, Steps, to_steps
from fitexp.data.workouts.table import WorkoutTable, reasons
from fitexp.errors import InputError

TARGETS = {"heart_rate": "bpm", "derived_speed": "km_h"}
ATTRIBUTES = ("user", "sport", "gender")
# Inputs from which the target can be computed. Speed is hidden by a distance grid, where time
# is what gives it away; on a time grid distance does, and grade together with altitude.
LEAKS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("heart_rate", "time"): ("heart_rate",),
    ("heart_rate", "distance"): ("heart_rate",),
    ("derived_speed", "distance"): (
        "derived_speed",
        "speed",
        "time_elapsed",
        "vertical_speed",
        "heart_rate",
    ),
    ("derived_speed", "time"): ("derived_speed", "speed", "distance", "grade", "heart_rate"),
}
CHOICES = {
    "target": tuple(TARGETS),
    "regime": ("whole", "short"),
    "grid": ("time", "distance"),
    "split": ("time", "user", "random"),
    "history": ("previous", "train_prior", "none"),
    "start_value": ("user_mean", "measured"),
}
FIRST_SHORT = 1  # a short window's y_0 is measured, so it starts at the second step or later


@dataclass(frozen=True, kw_only=True)
class Workouts:
    """The protocol as config: fields are the keys of `conf/data/_workouts.yaml`.

    target: heart_rate (bpm) or derived_speed (km/h); regime: "whole" predicts y_1..y_T before
    the workout, "short" the next steps from the past and the plan. grid, step: even steps in
    time (s) or distance (m). inputs: series of SERIES from which the target cannot be read.
    steps: T; stride: between training and validation windows of the short regime.
    max_steps: kept of a workout. horizons: steps ahead scored in the short regime.
    max_target_gap_s: the target is linear between samples at most this far apart, so a step may
    know of a sample that much later; elsewhere it was not measured and is not scored.
    split: "time" per athlete, "user" (fold `fold` of `folds` unseen), "random".
    own_workouts: with split "user", how many of a tested athlete's own earlier workouts are in
    training; tested are then the last ones (fractions[2]) of athletes with `own_at_least` or more,
    the same whatever this is; folds are of these athletes. null: none, and all workouts of a
    tested athlete are.
    history: context is the athlete's previous workout whatever its part, the last one in
    training, or none. With a history, an athlete's first workout serves only as context.
    start_value: y_0 of a whole workout is the athlete's mean first training value (a new
    athlete: the population's) or the first measured value, which is then not scored.
    person_weight: w; in a network's training a step of a person with n measured training steps
    weighs n^-w (mean over training steps 1), so that two people with many workouts are not the
    population. Scores are not weighted.
    baselines: nodes of models that stand beside every run; they do not touch the arrays.
    input_factor: inputs are z-scores times this; statistics come from training rows only (the
    authors' programs used all data).
    shuffled_target: a check for leaks, whole regime only. Every workout is scored (loss, errors,
    means) against the target of another one of its part, while all that is fed stays its own; what
    remains to be learned is how the target usually goes with the step, the baseline `step_mean`.
    It finds answers that reach the network on the way from arrays to scores; an input computed from
    the own target it does not find (LEAKS refuses those known).
    """

    path: str | None
    source: Mapping[str, Any]
    target: str
    regime: str
    grid: str
    step: float
    inputs: Sequence[str]
    steps: int
    stride: int
    max_steps: int | None
    horizons: Sequence[int]
    max_gap_s: float
    max_target_gap_s: float
    min_piece_steps: int
    min_workouts: int
    split: str
    fractions: Sequence[float]
    folds: int
    fold: int
    split_seed: int
    own_workouts: int | None
    own_at_least: int
    history: str
    start_value: str
    person_weight: float
    input_factor: float
    shuffled_target: bool
    baselines: Mapping[str, Any]
    batch_size: int

    kind: ClassVar[str] = "workouts"
    module: ClassVar[str] = "fitexp.data.workouts.module.WorkoutsData"

    def __post_init__(self) -> None:
        keys.check_choices(self, **CHOICES)
        keys.check_whole(self, steps=1, stride=1, min_piece_steps=1, min_workouts=1, batch_size=1)
        keys.check_whole(self, own_at_least=1, folds=0, fold=0, split_seed=0)
        keys.check_whole(self, null=True, max_steps=1, own_workouts=0)
        keys.check_fractions(self.fractions)
        for name in self.inputs:
            if name not in SERIES:
                raise InputError(
                    f"data.inputs: no series {name!r}; choose from {', '.join(SERIES)}"
                )
            if name in LEAKS[self.target, self.grid]:
                raise InputError(
                    f"data.inputs: {name} gives away the target {self.target} on a {self.grid} "
                    f"grid; leave out {', '.join(LEAKS[self.target, self.grid])}"
                )
        if not self.inputs:
            raise InputError("data.inputs is empty: name at least one series")
        if len(set(self.inputs)) < len(self.inputs):
            raise InputError(f"data.inputs={list(self.inputs)}: a series is named twice")
        for key in ("step", "max_gap_s", "max_target_gap_s", "input_factor"):
            if not (keys.is_number(getattr(self, key)) and getattr(self, key) > 0):
                raise InputError(f"data.{key}={getattr(self, key)}: it takes a number above 0")
        if not isinstance(self.shuffled_target, bool):
            raise InputError(f"data.shuffled_target={self.shuffled_target}: it takes true or false")
        if self.shuffled_target and self.regime == "short":
            raise InputError(
                "data.shuffled_target=true needs data.regime=whole: the short regime feeds the "
                "values before a window, which are not shuffled"
            )
        if self.max_steps is not None and self.max_steps <= self.steps and self.regime == "short":
            raise InputError(
                f"data.max_steps={self.max_steps}: must be above data.steps={self.steps}"
            )
        whole = all(isinstance(h, int) and h >= 1 for h in self.horizons)
        if not whole or 1 not in self.horizons:
            raise InputError(
                f"data.horizons={list(self.horizons)}: whole numbers of steps ahead, 1 among them"
            )
        if self.own_workouts is not None and self.split != "user":
            raise InputError("data.own_workouts needs data.split=user: people not trained on")
        if not (keys.is_number(self.person_weight) and 0 <= self.person_weight <= 1):
            raise InputError(f"data.person_weight={self.person_weight}: a number from 0 to 1")

    def prepare(
        self, spec: WorkoutSpec | None = None, allow: Sequence[str] | None = None
    ) -> Prepared:
        """Read, resample, split and scale, or take that from the cache.

        With `spec` (of a trained run) its vocabularies, scaling and start values are used, so
        that other data come out as that run's model knows them. `allow`: what
        `source` may name (targets.locate).
        """
        return prepared(self, WorkoutTable, lambda t: arrays_of(self, t, spec), spec, allow)


def arrays_of(
    protocol: Workouts,
    table: WorkoutTable,
    given: WorkoutSpec | None = None,
    planned: Collection[str] = (),
) -> Prepared:
    """The protocol applied to a table; the arrays are those of `WorkoutsData` and `Layout`.

    planned: workouts to predict, measured or not, with `given`, the spec of a trained run. They
    are the test part, all others are context only, and no athlete has too few workouts.
    """
    rejected = Counter(table.rejected)
    counts: dict[str, int] = {"workouts read": len(table.sessions)}
    counts["athletes read"] = int(table.sessions["athlete"].nunique())
    kept, steps = _resample(protocol, table, rejected, planned)
    if planned:
        _check_planned(table, kept, rejected, planned)
    else:
        kept, steps = _once(table, kept, steps, rejected)
        kept, steps = _enough(protocol, table, kept, steps, rejected)
    sessions = table.sessions.iloc[kept].reset_index(drop=True)
    _, user = np.unique(sessions["athlete"].to_numpy(dtype=str), return_inverse=True)
    begun = sessions["start"].to_numpy(dtype=float)
    order = _chronological(user, begun)
    unknown_start = int(np.isnan(begun).sum())
    if unknown_start:
        counts["workouts without a start time (kept in the table's order)"] = unknown_start
    if planned:
        wanted = sessions["workout"].isin(list(planned)).to_numpy()
        part = np.where(wanted, splits.TEST, splits.OUT).astype(np.int8)
    else:
        part = _parts(protocol, user, order)
    layout = _flat(protocol, steps)
    ended = begun + np.array([s.values["total_time"][0] for s in steps])
    days = _days_since(user, order, begun)
    fitted = (
        _fit(protocol, layout, sessions, part, days)
        if given is None
        else Fitted(given.attributes, given.scaling, given.start_by_user)
    )
    start_by_user = fitted.start_by_user
    start = np.array(
        [start_by_user.get(a, start_by_user[UNKNOWN]) for a in sessions["athlete"]], dtype=float
    )
    history = "recorded" if planned and protocol.history != "none" else protocol.history
    previous = _previous(history, user, order, part, begun, ended)
    observed = np.isfinite(layout.y)
    if protocol.start_value == "measured":
        for w in range(len(sessions)):
            first = layout.steps_of(w).start + int(np.argmax(observed[layout.steps_of(w)]))
            if observed[first]:
                start[w], observed[first] = layout.y[first], False

    arrays: dict[str, NDArray[Any]] = {
        "x": _scaled_inputs(protocol, layout, fitted.scaling),
        "y": _filled_target(layout, start),
        "observed": observed,
        "elapsed_s": layout.elapsed_s.astype(np.float32),
        "piece_end": layout.piece_end,
        "offset": layout.offset,
        "previous": previous,
        "since_last": np.nan_to_num(apply_scale(days, fitted.scaling["since_last"])).astype(
            np.float32
        ),
        "attributes": _encoded(_attributes(sessions), fitted.vocabularies),
        "start": start.astype(np.float32),
        "part": part,
        "weight": _weights(protocol.person_weight, layout, user, part, observed),
        "workout_id": sessions["workout"].to_numpy(dtype=str),
        "user_id": sessions["athlete"].to_numpy(dtype=str),
        "sport": sessions["sport"].to_numpy(dtype=str),
    }
    if protocol.shuffled_target:
        lender = _lenders(part, protocol.split_seed)
        arrays["scored"], observed = _lent(arrays["y"], observed, layout, lender)
        arrays["observed"] = observed
    elif table.simulated and protocol.target == "heart_rate":
        arrays["expected"] = layout.expected.astype(np.float32)
    windows = _windows(protocol, layout, part)
    for number, name in splits.NAMES.items():
        if not len(windows[name]) and given is None:
            raise InputError(
                f"no {name} window is left: data.split={protocol.split} with data.fractions="
                f"{list(protocol.fractions)} over {len(sessions)} workouts; see data.min_workouts"
                ", data.steps, or give more data"
            )
        arrays[name] = windows[name]
        counts[f"{name} workouts"] = int((part == number).sum())
        counts[f"{name} athletes"] = len(np.unique(user[part == number]))
        counts[f"{name} windows"] = len(windows[name])
        counts[f"{name} measured steps"] = int(observed[(part == number)[layout.workout]].sum())
    for name in protocol.inputs:
        absent = int(np.isnan(layout.values[name]).sum())
        if absent:
            counts[f"steps without {name} (filled)"] = absent
    counts["context-only workouts"] = int((part == splits.OUT).sum())
    spec = _spec(protocol, table, fitted)
    report = {
        "counts": counts,
        "rejected": dict(rejected),
        "data_hash": digest(*(arrays[name] for name in sorted(arrays)), spec.to_dict()),
        "split_hash": digest(arrays["workout_id"], part),
    }
    return Prepared(spec, arrays, report)


@dataclass(frozen=True)
class Layout:
    """All kept workouts laid end to end: S steps of W workouts.

    values: series -> (S,); y (S,) target, NaN missing; elapsed_s (S,); piece_end (S,) within
    the workout, the step after the last one of a step's uninterrupted piece; offset (W+1,);
    workout (S,) number of the workout; expected (S,) a simulator's noise-free target.
    """

    values: Mapping[str, Float]
    y: Float
    elapsed_s: Float
    piece_end: Int
    offset: Int
    workout: Int
    expected: Float

    def steps_of(self, workout: int) -> slice:
        return slice(int(self.offset[workout]), int(self.offset[workout + 1]))


def _resample(
    protocol: Workouts, table: WorkoutTable, rejected: Counter[str], planned: Collection[str]
) -> tuple[list[int], list[Steps]]:
    """Even steps of every session; what cannot be used is counted in `rejected`."""
    measured = ~table.sessions["workout"].isin(list(planned)).to_numpy()
    samples = table.samples
    bounds = np.searchsorted(samples["session"], np.arange(len(table.sessions) + 1))
    columns = {
        name: samples[name].to_numpy(dtype=np.float64)
        for name in ("time_s", "heart_rate_bpm", "speed_km_h", "altitude_m", "distance_km")
    }
    expected = (
        samples["expected_heart_rate_bpm"].to_numpy(dtype=np.float64)
        if "expected_heart_rate_bpm" in samples
        else None
    )
    sports = table.sessions["sport"].to_numpy(dtype=str)
    kept: list[int] = []
    found: list[Steps] = []
    total = len(table.sessions)
    for number, (a, b) in enumerate(pairwise(bounds)):
        _progress(number, total)
        if b - a < 2:
            rejected["workouts with fewer than 2 samples"] += 1
            continue
        steps, dropped = to_steps(
            Samples(
                sport=sports[number],
                expected_heart_rate_bpm=None if expected is None else expected[a:b],
                **{name: values[a:b] for name, values in columns.items()},
            ),
            grid=protocol.grid,
            step=protocol.step,
            max_gap_s=protocol.max_gap_s,
            max_target_gap_s=protocol.max_target_gap_s,
            min_piece_steps=protocol.min_piece_steps,
        )
        if dropped:
            rejected[f"pieces under {protocol.min_piece_steps} steps"] += dropped
        if steps is None and protocol.grid == "distance" and not _moved(columns, a, b):
            rejected["workouts without distance or speed"] += 1
        elif steps is None:
            rejected[f"workouts without a piece of {protocol.min_piece_steps} steps"] += 1
        elif measured[number] and _known(protocol, steps) < 2:
            rejected[f"workouts without a measured {protocol.target}"] += 1
        else:
            kept.append(number)
            found.append(_cut(steps, protocol.max_steps))
    _progress(total, total)
    return kept, found


def _cut(steps: Steps, limit: int | None) -> Steps:
    """The first `limit` steps, copied: what is behind them shall not fill the memory."""
    values = {name: series[:limit].copy() for name, series in steps.values.items()}
    return Steps(
        values=values, piece=steps.piece[:limit].copy(), expected=steps.expected[:limit].copy()
    )


def _known(protocol: Workouts, steps: Steps) -> int:
    return int(np.isfinite(steps.values[protocol.target][: protocol.max_steps]).sum())


def _check_planned(
    table: WorkoutTable, kept: list[int], rejected: Counter[str], planned: Collection[str]
) -> None:
    lost = sorted(set(planned) - set(table.sessions["workout"].iloc[kept]))
    if lost:
        raise InputError(f"{', '.join(lost)} cannot be predicted: {reasons(rejected)}")


def _moved(columns: Mapping[str, Float], a: int, b: int) -> bool:
    return any(np.isfinite(columns[name][a:b]).any() for name in ("distance_km", "speed_km_h"))


def _once(
    table: WorkoutTable, kept: list[int], steps: list[Steps], rejected: Counter[str]
) -> tuple[list[int], list[Steps]]:
    """Without a second recording of one athlete that starts at the same second."""
    seen: set[tuple[str, float]] = set()
    chosen = []
    starts = table.sessions["start"].to_numpy(dtype=float)
    athletes = table.sessions["athlete"].to_numpy(dtype=str)
    for place, number in enumerate(kept):
        key = (str(athletes[number]), float(starts[number]))
        if np.isnan(starts[number]) or key not in seen:
            chosen.append(place)
        seen.add(key)
    if len(chosen) < len(kept):
        rejected["workouts that start with another of the athlete"] += len(kept) - len(chosen)
    return [kept[i] for i in chosen], [steps[i] for i in chosen]


def _enough(
    protocol: Workouts,
    table: WorkoutTable,
    kept: list[int],
    steps: list[Steps],
    rejected: Counter[str],
) -> tuple[list[int], list[Steps]]:
    """Only athletes with at least `min_workouts` usable workouts."""
    athlete = table.sessions["athlete"].to_numpy(dtype=str)[kept]
    names, count = np.unique(athlete, return_counts=True)
    few = set(names[count < protocol.min_workouts])
    if few:
        rejected[f"athletes with fewer than {protocol.min_workouts} workouts"] = len(few)
        rejected["workouts of those athletes"] = int(np.isin(athlete, sorted(few)).sum())
    chosen = [i for i, name in enumerate(athlete) if name not in few]
    if not chosen:
        raise InputError(
            f"nothing is left of {len(table.sessions)} workouts: rejected {reasons(rejected)} "
            f"(data.min_workouts={protocol.min_workouts}, "
            f"data.min_piece_steps={protocol.min_piece_steps})"
        )
    return [kept[i] for i in chosen], [steps[i] for i in chosen]


def _progress(done: int, total: int) -> None:
    """A line on standard error, on a terminal only, for tables of some size."""
    if total < 200 or not sys.stderr.isatty():
        return
    if done == total:
        sys.stderr.write("\r" + " " * 40 + "\r")
    elif done % max(1, total // 100) == 0:
        sys.stderr.write(f"\rpreparing workouts {100 * done // total:3d} %")
    sys.stderr.flush()


def _chronological(user: Int, start: Float) -> Int:
    """Rank in time; without a start: behind the athlete's workout that the table lists before."""
    filled = start.copy()
    for u in np.unique(user):
        filled[user == u] = forward_fill(start[user == u], -np.inf)
    return np.argsort(np.argsort(filled, kind="stable"))


def _parts(protocol: Workouts, user: Int, order: Int) -> splits.Part:
    """Part of every workout; where history is used, each athlete's first one is context only."""
    part = np.full(len(user), splits.OUT, dtype=np.int8)
    used = np.ones(len(user), dtype=bool)
    for u in np.unique(user) if protocol.history != "none" else ():
        rows = np.flatnonzero(user == u)
        used[rows[np.argmin(order[rows])]] = False
    if protocol.split == "time":
        part[used] = splits.by_time(user[used], order[used], protocol.fractions)
    elif protocol.split == "user":
        try:
            part[used] = splits.by_user(
                user[used],
                folds=protocol.folds,
                fold=protocol.fold,
                val_fraction=protocol.fractions[1],
                seed=protocol.split_seed,
                at_least=1 if protocol.own_workouts is None else protocol.own_at_least,
            )
        except ValueError as error:
            raise InputError(f"data.folds, data.fold: {error}") from error
        if protocol.own_workouts is not None:
            part[used] = splits.with_own(
                part[used],
                user[used],
                order[used],
                own=protocol.own_workouts,
                test_share=protocol.fractions[2],
            )
    else:
        part[used] = splits.at_random(int(used.sum()), protocol.fractions, protocol.split_seed)
    return part


def _previous(
    history: str, user: Int, order: Int, part: splits.Part, begun: Float, ended: Float
) -> Int:
    """The workout that gives each workout's context, -1 for none: the last that had ended before.

    train_prior: of the athlete's training workouts and the first one before them; none for an
    athlete without training workouts. recorded: of those that are not to be predicted.
    """
    previous = np.full(len(user), -1, dtype=np.int64)
    if history == "none":
        return previous
    for u in np.unique(user):
        rows = np.flatnonzero(user == u)
        rows = rows[np.argsort(order[rows])]
        earlier: list[int] = []
        trained = bool((part[rows] == splits.TRAIN).any())
        for row in rows.tolist():
            over = [w for w in earlier[-5:] if not ended[w] > begun[row]]
            previous[row] = over[-1] if over else -1
            known = trained and part[row] in (splits.TRAIN, splits.OUT)
            recorded = history == "recorded" and part[row] != splits.TEST
            if history == "previous" or recorded or known:
                earlier.append(row)
    return previous


def _days_since(user: Int, order: Int, start: Float) -> Float:
    """Days since the athlete's previous workout of any part; NaN where either start is unknown."""
    days = np.full(len(user), np.nan)
    for u in np.unique(user):
        rows = np.flatnonzero(user == u)
        rows = rows[np.argsort(order[rows])]
        days[rows[1:]] = np.diff(start[rows]) / 86400.0
    return days


def _flat(protocol: Workouts, steps: Sequence[Steps]) -> Layout:
    pieces = [s.piece for s in steps]
    lengths = np.array([len(p) for p in pieces], dtype=np.int64)
    values = {name: np.concatenate([s.values[name] for s in steps]) for name in SERIES}
    return Layout(
        values=values,
        y=values[protocol.target],
        elapsed_s=values["time_elapsed"],
        piece_end=np.concatenate([step_ends(p) for p in pieces]),
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        workout=np.repeat(np.arange(len(steps)), lengths),
        expected=np.concatenate([s.expected for s in steps]),
    )


def _filled_input(name: str, values: Float, layout: Layout) -> Float:
    """Missing speed is 0 (standing); a missing altitude keeps the workout's last one.

    Departure: no mask tells a network that a speed was missing; `report` counts such steps.
    """
    if name in ("derived_speed", "speed"):
        return np.nan_to_num(values)
    if name != "altitude":
        return values
    filled = values.copy()
    for w in range(len(layout.offset) - 1):
        rows = layout.steps_of(w)
        forward = forward_fill(values[rows])
        filled[rows] = forward_fill(forward[::-1])[::-1]  # before the first one: the first one
    return filled


def _scaled_inputs(
    protocol: Workouts, layout: Layout, scaling: Mapping[str, Scale]
) -> NDArray[np.float32]:
    """(S, F) z-scores times the factor; what is missing in a whole workout is 0, the mean."""
    columns = [
        np.nan_to_num(apply_scale(_filled_input(n, layout.values[n], layout), scaling[n]))
        for n in protocol.inputs
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _check_recorded(protocol: Workouts, layout: Layout, rows: NDArray[np.bool_]) -> None:
    """Raise InputError for an input that no training workout has."""
    for name in protocol.inputs:
        if not np.isfinite(layout.values[name][rows]).any():
            raise InputError(f"data.inputs: no training workout has any {name}; leave it out")


@dataclass(frozen=True)
class Fitted:
    """What is learned from training workouts, or taken from a trained run's spec."""

    vocabularies: Mapping[str, tuple[str, ...]]
    scaling: Mapping[str, Scale]
    start_by_user: Mapping[str, float]


def _fit(
    protocol: Workouts, layout: Layout, sessions: Any, part: splits.Part, days: Float
) -> Fitted:
    train = part == splits.TRAIN
    rows = train[layout.workout]
    _check_recorded(protocol, layout, rows)
    scaling = {
        n: fit_scale(_filled_input(n, layout.values[n], layout)[rows], protocol.input_factor)
        for n in protocol.inputs
    }
    scaling["since_last"] = fit_scale(days[train], protocol.input_factor)
    scaling[protocol.target] = fit_scale(layout.y[rows])
    vocabularies = {
        name: (UNKNOWN, *sorted(set(map(str, values[train])) - {UNKNOWN}))
        for name, values in _attributes(sessions).items()
    }
    starts = _start_values(layout, sessions["athlete"].to_numpy(dtype=str), part)
    return Fitted(vocabularies, scaling, starts)


def _filled_target(layout: Layout, start: Float) -> NDArray[np.float32]:
    """The target with holes filled by the last measured value, at first by the start value."""
    y = [
        forward_fill(layout.y[layout.steps_of(w)], float(start[w]))
        for w in range(len(layout.offset) - 1)
    ]
    return np.concatenate(y).astype(np.float32)


def _lenders(part: splits.Part, seed: int) -> Int:
    """(W,) the workout whose target is scored in each one's place.

    One random ring through each part's workouts: nobody keeps his own, unless he is alone. A
    workout of no part is its own lender.
    """
    lender = np.arange(len(part))
    for number in splits.NAMES:
        ring = np.random.default_rng([seed, 3, number]).permutation(np.flatnonzero(part == number))
        lender[ring] = np.roll(ring, 1)
    return lender


def _lent(
    y: NDArray[np.float32], observed: NDArray[np.bool_], layout: Layout, lender: Int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(S,) targets and which are measured, each workout's from its lender, step by step.

    A longer lender is cut; behind the end of a shorter one nothing counts as measured.
    """
    step = np.arange(len(y)) - layout.offset[layout.workout]
    begin, end = layout.offset[lender], layout.offset[lender + 1]
    row = begin[layout.workout] + step
    within = row < end[layout.workout]
    row = np.where(within, row, end[layout.workout] - 1)
    return y[row], observed[row] & within


def _start_values(layout: Layout, athlete: NDArray[np.str_], part: splits.Part) -> dict[str, float]:
    """Mean first measured target of each athlete's training workouts; UNKNOWN: of all athletes."""
    first: dict[str, list[float]] = {}
    for w in np.flatnonzero(part == splits.TRAIN):
        y = layout.y[layout.steps_of(int(w))]
        first.setdefault(str(athlete[w]), []).append(float(y[np.isfinite(y)][0]))
    means = {name: float(np.mean(values)) for name, values in sorted(first.items())}
    return {**means, UNKNOWN: float(np.mean(list(means.values()))) if means else 0.0}


def _weights(
    power: float, layout: Layout, user: Int, part: splits.Part, observed: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(W,) weight of a workout's steps in training: n^-power, their mean over training steps 1."""
    training = observed & (part == splits.TRAIN)[layout.workout]
    steps = np.bincount(user[layout.workout[training]], minlength=int(user.max()) + 1)
    by_user = np.maximum(steps, 1).astype(np.float64) ** -power
    mean = float((by_user * steps).sum() / max(steps.sum(), 1)) or 1.0
    return (by_user / mean)[user].astype(np.float32)


def _attributes(sessions: Any) -> dict[str, NDArray[np.str_]]:
    columns = dict(zip(ATTRIBUTES, ("athlete", "sport", "gender"), strict=True))
    return {name: sessions[column].to_numpy(dtype=str) for name, column in columns.items()}


def _encoded(
    values: Mapping[str, NDArray[np.str_]], vocabularies: Mapping[str, Sequence[str]]
) -> Int:
    """(W, M) number of each value in its vocabulary; 0 for values not seen in training."""
    columns = []
    for name, vocabulary in vocabularies.items():
        number = {value: i for i, value in enumerate(vocabulary)}
        columns.append([number.get(str(v), 0) for v in values[name]])
    return np.array(columns, dtype=np.int64).T


def _windows(protocol: Workouts, layout: Layout, part: splits.Part) -> dict[str, Int]:
    """Per part (N, 2): workout and first step of each window.

    whole: blocks of T steps, every workout's first block before any second one. short: full
    windows of T steps within one piece, measured before and `stride` apart; tests take every
    step, and a window whose last step was not measured is not scored.
    """
    found: dict[str, Int] = {}
    for number, name in splits.NAMES.items():
        rows: list[tuple[int, int]] = []
        for w in np.flatnonzero(part == number):
            steps = layout.steps_of(int(w))
            n = steps.stop - steps.start
            if protocol.regime == "whole":
                rows += [(int(w), first) for first in range(0, n, protocol.steps)]
                continue
            stride = 1 if name == "test" else protocol.stride
            ends = layout.piece_end[steps]
            firsts = np.arange(FIRST_SHORT, n - protocol.steps + 1, stride)
            firsts = firsts[ends[firsts - 1] >= firsts + protocol.steps]
            observed = np.isfinite(layout.y[steps])
            if name != "train":
                firsts = firsts[observed[firsts + protocol.steps - 1]]
            rows += [(int(w), int(first)) for first in firsts]
        windows = np.array(rows, dtype=np.int64).reshape(-1, 2)
        found[name] = (
            windows[np.argsort(windows[:, 1] // protocol.steps, kind="stable")]
            if (protocol.regime == "whole")
            else windows
        )
    return found


def _spec(protocol: Workouts, table: WorkoutTable, fitted: Fitted) -> WorkoutSpec:
    unit = "s" if protocol.grid == "time" else "m"
    own = protocol.own_workouts
    split = {
        "time": "by time per athlete, {:.0%}/{:.0%}/{:.0%}".format(*protocol.fractions),
        "user": f"by athlete, fold {protocol.fold} of {protocol.folds}"
        + ("" if own is None else f", {own} own workouts trained on")
        + ("" if own is None else f", of those with {protocol.own_at_least} or more"),
        "random": "random workouts (later ones may explain earlier ones)",
    }[protocol.split]
    history = {
        "previous": "previous workout, whatever its part",
        "train_prior": "last workout of the training part before it",
        "none": "none",
    }[protocol.history]
    horizons = (
        {f"{h * protocol.step:g}{unit}": int(h) for h in protocol.horizons}
        if protocol.regime == "short"
        else {}
    )
    start = {
        "user_mean": "athlete's mean first training value",
        "measured": "MEASURED: the workout's first value, not scored",
    }
    told = protocol.target == "derived_speed" and "total_time" in protocol.inputs
    leaked_mean = " (total_time tells the workout's mean speed)" if told else ""
    factor = fitted.scaling[protocol.inputs[0]].factor
    shuffled = (
        ", SHUFFLED between workouts (debug): no model should beat step_mean's RMSE"
        if protocol.shuffled_target
        else ""
    )
    words = {
        "data": ("SIMULATED " if table.simulated else "") + table.name,
        "target": f"{protocol.target} ({TARGETS[protocol.target].replace('_', '/')}){shuffled}",
        "inputs": ", ".join(protocol.inputs) + leaked_mean,
        "regime": (
            f"whole workout, blocks of {protocol.steps} steps of {protocol.step:g} {unit}"
            if protocol.regime == "whole"
            else f"short term, windows of {protocol.steps} steps of {protocol.step:g} {unit}, "
            "scored at the last step"
        ),
        "steps kept": "all" if protocol.max_steps is None else f"first {protocol.max_steps}",
        "split": split,
        "history": history,
        "scaling": f"inputs z-score x {factor:g}, from training rows",
        "scoring": "errors pooled over measured steps",
    }
    if protocol.person_weight:
        words["training people"] = (
            f"a step of a person with n steps weighs n^-{protocol.person_weight:g}"
        )
    if protocol.regime == "whole":
        words["start value"] = start[protocol.start_value]
    return WorkoutSpec(
        kind=Workouts.kind,
        source=table.name,
        simulated=table.simulated,
        target=protocol.target,
        unit=TARGETS[protocol.target],
        regime=protocol.regime,
        steps=protocol.steps,
        step=protocol.step,
        step_unit=unit,
        inputs=tuple(protocol.inputs),
        attributes=fitted.vocabularies,
        history=protocol.history,
        horizons=horizons,
        scaling=fitted.scaling,
        start_by_user=fitted.start_by_user,
        protocol=words,
    )
