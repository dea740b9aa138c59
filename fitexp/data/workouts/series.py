"""One workout's samples to even steps and their derived series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitexp.data.sequences import (
    Float,
    Int,
    centred_mean,
    forward_fill,
    interpolate,
    pieces,
)

MAX_SPEED_M_S = {"run": 9.0, "rowing": 9.0, "walk": 4.0, "swim": 4.0}  # above: a device error
MAX_SPEED_OTHER_M_S = 25.0
MIN_ALTITUDE_M = -450.0
MAX_VERTICAL_M_S = 1.5
MAX_GRADE = 0.5
SERIES = (
    "heart_rate",
    "derived_speed",
    "speed",
    "altitude",
    "grade",
    "vertical_speed",
    "distance",
    "time_elapsed",
    "total_time",
)


@dataclass(frozen=True)
class Samples:
    """A workout as recorded, n samples; NaN is missing. Units as the names say."""

    sport: str
    time_s: Float
    heart_rate_bpm: Float
    speed_km_h: Float
    altitude_m: Float
    distance_km: Float
    expected_heart_rate_bpm: Float | None


@dataclass(frozen=True)
class Steps:
    """A workout on an even grid, n steps. `values` has one row a series of SERIES (NaN missing).

    heart_rate bpm, derived_speed and speed km/h, altitude m (mean over 30 s), grade (rise over
    run), vertical_speed m/s, distance km from the start, time_elapsed and total_time s.
    piece: number of the uninterrupted piece that a step belongs to; expected: a simulator's
    noise-free heart rate or NaN.
    """

    values: dict[str, Float]
    piece: Int
    expected: Float


def clean(samples: Samples) -> Samples:
    """Device errors to missing: impossible speeds for the sport, altitudes below -450 m."""
    limit = MAX_SPEED_M_S.get(samples.sport, MAX_SPEED_OTHER_M_S) * 3.6
    speed, altitude = samples.speed_km_h, samples.altitude_m
    return Samples(
        sport=samples.sport,
        time_s=samples.time_s,
        heart_rate_bpm=samples.heart_rate_bpm,
        speed_km_h=np.where((speed < 0) | (speed > limit), np.nan, speed),
        altitude_m=np.where(altitude < MIN_ALTITUDE_M, np.nan, altitude),
        distance_km=samples.distance_km,
        expected_heart_rate_bpm=samples.expected_heart_rate_bpm,
    )


def to_steps(
    samples: Samples,
    *,
    grid: str,
    step: float,
    max_gap_s: float,
    max_target_gap_s: float,
    min_piece_steps: int,
) -> tuple[Steps | None, int]:
    """Resample a workout: grid "time" (`step` in s) or "distance" (`step` in m).

    The workout is cut where samples are more than `max_gap_s` apart; pieces under
    `min_piece_steps` steps are dropped (their number is the second result), the others are joined
    and keep their true elapsed time. A time grid starts at a piece's first sample; a distance
    grid at its first metre, and its step k is the time at which k * step metres were covered.
    Values between samples are linear; a hole of over `max_gap_s` in one series stays missing, in
    heart rate one of over `max_target_gap_s`: a step must not know of much later samples.
    derived_speed of step k is 3.6 * (distance k - distance k-1) / (time k - time k-1); it falls
    back on the recorded speed where there is no distance, and is missing where a device error
    (see MAX_SPEED_M_S) would be needed to explain it. Returns None if no piece is left.
    """
    samples = clean(samples)
    kept: list[tuple[Float, Float, Float]] = []  # per piece: times, distances (km), speeds
    dropped = 0
    covered = _distance(samples, max_gap_s) if grid == "distance" else samples.distance_km
    for piece in pieces(samples.time_s, max_gap_s):
        time = samples.time_s[piece]
        if grid == "time":
            at = np.arange(time[0], time[-1] + 1e-6, step)
            distance = interpolate(at, time, covered[piece], max_gap_s)
            speed = _speed(distance, at)
        else:
            at, distance = _even_distances(time, covered[piece], step / 1000.0)
            speed = _speed(distance, at)
            at, distance, speed = at[1:], distance[1:], speed[1:]
        if len(at) < min_piece_steps:
            dropped += 1
        else:
            kept.append((at, distance, speed))
    if not kept:
        return None, dropped
    at = np.concatenate([k[0] for k in kept])
    distance = np.concatenate([k[1] for k in kept])
    derived = np.concatenate([k[2] for k in kept])
    piece_of = np.repeat(np.arange(len(kept)), [len(k[0]) for k in kept])

    def sampled(values: Float) -> Float:
        return interpolate(at, samples.time_s, values, max_gap_s)

    recorded = sampled(samples.speed_km_h)
    limit = MAX_SPEED_M_S.get(samples.sport, MAX_SPEED_OTHER_M_S) * 3.6
    derived = np.where(np.isnan(derived) & (grid == "time"), recorded, derived)
    derived = np.where((derived < 0) | (derived > limit), np.nan, derived)
    altitude = _per_piece(sampled(samples.altitude_m), piece_of, grid, step)
    rise = _change(altitude, piece_of, 3)
    seconds = _change(at, piece_of, 3)
    run_m = _change(_filled_distance(distance, derived, at), piece_of, 3) * 1000.0
    with np.errstate(invalid="ignore", divide="ignore"):
        vertical = np.where(seconds > 0, rise / seconds, 0.0)
        grade = np.where(run_m > 1.0, rise / run_m, 0.0)
    elapsed = at - samples.time_s[0]
    values = {
        "heart_rate": interpolate(at, samples.time_s, samples.heart_rate_bpm, max_target_gap_s),
        "derived_speed": derived,
        "speed": recorded,
        "altitude": altitude,
        "grade": grade.clip(-MAX_GRADE, MAX_GRADE),
        "vertical_speed": vertical.clip(-MAX_VERTICAL_M_S, MAX_VERTICAL_M_S),
        "distance": _filled_distance(distance, derived, at),
        "time_elapsed": elapsed,
        "total_time": np.full(len(at), samples.time_s[-1] - samples.time_s[0]),
    }
    expected = samples.expected_heart_rate_bpm
    floor = np.full(len(at), np.nan) if expected is None else sampled(expected)
    return Steps(values=values, piece=piece_of, expected=floor), dropped


def _distance(samples: Samples, max_gap_s: float) -> Float:
    """Distance covered in km, never falling; integrated from speed where it was not recorded."""
    known = np.isfinite(samples.distance_km)
    if known.sum() >= 2 and known.mean() > 0.5:
        return np.maximum.accumulate(forward_fill(samples.distance_km, 0.0))
    if not np.isfinite(samples.speed_km_h).any():
        return np.full(len(samples.time_s), np.nan)
    speed = np.nan_to_num(samples.speed_km_h)
    seconds = np.minimum(np.diff(samples.time_s, prepend=samples.time_s[0]), max_gap_s)
    return np.cumsum(speed * seconds / 3600.0)


def _even_distances(time: Float, distance: Float, step_km: float) -> tuple[Float, Float]:
    """Times at which multiples of `step_km` were covered, and those distances."""
    known = np.isfinite(distance)
    time, distance = time[known], distance[known]
    if len(distance) < 2 or distance[-1] - distance[0] < step_km:
        return np.zeros(0), np.zeros(0)
    # the last sample at a distance: standing time counts towards the step that follows it
    last = np.append(np.diff(distance) > 0, True)
    first = np.append(True, np.diff(distance) > 0)
    corners = last | first
    at = np.arange(distance[0], distance[-1] + 1e-9, step_km)
    index = np.searchsorted(distance[corners], at, side="left").clip(0, corners.sum() - 1)
    d, t = distance[corners], time[corners]
    before = np.maximum(index - 1, 0)
    width = d[index] - d[before]
    share = np.where(width > 0, (at - d[before]) / np.where(width > 0, width, 1.0), 1.0)
    return t[before] + share * (t[index] - t[before]), at


def _speed(distance_km: Float, time_s: Float) -> Float:
    """km/h from step to step; the first step takes the second's; previous value where time stood.

    The plan is known beforehand, so the first step may look one step ahead.
    """
    if len(time_s) < 2:
        return np.full(len(time_s), np.nan)
    seconds = np.diff(time_s)
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = np.where(seconds > 0, 3600.0 * np.diff(distance_km) / seconds, np.nan)
    stood = seconds <= 0
    if stood.any():
        speed = np.where(stood, forward_fill(np.where(stood, np.nan, speed)), speed)
    return np.concatenate([speed[:1], speed])


def _filled_distance(distance_km: Float, speed_km_h: Float, time_s: Float) -> Float:
    """Distance from the start; integrated from speed where any of it was not recorded."""
    if np.isfinite(distance_km).all():
        shifted: Float = distance_km - distance_km[0]
        return shifted
    hours = np.diff(time_s, prepend=time_s[0]).clip(0) / 3600.0
    return np.cumsum(np.nan_to_num(speed_km_h) * hours)


def _per_piece(altitude: Float, piece: Int, grid: str, step: float) -> Float:
    """Altitude averaged over 30 s (time grid: 3 steps of 10 s) within each piece."""
    width = max(1, round(30.0 / step)) | 1 if grid == "time" else 3
    parts = [centred_mean(altitude[piece == p], width) for p in np.unique(piece)]
    return np.concatenate(parts)


def _change(values: Float, piece: Int, steps: int) -> Float:
    """Change over the last `steps` steps, fewer at the start of a piece; missing counts as 0."""
    filled = forward_fill(values, np.nan)
    start = np.searchsorted(piece, piece)  # first step of each step's piece
    back = np.maximum(np.arange(len(values)) - steps, start)
    return np.nan_to_num(filled - filled[back])
