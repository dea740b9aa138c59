"""Small made epochs for tests: two series, a known heart rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fitexp.data.prepare import Prepared
from fitexp.data.windows.epochs import Epochs, Recording
from fitexp.data.windows.protocol import Windows, arrays_of

SERIES = ("counts", "steps")
T = 8


def recording(user: int, rows: int = 50) -> Recording:
    """heart rate 60 + user + 0.1 row; series from a generator of the user."""
    rng = np.random.default_rng(user)
    return Recording(
        user=f"u{user}",
        start_s=1_600_000_000.0 + 3600 * user,
        series=rng.gamma(1.0, 10.0, (rows, 2)).astype(np.float32),
        heart_rate=(60 + user + 0.1 * np.arange(rows)).astype(np.float32),
    )


def made_epochs(
    *,
    path: str | None = None,
    users: int = 12,
    recordings: list[Recording] | None = None,
    seed: int = 0,
) -> Epochs:
    """seed: others are other people."""
    given = recordings or [recording(100 * seed + user, 50 + user) for user in range(users)]

    def stream() -> Iterator[Recording]:
        yield from given

    people = pd.DataFrame(
        {
            "age_years": np.arange(len(given), dtype=np.float64) + 30,
            "resting_hr_bpm": 60.0 + np.arange(len(given)),
        },
        index=[one.user for one in given],
    )
    return Epochs(
        source="made",
        simulated=False,
        series=SERIES,
        step_s=15.0,
        users=people,
        recordings=stream,
        rejected={},
        notes={"heart rate": "made"},
    )


def protocol(**changed: Any) -> Windows:
    """The keys of conf/data/_windows.yaml, for small windows."""
    conf = Path(__file__).parents[3] / "conf" / "data" / "_windows.yaml"
    values = yaml.safe_load(conf.read_text(encoding="utf-8"))
    values = {k: v for k, v in values.items() if k not in ("_target_", "defaults")}
    values |= {"path": None, "source": {}, "baselines": {}, "steps": T, "min_wear_h": 0}
    return Windows(**values | changed)


def prepared(folder: Path, epochs: Epochs | None = None, **changed: Any) -> Prepared:
    """As the cache would hand it on."""
    made = arrays_of(protocol(**changed), epochs or made_epochs(), folder)
    arrays = dict(made.arrays)
    arrays["series"] = np.load(folder / "series.npy")
    return Prepared(made.spec, arrays, made.report)
