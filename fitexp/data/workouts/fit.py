"""FIT files: the samples of every session in them, through damage where that can be told.

Layout: "Flexible and Interoperable Data Transfer (FIT) Protocol", Garmin. A file is a header
(its size, the body's size, ".FIT"), a body of definition and data messages, and a CRC; files may
be chained. Decoded by fitdecode.
"""

from __future__ import annotations

import io
import re
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fitexp.data.workouts.recording import DAMAGED, Recording
from fitexp.errors import InputError

EPOCH = 631_065_600.0  # FIT time 0, 1989-12-31, in unix s
DEGREES = 180.0 / 2**31  # of a semicircle
RECORD, SESSION, SPORT = 20, 18, 12  # global message numbers
HEADER = struct.Struct("<BBHI4s")
MARK = b".FIT"
CHAINED = 100  # files in one
RESUMES = 100  # times that a damaged file is entered again
RESUME_S = 3600  # behind the damage the next record is at most that much later
# fields of a record by FIELDS of recording.py; the first that has a value
NAMES = (
    ("timestamp",),
    ("heart_rate",),
    ("enhanced_speed", "speed"),
    ("enhanced_altitude", "altitude"),
    ("distance",),
    ("position_lat",),
    ("position_long",),
)
CHECKSUM = "files with a wrong checksum (kept)"
NAN = float("nan")


