"""Specs and batches of windows for tests of networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fitexp.data.spec import Scale, WindowSpec

STATICS = ("resting_hr_bpm", "age_years")


def window_spec(inputs: int = 10, steps: int = 12, **changed: Any) -> WindowSpec:
    names = tuple(f"s{i}" for i in range(inputs))
    values: dict[str, Any] = {
        "kind": "windows",
        "source": "made",
        "simulated": False,
        "protocol": {},
        "unit": "bpm",
        "steps": steps,
        "step_s": 15.0,
        "series": names,
        "inputs": names,
        "columns": STATICS,
        "statics": STATICS,
        "answers": "last",
        "from_step": 0,
        "scaled": "zscore",
        "scaling": {
            **{name: Scale(mean=2.0, sd=4.0) for name in (*names, *STATICS)},
            "heart_rate": Scale(mean=70.0, sd=15.0),
        },
    }
    return WindowSpec(**values | changed)


def window_batch(spec: WindowSpec, rows: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    S = spec.steps if spec.answers == "every" else 1

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    return {
        "x": random(rows, spec.steps, len(spec.inputs)),
        "valid": torch.ones(rows, spec.steps, dtype=torch.bool),
        "time": random(rows, 4),
        "statics": random(rows, len(spec.statics)),
        "rows": torch.arange(2 * rows).view(rows, 2),
        "y": 60 + 40 * random(rows, S),
        "mask": torch.ones(rows, S),
    }
