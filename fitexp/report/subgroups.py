"""Errors of parts of the test: by sport, mean heart rate, what training knew of an athlete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import metrics
from fitexp.data.prepare import Prepared
from fitexp.data.splits import TRAIN

BANDS = (110, 130, 150, 170)  # bpm, of a workout's mean; a value on a border belongs above it
OWN = (1, 3, 6, 11, 21)  # least numbers of an athlete's training workouts; none: "new"
MOST_ATHLETES = 10  # up to so many are shown one by one
Mask = NDArray[np.bool_]


def subgroups(table: pd.DataFrame, prepared: Prepared) -> Iterator[tuple[str, str, Mask]]:
    """(by what, which, rows of the table) of every group that has a scored step.

    by sport; bpm: the workout's mean measured heart rate; own: the athlete's workouts in
    training ("new": none), where there is a training part; athlete: where there are few.
    """
    sports = table["sport"].astype(str).to_numpy(object)
    for sport in sorted(set(sports)):
        yield "sport", sport, sports == sport
    if prepared.spec.unit == "bpm":
        mean = table.groupby("unit_id")["target"].transform("mean").to_numpy()
        yield from _bins("bpm", mean, BANDS, f"under_{BANDS[0]}")
    users = table["user_id"].astype(str).to_numpy(object)
    training = np.asarray(prepared.arrays["part"]) == TRAIN
    if training.any():
        names, counts = np.unique(prepared.arrays["user_id"][training], return_counts=True)
        known = dict(zip(names.tolist(), counts.tolist(), strict=True))
        own = np.array([known.get(user, 0) for user in users])
        yield from _bins("own", own, OWN, "new")
    if 1 < len(set(users)) <= MOST_ATHLETES:
        for user in sorted(set(users)):
            yield "athlete", user, users == user


def _bins(
    by: str, values: NDArray[np.float64], borders: tuple[int, ...], first: str
) -> Iterator[tuple[str, str, Mask]]:
    place = np.searchsorted(borders, values, side="right")
    for number in range(len(borders) + 1):
        rows = place == number
        if rows.any():
            low = borders[number - 1]
            upper = borders[number] - 1 if number < len(borders) else None
            last = f"{low}_up" if upper is None else f"{low}-{upper}"
            yield by, first if not number else str(low) if low == upper else last, rows


def score_subgroups(
    table: pd.DataFrame, prepared: Prepared, columns: Mapping[str, str], place: str
) -> dict[str, float]:
    """`PLACEby_sport/run/mae_bpm` (rmse alike) of every group, of every prefix -> column."""
    out: dict[str, float] = {}
    unit = prepared.spec.unit
    target = table["target"].to_numpy()
    values = {prefix: table[column].to_numpy() for prefix, column in columns.items()}
    for by, name, rows in subgroups(table, prepared):
        at = f"{place}by_{by}/{name.replace('/', '_')}/"
        out[f"count/{at}workouts"] = int(table["unit_id"][rows].nunique())
        for prefix, predicted in values.items():
            out[f"{prefix}{at}mae_{unit}"] = metrics.mae(target[rows], predicted[rows])
            out[f"{prefix}{at}rmse_{unit}"] = metrics.rmse(target[rows], predicted[rows])
    return out
