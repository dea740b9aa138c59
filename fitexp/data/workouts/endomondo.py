"""The raw Endomondo file of the FitRec paper: endomondoHR_proper.json, plain or .gz.

Source: Ni, Muhlstein, McAuley, WWW 2019; 167,373 workouts of 956 users, 5.6 GB. A line is the
repr() of a dictionary: userId, id, sport, gender, url, and lists of 500 numbers: timestamp (unix
s), heart_rate (bpm), altitude (m), latitude, longitude (degrees); some lines have speed (km/h).

The file is read in parts of some MB, by several processes, each part written to the cache when it
is done, so a reading that was cut goes on at the first missing part. The columns of all parts are
then joined on disk and mapped into memory: reading takes the memory of a few parts, whatever the
size of the file, and some 1.5 KB a workout for the table of sessions. A second reading of the same
file only maps them.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitexp.data.prepare import cache_folder, digest
from fitexp.data.workouts.endomondo_lines import (
    COLUMNS,
    LineError,
    Part,
    lines_from,
    load,
    make_part,
    workout_of,
)
from fitexp.data.workouts.literals import fast_parser
from fitexp.data.workouts.table import HEART_RATE_BPM, WorkoutTable, reasons
from fitexp.errors import InputError

STORED = {"session": np.int32, **COLUMNS}
SUMMARY = "summary.json"  # lines read, rejected by reason
FIRST_LINES = 1000  # without a workout among them a file is refused
SHOWN = 5  # lines that are named on standard error
Job = tuple[Path, Path | list[bytes], int, int, int, str]  # arguments of make_part


def read_endomondo(
    *, path: str | None, workers: int | None, parser: str, part_bytes: int, max_line_bytes: int
) -> WorkoutTable:
    """Read the file as a table whose samples are mapped from the cache folder.

    workers: processes, None: one a core; they do not change the result. parser: auto | simdjson |
    orjson | literal, see literals.py. part_bytes: of the (inflated) file that a process holds at
    a time. max_line_bytes: longer lines are rejected unread.

    Distance is the cumulative haversine over the known positions; the recorded speed is
    distrusted and speed_km_h is missing. Sports keep their names in lower case, but running,
    walking and swimming are run, walk and swim. None, nan and inf in a list are missing values;
    points without a time or at the time of the one before are left out, and so is a line with
    one of the reasons in endomondo_lines.py. `rejected` counts all of it: lines read = workouts +
    the sum over reasons that begin with "lines". Rejected lines are kept in NAME.rejected in the
    cache folder (number, reason, line) and the first are named on standard error.
    Raises InputError for a file that is missing, cut short (.gz) or not in this format.
    """
    if path is None:
        raise InputError("data.path is missing: data=endomondo needs data.path=FILE")
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(
            f"{path}: not a file; data.path must be endomondoHR_proper.json or its .gz"
        )
    for key, value in (("part_bytes", part_bytes), ("max_line_bytes", max_line_bytes)):
        if not (isinstance(value, int) and value > 0):
            raise InputError(f"data.source.{key}={value}: it takes a whole number, 1 up")
    if workers is None:
        workers = os.cpu_count() or 1
    if not (isinstance(workers, int) and workers > 0):
        raise InputError(f"data.source.workers={workers}: it takes a whole number, 1 up, or null")
    fast_parser(parser)  # says now what would go wrong in every process
    known = (_fingerprint(file), _code(), part_bytes, max_line_bytes)
    folder = cache_folder() / f"endomondo-{digest(*known)[:32]}"
    table = _stored(folder)
    if table is None:
        try:
            _check_begin(file, parser, part_bytes, max_line_bytes)
            (folder / "parts").mkdir(parents=True, exist_ok=True)
            count = _read_parts(file, folder, workers, parser, part_bytes, max_line_bytes)
            _join(file, folder, count)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or _stored(folder) is None:
                raise InputError(
                    f"cannot read {file} or write to {folder} ({error}); set FITEXP_CACHE to a "
                    "folder that can be written and has room"
                ) from error  # else another process was faster and has tidied up
        for rest in (folder / "parts", *folder.glob(".table-*")):
            shutil.rmtree(rest, ignore_errors=True)
        table = _stored(folder)
        assert table is not None
    return table


def _fingerprint(file: Path) -> list[Any]:
    """By time, never by content: prepare.fingerprint holds files of up to 64 MiB in memory."""
    stat = file.stat()
    return [str(file.resolve()), stat.st_size, stat.st_mtime_ns]


def _code() -> str:
    """Hash of the code that makes parts and columns."""
    names = ("endomondo.py", "endomondo_lines.py", "literals.py", "table.py")
    return digest([(Path(__file__).parent / n).read_text(encoding="utf-8") for n in names])


def _part(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{number:06d}.part"


def _read_parts(
    file: Path, folder: Path, workers: int, parser: str, part_bytes: int, limit: int
) -> int:
    """Write the parts that are missing; returns how many the file has."""
    jobs = _Jobs(file, folder, parser, part_bytes, limit)
    if workers == 1:
        for job in jobs:
            make_part(*job)
        return jobs.count
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    waiting: set[Future[None]] = set()
    try:
        for job in jobs:
            waiting.add(pool.submit(make_part, *job))
            if len(waiting) >= 2 * workers:  # so many parts are in memory at most
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        for future in waiting:
            future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"{file}: a reading process was killed, perhaps for want of memory; read again with "
            "fewer data.source.workers or smaller data.source.part_bytes: finished parts are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return jobs.count


def _check_begin(file: Path, parser: str, end: int, limit: int) -> None:
    """A file that begins without a workout is another file: said before more of it is read."""
    fast = fast_parser(parser)
    rejected: Counter[str] = Counter()
    for _, line in islice(_lines(file, end, limit), FIRST_LINES):
        try:
            workout_of(line, limit, fast)
            return
        except LineError as error:
            rejected[str(error)] += 1
    raise InputError(
        f"{file}: no workout in the first {rejected.total():,} lines ({reasons(rejected)}); "
        "data.path must be endomondoHR_proper.json, one dictionary a line"
    )


def _zipped(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _lines(file: Path, end: float, limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines that begin before byte `end` of the file, of a .gz of what it inflates to."""
    with gzip.open(file, "rb") if _zipped(file) else file.open("rb") as stream:
        try:
            yield from lines_from(stream, 0, end, limit)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{file}: the .gz is damaged or cut short ({error}); get it again"
            ) from error


