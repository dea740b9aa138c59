"""A run small enough to be trained many times: a toy network on a few simulated workouts."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from fitexp import compose, targets
from fitexp.data.spec import WorkoutSpec
from fitexp.run import Run
from tests.data.workouts.made import trivial_nodes

ALLOW = (*targets.DEFAULT_ALLOW, "tests.")
CONF = Path(__file__).parents[1] / "conf"
SIGNAL = "TOY_SIGNAL"  # "SIGKILL:7": the process sends it to itself in its 7th training forward


class CrashError(RuntimeError):
    pass


class ToyModel(nn.Module):
    """tanh layer on [x_t; y_0; y_(t-1) or 0; user], dropout, linear head."""

    kind = "workouts"
    crash_at: int | None = None  # raise CrashError in this training forward of the process
    calls = 0

    def __init__(self, *, spec: WorkoutSpec, hidden: int, dropout: float) -> None:
        super().__init__()
        self.user = nn.Embedding(len(spec.attributes["user"]), 2)
        self.inner = nn.Linear(len(spec.inputs) + 4, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self.training:
            ToyModel.calls += 1
            name, _, call = os.environ.get(SIGNAL, "").partition(":")
            if name and ToyModel.calls == int(call):
                os.kill(os.getpid(), signal.Signals[name])
            if ToyModel.calls == ToyModel.crash_at:
                raise CrashError
        x = batch["x"]
        y0 = batch["y0"][:, None].expand(x.shape[:2])
        before = batch.get("y_previous", torch.zeros_like(y0))
        user = self.user(batch["attributes"][:, 0])[:, None].expand(-1, x.shape[1], -1)
        u = torch.cat([x, y0[..., None], before[..., None], user], dim=-1)
        return self.head(self.dropout(torch.tanh(self.inner(u))))[..., 0]


def toy_config(**overrides: Any) -> dict[str, Any]:
    """conf/train.yaml with the toy network; overrides have __ for each dot."""

    def read(name: str) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text())
        return {k: v for k, v in values.items() if k not in ("defaults", "hydra")}

    data = {**read("data/_workouts"), **read("data/workouts_sim")}
    data = compose.strip(data)
    data["baselines"] = trivial_nodes()
    data["source"] |= {"athletes": 4, "workouts": 10}
    data |= {"grid": "time", "step": 10.0, "inputs": ["derived_speed", "altitude"]}
    data |= {"steps": 30, "stride": 10, "max_steps": 60, "horizons": [1, 3], "batch_size": 8}
    config = read("train")
    config |= {"data": data, "loss": read("loss/mse"), "optimizer": read("optimizer/adam")}
    config["task"] = read("task/regression")
    config["accelerator"] = read("accelerator/cpu")
    config["model"] = {"_target_": "tests.toy_run.ToyModel", "hidden": 8, "dropout": 0.3}
    config["optimizer"]["lr"] = 0.05  # so high that the second and third epoch are not the best
    config["trainer"]["max_epochs"] = 4
    config["checkpoint"]["every_minutes"] = None
    for key, value in overrides.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    return config


def toy_run(folder: Path, **overrides: Any) -> Run:
    """A new run folder, its data prepared (FITEXP_CACHE)."""
    config = toy_config(**overrides)
    prepared = targets.build(config["data"]).prepare()
    fields = {"data_hash": prepared.report["data_hash"], "seed": config["seed"]}
    return Run.create(folder, config, prepared.spec.to_dict(), fields)


def curve(run: Run) -> list[list[str]]:
    """learning_curve.csv without its last column, the seconds."""
    lines = run.file("learning_curve.csv").read_text().splitlines()
    assert lines[0].split(",")[-1] == "seconds"
    return [line.split(",")[:-1] for line in lines]
