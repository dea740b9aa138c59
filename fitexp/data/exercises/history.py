"""A person's past events in a CSV, read as a run's data were."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from fitexp.data.exercises.protocol import Exercises, features_of
from fitexp.data.exercises.questions import Question
from fitexp.data.exercises.table import EventTable
from fitexp.data.exercises.text_tables import ids, numbers, read_commas, require
from fitexp.errors import InputError
from fitexp.targets import closest, did_you_mean

COMPUTED = ("normlag", "normfreq")  # from items and times


def read_history(
    file: Path, protocol: Exercises, table: EventTable, profile: np.ndarray
) -> tuple[Question, list[str]]:
    """What follows the events of a file; notes on what it does not say.

    CSV, one row an event, oldest first: item; time (days, needed for normlag) and the run's other
    features, as success, may be left out or empty: unknown, which counts as the training mean.
    normlag and normfreq are computed as they are in the data. table: that of the run's data;
    profile (P,): the person's, NaN unknown. Raises InputError with file, line and column.
    """
    frame = read_commas(file)
    require(frame, file, "item")
    wanted = [name for name in protocol.features if name not in COMPUTED]
    if "normlag" in protocol.features:
        wanted = ["time", *wanted]
    notes = [f"{file}: {note}" for note in _columns(file, list(frame.columns), wanted)]
    events = pd.DataFrame({"user": "", "item": _items(frame, file, table)}, index=frame.index)
    for name in wanted:
        events[name] = numbers(frame, file, name) if name in frame.columns else np.nan
    if "time" not in events:
        events["time"] = np.nan
    back = events["time"].dropna().diff() < 0
    for line in back.index[back][:1]:
        raise InputError(f"{file}, line {line}, time: earlier than the line before; oldest first")
    number = {name: i for i, name in enumerate(table.items["item"].tolist())}
    item = events["item"].map(number).to_numpy(np.int64)
    like = dataclasses.replace(table, events=events)
    features = features_of(
        protocol, like, np.zeros(len(item), np.int64), item, np.arange(len(item))
    )
    return Question(items=item, features=features.astype(np.float32), profile=profile), notes


def _columns(file: Path, given: list[str], wanted: list[str]) -> list[str]:
    """Notes on columns that are not read and on those that are missing."""
    lacking = [name for name in wanted if name not in given]
    others = [name for name in given if name not in (*wanted, "item", "time")]
    for name in others:
        if near := closest(name, lacking):
            raise InputError(f"{file}, line 1: no column {name!r} is read{did_you_mean(near)}")
    of_events, said = [name for name in lacking if name != "time"], []
    if of_events:
        said.append(f"no column {', '.join(of_events)}: taken as the training mean")
    if "time" in lacking:
        said.append("no column time: normlag of an item done before is taken as the training mean")
    notes = ["; ".join(said)] if said else []
    return notes + ([f"not read: {', '.join(others)}"] if others else [])


def _items(frame: pd.DataFrame, file: Path, table: EventTable) -> pd.Series[str]:
    known = table.items["item"].astype(str).tolist()
    items = ids(frame, file, "item")
    for line in items.index[~items.isin(known)][:1]:
        raise InputError(f"{file}, line {line}, item: {unknown_item(items.loc[line], known)}")
    return items


def unknown_item(name: object, known: list[str]) -> str:
    """Words for a name that is none of the catalogue's."""
    if not isinstance(name, str):
        return f"empty; each event needs one of the {len(known)} items of the data"
    return f"{name!r} is none of the {len(known)} items of the data{hint(name, known)}"


def hint(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ..?" where a name, not a number, is near: 7 is not nearly 17."""
    return "" if name.isdigit() else did_you_mean(closest(name, known))
