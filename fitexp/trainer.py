"""The only builder of a Trainer: what its config may say, devices, callbacks."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Set
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.strategies import DDPStrategy, Strategy

from fitexp import events, progress, targets
from fitexp.checkpoints import RunCheckpoints, StopFlag
from fitexp.data.spec import Spec
from fitexp.errors import InputError
from fitexp.run import Run

Config = Mapping[str, Any]
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
OURS = {  # arguments of the Trainer that fitexp gives itself
    "accelerator",
    "callbacks",
    "default_root_dir",
    "deterministic",
    "devices",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "logger",
    "num_nodes",
    "num_sanity_val_steps",
    "plugins",
    "strategy",
    "use_distributed_sampler",
}
OURS_IN_STOPPING = {"mode", "strict", "verbose", "check_on_train_epoch_end", "log_rank_zero_only"}
PROFILERS: Mapping[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
LOG_EVERY = 50  # steps between points of train/loss_step; fewer where an epoch has fewer


def build_trainer(
    run: Run, config: Config, spec: Spec, stop: StopFlag, batches: int, done: int | None
) -> pl.Trainer:
    """Lightning's Trainer of a run's config, its checkpoints, events and progress.

    batches: of an epoch; done: optimizer steps of the checkpoint that training goes on from.
    Raises InputError for keys that it does not take or that are fitexp's to give.
    """
    if not batches:
        raise InputError("the training part has no windows (data.split, data.fractions)")
    given = dict(config["trainer"])
    check_share(config, batches)
    _check_keys("trainer", given, pl.Trainer, OURS)
    _check_keys("early_stopping", config["early_stopping"], EarlyStopping, OURS_IN_STOPPING)
    given.pop("overfit_batches", None)  # done by the data: Lightning's way is for DataLoaders
    profiler = _profiler(run, given.pop("profiler", None))
    wanted = config["accelerator"]["accelerator"]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy: str | Strategy = "auto"
    if world > 1:
        on_gpu = device_of(config).startswith("cuda")
        strategy = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo")
        given.setdefault("sync_batchnorm", on_gpu)
    epochs = given.get("max_epochs")
    given.setdefault("log_every_n_steps", max(1, min(LOG_EVERY, batches)))
    monitor = _monitor(config, spec)
    callbacks: list[Callback] = [
        RunCheckpoints(
            run.path,
            monitor=monitor,
            every_minutes=config["checkpoint"]["every_minutes"],
            every_steps=config["checkpoint"]["every_steps"],
            stop=stop,
            on_epoch=progress.epoch_printer(
                -1 if epochs is None else int(epochs), spec.val_figures[0]
            ),
        )
    ]
    if config["early_stopping"].get("patience") is not None:
        callbacks.append(
            EarlyStopping(**config["early_stopping"], strict=False, check_on_train_epoch_end=True)
        )
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        callbacks.append(progress.EpochBar())
    try:
        trainer = pl.Trainer(
            accelerator=wanted,
            devices=_local_devices(config),
            num_nodes=world // int(os.environ.get("LOCAL_WORLD_SIZE", world)),
            strategy=strategy,
            plugins=[TorchElasticEnvironment() if world > 1 else LightningEnvironment()],
            logger=events.run_logger(run, config, spec, done),
            callbacks=callbacks,
            default_root_dir=run.path,
            deterministic=_deterministic(config),
            enable_checkpointing=True,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            profiler=profiler,
            use_distributed_sampler=False,
            **given,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"accelerator or trainer: {first}") from error
    if wanted == "auto" and trainer.is_global_zero:
        chosen = type(trainer.accelerator).__name__.removesuffix("Accelerator").lower()
        print(f"fitexp: training on {chosen} (accelerator=auto)", file=sys.stderr)
    return trainer


@contextlib.contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Numbers below 1e-38 are 0 in this thread, then no longer.

    A recurrent network that answers from its last state hands early steps gradients so small that
    the processor needs many times as long for each of them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def check_share(config: Config, batches: int) -> None:
    """Raise InputError where trainer.limit_train_batches, a share, leaves no batch of an epoch."""
    share = config["trainer"].get("limit_train_batches", 1.0)
    if isinstance(share, float) and int(share * batches) < 1:
        denser = ", or train on denser windows (data.train_stride)" * (
            "train_stride" in config["data"]
        )
        raise InputError(
            f"trainer.limit_train_batches={share:g} of {batches} batches is none: give 1.0, lower "
            f"data.batch_size={config['data']['batch_size']}{denser}"
        )


def check_ranges(config: Config) -> None:
    """Raise InputError for numbers that no training can have, before anything is built."""
    trainer, stopping, saving = (config[k] for k in ("trainer", "early_stopping", "checkpoint"))
    above_0 = {
        "trainer.limit_train_batches": trainer.get("limit_train_batches", 1.0),
        "trainer.limit_val_batches": trainer.get("limit_val_batches", 1.0),
        "trainer.accumulate_grad_batches": trainer.get("accumulate_grad_batches", 1),
        "checkpoint.every_minutes": saving["every_minutes"],
        "checkpoint.every_steps": saving["every_steps"],
    }
    for key, value in above_0.items():
        whole = key in ("checkpoint.every_steps", "trainer.accumulate_grad_batches")
        kind = int if whole else int | float
        if value is not None and not (isinstance(value, kind) and value > 0):
            raise InputError(f"{key}={value}: it takes a {'whole ' if whole else ''}number above 0")
    for key in ("max_epochs", "max_steps"):
        value = trainer.get(key)
        if value is not None and (not isinstance(value, int) or value == 0 or value < -1):
            raise InputError(
                f"trainer.{key}={value}: it takes a whole number above 0, or -1 for any"
            )
    patience = stopping.get("patience")
    if patience is not None and (not isinstance(patience, int) or patience < 0):
        raise InputError(f"early_stopping.patience={patience}: it takes a whole number or null")
    overfit = trainer.get("overfit_batches", 0)
    if not isinstance(overfit, int) or isinstance(overfit, bool) or overfit < 0:
        raise InputError(f"trainer.overfit_batches={overfit}: it takes a whole number, 0 up")
    profiler = trainer.get("profiler")
    if profiler is not None and str(profiler) not in PROFILERS:
        near = targets.did_you_mean(targets.closest(str(profiler), PROFILERS))
        choices = ", ".join([*PROFILERS, "null"])
        raise InputError(f"trainer.profiler={profiler}: it is one of {choices}{near}")
    if "fast_dev_run" in trainer:
        raise InputError(
            "trainer.fast_dev_run switches checkpoints off and leaves nothing to test: "
            "debug=fast_dev_run instead"
        )
    if trainer.get("check_val_every_n_epoch", 1) != 1:
        raise InputError("trainer.check_val_every_n_epoch: every epoch is validated; leave it out")


def _check_keys(place: str, given: Config, takes: type, ours: Set[str]) -> None:
    """Raise InputError for keys that a class of Lightning's does not take, or that are ours."""
    known = set(inspect.signature(takes).parameters)
    for key in given:
        if key in ours:
            raise InputError(f"{place}.{key} is given by fitexp and cannot be configured")
        if key not in known:
            near = targets.closest(key, known - ours)
            near = near and f"{place}.{near}"
            raise InputError(f"no key '{place}.{key}'{targets.did_you_mean(near)}")


