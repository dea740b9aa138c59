"""TensorBoard events of a run, in the run folder itself."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from fitexp.checkpoints import load_checkpoint
from fitexp.data.spec import Spec
from fitexp.run import LAST, PLOTS, Run


class RunEvents(TensorBoardLogger):
    """Lightning's logger without a file of hyperparameters beside the events."""

    def save(self) -> None:
        self.experiment.flush()


def run_logger(run: Run, config: Mapping[str, Any], spec: Spec, done: int | None) -> RunEvents:
    """A logger whose HPARAMS tab is filled: the flat config and the metrics to come.

    done: steps of the checkpoint that training goes on from, None at the start. Points after it
    come once more, so TensorBoard is told to forget the old ones.
    """
    logger = RunEvents(
        run.path,
        name="",
        version="",
        default_hp_metric=False,
        purge_step=done,
    )
    if done is None and os.environ.get("RANK", "0") == "0":
        values = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in flat(config).items()
        }
        names = [f"{part}/{e}_{spec.unit}" for part in ("val", "test") for e in ("mae", "rmse")]
        writer = logger.experiment.file_writer
        for summary in hparams(values, dict.fromkeys(names, math.nan)):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)
        logger.experiment.flush()
    return logger


def log_results(run: Run) -> None:
    """Metrics and pictures of the test into the run's events, at the last step trained."""
    from matplotlib.image import imread

    step = 0
    if run.file(LAST).is_file():
        step = int(load_checkpoint(run.file(LAST))["global_step"])
    with SummaryWriter(log_dir=str(run.path)) as writer:
        for name, value in run.metrics.items():
            if math.isfinite(value) and "test/" in name:
                writer.add_scalar(name, value, step)
        for picture in sorted(run.file(PLOTS).glob("*.png")):
            pixels = np.asarray(imread(picture))[..., :3]
            writer.add_image(f"test/{picture.stem}", pixels, step, dataformats="HWC")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
