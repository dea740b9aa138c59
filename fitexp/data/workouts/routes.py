"""Routes to choose from: files in a folder or recorded workouts, and plans to cover them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from fitexp.data.sequences import Float, pieces
from fitexp.data.workouts.activities import READERS, read_activity
from fitexp.data.workouts.plans import SERIES, Plan
from fitexp.data.workouts.recording import Activity
from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError

STEP_KM = 0.01  # between the samples of a route that gets its times from a speed
GRADE_KM = 0.1  # grade is the change of altitude over this distance
SHORTEST_KM = 0.1
RECORDED = "recorded"


class Speed(Protocol):
    """What gives a route its times; `how` says what that is."""

    @property
    def how(self) -> str: ...

    def at(self, km: Float, grade: Float) -> Float:
        """Speed in km/h at places (n,) of a route, km from its start, and the grades there."""
        ...


@dataclass(frozen=True)
class Along:
    """Speed in km/h on even steps of one route (n,); behind the last one that one's."""

    step_km: float
    speed_km_h: Float
    how: str

    def at(self, km: Float, grade: Float) -> Float:
        """Whatever the grade: whoever made the speeds knew it."""
        step = np.floor(km / self.step_km + 1e-6).astype(np.int64)
        return self.speed_km_h[np.minimum(step, len(self.speed_km_h) - 1)]


@dataclass(frozen=True)
class Candidate:
    """A route in one sport; the plan's name is its own. speed: RECORDED, or how it was made."""

    route: str
    plan: Plan
    speed: str

    @property
    def sport(self) -> str:
        return self.plan.activity.sport


def read_routes(folder: Path) -> tuple[list[Plan], list[str]]:
    """The GPX, TCX and FIT files (also .gz) in and under a folder, with times or without.

    A route is named after its file. -> the routes, and a line for each file that gives none.
    Raises InputError where no route is left.
    """
    if not folder.is_dir():
        raise InputError(f"--routes {folder}: no such folder")
    routes: list[Plan] = []
    notes: list[str] = []
    for file in sorted(folder.rglob("*")):
        if not file.name.lower().removesuffix(".gz").endswith(tuple(READERS)):
            continue
        try:
            activity = read_activity(file)
        except InputError as error:
            notes.append(f"left out: {error}")
            continue
        if _positions_km(activity)[-1] < SHORTEST_KM:
            notes.append(f"left out: {file}: no way of over {1000 * SHORTEST_KM:g} m in it")
            continue
        routes.append(Plan(file.relative_to(folder).as_posix(), file, activity))
    if not routes:
        why = f" ({notes[0]})" if notes else ""
        raise InputError(f"--routes {folder}: no route in GPX, TCX or FIT files{why}")
    return routes, notes


def recorded(table: WorkoutTable, sessions: Sequence[int]) -> Iterator[Plan]:
    """Sessions of a table (their row numbers), named after the workout."""
    bounds = np.searchsorted(table.samples["session"], np.arange(len(table.sessions) + 1))
    slices = list(pairwise(bounds.tolist()))
    columns = {name: table.samples[name].to_numpy(dtype=np.float64) for name in SERIES}
    names = table.sessions["workout"].to_numpy(dtype=str)
    sports = table.sessions["sport"].to_numpy(dtype=str)
    for number in sessions:
        rows = slice(*slices[number])
        nowhere = np.full(rows.stop - rows.start, np.nan)
        name = str(names[number])
        activity = Activity(
            sport=str(sports[number]),
            start=np.nan,
            latitude=nowhere,
            longitude=nowhere,
            problems={},
            **{series: values[rows] for series, values in columns.items()},
        )
        yield Plan(name, Path(name), activity)


def planned(
    route: Plan, sport: str, speed: Speed | None, *, step_s: float, max_gap_s: float
) -> Candidate | None:
    """The route as a workout of a sport that lies ahead: without heart rate and date.

    Where it was recorded in that sport its times stay; else they are those at `speed`. None where
    it cannot be: no way, no speed, or no two steps of `step_s` without a gap over `max_gap_s`.
    """
    activity, how = route.activity, RECORDED
    if not timed(route, sport):
        if speed is None or _positions_km(activity)[-1] < SHORTEST_KM:
            return None
        activity, how = covered(activity, speed), speed.how
    nothing = np.full(len(activity.time_s), np.nan)
    activity = dataclasses.replace(activity, sport=sport, start=np.nan, heart_rate_bpm=nothing)
    longest = max(np.ptp(activity.time_s[piece]) for piece in pieces(activity.time_s, max_gap_s))
    moves = np.isfinite(activity.distance_km).any() or np.isfinite(activity.speed_km_h).any()
    plan = Plan(f"{route.name}, {sport}", route.file, activity)
    return Candidate(route.name, plan, how) if moves and longest >= step_s else None


def timed(route: Plan, sport: str) -> bool:
    """Whether the route was recorded in that sport, with times."""
    return route.activity.sport == sport and not np.isnan(route.activity.time_s).any()


def covered(activity: Activity, speed: Speed) -> Activity:
    """The same way at a speed: a sample every 10 m, grade over 100 m, flat if unknown.

    time_k = sum over j < k of 10 m / speed(km_j, grade_j).
    """
    along = _positions_km(activity)
    at = np.arange(0.0, along[-1] + 1e-9, STEP_KM)
    known = np.isfinite(activity.altitude_m)
    altitude = np.full(len(at), np.nan)
    grade = np.zeros(len(at))
    if known.any():
        heights = along[known], activity.altitude_m[known]
        altitude = np.interp(at, *heights)
        behind = np.maximum(at - GRADE_KM / 2, 0.0)
        ahead = np.minimum(at + GRADE_KM / 2, along[-1])
        rise_m = np.interp(ahead, *heights) - np.interp(behind, *heights)
        grade = rise_m / (1000.0 * (ahead - behind))
    seconds = 3600.0 * STEP_KM / speed.at(at, grade)
    nowhere = np.full(len(at), np.nan)
    return dataclasses.replace(
        activity,
        time_s=np.concatenate([[0.0], np.cumsum(seconds[:-1])]),
        heart_rate_bpm=nowhere,
        speed_km_h=nowhere,
        altitude_m=altitude,
        distance_km=at,
        latitude=nowhere,
        longitude=nowhere,
    )


def length_km(activity: Activity) -> float:
    return float(_positions_km(activity)[-1])


def _positions_km(activity: Activity) -> Float:
    """(n,) km from the start, never falling; from speed where no distance is known; else 0."""
    distance = activity.distance_km
    known = np.flatnonzero(np.isfinite(distance))
    if len(known):
        rows = np.arange(len(distance))
        filled = np.interp(rows, known, np.maximum.accumulate(distance[known]))
        return np.asarray(filled - filled[0], np.float64)
    if np.isnan(activity.time_s).any():
        return np.zeros(max(len(distance), 1))
    seconds = np.minimum(np.diff(activity.time_s, prepend=0.0), 60.0)
    return np.cumsum(np.nan_to_num(activity.speed_km_h) * seconds / 3600.0)
