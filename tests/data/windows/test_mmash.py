"""MMASH: bins by hand, and the measured figures of the real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.data.windows.epochs import Epochs
from fitexp.data.windows.mmash import SERIES, mmash
from fitexp.errors import InputError

# time of day, axis1, axis2, axis3, steps, hr, vector magnitude
SECONDS = [
    *[(30 + s, s, 0, 2, 1, 60 + s, 3.0) for s in range(6)],  # bin 2: six seconds
    (44, 6, 0, 2, 1, 230, 10.0),  # and one whose heart rate is not possible
    *[(60 + s, 1, 1, 1, 0, 70, 0.0) for s in range(4)],  # bin 4: four seconds, bin 3: none
    (70, 1, 1, 1, 0, 29, 0.0),  # and one whose heart rate is not possible either
    (80, 9, 9, 9, 9, 90, 9.0),  # bin 5: the last, cut
]
COLUMNS = ["second_of_day", "axis1", "axis2", "axis3", "steps", "hr", "vector_magnitude"]


def write(folder: Path, seconds: pd.DataFrame | None = None, users: str | None = None) -> Path:
    if seconds is None:
        seconds = table()
    seconds.to_parquet(folder / "actigraph.parquet")
    text = users or "user_id,Gender,Weight,Height,Age\n7,M,80,200,0\n8,M,70,,30\n"
    (folder / "user_info.csv").write_text(text)
    return folder


def table() -> pd.DataFrame:
    one = pd.DataFrame(SECONDS, columns=COLUMNS)
    later = one.assign(user_id=8, day=-29)  # as the files have it
    return pd.concat([one.assign(user_id=7, day=1), one.assign(user_id=8, day=1), later])


def read(folder: Path, **changes: Any) -> Epochs:
    return mmash(path=str(folder), **({"min_hr_seconds": 5, "heart_rate_bpm": [30, 220]} | changes))


def test_bins_by_hand(tmp_path: Path) -> None:
    epochs = read(write(tmp_path))
    assert (epochs.step_s, epochs.series, epochs.simulated) == (15.0, SERIES, False)
    seven, eight = epochs.recordings()
    assert (seven.user, seven.start_s) == ("7", 30.0)
    nan, axis1 = np.nan, np.arange(7.0)
    expected = [
        [axis1.mean(), axis1.std(), 0, 0, 2, 0, 4, np.sqrt(6.0), 10, 7],
        [nan] * 10,
        [1, 0, 1, 0, 1, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(seven.series, expected, rtol=1e-6)
    np.testing.assert_array_equal(seven.heart_rate, np.float32([62.5, nan, nan]))
    assert len(eight.series) == 86400 // 15 + 3  # from the first bin of day 1 to that of day 2
    np.testing.assert_array_equal(eight.series[-3:], eight.series[:3])
    assert epochs.rejected == {"seconds with a heart rate outside 30..220 bpm (missing)": 6}
    four = next(read(tmp_path, min_hr_seconds=4).recordings())
    np.testing.assert_array_equal(four.heart_rate, np.float32([62.5, nan, 70]))


def test_users_by_hand(tmp_path: Path) -> None:
    users = read(write(tmp_path)).users
    assert users.columns.tolist() == ["age_years", "height_cm", "weight_kg", "bmi"]
    np.testing.assert_allclose(
        users, [[np.nan, 200, 80, 20], [30, np.nan, 70, np.nan]], equal_nan=True
    )
    epochs = read(write(tmp_path, users="user_id,Weight,Height,Age\n8,70,180,30\n"))
    assert epochs.users["age_years"].isna().tolist() == [True, False]
    assert epochs.rejected["users without a row in user_info.csv (kept)"] == 1


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder with actigraph\.parquet"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match=r"actigraph\.parquet: cannot be read"):
        read(tmp_path)
    seconds = table().reset_index(drop=True)
    write(tmp_path, seconds.assign(day=3))
    with pytest.raises(InputError, match="row 1, day: 3 must be 1 or 2"):
        read(tmp_path)
    write(tmp_path, pd.concat([seconds, seconds.iloc[[4]]]))
    with pytest.raises(InputError, match=f"row {len(seconds) + 1}: a second time"):
        read(tmp_path)
    write(tmp_path, seconds.rename(columns={"hr": "heart"}))
    with pytest.raises(InputError, match="0 columns 'hr'"):
        read(tmp_path)
    for name in ("day", "second_of_day", "hr", "axis2"):
        write(tmp_path, seconds.astype({name: "str"}))
        with pytest.raises(InputError, match=rf"{name}: .*string, not numbers"):
            read(tmp_path)
    write(tmp_path, seconds.assign(second_of_day=seconds["second_of_day"] + 86400))
    with pytest.raises(InputError, match="row 1, second_of_day: 86430 must be 0 to 86399"):
        read(tmp_path)
    write(tmp_path, seconds.assign(axis1=seconds["axis1"].astype("float64").replace(6, np.inf)))
    with pytest.raises(InputError, match="axis1: infinite"):
        read(tmp_path)
    write(tmp_path, seconds.astype({"user_id": "float64"}))
    with pytest.raises(InputError, match="user_id: float64"):  # 7.0 is no user of user_info.csv
        read(tmp_path)
    for few in (0, 16):
        with pytest.raises(InputError, match=f"min_hr_seconds={few}: 1 to 15"):
            read(tmp_path, min_hr_seconds=few)
    seconds["hr"] = seconds["hr"].where(seconds.index != 5).astype("Int64")
    write(tmp_path, seconds)
    with pytest.raises(InputError, match="row 6, hr: empty"):
        read(tmp_path)


def test_the_measured_figures(real_data: Path) -> None:
    """Windows of 512 bins every 16, and the global mean in four folds of men.

    A bin is absent where the file has no second of it. A window is dropped where more than 5 % of
    its bins are absent or the heart rate of the bin behind it is not known. Errors are pooled.
    """
    epochs = read(real_data / "mmash")
    users, targets = [], []
    for recording in epochs.recordings():
        absent = np.isnan(recording.series).all(axis=1)
        np.testing.assert_array_equal(np.isnan(recording.series).any(axis=1), absent)
        for first in range(0, len(absent) - 512, 16):
            target = recording.heart_rate[first + 512]
            if absent[first : first + 512].sum() <= 0.05 * 512 and not np.isnan(target):
                users.append(int(recording.user))
                targets.append(float(target))
    assert (len(users), len(set(users))) == (4090, 16)
    ids, user, target = np.unique(users), np.array(users), np.array(targets)
    np.random.default_rng(42).shuffle(ids)
    error = np.empty(len(target))
    for fold in np.array_split(ids, 4):
        test = np.isin(user, fold)
        error[test] = target[test] - target[~test].mean()
    assert round(float(np.sqrt((error**2).mean())), 2) == 16.00
    assert round(float(np.abs(error).mean()), 2) == 11.84
    assert epochs.users["age_years"].isna().sum() == 1  # user 18
