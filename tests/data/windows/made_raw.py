"""A made study in the files that `raw_acceleration` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fitexp.data.windows.epochs import Epochs
from fitexp.data.windows.raw import raw_acceleration

RATE_HZ = 20.0
START_S = 1_709_280_000.0  # 2024-03-01T08:00
CONF = Path(__file__).parents[3] / "conf" / "data" / "raw_acceleration.yaml"


def options() -> dict[str, Any]:
    """The reader's defaults."""
    source = dict(yaml.safe_load(CONF.read_text())["source"])
    source.pop("_target_")
    return source


def read(folder: Path, **other: Any) -> Epochs:
    return raw_acceleration(**(options() | {"path": str(folder)} | other))


def samples(minutes: float = 4.0, seed: int = 0) -> pd.DataFrame:
    """time (seconds since 1970), x, y, z: another pose every 20 s, with some shaking."""
    rng = np.random.default_rng(seed)
    n = int(minutes * 60 * RATE_HZ)
    poses = rng.normal(size=(n // 400 + 1, 3))
    a = np.repeat(poses / np.linalg.norm(poses, axis=1, keepdims=True), 400, axis=0)[:n]
    a += rng.normal(0.0, 0.003, a.shape)
    a[np.arange(n) % 400 >= 300] += rng.normal(
        0.0, 0.2, (int((np.arange(n) % 400 >= 300).sum()), 3)
    )
    frame = pd.DataFrame(a, columns=["x", "y", "z"]).round(4)
    frame.insert(0, "time", START_S + np.arange(n) / RATE_HZ)
    return frame


def write(frame: pd.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False, row_group_size=1000)
    else:
        frame.to_csv(file, index=False)


def study(folder: Path, users: tuple[str, ...] = ("a", "b")) -> Path:
    """acceleration/USER.csv, heart_rate.csv (every 5 s), users.csv."""
    rows = []
    for number, user in enumerate(users):
        frame = samples(seed=number)
        write(frame, folder / "acceleration" / f"{user}.csv")
        for k in range(0, len(frame), int(5 * RATE_HZ)):
            rows.append((user, frame["time"][k], 60.0 + 10 * number + k % 7))
    write(pd.DataFrame(rows, columns=["user", "time", "heart_rate"]), folder / "heart_rate.csv")
    people = pd.DataFrame({"user": users, "age_years": 40.0, "sex": "female"})
    write(people, folder / "users.csv")
    return folder
