"""A file in Endomondo's format, and a reader of it that is slow and obvious."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitexp.data.workouts.table import WorkoutTable

SPORTS = ("run", "bike", "mountain bike", "bike (transport)")


def workout(number: int, user: int, points: int = 500, seconds: float = 3600.0) -> dict[str, Any]:
    """One line's dictionary: a hilly loop at uneven times, heart rate following the hills."""
    rng = np.random.default_rng(number)
    gaps = rng.integers(1, max(2, round(2 * seconds / points)), points)
    time = 1_400_000_000 + 86_400 * 2 * number + np.cumsum(gaps)
    way = np.cumsum(gaps * rng.uniform(2.0, 4.0, points)) / 111_000  # degrees
    hill = np.sin(way * 300 + number)
    found = {
        "speed": rng.uniform(5, 20, points).tolist(),
        "altitude": np.round(40 + 20 * hill, 1).tolist(),
        "gender": ("male", "female", "unknown")[user % 3],
        "heart_rate": (130 + 15 * hill + rng.normal(0, 2, points)).astype(int).tolist(),
        "id": 396_826_535 + number,
        "url": f"https://www.example.org/users/{user}/workouts/{396_826_535 + number}",
        "userId": user,
        "timestamp": time.tolist(),
        "longitude": (24.64977 + np.cos(way)).tolist(),
        "latitude": (60.17334 + way / 3).tolist(),
        "sport": SPORTS[number % len(SPORTS)],
    }
    if number % 5:
        del found["speed"]
    return found


def line(fields: dict[str, Any]) -> bytes:
    return f"{fields!r}\n".encode()


def write(path: Path, users: int, workouts: int, points: int = 500, seconds: float = 3600) -> Path:
    with path.open("wb") as file:
        for number in range(users * workouts):
            file.write(line(workout(number, 10_921_000 + number % users, points, seconds)))
    return path


def read_plainly(path: Path) -> WorkoutTable:
    """Every line by literal_eval, every point by itself; for files without any fault."""
    sessions, samples = [], []
    with path.open(encoding="utf-8") as file:
        for text in file:
            w = ast.literal_eval(text)
            start, km = w["timestamp"][0], 0.0
            for i, seconds in enumerate(w["timestamp"]):
                if i:
                    before = (w["latitude"][i - 1], w["longitude"][i - 1])
                    km += _haversine(*before, w["latitude"][i], w["longitude"][i])
                bpm, metres = float(w["heart_rate"][i]), w["altitude"][i]
                samples.append((len(sessions), float(seconds - start), bpm, metres, km, math.nan))
            sessions.append((str(w["id"]), str(w["userId"]), w["sport"], w["gender"], float(start)))
    columns = ["session", "time_s", "heart_rate_bpm", "altitude_m", "distance_km", "speed_km_h"]
    kinds = dict.fromkeys(columns[2:], np.float32)
    names = ["workout", "athlete", "sport", "gender", "start"]
    return WorkoutTable(
        sessions=pd.DataFrame(sessions, columns=names),
        samples=pd.DataFrame(samples, columns=columns).astype({"session": np.int32, **kinds}),
        simulated=False,
        name="plain",
        rejected={},
    )


def _haversine(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    a, b = math.radians(lat1), math.radians(lat2)
    dlat, dlon = b - a, math.radians(lon2 - lon1)
    h = math.sin(dlat / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(dlon / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))
