from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.exercises.catalogue import ALIASES, read_catalogue
from fitexp.data.exercises.exercise_log import read_exercise_log
from fitexp.data.exercises.table import EventTable
from fitexp.errors import InputError

SETS = (
    "user_id,start,exercise,set_order,weight_kg,reps,distance,seconds,rpe\n"
    "1,2020-01-02 12:00:00,Squat (Barbell),1,20,5,0,0,\n"
    "1,2020-01-02 12:00:00,Squat (Barbell),2,30,4,0,0,8\n"
    "1,2020-01-02 12:00:00,Plank,1,0,0,0,60,\n"
    "1,2020-01-02 12:00:00,Squat (Barbell),3,30,4,0,0,\n"
    "1,2020-01-01 12:00:00,Pull Up,1,,9,0,0,\n"
    "1,2020-01-03 12:00:00,Squat (Barbell),1,20,5,0,0,\n"
    "1,2020-01-04 12:00:00,Squat (Barbell),1,20,5,0,0,\n"
    "0,2020-01-01 12:00:00,My own,1,1,1,0,0,\n"
)
CATALOGUE: list[dict[str, Any]] = [
    {
        "name": "Barbell Squats",
        "force": "push",
        "level": "intermediate",
        "mechanic": "compound",
        "equipment": "barbell",
        "primaryMuscles": ["quadriceps"],
        "secondaryMuscles": ["calves", "lower back"],
        "category": "strength",
    },
    {"name": "PLANK", "force": None, "level": "beginner", "primaryMuscles": ["abdominals"]},
    {"name": "Pullups", "force": "pull", "level": "beginner", "primaryMuscles": ["lats"]},
]


def write(folder: Path, sets: str = SETS, catalogue: object = CATALOGUE) -> EventTable:
    (folder / "sets.csv").write_text(sets, encoding="utf-8")
    file = folder / "exercises.json"
    file.write_text(catalogue if isinstance(catalogue, str) else json.dumps(catalogue))
    return read_exercise_log(path=str(folder), catalogue=str(file), day_span=28.0)


def left_out(table: EventTable) -> int:
    return sum(n for reason, n in table.rejected.items() if reason.startswith("sets"))


def test_events_by_hand(tmp_path: Path) -> None:
    table = write(tmp_path)
    squat = "Squat (Barbell)"
    events = table.events
    assert events["user"].tolist() == ["1"] * 6 + ["0"]
    assert events["item"].tolist() == ["Pull Up", squat, "Plank", squat, squat, squat, "My own"]
    noon = pd.Timestamp("2020-01-01 12:00:00").timestamp() / 86400
    assert events["time"].tolist() == pytest.approx([noon + d for d in (0, 1, 1, 1, 2, 3, 0)])
    assert events["sets"].tolist() == [1, 2, 1, 1, 1, 1, 1]
    assert events["reps"].tolist() == [9, 4.5, 0, 4, 5, 5, 1]
    assert np.isnan(events["weight_kg"].iloc[0])
    assert events["weight_kg"].tolist()[1:] == [30, 0, 30, 20, 20, 1]
    assert events["seconds"].tolist() == [0, 0, 60, 0, 0, 0, 0]
    assert events["rpe"].iloc[1] == 8
    assert events["rpe"].isna().sum() == 6
    assert set(events.dtypes.astype(str)[3:]) == {"float32"}


def test_profiles_come_from_the_catalogue(tmp_path: Path) -> None:
    table = write(tmp_path)
    items = table.items.set_index("item")
    squat = items.loc["Squat (Barbell)"]
    assert squat[["level", "force=push", "force=pull"]].tolist() == [1, 1, 0]
    assert squat[["muscle=quadriceps", "muscle=lats", "secondary=calves"]].tolist() == [1, 0, 1]
    assert items.loc["Plank", ["force=push", "equipment=barbell"]].isna().all()
    assert items.loc["My own"].isna().all()
    assert table.categories == {
        "Squat (Barbell)": "quadriceps/push",
        "Plank": "abdominals",
        "Pull Up": "lats/pull",
    }
    assert table.rejected == {"exercises that the catalogue lacks (kept)": 1}
    plain = read_exercise_log(path=str(tmp_path / "sets.csv"), catalogue=None, day_span=28.0)
    pd.testing.assert_frame_equal(plain.events, table.events)
    assert plain.items.columns.tolist() == ["item"]
    assert (plain.categories, plain.rejected) == ({}, {})


