"""Tables in text files, read as text: what is wrong is said with file, line and column.

The index of a table is the line of the file that a row starts or ends in; empty fields are NaN.
"""

from __future__ import annotations

import csv
import difflib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from fitexp.errors import InputError

LARGEST = float(np.finfo(np.float32).max)


def read_tabs(file: Path) -> pd.DataFrame:
    """A table with tabs between fields and no quoting, as RecBole writes it."""
    data = _text(file).replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    tabs = np.diff(np.searchsorted(np.flatnonzero(raw == ord("\t")), ends), prepend=0)
    for line in np.flatnonzero(tabs != tabs[0])[:1]:
        raise InputError(_uneven(file, int(line) + 1, int(tabs[line]) + 1, int(tabs[0]) + 1))
    header = _header(file, data[: ends[0]].decode().split("\t"))
    frame = pd.read_csv(
        io.BytesIO(data[ends[0] + 1 :]),
        sep="\t",
        names=header,
        index_col=False,
        dtype="str",
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        na_values=[""],
        lineterminator="\n",
        skip_blank_lines=False,
        encoding="utf-8",
    )
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    return frame


def read_commas(file: Path) -> pd.DataFrame:
    """A table with commas between fields and quotes where needed (CSV); blank lines are skipped."""
    return next(_commas(file, io.StringIO(_text(file).decode(), newline=""), sys.maxsize))


def read_comma_blocks(
    file: Path, rows: int, columns: list[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Such a table in blocks of at most `rows` rows; a table without rows is one empty block.

    columns: those that are kept, names of the header; None: all.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield from _commas(file, stream, rows, columns)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        _text(file)  # says in which line
        raise


def _commas(
    file: Path, stream: TextIO, size: int, columns: list[str] | None = None
) -> Iterator[pd.DataFrame]:
    lines = csv.reader(stream, strict=True)
    rows: list[list[str]] = []
    places: list[int] = []
    read = False

    def block() -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=columns or header, index=places, dtype="str")
        return frame.mask(frame == "")

    try:
        names = next(lines, None)
        if names is None:
            raise InputError(f"{file}: empty file; a header line is needed")
        header = _header(file, names)
        kept = [header.index(name) for name in columns or ()]
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(_uneven(file, lines.line_num, len(row), len(header)))
            rows.append([row[column] for column in kept] if kept else row)
            places.append(lines.line_num)
            if len(rows) == size:
                yield block()
                read = True
                rows.clear()
                places.clear()
    except csv.Error as error:
        raise InputError(f"{file}, line {lines.line_num}: not CSV ({error})") from error
    if rows or not read:
        yield block()


def require(frame: pd.DataFrame, file: Path, column: str) -> None:
    """Raise InputError, with the closest name, where there is no such column."""
    if column not in frame.columns:
        close = difflib.get_close_matches(column, list(frame.columns), n=1)
        have = ", ".join(frame.columns)
        hint = f"did you mean its column {close[0]!r}?" if close else f"it has {have}"
        raise InputError(f"{file}, line 1: no column {column!r}; {hint}")


def numbers(frame: pd.DataFrame, file: Path, column: str) -> pd.Series[float]:
    """A column as float64, NaN where empty; InputError for anything else, infinity among it."""
    values = frame[column]
    found = to_numbers(values)
    for line in frame.index[values.notna() & found.isna()][:1]:
        raise InputError(
            f"{file}, line {line}, {column}: {values.loc[line]!r} is not a number; "
            "leave the field empty where it is missing"
        )
    return found


def to_numbers(values: pd.Series[str]) -> pd.Series[float]:
    """Text as float64; NaN where it is empty or no number that float32 holds."""
    found = pd.to_numeric(values, errors="coerce").astype("float64")
    return found.where(found.abs() <= LARGEST)


def ids(frame: pd.DataFrame, file: Path, column: str) -> pd.Series[str]:
    """A column of names of users, items or questions, without blanks around them; NaN where empty.

    Raises InputError where two names become one: are they the same?
    """
    require(frame, file, column)
    values = frame[column]
    first = values.dropna().drop_duplicates()  # a line of each name
    bare = first.map(str.strip)
    for line in bare.index[bare.duplicated() & (bare != "")][:1]:
        other = first.index[bare == bare.loc[line]][0]
        raise InputError(
            f"{file}, line {line}, {column}: {first.loc[line]!r} and {first.loc[other]!r} (line "
            f"{other}) differ by blanks around them only; write one of them"
        )
    found = values.map(dict(zip(first, bare, strict=True)))
    return found.mask(found == "")


def keys(frame: pd.DataFrame, file: Path, column: str) -> pd.Series[str]:
    """`ids` of which each names a row: InputError where one is missing or comes twice."""
    values = ids(frame, file, column)
    for line in frame.index[values.isna()][:1]:
        raise InputError(f"{file}, line {line}, {column}: empty; each row needs its own name")
    for line in frame.index[values.duplicated()][:1]:
        raise InputError(
            f"{file}, line {line}, {column}: {values.loc[line]!r} is listed twice; keep one row"
        )
    return values


def _text(file: Path) -> bytes:
    """The content of a file, checked to be UTF-8 text with at least one line."""
    try:
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    if not data.strip():
        raise InputError(f"{file}: empty file; a header line is needed")
    bad = data.find(b"\0")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line = data.count(b"\n", 0, bad) + 1
        raise InputError(f"{file}, line {line}: not UTF-8 text; save it as UTF-8")
    return data


def _header(file: Path, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    for number, name in enumerate(names):
        if not name:
            raise InputError(f"{file}, line 1: column {number + 1} has no name")
        if name in names[:number]:
            raise InputError(f"{file}, line 1: two columns are named {name!r}; rename one")
    return names


def _uneven(file: Path, line: int, fields: int, wanted: int) -> str:
    return (
        f"{file}, line {line}: {fields} field{'s' * (fields != 1)} where the header has {wanted}; "
        "the line is cut or its separator is wrong"
    )
