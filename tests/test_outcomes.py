"""Outcomes as two classes, and tables of users from files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data.splits import OUT, TEST, TRAIN, VAL
from fitexp.errors import InputError
from fitexp.outcomes import PAPER, chosen, outcome, users_file

PART = np.array([TRAIN] * 6 + [VAL] * 2 + [TEST] * 4 + [OUT], dtype=np.int8)
AGE = np.array([40, 41, 42, 43, 44, np.nan, 45, 46, 30, 60, np.nan, 50, 99.0])


def test_the_threshold_is_the_median_of_training_and_validation_users() -> None:
    found = outcome("age_years", AGE, PART)
    assert found.threshold == 43  # of 40 .. 46; the median itself is of the upper class
    np.testing.assert_array_equal(found.train, [0, 1, 2, 3, 4, 6, 7])
    np.testing.assert_array_equal(found.high(found.train), [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(found.test, [8, 9, 11])
    np.testing.assert_array_equal(found.high(found.test), [0, 1, 1])
    assert found.unknown == {"train": 1, "val": 0, "test": 1}
    assert (found.folds, found.label) == (3, "age")


def test_test_users_move_no_label_of_training() -> None:
    moved = np.where(PART == TEST, AGE[::-1] + 50, AGE)
    moved[8] = 1.0
    one, other = outcome("a", AGE, PART), outcome("a", moved, PART)
    assert one.threshold == other.threshold
    np.testing.assert_array_equal(one.train, other.train)
    np.testing.assert_array_equal(one.high(one.train), other.high(other.train))


@pytest.mark.parametrize("men", [2, 5])
def test_two_values_are_told_apart_in_the_middle(men: int) -> None:
    """The median of mostly women is 0, and every user were of the upper class."""
    sex = np.zeros(len(PART))
    sex[:men] = sex[9] = 1
    found = outcome("sex", sex, PART)
    assert found.threshold == 0.5
    np.testing.assert_array_equal(found.high(found.train), sex[found.train] == 1)
    assert found.folds == min(men, 8 - men)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(13, np.nan), "outcome a: no training user has it"),
        (np.where(PART == TEST, 99.0, np.arange(13.0)), "4 of 4 test users are at or above 3.5"),
        (np.full(13, 7.0), "8 of 8 training users are at or above 7; each class needs 2 or more"),
    ],
)
def test_too_few_users_of_a_class(values: np.ndarray, said: str) -> None:
    with pytest.raises(InputError) as error:
        outcome("a", values, PART)
    assert said in str(error.value)


def test_outcomes_by_default_are_the_papers_in_its_order() -> None:
    table = pd.DataFrame(columns=["bmi", "mood", "sex", "vo2max_ml_min_kg"])
    assert chosen(None, table) == ["vo2max_ml_min_kg", "sex", "bmi"]
    assert chosen(None, table, others=True) == ["vo2max_ml_min_kg", "sex", "bmi", "mood"]
    assert chosen(["mood", "bmi", "mood"], table) == ["mood", "bmi"]
    assert chosen(None, table[["mood"]]) == ["mood"]
    assert len(PAPER) == 8
    with pytest.raises(InputError, match=r"--outcome bmj: .* did you mean bmi\?"):
        chosen(["bmj"], table)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_users_file(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame({"age": [40.5, np.nan], "user_id": ["7", "b"], "bmi": [20.0, 30.0]})
    file = tmp_path / f"users.{kind}"
    if kind == "csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    found = users_file(file, None)
    pd.testing.assert_frame_equal(found, table.set_index("user_id"), check_index_type=False)
    assert list(users_file(file, ["bmi"]).columns) == ["bmi"]
    other = tmp_path / "other.csv"
    table.rename(columns={"user_id": "user"}).to_csv(other, index=False)  # as predict takes it
    pd.testing.assert_frame_equal(users_file(other, None), found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,age\n1,40\n2,old\n", "line 3, age: 'old' is no number"),
        ("user_id,age\n1,40\n2,inf\n", "line 3, age: 'inf' is no number"),
        ("user_id,age\n1,40\n1,41\n", "line 3, user_id: '1' is listed twice"),
        ("user_id,age\n1,40\n,41\n", "line 3, user_id: empty"),
        ("users,age\n1,40\n", "line 1: a column user_id is needed; did you mean users?"),
        ("", "not a readable CSV file"),
        ('user_id,age\n"1,40\n', "not a readable CSV file"),
    ],
)
def test_mistakes_in_a_users_file_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "users.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        users_file(file, None)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_a_users_file_that_is_not_there_or_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        users_file(tmp_path / "users.csv", None)
    (tmp_path / "users.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        users_file(tmp_path / "users.parquet", None)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"user_id,age\n", b""]))
def test_any_bytes_are_a_table_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, header: bytes
) -> None:
    file = tmp_path_factory.mktemp("users") / "users.csv"
    file.write_bytes(header + data)
    with contextlib.suppress(InputError):
        found = users_file(file, None)
        assert found.index.is_unique
        assert not np.isinf(found.to_numpy()).any()
