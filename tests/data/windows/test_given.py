"""Other people's files, as a trained run reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.data.prepare import Prepared
from fitexp.data.spec import WindowSpec
from fitexp.data.windows.epochs_table import usual_step_s
from fitexp.data.windows.given import given_epochs, given_windows, unknown_statics
from fitexp.errors import InputError
from tests.data.windows import made_raw
from tests.data.windows.made import SERIES, T, made_epochs, prepared, protocol

ROWS = 40


@pytest.fixture
def spec(tmp_path: Path) -> WindowSpec:
    (tmp_path / "own").mkdir()
    found: WindowSpec = prepared(tmp_path / "own", statics=["resting_hr_bpm"]).spec
    return found


def people(rows: int = ROWS, **changed: Any) -> pd.DataFrame:
    """Users b and a, in this order; heart rate 60, 61, ..."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"user": np.repeat(["b", "a"], rows)})
    frame["time"] = np.tile(1e9 + 15.0 * np.arange(rows), 2)
    for name in SERIES:
        frame[name] = rng.gamma(1.0, 10.0, len(frame)).astype(np.float32)
    frame["heart_rate"] = 60.0 + np.tile(np.arange(rows), 2)
    return frame.assign(**changed)


def read(
    frame: pd.DataFrame, spec: WindowSpec, folder: Path, *, stride: int = 1, **options: Any
) -> Prepared:
    file = folder / "people.csv"
    frame.to_csv(file, index=False)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    options = {"source": {}, "users": None, "user": None} | options
    epochs = given_epochs(file, spec, scratch=scratch, **options)
    return given_windows(protocol(statics=["resting_hr_bpm"]), epochs, spec, stride, scratch)


def test_every_epoch_behind_a_whole_window_is_forecast(spec: WindowSpec, tmp_path: Path) -> None:
    """Also the one behind the last row, whose heart rate nobody has measured."""
    arrays = read(people(), spec, tmp_path).arrays
    assert arrays["user_id"].tolist() == ["b", "a"]
    first = arrays["window_first"][arrays["window_user"] == 0]
    np.testing.assert_array_equal(first, np.arange(ROWS - T + 1))
    np.testing.assert_array_equal(arrays["test"], np.arange(2 * (ROWS - T + 1)))
    target = arrays["target"][: ROWS - T + 1]
    np.testing.assert_array_equal(target[:-1], 60.0 + np.arange(T, ROWS))
    assert np.isnan(target[-1])
    np.testing.assert_array_equal(arrays["series"][:ROWS], people()[list(SERIES)][:ROWS])


def test_scaling_is_the_runs_whatever_the_file_holds(spec: WindowSpec, tmp_path: Path) -> None:
    found = read(people(counts=1e4), spec, tmp_path)
    assert found.spec.scaling == spec.scaling
    assert found.spec.fixed == spec.fixed


def test_order_of_columns_others_and_a_missing_heart_rate_do_not_matter(
    spec: WindowSpec, tmp_path: Path
) -> None:
    frame = people(note="x", steepness=3.0).drop(columns="heart_rate")
    arrays = read(frame[frame.columns[::-1]], spec, tmp_path).arrays
    np.testing.assert_array_equal(arrays["series"], people()[list(SERIES)])
    assert np.isnan(arrays["heart_rate"]).all()
    assert np.isnan(arrays["target"]).all()


def test_one_of_the_files_people(spec: WindowSpec, tmp_path: Path) -> None:
    arrays = read(people(), spec, tmp_path, user="a").arrays
    assert arrays["user_id"].tolist() == ["a"]


def test_what_is_known_of_people(spec: WindowSpec, tmp_path: Path) -> None:
    """Columns in the run's order; what the file of users does not say is unknown."""
    (tmp_path / "who.csv").write_text("user,resting_hr_bpm,shoe_size\na,51,43\nb,,40\n")
    found = read(people(), spec, tmp_path, users=str(tmp_path / "who.csv"))
    assert found.spec.columns == spec.columns == ("age_years", "resting_hr_bpm")
    np.testing.assert_array_equal(found.arrays["users"], [[np.nan, np.nan], [np.nan, 51]])
    assert unknown_statics(found, ["resting_hr_bpm", "age_years"]) == {
        "resting_hr_bpm": 1,
        "age_years": 2,
    }
    assert unknown_statics(found, []) == {}


