"""Each parser gives what ast.literal_eval gives, with lists of numbers as arrays."""

from __future__ import annotations

import ast
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fitexp.data.workouts import literals
from fitexp.data.workouts.literals import Fast, fast_parser, parse
from fitexp.errors import InputError

PARSERS: dict[str, Fast | None] = {
    name: fast_parser(name) for name in ("orjson", "simdjson", "literal")
}
WORDS = ("'", '"', "\\", "nan", "None", "true", "null", "False", "[", "]", "é", "\x00", "\t", "😀")

text = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=3)), max_size=4).map("".join)
numbers = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**63, 2**64, 2**64 + 1, -(2**63) - 1, 10**400, 1e22, -0.0]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
# mostly lists as in the file, of numbers and None
values = st.recursive(
    st.one_of(scalars, st.lists(st.one_of(numbers, numbers, st.none()), max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(text, inner, max_size=3)
    ),
    max_leaves=6,
)
dictionaries = st.dictionaries(text, values, max_size=4)


def literal(line: str) -> Any:
    """The oracle: literal_eval, then lists of int, float and None as float64 arrays."""
    return arrays(ast.literal_eval(line))


def arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: arrays(v) for key, v in value.items()}
    if not isinstance(value, list):
        return value
    if any(isinstance(v, bool) or not isinstance(v, int | float | None) for v in value):
        return [arrays(v) for v in value]
    try:
        return np.array([math.nan if v is None else float(v) for v in value], dtype=np.float64)
    except OverflowError:
        return value


def same(a: Any, b: Any) -> bool:
    """Equal values of equal types, at every depth; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=80, deadline=None)
@given(dictionaries)
@example({"id": 2**64 + 1, "x": [2**64 + 1]})
@example({"x": [10**400], "y": [[1], [2]], "z": [], "w": [True, 1], "v": [1, "a"], "u": "[1]"})
@example({"": "None", "a": [None, 1.5], "nan": "nan'", "b": None})
def test_dictionaries_come_back(name: str, made: dict[str, Any]) -> None:
    assert same(parse(repr(made).encode(), PARSERS[name]), literal(repr(made)))


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.floats(), st.integers(-9, 9), st.none()), max_size=5), text)
@example([math.nan, -math.nan, math.inf, -math.inf, 1.0], "nan")
def test_nan_and_inf_are_missing(name: str, series: list[Any], word: str) -> None:
    """repr() writes them bare, which literal_eval refuses; in strings they stay words."""
    finite = [v if v is None or math.isfinite(v) else None for v in series]
    found = parse(repr({"a": series, "word": word}).encode(), PARSERS[name])
    assert same(found, literal(repr({"a": finite, "word": word})))


PIECES = st.sampled_from(
    [
        *"{}[]():,'\"\\-+.0129e_ #\r\n\tub",
        "'a'",
        "null",
        "true",
        "false",
        "None",
        "True",
        "nan",
        "1,",
    ]
)


@pytest.mark.parametrize("name", ["orjson", "simdjson"])
@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.lists(PIECES, max_size=12).map(lambda p: "".join(p).encode()),
        st.lists(PIECES, max_size=8).map(lambda p: ("{'a': [" + "".join(p) + "]}").encode()),
        st.binary(max_size=30),
    )
)
@example(b"{'a': [1, true]}")
@example(b"{'a': true}")
@example(b"{'a': [null, 1], 'a': [-0]}")
@example(b"{'a': [01]}")
@example(b"'a''b'")
@example(b"'" + b"[" * 2000)
@example(b"[" * 1100 + b"]" * 1100)
@example(b"-" * 100_000 + b"1")
def test_any_text_gives_what_the_slow_parser_gives(name: str, line: bytes) -> None:
    """The short cut neither accepts what the slow way refuses nor reads it otherwise."""
    try:
        expected = parse(line, None)
    except ValueError:
        with pytest.raises(ValueError, match="not a Python literal"):
            parse(line, PARSERS[name])
    else:
        assert same(parse(line, PARSERS[name]), expected)


@pytest.mark.parametrize("name", ["orjson", "simdjson"])
def test_plain_lines_and_bare_words_take_the_short_cut(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(literals, "_literal", None)  # calling it fails
    assert parse(b"{'sport': 'bike (nan)', 'id': 7}", PARSERS[name])["sport"] == "bike (nan)"
    found = parse(b"{'a': [1, None, nan, -inf], 'b': None}\n", PARSERS[name])
    assert same(found, {"a": np.array([1.0, math.nan, math.nan, math.nan]), "b": None})


def test_an_unknown_or_absent_parser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="choose one of auto"):
        fast_parser("json")
    monkeypatch.setitem(sys.modules, "simdjson", None)  # as if not installed
    with pytest.raises(InputError, match=r"pip install 'fitexp\[simd\]'"):
        fast_parser("simdjson")
    fast = fast_parser("auto")
    assert fast is not None
    assert fast(b"[1]").tolist() == [1.0]
