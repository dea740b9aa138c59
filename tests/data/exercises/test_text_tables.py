"""Names in text files: blanks around them belong to the file, not to the name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data.exercises.atomic import read_atomic
from fitexp.data.exercises.dstress import read_dstress
from fitexp.data.exercises.exercise_log import read_exercise_log
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.exercises.table import EventTable
from fitexp.data.exercises.text_tables import ids
from fitexp.errors import InputError
from tests.data.exercises.made import made_table, protocol


@given(st.lists(st.none() | st.text("ab \t\u00a0\x1f", max_size=4), max_size=8))
def test_names_lose_the_blanks_around_them_or_are_refused(names: list[str | None]) -> None:
    frame = pd.DataFrame({"id": names}, index=range(2, len(names) + 2), dtype="str")
    known = {name for name in names if name is not None and name.strip()}
    one_of_two = len({name.strip() for name in known}) < len(known)
    if one_of_two:
        with pytest.raises(InputError, match=r"^f\.csv, line \d+, id: "):
            ids(frame, Path("f.csv"), "id")
        return
    found = ids(frame, Path("f.csv"), "id").tolist()
    bare = [name.strip() if name else "" for name in names]
    assert [None if pd.isna(name) else name for name in found] == [name or None for name in bare]


def test_two_names_that_become_one_are_named_with_their_lines() -> None:
    frame = pd.DataFrame({"id": ["Bob", "Anna ", "Bob", " Anna"]}, index=range(2, 6), dtype="str")
    with pytest.raises(InputError) as error:
        ids(frame, Path("f.csv"), "id")
    assert str(error.value) == (
        "f.csv, line 5, id: ' Anna' and 'Anna ' (line 3) differ by blanks around them only; write "
        "one of them"
    )


def dstress(folder: Path, anna: str, squat: str) -> EventTable:
    rows = "\n".join(f"{anna},{squat},1,2,1,0,{day}" for day in range(3))
    head = "id,activity,success,difficulty,normlag,normfreq,day"
    (folder / "data.csv").write_text(f"{head}\n{rows}\n")
    (folder / "user_demography.csv").write_text("id,age\nAnna,30\n")
    (folder / "exercise_profile.csv").write_text("name,rating\n Squat,3\n")
    return read_dstress(path=str(folder))


def exercise_log(folder: Path, anna: str, squat: str) -> EventTable:
    row = f"{anna},2020-09-29 07:10:22,{squat},60,5"
    (folder / "sets.csv").write_text(f"user_id,start,exercise,weight_kg,reps\n{row}\n")
    return read_exercise_log(path=str(folder), catalogue=None, day_span=28.0)


def atomic(folder: Path, anna: str, squat: str) -> EventTable:
    (folder / "a.inter").write_text(f"user_id:token\titem_id:token\n{anna}\t{squat}\n")
    (folder / "a.user").write_text("user_id:token\tage:float\n Anna\t30\n")
    return read_atomic(
        path=str(folder),
        dataset=None,
        most_rated=None,
        user="user_id",
        item="item_id",
        time=None,
        time_unit_s=1.0,
        user_columns=None,
        item_columns=None,
        as_numbers=(),
        most_values=5,
        ties="file",
        seed=0,
        day_span=28.0,
    )


@pytest.mark.parametrize("read", [dstress, exercise_log, atomic])
def test_every_reader_leaves_blanks_around_names_out(
    read: Callable[[Path, str, str], EventTable], tmp_path: Path
) -> None:
    """So that a profile, a history and an answer find the person and the exercise."""
    table = read(tmp_path, " Anna ", "Squat\u00a0")
    assert set(table.events["user"]) == set(table.users["user"]) == {"Anna"}
    assert set(table.events["item"]) == set(table.items["item"]) == {"Squat"}
    for profile in (table.users, table.items):
        assert np.isfinite(profile.drop(columns=profile.columns[0])).all(axis=None)


def test_a_source_that_leaves_them_in_is_refused() -> None:
    with pytest.raises(InputError, match="made: 'ann ' has blanks around it; its reader must"):
        arrays_of(protocol(), made_table({"ann ": "abcab", "bob": "bbca"}))
