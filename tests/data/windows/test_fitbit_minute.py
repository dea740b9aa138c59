from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp.data.windows.epochs import Epochs
from fitexp.data.windows.fitbit_minute import fitbit_minute
from fitexp.errors import InputError

START = pd.Timestamp("2016-04-13 07:00")


def minutes(user: int, at: list[int], **columns: list[int]) -> pd.DataFrame:
    times = pd.Series([START + pd.Timedelta(minutes=m) for m in at], dtype="datetime64[ns]")
    return pd.DataFrame({"user_id": user, "minute": times, **columns})


def write(folder: Path, beats: pd.DataFrame, steps: pd.DataFrame) -> str:
    beats.to_parquet(folder / "heart_rate_minute.parquet")
    steps.to_parquet(folder / "steps_intensity_minute.parquet")
    (folder / "weight_log_1.csv").write_text("Id,WeightKg,BMI\n5,80,25\n9,1,1\n")
    (folder / "weight_log_2.csv").write_text("Id,WeightKg,BMI\n5,82,\n")
    return str(folder)


def read(path: str | None) -> Epochs:
    return fitbit_minute(path=path, heart_rate_bpm=[30, 230])


BEATS = minutes(5, [0, 1, 4], heart_rate=[60, 61, 64], steps=[1, 2, 3], intensity=[0, 0, 1])
STEPS = pd.concat(
    [
        minutes(5, [1, 2, 6], steps=[9, 20, 60], intensity=[0, 2, 3]),
        minutes(6, [0], steps=[1], intensity=[1]),
    ]
)


def test_two_files_on_one_grid(tmp_path: Path) -> None:
    epochs = read(write(tmp_path, BEATS, STEPS))
    (recording,) = epochs.recordings()
    nan = np.nan
    assert (recording.user, epochs.step_s) == ("5", 60.0)
    assert recording.start_s == START.timestamp()
    np.testing.assert_array_equal(
        recording.heart_rate, np.float32([60, 61, nan, nan, 64, nan, nan])
    )
    expected = [[1, 0], [2, 0], [20, 2], [nan, nan], [3, 1], [nan, nan], [60, 3]]
    np.testing.assert_array_equal(recording.series, np.float32(expected))
    assert epochs.users.loc["5"].to_dict() == {"weight_kg": 81.0, "bmi": 25.0}
    assert epochs.users.index.tolist() == ["5"]
    assert epochs.rejected == {
        "users without a heart rate": 1,
        "minutes whose steps or intensity differ between the files": 1,
    }


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder with heart_rate_minute\.parquet"):
        read(None)
    late = BEATS.assign(minute=BEATS["minute"] + pd.Timedelta(seconds=7))
    with pytest.raises(InputError, match=r"row 1, minute: .*07:00:07 is not a full minute"):
        read(write(tmp_path, late, STEPS))
    with pytest.raises(InputError, match="row 4: a second time for this user"):
        read(write(tmp_path, pd.concat([BEATS, BEATS.iloc[:1]]), STEPS))
    with pytest.raises(InputError, match="not a local date and time but"):
        read(write(tmp_path, BEATS.assign(minute=[0, 1, 2]), STEPS))
    zoned = BEATS.assign(minute=BEATS["minute"].dt.tz_localize("UTC"))
    with pytest.raises(InputError, match="not a local date and time but"):
        read(write(tmp_path, zoned, STEPS))
    words = BEATS.assign(heart_rate=BEATS["heart_rate"].astype("str"))
    with pytest.raises(InputError, match=r"heart_rate: .*string, not numbers"):
        read(write(tmp_path, words, STEPS))


def test_impossible_heart_rates_are_missing(tmp_path: Path) -> None:
    epochs = read(write(tmp_path, BEATS.assign(heart_rate=[0, 231, 64]), STEPS))
    (recording,) = epochs.recordings()
    assert np.flatnonzero(np.isfinite(recording.heart_rate)).tolist() == [4]
    assert np.isfinite(recording.series[:2]).all()
    assert epochs.rejected["heart rates outside 30..230 bpm (missing)"] == 2


@pytest.mark.slow
def test_the_real_files(real_data: Path) -> None:
    epochs = read(str(real_data / "fitbit-minute"))
    found = list(epochs.recordings())
    assert [r.user for r in found] == ["2022484408", "2347167796", "5553957443", "8877689391"]
    assert sum(int(np.isfinite(r.heart_rate).sum()) for r in found) == 116_660
    assert epochs.rejected == {"users without a heart rate": 29}  # the files agree
    assert epochs.users["weight_kg"].round(1).tolist()[3] == 85.3
