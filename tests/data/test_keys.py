"""What a key of a data config may be, and what is said of what it may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data import keys
from fitexp.errors import InputError

NO_NUMBERS = [True, None, "1", "nan", [1], float("nan")]


@given(st.integers() | st.floats(allow_nan=False))
def test_numbers(value: float) -> None:
    assert keys.is_number(value)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value: object) -> None:
    assert not keys.is_number(value)
    assert not keys.is_whole(value, -10)


@given(st.integers(), st.integers())
def test_whole_numbers_from_their_lowest(value: int, low: int) -> None:
    assert keys.is_whole(value, low) == (value >= low)
    assert not keys.is_whole(float(value % 100), -1)


def test_a_word_is_one_of_its_choices() -> None:
    config = SimpleNamespace(split="time", regime="long")
    keys.check_choices(config, split=("time", "user"))
    with pytest.raises(InputError, match=r"^data\.regime=long: choose one of whole, short$"):
        keys.check_choices(config, split=("time", "user"), regime=("whole", "short"))


@pytest.mark.parametrize(
    ("value", "null", "said"),
    [
        (2, False, "data.folds=2: it takes a whole number, 3 up"),
        (3.0, False, "data.folds=3.0: it takes a whole number, 3 up"),
        (True, True, "data.folds=True: it takes a whole number, 3 up, or null"),
        (None, False, "data.folds=null: it takes a whole number, 3 up"),
    ],
)
def test_what_is_said_of_no_whole_number(value: object, null: bool, said: str) -> None:
    config = SimpleNamespace(folds=value, steps=1)
    with pytest.raises(InputError) as raised:
        keys.check_whole(config, null=null, steps=1, folds=3)
    assert str(raised.value) == said


def test_null_is_taken_where_it_may_be() -> None:
    keys.check_whole(SimpleNamespace(window=None, folds=2), null=True, window=1, folds=2)


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any))
def test_any_three_shares_of_one(parts: list[int]) -> None:
    keys.check_fractions(part / sum(parts) for part in parts)


@pytest.mark.parametrize(
    "shares",
    [
        [0.5, 0.5],
        [0.25, 0.25, 0.25, 0.25],
        [0.8, 0.1, 0.2],
        [1.5, -0.5, 0.0],
        [True, 0, 0],
        ["0.8", 0.1, 0.1],
        [float("nan"), 0.5, 0.5],
        [float("inf"), 0.0, 0.0],
    ],
)
def test_other_shares_are_refused(shares: list[Any]) -> None:
    with pytest.raises(InputError, match=r"^data\.fractions=\[.*\]: three shares"):
        keys.check_fractions(shares)
