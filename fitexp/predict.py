"""`fitexp predict RUN FILE...`: a trained run's heart rate for workouts in files."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared
from fitexp.data.spec import UNKNOWN, WorkoutSpec
from fitexp.data.workouts.layout import whole_rows
from fitexp.data.workouts.plans import Plan, planned_table, read_plans, with_sport
from fitexp.data.workouts.protocol import Workouts, arrays_of
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError
from fitexp.run import Run

Float = NDArray[np.float64]
BAND = (0.1, 0.9)  # quantiles of validation residuals: 80 % of the steps lie between
LEAST_VALIDATION = 5  # workouts; with fewer there is no band


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What validation workouts tell of a run's errors. residuals: measured - predicted.

    low, high: the band around a prediction; mae: of known people, of the same as strangers.
    share: of the mean residual of the first `given_s` seconds, how much lasts (least squares
    through 0, kept within 0 and 1); None where nothing is given.
    """

    workouts: int
    low: float
    high: float
    mae: float
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A predicted workout, n samples of the file. low, high: the 80 % band, NaN if there is none.

    offset: added to what follows the given minutes; measured: NaN missing.
    """

    plan: Plan
    time_s: Float
    predicted: Float
    low: Float
    high: Float
    measured: Float
    altitude_m: Float
    speed_km_h: Float
    offset: float | None


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp predict RUN FILE... [-o DIR] [--user ID] [--sport NAME] [--given 10min]`."""
    from fitexp.report import predicted as report

    if not words:
        raise InputError("fitexp predict needs files: FIT, TCX, GPX (also .gz) or CSV of samples")
    spec = WorkoutSpec.from_dict(run.spec)
    check(run, spec)
    given_s = _seconds(options.last("--given"))
    plans = read_plans([Path(word) for word in words])
    if sport := options.last("--sport"):
        plans = with_sport(plans, sport)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    user = options.last("--user") or UNKNOWN
    known = user in spec.attributes["user"][1:]
    own = _own_data(run, allow)
    validations = validations_of(run, own, given_s, allow) if own else {}
    for line in [*notes(spec, plans, user, validations), *_too_long(run, spec, plans)]:
        print(f"fitexp: {line}", file=sys.stderr)
    earlier = _earlier(run, allow) if known and spec.history != "none" else None
    prepared = prepared_plans(run, plans, user, earlier, allow)
    validation = validations.get("known" if known else "strangers")
    found = predicted_workouts(run, prepared, plans, validation, given_s, allow)
    folder = Path(options.last("-o") or Path("outputs") / "predictions" / run.path.name)
    report.write(folder, found, spec)
    print(report.summary(found, spec, user, validation))
    print(folder)
    return 0


def check(run: Run, spec: WorkoutSpec) -> None:
    """Raise InputError for a run that does not predict the heart rate of whole workouts."""
    if spec.regime != "whole":
        raise InputError(
            f"{run.path} predicts the next minutes from the last ones; a whole workout needs a run "
            "with data.regime=whole"
        )
    if spec.target != "heart_rate":
        raise InputError(f"{run.path} predicts {spec.target}, not heart_rate")


def _seconds(text: str | None) -> float:
    """`10min`, `90s` or `600` -> seconds; None -> 0."""
    if text is None:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min)?", text)
    seconds = float(match[1]) * (60.0 if match[2] == "min" else 1.0) if match else 0.0
    if seconds <= 0:
        raise InputError(f"--given {text}: minutes or seconds, as --given 10min or --given 600s")
    return seconds


