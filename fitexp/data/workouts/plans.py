"""Workouts to predict: files of one athlete, and the earlier workouts a model looks back on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fitexp.data.prepare import Prepared
from fitexp.data.splits import TEST
from fitexp.data.workouts.activities import read_activity
from fitexp.data.workouts.recording import Activity
from fitexp.data.workouts.table import HEART_RATE_BPM, WorkoutTable, read_series
from fitexp.errors import InputError

SERIES = ("time_s", "heart_rate_bpm", "speed_km_h", "altitude_m", "distance_km")


@dataclass(frozen=True)
class Plan:
    """One workout to predict: a name of its own, its file, what the file holds."""

    name: str
    file: Path
    activity: Activity


def read_plans(files: Sequence[Path]) -> list[Plan]:
    """Activity files (FIT, TCX, GPX, also .gz) and CSV files of samples, in order.

    A CSV has t_s and optional heart_rate, speed_mps or speed_km_h, altitude_m, distance_m or
    distance_km, as the sample tables of data=workout_table. Raises InputError for files without
    times, or with neither distance nor speed.
    """
    plans: list[Plan] = []
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such file")
        name = file.name.removesuffix(".gz").rpartition(".")[0] or file.name
        activity = read_samples(file) if file.suffix.lower() == ".csv" else read_activity(file)
        if not np.isfinite(activity.time_s).all():
            raise InputError(
                f"{file} is a route without times, and heart rate depends on speed: record or "
                "plan it with times"
            )
        if not (np.isfinite(activity.distance_km).any() or np.isfinite(activity.speed_km_h).any()):
            raise InputError(f"{file} has neither distance nor speed nor positions")
        taken = sum(plan.name == name or plan.name.startswith(f"{name}_") for plan in plans)
        plans.append(Plan(f"{name}_{taken + 1}" if taken else name, file, activity))
    return plans


def read_samples(file: Path) -> Activity:
    """A CSV of one workout's samples, as `read_plans` takes it."""
    columns = read_series(file)
    if not len(columns):
        raise InputError(f"{file}: no sample in it, only a header")
    time = columns["time_s"].to_numpy(np.float64)
    if not np.isfinite(time).all() or (np.diff(time) <= 0).any():
        line = int(np.argmax(~(np.diff(time, prepend=time[0] - 1) > 0))) + 2
        raise InputError(f"{file}, line {line}, t_s: seconds from the start that increase")
    nowhere = np.full(len(columns), np.nan)
    low, high = HEART_RATE_BPM
    values = {name: columns[name].to_numpy(np.float64) for name in SERIES}
    heart_rate = values["heart_rate_bpm"]
    values["heart_rate_bpm"] = np.where(
        (heart_rate < low) | (heart_rate > high), np.nan, heart_rate
    )
    return Activity(
        sport="unknown",
        start=np.nan,
        latitude=nowhere,
        longitude=nowhere,
        problems={},
        **{**values, "time_s": time - time[0]},
    )


def planned_table(plans: Sequence[Plan], user: str, earlier: WorkoutTable | None) -> WorkoutTable:
    """The plans as workouts of `user`, behind those of `earlier` that are the user's."""
    sessions, samples, known = _empty(), [], 0
    if earlier is not None:
        own = earlier.sessions["athlete"] == user
        sessions = earlier.sessions[own]
        known = len(sessions)
        numbers = pd.Series(np.arange(known), index=np.flatnonzero(own))
        kept = earlier.samples[earlier.samples["session"].isin(numbers.index)]
        samples.append(
            kept[["session", *SERIES]].assign(session=kept["session"].map(numbers).astype("int32"))
        )
    genders = sessions["gender"].unique()
    rows = [
        {
            "workout": f"plan {plan.name}",
            "athlete": user,
            "sport": plan.activity.sport,
            "gender": genders[0] if len(genders) == 1 else "unknown",
            "start": plan.activity.start,
        }
        for plan in plans
    ]
    for number, plan in enumerate(plans, known):
        values = {name: getattr(plan.activity, name) for name in SERIES}
        frame = pd.DataFrame(values)
        frame.insert(0, "session", np.full(len(frame), number, np.int32))
        samples.append(frame)
    return WorkoutTable(
        sessions=pd.concat([sessions, pd.DataFrame(rows)], ignore_index=True),
        samples=pd.concat(samples, ignore_index=True),
        simulated=False,
        name="files",
        rejected={},
    )


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=["workout", "athlete", "sport", "gender", "start"])


def with_sport(plans: Sequence[Plan], sport: str) -> list[Plan]:
    """The plans, all of one sport."""
    return [
        dataclasses.replace(p, activity=dataclasses.replace(p.activity, sport=sport)) for p in plans
    ]


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
