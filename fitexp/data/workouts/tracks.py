"""TCX and GPX files: one streaming reader for both, which goes on behind damage.

TCX: Garmin Training Center Database v2; GPX: Topografix 1.0 and 1.1, with Garmin's
TrackPointExtension and its kin for heart rate. Tags count without their namespace.
A library that builds the whole tree first gives nothing of a file that is cut short.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from xml.parsers import expat

from fitexp.data.workouts.recording import DAMAGED, FIELDS, Recording, RefusedError

PARTS = ("Activity", "Course", "trk", "rte")  # each is a recording
POINTS = ("Trackpoint", "trkpt", "rtept")  # each is a sample
TAGS = {
    "Time": "time",
    "time": "time",
    "HeartRateBpm": "heart_rate",  # its Value
    "hr": "heart_rate",
    "heartrate": "heart_rate",
    "Speed": "speed",
    "speed": "speed",
    "AltitudeMeters": "altitude",
    "ele": "altitude",
    "DistanceMeters": "distance",
    "LatitudeDegrees": "latitude",
    "LongitudeDegrees": "longitude",
    "lat": "latitude",
    "lon": "longitude",
}
STRAVA = {"1": "ride", "4": "hiking", "9": "running", "10": "walking", "16": "swimming"}
OPENING = re.compile(rb"<(?:\w+:)?(?:%b)[\s>]" % "|".join((*PARTS, *POINTS)).encode())
CHUNK = 2**16
DEPTH = 64  # of nested elements; real files have 10
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:Z|([+-])(\d\d):?(\d\d))?"
)
NAN = float("nan")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def read_tracks(data: bytes) -> tuple[list[Recording], Counter[str]]:
    """Recordings of a TCX or GPX file, one an activity or track, and what was wrong with it.

    Behind damage, reading goes on at the next sample that begins. Raises RefusedError for a file
    that declares entities: no device writes them, and they can grow without end.
    """
    handler = _Handler()
    data = data.lstrip()  # blanks in front are common, and not XML
    start: int | None = 0
    while start is not None:
        stopped = _parse(data, start, handler)
        if stopped is None:
            break
        handler.problems[DAMAGED] = 1
        handler.cut()
        match = OPENING.search(data, max(stopped, start + 1))
        start = match.start() if match else None
    return [r for r in handler.recordings if r.rows], handler.problems


def _parse(data: bytes, start: int, handler: _Handler) -> int | None:
    """Parse from `start`; where the damage is, None if there is none."""
    parser = expat.ParserCreate(handler.encoding)
    parser.buffer_text = True
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.characters
    parser.EntityDeclHandler = handler.entity
    parser.XmlDeclHandler = handler.declaration
    handler.stack = []
    root = b"<resumed>" if start else b""
    try:
        parser.Parse(root, False)
        for at in range(start, len(data), CHUNK):
            parser.Parse(data[at : at + CHUNK], False)
        parser.Parse(b"", True)
    except (expat.ExpatError, _DepthError):
        return start + max(parser.CurrentByteIndex - len(root), 0)
    except RefusedError:
        raise
    except (LookupError, ValueError):  # an encoding that Python does not know
        return len(data)
    return None


class _DepthError(Exception):
    """Nested deeper than any activity."""


class _Handler:
    """Builds recordings from expat's events."""

    def __init__(self) -> None:
        self.recordings = [Recording("")]
        self.problems: Counter[str] = Counter()
        self.encoding: str | None = None
        self.stack: list[str] = []
        self.point: dict[str, str] | None = None
        self.text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self.stack.append(name)
        if len(self.stack) > DEPTH:
            raise _DepthError
        if name in POINTS:
            self.cut()
            self.point = {}
            for key, value in attributes.items():
                if key in TAGS:
                    self.point[TAGS[key]] = value
        elif name in PARTS:
            self.recordings.append(Recording(attributes.get("Sport", "")))
        self.text = []

    def characters(self, text: str) -> None:
        self.text.append(text)

    def end(self, tag: str) -> None:
        name = self.stack.pop()
        parent = self.stack[-1] if self.stack else ""
        if self.point is None:
            if name == "type" and parent in PARTS:
                words = "".join(self.text).strip()
                self.recordings[-1].sport = STRAVA.get(words, words)
        elif name in POINTS:
            self.recordings[-1].rows.append(self.row(self.point))
            self.point = None
        else:
            field = TAGS.get(parent if name == "Value" else name)
            text = "".join(self.text)
            if field is not None and text.strip():
                self.point.setdefault(field, text)
        self.text = []

    def row(self, point: dict[str, str]) -> tuple[float, ...]:
        values = [unix_time(point["time"]) if "time" in point else NAN]
        values += [number(point[name]) if name in point else NAN for name in FIELDS[1:]]
        wrong = sum(name in point and v != v for name, v in zip(FIELDS, values, strict=True))
        if wrong:
            self.problems["values that are not numbers or times"] += wrong
        return tuple(values)

    def cut(self) -> None:
        """A sample that was begun and not ended is lost."""
        if self.point is not None:
            self.problems["samples damaged"] += 1
            self.point = None

    def entity(self, *_: object) -> None:
        raise RefusedError("files that declare XML entities")

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self.encoding = encoding


def number(text: str) -> float:
    """A finite number, else NaN."""
    try:
        value = float(text)
    except ValueError:
        return NAN
    return value if abs(value) < float("inf") else NAN


def unix_time(text: str) -> float:
    """Unix s of an ISO 8601 date and time, in UTC where it names no zone; NaN if it is none."""
    match = TIME.fullmatch(text.strip())
    if match is None:
        return NAN
    *date, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, date)
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:  # month 13
        return NAN
    seconds = (at - EPOCH) / timedelta(seconds=1) + float(fraction or 0)
    if sign:
        seconds -= (1 if sign == "+" else -1) * 60 * (60 * int(hours) + int(minutes))
    return seconds