def notes(
    spec: WorkoutSpec, plans: Sequence[Plan], user: str, validations: dict[str, Validation]
) -> list[str]:
    """What to know of the prediction before its figures."""
    lines = []
    if user not in spec.attributes["user"][1:]:
        what = "no --user" if user == UNKNOWN else f"the run does not know user {user}"
        near = targets.closest(user, spec.attributes["user"]) if user != UNKNOWN else None
        lines.append(f"{what}{targets.did_you_mean(near)}: the population is used")
        if len(validations) == 2:
            known, strangers = validations["known"], validations["strangers"]
            lines.append(
                f"on {known.workouts} validation workouts that costs "
                f"{strangers.mae - known.mae:+.1f} bpm MAE ({strangers.mae:.1f} instead of "
                f"{known.mae:.1f}); these people were trained on, real strangers may cost more"
            )
    sports = {plan.activity.sport for plan in plans} - set(spec.attributes["sport"][1:])
    if sports:
        known_sports = ", ".join(spec.attributes["sport"][1:])
        lines.append(f"sport {', '.join(sorted(sports))} is unknown to the run ({known_sports})")
    for plan in plans:
        lines += [f"{plan.file}: {n:,} {why}" for why, n in plan.activity.problems.items()]
    return lines


def _too_long(run: Run, spec: WorkoutSpec, plans: Sequence[Plan]) -> list[str]:
    """A note on every plan that lasts longer than what the run was trained on."""
    limit = run.config["data"]["max_steps"]
    if limit is None:
        return []
    return [
        f"{plan.name} lasts longer than the {limit * spec.step / 60:g} min that the run was "
        "trained on (data.max_steps): do not trust what follows them"
        for plan in plans
        if plan.activity.time_s[-1] > limit * spec.step
    ]


# Data


def _own_data(run: Run, allow: Sequence[str]) -> Prepared | None:
    """The run's own data, unless they are gone or changed."""
    try:
        return worker.own_data(run, allow)
    except InputError as error:
        print(f"fitexp: no band: {error}", file=sys.stderr)
        return None


def _earlier(run: Run, allow: Sequence[str]) -> WorkoutTable | None:
    try:
        return table_of(run, allow)
    except InputError as error:
        print(f"fitexp: no earlier workout to look back on: {error}", file=sys.stderr)
        return None


def table_of(run: Run, allow: Sequence[str]) -> WorkoutTable:
    """The workouts that a run was trained on, as recorded. Raises InputError if they are gone."""
    data = run.config["data"]
    table: WorkoutTable = targets.build(data["source"], allow, path=data["path"])
    return table


def prepared_plans(
    run: Run, plans: Sequence[Plan], user: str, earlier: WorkoutTable | None, allow: Sequence[str]
) -> Prepared:
    """The plans as the run's protocol makes arrays of them; not cut, however short a piece."""
    protocol: Workouts = targets.build(run.config["data"], allow)
    protocol = dataclasses.replace(protocol, max_steps=None, min_piece_steps=2)
    table = planned_table(plans, user, earlier)
    names = [f"plan {plan.name}" for plan in plans]
    return arrays_of(protocol, table, WorkoutSpec.from_dict(run.spec), names)


def as_strangers(prepared: Prepared) -> Prepared:
    """The same workouts of people that a model does not know: no embedding, no past, no start."""
    arrays = dict(prepared.arrays)
    attributes = np.array(arrays["attributes"])
    attributes[:, list(prepared.spec.attributes).index("user")] = 0
    start = np.full_like(arrays["start"], prepared.spec.start_by_user[UNKNOWN])
    previous = np.full_like(arrays["previous"], -1)
    arrays |= {"attributes": attributes, "start": start, "previous": previous}
    return dataclasses.replace(prepared, arrays=arrays)


# Prediction


def series(prepared: Prepared, predictions: dict[str, NDArray[Any]]) -> Float:
    """(S,) predictions of whole workouts in their rows; NaN elsewhere."""
    out = np.full(len(prepared.arrays["y"]), np.nan)
    rows, exists = whole_rows(prepared.arrays, predictions["rows"], prepared.spec.steps)
    out[rows[exists]] = predictions["whole"][exists]
    return out


def validations_of(
    run: Run, own: Prepared, given_s: float, allow: Sequence[str]
) -> dict[str, Validation]:
    """Of the run's validation workouts, as who they are and as strangers; {} if they are few."""
    found = {}
    for name, prepared in (("known", own), ("strangers", as_strangers(own))):
        if len(np.unique(np.asarray(prepared.arrays["val"])[:, 0])) < LEAST_VALIDATION:
            few = f"fewer than {LEAST_VALIDATION} validation workouts"
            print(f"fitexp: no band: {run.path} has {few}", file=sys.stderr)
            return {}
        predicted = series(prepared, worker.predict_run(run, prepared, "val", allow))
        found[name] = validation_of(prepared, predicted, given_s)
    return found