def test_names_match_by_words_and_equipment(tmp_path: Path) -> None:
    write(tmp_path)
    match = read_catalogue(tmp_path / "exercises.json").match
    for name in ("barbell squat", "Squats - Barbell", "SQUAT (BARBELL)"):
        assert match(name) == "Barbell Squats"
    for name in ("Squat", "Squat (Smith Machine)", "Front Squat (Barbell)", "", "()"):
        assert match(name) is None
    file = tmp_path / "one.json"
    file.write_text('[{"name": "Leg Curls", "equipment": "machine"}]')
    assert read_catalogue(file).match("Leg Curl (Machine)") == "Leg Curls"


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    bad = (
        ",2020-01-02,Plank,1,0,0,0,0,\n1,,Plank,1,0,0,0,0,\n1,Monday,Plank,1,0,0,0,0,\n"
        "1,2020-01-02, ,1,0,0,0,0,\n1,2020-01-02,Plank,1,-1,0,0,0,\n1,2020-01-02,Plank,1,0,x,0,0,\n"
        ",,Plank,1,0,0,0,0,\n"
    )
    table, plain = write(tmp_path, SETS + bad), write(tmp_path)
    pd.testing.assert_frame_equal(table.events, plain.events)
    assert table.rejected == {
        **plain.rejected,
        "sets without a user": 2,
        "sets without an exercise": 1,
        "sets without a start": 1,
        "sets whose start is no date and time": 1,
        "sets whose weight_kg is negative": 1,
        "sets whose reps is no number": 1,
    }


def test_one_line_says_what_is_wrong(tmp_path: Path) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(InputError, match=match) as caught:
            write(tmp_path, **changes)
        assert "\n" not in str(caught.value)

    refused(r"sets.csv, line 1: no column 'exercise'", sets=SETS.replace("exercise", "lift"))
    refused(r"sets.csv, line 4: 3 fields", sets=SETS.replace("Plank,1,0,0,0,60,", "Plank"))
    refused(r"sets.csv: no set is left .*only a header", sets=SETS.splitlines()[0])
    refused(r"sets.csv: empty file", sets="")
    refused(r"exercises.json: not a JSON file", catalogue="[{")
    refused(r"exercises.json: must be a list", catalogue={"name": "a"})
    refused(r"exercises.json, exercise 2, name: missing", catalogue=[CATALOGUE[0], {}])
    refused(r"exercise 2, name: 'PLANK' is listed twice", catalogue=[CATALOGUE[1]] * 2)
    refused(r"exercise 1, force: must be a word", catalogue=[{"name": "a", "force": 1}])
    refused(r"primaryMuscles: must be a list", catalogue=[{"name": "a", "primaryMuscles": "b"}])
    with pytest.raises(InputError, match=r"data\.path is missing"):
        read_exercise_log(path=None, catalogue=None, day_span=28.0)
    with pytest.raises(InputError, match="cannot be read"):
        read_exercise_log(path=str(tmp_path / "none"), catalogue=None, day_span=28.0)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(
    damages=st.lists(
        st.tuples(
            st.integers(0, len(SETS)),
            st.integers(0, 3),
            st.text(st.sampled_from(':, x1é=-."\n\0'), max_size=3),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_damaged_logs_are_refused_or_counted(tmp_path: Path, damages: list[Any]) -> None:
    text = SETS
    for at, cut, inserted in damages:
        text = text[:at] + inserted + text[at + cut :]
    try:
        table = write(tmp_path, text)
    except InputError:
        return
    if '"' not in text:
        lines = [line for line in text.split("\n") if line]
        assert table.events["sets"].sum() + left_out(table) == len(lines) - 1
    assert set(table.events["item"]) == set(table.items["item"])


def test_three_people(real_data: Path) -> None:
    table = read_exercise_log(
        path=str(real_data / "strength-logs"),
        catalogue=str(real_data / "free-exercise-db" / "exercises.json"),
        day_span=28.0,
    )
    assert table.events["sets"].sum() == 9_122
    assert len(table.items) == 88
    assert table.events.groupby("user")["time"].nunique().tolist() == [384, 129, 20]
    assert (table.events.groupby("user")["time"].diff().dropna() >= 0).all()
    assert table.rejected == {"exercises that the catalogue lacks (kept)": 34}
    known = table.events["item"].isin(table.categories)
    assert table.events.loc[known, "sets"].sum() == 7_639


def test_aliases_name_exercises_of_the_catalogue(real_data: Path) -> None:
    catalogue = read_catalogue(real_data / "free-exercise-db" / "exercises.json")
    assert len(catalogue.profiles) == 873
    assert {name: catalogue.match(name) for name in ALIASES} == ALIASES
