"""A study of raw acceleration in files to recordings, and what is said where it cannot be read."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp.data.windows import long_tables
from fitexp.data.windows import samples as raw_samples
from fitexp.data.windows.calibration import StillWindows, calibrate
from fitexp.data.windows.raw import raw_acceleration
from fitexp.data.windows.signals import MG, SERIES, STEP_S, EpochStream
from fitexp.errors import InputError
from tests.data.windows import made_raw
from tests.data.windows.made_raw import RATE_HZ, START_S, read, samples, study, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def folder(tmp_path: Path, whole: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


def change(file: Path, edit: Callable[[list[str]], list[str]]) -> None:
    file.write_text("\n".join(edit(file.read_text().splitlines())) + "\n")


def test_the_configs_keys_are_the_readers() -> None:
    assert {*made_raw.options(), "path"} == set(inspect.signature(raw_acceleration).parameters)


def test_recordings_are_calibrated_epochs_with_mean_heart_rates(whole: Path) -> None:
    epochs = read(whole)
    recordings = list(epochs.recordings())
    assert [r.user for r in recordings] == ["a", "b"]
    assert epochs.series == SERIES
    assert epochs.step_s == STEP_S
    assert not epochs.rejected
    assert epochs.users.loc["a"].to_dict() == {"age_years": 40.0, "sex": 0.0}
    for number, recording in enumerate(recordings):
        frame = samples(seed=number)
        time_s, a = frame["time"].to_numpy(), frame[["x", "y", "z"]].to_numpy().T
        still = StillWindows()
        still.push(time_s, a)
        to_gravity = calibrate(still.means(RATE_HZ))
        assert not to_gravity.reason
        stream = EpochStream(rate_hz=RATE_HZ, gap_s=1.0, min_share=0.5)
        expected = np.concatenate([stream.push(time_s, to_gravity(a)), stream.finish()])
        assert recording.start_s == START_S
        assert recording.series.dtype == recording.heart_rate.dtype == np.float32
        np.testing.assert_allclose(recording.series, expected, rtol=1e-6, atol=1e-3)
        readings = 60.0 + 10 * number + (100.0 * np.arange(48)) % 7  # one every 100 samples
        np.testing.assert_allclose(recording.heart_rate, readings.reshape(16, 3).mean(1), rtol=1e-6)


def test_parquet_in_small_chunks_gives_the_same(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in [*folder.glob("acceleration/*.csv"), folder / "heart_rate.csv"]:
        write(pd.read_csv(file), file.with_suffix(".parquet"))
        file.unlink()
    expected = list(read(whole).recordings())
    monkeypatch.setattr(long_tables, "ROWS", 333)
    for found, other in zip(read(folder).recordings(), expected, strict=True):
        assert found.user == other.user
        np.testing.assert_allclose(found.series, other.series, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found.heart_rate, other.heart_rate)


def test_a_device_that_is_off_reads_as_a_true_one(folder: Path, whole: Path) -> None:
    """Means come back to 2 mg; without calibration they are some tens of mg off."""
    for user in "ab":
        file = folder / "acceleration" / f"{user}.csv"
        frame = pd.read_csv(file)
        frame[["x", "y", "z"]] = (frame[["x", "y", "z"]] - [0.04, -0.05, 0.03]) / [1.05, 0.96, 1.02]
        write(frame, file)
    epochs = read(folder)
    for found, true, raw in zip(
        epochs.recordings(),
        read(whole).recordings(),
        read(folder, calibrated=False).recordings(),
        strict=True,
    ):
        np.testing.assert_allclose(found.series[:, :6:2], true.series[:, :6:2], atol=2.0)
        assert np.abs(raw.series[:, :6:2] - true.series[:, :6:2]).max() > 30.0
    assert "2 users; mean error of still windows" in epochs.notes["calibration"]


def test_what_is_left_out_is_counted_anew_by_each_walk(folder: Path) -> None:
    change(folder / "heart_rate.csv", lambda lines: [*lines, f"c,{START_S},60", f"d,{START_S},60"])
    change(
        folder / "heart_rate.csv",
        lambda lines: [line for line in lines if not line.startswith("b")] + [f"a2,{START_S},250"],
    )
    change(folder / "users.csv", lambda lines: [*lines, "e,30,1"])
    frame = samples(seed=5)
    frame.loc[3:4, "y"] = np.nan
    frame[["x", "y", "z"]] = [0.0, 0.0, 1.0]  # one pose only
    frame.loc[7:9, "x"] = np.nan
    write(frame, folder / "acceleration" / "c.csv")
    epochs = read(folder)
    for _ in range(2):
        assert {r.user for r in epochs.recordings()} == {"a", "b", "c"}
        assert epochs.rejected == {
            "users without a row in users.csv (kept)": 1,
            "users without acceleration": 1,
            "users with heart rate but no acceleration": 2,
            "users without heart rate (kept)": 1,
            "heart rates outside 30..230 bpm": 1,
            "samples without x, y or z": 3,
            "users left uncalibrated (kept): still windows not beyond +-0.3 g on each axis": 1,
        }
    assert epochs.users.loc["c"].isna().all()


def test_heart_rate_and_users_are_optional(folder: Path) -> None:
    (folder / "heart_rate.csv").unlink()
    (folder / "users.csv").unlink()
    epochs = read(folder)
    assert all(np.isnan(r.heart_rate).all() for r in epochs.recordings())
    assert epochs.notes["heart rate"] == "none"
    assert epochs.users.shape == (2, 0)
    assert not epochs.rejected


def test_a_device_asleep_writes_zeros_and_these_are_no_samples(tmp_path: Path) -> None:
    """Not still windows of 0 g, for the calibration; no step of 1 g, for the filter."""
    frame = samples(minutes=6.0)
    asleep = (frame.index >= 1500) & (frame.index < 3300)
    write(frame[~asleep], tmp_path / "gap" / "acceleration" / "u.csv")
    frame.loc[asleep, ["x", "y", "z"]] = 0.0
    write(frame, tmp_path / "zero" / "acceleration" / "u.csv")
    zero, gap = read(tmp_path / "zero"), read(tmp_path / "gap")
    (found,), (expected,) = zero.recordings(), gap.recordings()
    np.testing.assert_array_equal(found.series, expected.series)
    assert np.isfinite(found.series).all(axis=1).tolist() == [True] * 5 + [False] * 6 + [True] * 13
    assert zero.rejected == {"samples of 0, 0, 0: a device asleep, or damaged": 1800}


def test_the_unit_is_checked_on_the_first_samples_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = samples(minutes=1.0)
    frame[["x", "y", "z"]] *= 9.80665
    frame.loc[:500, "x"] = np.nan
    write(frame, tmp_path / "acceleration" / "u.parquet")
    monkeypatch.setattr(long_tables, "ROWS", 100)
    with pytest.raises(InputError, match="m/s2: divide"):
        list(read(tmp_path).recordings())


def test_heart_rates_join_by_the_instant_where_both_files_name_their_zones(folder: Path) -> None:
    """The table begins in summer time (+02:00); b is recorded in winter, as its file says."""
    b = folder / "acceleration" / "b.csv"
    frame = pd.read_csv(b)
    zoned = pd.to_datetime(frame["time"], unit="s", utc=True).dt.tz_convert("UTC+01:00")
    write(frame.assign(time=zoned.map(lambda t: t.isoformat())), b)
    beats = pd.read_csv(folder / "heart_rate.csv")
    zoned = pd.to_datetime(beats["time"], unit="s", utc=True).dt.tz_convert("UTC+02:00")
    write(beats.assign(time=zoned.map(lambda t: t.isoformat())), folder / "heart_rate.csv")
    _, found = read(folder).recordings()
    assert np.isfinite(found.heart_rate).all()
    assert found.start_s == START_S + 3600.0  # the wall's clock, where it was worn


def test_heart_rates_of_another_time_are_counted(folder: Path) -> None:
    beats = pd.read_csv(folder / "heart_rate.csv")
    beats.loc[beats["user"] == "b", "time"] += 86400.0
    write(beats, folder / "heart_rate.csv")
    epochs = read(folder)
    a, b = epochs.recordings()
    assert np.isfinite(a.heart_rate).all()
    assert np.isnan(b.heart_rate).all()
    reason = "users whose heart rates all lie outside their acceleration (kept)"
    assert epochs.rejected == {reason: 1}


def test_a_fit_that_leaves_still_windows_off_is_not_used_and_counted(folder: Path) -> None:
    """A third of the poses are recorded 8 % too long: no gain and offset mend that."""
    file = folder / "acceleration" / "a.csv"
    frame = samples(minutes=12.0)
    frame.loc[frame.index // 400 % 3 == 0, ["x", "y", "z"]] *= 1.08
    write(frame, file)
    epochs = read(folder)
    list(epochs.recordings())
    reason = "the fit does not bring still windows closer to 1 g, to 10 mg"
    assert epochs.rejected[f"users left uncalibrated (kept): {reason}"] == 1


@pytest.mark.parametrize("rate_hz", [10.0, 12.5, 85.7, 100.0, 120.0])
def test_rates_of_devices(tmp_path: Path, rate_hz: float) -> None:
    """10 Hz is enough, though its mean comes out as 9.999...; the rate is printed."""
    n = int(31 * rate_hz)
    a = np.random.default_rng(0).normal([0.0, 0.0, 1.0], 0.05, (n, 3))
    frame = pd.DataFrame(a, columns=["x", "y", "z"])
    frame.insert(0, "time", START_S + np.arange(n) / rate_hz)
    write(frame, tmp_path / "acceleration" / "u.csv")
    epochs = read(tmp_path)
    (recording,) = epochs.recordings()
    assert np.isfinite(recording.series).all(axis=1).tolist() == [True, True, False]
    assert epochs.notes["acceleration"] == f"{rate_hz:.4g} samples a second"


def test_times_in_whole_seconds_will_do(folder: Path, whole: Path) -> None:
    for user in "ab":
        frame = samples(seed="ab".index(user))
        write(frame.assign(time=np.floor(frame["time"])), folder / "acceleration" / f"{user}.csv")
    for found, expected in zip(read(folder).recordings(), read(whole).recordings(), strict=True):
        np.testing.assert_allclose(found.series, expected.series, rtol=1e-3, atol=0.5)


def test_a_device_file_whose_clock_goes_back_is_named_by_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acceleration").mkdir()
    (tmp_path / "acceleration" / "u.cwa").write_bytes(b"\xff\xfe")
    times, a = START_S + np.array([0.0, 0.1, 0.2, 0.15]), np.array([[0.0], [0.0], [1.0]])
    monkeypatch.setattr(raw_samples, "device_chunks", lambda _: iter([(times, a.repeat(4, 1))]))
    with pytest.raises(InputError, match=r"u\.cwa, sample 4, time: goes back by 0\.05 s"):
        list(read(tmp_path).recordings())


def scaled(factor: float) -> Callable[[list[str]], list[str]]:
    def edit(lines: list[str]) -> list[str]:
        rows = [line.split(",") for line in lines[1:]]
        return [lines[0]] + [",".join([t, *(f"{factor * float(v)}" for v in a)]) for t, *a in rows]

    return edit


A, HEARTS, USERS = "acceleration/a.csv", "heart_rate.csv", "users.csv"


@pytest.mark.parametrize(
    ("file", "edit", "says"),
    [
        (A, scaled(MG), "the median of |x, y, z| is 1000, not 1 g; milli-g: divide"),
        (A, scaled(9.80665), "is 9.8"),
        (A, scaled(9.80665), "not 1 g; m/s2: divide x, y, z by 9.80665"),
        (A, scaled(0.01), "give raw acceleration in g, with gravity in it"),
        (A, lambda rows: ["time,x,y,Z", *rows[1:]], "no column 'z'"),
        (A, lambda rows: [rows[0], *rows[3:], rows[1]], "line 4800, time: goes back by 239.95 s"),
        (A, lambda rows: [*rows, "1809280000,0,0,1"], "line 4802, time: jumps by 1157 days"),
        (A, lambda rows: [*rows[:9], "1709280000.4,a,0,1", *rows[10:]], "line 10, x: 'a' is not"),
        (A, lambda rows: rows[:1], "no sample in it"),
        (A, lambda rows: [rows[0], *rows[1::4]], "5 samples a second; raw acceleration has 10"),
        (A, lambda rows: [rows[0], *sorted(2 * rows[1:])], "have the time of the one before"),
        (HEARTS, lambda rows: [*rows, rows[1]], "line 98, user: 'a' comes again after others"),
        (HEARTS, lambda rows: [*rows, f",{START_S},60"], "line 98, user: empty"),
        (USERS, lambda rows: [*rows, "c,30,other"], "line 4, sex: 'other' is not a number"),
        (USERS, lambda rows: ["id,age_years,sex", *rows[1:]], "no column 'user'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    folder: Path, file: str, edit: Callable[[list[str]], list[str]], says: str
) -> None:
    change(folder / file, edit)
    with pytest.raises(InputError) as raised:
        list(read(folder).recordings())
    assert says in str(raised.value)
    assert str(folder / file) in str(raised.value)


def test_folders_and_files_that_are_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path is missing"):
        raw_acceleration(**(made_raw.options() | {"path": None}))
    with pytest.raises(InputError, match="acceleration: not a folder; put one file a person"):
        read(folder / "elsewhere")
    (folder / "acceleration" / "a.parquet").touch()
    with pytest.raises(InputError, match=r"a\.parquet: a second file of user 'a'; keep one"):
        read(folder)
    (folder / "acceleration" / "a.parquet").rename(folder / "acceleration" / "c.gt3x")
    with pytest.raises(
        InputError, match=r"c\.gt3x: .*export raw acceleration from ActiLife as CSV"
    ):
        read(folder)
    (folder / "acceleration" / "c.gt3x").unlink()
    (folder / "heart_rate.parquet").touch()
    with pytest.raises(InputError, match=r"heart_rate\.parquet: heart_rate\.csv lies beside it"):
        read(folder)