def validation_of(prepared: Prepared, predicted: Float, given_s: float) -> Validation:
    """Band, error and lasting share from predictions (S,) of the validation workouts."""
    arrays = prepared.arrays
    first: list[float] = []
    rest: list[Float] = []
    for workout in np.unique(np.asarray(arrays["val"])[:, 0]):
        rows = np.arange(arrays["offset"][workout], arrays["offset"][workout + 1])
        rows = rows[np.asarray(arrays["observed"])[rows] & np.isfinite(predicted[rows])]
        apart = np.asarray(arrays["y"], np.float64)[rows] - predicted[rows]
        early = np.asarray(arrays["elapsed_s"])[rows] <= given_s
        if given_s and (not early.any() or early.all()):
            continue
        first.append(float(apart[early].mean()) if given_s else 0.0)
        rest.append(apart[~early] if given_s else apart)
    share = None
    if given_s:
        offset, later = np.array(first), np.array([r.mean() for r in rest])
        square = float(offset @ offset)
        share = float(np.clip(offset @ later / square, 0, 1)) if square > 0 else 0.0
        rest = [r - share * o for r, o in zip(rest, first, strict=True)]
    pooled = np.concatenate(rest) if rest else np.zeros(0)
    low, high = np.quantile(pooled, BAND) if len(pooled) else (np.nan, np.nan)
    mae = float(np.abs(pooled).mean()) if len(pooled) else np.nan
    return Validation(workouts=len(rest), low=float(low), high=float(high), mae=mae, share=share)


def predicted_workouts(
    run: Run,
    prepared: Prepared,
    plans: Sequence[Plan],
    validation: Validation | None,
    given_s: float,
    allow: Sequence[str],
) -> list[Predicted]:
    """Predictions at the files' own samples, linear between the model's steps.

    The day's offset: `share` of the mean of (measured - predicted) over the first given_s seconds
    is added from there on. Samples that no piece of the workout covers are NaN.
    """
    arrays = prepared.arrays
    at_steps = series(prepared, worker.predict_run(run, prepared, "test", allow))
    names = np.asarray(arrays["workout_id"]).tolist()
    found = []
    for plan in plans:
        workout = names.index(f"plan {plan.name}")
        rows = slice(int(arrays["offset"][workout]), int(arrays["offset"][workout + 1]))
        elapsed = np.asarray(arrays["elapsed_s"], np.float64)[rows]
        activity = plan.activity
        time, measured = activity.time_s, activity.heart_rate_bpm
        predicted = np.interp(time, elapsed, at_steps[rows], left=np.nan, right=np.nan)
        offset = None
        if given_s:
            early = (time <= given_s) & np.isfinite(measured) & np.isfinite(predicted)
            if not early.any():
                raise InputError(
                    f"{plan.file} has no heart rate in its first {given_s:g} s (--given)"
                )
            share = validation.share if validation and validation.share is not None else 0.0
            offset = share * float((measured - predicted)[early].mean())
            predicted = np.where(time > given_s, predicted + offset, predicted)
        band = (validation.low, validation.high) if validation else (np.nan, np.nan)
        found.append(
            Predicted(
                plan=plan,
                time_s=time,
                predicted=predicted,
                low=predicted + band[0],
                high=predicted + band[1],
                measured=measured,
                altitude_m=activity.altitude_m,
                speed_km_h=_speed(activity),
                offset=offset,
            )
        )
    return found


def _speed(activity: Any) -> Float:
    """As recorded, else from the distance."""
    if np.isfinite(activity.speed_km_h).any() or len(activity.time_s) < 2:
        return np.asarray(activity.speed_km_h, np.float64)
    hours = np.diff(activity.time_s) / 3600.0
    return np.concatenate([[np.nan], np.diff(activity.distance_km) / hours])
