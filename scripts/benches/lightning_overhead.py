"""What Lightning costs: fitexp's training against a bare loop over the same batches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any
from unittest import mock

from benches._harness import Row, Side

STEPS = 14  # a side's run; the first two are not counted
FIRST = 2


@contextmanager
def run_folder(small: bool) -> Iterator[tuple[Any, Any]]:
    """(run, prepared data) of FitRec-Attn as it comes; in `small` narrow and in float64."""
    import yaml

    from fitexp import targets
    from fitexp.run import Run
    from tests.toy_run import CONF, toy_config

    config = toy_config(trainer__max_steps=3 if small else STEPS, trainer__limit_val_batches=1)
    config["model"] = yaml.safe_load((CONF / "model/fitrec_attn.yaml").read_text())["model"]
    config["trainer"]["max_epochs"] = -1
    if small:
        config["model"] |= {"hidden": 6, "context_hidden": 5, "context_width": 4}
        config["trainer"]["precision"] = "64-true"
    else:
        config["data"] |= {"steps": 300, "max_steps": 300, "batch_size": 16}
        config["data"]["source"] |= {"athletes": 10, "workouts": 30}
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"FITEXP_CACHE": str(Path(folder, "cache"))}),
        open(os.devnull, "w") as nowhere,
        mock.patch("sys.stderr", nowhere),
    ):
        prepared = targets.build(config["data"]).prepare()
        yield Run.create(Path(folder, "run"), config, prepared.spec.to_dict(), {}), prepared


def lightning(run: Any, prepared: Any) -> tuple[list[float], Any]:
    """CPU seconds at which each step began, and the weights in the end."""
    from fitexp import worker
    from fitexp.checkpoints import load_checkpoint
    from fitexp.run import BEST, LAST
    from fitexp.tasks.regression import Regression

    for name in (BEST, LAST):
        run.file(name).unlink(missing_ok=True)
    begun: list[float] = []
    step = Regression.training_step

    def timed(self: Any, batch: Any, batch_idx: int) -> Any:
        begun.append(process_time())
        return step(self, batch, batch_idx)

    with mock.patch.object(Regression, "training_step", timed):
        worker.fit(run, prepared)
    weights = load_checkpoint(run.file(LAST))["state_dict"]
    return begun, {name: value for name, value in weights.items() if name.startswith("model.")}


def bare(run: Any, prepared: Any) -> tuple[list[float], Any]:
    """The same steps as anyone would write them."""
    import pytorch_lightning as pl
    import torch

    from fitexp import worker
    from fitexp.data.spec import WorkoutSpec

    config = run.config
    torch.set_num_threads(1)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    module = worker.build_module(config, WorkoutSpec.from_dict(run.spec))
    wide = config["trainer"]["precision"] == "64-true"
    module.to(torch.float64 if wide else torch.float32).train()
    loader = worker.build_data(config, prepared).train_dataloader()
    optimizer = module.configure_optimizers()
    begun: list[float] = []
    while True:
        for batch in loader:
            if wide:
                batch = {
                    name: values.double() if values.is_floating_point() else values
                    for name, values in batch.items()
                }
            begun.append(process_time())
            optimizer.zero_grad()
            error = module.predict_scaled(batch) - module.scaler(batch["y"])
            loss = (error.square() * batch["mask"]).sum() / batch["mask"].sum()
            loss.backward()
            optimizer.step()
            if len(begun) == config["trainer"]["max_steps"]:
                return begun, {f"model.{k}": v for k, v in module.model.state_dict().items()}


def step_ms(train: Any) -> Side:
    def run() -> float:
        with run_folder(small=False) as (folder, prepared):
            begun, _ = train(folder, prepared)
        return (begun[-1] - begun[FIRST]) / (len(begun) - 1 - FIRST) * 1e3

    return run


def agree() -> None:
    with run_folder(small=True) as (folder, prepared):
        ours = lightning(folder, prepared)[1]
        reference = bare(folder, prepared)[1]
    assert ours.keys() == reference.keys()
    apart = max(float((ours[name] - reference[name]).abs().max()) for name in ours)
    assert apart < 1e-9, f"weights {apart:.1e} apart after 3 steps"


def rows() -> list[Row]:
    return [
        Row(
            name="lightning_overhead",
            unit="ms",
            note="a step of `fitexp train` (Lightning's Trainer, logging, checkpoint callback) "
            "with fitrec_attn, T = 300, B = 16; reference: a bare loop over the same batches; "
            "0.952 is an overhead of 5 %",
            target=0.952,
            sides=lambda: (step_ms(lightning), step_ms(bare)),
            agree=agree,
        )
    ]
