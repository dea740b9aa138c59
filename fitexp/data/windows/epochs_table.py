"""A table of anybody's wearable data, one row an epoch of a user, read a block at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fitexp.data.exercises.text_tables import (
    LARGEST,
    keys,
    numbers,
    read_comma_blocks,
    read_commas,
    require,
    to_numbers,
)
from fitexp.data.windows.epochs import Epochs, Recording, heart_rate_range
from fitexp.data.windows.parquet_tables import is_number, open_parquet
from fitexp.errors import InputError

ROWS = 20_000
DAY_S = 86400.0
LATEST_S = 1e10  # the year 2286; times beyond it are no seconds
INDEX = re.compile(r"__index_level_\d+__")  # what pandas adds to the columns
OFFSET = re.compile(r"(?:[zZ]|[+-]\d\d:?\d\d)$")  # of a time from UTC


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The file, and the names in it of what is read."""

    file: Path
    user: str
    time: str
    heart_rate: str | None
    series: tuple[str, ...]

    @property
    def measured(self) -> list[str]:
        """Columns of numbers that are read."""
        return [*([] if self.heart_rate is None else [self.heart_rate]), *self.series]

    @property
    def parquet(self) -> bool:
        return self.file.suffix.lower() == ".parquet"

    def error(self, place: object, what: str) -> InputError:
        """place: label of a row: its line in a CSV file, its number from 1 in a Parquet file."""
        return InputError(f"{self.file}, {'row' if self.parquet else 'line'} {place}{what}")


def epochs_table(
    *,
    path: str | None,
    users: str | None,
    user: str,
    time: str,
    heart_rate: str | None,
    series: list[str] | None,
    step_s: float,
    off_grid: float,
    max_gap_days: float,
    heart_rate_bpm: list[float],
) -> Epochs:
    """Read `path`, a CSV or Parquet file with one row an epoch, and the table of users.

    user, time, heart_rate: names of its columns; heart_rate null: there is none. series: of
    the others, in order; null: all that hold numbers. A user's rows stand together, in the order of
    time. Times are local: seconds since 1970-01-01T00:00, or dates and times without an offset from
    UTC, by a clock that is not put back within a user's rows (summer time). A user's first row sets
    his grid; a time may lie off it by the share `off_grid` of `step_s`. Epochs that have no row are
    NaN; so are heart rates outside `heart_rate_bpm`, counted.
    users: name of a CSV file beside the table with the column `user` and columns of numbers, named
    as the user's `statics` (age_years, sex: 1 male, 0 female, ...); null: nothing is known.
    Raises InputError that names file, line or row, field and what to do.
    """
    low, high = heart_rate_range(heart_rate_bpm)
    if not step_s > 0:
        raise InputError(f"data.source.step_s={step_s}: seconds from row to row, above 0")
    if not 0 <= off_grid < 0.5:
        raise InputError(f"data.source.off_grid={off_grid}: a share of a step, 0 to below 0.5")
    if not max_gap_days > 0:
        raise InputError(f"data.source.max_gap_days={max_gap_days}: days, above 0")
    if path is None or not Path(path).expanduser().is_file():
        raise InputError(f"data.path={path}: it must be a CSV or Parquet file, one row an epoch")
    file = Path(path).expanduser()
    chosen = None if series is None else tuple(series)
    table = _opened(file, user, time, heart_rate, chosen)
    names = _users_in(table)
    known = pd.DataFrame() if users is None else _users(file.parent / users, user)
    unused = set(known.index) - set(names)
    rejected: dict[str, int] = {}
    if unused:
        rejected[f"users of {users} without a row"] = len(unused)

    def recordings() -> Iterator[Recording]:
        outside = 0
        for who, rows in _by_user(table):
            recording = _recording(who, rows, table, step_s, off_grid, max_gap_days)
            beats = recording.heart_rate
            wrong = (beats < low) | (beats > high)
            beats[wrong] = np.nan
            outside += int(wrong.sum())
            yield recording
        if outside:
            rejected[f"heart rates outside {low:g}..{high:g} bpm (missing)"] = outside

    return Epochs(
        source="epochs_table",
        simulated=False,
        series=table.series,
        step_s=step_s,
        users=known.reindex(pd.Index(names, dtype="str")).astype("float64"),
        recordings=recordings,
        rejected=rejected,
        notes={"heart rate": f"as in the table, {low:g}..{high:g} bpm"},
    )


def columns_of(file: Path) -> list[str]:
    """Names of a table's columns."""
    if file.suffix.lower() == ".parquet":
        with open_parquet(file, ()) as parquet:
            return [name for name in parquet.schema_arrow.names if not INDEX.fullmatch(name)]
    return list(map(str, next(read_comma_blocks(file, 1)).columns))


