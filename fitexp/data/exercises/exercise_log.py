"""Logs of strength training, one row a set, as the Strong app exports them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from fitexp.data.exercises.catalogue import read_catalogue
from fitexp.data.exercises.profiles import profile_frame
from fitexp.data.exercises.table import EventTable, in_order
from fitexp.data.exercises.text_tables import ids, read_commas, require, to_numbers
from fitexp.errors import InputError

NEEDED = ("user_id", "start", "exercise", "weight_kg", "reps")
# column of the file -> how the sets of one event become one number
ATTRIBUTES = {"reps": "mean", "weight_kg": "max", "seconds": "sum", "rpe": "mean"}
SECONDS_PER_DAY = 86400


def read_exercise_log(*, path: str | None, catalogue: str | None, day_span: float) -> EventTable:
    """Read `path`, a CSV file or a folder with sets.csv.

    Columns: user_id, start (of the session, 2020-09-29 07:10:22), exercise, weight_kg, reps;
    optional seconds, rpe.
    One event is one exercise in a session: sets of it that follow one another in the file. Its
    attributes are sets (how many), reps (mean), weight_kg (the heaviest set's), seconds (sum), rpe
    (mean). Rows that are equal are equal sets, all counted. Its time is the session's start, in
    days since 1970 on the clock that the log was kept by.
    catalogue: free-exercise-db's exercises.json, matched by name; None: no profiles of exercises.
    Exercises that it lacks are kept with an empty profile.
    Rows that cannot be used are left out and counted in `rejected`, where the reasons that begin
    with "sets" add up to the rows left out.
    Raises InputError that names file, line or column, and what to do.
    """
    if path is None:
        raise InputError("data.path is missing: it must be a folder with sets.csv, or such a file")
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "sets.csv"
    rejected: Counter[str] = Counter()
    sets = _sets(file, rejected)
    events = _events(sets)
    items, categories = _items(events["item"].unique().tolist(), catalogue, rejected)
    return EventTable(
        events=events,
        users=pd.DataFrame({"user": events["user"].unique()}, dtype="str"),
        items=items,
        profiles={"full": ()},
        categories=categories,
        ceiling=None,
        day_span=day_span,
        simulated=False,
        name="exercise_log",
        rejected=dict(rejected),
    )


def _sets(file: Path, rejected: Counter[str]) -> pd.DataFrame:
    """Usable rows: user, item, time, then the numbers that the file has; sorted by session."""
    frame = read_commas(file)
    for name in NEEDED:
        require(frame, file, name)
    starts = pd.to_datetime(frame["start"], errors="coerce", utc=True, format="ISO8601")
    sets = pd.DataFrame({"user": ids(frame, file, "user_id"), "item": ids(frame, file, "exercise")})
    sets["time"] = (starts - pd.Timestamp(0, tz="UTC")).dt.total_seconds() / SECONDS_PER_DAY
    unusable = {
        "sets without a user": sets["user"].isna(),
        "sets without an exercise": sets["item"].isna(),
        "sets without a start": frame["start"].isna(),
        "sets whose start is no date and time": starts.isna(),
    }
    for name in ATTRIBUTES:
        if name in frame.columns:
            sets[name] = to_numbers(frame[name])
            unusable[f"sets whose {name} is no number"] = sets[name].isna() & frame[name].notna()
            unusable[f"sets whose {name} is negative"] = sets[name] < 0
    left_out = pd.Series(False, index=sets.index)
    for reason, wrong in unusable.items():
        new = int((wrong & ~left_out).sum())
        if new:
            rejected[reason] += new
        left_out |= wrong
    sets = sets[~left_out].reset_index(drop=True)
    if not len(sets):
        raise InputError(f"{file}: no set is left ({dict(rejected) or 'only a header'})")
    return in_order(sets, sets["user"].unique())


def _events(sets: pd.DataFrame) -> pd.DataFrame:
    """One row for sets of one user, session and exercise that follow one another."""
    same = sets[["user", "time", "item"]]
    run = (same != same.shift()).any(axis=1).cumsum()
    runs = sets.groupby(run, sort=False)
    events = runs[["user", "item", "time"]].first()
    events["sets"] = runs.size().astype("float32")
    for name, how in ATTRIBUTES.items():
        if name in sets.columns:
            values = runs[name].sum(min_count=1) if how == "sum" else runs[name].agg(how)
            events[name] = values.astype("float32")
    return events.reset_index(drop=True)


def _items(
    names: list[str], catalogue: str | None, rejected: Counter[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Profiles of the exercises under the log's names, and their categories."""
    listed = pd.Series(names, dtype="str")
    if catalogue is None:
        return profile_frame("item", listed, [], Path()), {}
    known = read_catalogue(Path(catalogue).expanduser())
    matched = {name: match for name in names if (match := known.match(name))}
    if len(matched) < len(names):
        rejected["exercises that the catalogue lacks (kept)"] = len(names) - len(matched)
    rows = known.profiles.set_index("item").reindex([matched.get(name) for name in names])
    rows.insert(0, "item", listed.to_numpy())
    categories = {
        name: known.categories[match]
        for name, match in matched.items()
        if match in known.categories
    }
    return rows.reset_index(drop=True), categories