def _monitor(config: Config, spec: Spec) -> str:
    """The figure that best.ckpt and early stopping go by."""
    monitor = str(config["early_stopping"]["monitor"])
    known = ["val/loss", *spec.val_figures, "train/loss"]
    if monitor not in known:
        near = targets.did_you_mean(targets.closest(monitor, known))
        raise InputError(f"early_stopping.monitor={monitor}: it is one of {', '.join(known)}{near}")
    return monitor


def _profiler(run: Run, word: str | None) -> Profiler | None:
    """Lightning's profiler, writing into the run folder as training ends; the file is named."""
    if word is None:
        return None
    if os.environ.get("RANK", "0") == "0":
        name = "fit-profile-RANK.txt" if "WORLD_SIZE" in os.environ else "fit-profile.txt"
        print(f"fitexp: training is timed into {run.file(name)}", file=sys.stderr)
    return PROFILERS[word](dirpath=run.path, filename="profile")


def processes(config: Config) -> int:
    """How many a training takes, one a device. Raises InputError for devices that are not here."""
    kind, devices = config["accelerator"]["accelerator"], config["accelerator"]["devices"]
    if kind not in ACCELERATORS:
        raise InputError(f"accelerator.accelerator={kind}: it is one of {', '.join(ACCELERATORS)}")
    if kind in ("gpu", "cuda") and not torch.cuda.is_available():
        raise InputError(f"accelerator={kind}: torch sees no such device here; accelerator=cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("accelerator=mps: torch sees no such device here; accelerator=cpu")
    if isinstance(devices, int) and not isinstance(devices, bool) and devices >= 1:
        return devices
    if isinstance(devices, list) and devices and device_of(config).startswith("cuda"):
        return len(devices)
    raise InputError(f"accelerator.devices={devices}: a number of devices, or a list of GPUs")


def _local_devices(config: Config) -> Any:
    if "WORLD_SIZE" in os.environ and isinstance(config["accelerator"]["devices"], int):
        return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    return config["accelerator"]["devices"]


def device_of(config: Config) -> str:
    """Name of the (first) torch device of a config's accelerator."""
    wanted, devices = config["accelerator"]["accelerator"], config["accelerator"]["devices"]
    first = devices[0] if isinstance(devices, list) else 0
    if wanted in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return f"cuda:{first}"
    if wanted in ("gpu", "mps", "auto") and torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _deterministic(config: Config) -> Any:
    """Deterministic algorithms, where anything is concurrent: not for one thread on a CPU.

    Filling fresh memory with NaN, which torch adds to them, would cost a third of a step.
    """
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    return False if device_of(config) == "cpu" and int(config["num_threads"]) == 1 else "warn"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's lines on devices, workers and logging intervals."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message="Total length of .* is zero")
            warnings.filterwarnings(
                "ignore", module=r"(torch\.profiler|pytorch_lightning\.profilers)\."
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
