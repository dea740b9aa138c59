from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.exercises.dstress import lag_and_frequency, read_dstress, write_dstress
from fitexp.data.exercises.table import EventTable
from fitexp.errors import InputError

TEXTS = {
    "data.csv": (
        "id,activity,success,difficulty,normlag,normfreq,day\n"
        "1,Squat,1,4,1,0,0\n1,Push-up,0,6,1,0,0\n1,Squat,1,5,0.07,0.08,2\n2,Squat,1,,1,0,4\n"
        "1,Squat,1,5,0.0714,0.1667,4\n"
    ),
    "user_demography.csv": "id,age,sex,BMI,GLTEQ\n2,41,F,23.5,30\n1,30,M,26,\n3,50,F,22,10\n",
    "user_profile.csv": "id,age,sex,BMI,GLTEQ,PSS\n1,30,M,26,,12\n2,41,F,23.5,30,9\n",
    "exercise_profile.csv": (
        'name,rating,pattern,muscle\nSquat,4.5,squat,legs\nPush-up,3,push,chest\n"Plank, side",2,'
        "core,core/abs\n"
    ),
    "expert.csv": "name,category\nSquat,legs\nPush-up,full body\n",
}


def write(folder: Path, **changes: str) -> Path:
    for name, text in TEXTS.items():
        (folder / name).write_text(changes.get(name.partition(".")[0], text), encoding="utf-8")
    return folder


def left_out(table: EventTable) -> int:
    return sum(n for reason, n in table.rejected.items() if reason.startswith("events without "))


def test_tables_by_hand(tmp_path: Path) -> None:
    table = read_dstress(path=str(write(tmp_path)))
    events = table.events
    assert events.columns.tolist() == ["user", "item", "time", "success", "difficulty"]
    assert events["user"].tolist() == ["2", "1", "1", "1", "1"]  # as user_demography.csv
    assert events["item"].tolist() == ["Squat", "Squat", "Push-up", "Squat", "Squat"]
    assert events["time"].tolist() == [4, 0, 0, 2, 4]
    assert events["success"].tolist() == [1, 1, 0, 1, 1]
    assert np.isnan(events["difficulty"].iloc[0])
    assert table.users.columns.tolist() == ["user", "age", "sex=F", "sex=M", "BMI", "GLTEQ", "PSS"]
    assert table.users.iloc[0].tolist() == ["2", 41, 1, 0, 23.5, 30, 9]
    assert table.profiles["demographic"] == ("age", "sex=F", "sex=M", "BMI", "GLTEQ")
    assert table.profiles["full"] == ("age", "sex=F", "sex=M", "BMI", "GLTEQ", "PSS")
    assert table.items["item"].tolist() == ["Squat", "Push-up", "Plank, side"]
    assert table.items.columns.tolist()[1:3] == ["rating", "pattern=core"]
    assert table.items["muscle=core/abs"].tolist() == [0, 0, 1]
    assert table.categories == {"Squat": "legs", "Push-up": "full body"}
    assert table.rejected == {"users without an event": 1}
    assert (table.day_span, table.simulated, table.ceiling) == (28.0, False, None)
    for frame, key in ((table.users, "user"), (table.items, "item")):
        assert set(frame.dtypes.drop(key).astype(str)) == {"float32"}


def test_normlag_and_normfreq_are_checked(tmp_path: Path) -> None:
    """Days since / 28, 1 if never; uses before / 12. Printed otherwise: kept and counted."""
    text = TEXTS["data.csv"].replace("1,5,0.07,0.08,2", "1,5,0.14,0.17,2")
    plain, table = (
        read_dstress(path=str(write(tmp_path, data=data))) for data in (TEXTS["data.csv"], text)
    )
    pd.testing.assert_frame_equal(plain.events, table.events)
    assert table.rejected == {
        "users without an event": 1,
        "events with another normlag (kept, the computed one is used)": 1,
        "events with another normfreq (kept, the computed one is used)": 1,
    }
    past = lag_and_frequency(table.events)
    assert past["normlag"].tolist() == pytest.approx([1, 1, 1, 2 / 28, 2 / 28])
    assert past["normfreq"].tolist() == pytest.approx([0, 0, 0, 1 / 12, 2 / 12])


def test_what_is_left_out_or_unknown_is_counted(tmp_path: Path) -> None:
    text = (
        TEXTS["data.csv"] + ",Squat,1,1,1,0,0\n1,,1,1,1,0,0\n1,Squat,1,1,1,0,\n9,Lunge,1,1,1,0,0\n"
    )
    table = read_dstress(path=str(write(tmp_path, data=text)))
    assert table.users["user"].tolist() == ["2", "1", "9"]
    assert table.users.iloc[-1, 1:].isna().all()
    assert table.items["item"].tolist()[-1] == "Lunge"
    assert table.rejected == {
        "events without id": 1,
        "events without activity": 1,
        "events without day": 1,
        "users without a profile (kept)": 1,
        "users without an event": 1,
        "exercises without a profile (kept)": 1,
    }


def test_several_columns_of_the_expert_are_one_category(tmp_path: Path) -> None:
    text = "name,a,b\nSquat,legs,power\nPush-up,,power\nLunge,legs,power\nPlank,,\n"
    table = read_dstress(path=str(write(tmp_path, expert=text)))
    assert table.categories == {"Squat": "legs / power", "Push-up": "power"}
    assert table.rejected["exercises of the expert that no other file has"] == 2


