"""What an activity file holds, sample by sample, and the rules that make it an activity."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from fitexp.data.sequences import Bool, Float, Int
from fitexp.data.workouts.table import HEART_RATE_BPM
from fitexp.errors import InputError

FIELDS = ("time", "heart_rate", "speed", "altitude", "distance", "latitude", "longitude")
EARTH_M = 6_371_008.8  # mean radius
FIRST_CLOCK = 899_501_056.0  # FIT: a smaller time counts from the power-up of an unset clock
FAR_S = 7 * 86400.0  # from the median time: another clock, or a damaged time
DAMAGED = "files cut short or damaged (what could be read is kept)"
# name in a file, in lower case -> name in the tables; others stay as they are
SPORTS = {
    "running": "run",
    "trail_running": "run",
    "treadmill_running": "run",
    "treadmill": "run",
    "virtualrun": "run",
    "biking": "bike",
    "cycling": "bike",
    "ride": "bike",
    "virtualride": "bike",
    "road_biking": "bike",
    "mountain_biking": "bike",
    "indoor_cycling": "bike",
    "walking": "walk",
    "hiking": "hike",
    "swimming": "swim",
    "lap_swimming": "swim",
    "open_water_swimming": "swim",
    "indoor_rowing": "rowing",
    "": "unknown",
}


class RefusedError(InputError):
    """A file that gives nothing; `reason` is what it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Recording:
    """Samples as they stand in a file: a row per sample, its values in the order of FIELDS.

    time unix s (or s of an unset clock), heart rate bpm, speed m/s, altitude and distance m,
    position degrees; NaN missing or not a number.
    """

    sport: str
    rows: list[tuple[float, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Activity:
    """One recorded workout, n samples; NaN is missing.

    sport: as the tables name it; start: unix s, NaN unknown; time_s: increasing from 0, or all
    NaN for a route without times; distance_km: as recorded, else from the positions;
    problems: reason -> number of samples (or values) that were dropped.
    """

    sport: str
    start: float
    time_s: Float
    heart_rate_bpm: Float
    speed_km_h: Float
    altitude_m: Float
    distance_km: Float
    latitude: Float
    longitude: Float
    problems: dict[str, int]


def activity_of(recording: Recording) -> Activity:
    """A recording with what cannot be true made missing or dropped, and counted.

    Samples are dropped that have no time, one more than 7 days from the median (another clock),
    or one that does not increase: of those the largest increasing part is kept, so one wrong time
    costs one sample. Where no sample has a time all are kept, for use as a route. Heart rates
    outside 30..230 bpm, impossible positions and distances that fall back become missing.
    Nothing is filled in: a pause of the timer is a gap in time.
    """
    problems: Counter[str] = Counter()
    values = np.array(recording.rows, dtype=np.float64).reshape(-1, len(FIELDS))
    if np.isfinite(values[:, 0]).any():
        values = values[_true_times(values[:, 0], problems)]
    time, heart_rate, speed, altitude, recorded, latitude, longitude = values.T
    low, high = HEART_RATE_BPM
    wrong = (heart_rate < low) | (heart_rate > high)
    problems[f"heart rates outside {low:g}..{high:g} bpm"] = int(wrong.sum())
    nowhere = ~((np.abs(latitude) <= 90) & (np.abs(longitude) <= 180))
    given = np.isfinite(latitude) | np.isfinite(longitude)
    problems["positions that are not on Earth"] = int((nowhere & given).sum())
    latitude = np.where(nowhere, np.nan, latitude)
    longitude = np.where(nowhere, np.nan, longitude)
    first = time[0] if len(time) else np.nan
    return Activity(
        sport=SPORTS.get(recording.sport.strip().lower(), recording.sport.strip().lower()),
        start=float(first) if first >= FIRST_CLOCK else np.nan,
        time_s=np.asarray(np.round(time - first, 3), dtype=np.float64),
        heart_rate_bpm=np.where(wrong, np.nan, heart_rate),
        speed_km_h=speed * 3.6,
        altitude_m=altitude.copy(),
        distance_km=_distance_km(recorded, latitude, longitude, problems),
        latitude=latitude,
        longitude=longitude,
        problems={reason: n for reason, n in problems.items() if n},
    )


def _true_times(time: Float, problems: Counter[str]) -> Int:
    """Rows with a finite time, near the others' and increasing."""
    known = np.flatnonzero(np.isfinite(time))
    problems["samples without a time"] = len(time) - len(known)
    near = known[np.abs(time[known] - np.median(time[known])) <= FAR_S]
    problems["samples over 7 days from the others"] = len(known) - len(near)
    milliseconds = np.round(time[near], 3)
    kept = increasing(milliseconds, strictly=True)
    dropped = milliseconds[~kept]
    again = int(np.isin(dropped, milliseconds[kept]).sum())
    problems["samples at a time that another has"] = again
    problems["samples that go back in time"] = len(dropped) - again
    return near[kept]


def _distance_km(
    recorded: Float, latitude: Float, longitude: Float, problems: Counter[str]
) -> Float:
    """The recorded distance, else along the positions; one that stays 0 was not measured."""
    known = np.flatnonzero(np.isfinite(recorded))
    if not recorded[known].any():
        return along(latitude, longitude)
    kept = known[increasing(recorded[known], strictly=False)]
    problems["distances that fall back"] = len(known) - len(kept)
    distance = np.full(len(recorded), np.nan)
    distance[kept] = recorded[kept] / 1000.0
    return distance


def increasing(values: Float, *, strictly: bool) -> Bool:
    """Mask of a longest increasing (or, not strictly, non-decreasing) subsequence.

    Patience sorting, n log n; of equal values the first is kept.
    """
    steps = np.diff(values)
    if (steps > 0).all() or (not strictly and (steps >= 0).all()):
        return np.ones(len(values), dtype=bool)
    find = bisect_left if strictly else bisect_right
    tops: list[float] = []  # smallest last value of an increasing subsequence of each length
    rows: list[int] = []  # and the row it stands in
    before = np.full(len(values), -1, dtype=np.int64)
    for row, value in enumerate(values.tolist()):
        at = find(tops, value)
        if at < len(tops) and tops[at] == value:
            continue
        before[row] = rows[at - 1] if at else -1
        tops[at : at + 1] = [value]
        rows[at : at + 1] = [row]
    kept = np.zeros(len(values), dtype=bool)
    last = rows[-1]
    while last >= 0:
        kept[last] = True
        last = int(before[last])
    return kept


def haversine_km(lat_a: Float, lon_a: Float, lat_b: Float, lon_b: Float) -> Float:
    """Great-circle distance of positions in degrees.

    2 R asin sqrt(sin^2(dlat/2) + cos lat_a cos lat_b sin^2(dlon/2)), R = 6,371.0088 km.
    """
    a, b = np.radians(lat_a), np.radians(lat_b)
    across = np.radians(lon_b - lon_a)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(across / 2) ** 2
    distance: Float = 2 * EARTH_M / 1000.0 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    return distance


def along(latitude: Float, longitude: Float) -> Float:
    """Cumulative km along the known positions, from 0 at the first; NaN elsewhere."""
    known = np.flatnonzero(np.isfinite(latitude) & np.isfinite(longitude))
    lat, lon = latitude[known], longitude[known]
    distance = np.full(len(latitude), np.nan)
    steps = haversine_km(lat[:-1], lon[:-1], lat[1:], lon[1:])
    distance[known] = np.concatenate([[0.0], np.cumsum(steps)])[: len(known)]
    return distance
