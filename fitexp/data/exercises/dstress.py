"""The DStress study's files, as its authors' program reads them, and a writer of such files.

Mahyari, Pirolli, LeBlanc: Real-Time Learning from An Expert in Deep Recommendation Systems. The
data are not public; a study of one's own can be written in this format.

data.csv             id, activity, success, difficulty, normlag, normfreq, day: one row an exercise
user_demography.csv  id and the demographic profile
user_profile.csv     id and the full profile (optional)
exercise_profile.csv name and the exercise's profile
expert.csv           name and the expert's categories (optional)

A column of a profile that holds numbers is used as it is; one that holds words becomes a column
"pattern=push" for each word.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from fitexp.data.exercises.profiles import Columns, for_names, one_hot, profile_frame
from fitexp.data.exercises.table import EventTable, complete, in_order
from fitexp.data.exercises.text_tables import (
    ids,
    keys,
    numbers,
    read_commas,
    require,
    to_numbers,
)
from fitexp.data.sources import folder_of
from fitexp.errors import InputError

DAY_SPAN = 28.0
USES = 12.0
COLUMNS = ("id", "activity", "success", "difficulty", "normlag", "normfreq", "day")
PRINTED = 0.005  # normlag and normfreq may be rounded to two digits


def read_dstress(*, path: str | None) -> EventTable:
    """Read the folder `path`.

    normlag and normfreq are no columns of `events`, since they follow from the past: days since
    the user last did the exercise / 28 (1 if never) and how often before / 12. Rows of data.csv
    that print another number are kept and counted in `rejected`. Rows without id, activity or day
    are left out and counted. Users and exercises that the profiles do not list are kept with an
    empty profile and counted; exercises that nobody did stay in `items`, users without events do
    not. Of several columns in expert.csv, the category is all of them: "legs / power".
    Raises InputError that names file, line or column, and what to do.
    """
    folder = folder_of(path, "data.csv and profiles")
    rejected: Counter[str] = Counter()
    events = _events(folder / "data.csv", rejected)
    demographic = _profile(folder / "user_demography.csv", "id", "user")
    full = demographic
    if (folder / "user_profile.csv").exists():
        full = _profile(folder / "user_profile.csv", "id", "user")
    joined = _joined(demographic, full, folder)
    users, lacking = for_names(joined, "user", events["user"].unique().tolist())
    rejected["users without a profile (kept)"] = lacking
    rejected["users without an event"] = len(joined) + lacking - len(users)
    exercises = _profile(folder / "exercise_profile.csv", "name", "item")
    every = [*exercises["item"], *events["item"].unique()]
    items, lacking = for_names(exercises, "item", list(dict.fromkeys(every)))
    rejected["exercises without a profile (kept)"] = lacking
    events = in_order(events, users["user"])
    past = lag_and_frequency(events)
    for name in ("normlag", "normfreq"):
        differs = (events.pop(name) - past[name]).abs() > PRINTED
        rejected[f"events with another {name} (kept, the computed one is used)"] = differs.sum()
    categories = _categories(folder / "expert.csv", items, rejected)
    return EventTable(
        events=events,
        users=users,
        items=items,
        profiles={"demographic": tuple(demographic.columns[1:]), "full": tuple(full.columns[1:])},
        categories=categories,
        ceiling=None,
        day_span=DAY_SPAN,
        simulated=False,
        name="dstress",
        rejected={reason: int(count) for reason, count in rejected.items() if count},
    )


def lag_and_frequency(events: pd.DataFrame) -> pd.DataFrame:
    """normlag and normfreq of each event from those before it; a user's events are in order."""
    past = events.groupby(["user", "item"], sort=False)
    days = events["time"] - past["time"].shift()
    return pd.DataFrame(
        {"normlag": days.fillna(DAY_SPAN) / DAY_SPAN, "normfreq": past.cumcount() / USES}
    )


def _events(file: Path, rejected: Counter[str]) -> pd.DataFrame:
    """user, item, time, success, difficulty; normlag and normfreq as printed."""
    frame = read_commas(file)
    for name in COLUMNS:
        require(frame, file, name)
    events = pd.DataFrame({"user": ids(frame, file, "id"), "item": ids(frame, file, "activity")})
    events["time"] = numbers(frame, file, "day")
    for name in ("success", "difficulty", "normlag", "normfreq"):
        events[name] = numbers(frame, file, name).astype("float32")
    success = events["success"]
    for line in frame.index[success.notna() & ~success.isin([0, 1])][:1]:
        raise InputError(
            f"{file}, line {line}, success: {frame['success'].loc[line]!r} must be 1 (done) or 0"
        )
    events = complete(events, {"user": "id", "item": "activity", "time": "day"}, rejected)
    if not len(events):
        raise InputError(f"{file}: no event in it; each row needs id, activity and day")
    return events


