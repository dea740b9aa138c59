"""MMASH: a day of 22 young men with a wrist accelerometer and a chest strap, second by second.

Rossi et al., "A Public Dataset of 24-h Multi-Levels Psycho-Physiological Responses in Young
Healthy Adults", Data 5(4):91, 2020; PhysioNet, doi 10.13026/cerq-fc86.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.exercises.text_tables import keys, numbers, read_commas
from fitexp.data.sequences import Float, Int
from fitexp.data.windows.epochs import Epochs, Recording, heart_rate_range
from fitexp.data.windows.parquet_tables import read_parquet
from fitexp.errors import InputError

STEP_S = 15
DAY_S = 86400
MISPRINTED, MEANT = -29, 2  # the second day of two men
AXES = ("axis1", "axis2", "axis3")
SERIES = (
    *(f"{axis}_{statistic}" for axis in AXES for statistic in ("mean", "std")),
    "vm_mean",
    "vm_std",
    "vm_max",
    "steps_sum",
)
COLUMNS = ["user_id", "day", "second_of_day", *AXES, "vector_magnitude", "steps", "hr"]
USERS = {"Age": "age_years", "Height": "height_cm", "Weight": "weight_kg"}


def mmash(*, path: str | None, min_hr_seconds: int, heart_rate_bpm: list[float]) -> Epochs:
    """Read the folder `path` with actigraph.parquet and user_info.csv.

    Bin of a second: ((day - 1) * 86400 + second of the day) // 15, from a man's first to the one
    before his last, which the end of the recording cuts. Series of a bin, in counts a second:
    mean and standard deviation of each axis, mean, standard deviation and maximum of the vector
    magnitude, and the sum of steps, over the seconds that the file has; NaN where it has none. The
    heart rate is the mean of at least `min_hr_seconds` seconds inside `heart_rate_bpm`, else NaN.
    Day -29 is read as day 2. Age 0 is missing.
    The date is not known: day 1 is called 1970-01-01, so the hour is right and the month is not.
    Raises InputError that names file, row or column, and what to do.
    """
    low, high = heart_rate_range(heart_rate_bpm)
    if not 1 <= min_hr_seconds <= STEP_S:
        raise InputError(f"data.source.min_hr_seconds={min_hr_seconds}: 1 to {STEP_S}")
    if path is None or not Path(path).expanduser().is_dir():
        raise InputError(f"data.path={path}: it must be the folder with actigraph.parquet")
    folder = Path(path).expanduser()
    file = folder / "actigraph.parquet"
    seconds = read_parquet(file, COLUMNS, numbers=COLUMNS[1:])
    if seconds["user_id"].dtype.kind == "f":
        raise InputError(f"{file}, user_id: {seconds['user_id'].dtype}, not whole numbers or texts")
    day = seconds["day"].astype("int64").replace(MISPRINTED, MEANT)
    for row in seconds.index[~day.isin([1, 2])][:1]:
        raise InputError(f"{file}, row {row + 1}, day: {day.loc[row]} must be 1 or 2")
    second = seconds["second_of_day"]
    for row in seconds.index[~second.between(0, DAY_S - 1)][:1]:
        raise InputError(
            f"{file}, row {row + 1}, second_of_day: {second.loc[row]} must be 0 to {DAY_S - 1}"
        )
    seconds["time"] = (day - 1) * DAY_S + second.astype("int64")
    again = seconds.duplicated(["user_id", "time"])
    for row in seconds.index[again][:1]:
        raise InputError(f"{file}, row {row + 1}: a second time for this user; keep one row")
    wrong = ~seconds["hr"].between(low, high)
    seconds["hr"] = seconds["hr"].mask(wrong)
    by_user = {str(user): rows for user, rows in seconds.groupby("user_id")}
    users = _users(folder / "user_info.csv")
    rejected = {
        f"seconds with a heart rate outside {low:g}..{high:g} bpm (missing)": int(wrong.sum()),
        "users without a row in user_info.csv (kept)": len(set(by_user) - set(users.index)),
    }

    def recordings() -> Iterator[Recording]:
        for user, rows in by_user.items():
            yield _recording(user, rows, min_hr_seconds)

    return Epochs(
        source="mmash",
        simulated=False,
        series=SERIES,
        step_s=float(STEP_S),
        users=users.reindex(list(by_user)),
        recordings=recordings,
        rejected={reason: count for reason, count in rejected.items() if count},
        notes={
            "heart rate": f"chest strap, mean of {min_hr_seconds} seconds or more, "
            f"{low:g}..{high:g} bpm",
            "series": "counts a second of a wrist accelerometer, not g; steps in 15 s",
            "time": "the date is not known; the hour is",
            "people": "healthy young men",
        },
    )


def _recording(user: str, rows: pd.DataFrame, min_hr_seconds: int) -> Recording:
    numbers_of_bins = rows["time"].to_numpy() // STEP_S
    begin = int(numbers_of_bins.min())
    place = numbers_of_bins - begin
    bins = int(place.max())
    kept = place < bins
    place, rows = place[kept], rows[kept]
    columns: list[Float] = []
    for name in (*AXES, "vector_magnitude"):
        columns.extend(_mean_and_std(place, rows[name].to_numpy(np.float64), bins))
    columns.append(_largest(place, rows["vector_magnitude"].to_numpy(np.float64), bins))
    steps = np.bincount(place, rows["steps"].to_numpy(np.float64), bins)
    columns.append(np.where(np.bincount(place, minlength=bins), steps, np.nan))
    known = rows["hr"].notna().to_numpy()
    beats = rows["hr"].to_numpy(np.float64)[known]
    heart_rate, _ = _mean_and_std(place[known], beats, bins)
    heart_rate[np.bincount(place[known], minlength=bins) < min_hr_seconds] = np.nan
    return Recording(
        user=user,
        start_s=float(begin * STEP_S),
        series=np.stack(columns, axis=1).astype(np.float32).reshape(bins, len(SERIES)),
        heart_rate=heart_rate.astype(np.float32),
    )


def _mean_and_std(place: Int, values: Float, bins: int) -> tuple[Float, Float]:
    """Mean and standard deviation (divided by n) of the values of each bin; NaN where none."""
    count = np.bincount(place, minlength=bins).astype(np.float64)
    count[count == 0] = np.nan
    mean = np.bincount(place, values, bins) / count
    variance = np.bincount(place, (values - mean[place]) ** 2, bins) / count
    return mean, np.sqrt(variance)


def _largest(place: Int, values: Float, bins: int) -> NDArray[np.float64]:
    largest = np.full(bins, np.nan)
    np.fmax.at(largest, place, values)
    return largest


def _users(file: Path) -> pd.DataFrame:
    frame = read_commas(file)
    users = pd.DataFrame(index=pd.Index(keys(frame, file, "user_id").to_numpy(), dtype="str"))
    for column, name in USERS.items():
        values = numbers(frame, file, column).to_numpy()
        users[name] = np.where(values > 0, values, np.nan)
    users["bmi"] = users["weight_kg"] / (users["height_cm"] / 100) ** 2
    return users
