"""Small made-up tables and protocols for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf

from fitexp.compose import strip
from fitexp.data.prepare import Prepared
from fitexp.data.workouts.protocol import Workouts
from fitexp.data.workouts.table import WorkoutTable
from fitexp.models.fitted import FittedSeries
from fitexp.targets import TARGET, build

CONF = Path(__file__).parents[3] / "conf"


def protocol(**changed: Any) -> Workouts:
    """conf/data/_workouts.yaml with changes, as `fitexp train` would compose it."""
    base = yaml.safe_load((CONF / "data/_workouts.yaml").read_text())
    base["path"] = None
    base["source"] = {"_target_": "fitexp.data.workouts.table.read_workout_table"}
    base["baselines"] = {}
    merged = OmegaConf.merge(base, changed)
    fields: dict[str, Any] = OmegaConf.to_container(merged, resolve=True)  # type: ignore[assignment]
    known = {k: v for k, v in strip(fields).items() if k not in ("_target_", "defaults")}
    return Workouts(**known)


def trivial_nodes() -> dict[str, dict[str, Any]]:
    """conf/model/: the means, by name."""
    nodes = {p.stem: yaml.safe_load(p.read_text()) for p in (CONF / "model").glob("*.yaml")}
    return {
        name: node
        for name, node in sorted(nodes.items())
        if str(node.get(TARGET)).startswith("fitexp.models.means.")
    }


def trivial(prepared: Prepared) -> dict[str, FittedSeries]:
    """The means that stand beside every run, fitted."""
    built = {n: build(node, spec=prepared.spec) for n, node in trivial_nodes().items()}
    found = {n: model for n, model in built.items() if model.stands_beside(prepared.arrays)}
    for model in found.values():
        model.fit(prepared.arrays)
    return found


def table(
    athletes: int = 4, workouts: int = 8, minutes: float = 12.0, seed: int = 0
) -> WorkoutTable:
    """Workouts of uneven length, one a day, irregular samples, heart rate following speed."""
    rng = np.random.default_rng(seed)
    sessions, parts = [], []
    for a in range(athletes):
        for w in range(workouts):
            n = int(rng.uniform(0.7, 1.0) * minutes * 60 / 4)
            time = np.cumsum(rng.uniform(2, 6, n)) - 2
            speed = 9 + a + 2 * np.sin(time / 60 + w) + rng.normal(0, 0.2, n)
            hr = 80 + 5 * speed + 4 * a + rng.normal(0, 1, n)
            parts.append(
                pd.DataFrame(
                    {
                        "session": np.full(n, len(sessions), np.int32),
                        "time_s": time,
                        "heart_rate_bpm": hr.astype(np.float32),
                        "speed_km_h": speed.astype(np.float32),
                        "altitude_m": (100 + 10 * np.sin(time / 90)).astype(np.float32),
                        "distance_km": np.cumsum(speed * np.diff(time, prepend=0) / 3600).astype(
                            np.float32
                        ),
                    }
                )
            )
            sessions.append(
                {
                    "workout": f"a{a}w{w}",
                    "athlete": f"athlete{a}",
                    "sport": ("run", "bike")[w % 2],
                    "gender": "unknown",
                    "start": 1.6e9 + 86400.0 * w,
                }
            )
    return WorkoutTable(
        sessions=pd.DataFrame(sessions),
        samples=pd.concat(parts, ignore_index=True),
        simulated=False,
        name="made",
        rejected={},
    )


def write_table(made: WorkoutTable, folder: Path) -> Path:
    """As the files that `read_workout_table` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"workout": "session_id", "athlete": "athlete_id", "start": "start_utc"}
    made.sessions.rename(columns=names).to_csv(folder / "sessions.csv", index=False)
    ids = made.sessions["workout"].to_numpy()[made.samples["session"]]
    names = {"time_s": "t_s", "heart_rate_bpm": "heart_rate"}
    samples = made.samples.drop(columns="session").rename(columns=names).assign(session_id=ids)
    samples.to_parquet(folder / "samples.parquet")
    return folder
