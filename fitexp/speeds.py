"""How fast a user goes along routes: by habit, or as a trained run of speed predicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fitexp import predict, targets, worker
from fitexp.data.prepare import Prepared
from fitexp.data.sequences import Float, Int
from fitexp.data.spec import UNKNOWN, WorkoutSpec
from fitexp.data.splits import TEST, TRAIN
from fitexp.data.workouts.habits import GRADES, STANDING_KM_H, Habit, habit, moving_steps
from fitexp.data.workouts.layout import workout_of
from fitexp.data.workouts.plans import Plan, on_last_workout
from fitexp.data.workouts.routes import (
    SHORTEST_KM,
    STEP_KM,
    Along,
    Speed,
    covered,
    length_km,
    recorded,
    timed,
)
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError
from fitexp.run import FINISHED, Run

HABIT_WORKOUTS = 300  # training workouts that tell everybody's habit in a sport
STEADY = Habit(np.full(len(GRADES), 10.0))  # lays a route out before its speed is known
# A sport and routes -> each one's speed, None where there is none; and notes.
Speeds = Callable[[str, Sequence[Plan]], tuple[list[Speed | None], list[str]]]


def by_habit(table: WorkoutTable, own: Prepared, user: str, max_gap_s: float) -> Speeds:
    """The user's speed by grade in training, the same for every route."""

    def speeds(sport: str, routes: Sequence[Plan]) -> tuple[list[Speed | None], list[str]]:
        usual, note = _habit(table, own, user, sport, max_gap_s)
        return [usual] * len(routes), [note] if note else []

    return speeds


def _habit(
    table: WorkoutTable, own: Prepared, user: str, sport: str, max_gap_s: float
) -> tuple[Habit | None, str | None]:
    """The user's speed by grade from training workouts, and a note where there are none."""
    arrays = own.arrays
    alike = (np.asarray(arrays["part"]) == TRAIN) & (np.asarray(arrays["sport"]) == sport)
    whose = np.asarray(arrays["user_id"])

    def moving(workouts: Int) -> tuple[Float, Float]:
        names = np.asarray(arrays["workout_id"])[workouts].tolist()
        rows = np.flatnonzero(table.sessions["workout"].isin(names).to_numpy()).tolist()
        return moving_steps((plan.activity for plan in recorded(table, rows)), max_gap_s)

    trained = np.flatnonzero(alike)
    spread = np.linspace(0, len(trained) - 1, min(HABIT_WORKOUTS, len(trained))).round()
    everybody = moving(trained[spread.astype(np.int64)])
    if not len(everybody[0]):
        return None, f"no speed of {sport} in training: only routes recorded in it"
    mine = moving(np.flatnonzero(alike & (whose == user)))
    note = None if len(mine[0]) else f"no training workout in {sport}: everybody's speed by grade"
    return habit(mine, everybody), note


def by_run(path: str, user: str, long: bool, allow: Sequence[str]) -> Speeds:
    """What the run of speed in folder `path` predicts for the user on each route.

    long: also where a route is longer than those it was trained on (data.max_steps). At least
    1 km/h: nobody stands for ever. Raises InputError for a run that cannot tell.
    """
    run = Run(path)
    spec = _checked(run, user)
    table = predict.table_of(run, allow)
    step_km, limit = spec.step / 1000, run.config["data"]["max_steps"]
    shortest = max(SHORTEST_KM, 2 * step_km + STEP_KM)
    longest = np.inf if limit is None or long else limit * step_km

    def speeds(sport: str, routes: Sequence[Plan]) -> tuple[list[Speed | None], list[str]]:
        if sport not in spec.attributes["sport"][1:]:
            note = f"{path} does not know {sport}: only routes recorded in it"
            return [None] * len(routes), [note]
        asked = [
            route
            for route in routes
            if not timed(route, sport) and length_km(route.activity) >= shortest
        ]
        kept = [route for route in asked if length_km(route.activity) <= longest]
        mae = run.metrics.get(f"test/by_sport/{sport}/mae_km_h")
        notes = [f"speed of {sport} by {path}: test MAE {mae:.1f} km/h"] if mae is not None else []
        if len(kept) < len(asked):
            notes.append(
                f"left out: {len(asked) - len(kept):,} routes in {sport} of over {longest:g} km, "
                f"more than {path} was trained on (data.max_steps); --long keeps them"
            )
        found = _predicted(run, kept, sport, user, table, allow) if kept else {}
        return [found.get(route.name) for route in routes], notes

    return speeds


