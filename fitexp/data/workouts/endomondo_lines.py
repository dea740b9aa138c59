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
# names that fitexp.data.workouts.series knows speed limits of; every other sport keeps its name
SPORTS = {"running": "run", "walking": "walk", "swimming": "swim"}
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
    text) of each that gave no workout; points: reason -> points or values left out.
    """

    sessions: dict[str, list[Any]]
    line: Int
    offset: Int
    columns: dict[str, NDArray[Any]]
    lines: int
    rejected: list[tuple[int, str, bytes]]
    points: dict[str, int]


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


def part_of(lines: Iterable[bytes], limit: int, parser: str) -> Part:
    """Parse and derive; no line is lost: lines == workouts + rejected."""
    fast = fast_parser(parser)
    kept: list[tuple[int, bytes, dict[str, Any]]] = []
    rejected: list[tuple[int, str, bytes]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            kept.append((number, line, workout_of(line, limit, fast)))
        except LineError as error:
            rejected.append((number, str(error), line))
    columns, workout, reasons, points = _derived([fields for _, _, fields in kept])
    for at, reason in sorted(reasons.items()):
        rejected.append((kept[at][0], reason, kept[at][1]))
    stays = np.array([w not in reasons for w in range(len(kept))], dtype=bool)
    good = [entry for entry, stay in zip(kept, stays, strict=True) if stay]
    counts = np.bincount(workout, minlength=len(kept))[stays]
    begins = [
        float(fields["timestamp"][np.isfinite(fields["timestamp"])][0]) for *_, fields in good
    ]
    return Part(
        sessions={
            "workout": [str(fields["id"]) for *_, fields in good],
            "athlete": [str(fields["userId"]) for *_, fields in good],
            "sport": [fields["sport"] for *_, fields in good],
            "gender": [fields["gender"] for *_, fields in good],
            "start": begins,
        },
        line=np.array([number for number, *_ in good], dtype=np.int64),
        offset=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns=columns,
        lines=number,
        rejected=sorted(rejected),
        points=dict(points),
    )


def workout_of(line: bytes, limit: int, fast: Fast | None) -> dict[str, Any]:
    """The fields of a line, checked; raises LineError with the reason that is counted."""
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
    for key in SERIES:
        if not isinstance(fields[key], np.ndarray):
            raise LineError(f"lines with something else than numbers in {key}")
    sizes = {len(fields[key]) for key in SERIES}
    if 0 in sizes:
        raise LineError("lines with empty lists")
    if len(sizes) > 1:
        raise LineError("lines whose lists differ in length")
    sport = _name(fields, "sport")
    return {
        **{key: fields[key] for key in ("userId", "id", *SERIES)},
        "sport": SPORTS.get(sport, sport),
        "gender": _name({"gender": "unknown", **fields}, "gender"),
    }


def _name(fields: dict[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"lines whose {key} is not a name")
    return value.strip().lower().encode("utf-8", "replace").decode()


def haversine_km(latitude: Float, longitude: Float) -> Float:
    """Great-circle distances between neighbours, (n - 1,); degrees in, km out.

    2 R asin sqrt(sin^2(dlat / 2) + cos lat1 cos lat2 sin^2(dlon / 2)).
    """
    lat, lon = np.radians(latitude), np.radians(longitude)
    cos = np.cos(lat)
    half = np.sin(np.diff(lat) / 2) ** 2 + cos[1:] * cos[:-1] * np.sin(np.diff(lon) / 2) ** 2
    distance: Float = 2 * EARTH_KM * np.arcsin(np.sqrt(half.clip(0, 1)))
    return distance


def _derived(
    workouts: list[dict[str, Any]],
) -> tuple[dict[str, NDArray[Any]], Int, dict[int, str], Counter[str]]:
    """Columns of the points that are kept, the workout of each, rejected workouts, counts."""
    total = len(workouts)
    if not total:
        nothing: dict[str, NDArray[Any]] = {
            name: np.zeros(0, kind) for name, kind in COLUMNS.items()
        }
        return nothing, np.zeros(0, np.int64), {}, Counter()
    raw: dict[str, Float] = {
        key: np.concatenate([fields[key] for fields in workouts]) for key in SERIES
    }
    workout = np.repeat(np.arange(total), [len(fields["timestamp"]) for fields in workouts])
    timed = np.isfinite(raw["timestamp"])
    untimed = np.bincount(workout[~timed], minlength=total)
    raw, workout = _where(timed, raw, workout)
    present = np.bincount(workout, minlength=total) > 0
    rejected = {int(w): "lines without any timestamp" for w in np.flatnonzero(~present)}
    change = np.diff(raw["timestamp"])
    same = np.diff(workout) == 0
    for w in set(workout[1:][same & (change < 0)].tolist()):
        rejected[w] = "lines whose timestamps go back"
    good = np.ones(total, dtype=bool)
    good[list(rejected)] = False
    again = np.append(False, same & (change == 0)) & good[workout]
    points = Counter(
        {
            "points without a timestamp": int(untimed[good].sum()),
            "points at a time that another has": int(again.sum()),
        }
    )
    raw, workout = _where(good[workout] & ~again, raw, workout)
    edges = np.flatnonzero(np.diff(workout, prepend=-1, append=total))
    for key in ("heart_rate", "altitude"):
        raw[key] = _finite(raw[key])
        points[f"missing values in {key}"] = int(np.isnan(raw[key]).sum())
    placed = (np.abs(raw["latitude"]) <= 90) & (np.abs(raw["longitude"]) <= 180)
    points["points without a position"] = int((~placed).sum())
    columns: dict[str, NDArray[Any]] = {
        "time_s": raw["timestamp"] - np.repeat(raw["timestamp"][edges[:-1]], np.diff(edges)),
        "heart_rate_bpm": raw["heart_rate"].astype(np.float32),
        "altitude_m": raw["altitude"].astype(np.float32),
        "distance_km": _cumulative(raw, placed, edges).astype(np.float32),
    }
    return columns, workout, rejected, +points


def _where(kept: Bool, raw: dict[str, Float], workout: Int) -> tuple[dict[str, Float], Int]:
    if kept.all():
        return raw, workout
    return {key: values[kept] for key, values in raw.items()}, workout[kept]


def _finite(values: Float) -> Float:
    """Infinite values and those beyond float32 are missing."""
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)


def _cumulative(raw: dict[str, Float], placed: Bool, edges: Int) -> Float:
    """Distance from each workout's first known position over the known ones; NaN elsewhere."""
    at = np.flatnonzero(placed)
    if not len(at):
        return np.full(len(placed), np.nan)
    latitude, longitude = raw["latitude"], raw["longitude"]
    if len(at) < len(placed):
        latitude, longitude = latitude[at], longitude[at]
    way = np.append(0.0, haversine_km(latitude, longitude))
    for a, b in pairwise(np.searchsorted(at, edges).tolist()):
        if b > a:
            way[a] = 0.0  # the step from the workout before
            np.cumsum(way[a:b], out=way[a:b])
    if len(at) == len(placed):
        return way
    distance = np.full(len(placed), np.nan)
    distance[at] = way
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
