"""A reader of one's own files: one CSV with a row a sample."""

import pandas as pd

from fitexp.data.workouts.table import WorkoutTable
from fitexp.errors import InputError

SESSION = {"workout": "str", "athlete": "str", "sport": "str", "start": "float64"}  # unix s
SERIES = ("heart_rate_bpm", "speed_km_h", "altitude_m", "distance_km")
SAMPLE = {"time_s": "float64", **dict.fromkeys(SERIES, "float32")}  # time from the start


def read_one_csv(*, path: str) -> WorkoutTable:
    """A file with the columns SESSION, repeated in every row, and SAMPLE; empty is missing."""
    columns = {**SESSION, **SAMPLE}
    try:
        rows = pd.read_csv(path, usecols=list(columns), dtype=columns)
    except (OSError, ValueError) as error:  # pandas names the column or the text
        raise InputError(f"{path}: {error}") from error
    lost = rows[["workout", "athlete", "time_s"]].isna().any(axis=1)
    lost |= rows.duplicated(["workout", "time_s"])
    rows = rows[~lost].sort_values(["workout", "time_s"], ignore_index=True)
    workouts = rows.groupby("workout")
    samples = rows[list(SAMPLE)].assign(session=workouts.ngroup().astype("int32"))
    return WorkoutTable(
        sessions=workouts[list(SESSION)[1:]].first().reset_index().assign(gender="unknown"),
        samples=samples,
        simulated=False,
        name="mine",
        rejected={"samples without names or time, or twice": int(lost.sum())},
    )
