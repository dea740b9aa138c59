"""`fitexp recommend RUN --user ID --target ...`: routes and sports for a wanted heart rate."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitexp import predict, targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared
from fitexp.data.sequences import Float, Int
from fitexp.data.spec import UNKNOWN, WorkoutSpec
from fitexp.data.splits import TEST, TRAIN
from fitexp.data.workouts.habits import Habit, habit, moving_steps
from fitexp.data.workouts.plans import Plan
from fitexp.data.workouts.routes import (
    Candidate,
    length_km,
    planned,
    read_routes,
    recorded,
)
from fitexp.data.workouts.table import WorkoutTable
from fitexp.data.workouts.wanted import Target, Zone, target_of
from fitexp.errors import InputError
from fitexp.predict import BAND, LEAST_VALIDATION
from fitexp.run import Run

ROUTES = 1000  # recorded workouts that are routes; of a larger data set a random part
HABIT_WORKOUTS = 300  # training workouts that tell everybody's habit in a sport


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """A route in a sport with what is predicted for it, n steps.

    in_zone: minutes, None without a zone; distance: to the target, in the target's unit;
    doubt: bpm, half the 80 % interval of a mean's error, None unknown.
    """

    candidate: Candidate
    km: float
    elapsed_s: Float
    predicted: Float
    in_zone: float | None
    distance: float
    doubt: float | None

    @property
    def minutes(self) -> float:
        return float(self.candidate.plan.activity.time_s[-1]) / 60

    @property
    def mean(self) -> float:
        return float(self.predicted.mean())


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp recommend RUN --user ID --target T [--routes FOLDER] [--sport S] [--top 10] [-o]`."""
    from fitexp.report import recommended as report

    if words:
        raise InputError(f"fitexp recommend takes one run: what is '{words[0]}'? (--routes FOLDER)")
    spec = WorkoutSpec.from_dict(run.spec)
    predict.check(run, spec)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    if "--evaluate" in options.flags:
        from fitexp import retrieval

        return retrieval.command(run, options, allow)
    if spec.step_unit != "s":
        raise InputError(
            f"{run.path} has data.grid=distance; fitexp recommend needs data.grid=time"
        )
    target = target_of(options.last("--target"))
    top = _whole(options.last("--top") or "10")
    user = options.last("--user") or UNKNOWN
    known = user in spec.attributes["user"][1:]
    folder = options.last("--routes")
    own = worker.own_data(run, allow)
    sports = _sports(spec, own, user, options.values.get("--sport", ()))
    validations = predict.validations_of(run, own, 0.0, allow)
    lines = predict.notes(spec, [], user, validations)
    table = _table(run, allow)
    if folder is not None:
        routes, left_out = read_routes(Path(folder))
        lines += left_out
    else:
        routes = list(recorded(table, _own_routes(table, own, user)))
    candidates, more = _candidates(run, table, own, user, routes, sports)
    if "--long" not in options.flags:
        candidates, long = trained_lengths(candidates, run.config["data"])
        more += long
    for line in [*lines, *more]:
        print(f"fitexp: {line}", file=sys.stderr)
    earlier = table if known and spec.history != "none" else None
    plans = [candidate.plan for candidate in candidates]
    prepared = predict.prepared_plans(run, plans, user, earlier, allow)
    prepared = on_last_workout(prepared, table)
    doubts = _doubts(run, own if known else predict.as_strangers(own), allow)
    found = recommendations(run, prepared, candidates, target, doubts, allow)
    out = Path(options.last("-o") or Path("outputs") / "recommendations" / run.path.name)
    validation = validations.get("known" if known else "strangers")
    report.write(out, found, target, spec, user, validation)
    print(report.summary(found, top, target, spec, user))
    print(out)
    return 0


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"--top {text}: a whole number above 0")
    return int(text)


def _sports(spec: WorkoutSpec, own: Prepared, user: str, asked: Sequence[str]) -> list[str]:
    """What was asked for, else the sports of the user's training workouts, else all."""
    known = spec.attributes["sport"][1:]
    for sport in asked:
        if sport not in known:
            near = targets.did_you_mean(targets.closest(sport, known))
            raise InputError(f"--sport {sport}: the run knows {', '.join(known)}{near}")
    arrays = own.arrays
    trained = (np.asarray(arrays["part"]) == TRAIN) & (np.asarray(arrays["user_id"]) == user)
    done = np.unique(np.asarray(arrays["sport"])[trained]).tolist()
    return list(dict.fromkeys(asked)) or done or list(known)


def _table(run: Run, allow: Sequence[str]) -> WorkoutTable:
    data = run.config["data"]
    table: WorkoutTable = targets.build(data["source"], allow, path=data["path"])
    return table


def _own_routes(table: WorkoutTable, own: Prepared, user: str) -> list[int]:
    """Row numbers of the sessions that the run uses; of many the user's and others by chance."""
    used = table.sessions["workout"].isin(np.asarray(own.arrays["workout_id"]).tolist()).to_numpy()
    of_user = (table.sessions["athlete"] == user).to_numpy()
    others = np.random.default_rng(0).permutation(np.flatnonzero(used & ~of_user))
    chosen = [*np.flatnonzero(used & of_user).tolist(), *others.tolist()][:ROUTES]
    if len(chosen) < used.sum():
        print(
            f"fitexp: {len(chosen):,} of {used.sum():,} recorded workouts are the routes: the "
            "user's, and others by chance",
            file=sys.stderr,
        )
    return sorted(chosen)


