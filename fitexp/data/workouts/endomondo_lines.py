"""Lines of the Endomondo file to columns, one part of the file at a time. Imports no pandas."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fitexp.data.sequences import Bool, Float, Int
from fitexp.data.workouts.literals import Fast, fast_parser, parse

EARTH_KM = 6371.0088  # mean radius (IUGG)
SERIES = ("timestamp", "heart_rate", "altitude", "latitude", "longitude")
UNTIMED, REPEATED = "points without a timestamp", "points at a time that another has"
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
    `limit` + 1 are given, without its end. Nothing is read behind the line that reaches `end`,
    and of a longer one than `limit` no more than that beyond it.
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
    with source.open("rb", buffering=1 << 20) as stream:
        stream.seek(max(start - 1, 0))
        found = [line for _, line in lines_from(stream, start, end, limit)]
    save(part_of(found, limit, parser), target)


@dataclass(frozen=True)
class Workout:
    """A line's workout: series has time_s and SERIES -> (P,), points: reason -> number left out."""

    session: dict[str, Any]
    series: dict[str, Float]
    points: Counter[str]


def part_of(lines: Iterable[bytes], limit: int, parser: str) -> Part:
    """Parse and derive; no line is lost: lines == workouts + rejected."""
    fast = fast_parser(parser)
    kept: list[Workout] = []
    numbers: list[int] = []
    rejected: list[tuple[int, str, bytes]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            kept.append(workout_of(line, limit, fast))
            numbers.append(number)
        except LineError as error:
            rejected.append((number, str(error), line))
    names = ("workout", "athlete", "sport", "gender", "start")
    offset = np.cumsum([0, *(len(w.series["time_s"]) for w in kept)])
    points = {reason: [w.points[reason] for w in kept] for reason in (UNTIMED, REPEATED)}
    series = {
        name: np.concatenate([np.zeros(0), *(w.series[name] for w in kept)])
        for name in ("time_s", *SERIES[1:])
    }
    return Part(
        sessions={name: [w.session[name] for w in kept] for name in names},
        line=np.array(numbers, dtype=np.int64),
        offset=offset,
        columns=_columns(series, offset, points),
        lines=number,
        rejected=rejected,
        points=points,
    )


def _columns(
    series: dict[str, Float], offset: Int, points: dict[str, list[int]]
) -> dict[str, NDArray[Any]]:
    """COLUMNS of a part's workouts; counts what is missing in `points`."""
    columns: dict[str, NDArray[Any]] = {"time_s": series["time_s"]}
    for key, name in (("heart_rate", "heart_rate_bpm"), ("altitude", "altitude_m")):
        with np.errstate(over="ignore"):  # beyond float32: missing
            values = series[key].astype(np.float32)
        known = np.isfinite(values)
        values[~known] = np.nan
        columns[name] = values
        points[f"missing values in {key}"] = _count(~known, offset)
    latitude, longitude = series["latitude"], series["longitude"]
    placed = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    columns["distance_km"] = _distance(latitude, longitude, placed, offset)
    points["points without a position"] = _count(~placed, offset)
    return columns


def _count(points: Bool, offset: Int) -> list[int]:
    """How many of each workout's points are True."""
    counts: list[int] = np.add.reduceat(points, offset[:-1], dtype=np.int64).tolist()
    return counts


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
    points: Counter[str] = Counter()
    if (time[1:] > time[:-1]).all() and time[0] > -MAX_TIME_S and time[-1] < MAX_TIME_S:
        return float(time[0]), {**series, "time_s": time - time[0]}, points
    known = np.abs(time) < MAX_TIME_S  # neither NaN nor nonsense
    if not known.any():
        raise LineError("lines without any timestamp")
    start = float(time[np.argmax(known)])
    change = np.diff(time[known])
    if (change < 0).any():
        raise LineError("lines whose timestamps go back")
    points[UNTIMED] = int((~known).sum())
    points[REPEATED] = int((change == 0).sum())
    kept = known.copy()
    kept[known] = np.append(True, change > 0)
    series = {**series, "time_s": time - start}
    return start, {key: values[kept] for key, values in series.items()}, points


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
