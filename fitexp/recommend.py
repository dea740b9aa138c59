"""`fitexp recommend RUN --user ID --target ...`: routes and sports for a wanted heart rate."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitexp import predict, speeds, targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared
from fitexp.data.sequences import Float
from fitexp.data.spec import UNKNOWN, WorkoutSpec
from fitexp.data.splits import TRAIN
from fitexp.data.workouts.plans import Plan, on_last_workout
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
from fitexp.speeds import Speeds

ROUTES = 1000  # recorded workouts that are routes; of a larger data set a random part


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
    """`fitexp recommend RUN --user ID --target T [--routes FOLDER] [--speed SPEEDRUN] [...]`."""
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
    long = "--long" in options.flags
    folder, speed_run = options.last("--routes"), options.last("--speed")
    speed = speeds.by_run(speed_run, user, long, allow) if speed_run is not None else None
    own = worker.own_data(run, allow)
    sports = _sports(spec, own, user, options.values.get("--sport", ()))
    validations = predict.validations_of(run, own, 0.0, allow)
    lines = predict.notes(spec, [], user, validations)
    table = predict.table_of(run, allow)
    speed = speed or speeds.by_habit(table, own, user, float(run.config["data"]["max_gap_s"]))
    if folder is not None:
        routes, left_out = read_routes(Path(folder))
        lines += left_out
    else:
        routes = list(recorded(table, _own_routes(table, own, user)))
    candidates, more = _candidates(run.config["data"], routes, sports, speed)
    if not long:
        candidates, too_long = trained_lengths(candidates, run.config["data"])
        more += too_long
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
    data: Mapping[str, Any], routes: Sequence[Plan], sports: Sequence[str], speed: Speeds
) -> tuple[list[Candidate], list[str]]:
    """Every route in every sport that it can be covered in; and notes."""
    found: list[Candidate] = []
    notes: list[str] = []
    for sport in sports:
        found_speeds, more = speed(sport, routes)
        notes += more
        for route, along in zip(routes, found_speeds, strict=True):
            candidate = planned(
                route,
                sport,
                along,
                step_s=float(data["step"]),
                max_gap_s=float(data["max_gap_s"]),
            )
            found += [candidate] if candidate else []
    missing = len(routes) * len(sports) - len(found)
    if not found:
        why = f" ({notes[0]})" if notes else ""
        raise InputError(f"no route can be covered by {' or '.join(sports)}{why}")
    if missing:
        notes.append(f"{missing:,} routes in a sport are left out: no way, no times or no speed")
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
