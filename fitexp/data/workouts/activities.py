"""Folders of recorded activities (FIT, TCX, GPX, each also as .gz) as a table of workouts."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitexp.data.sources import folder_of
from fitexp.data.workouts.fit import read_fit
from fitexp.data.workouts.recording import DAMAGED, Activity, RefusedError, activity_of
from fitexp.data.workouts.table import WorkoutTable, reasons
from fitexp.data.workouts.tracks import read_tracks
from fitexp.errors import InputError

READERS = {".fit": read_fit, ".tcx": read_tracks, ".gpx": read_tracks}
LARGEST_MB = {".fit": 50, ".tcx": 200, ".gpx": 200}  # unpacked: many days at a sample a second
ATHLETES = "athletes.csv"
COLUMNS = {
    "time_s": "float64",
    "heart_rate_bpm": "float32",
    "speed_km_h": "float32",
    "altitude_m": "float32",
    "distance_km": "float32",
}


def read_activity(file: Path) -> Activity:
    """The activity in a file; of several (a triathlon) the one with most samples.

    `problems` counts what was dropped, the samples of the other activities among it. A route
    without times has NaN for `time_s`. Raises InputError for a file that gives nothing.
    """
    try:
        activities = read_parts(file)
    except RefusedError as error:
        raise InputError(f"{file}: {_one(error.reason)}") from error
    chosen = max(activities, key=lambda a: len(a.time_s))
    others = sum(len(a.time_s) for a in activities if a is not chosen)
    problems = sum((Counter(a.problems) for a in activities), Counter[str]())
    if others:
        problems["samples of the file's other activities"] = others
    return dataclasses.replace(chosen, problems=dict(problems))


def read_parts(file: Path) -> list[Activity]:
    """Every activity in a file: sessions of a FIT, activities of a TCX, tracks of a GPX.

    What was wrong with the file is among the `problems` of the one with most heart rates; a
    route without times beside activities is dropped and counted there. Raises RefusedError with
    the reason where nothing is left.
    """
    kind = _kind(file)
    if kind is None:
        raise RefusedError("other files")
    data, cut = _unpacked(file, LARGEST_MB[kind])
    recordings, problems = READERS[kind](data)
    if cut:
        problems[DAMAGED] = 1
    activities = [activity_of(r) for r in recordings if r.rows]
    if not activities:
        damaged = problems[DAMAGED] > 0
        raise RefusedError(
            "files damaged before the first sample" if damaged else "files without samples"
        )
    timed = [a for a in activities if not np.isnan(a.time_s).any()]
    if timed and len(timed) < len(activities):
        problems["samples of routes beside an activity"] = sum(
            len(a.time_s) for a in activities if np.isnan(a.time_s).any()
        )
        activities = timed
    most = max(range(len(activities)), key=lambda i: heart_rates(activities[i]))
    problems.update(activities[most].problems)
    activities[most] = dataclasses.replace(activities[most], problems=dict(problems))
    return activities


def heart_rates(activity: Activity) -> int:
    """Number of samples with a heart rate."""
    return int(np.isfinite(activity.heart_rate_bpm).sum())


def _one(reason: str) -> str:
    """A reason that counts files, said of one."""
    return f"nothing to read here ({reason})"


def _kind(file: Path) -> str | None:
    name = file.name.lower().removesuffix(".gz")
    return next((ending for ending in READERS if name.endswith(ending)), None)


def _unpacked(file: Path, most_mb: int) -> tuple[bytes, bool]:
    """Content of a file that may be gzip, and whether the gzip part is cut or damaged."""
    most = most_mb * 10**6
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise RefusedError(f"files that cannot be opened: {error.strerror}") from error
    cut = False
    if data[:2] == b"\x1f\x8b":
        chunks: list[bytes] = []
        size = 0
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                while size <= most and (chunk := packed.read1(2**18)):
                    chunks.append(chunk)
                    size += len(chunk)
        except (OSError, EOFError, zlib.error):
            cut = True
        data = b"".join(chunks)
    if len(data) > most:
        raise RefusedError(f"files of over {most_mb} MB unpacked")
    if not data:
        raise RefusedError("empty files")
    return data, cut


@dataclass(frozen=True)
class _Owner:
    athlete: str
    gender: str
    sport: str  # "" as the file says


def read_activities(*, path: str | None, same_start_s: float) -> WorkoutTable:
    """Read a folder of activity files; the sub-folders of `path` are the athletes.

    Files directly in `path` are one athlete's, named after the folder. `athletes.csv` in `path`
    (columns file, athlete; optional gender, sport) says otherwise for the files it names, relative
    to `path`. Of two recordings of one athlete that start within `same_start_s` the one with more
    heart rates is kept. Files without heart rate, without times or without samples are left out;
    every reason is counted in `rejected`, as is what was dropped from the files that are kept.
    """
    folder = folder_of(path, "FIT, TCX or GPX files")
    owners = _read_owners(folder)
    rejected: Counter[str] = Counter()
    sessions: list[dict[str, Any]] = []
    activities: list[Activity] = []
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f != folder / ATHLETES]
    for number, file in enumerate(files):
        _progress(number, len(files))
        name = file.relative_to(folder).as_posix()
        try:
            parts = read_parts(file)
        except RefusedError as error:
            rejected[error.reason] += 1
            continue
        if np.isnan(parts[0].time_s).any():
            rejected["files without times"] += 1
            continue
        if not any(map(heart_rates, parts)):
            rejected["files without heart rate (kept for prediction)"] += 1
            continue
        owner = owners.get(name) or _Owner(_athlete(folder, file), "unknown", "")
        for part, activity in enumerate(parts, 1):
            if not heart_rates(activity):
                rejected["parts of files without heart rate"] += 1
                continue
            sessions.append(
                {
                    "workout": name if part == 1 else f"{name}#{part}",
                    "athlete": owner.athlete,
                    "sport": owner.sport or activity.sport,
                    "gender": owner.gender,
                    "start": activity.start,
                }
            )
            activities.append(activity)
    _progress(len(files), len(files))
    kept = _once(sessions, activities, same_start_s, rejected)
    for i in kept:
        rejected.update(activities[i].problems)
    if not kept:
        raise InputError(
            f"{path}: no activity with heart rate in {len(files)} files "
            f"({reasons(rejected) or 'the folder is empty'}); data.path must hold FIT, TCX or GPX"
        )
    return WorkoutTable(
        sessions=pd.DataFrame([sessions[i] for i in kept]),
        samples=_samples([activities[i] for i in kept]),
        simulated=False,
        name="activities",
        rejected=dict(rejected),
    )


def _athlete(folder: Path, file: Path) -> str:
    first = file.relative_to(folder).parts[0]
    return folder.resolve().name if file.parent == folder else first


def _read_owners(folder: Path) -> dict[str, _Owner]:
    """athletes.csv, if there is one: file -> whose it is."""
    table = folder / ATHLETES
    if not table.exists():
        return {}
    owners: dict[str, _Owner] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.DictReader(stream)
            for column in ("file", "athlete"):
                if column not in (lines.fieldnames or ()):
                    raise InputError(
                        f"{table}, line 1: no column {column!r}; it needs file,athlete"
                    )
            for row in lines:
                file, athlete = (row["file"] or "").strip(), (row["athlete"] or "").strip()
                where = f"{table}, line {lines.line_num}"
                if not athlete:
                    raise InputError(f"{where}, athlete: empty")
                if not file or not (folder / file).is_file():
                    raise InputError(f"{where}, file: no file {file!r} in {folder}")
                if file in owners:
                    raise InputError(f"{where}, file: {file!r} is listed twice")
                gender, sport = ((row.get(c) or "").strip() for c in ("gender", "sport"))
                owners[file] = _Owner(athlete, gender or "unknown", sport)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not a CSV file in UTF-8 ({error})") from error
    return owners


def _once(
    sessions: list[dict[str, Any]],
    activities: list[Activity],
    same_start_s: float,
    rejected: Counter[str],
) -> list[int]:
    """Numbers of the activities without second recordings of the same one, in their order."""
    known = [heart_rates(a) for a in activities]
    kept: list[int] = []
    by_athlete: dict[str, list[int]] = {}
    for i in sorted(range(len(sessions)), key=lambda i: -known[i]):
        others = by_athlete.setdefault(sessions[i]["athlete"], [])
        start = sessions[i]["start"]
        if any(abs(sessions[k]["start"] - start) <= same_start_s for k in others):
            rejected["second recordings of one activity"] += 1
        else:
            others.append(i)
            kept.append(i)
    return sorted(kept)


def _samples(activities: list[Activity]) -> pd.DataFrame:
    lengths = [len(a.time_s) for a in activities]
    columns: dict[str, Any] = {
        "session": np.repeat(np.arange(len(activities), dtype=np.int32), lengths)
    }
    for name, kind in COLUMNS.items():
        columns[name] = np.concatenate([getattr(a, name) for a in activities]).astype(kind)
    return pd.DataFrame(columns)


def _progress(done: int, total: int) -> None:
    """A line on standard error, on a terminal only."""
    if not sys.stderr.isatty():
        return
    words = " " * 40 + "\r" if done == total else f"reading files {done + 1:,}/{total:,}"
    sys.stderr.write("\r" + words)
    sys.stderr.flush()
