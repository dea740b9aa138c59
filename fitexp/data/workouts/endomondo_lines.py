"""Lines of the Endomondo file to columns, one part of the file at a time. Imports no pandas."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fitexp.data.sequences import Bool, Float, Int
from fitexp.data.workouts.literals import Fast, fast_parser, parse

EARTH_KM = 6371.0088  # mean radius (IUGG)
SERIES = ("timestamp", "heart_rate", "altitude", "latitude", "longitude")
UNTIMED, REPEATED = "points without a timestamp", "points at a time that another has"
BATCH = 16  # lines whose points are derived together, few enough for the processor's cache
# names that fitexp.data.workouts.series knows speed limits of; every other sport keeps its name
SPORTS = {"running": "run", "walking": "walk", "swimming": "swim"}
MAX_TIME_S = 1e11  # unix s, the year 5138; beyond it, as in milliseconds, a time is missing
COLUMNS = {
    "time_s": np.float64,
    "heart_rate_bpm": np.float32,
    "altitude_m": np.float32,
    "distance_km": np.float32,
}


class LineError(ValueError):
    """Why a line gives no workout: one of the reasons that are counted."""


@dataclass(frozen=True)
class Part:
    """What a part of the file holds: W workouts, P points, and the lines that gave none.

    sessions: column -> W values; line: (W,) line in the part, from 1; offset: (W+1,) first
    point of each workout; columns: COLUMNS -> (P,). lines: read in all; rejected: (line, reason,
    text) of each that gave no workout; points: reason -> (W,) points or values left out.
    """

    sessions: dict[str, list[Any]]
    line: Int
    offset: Int
    columns: dict[str, NDArray[Any]]
    lines: int
    rejected: list[tuple[int, str, bytes]]
    points: dict[str, list[int]]


def lines_from(stream: BinaryIO, start: int, end: float, limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines that begin at bytes `start` <= byte < `end`, each with its first byte's number.

    `stream` stands at byte max(start - 1, 0). Of a line with over `limit` bytes the first
    `limit` + 1 are given, without its end. At most `limit` bytes from `end` on are read.
    """
    position = max(start - 1, 0)
    begins = start == 0  # a line begins at `position`
    while position < end and (piece := stream.readline(limit + 1)):
        if begins:
            yield position, piece
        position += len(piece)
        begins = piece.endswith(b"\n")


def make_part(
    target: Path, source: Path | list[bytes], start: int, end: int, limit: int, parser: str
) -> None:
    """Read the lines of `source` that begin in [start, end), or these lines; write `target`."""
    if isinstance(source, list):
        save(part_of(source, limit, parser), target)
        return
    with source.open("rb", buffering=1 << 18) as stream:
        stream.seek(max(start - 1, 0))
        lines = (line for _, line in lines_from(stream, start, end, limit))
        save(part_of(lines, limit, parser), target)


@dataclass(frozen=True)
class Workout:
    """A line's workout: series (5, P), the rows of SERIES; points: reason -> number left out."""

    session: dict[str, Any]
    series: Float
    points: Counter[str]


def part_of(lines: Iterable[bytes], limit: int, parser: str) -> Part:
    """Parse and derive; no line is lost: lines == workouts + rejected."""
    fast = fast_parser(parser)
    sessions: list[dict[str, Any]] = []
    numbers: list[int] = []
    rejected: list[tuple[int, str, bytes]] = []
    points: dict[str, list[int]] = defaultdict(list)
    columns = [{name: np.zeros(0, kind) for name, kind in COLUMNS.items()}]
    sizes = [0]
    number, numbered = 0, enumerate(lines, 1)
    while batch := list(islice(numbered, BATCH)):
        kept: list[Workout] = []
        for number, line in batch:
            try:
                kept.append(workout_of(line, limit, fast))
                numbers.append(number)
            except LineError as error:
                rejected.append((number, str(error), line))
        if kept:
            sessions += [w.session for w in kept]
            sizes += [w.series.shape[1] for w in kept]
            columns.append(_columns(kept, points))
    names = ("workout", "athlete", "sport", "gender", "start")
    return Part(
        sessions={name: [session[name] for session in sessions] for name in names},
        line=np.array(numbers, dtype=np.int64),
        offset=np.cumsum(sizes),
        columns={name: np.concatenate([found[name] for found in columns]) for name in COLUMNS},
        lines=number,
        rejected=rejected,
        points=points,
    )


def _columns(workouts: list[Workout], points: dict[str, list[int]]) -> dict[str, NDArray[Any]]:
    """COLUMNS of these workouts; what each of them leaves out is appended to `points`."""
    offset = np.cumsum([0, *(w.series.shape[1] for w in workouts)])
    time, heart_rate, altitude, latitude, longitude = np.concatenate(
        [w.series for w in workouts], axis=1
    )
    placed = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    columns = {
        "time_s": time.copy(),  # a view would keep all five rows
        "heart_rate_bpm": _measured(heart_rate),
        "altitude_m": _measured(altitude),
        "distance_km": _distance(latitude, longitude, placed, offset),
    }
    for reason in (UNTIMED, REPEATED):
        points[reason] += [w.points[reason] for w in workouts]
    for reason, missing in (
        ("missing values in heart_rate", np.isnan(columns["heart_rate_bpm"])),
        ("missing values in altitude", np.isnan(columns["altitude_m"])),
        ("points without a position", ~placed),
    ):
        points[reason] += np.add.reduceat(missing, offset[:-1], dtype=np.int64).tolist()
    return columns


