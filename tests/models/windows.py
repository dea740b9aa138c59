"""Small prepared windows, made at random."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from fitexp.models.fitted import FittedWindows
from fitexp.targets import build

CONF = Path(__file__).parents[2] / "conf"
STEPS, EACH = 20, 12  # steps of a window, windows of a user
SPEC: Any = SimpleNamespace(
    kind="windows",
    series=("enmo_mean", "vm_hpf_mean"),
    columns=("age_years", "resting_hr_bpm"),
    steps=STEPS,
    step_s=15.0,
    unit="bpm",
)


def made_windows(users: int = 8) -> dict[str, np.ndarray]:
    """The last but two users are trained on, then one to validate and one to test.

    Heart rate rises with the last movement and with the user's resting heart rate, which the
    last user has not told; a few steps are absent.
    """
    draw = np.random.default_rng(0)
    rows = users * EACH * STEPS
    series = draw.gamma(0.5, 40, (rows, 2)).astype(np.float32)
    series[draw.random(series.shape) < 0.02] = np.nan
    table = np.stack([draw.uniform(20, 60, users), draw.uniform(45, 75, users)], axis=1)
    user = np.repeat(np.arange(users), EACH)
    first = np.arange(users * EACH) * STEPS
    moved = np.nan_to_num(series[first + STEPS - 1, 1])
    target = table[user, 1] + 20 + 8 * np.log1p(moved) + draw.normal(0, 2, len(user))
    table[-1, 1] = np.nan
    number = np.arange(len(user))
    return {
        "series": series,
        "users": table.astype(np.float32),
        "window_first": first,
        "window_user": user,
        "target": target.astype(np.float32),
        "train": number[user < users - 2],
        "val": number[user == users - 2],
        "test": number[user == users - 1],
    }


def fitted_windows(arrays: dict[str, np.ndarray], name: str, **changed: Any) -> FittedWindows:
    """conf/model/NAME.yaml with changes, fitted."""
    node = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    base = node.pop("defaults")[0]
    if isinstance(base, str):
        node = yaml.safe_load((CONF / "model" / f"{base}.yaml").read_text()) | node
        del node["defaults"]
    model: FittedWindows = build(node | changed, spec=SPEC)
    model.check()
    model.fit(arrays)
    return model
