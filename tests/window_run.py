"""A finished run of windows without a training: the weights are those it would start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from fitexp import compose, targets, worker
from fitexp.run import BEST, Run
from tests.data.windows.made import T
from tests.toy_run import ALLOW, CONF


def window_config(model: str = "window_averages", loss: str = "mse", **overrides: Any) -> Any:
    """conf/train.yaml with a model of windows on made epochs; overrides have __ for each dot."""

    def read(name: str) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text())
        return {k: v for k, v in values.items() if k not in ("defaults", "hydra")}

    chosen = read(f"model/{model}")
    source = {"_target_": "tests.data.windows.made.made_epochs", "users": 12, "seed": 0}
    data = {**read("data/_windows"), "path": None, "source": source, "baselines": {}}
    data |= {"steps": T, "min_wear_h": 0, "fractions": [0.5, 0.25, 0.25]}
    data |= {**chosen.get("data", {}), "from_step": 0}
    config = read("train") | {"data": data, "loss": read(f"loss/{loss}")}
    config |= {"task": read("task/forecast") | chosen.get("task", {})}
    config |= {"model": compose.strip(chosen).get("model", chosen)}
    config |= {"optimizer": read("optimizer/adam"), "accelerator": read("accelerator/cpu")}
    heads = config["loss"].get("heads")
    config["task"]["heads"] = heads
    if "heads" in config["model"]:
        config["model"]["heads"] = heads
    for key, value in overrides.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    return config


def window_run(folder: Path, model: str = "window_averages", **overrides: Any) -> Run:
    """A run folder as after a training of no step, tested."""
    config = window_config(model, **overrides)
    prepared = targets.build(config["data"], ALLOW).prepare(allow=ALLOW)
    fields = {"data_hash": prepared.report["data_hash"], "identity": str(folder), "choices": {}}
    run = Run.create(folder, config, prepared.spec.to_dict(), fields)
    with run.working():
        if model != "window_averages":
            worker.fit(run, prepared, ALLOW)
        else:
            torch.manual_seed(0)
            module = worker.build_module(config, prepared.spec, ALLOW)
            torch.save({"state_dict": module.state_dict(), "epoch": 1}, run.file(BEST))
        worker.test(run, prepared, ALLOW)
    return run