def _measured(values: Float) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond float32: missing
        measured = values.astype(np.float32)
    measured[np.isinf(measured)] = np.nan
    return measured


def workout_of(line: bytes, limit: int, fast: Fast | None) -> Workout:
    """The workout of a line; raises LineError with the reason that is counted."""
    if len(line) > limit and not line.endswith(b"\n"):
        raise LineError("lines over data.source.max_line_bytes")
    if line.isspace() or not line:
        raise LineError("lines without anything")
    try:
        fields = parse(line, fast)
    except ValueError:
        raise LineError("lines that are no Python literal") from None
    if not isinstance(fields, dict):
        raise LineError("lines that hold no dictionary")
    for key in ("userId", "id", "sport", *SERIES):
        if key not in fields:
            raise LineError(f"lines without {key}")
    for key in ("userId", "id"):
        if type(fields[key]) is not int:
            raise LineError(f"lines whose {key} is not a whole number")
    sport = _name(fields["sport"], "sport")
    start, series, points = _timed(_series(fields))
    session = {
        "workout": str(fields["id"]),
        "athlete": str(fields["userId"]),
        "sport": SPORTS.get(sport, sport),
        "gender": _name(fields.get("gender", "unknown"), "gender"),
        "start": start,
    }
    return Workout(session, series, points)


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"lines whose {key} is not a name")
    return value.strip().lower().encode("utf-8", "replace").decode()


def _series(fields: dict[str, Any]) -> Float:
    """The lists of a line, of one length, as rows."""
    for key in SERIES:
        if not isinstance(fields[key], np.ndarray):
            raise LineError(f"lines with something else than numbers in {key}")
    sizes = {len(fields[key]) for key in SERIES}
    if 0 in sizes:
        raise LineError("lines with empty lists")
    if len(sizes) > 1:
        raise LineError("lines whose lists differ in length")
    return np.array([fields[key] for key in SERIES])


def _timed(series: Float) -> tuple[float, Float, Counter[str]]:
    """Start (unix s), and the points with increasing times, from then on in s from the start.

    Without points that have no time or that of the one before.
    """
    points: Counter[str] = Counter()
    known = np.abs(series[0]) < MAX_TIME_S  # neither NaN nor nonsense
    if not known.all():
        if not known.any():
            raise LineError("lines without any timestamp")
        points[UNTIMED] = int((~known).sum())
        series = series[:, known]
    start = float(series[0, 0])
    series[0] -= start
    change = series[0, 1:] - series[0, :-1]
    if not (change > 0).all():
        if (change < 0).any():
            raise LineError("lines whose timestamps go back")
        points[REPEATED] = int((change == 0).sum())
        series = series[:, np.append(True, change > 0)]
    return start, series, points


def _distance(latitude: Float, longitude: Float, placed: Bool, offset: Int) -> NDArray[np.float32]:
    """Cumulative km over the `placed` positions of each workout; NaN at the others."""
    km = np.zeros(placed.sum())
    km[1:] = haversine_km(latitude[placed], longitude[placed])
    for first, end in pairwise(np.append(0, np.cumsum(placed))[offset]):
        km[first : first + 1] = 0.0
        np.cumsum(km[first:end], out=km[first:end])
    distance = np.full(len(placed), np.nan, dtype=np.float32)
    distance[placed] = km
    return distance


def haversine_km(latitude: Float, longitude: Float) -> Float:
    """Great-circle distances between neighbours, (n - 1,); degrees in, km out.

    2 R asin sqrt(sin^2(dlat / 2) + cos lat1 cos lat2 sin^2(dlon / 2)).
    """
    lat, lon = np.radians(latitude), np.radians(longitude)
    cos = np.cos(lat)
    north, east = np.sin((lat[1:] - lat[:-1]) / 2), np.sin((lon[1:] - lon[:-1]) / 2)
    half = north * north + cos[1:] * cos[:-1] * east * east
    distance: Float = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return distance


def save(part: Part, target: Path) -> None:
    """Write a part under a temporary name and rename it: it is there whole or not at all."""
    words = {
        "sessions": part.sessions,
        "lines": part.lines,
        "rejected": [(number, reason) for number, reason, _ in part.rejected],
        "points": part.points,
    }
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            texts = b"\n".join(text.rstrip(b"\r\n") for *_, text in part.rejected)
            for values in (json.dumps(words).encode(), texts):
                np.save(file, np.frombuffer(values, np.uint8))
            for array in (part.line, part.offset, *(part.columns[name] for name in COLUMNS)):
                np.save(file, array)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(target: Path) -> Part:
    """Read a part; raises OSError, ValueError or KeyError where it is missing or damaged."""
    with target.open("rb") as file:
        described, texts, line, offset, *columns = (
            np.load(file, allow_pickle=False) for _ in range(4 + len(COLUMNS))
        )
    words = json.loads(described.tobytes())
    kept = zip(words["rejected"], texts.tobytes().split(b"\n"), strict=False)
    return Part(
        sessions=words["sessions"],
        line=line,
        offset=offset,
        columns=dict(zip(COLUMNS, columns, strict=True)),
        lines=words["lines"],
        rejected=[(number, reason, text) for (number, reason), text in kept],
        points=words["points"],
    )