def _candidates(
    run: Run,
    table: WorkoutTable,
    own: Prepared,
    user: str,
    routes: Sequence[Plan],
    sports: Sequence[str],
) -> tuple[list[Candidate], list[str]]:
    """Every route in every sport that it can be covered in; and notes."""
    data = run.config["data"]
    found: list[Candidate] = []
    notes: list[str] = []
    for sport in sports:
        usual, note = _habit(table, own, user, sport, float(data["max_gap_s"]))
        notes += [note] if note else []
        for route in routes:
            candidate = planned(
                route,
                sport,
                usual,
                step_s=float(data["step"]),
                max_gap_s=float(data["max_gap_s"]),
            )
            found += [candidate] if candidate else []
    missing = len(routes) * len(sports) - len(found)
    if not found:
        raise InputError(f"no route can be covered by {' or '.join(sports)}")
    if missing:
        notes.append(f"{missing:,} routes in a sport are left out: no way or no times in them")
    return found, notes


def trained_lengths(
    candidates: Sequence[Candidate], data: Mapping[str, Any]
) -> tuple[list[Candidate], list[str]]:
    """Those no longer than the steps a run was trained on (data.max_steps), and a note.

    Behind those a network was never trained; one that takes blocks of T begins anew at each.
    """
    if data["max_steps"] is None:
        return list(candidates), []
    longest = float(data["max_steps"]) * float(data["step"])
    kept = [c for c in candidates if c.plan.activity.time_s[-1] <= longest]
    words = (
        f"of {len(candidates):,} candidates last over {longest / 60:g} min, more than the run was "
        "trained on (data.max_steps); --long keeps them"
    )
    if not kept:
        raise InputError(f"all {words}")
    left_out = len(candidates) - len(kept)
    return kept, [f"left out: {left_out:,} {words}"] if left_out else []


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


def on_last_workout(prepared: Prepared, table: WorkoutTable) -> Prepared:
    """The planned workouts look back on the user's last recorded one, not on each other."""
    arrays = dict(prepared.arrays)
    ahead = np.asarray(arrays["part"]) == TEST
    before = np.flatnonzero(~ahead)
    previous = np.array(arrays["previous"])
    previous[ahead] = -1
    if len(before):
        start = dict(zip(table.sessions["workout"], table.sessions["start"], strict=True))
        begun = [float(start[name]) for name in arrays["workout_id"][before].tolist()]
        latest = int(np.nanargmax(begun)) if np.isfinite(begun).any() else -1
        previous[ahead] = before[latest]
    return dataclasses.replace(prepared, arrays=arrays | {"previous": previous})


def recommendations(
    run: Run,
    prepared: Prepared,
    candidates: Sequence[Candidate],
    target: Target,
    doubts: Mapping[str, float],
    allow: Sequence[str],
) -> list[Recommended]:
    """From the nearest to the farthest, of equal ones the shorter first. Raises InputError."""
    arrays = prepared.arrays
    at_steps = predict.series(prepared, worker.predict_run(run, prepared, "test", allow))
    number = {name: w for w, name in enumerate(np.asarray(arrays["workout_id"]).tolist())}
    found = []
    for candidate in candidates:
        workout = number[f"plan {candidate.plan.name}"]
        rows = slice(int(arrays["offset"][workout]), int(arrays["offset"][workout + 1]))
        elapsed = np.asarray(arrays["elapsed_s"], np.float64)[rows]
        distance = target.distance(elapsed, at_steps[rows])
        if distance is None:
            continue
        zone = target.within(elapsed, at_steps[rows]) if isinstance(target, Zone) else None
        found.append(
            Recommended(
                candidate=candidate,
                km=length_km(candidate.plan.activity),
                elapsed_s=elapsed,
                predicted=at_steps[rows],
                in_zone=zone,
                distance=distance,
                doubt=doubts.get(candidate.sport, doubts.get("")),
            )
        )
    if not found:
        raise InputError("--target: no candidate lasts 90 % to 125 % of the profile")
    return sorted(found, key=lambda one: (one.distance, one.minutes, one.candidate.plan.name))


def _doubts(run: Run, own: Prepared, allow: Sequence[str]) -> dict[str, float]:
    """Sport -> doubt, and "" -> of all sports together; {} with too few validation workouts."""
    if not len(np.asarray(own.arrays["val"])):
        return {}
    predicted = predict.series(own, worker.predict_run(run, own, "val", allow))
    return doubts_of(own, predicted)


def doubts_of(own: Prepared, predicted: Float) -> dict[str, float]:
    """From predictions (S,): half of the 10 % to 90 % range of (predicted - measured) means.

    Of the validation workouts of a sport where there are 5, and under "" of all of them.
    """
    arrays = own.arrays
    errors: dict[str, list[float]] = {}
    for workout in np.unique(np.asarray(arrays["val"])[:, 0]):
        rows = np.arange(arrays["offset"][workout], arrays["offset"][workout + 1])
        rows = rows[np.asarray(arrays["observed"])[rows]]
        if len(rows):
            apart = float((predicted[rows] - np.asarray(arrays["y"], np.float64)[rows]).mean())
            for name in ("", str(arrays["sport"][workout])):
                errors.setdefault(name, []).append(apart)
    return {
        name: float(np.diff(np.quantile(apart, BAND))[0]) / 2
        for name, apart in errors.items()
        if len(apart) >= LEAST_VALIDATION
    }
