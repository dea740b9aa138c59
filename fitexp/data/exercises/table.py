"""Exercises (or films, or songs) as three tables: what every reader returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class EventTable:
    """Who did what, in which order, and what is known of users and items.

    events, one row an event, users in the order of `users`, a user's events in the order they
    happened (ties as the file has them): user, item (str), time (float64, days; NaN unknown;
    never falling within a user), and further float32 columns, NaN missing: attributes of the event
    that are known once it is over (success 1 or 0, difficulty, rating, weight_kg, ...).
    users: user (str, unique, no blanks around it), then float32 columns, NaN missing; items: item
    (likewise), then float32 columns (a category is one column a value, named "pattern=push").
    profiles: name of a user profile -> its columns of `users`, e.g. demographic, full.
    categories: item -> the expert's category; items of one category may stand for each other.
    Empty where there is no expert.
    ceiling: (events, items) float32, probability of each item at each event given all that could
    be known beforehand (a simulator's); None where nobody knows it.
    day_span: days that `normlag` is divided by (28 in the DStress study).
    simulated: made by a program; name: of the source; rejected: reason -> count of what was left
    out while reading.
    """

    events: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame
    profiles: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, str]
    ceiling: NDArray[np.float32] | None
    day_span: float
    simulated: bool
    name: str
    rejected: Mapping[str, int]


def in_order(events: pd.DataFrame, users: Iterable[str]) -> pd.DataFrame:
    """Events in the order of these users, each user's by time; ties stay as they are."""
    place = {who: row for row, who in enumerate(users)}
    by_user = events["user"].map(place).to_numpy()
    order = np.lexsort((events["time"].to_numpy(), by_user))
    return events.iloc[order].reset_index(drop=True)


def complete(
    events: pd.DataFrame, needed: Mapping[str, str], rejected: Counter[str]
) -> pd.DataFrame:
    """Events with all that is needed: columns -> the file's names of them, to count the others."""
    for name, theirs in needed.items():
        unknown = events[name].isna()
        if unknown.any():
            rejected[f"events without {theirs}"] += int(unknown.sum())
            events = events[~unknown]
    return events.reset_index(drop=True)
