"""Lines of the Endomondo file to columns, one part of the file at a time. Imports no pandas."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fitexp.data.sequences import Float, Int
from fitexp.data.workouts.literals import Fast, fast_parser, parse

EARTH_KM = 6371.0088  # mean radius (IUGG)
SERIES = ("timestamp", "heart_rate", "altitude", "latitude", "longitude")
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
    text) of each that gave no workout; points: of each workout, reason -> points or values left
    out.
    """

    sessions: dict[str, list[Any]]
    line: Int
    offset: Int
    columns: dict[str, NDArray[Any]]
    lines: int
    rejected: list[tuple[int, str, bytes]]
    points: list[dict[str, int]]


def lines_from(stream: BinaryIO, start: int, end: float, limit: int) -> Iterator[tuple[int, bytes]]:
    """Lines that begin at bytes `start` <= byte < `end`, each with its first byte's number.

    `stream` stands at byte max(start - 1, 0). Of a line with over `limit` bytes the first
    `limit` + 1 are given, without its end.
    """

    def skipped(piece: bytes) -> int:
        """Bytes to the end of the line that `piece` is the beginning of."""
        count = 0
        while len(piece) > limit and not piece.endswith(b"\n"):
            piece = stream.readline(limit + 1)
            count += len(piece)
        return count

    position = max(start - 1, 0)
    if start > 0:
        piece = stream.readline(limit + 1)
        position += len(piece) + skipped(piece)
    while position < end and (line := stream.readline(limit + 1)):
        begin = position
        position += len(line) + skipped(line)
        yield begin, line


def make_part(
    target: Path, source: Path | list[bytes], start: int, end: int, limit: int, parser: str
) -> None:
    """Read the lines of `source` that begin in [start, end), or these lines; write `target`."""
    if isinstance(source, list):
        save(part_of(source, limit, parser), target)
        return
    with source.open("rb", buffering=1 << 20) as stream:
        stream.seek(max(start - 1, 0))
        found = [line for _, line in lines_from(stream, start, end, limit)]
    save(part_of(found, limit, parser), target)


@dataclass(frozen=True)
class Workout:
    """A line's workout: columns are COLUMNS -> (P,), points: reason -> number left out."""

    session: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    points: Counter[str]


def part_of(lines: Iterable[bytes], limit: int, parser: str) -> Part:
    """Parse and derive; no line is lost: lines == workouts + rejected."""
    fast = fast_parser(parser)
    kept: list[Workout] = []
    numbers: list[int] = []
    rejected: list[tuple[int, str, bytes]] = []
    number = 0
    with np.errstate(over="ignore"):  # beyond float32: missing
        for number, line in enumerate(lines, 1):
            try:
                kept.append(workout_of(line, limit, fast))
                numbers.append(number)
            except LineError as error:
                rejected.append((number, str(error), line))
    names = ("workout", "athlete", "sport", "gender", "start")
    empty = {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
    columns = [empty, *(w.columns for w in kept)]
    return Part(
        sessions={name: [w.session[name] for w in kept] for name in names},
        line=np.array(numbers, dtype=np.int64),
        offset=np.cumsum([len(found["time_s"]) for found in columns]),
        columns={name: np.concatenate([found[name] for found in columns]) for name in COLUMNS},
        lines=number,
        rejected=rejected,
        points=[dict(w.points) for w in kept],
    )


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
    columns: dict[str, NDArray[Any]] = {
        "time_s": series["time_s"],
        "heart_rate_bpm": _measured(series, "heart_rate", points),
        "altitude_m": _measured(series, "altitude", points),
        "distance_km": _distance(series["latitude"], series["longitude"], points),
    }
    return Workout(session, columns, points)


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"lines whose {key} is not a name")
    return value.strip().lower().encode("utf-8", "replace").decode()


def _series(fields: dict[str, Any]) -> dict[str, Float]:
    """The lists of a line, of one length."""
    series = {key: fields[key] for key in SERIES}
    for key, values in series.items():
        if not isinstance(values, np.ndarray):
            raise LineError(f"lines with something else than numbers in {key}")
    sizes = {len(values) for values in series.values()}
    if 0 in sizes:
        raise LineError("lines with empty lists")
    if len(sizes) > 1:
        raise LineError("lines whose lists differ in length")
    return series


def _timed(series: dict[str, Float]) -> tuple[float, dict[str, Float], Counter[str]]:
    """Start (unix s), and the points with increasing times, from then on as time_s.

    Without points that have no time or that of the one before.
    """
    time = series["timestamp"]
    known = np.abs(time) < MAX_TIME_S  # neither NaN nor nonsense
    if not known.any():
        raise LineError("lines without any timestamp")
    start = float(time[np.argmax(known)])
    seconds: Float = time - start
    series = {**series, "time_s": seconds}
    points: Counter[str] = Counter()
    change = np.diff(seconds)
    if known.all() and (change > 0).all():
        return start, series, points
    change = np.diff(seconds[known])
    if (change < 0).any():
        raise LineError("lines whose timestamps go back")
    points["points without a timestamp"] = int((~known).sum())
    points["points at a time that another has"] = int((change == 0).sum())
    kept = known.copy()
    kept[known] = np.append(True, change > 0)
    return start, {key: values[kept] for key, values in series.items()}, +points


def _measured(series: dict[str, Float], key: str, points: Counter[str]) -> NDArray[np.float32]:
    values = series[key].astype(np.float32)
    known = np.isfinite(values)
    if not known.all():
        points[f"missing values in {key}"] += int((~known).sum())
        values[~known] = np.nan
    return values


def _distance(latitude: Float, longitude: Float, points: Counter[str]) -> NDArray[np.float32]:
    """Cumulative km over the known positions; NaN at the others."""
    placed = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    if placed.all():
        return _way(latitude, longitude)
    points["points without a position"] += int((~placed).sum())
    distance = np.full(len(placed), np.nan, dtype=np.float32)
    if placed.any():
        distance[placed] = _way(latitude[placed], longitude[placed])
    return distance


def _way(latitude: Float, longitude: Float) -> NDArray[np.float32]:
    way = np.zeros(len(latitude), dtype=np.float32)
    way[1:] = np.cumsum(haversine_km(latitude, longitude))
    return way


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