def usual_step_s(file: Path, user: str, time: str) -> float:
    """Median seconds between the first user's rows, of the first ROWS; NaN for a single row."""
    block = next(_blocks(_Table(file=file, user=user, time=time, heart_rate=None, series=())))
    return float(block[1][block[0] == block[0].iloc[0]].diff().median())


def _opened(
    file: Path, user: str, time: str, heart_rate: str | None, series: tuple[str, ...] | None
) -> _Table:
    """The table with the series that it has: chosen, or all columns of numbers."""
    measured = [*([] if heart_rate is None else [heart_rate]), *(series or ())]
    needed = (user, time, *measured)
    if len(set(needed)) < len(needed):
        raise InputError(f"data.source: one column is named twice among {', '.join(needed)}")
    if file.suffix.lower() == ".parquet":
        with open_parquet(file, needed) as parquet:
            schema = parquet.schema_arrow
        columns = [field for field in schema if not INDEX.fullmatch(field.name)]
        numeric = [field.name for field in columns if is_number(field.type)]
        for name in measured:
            if name not in numeric:
                raise InputError(f"{file}, {name}: {schema.field(name).type}, not numbers")
    else:
        block = next(read_comma_blocks(file, ROWS))
        for name in needed:
            require(block, file, name)
        numeric = [str(name) for name in block.columns if to_numbers(block[name]).count()]
    if series is None:
        series = tuple(name for name in numeric if name not in needed)
    if not series:
        raise InputError(f"{file}: no column of numbers besides {', '.join(needed)}")
    return _Table(file=file, user=user, time=time, heart_rate=heart_rate, series=series)


def _blocks(table: _Table) -> Iterator[pd.DataFrame]:
    """Blocks of rows: columns 0 user, 1 time_s (float64), 2 heart rate, 3.. series (float32)."""
    needed = [table.user, table.time, *table.measured]
    if table.parquet:
        yield from _parquet_blocks(table, needed)
        return
    for text in read_comma_blocks(table.file, ROWS, needed):
        columns = [text[table.user], _seconds(text[table.time], table)]
        for name in table.measured:
            columns.append(numbers(text, table.file, name).astype("float32"))
        yield _block(columns, table)


def _parquet_blocks(table: _Table, needed: list[str]) -> Iterator[pd.DataFrame]:
    begin = 1
    for batch in _batches(table, needed):
        index = pd.RangeIndex(begin, begin + len(batch))
        begin += len(batch)
        times = pd.Series(batch[table.time].to_pandas().array, index=index)
        columns = [_ids(batch[table.user], table).set_axis(index), _seconds(times, table)]
        for name in needed[2:]:
            values = pc.cast(batch[name], pa.float64(), safe=False)
            found = pd.Series(values.to_numpy(zero_copy_only=False), index=index)
            for row in index[found.abs() > LARGEST][:1]:
                raise table.error(row, f", {name}: {found.loc[row]} is not a number")
            columns.append(found.astype("float32"))
        yield _block(columns, table)