class _Jobs:
    """Parts that are still to be made; after the iteration `count` is the number of all parts.

    Part k holds the lines that begin in bytes [k, k + 1) x part_bytes of the inflated text, so a
    .gz gives the same parts. Of a plain file a process reads its own bytes; a .gz is inflated
    here and handed on in lines.
    """

    def __init__(self, file: Path, folder: Path, parser: str, part_bytes: int, limit: int) -> None:
        self.file, self.folder = file, folder
        self.parser, self.part_bytes, self.limit = parser, part_bytes, limit
        self.count = 0

    def __iter__(self) -> Iterator[Job]:
        zipped = _zipped(self.file)
        for source in self._blocks() if zipped else self._ranges():
            start, target = self.count * self.part_bytes, _part(self.folder, self.count)
            self.count += 1
            _progress(start, 0 if zipped else self.file.stat().st_size)
            if not target.exists():
                yield target, source, start, start + self.part_bytes, self.limit, self.parser

    def _ranges(self) -> Iterator[Path]:
        for _ in range(0, self.file.stat().st_size, self.part_bytes):
            yield self.file

    def _blocks(self) -> Iterator[list[bytes]]:
        block: list[bytes] = []
        end = self.part_bytes
        for start, line in _lines(self.file, float("inf"), self.limit):
            while start >= end:
                yield block
                block, end = [], end + self.part_bytes
            block.append(line)
        yield block


def _progress(done: int, total: int) -> None:
    """A line on standard error, on a terminal only."""
    if sys.stderr.isatty() and done:
        share = f" of {total / 1e6:,.0f}" if total else ""
        sys.stderr.write(f"\rreading {done / 1e6:,.0f}{share} MB\033[K")
        sys.stderr.flush()


