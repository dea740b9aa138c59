"""Workouts as two tables: what every reader returns, and the reader of such tables in files."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fitexp.data.sources import folder_of
from fitexp.errors import InputError

HEART_RATE_BPM = (30.0, 230.0)  # outside: missing


@dataclass(frozen=True)
class WorkoutTable:
    """Sessions and their samples, in physical units, as recorded.

    sessions, one row a workout: workout (str, unique), athlete, sport, gender (str),
    start (float64, unix s; NaN unknown). samples, one row a recorded point, sorted by session:
    session (int32, row number in `sessions`), time_s (float64, from the start of the workout,
    increasing within it), heart_rate_bpm, speed_km_h, altitude_m, distance_km (float32, NaN
    missing) and, from a simulator, expected_heart_rate_bpm (float32).
    simulated: made by a program; name: of the source; rejected: reason -> count of what was
    left out while reading. people, where a simulator knows it: index athlete, columns
    vo2max_ml_kg_min (running, but for the day's fitness), resting_bpm, maximal_bpm; no model's.
    """

    sessions: pd.DataFrame
    samples: pd.DataFrame
    simulated: bool
    name: str
    rejected: dict[str, int]
    people: pd.DataFrame | None = None


# column of the schema -> columns of the file that may give it, with the factor to its unit
SESSION_COLUMNS = {
    "workout": ("session_id", "workout"),
    "athlete": ("athlete_id", "athlete"),
    "sport": ("sport",),
    "gender": ("gender",),
    "start": ("start_utc", "start"),
}
SESSION_NAMES = ("session_id", "workout")
SAMPLE_COLUMNS = {
    "time_s": (("t_s", 1.0), ("time_s", 1.0)),
    "heart_rate_bpm": (("heart_rate", 1.0), ("heart_rate_bpm", 1.0)),
    "speed_km_h": (("speed_mps", 3.6), ("speed_km_h", 1.0)),
    "altitude_m": (("altitude_m", 1.0),),
    "distance_km": (("distance_m", 1e-3), ("distance_km", 1.0)),
}
REQUIRED_SESSION = ("workout", "athlete", "sport")
REQUIRED_SAMPLE = ("time_s", "heart_rate_bpm")


def read_workout_table(*, path: str | None) -> WorkoutTable:
    """Read a folder with `sessions.csv|.parquet` and sample tables `samples*.csv|.parquet`.

    sessions: session_id, athlete_id, sport; optional gender, start_utc (date and time in UTC, or
    unix s).
    samples: session_id, t_s (s from the start), heart_rate (bpm); optional speed_mps (m/s) or
    speed_km_h, altitude_m, distance_m or distance_km (cumulative). Empty fields are missing.
    Heart rates outside 30..230 bpm become missing; samples without a time, with another's time or
    of a session that is not listed are left out. All of that is counted in `rejected`.
    Raises InputError that names file, line or column, and what to do.
    """
    folder = folder_of(path, "sessions.csv and samples*")
    rejected: Counter[str] = Counter()
    sessions = _read_sessions(folder)
    files = sorted([*folder.glob("samples*.parquet"), *folder.glob("samples*.csv")])
    if not files:
        raise InputError(f"{path}: no samples*.parquet or samples*.csv beside the sessions table")
    number = {name: row for row, name in enumerate(sessions["workout"])}
    parts = [_read_samples(file, number, rejected) for file in files]
    samples = pd.concat(parts, ignore_index=True)
    if not len(samples):
        raise InputError(
            f"{path}: no sample is left ({reasons(rejected) or 'the sample files are empty'}); "
            "session_id must be written alike in sessions and samples"
        )
    samples = samples.sort_values(["session", "time_s"], kind="stable", ignore_index=True)
    again = samples.duplicated(["session", "time_s"])
    if again.any():
        rejected["samples at a time that another has"] += int(again.sum())
        samples = samples[~again].reset_index(drop=True)
    low, high = HEART_RATE_BPM
    heart_rate = samples["heart_rate_bpm"]
    wrong = (heart_rate < low) | (heart_rate > high)
    if wrong.any():
        rejected[f"heart rates outside {low:g}..{high:g} bpm"] += int(wrong.sum())
        samples["heart_rate_bpm"] = heart_rate.mask(wrong)
    return WorkoutTable(
        sessions=sessions,
        samples=samples,
        simulated=False,
        name="workout_table",
        rejected=dict(rejected),
    )


def _read_file(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{file}: empty file; a header line is needed") from error
    except pd.errors.ParserError as error:  # names the line
        raise InputError(f"{file}: not a table ({str(error).strip()})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}, {_bad_line(file)}: not UTF-8 text; save it as UTF-8") from error
    except Exception as error:  # pyarrow's own classes, all of them the file's fault
        kind = "Parquet" if file.suffix == ".parquet" else "CSV"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file}: not a readable {kind} file, or cut short ({reason})") from error


def _bad_line(file: Path) -> str:
    data = file.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"line {data.count(10, 0, error.start) + 1}"
    return "somewhere"


def reasons(rejected: Counter[str]) -> str:
    """What was left out, as words for an error."""
    return ", ".join(f"{n:,} {reason}" for reason, n in rejected.items())


def _column(frame: pd.DataFrame, file: Path, names: tuple[str, ...], required: bool) -> str | None:
    for name in names:
        if name in frame.columns:
            return name
    if not required:
        return None
    have = [str(c) for c in frame.columns]
    close = difflib.get_close_matches(names[0], have, n=1)
    hint = f"; did you mean its column {close[0]!r}?" if close else f"; it has {', '.join(have)}"
    raise InputError(f"{file}: no column {names[0]!r}{hint}")


def _numbers(frame: pd.DataFrame, file: Path, column: str) -> pd.Series[float]:
    values = frame[column]
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() & values.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise InputError(
            f"{file}, line {row + 2}, {column}: {values.iloc[row]!r} is not a number; "
            "leave the field empty where it is missing"
        )
    return numbers.astype("float64").replace([np.inf, -np.inf], np.nan)


def read_series(file: Path) -> pd.DataFrame:
    """One workout's samples, as a sample table without its column for the session; needs t_s."""
    return _series(_read_file(file), file, ("time_s",))


def _series(frame: pd.DataFrame, file: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The columns of SAMPLE_COLUMNS, each in its unit; NaN where there is none."""
    out: dict[str, pd.Series[float]] = {}
    for name, choices in SAMPLE_COLUMNS.items():
        column = _column(frame, file, tuple(c for c, _ in choices), name in required)
        if column is None:
            out[name] = pd.Series(np.nan, index=frame.index, dtype="float32")
        else:
            values = _numbers(frame, file, column) * dict(choices)[column]
            out[name] = values if name == "time_s" else values.astype("float32")
    return pd.DataFrame(out)


def _read_sessions(folder: Path) -> pd.DataFrame:
    files = [f for f in (folder / "sessions.csv", folder / "sessions.parquet") if f.exists()]
    if not files:
        raise InputError(f"{folder}: no sessions.csv or sessions.parquet in it")
    file = files[0]
    frame = _read_file(file)
    out: dict[str, pd.Series[str] | pd.Series[float]] = {}
    for name, choices in SESSION_COLUMNS.items():
        column = _column(frame, file, choices, name in REQUIRED_SESSION)
        if name == "start":
            out[name] = _starts(frame, file, column)
        elif column is None:
            out[name] = pd.Series("unknown", index=frame.index, dtype="str")
        else:
            out[name] = frame[column].astype("str").where(frame[column].notna(), "unknown")
    sessions = pd.DataFrame(out)
    if not len(sessions):
        raise InputError(f"{file}: no session in it, only a header")
    for name in ("workout", "athlete"):
        given = _column(frame, file, SESSION_COLUMNS[name], required=True)
        empty = np.flatnonzero(frame[given].isna().to_numpy())
        if len(empty):
            raise InputError(f"{file}, line {empty[0] + 2}, {SESSION_COLUMNS[name][0]}: empty")
    again = np.flatnonzero(sessions["workout"].duplicated().to_numpy())
    if len(again):
        name = sessions["workout"].iloc[again[0]]
        raise InputError(f"{file}, line {again[0] + 2}: session {name!r} is listed twice")
    return sessions


def _starts(frame: pd.DataFrame, file: Path, column: str | None) -> pd.Series[float]:
    """Unix seconds; NaN where the start is not known."""
    if column is None:
        return pd.Series(np.nan, index=frame.index, dtype="float64")
    values = frame[column]
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().equals(values.notna()):
        return numbers.astype("float64")
    times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    wrong = np.flatnonzero((times.isna() & values.notna()).to_numpy())
    if len(wrong):
        raise InputError(
            f"{file}, line {wrong[0] + 2}, {column}: {values.iloc[wrong[0]]!r} is not a date and "
            "time like 2019-02-17 06:26:44"
        )
    seconds = (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return seconds.astype("float64")


def _read_samples(file: Path, number: dict[str, int], rejected: Counter[str]) -> pd.DataFrame:
    frame = _read_file(file)
    column = _column(frame, file, SESSION_NAMES, required=True)
    assert column is not None
    row = frame[column].astype("str").map(number)
    unlisted = row.isna()
    if unlisted.any():
        rejected["samples of sessions that are not listed"] += int(unlisted.sum())
    samples = _series(frame, file, REQUIRED_SAMPLE)
    samples.insert(0, "session", row.fillna(-1).astype("int32"))
    timeless = ~np.isfinite(samples["time_s"])
    if timeless.any():
        rejected["samples without a time"] += int(timeless.sum())
    kept: pd.DataFrame = samples[(samples["session"] >= 0) & ~timeless]
    return kept