def _batches(table: _Table, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_parquet(table.file, columns) as parquet:
        try:
            yield from parquet.iter_batches(batch_size=ROWS, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{table.file}: cut short or damaged ({reason})") from error


def _ids(users: pa.Array, table: _Table) -> pd.Series:
    """Names of users as text, NaN where empty; whole numbers may be given."""
    if pa.types.is_floating(users.type) or pa.types.is_nested(users.type):
        raise InputError(
            f"{table.file}, {table.user}: {users.type}; users must be texts or whole numbers"
        )
    names = pd.Series(pc.cast(users, pa.string()).to_pandas(), dtype="str")
    return names.mask(names == "")


def _block(columns: list[pd.Series], table: _Table) -> pd.DataFrame:
    if table.heart_rate is None:
        columns.insert(2, pd.Series(np.nan, index=columns[0].index, dtype="float32"))
    block = pd.concat(columns, axis=1, keys=range(len(columns)))
    for column, name in ((0, table.user), (1, table.time)):
        for row in block.index[block[column].isna()][:1]:
            raise table.error(row, f", {name}: empty; fill it or leave the row out")
    return block


def _seconds(values: pd.Series, table: _Table) -> pd.Series:
    """Local time in seconds since 1970-01-01T00:00; NaN where empty."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        raise InputError(
            f"{table.file}, {table.time}: {values.dtype}; give local times, without a zone"
        )
    if pd.api.types.is_datetime64_dtype(values):
        return _plausible((values - pd.Timestamp(0)).dt.total_seconds(), table)
    if pd.api.types.is_numeric_dtype(values):
        return _plausible(values.astype("float64"), table)
    return _from_text(values.astype("str").where(values.notna()), table)


def _from_text(values: pd.Series, table: _Table) -> pd.Series:
    found = pd.to_numeric(values, errors="coerce").astype("float64")
    if found.count() > values.count() / 2:
        wrong = values.notna() & found.isna()
    else:
        for row in values.index[values.str.contains(OFFSET, na=False)][:1]:
            raise table.error(
                row, f", {table.time}: {values.loc[row]!r}; give local times, without an offset"
            )
        times = pd.to_datetime(values, errors="coerce", format="ISO8601")
        found = (times - pd.Timestamp(0)).dt.total_seconds()
        wrong = values.notna() & times.isna()
    for row in values.index[wrong][:1]:
        raise table.error(
            row,
            f", {table.time}: {values.loc[row]!r} is neither a time like 2016-04-12T07:30:15 nor, "
            "in all rows, a number of seconds",
        )
    return _plausible(found, table)


def _plausible(seconds: pd.Series, table: _Table) -> pd.Series:
    for row in seconds.index[seconds.abs() > LATEST_S][:1]:
        raise table.error(
            row, f", {table.time}: {seconds.loc[row]:g} s is after 2286; milliseconds? give seconds"
        )
    return seconds


def _users_in(table: _Table) -> list[str]:
    """Users in the order of their rows."""
    names: dict[str, None] = {}
    if table.parquet:
        for batch in _batches(table, [table.user]):
            names |= dict.fromkeys(_ids(pc.unique(batch[table.user]), table).dropna())
    else:
        for text in read_comma_blocks(table.file, ROWS, [table.user]):
            names |= dict.fromkeys(text[table.user].dropna().unique())
    if not names:
        raise InputError(f"{table.file}: no row with a {table.user} in it")
    return list(names)


def _by_user(table: _Table) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each user once, with his rows."""
    done: set[str] = set()
    current: str | None = None
    parts: list[pd.DataFrame] = []
    for block in _blocks(table):
        for _, part in block.groupby((block[0] != block[0].shift()).cumsum(), sort=False):
            who = str(part[0].iloc[0])
            if who != current:
                if current is not None:
                    yield current, pd.concat(parts)
                if who in done:
                    raise table.error(
                        part.index[0],
                        f", {table.user}: rows of {who!r} stand apart; sort the table by "
                        f"{table.user}, then {table.time}",
                    )
                done.add(who)
                current, parts = who, []
            parts.append(part)
    if current is not None:
        yield current, pd.concat(parts)


def _recording(
    user: str,
    rows: pd.DataFrame,
    table: _Table,
    step_s: float,
    off_grid: float,
    max_gap_days: float,
) -> Recording:
    """Rows of one user on his grid."""
    start = float(rows[1].iloc[0])
    steps = (rows[1].to_numpy() - start) / step_s
    place = np.rint(steps).astype(np.int64)
    off = np.abs(steps - place)
    behind = np.diff(place, prepend=-1)
    for wrong, what in (
        (
            off > off_grid,
            f"lies more than {off_grid:g} steps off the grid of {step_s:g} s that begins with the "
            "user's first row; set data.source.step_s or off_grid",
        ),
        (
            behind * step_s > max_gap_days * DAY_S,
            f"is more than {max_gap_days:g} days behind the row above; correct it, set "
            "data.source.max_gap_days, or call the later part another user",
        ),
        (behind < 0, f"is before the row above; sort the table by {table.user}, {table.time}"),
        (behind == 0, f"falls on the {step_s:g} s of the row above; keep one row"),
    ):
        for row in np.flatnonzero(wrong)[:1]:
            shown = np.datetime64(int(rows[1].iloc[row] * 1000), "ms")
            raise table.error(rows.index[row], f", {table.time}: {shown} of {user!r} {what}")
    values = np.full((place[-1] + 1, rows.shape[1] - 2), np.nan, dtype=np.float32)
    values[place] = rows.iloc[:, 2:].to_numpy(np.float32)
    return Recording(
        user=user, start_s=start, series=values[:, 1:].copy(), heart_rate=values[:, 0].copy()
    )


def _users(file: Path, user: str) -> pd.DataFrame:
    """Columns of numbers, NaN where empty, by user."""
    frame = read_commas(file)
    names = keys(frame, file, user)
    users = pd.DataFrame(index=pd.Index(names.to_numpy(), dtype="str"))
    for column in frame.columns:
        if column != user:
            users[str(column)] = numbers(frame, file, str(column)).to_numpy()
    return users
