"""A finished run of exercises without a training: the weights are those it would start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from fitexp import targets, worker
from fitexp.compose import strip
from fitexp.run import BEST, Run
from tests.data.exercises.made import random_histories
from tests.toy_run import ALLOW, CONF

HISTORIES = random_histories(users=6, events=9, items=7, seed=3)


def exercise_config(model: str, **overrides: Any) -> dict[str, Any]:
    """conf/train.yaml with a model of exercises on made events; overrides have __ for each dot."""

    def read(name: str) -> dict[str, Any]:
        values: dict[str, Any] = strip(yaml.safe_load((CONF / f"{name}.yaml").read_text()))
        return {k: v for k, v in values.items() if k not in ("defaults", "hydra")}

    chosen = read(f"model/{model}")
    source = {"_target_": "tests.data.exercises.made.source", "histories": HISTORIES}
    data = {**read("data/_exercises"), "path": None, "source": source, "baselines": {}}
    config = read("train") | {"data": data | chosen.get("data", {})}
    config |= {"model": chosen.get("model", chosen), "task": read("task/ranking")}
    config |= {"loss": read("loss/cross_entropy"), "optimizer": read("optimizer/adam")}
    config["accelerator"] = read("accelerator/cpu")
    for key, value in overrides.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    return config


def exercise_run(folder: Path, model: str = "exercise_attn", **overrides: Any) -> Run:
    """A run folder as after a training of no step, tested."""
    config = exercise_config(model, **overrides)
    prepared = targets.build(config["data"], ALLOW).prepare(allow=ALLOW)
    fields = {"data_hash": prepared.report["data_hash"], "identity": "0", "choices": {}}
    run = Run.create(folder, config, prepared.spec.to_dict(), fields)
    with run.working():
        if "trigram" in model:
            worker.fit(run, prepared, ALLOW)
        else:
            torch.manual_seed(0)
            module = worker.build_module(config, prepared.spec, ALLOW)
            for weights in module.parameters():
                weights.data.mul_(1.5)  # answers differ from person to person
            torch.save({"state_dict": module.state_dict(), "epoch": 1}, run.file(BEST))
        worker.test(run, prepared, ALLOW)
    return run
