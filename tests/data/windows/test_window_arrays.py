from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitexp.data.windows.epochs import Epochs
from fitexp.data.windows.window_arrays import SERIES, window_arrays
from fitexp.errors import InputError

FEATURES = [
    "id",
    "mean_hr",
    "VM_HPF_max",
    "VM_HPF_min",
    "VM_HPF_mean",
    "ENMO_mean",
    *(f"{axis}_{what}" for axis in "ZYX" for what in ("std", "mean")),  # not in our order
    "height",
    "sex",
    "resting_HR",
    "month",
    "hour",
    "minute",
]
T = 8
NAN = float("nan")


def window(user: float, begin: int | None = None, value: float = 0.0) -> Any:
    """One window (T, F): feature f of step t is value + f + t / 10, but for those named here."""
    made = value + np.arange(len(FEATURES)) + np.arange(T)[:, None] / 10
    made[:, 0] = user
    seconds = np.full(T, NAN) if begin is None else begin + 15.0 * np.arange(T)
    for name, values in (
        ("sex", 1.0),
        ("height", 1.8),
        ("month", NAN if begin is None else 3.0),
        ("hour", seconds // 3600 % 24),
        ("minute", seconds // 60 % 60),
    ):
        made[:, FEATURES.index(name)] = values
    return made


def write(folder: Path, number: int, windows: list[Any], dtype: Any = np.float32) -> None:
    np.save(folder / f"X{number}.npy", np.array(windows).astype(dtype), allow_pickle=True)
    np.save(folder / f"Y{number}.npy", 100.0 * number + np.arange(len(windows)))
    (folder / "names.csv").write_text("\n".join(["features_used", *FEATURES]) + "\n")


def read(folder: Path, low: float = 0.0, high: float = 1000.0) -> Epochs:
    return window_arrays(
        path=str(folder),
        windows="X*.npy",
        targets="Y*.npy",
        features="names.csv",
        step_s=15.0,
        heart_rate_bpm=[low, high],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
def test_windows_by_user(tmp_path: Path, dtype: Any) -> None:
    write(tmp_path, 1, [window(12), window(7, value=50), window(12, value=90)], dtype)
    write(tmp_path, 2, [window(12, value=70), window(NAN)], dtype)
    epochs = read(tmp_path)
    assert epochs.series == tuple(SERIES)
    assert epochs.series[:4] == ("x_mean", "x_std", "y_mean", "y_std")
    assert epochs.series[-4:] == ("enmo_mean", "vm_hpf_mean", "vm_hpf_min", "vm_hpf_max")
    found = {r.user: r for r in epochs.recordings()}
    assert list(found) == ["12", "7", "X2.npy"] == epochs.users.index.tolist()
    twelve = found["12"]
    assert twelve.first is not None
    assert twelve.target is not None
    assert twelve.first.tolist() == [0, T, 2 * T]
    assert twelve.target.tolist() == [100, 102, 200]
    assert np.isnan(twelve.start_s)
    written = np.concatenate([window(12), window(12, value=90), window(12, value=70)])
    place = [FEATURES.index(SERIES[name][0]) for name in epochs.series]
    factor = [1000.0] * 6 + [1.0] * 4  # axes are in g there
    np.testing.assert_allclose(twelve.series, written[:, place] * factor, rtol=1e-6)
    np.testing.assert_allclose(twelve.heart_rate, written[:, 1], rtol=1e-6)
    assert epochs.users.columns.tolist() == ["height_cm", "sex", "resting_hr_bpm"]
    np.testing.assert_allclose(epochs.users.loc["7"], [180, 1, 50 + FEATURES.index("resting_HR")])


def test_users_may_be_words_in_objects(tmp_path: Path) -> None:
    windows = np.array([window(1), window(2)]).astype(object)
    windows[:, :, 0] = [["P-01"] * T, [None] * T]
    write(tmp_path, 1, list(windows), object)
    assert [r.user for r in read(tmp_path).recordings()] == ["P-01", "X1.npy"]


def test_the_hour_of_every_window_is_right(tmp_path: Path) -> None:
    """Gaps are filled with absent rows; whole days are not."""
    length = T * 15
    begins = [36_015, 36_015 + length, 36_015 + 2 * length + 600, 36_015 + 86_400, 1_800 + 86_400]
    write(tmp_path, 1, [window(1, begin) for begin in begins])
    (recording,) = read(tmp_path).recordings()
    assert recording.first is not None
    midnight = np.datetime64("1970-03-01").astype("datetime64[s]").astype(int)
    assert recording.start_s == midnight + 36_015
    begun = (recording.start_s + 15 * recording.first) % 86_400
    np.testing.assert_array_equal(begun, np.array(begins) % 86_400)
    assert np.diff(recording.first).tolist()[:2] == [T, T + 40]
    assert (np.diff(recording.first) >= T).all()
    within = (recording.first[:, None] + np.arange(T)).ravel()
    assert np.isfinite(recording.series[within]).all()
    assert np.isnan(np.delete(recording.series, within, axis=0)).all()
    assert np.isnan(np.delete(recording.heart_rate, within)).all()


def test_one_window_without_a_clock_hides_the_time(tmp_path: Path) -> None:
    write(tmp_path, 1, [window(1, 36_000), window(1)])
    (recording,) = read(tmp_path).recordings()
    assert np.isnan(recording.start_s)
    assert len(recording.series) == 2 * T


def test_impossible_heart_rates_are_missing(tmp_path: Path) -> None:
    write(tmp_path, 1, [window(1, value=60.0), window(1, value=60.0)])
    np.save(tmp_path / "Y1.npy", [0.0, 90.0])
    (plain,), epochs = read(tmp_path).recordings(), read(tmp_path, 30, 61.5)
    (recording,) = epochs.recordings()
    high = plain.heart_rate > 61.5
    assert 0 < high.sum() < len(high)
    np.testing.assert_array_equal(np.isnan(recording.heart_rate), high)
    assert recording.target is not None
    np.testing.assert_array_equal(np.isnan(recording.target), [True, True])
    assert epochs.rejected == {"answers outside 30..61.5 bpm (missing)": 2}


def test_mistakes(tmp_path: Path) -> None:
    write(tmp_path, 1, [window(1), window(2)])
    np.save(tmp_path / "Y1.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"Y1\.npy: 3 answers for 2 windows in X1\.npy"):
        read(tmp_path)
    (tmp_path / "Y1.npy").unlink()
    with pytest.raises(InputError, match=r"1 files X\*\.npy and 0 files Y\*\.npy"):
        read(tmp_path)
    write(tmp_path, 1, [window(1)[:, 1:]])
    with pytest.raises(InputError, match=r"X1\.npy: its shape is \(1, 8, 17\), not"):
        read(tmp_path)
    mixed = window(1)
    mixed[3, 0] = 2
    write(tmp_path, 1, [window(5), mixed])
    with pytest.raises(InputError, match=r"X1\.npy, window 1 \(from 0\), id: two users"):
        list(read(tmp_path).recordings())
    words = window(1).astype(object)
    words[2, 5] = "high"
    write(tmp_path, 1, [words], object)
    with pytest.raises(InputError, match=r"X1\.npy: it holds something that is no number .*high"):
        read(tmp_path)
    (tmp_path / "names.csv").write_text("features_used\nid\nmean_HR\n")
    with pytest.raises(InputError, match=r"names\.csv, line 1: no column"):
        read(tmp_path)


def test_the_release_s_sample(real_data: Path) -> None:
    epochs = window_arrays(
        path=str(real_data / "step2heart-sample"),
        windows="X*.npy",
        targets="Y*.npy",
        features="_features_used_deep_learning.csv",
        step_s=15.0,
        heart_rate_bpm=[30, 230],
    )
    (recording,) = epochs.recordings()
    assert recording.series.shape == (512, 10)
    assert np.isfinite(recording.series).all()
    assert recording.target is not None
    assert recording.target.tolist() == [np.float32(89.513)]
    assert recording.start_s == np.datetime64("1970-11-01T10:02").astype("datetime64[s]").astype(
        int
    )
    assert epochs.users.round(1).iloc[0].to_dict() == {
        "age_years": 49.0,
        "height_cm": 162.0,
        "weight_kg": 79.4,
        "bmi": 30.3,
        "sex": 0.0,
        "resting_hr_bpm": 79.7,
        "sleeping_hr_bpm": 64.0,
    }
    # an axis is within one g, and a window's highest value is no lower than its mean
    x = recording.series
    assert (np.abs(x[:, [0, 2, 4]]) < 1500).all()
    assert ((x[:, 8] <= x[:, 7]) & (x[:, 7] <= x[:, 9])).all()
