"""Lines that are Python literals, parsed at the speed of JSON where that is safe.

A line as repr() writes it differs from JSON in its quotes and in None, True, False and nan. On a
line with neither `"` nor a backslash every `'` bounds a string, so `'` -> `"` is exact there and a
JSON parser may try. Every other line, and every line that parser refuses, goes through
ast.literal_eval. Nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import warnings
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fitexp.errors import InputError

PARSERS = ("auto", "simdjson", "orjson", "literal")
# Bare, outside strings: not measured. null is no Python, but means the same to every parser here.
MISSING = ("None", "null", "-nan", "nan", "-inf", "inf")
EXACT = 2.0**63  # beyond it orjson makes floats of integers

Fast = Callable[[bytes], Any]


def fast_parser(name: str) -> Fast | None:
    """The JSON parser for `parse`; auto: simdjson where pysimdjson is installed, else orjson.

    Lists of numbers come as arrays, see `parse`. It raises ValueError for what it refuses. None
    for "literal".
    """
    if name not in PARSERS:
        raise InputError(f"data.source.parser={name}: choose one of {', '.join(PARSERS)}")
    if name in ("auto", "simdjson"):
        try:
            return _simdjson()
        except ImportError as error:
            if name == "simdjson":
                raise InputError(
                    "data.source.parser=simdjson needs pysimdjson: pip install 'fitexp[simd]', or "
                    "leave parser=auto"
                ) from error
    return None if name == "literal" else _orjson()


def parse(line: bytes, fast: Fast | None) -> Any:
    """The value of a line, as ast.literal_eval gives it, but for lists and missing numbers.

    A list of int, float and None, empty ones too, is a float64 array with None as NaN; nan, inf
    and -inf outside strings, which literal_eval refuses, are read as None. Raises ValueError for
    a line that is no literal.
    """
    if fast is not None and b'"' not in line and b"\\" not in line:
        try:
            return fast(line.replace(b"'", b'"'))
        except ValueError:
            pass
        try:
            return fast(_with_null(line))
        except ValueError:
            pass
    return _literal(line)


def _with_null(line: bytes) -> bytes:
    """As JSON, with None, nan and inf as null; pieces with even numbers lie outside strings."""
    pieces = line.split(b"'")
    for number in range(0, len(pieces), 2):
        for word in MISSING:
            pieces[number] = pieces[number].replace(word.encode(), b"null")
    return b'"'.join(pieces)


def _series(values: list[Any]) -> Any:
    """A float64 array of a list of int, float and None; None for any other list."""
    kinds = set(map(type, values))
    if not kinds <= {int, float, type(None)}:
        return None
    try:
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    except OverflowError:
        return None


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _converted(v) for key, v in value.items()}
    if isinstance(value, list):
        series = _series(value)
        return [_converted(v) for v in value] if series is None else series
    return value


def _places(text: bytes, letter: bytes) -> Iterator[int]:
    at = text.find(letter)
    while at >= 0:
        yield at
        at = text.find(letter, at + 1)


def _holds(text: bytes, word: bytes, letter: bytes) -> bool:
    """`word in text`, ten times as fast where its `letter` is rare."""
    size = len(word)
    return any(word in text[max(at - size, 0) : at + size] for at in _places(text, letter))


def _orjson() -> Fast:
    import orjson

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(v) for key, v in value.items()}
        if isinstance(value, list):
            try:
                return np.array(array("d", value))  # faster than _series; takes no None
            except TypeError:
                series = _series(value)
                return [convert(v) for v in value] if series is None else series
        if isinstance(value, float) and abs(value) >= EXACT:
            raise ValueError("perhaps an integer beyond 64 bits")
        return value

    def fast(text: bytes) -> Any:
        if _holds(text, b"true", b"u") or _holds(text, b"false", b"f"):  # 1 and 0 to array()
            raise ValueError("true or false")
        return convert(orjson.loads(text))

    return fast


def _simdjson() -> Fast:
    from simdjson import Array, Object, Parser

    parser = Parser()

    def fast(text: bytes) -> Any:
        arrays = 0

        def convert(value: Any) -> Any:
            nonlocal arrays
            if isinstance(value, Object):
                names = list(value)
                if len(set(names)) < len(names):  # value[name] is the first, in Python the last
                    raise ValueError("a key is there twice")
                return {name: convert(value[name]) for name in names}
            if isinstance(value, Array):
                arrays += 1
                try:
                    return np.frombuffer(value.as_buffer(of_type="d"))
                except TypeError:  # not all numbers
                    return refuse_bool(_converted(value.as_list()))
            return refuse_bool(value)

        try:
            found = convert(parser.parse(text))
        except RuntimeError as error:  # too deep
            raise ValueError(str(error)) from error
        if sum(1 for _ in _places(text, b"[")) != arrays:  # as_buffer flattens lists of lists
            raise ValueError("a list in a list, or a bracket in a string")
        return found

    def refuse_bool(value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, list) and bool in map(type, value)):
            raise ValueError("true or false")
        return value

    return fast


class _Missing(ast.NodeTransformer):
    """The names of MISSING, with a sign or without, as None."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(None) if node.id in MISSING else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        named = isinstance(node.operand, ast.Name) and node.operand.id in MISSING
        return ast.Constant(None) if named and isinstance(node.op, ast.USub) else node


def _literal(line: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python does not know
            tree: ast.AST = ast.parse(line.decode("utf-8-sig").strip(), mode="eval")
        if any(word in line for word in (b"nan", b"inf", b"null")):
            tree = _Missing().visit(tree)
        return _converted(ast.literal_eval(tree))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("not a Python literal") from error