def _join(file: Path, folder: Path, count: int) -> None:
    """Join the parts into one file a column; a repeated id is rejected, the first one stays."""
    temporary = Path(tempfile.mkdtemp(prefix=".table-", dir=folder))
    try:
        joined = _Joined(temporary, file.name)
        for number in range(count):
            joined.add(_loaded(_part(folder, number)))
        joined.finish()
        try:
            temporary.rename(folder / "table")
        except OSError:
            if _stored(folder) is None:  # a damaged table, not a faster process
                shutil.rmtree(folder / "table", ignore_errors=True)
                temporary.rename(folder / "table")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    joined.report(file, folder / "table")


def _loaded(target: Path) -> Part:
    try:
        return load(target)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError) as error:
        target.unlink()
        raise InputError(f"{target}: damaged, and removed; read again to make it anew") from error


class _Joined:
    """Columns, sessions and rejected lines, written part after part into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.ids: set[str] = set()
        self.sessions: dict[str, list[Any]] = {}
        self.points = self.lines = 0
        self.rejected: Counter[str] = Counter()
        self.shown: list[str] = []

    def add(self, part: Part) -> None:
        fresh = np.array([not self._seen(w) for w in part.sessions["workout"]], dtype=bool)
        rejected = list(part.rejected)
        for w in np.flatnonzero(~fresh):
            text = f"id {part.sessions['workout'][w]}".encode()
            rejected.append((int(part.line[w]), "lines with the id of an earlier one", text))
        with (self.folder / f"{self.name}.rejected").open("ab") as file:  # empty if all is well
            for number, reason, text in sorted(rejected):
                file.write(b"%d\t%s\t%s\n" % (self.lines + number, reason.encode(), text))
                self.rejected[reason] += 1
                if len(self.shown) < SHOWN:
                    self.shown.append(f"line {self.lines + number}: {reason}")
        for reason, counts in part.points.items():
            self.rejected[reason] += int(np.array(counts)[fresh].sum())
        sizes = np.diff(part.offset)
        first = len(self.ids) - int(fresh.sum())  # sessions before this part
        columns: dict[str, Any] = dict(part.columns)
        if not fresh.all():
            columns = {name: v[np.repeat(fresh, sizes)] for name, v in columns.items()}
        columns["session"] = np.repeat(first + np.arange(fresh.sum()), sizes[fresh])
        low, high = HEART_RATE_BPM
        bpm = columns["heart_rate_bpm"]
        wrong = (bpm < low) | (bpm > high)
        self.rejected[f"heart rates outside {low:g}..{high:g} bpm"] += int(wrong.sum())
        bpm[wrong] = np.nan
        for name, kind in STORED.items():
            with (self.folder / f"{name}.bin").open("ab") as file:
                columns[name].astype(kind, copy=False).tofile(file)
        for name, values in part.sessions.items():
            kept = self.sessions.setdefault(name, [])
            kept.extend(v for v, new in zip(values, fresh, strict=True) if new)
        self.points += len(bpm)
        self.lines += part.lines

    def _seen(self, workout: str) -> bool:
        again = workout in self.ids
        self.ids.add(workout)
        return again

    def finish(self) -> None:
        pd.DataFrame(self.sessions).to_parquet(self.folder / "sessions.parquet")
        summary = {"lines": self.lines, "points": self.points, "rejected": dict(+self.rejected)}
        (self.folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")

    def report(self, file: Path, folder: Path) -> None:
        lost = self.lines - len(self.ids)
        if lost:
            more = f", and {lost - len(self.shown):,} more" if lost > len(self.shown) else ""
            print(
                f"{file}: {lost:,} of {self.lines:,} lines left out "
                f"({'; '.join(self.shown)}{more}), kept in {folder / f'{self.name}.rejected'}",
                file=sys.stderr,
            )


def _stored(folder: Path) -> WorkoutTable | None:
    """The table in the cache, its columns mapped into memory; None where it is not complete."""
    folder = folder / "table"
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        columns: dict[str, Any] = {
            name: np.memmap(folder / f"{name}.bin", kind, "r", shape=(summary["points"],))
            for name, kind in STORED.items()
        }
        sessions = pd.read_parquet(folder / "sessions.parquet")
    except (OSError, ValueError, KeyError):
        return None
    columns["speed_km_h"] = np.broadcast_to(np.float32(np.nan), summary["points"])
    return WorkoutTable(
        sessions=sessions,
        samples=pd.DataFrame(columns, copy=False),
        simulated=False,
        name="endomondo",
        rejected=summary["rejected"],
    )