def _profile(file: Path, key: str, ours: str) -> pd.DataFrame:
    frame = read_commas(file)
    names = keys(frame, file, key)
    parts = [_columns(frame, str(column)) for column in frame.columns if column != key]
    return profile_frame(ours, names, parts, file)


def _columns(frame: pd.DataFrame, column: str) -> Columns:
    values = frame[column]
    found = to_numbers(values)
    if found.notna().equals(values.notna()):
        return {column: found.to_numpy(np.float32)}
    return one_hot(column, values)


def _joined(demographic: pd.DataFrame, full: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Both profiles of a user in one row; what stands in both files must agree."""
    by_user = full.set_index("user")
    both = demographic.set_index("user")
    for column in both.columns.intersection(by_user.columns):
        a, b = both[column].align(by_user[column], join="inner")
        for row in np.flatnonzero(~((a == b) | (a.isna() & b.isna())).to_numpy())[:1]:
            raise InputError(
                f"{folder / 'user_profile.csv'}: {column} of {a.index[row]!r} is {b.iloc[row]:g}, "
                f"and {a.iloc[row]:g} in user_demography.csv; make them agree"
            )
    return (
        both.combine_first(by_user)
        .reindex(
            index=both.index.union(by_user.index, sort=False),
            columns=list(dict.fromkeys([*both.columns, *by_user.columns])),
        )
        .reset_index()
    )


def _categories(file: Path, items: pd.DataFrame, rejected: Counter[str]) -> dict[str, str]:
    if not file.exists():
        return {}
    frame = read_commas(file)
    names = keys(frame, file, "name")
    columns = [column for column in frame.columns if column != "name"]
    known = set(items["item"])
    categories: dict[str, str] = {}
    for name, row in zip(names, frame[columns].itertuples(index=False), strict=True):
        words = [str(value) for value in row if not pd.isna(value)]
        if name not in known:
            rejected["exercises of the expert that no other file has"] += 1
        elif words:
            categories[name] = " / ".join(words)
    return categories


def write_dstress(table: EventTable, folder: Path) -> None:
    """Write a table with success and difficulty to `folder` in this format; see `read_dstress`.

    What the format has no place for is not written: other attributes, the ceiling, and that the
    table is simulated. Columns "pattern=push" are written as one column of words.
    Raises ValueError where an item has two words in one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = table.events
    data = pd.concat([events, lag_and_frequency(events)], axis=1)
    data = data.rename(columns={"user": "id", "item": "activity", "time": "day"})
    _write(data[list(COLUMNS)], folder / "data.csv")
    demographic, full = (
        table.users[["user", *table.profiles[name]]].rename(columns={"user": "id"})
        for name in ("demographic", "full")
    )
    _write(_worded(demographic), folder / "user_demography.csv")
    _write(_worded(full), folder / "user_profile.csv")
    _write(_worded(table.items.rename(columns={"item": "name"})), folder / "exercise_profile.csv")
    expert = pd.DataFrame({"name": [*table.categories], "category": [*table.categories.values()]})
    _write(expert, folder / "expert.csv")


def _worded(profile: pd.DataFrame) -> pd.DataFrame:
    """Columns "name=word" joined to one column of words."""
    columns: dict[str, list[object]] = {}
    for title in profile.columns:
        name, is_flag, word = str(title).partition("=")
        if not is_flag:
            columns[name] = profile[title].tolist()
            continue
        words = columns.setdefault(name, [""] * len(profile))
        for row, flag in enumerate(profile[title]):
            if flag == 1:
                if words[row]:
                    raise ValueError(f"{profile.iloc[row, 0]!s}: {name} has two words")
                words[row] = word
    return pd.DataFrame(columns)


def _write(frame: pd.DataFrame, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows([_field(value) for value in row] for row in frame.itertuples(index=False))


def _field(value: object) -> object:
    """A number in the digits that give the same float32 or day again; "" where missing."""
    if not isinstance(value, float | np.floating):
        return value
    return "" if np.isnan(value) else f"{float(value):.15g}"