@dataclass
class _Found:
    """What the messages gave. sessions: (start in unix s, sport)."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    sessions: list[tuple[float, str]] = field(default_factory=list)
    sport: str = ""


def read_fit(data: bytes) -> tuple[list[Recording], Counter[str]]:
    """Recordings of a FIT file, one a session, and what was wrong with the file.

    A sample belongs to the last session that had started. Behind damage, reading goes on at the
    next record that looks like those before (their layout, a time within the hour), with the
    definitions read so far; how many samples the damage swallowed cannot be told.
    """
    found, problems = _Found(), Counter[str]()
    for body, fault in _chained(data):
        if not _read_body(body, found):
            fault = DAMAGED
        if fault:
            problems[fault] = 1
    if len(found.sessions) < 2:
        sport = found.sessions[0][1] if found.sessions else found.sport
        return [Recording(sport, found.rows)], problems
    sessions = sorted(found.sessions)
    parts = [Recording(sport) for _, sport in sessions]
    starts = [start for start, _ in sessions]
    for row in found.rows:
        parts[max(bisect_right(starts, row[0]) - 1, 0)].rows.append(row)
    return parts, problems


def _chained(data: bytes) -> Iterator[tuple[bytes, str | None]]:
    """Bodies of chained files, each with what is wrong with its header, length or checksum.

    A body's size that is wrong (0 where the device failed, too long where the file was cut) is
    replaced by what is there, up to the next header.
    """
    at = 0
    for _ in range(CHAINED):
        if at >= len(data):
            return
        size = data[at] if data[at] in (12, 14) else 14
        end = at + size + int.from_bytes(data[at + 4 : at + 8], "little")
        right = end + 2 <= len(data) and _checksum(data[at:end]) == data[end : end + 2]
        following = data.find(MARK, at + 12) - 8
        if right or end + 2 == len(data) or (following > at and following == end + 2):
            yield data[at + size : end], None if right else CHECKSUM
            at = end + 2
        elif following > at:
            yield data[at + size : following], DAMAGED
            at = following
        else:
            stop = end if end + 1 == len(data) else len(data)  # half of the checksum is there
            yield data[at + size : stop], DAMAGED
            return
    yield b"", DAMAGED  # no device chains that many: the rest is not read


def _checksum(data: bytes) -> bytes:
    value: int = _fitdecode().utils.compute_crc(data)
    return value.to_bytes(2, "little")


def _fitdecode() -> Any:
    try:
        import fitdecode
    except ImportError as error:
        raise InputError(
            "FIT files need fitdecode: pip install 'fitexp[io]', or leave them out"
        ) from error
    return fitdecode


def _read_body(body: bytes, found: _Found) -> bool:
    """Add the messages of a body to `found`; whether all of it could be read."""
    layouts: dict[int, bytes] = {}  # local number -> definition message
    for again in range(RESUMES):
        stopped, last = _read_messages(b"".join(layouts.values()), body, found, layouts)
        if stopped is None:
            return not again
        following = None if last is None else _next_record(body, stopped, last)
        if following is None:
            return False
        body = body[following:]
    return False


@dataclass(frozen=True)
class _Last:
    """The last record that was read: its header byte, where its time stands, and its time."""

    header: int
    offset: int
    order: Literal["little", "big"]
    time: int


def _read_messages(
    definitions: bytes, body: bytes, found: _Found, layouts: dict[int, bytes]
) -> tuple[int | None, _Last | None]:
    """Read messages; where in `body` that stopped (None: at its end) and the last record."""
    fitdecode = _fitdecode()
    whole = HEADER.pack(12, 0x20, 2000, len(definitions) + len(body), MARK) + definitions + body
    stream = io.BytesIO(whole + b"\0\0")
    frames = iter(
        fitdecode.FitReader(
            stream,
            processor=None,
            check_crc=fitdecode.CrcCheck.DISABLED,
            error_handling=fitdecode.ErrorHandling.IGNORE,
        )
    )
    end, last = 0, None
    while True:
        try:
            frame = next(frames, None)
        except Exception:  # what it stumbles on: KeyError, struct.error, its own classes ...
            return max(end - HEADER.size - len(definitions), 0), last
        if frame is None:
            return None, last
        begin, end = end, stream.tell()
        if frame.frame_type == fitdecode.FIT_FRAME_DEFINITION:
            layouts[frame.local_mesg_num] = whole[begin:end]
        elif frame.frame_type == fitdecode.FIT_FRAME_DATA:
            if frame.global_mesg_num == RECORD:
                last = _add_record(frame, whole[begin], found) or last
            elif frame.global_mesg_num in (SESSION, SPORT):
                _add_session(frame, found)


def _add_record(frame: Any, header: int, found: _Found) -> _Last | None:
    values: dict[str, Any] = {}
    for item in frame.fields:
        if item.value is not None:
            values.setdefault(item.name, item.value)
    row = [_first(values, names) for names in NAMES]
    row[0] += EPOCH
    row[5] *= DEGREES
    row[6] *= DEGREES
    found.rows.append(tuple(row))
    offset = 1
    for definition in frame.def_mesg.field_defs:
        if definition.def_num == 253 and np.isfinite(row[0]):
            little = frame.def_mesg.endian == "<"
            time = int(row[0] - EPOCH)
            return _Last(header, offset, "little" if little else "big", time)
        offset += definition.size
    return None


def _first(values: dict[str, Any], names: tuple[str, ...]) -> float:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float):
            return float(value)
    return NAN


def _add_session(frame: Any, found: _Found) -> None:
    sport = frame.get_value("sport", fallback=None)
    general = sport in (None, "generic", "fitness_equipment", "training")
    detail = frame.get_value("sub_sport", fallback=None)
    words = str((detail if general and detail not in (None, "generic") else sport) or "")
    start = frame.get_value("start_time", fallback=None)
    if frame.global_mesg_num == SESSION and isinstance(start, int):
        found.sessions.append((start + EPOCH, words))
    found.sport = found.sport or words


def _next_record(body: bytes, start: int, last: _Last) -> int | None:
    """Where, behind `start`, a message has the last record's header and a time soon after it."""
    layout = re.compile(
        b"(?=%b.{%d}(.{4}))" % (re.escape(bytes([last.header])), last.offset - 1), re.DOTALL
    )
    for match in layout.finditer(body, start):
        if 0 < int.from_bytes(match[1], last.order) - last.time <= RESUME_S:
            return match.start()
    return None