def test_full_profile_and_expert_may_be_absent(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "user_profile.csv").unlink()
    (folder / "expert.csv").unlink()
    table = read_dstress(path=str(folder))
    assert table.profiles["full"] == table.profiles["demographic"]
    assert table.categories == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("data", "1,Squat,1,4", "1,Squat,2,4", r"data.csv, line 2, success: '2' must be 1"),
        ("data", "1,Squat,1,4", "1,Squat,1,hard", r"data.csv, line 2, difficulty: 'hard' is not"),
        ("data", "activity", "exercise", r"data.csv, line 1: no column 'activity'"),
        ("data", "2,Squat,1,,1,0,4", "2,Squat,1,1", r"data.csv, line 5: 4 fields where .* has 7"),
        ("data", "2,Squat", '"2"x,Squat', r"data.csv, line 5: not CSV"),
        (
            "user_demography",
            "1,30",
            "2,30",
            r"user_demography.csv, line 3, id: '2' is listed twice",
        ),
        ("user_profile", "1,30", "1,31", r"user_profile.csv: age of '1' is 31, and 30 in user_dem"),
        ("exercise_profile", "Push-up,", ",", r"exercise_profile.csv, line 3, name: empty"),
        ("exercise_profile", "rating", "name", r"two columns are named 'name'"),
        ("expert", "name,", "exercise,", r"expert.csv, line 1: no column 'name'"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    text = TEXTS[f"{name}.csv"]
    assert old in text
    with pytest.raises(InputError, match=message) as caught:
        read_dstress(path=str(write(tmp_path, **{name: text.replace(old, new, 1)})))
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path is missing"):
        read_dstress(path=None)
    with pytest.raises(InputError, match="not a folder"):
        read_dstress(path=str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"data\.csv: cannot be read \(No such file"):
        read_dstress(path=str(tmp_path))
    (write(tmp_path) / "data.csv").write_text(TEXTS["data.csv"].splitlines()[0])
    with pytest.raises(InputError, match=r"data\.csv: no event in it"):
        read_dstress(path=str(tmp_path))


FLOATS = st.floats(-1e6, 1e6, width=32)
NUMBERS = FLOATS | st.just(float("nan"))


@st.composite
def tables(draw: st.DrawFn) -> EventTable:
    """Any table that the format can hold; each word of a profile is somebody's."""
    users = draw(
        st.lists(st.text("ab, \"'é", min_size=1).map("u{}.".format), unique=True, min_size=1)
    )
    items = draw(st.lists(st.text("ab,=é", min_size=1).map("i{}.".format), unique=True, min_size=1))
    rows = []
    for user in users:
        days = sorted(draw(st.lists(st.integers(0, 300).map(lambda n: n / 7), min_size=1)))
        for day in days:
            success = draw(st.sampled_from([0.0, 1.0, float("nan")]))
            rows.append((user, draw(st.sampled_from(items)), day, success, draw(NUMBERS)))
    events = pd.DataFrame(rows, columns=["user", "item", "time", "success", "difficulty"])
    patterns = [draw(st.sampled_from(["push", "pull"])) for _ in items]
    profile: dict[str, Any] = {"rating": [draw(NUMBERS) for _ in items]}
    for word in sorted(set(patterns)):
        profile[f"pattern={word}"] = [float(pattern == word) for pattern in patterns]
    known: dict[str, Any] = {c: [draw(NUMBERS) for _ in users] for c in ("age", "PSS")}
    return EventTable(
        events=events.astype(
            {"user": "str", "item": "str", "success": "float32", "difficulty": "float32"}
        ),
        users=pd.DataFrame({"user": users}, dtype="str").join(pd.DataFrame(known, dtype="float32")),
        items=pd.DataFrame({"item": items}, dtype="str").join(
            pd.DataFrame(profile, dtype="float32")
        ),
        profiles={"demographic": ("age",), "full": ("age", "PSS")},
        categories=dict.fromkeys(draw(st.lists(st.sampled_from(items), unique=True)), "c"),
        ceiling=None,
        day_span=28.0,
        simulated=False,
        name="dstress",
        rejected={},
    )


@pytest.mark.slow
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=20)
@given(table=tables())
def test_written_and_read_again(tmp_path: Path, table: EventTable) -> None:
    write_dstress(table, tmp_path)
    again = read_dstress(path=str(tmp_path))
    pd.testing.assert_frame_equal(again.events, table.events, rtol=1e-12)
    pd.testing.assert_frame_equal(again.users, table.users)
    pd.testing.assert_frame_equal(again.items, table.items)
    assert (again.profiles, again.categories, again.rejected) == (
        table.profiles,
        table.categories,
        {},
    )


def test_two_words_in_one_column_cannot_be_written(tmp_path: Path) -> None:
    table = read_dstress(path=str(write(tmp_path)))
    table.items.loc[0, "pattern=core"] = 1
    with pytest.raises(ValueError, match="Squat: pattern has two words"):
        write_dstress(table, tmp_path)


DAMAGE = st.tuples(
    st.sampled_from(sorted(TEXTS)),
    st.integers(0, 200),
    st.integers(0, 3),
    st.text(st.sampled_from(':, x1é=-."\n\0'), max_size=3),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_damaged_files_are_refused_or_counted(tmp_path: Path, damages: list[Any]) -> None:
    texts = dict(TEXTS)
    for name, at, cut, inserted in damages:
        texts[name] = texts[name][:at] + inserted + texts[name][at + cut :]
    try:
        table = read_dstress(path=str(write(tmp_path, **{k[:-4]: v for k, v in texts.items()})))
    except InputError:
        return
    if '"' not in texts["data.csv"]:
        lines = [line for line in texts["data.csv"].split("\n") if line]
        assert len(table.events) + left_out(table) == len(lines) - 1
    assert set(table.events["user"]) == set(table.users["user"])
    assert set(table.events["item"]) <= set(table.items["item"])
