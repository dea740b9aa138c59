"""TensorBoard events of a run, in the run folder itself.

So a run's name in TensorBoard is its folder below the logdir. The HPARAMS tab takes its columns
from one run of the logdir: it is for a sweep, of one unit and regime.
"""

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
from fitexp.targets import TARGET


class RunEvents(TensorBoardLogger):
    """Lightning's logger without a file of hyperparameters beside the events."""

    def save(self) -> None:
        self.experiment.flush()


def run_logger(run: Run, config: Mapping[str, Any], spec: Spec, done: int | None) -> RunEvents:
    """A logger for training, its events preceded by what the HPARAMS tab is made of.

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
        for old in run.path.glob("events.out.tfevents.*"):  # of a start that saved nothing
            old.unlink()
        values = hyperparameters(config, run.manifest.get("choices") or {})
        names = dict.fromkeys(compared(spec), math.nan)
        experiment, session, _ = hparams(values, names)  # type: ignore[no-untyped-call]
        for summary in (experiment, session):
            logger.experiment.file_writer.add_summary(summary)
        logger.experiment.flush()
    return logger


def log_results(run: Run) -> None:
    """Figures and pictures of best.ckpt into the run's events, at the last step trained."""
    from matplotlib.image import imread

    steps = run.file(LAST).is_file()  # not of a model that is fitted at once
    step = int(load_checkpoint(run.file(LAST))["global_step"]) if steps else 0
    with SummaryWriter(log_dir=str(run.path), purge_step=step) as writer:  # a second test replaces
        for name, value in run.metrics.items():
            if "/by_" in name:  # some hundred figures of subgroups
                continue
            if math.isfinite(value) and "test/" in name:
                writer.add_scalar(name, value, step)
            elif math.isfinite(value) and name.startswith("val/"):
                writer.add_scalar(best_name(name), value, step)
        for picture in sorted(run.file(PLOTS).glob("*.png")):
            pixels = np.asarray(imread(picture))[..., :3]
            writer.add_image(f"test/{picture.stem}", pixels, step, dataformats="HWC")
        *_, success = hparams({}, {})  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(success)


def hyperparameters(
    config: Mapping[str, Any], choices: Mapping[str, str]
) -> dict[str, str | float]:
    """Columns of the HPARAMS tab: the choice of each config group, then the flat config.

    Numbers stay numbers, all else is a word as typed (true, a list as JSON). Left out: _target_s,
    which the choices stand for, and nulls: TensorBoard cannot sort words among numbers.
    """
    found: dict[str, str | float] = dict(choices)
    for name, value in flat(config).items():
        if name.rpartition(".")[2] == TARGET or value is None:
            continue
        word_or_number = isinstance(value, int | float | str) and not isinstance(value, bool)
        found[name] = value if word_or_number else json.dumps(value)
    return found


def compared(spec: Spec) -> list[str]:
    """Figures of the HPARAMS tab, of best.ckpt all of them."""
    return [*(best_name(name) for name in spec.val_figures), *spec.test_figures]


def best_name(name: str) -> str:
    """val/mae_bpm -> best/val_mae_bpm: of best.ckpt, where the curve is of every epoch."""
    return f"best/{name.replace('/', '_')}"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