def _checked(run: Run, user: str) -> WorkoutSpec:
    """Raise InputError unless this is a finished run of the speed of whole workouts of the user."""
    place = f"--speed {run.path}"
    run.check()
    if run.status != FINISHED:
        raise InputError(f"{place} is {run.status}: a finished run is needed")
    if run.spec.get("kind") != "workouts":
        raise InputError(f"{place} is of kind {run.spec.get('kind')}, not workouts")
    spec = WorkoutSpec.from_dict(run.spec)
    if (spec.target, spec.regime, spec.step_unit) != ("derived_speed", "whole", "m"):
        raise InputError(
            f"{place} predicts {spec.target} (regime {spec.regime}, steps in {spec.step_unit}): a "
            "run with data.target=derived_speed, data.regime=whole, data.grid=distance is needed"
        )
    if "total_time" in spec.inputs:
        raise InputError(f"{place} has the input total_time, which only its speed would tell")
    known = spec.attributes["user"][1:]
    if user not in (UNKNOWN, *known):
        near = targets.did_you_mean(targets.closest(user, known))
        raise InputError(f"{place} does not know user {user}{near}")
    return spec


def _predicted(
    run: Run,
    routes: Sequence[Plan],
    sport: str,
    user: str,
    table: WorkoutTable,
    allow: Sequence[str],
) -> dict[str, Speed]:
    """Name of a route -> the user's speed on it in that sport."""
    plans = [laid_out(route, sport) for route in routes]
    back = table if run.spec["history"] != "none" and user != UNKNOWN else None
    prepared = without_speed(predict.prepared_plans(run, plans, user, back, allow), user)
    prepared = on_last_workout(prepared, table)
    predicted = predict.series(prepared, worker.predict_run(run, prepared, "test", allow))
    offset, step_km = np.asarray(prepared.arrays["offset"]), prepared.spec.step / 1000
    number = {name: w for w, name in enumerate(prepared.arrays["workout_id"].tolist())}
    found: dict[str, Speed] = {}
    for plan in plans:
        w = number[f"plan {plan.name}"]
        speed = np.maximum(predicted[offset[w] : offset[w + 1]], STANDING_KM_H)
        found[plan.name] = Along(step_km, speed, f"predicted by {run.path.name}")
    return found


def laid_out(route: Plan, sport: str) -> Plan:
    """A route as a workout in a sport at one steady speed, for a distance grid to be laid on."""
    activity = dataclasses.replace(covered(route.activity, STEADY), sport=sport, start=np.nan)
    return dataclasses.replace(route, activity=activity)


def without_speed(prepared: Prepared, user: str) -> Prepared:
    """The planned workouts without the speed they were laid out at; y_0 is the user's usual one."""
    arrays, usual = dict(prepared.arrays), prepared.spec.start_by_user
    start = np.float32(usual.get(user, usual[UNKNOWN]))
    ahead = np.asarray(arrays["part"]) == TEST
    rows = ahead[workout_of(arrays)]
    arrays["y"] = np.where(rows, start, arrays["y"])
    arrays["observed"] = np.asarray(arrays["observed"]) & ~rows
    arrays["elapsed_s"] = np.where(rows, np.float32(0), arrays["elapsed_s"])
    arrays["start"] = np.where(ahead, start, arrays["start"])
    return dataclasses.replace(prepared, arrays=arrays)
