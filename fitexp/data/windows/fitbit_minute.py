"""Fitbit volunteers by the minute: steps, intensity and, for a few of them, heart rate.

Furberg, Brinton, Keating, Ortiz: Crowd-sourced Fitbit datasets 03.12.2016-05.12.2016, Zenodo.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fitexp.data.exercises.text_tables import numbers, read_commas, require
from fitexp.data.windows.epochs import Epochs, Recording, heart_rate_range
from fitexp.data.windows.parquet_tables import read_parquet
from fitexp.errors import InputError

STEP_S = 60
SERIES = ("steps", "intensity")
KEY = ["user_id", "minute"]
WEIGHTS = {"WeightKg": "weight_kg", "BMI": "bmi"}


def fitbit_minute(*, path: str | None, heart_rate_bpm: list[float]) -> Epochs:
    """Read the folder `path`.

    heart_rate_minute.parquet: user_id, minute (local time), heart_rate, steps, intensity;
    steps_intensity_minute.parquet: user_id, minute, steps, intensity; weight_log*.csv: Id,
    WeightKg, BMI, several a user, averaged.
    Series: steps a minute and intensity (0 sedentary .. 3 very active). A minute that neither file
    has is absent (NaN); users without a heart rate are left out. Where the files differ, the one
    with the heart rate counts. Heart rates outside `heart_rate_bpm` are missing, and counted.
    Raises InputError that names file, row or column, and what to do.
    """
    low, high = heart_rate_range(heart_rate_bpm)
    if path is None or not Path(path).expanduser().is_dir():
        raise InputError(f"data.path={path}: it must be the folder with heart_rate_minute.parquet")
    folder = Path(path).expanduser()
    with_heart_rate = _minutes(folder / "heart_rate_minute.parquet", ["heart_rate", *SERIES])
    steps = _minutes(folder / "steps_intensity_minute.parquet", list(SERIES))
    people = with_heart_rate.index.unique("user_id")
    others = steps.index.unique("user_id").difference(people)
    steps = steps.drop(index=others, level="user_id")
    both = with_heart_rate.index.intersection(steps.index)
    differ = (with_heart_rate.loc[both, list(SERIES)] != steps.loc[both]).any(axis=1)
    minutes = with_heart_rate.combine_first(steps)[["heart_rate", *SERIES]]
    outside = minutes["heart_rate"].notna() & ~minutes["heart_rate"].between(low, high)
    minutes["heart_rate"] = minutes["heart_rate"].mask(outside)
    weights = _weights(sorted(folder.glob("weight_log*.csv")))
    rejected = {
        "users without a heart rate": len(others),
        "minutes whose steps or intensity differ between the files": int(differ.sum()),
        f"heart rates outside {low:g}..{high:g} bpm (missing)": int(outside.sum()),
    }

    def recordings() -> Iterator[Recording]:
        for user in people:
            yield _recording(user, minutes.loc[user])

    return Epochs(
        source="fitbit_minute",
        simulated=False,
        series=SERIES,
        step_s=float(STEP_S),
        users=weights.reindex(people.astype("str")),
        recordings=recordings,
        rejected={reason: count for reason, count in rejected.items() if count},
        notes={
            "heart rate": "optical, at the wrist, a value a minute, as the maker gives it; "
            f"{low:g}..{high:g} bpm",
            "series": "steps a minute; intensity 0 sedentary .. 3 very active",
            "absent": "minutes without a heart rate, before the file of all minutes begins",
            "wear": "not detected: minutes of 0 steps are there, worn or not",
        },
    )


def _minutes(file: Path, columns: list[str]) -> pd.DataFrame:
    """These columns as float32, indexed by user_id (str) and minute since 1970 (int64), sorted."""
    frame = read_parquet(file, [*KEY, *columns], numbers=columns)
    times = frame["minute"]
    if not pd.api.types.is_datetime64_dtype(times):
        raise InputError(f"{file}, minute: not a local date and time but {times.dtype}")
    frame["user_id"] = frame["user_id"].astype("str")
    seconds = times.astype("datetime64[s]").astype("int64")
    for row in frame.index[seconds % STEP_S != 0][:1]:
        raise InputError(f"{file}, row {row + 1}, minute: {times.loc[row]} is not a full minute")
    frame["minute"] = seconds // STEP_S
    for row in frame.index[frame.duplicated(KEY)][:1]:
        raise InputError(f"{file}, row {row + 1}: a second time for this user; keep one row")
    return frame.set_index(KEY).sort_index().astype("float32")


def _recording(user: str, rows: pd.DataFrame) -> Recording:
    minutes = rows.index.to_numpy()
    rows = rows.reindex(np.arange(minutes[0], minutes[-1] + 1))
    return Recording(
        user=user,
        start_s=float(minutes[0] * STEP_S),
        series=rows[list(SERIES)].to_numpy(np.float32),
        heart_rate=rows["heart_rate"].to_numpy(np.float32),
    )


def _weights(files: list[Path]) -> pd.DataFrame:
    """Mean weight and BMI of each user of the logs."""
    logs = [pd.DataFrame(columns=list(WEIGHTS.values()), dtype="float64")]
    for file in files:
        frame = read_commas(file)
        require(frame, file, "Id")
        log = pd.DataFrame({ours: numbers(frame, file, name) for name, ours in WEIGHTS.items()})
        logs.append(log.set_axis(frame["Id"].to_numpy()))
    return pd.concat(logs).groupby(level=0).mean()