def test_names_of_columns_are_those_of_the_runs_own_table(spec: WindowSpec, tmp_path: Path) -> None:
    frame = people().rename(columns={"user": "id", "time": "at", "heart_rate": "bpm"})
    own = {"_target_": "fitexp.data.windows.epochs_table.epochs_table", "users": "gone.csv"}
    own |= {"user": "id", "time": "at", "heart_rate": "bpm", "series": None, "step_s": 60.0}
    own |= {"off_grid": 0.1, "max_gap_days": 30, "heart_rate_bpm": [30, 230]}
    arrays = read(frame, spec, tmp_path, source=own).arrays
    assert arrays["heart_rate"][0] == 60


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            people().drop(columns="steps"),
            "lacks steps: the run reads counts, steps, the file has user, time, counts, heart_rate",
        ),
        (people()[::4], "a row every 60 s, but the run reads epochs of 15 s"),
        (
            people(time=np.tile(1e9 + 5.0 * np.arange(ROWS), 2)),
            "a row every 5 s, but the run reads epochs of 15 s",
        ),
        (people(T - 1), "1.8 min are recorded at most, but a window takes 2.0 min"),
        (people(steps=np.nan), "no window of 8 steps is left"),
        (people()[:0], "no row with a user in it"),
    ],
)
def test_mistakes_are_one_line(
    spec: WindowSpec, tmp_path: Path, frame: pd.DataFrame, said: str
) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        read(frame, spec, tmp_path)
    assert said in str(error.value)


def test_an_unknown_user_and_a_missing_file(spec: WindowSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--user c: .*people\.csv has no such user"):
        read(people(), spec, tmp_path, user="c")
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        given_epochs(tmp_path / "gone.csv", spec, {}, None, None, tmp_path)


def test_who_is_too_short_is_left_out(spec: WindowSpec, tmp_path: Path) -> None:
    arrays = read(people()[ROWS - T + 1 :], spec, tmp_path).arrays
    assert arrays["user_id"].tolist() == ["a"]


def test_step_of_a_table_survives_a_gap(tmp_path: Path) -> None:
    frame = people()
    frame.loc[20:ROWS, "time"] += 7200
    for file in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        frame.to_csv(file, index=False) if file.suffix == ".csv" else frame.to_parquet(file)
        assert usual_step_s(file, "user", "time") == 15.0


def test_a_run_of_epochs_named_x_y_z_takes_such_a_table_for_epochs(
    spec: WindowSpec, tmp_path: Path
) -> None:
    spec = WindowSpec.from_dict(spec.to_dict() | {"series": ["x", "y", "z"]})
    frame = people(z=1.0).rename(columns=dict(zip(SERIES, "xy", strict=True)))
    frame.to_parquet(tmp_path / "T.PARQUET")
    epochs = given_epochs(tmp_path / "T.PARQUET", spec, {}, None, None, tmp_path)
    assert [len(recording.series) for recording in epochs.recordings()] == [ROWS, ROWS]


def test_one_persons_raw_acceleration(tmp_path: Path) -> None:
    raw = pytest.importorskip("fitexp.data.windows.raw", reason="no reader of raw acceleration")
    rng = np.random.default_rng(0)
    seconds = np.arange(0, 900, 0.05)
    frame = pd.DataFrame(rng.normal(0, 0.05, (len(seconds), 3)), columns=["x", "y", "z"])
    frame["z"] += 1.0
    frame.insert(0, "time", 1.6e9 + seconds)
    frame.to_csv(tmp_path / "jo.CSV", index=False)
    (tmp_path / "scratch").mkdir()
    spec = WindowSpec.from_dict(
        prepared(tmp_path, made_epochs()).spec.to_dict() | {"series": list(raw.SERIES)}
    )
    epochs = given_epochs(tmp_path / "jo.CSV", spec, {}, None, None, tmp_path / "scratch")
    (found,) = epochs.recordings()
    assert found.user == "jo"
    assert len(found.series) == pytest.approx(60, abs=1)
    assert epochs.notes["calibration"] != "none"
    own = made_raw.options() | {"_target_": "fitexp.data.windows.raw.raw_acceleration"}
    own |= {"calibrated": False, "utc_offset_h": 2.0}
    epochs = given_epochs(tmp_path / "jo.CSV", spec, own, None, None, tmp_path / "run")
    (other,) = epochs.recordings()
    assert other.start_s == found.start_s + 7200.0
    assert epochs.notes["calibration"] == "none"
    with pytest.raises(InputError, match="no such user"):
        given_epochs(tmp_path / "jo.CSV", spec, {}, None, "al", tmp_path / "scratch2")
    bad = frame.astype(object)
    bad.loc[700, "y"] = "high"
    bad.to_csv(tmp_path / "al.csv", index=False)
    with pytest.raises(InputError) as error:
        list(given_epochs(tmp_path / "al.csv", spec, {}, None, None, tmp_path / "2").recordings())
    assert str(error.value).startswith(f"{tmp_path / 'al.csv'}, line 702, y: ")
    (tmp_path / "who.csv").write_text("user,age_years\njo,old\n")
    with pytest.raises(InputError) as error:
        given_epochs(tmp_path / "jo.CSV", spec, {}, str(tmp_path / "who.csv"), None, tmp_path / "3")
    assert str(error.value).startswith(f"{tmp_path / 'who.csv'}, line 2, age_years: ")
