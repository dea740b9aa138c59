"""Long tables, CSV or Parquet, read in chunks: memory does not grow with the file.

Each has a column `time`: date and time (ISO 8601) or seconds since 1970-01-01T00:00. Times come out
as local seconds since 1970 (the clock on the wall, as if there were no zones):

    2024-03-01T08:00:00          local time, as it is
    2024-03-01T08:00:00+01:00    local time; the first row's zone holds for the whole file
    2024-03-01T08:00:00Z         UTC, plus utc_offset_h
    1709280000.0                 UTC, plus utc_offset_h
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fitexp.errors import InputError

ROWS = 1 << 13  # of a chunk of Parquet
BLOCK_BYTES = 1 << 18  # of a chunk of CSV
MISSING = ["", "NA", "NaN", "nan", "null"]
ZONE = re.compile(r"(?:Z|([+-])(\d\d):?(\d\d)?)$")
LATEST_S = 1e10  # the year 2286: larger numbers are no seconds
FORMATS = "2024-03-01T08:00:00.016 or seconds since 1970-01-01"

Chunk = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class LongTable:
    """`time`, `numbers` (float64, NaN where empty) and `words` (str) of a file, row by row.

    Raises InputError that names file, line (row of Parquet, from 1), field and remedy.
    """

    file: Path
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    utc_offset_h: float

    def chunks(self) -> Iterator[Chunk]:
        """The rows in order, some ten thousand at a time."""
        zone_s: float | None = None
        row = 0
        for batch in self._batches():
            if not batch.num_rows:
                continue
            chunk: Chunk = {}
            times = batch.column("time")
            if times.null_count:
                at = row + int(np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False))[0])
                raise self.error(at, "time", "empty; leave out rows without a time")
            if not row:
                zone_s = self._zone_s(times)
            chunk["time"] = self._seconds(times, row) + (zone_s or 0.0)
            for name in self.numbers:
                column = batch.column(name).cast(pa.float64(), safe=False)
                chunk[name] = column.to_numpy(zero_copy_only=False)
                for at in np.flatnonzero(np.isinf(chunk[name]))[:1]:
                    raise self.error(row + at, name, "infinite; leave the field empty")
            for name in self.words:
                column = batch.column(name).cast(pa.string())
                chunk[name] = column.to_numpy(zero_copy_only=False)
            yield chunk
            row += batch.num_rows

    def zone_s(self) -> float | None:
        """Seconds from UTC to the clock on the wall; None where times are local as they are."""
        for batch in self._batches():
            times = batch.column("time").drop_null()
            if len(times):
                return self._zone_s(times)
        return None

    def error(self, row: int, field: str, words: str) -> InputError:
        """An error at a row (from 0) of the table; `words` say what is wrong and what to do."""
        place = f"row {row + 1}" if self._is_parquet else f"line {self._line(row)}"
        return InputError(f"{self.file}, {place}, {field}: {words}")

    @property
    def _is_parquet(self) -> bool:
        return self.file.suffix.lower() == ".parquet"

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("time", *self.numbers, *self.words)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._parquet() if self._is_parquet else self._csv()
        except (pa.ArrowException, OSError) as error:
            self._find_what_is_wrong()
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.file}: cannot be read, or cut short ({reason})") from error

    def _parquet(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.file, pre_buffer=False, buffer_size=1 << 16) as file:
            schema = file.schema_arrow
            self._require(schema.names)
            for name in self.numbers:
                kind = schema.field(name).type
                if not (_is_numeric(kind) or pa.types.is_null(kind)):
                    raise InputError(f"{self.file}, {name}: {kind}; store the column as float")
            yield from file.iter_batches(ROWS, columns=list(self._columns), use_threads=False)

    def _csv(self) -> Iterator[pa.RecordBatch]:
        header = next((fields for _, fields in self._lines()), [])
        if not header:
            raise InputError(f"{self.file}: empty file; a header line is needed")
        self._require(header)
        types = {name: pa.float64() for name in self.numbers}
        types |= dict.fromkeys(self.words, pa.string())
        types["time"] = _type_of(self._first_time())
        with pa.csv.open_csv(
            self.file,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(self._columns), null_values=MISSING
            ),
        ) as reader:
            yield from reader

    def _require(self, names: list[str]) -> None:
        for name in self._columns:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
                raise InputError(
                    f"{self.file}: no column {name!r} ({hint}); "
                    f"the columns must be named {', '.join(self._columns)}"
                )

    def _first_time(self) -> str:
        """The time of a CSV file's first row, "" where there is none."""
        rows = [fields for _, fields in islice(self._lines(), 2)]
        return dict(zip(*rows, strict=False)).get("time", "") if len(rows) == 2 else ""

    def _zone_s(self, times: pa.Array) -> float | None:
        """As `zone_s`, from the first of the times."""
        ours = self.utc_offset_h * 3600.0
        if not pa.types.is_timestamp(times.type):
            return ours
        if times.type.tz is None:
            return None
        if self._is_parquet:
            here = times[0].as_py().utcoffset().total_seconds()
            return float(here) if times.type.tz != "UTC" else ours
        zone = ZONE.search(self._first_time())
        if zone is None or zone[1] is None:  # Z
            return ours
        minutes = 60 * int(zone[2]) + int(zone[3] or 0)
        return 60.0 * minutes if zone[1] == "+" else -60.0 * minutes

    def _seconds(self, times: pa.Array, row: int) -> NDArray[np.float64]:
        kind = times.type
        if pa.types.is_timestamp(kind):
            whole = times.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64())
            return np.asarray(whole.to_numpy() / 1e9)
        if not _is_numeric(kind):
            raise InputError(f"{self.file}, time: {kind}; store it as timestamp or as seconds")
        seconds = times.cast(pa.float64(), safe=False).to_numpy()
        for at in np.flatnonzero(~(np.abs(seconds) <= LATEST_S))[:1]:
            words = (
                f"{seconds[at]:.15g} is not in seconds since 1970; divide milliseconds by 1e3, "
                "nanoseconds by 1e9"
            )
            raise self.error(row + int(at), "time", words)
        return np.asarray(seconds)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """(line, fields) of a CSV file, the header first; blank lines are left out."""
        with self.file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            try:
                for fields in reader:
                    if fields:
                        yield reader.line_num, fields
            except (UnicodeDecodeError, csv.Error) as error:
                raise InputError(
                    f"{self.file}, line {reader.line_num + 1} or soon after: no CSV in UTF-8; "
                    "save it so"
                ) from error

    def _line(self, row: int) -> int:
        return next(islice(self._lines(), row + 1, None))[0]

    def _find_what_is_wrong(self) -> None:
        """Read a CSV file again, slowly, up to the field that cannot be read, and raise."""
        if self._is_parquet or not self.file.is_file():
            return
        kind = _type_of(self._first_time())
        header: list[str] = []
        for line, fields in self._lines():
            if not header:
                header = fields
                continue
            if len(fields) != len(header):
                raise InputError(
                    f"{self.file}, line {line}: {len(fields)} fields where the header has "
                    f"{len(header)}; the line is cut or its separator is wrong"
                )
            for name, text in zip(header, fields, strict=True):
                if name in self.numbers and text not in MISSING and not _is_number(text):
                    raise InputError(
                        f"{self.file}, line {line}, {name}: {text!r} is not a number; "
                        "leave the field empty where it is missing"
                    )
                if name == "time" and not _is_time(text, kind):
                    raise InputError(
                        f"{self.file}, line {line}, time: {text!r} is not read; write all times "
                        f"alike, as {FORMATS}"
                    )


def _type_of(first: str) -> pa.DataType:
    """What the first time of a CSV file says about all of them."""
    if _is_number(first):
        return pa.float64()
    return pa.timestamp("ns", "UTC" if ZONE.search(first[10:]) else None)


def _is_time(text: str, kind: pa.DataType) -> bool:
    try:
        pa.array([text]).cast(kind)
    except pa.ArrowException:
        return False
    return True


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
