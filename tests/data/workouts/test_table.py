from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.workouts.table import read_workout_table
from fitexp.errors import InputError

SESSIONS = "session_id,athlete_id,sport,start_utc\n1,ann,run,2020-01-02 03:04:05\n2,bob,bike,\n"
SAMPLES = "session_id,t_s,heart_rate,speed_mps,distance_m\n1,0,100,2,0\n1,5,,3,12\n2,0,90,,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sessions.csv").write_text(SESSIONS)
    (tmp_path / "samples.csv").write_text(SAMPLES)
    return tmp_path


def test_units_and_missing_values(folder: Path) -> None:
    table = read_workout_table(path=str(folder))
    assert table.sessions["athlete"].tolist() == ["ann", "bob"]
    assert table.sessions["start"].iloc[0] == 1577934245.0
    assert np.isnan(table.sessions["start"].iloc[1])
    assert table.sessions["gender"].tolist() == ["unknown", "unknown"]
    s = table.samples
    assert s["session"].tolist() == [0, 0, 1]
    assert s["speed_km_h"].tolist()[:2] == pytest.approx([7.2, 10.8])
    assert s["distance_km"].tolist()[1] == pytest.approx(0.012)
    assert s["heart_rate_bpm"].isna().tolist() == [False, True, False]
    assert s["altitude_m"].isna().all()
    assert not table.simulated


def test_parquet_and_csv_give_the_same(folder: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("parquet")
    pd.read_csv(folder / "sessions.csv").to_parquet(other / "sessions.parquet")
    pd.read_csv(folder / "samples.csv").to_parquet(other / "samples_all.parquet")
    a, b = read_workout_table(path=str(folder)), read_workout_table(path=str(other))
    pd.testing.assert_frame_equal(a.sessions, b.sessions)
    pd.testing.assert_frame_equal(a.samples, b.samples)


def test_what_is_left_out_is_counted(folder: Path) -> None:
    (folder / "samples.csv").write_text(
        "session_id,t_s,heart_rate\n1,0,100\n1,5,300\n1,4,100\n1,5,100\n1,,100\n9,0,100\n1,6,99\n"
    )
    table = read_workout_table(path=str(folder))
    assert table.samples["time_s"].tolist() == [0, 4, 5, 6]
    assert table.samples["heart_rate_bpm"].isna().tolist() == [False, False, True, False]
    assert table.rejected == {
        "samples of sessions that are not listed": 1,
        "samples without a time": 1,
        "samples at a time that another has": 1,
        "heart rates outside 30..230 bpm": 1,
    }


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("samples.csv", "session_id,t_s,heart_rate\n1,0,abc\n", r"samples.csv, line 2, heart_rate"),
        ("samples.csv", "session_id,t,heart_rate\n1,0,1\n", r"samples.csv: no column 't_s'"),
        ("samples.csv", "", r"samples.csv: empty file"),
        ("samples.csv", "a,b\n1,2,3\n4,5,6,7,8\n", r"samples.csv: not a table"),
        ("sessions.csv", "session_id,athlete_id,sport\n", r"sessions.csv: no session"),
        ("sessions.csv", "session_id,athlete_id,sport\n1,a,run\n1,b,run\n", r"line 3: .*twice"),
        ("sessions.csv", "session_id,athlete_id,sport\n1,,run\n", r"line 2, athlete_id: empty"),
        (
            "sessions.csv",
            "session_id,athlete_id,sport,start_utc\n1,a,run,yesterday\n",
            r"line 2, start_utc: 'yesterday'",
        ),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_workout_table(path=str(folder))
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        read_workout_table(path=str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"data\.path is missing: it must be a folder with"):
        read_workout_table(path=None)
    (folder / "samples.csv").unlink()
    with pytest.raises(InputError, match=r"no samples\*"):
        read_workout_table(path=str(folder))
    pd.DataFrame({"session_id": [1], "t_s": [0.0]}).to_parquet(folder / "samples.parquet")
    whole = (folder / "samples.parquet").read_bytes()
    (folder / "samples.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_workout_table(path=str(folder))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=120), st.sampled_from(["samples.csv", "sessions.csv"]))
def test_damaged_bytes_never_give_a_traceback(folder: Path, junk: bytes, file: str) -> None:
    (folder / "sessions.csv").write_text(SESSIONS)
    (folder / "samples.csv").write_text(SAMPLES)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(junk)] + junk)
    try:
        table = read_workout_table(path=str(folder))
    except InputError:
        return
    assert (table.samples.groupby("session")["time_s"].diff().dropna() > 0).all()


def test_samples_in_several_files_join_in_time(folder: Path) -> None:
    (folder / "samples.csv").unlink()
    header = "session_id,t_s,heart_rate\n"
    (folder / "samples10.csv").write_text(header + "1,20,102\n1,30,103\n")
    (folder / "samples2.csv").write_text(header + "1,0,100\n1,10,101\n")
    table = read_workout_table(path=str(folder))
    assert table.samples["heart_rate_bpm"].tolist() == [100, 101, 102, 103]
    assert table.rejected == {}


def test_starts_may_be_unix_seconds(folder: Path) -> None:
    (folder / "sessions.csv").write_text(
        "session_id,athlete_id,sport,start\n1,ann,run,1600000000\n2,unknown,run,\n"
    )
    table = read_workout_table(path=str(folder))
    assert table.sessions["start"].iloc[0] == 1.6e9
    assert table.sessions["athlete"].tolist() == ["ann", "unknown"]
