"""Small tables of events, made by hand or at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from fitexp.compose import strip
from fitexp.data.exercises.protocol import Exercises
from fitexp.data.exercises.table import EventTable
from tests.toy_run import CONF


def made_table(
    histories: dict[str, str],
    *,
    ceiling: bool = False,
    name: str = "made",
    seed: int = 0,
    session: int = 1,
) -> EventTable:
    """histories: user -> items, a letter each; the user's age is 20, 30, ...

    session: events of a day. Success alternates from 1; difficulty is the letter's place in the
    alphabet, from 1.
    """
    items = sorted(set("".join(histories.values())))
    rows = [
        (user, item, float(day // session), 1.0 - day % 2, items.index(item) + 1.0)
        for user, own in histories.items()
        for day, item in enumerate(own)
    ]
    events = pd.DataFrame(rows, columns=["user", "item", "time", "success", "difficulty"])
    events = events.astype({"success": "float32", "difficulty": "float32"})
    users = pd.DataFrame({"user": list(histories)})
    users["age"] = np.arange(len(users), dtype=np.float32) * 10 + 20
    catalogue = pd.DataFrame({"item": items})
    catalogue["hard"] = np.arange(len(items), dtype=np.float32)
    known = None
    if ceiling:
        known = np.full((len(events), len(items)), 0.1 / len(items), np.float32)
        known[np.arange(len(events)), [items.index(item) for item in events["item"]]] += 0.9
    return EventTable(
        events=events,
        users=users,
        items=catalogue,
        profiles={"demographic": ("age",)},
        categories={item: "vowel" if item in "aeiou" else "" for item in items},
        ceiling=known,
        day_span=28.0,
        simulated=False,
        name=name,
        rejected={},
    )


def random_histories(users: int, events: int, items: int, seed: int) -> dict[str, str]:
    draw = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnop"[:items]))
    return {f"u{u}": "".join(letters[draw.integers(0, items, events)]) for u in range(users)}


def source(*, path: str | None, histories: dict[str, str]) -> EventTable:
    """What a config's source node can name."""
    return made_table(histories, ceiling=True)


def protocol(**changed: Any) -> Exercises:
    """The protocol with the defaults of conf/data/_exercises.yaml, without baselines."""
    values = yaml.safe_load((CONF / "data" / "_exercises.yaml").read_text())
    values = {k: v for k, v in strip(values).items() if k not in ("defaults", "_target_")}
    values |= {"path": None, "source": {}, "baselines": {}, **changed}
    return Exercises(**values)
