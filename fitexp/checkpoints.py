"""Files that training leaves in a run folder, and what makes resuming from them exact."""

from __future__ import annotations

import csv
import io
import math
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from fitexp.run import BEST, CURVE, LAST, write_text

GRACE_S = 3.0  # several processes: a launcher passes on a signal that every rank got already
STOP_FILE = "FITEXP_STOP_FILE"  # names a file whose existence asks this process to stop


class Interrupted(BaseException):
    """Training ended between two batches because a signal asked for it; last.ckpt is written."""


class StopFlag:
    """While entered, the first SIGINT or SIGTERM is noted; a second one stops at once.

    Handlers can be set in the main thread only. The file that STOP_FILE names counts as well.
    """

    def __init__(self, processes: int = 1) -> None:
        self.grace_s = 0.0 if processes == 1 else GRACE_S
        self.raised_at: float | None = None
        self.file = os.environ.get(STOP_FILE)
        self._before: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self.raised_at is not None or bool(self.file and os.path.exists(self.file))

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.getsignal(number)
            self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def listen(self) -> None:
        """Put the handlers (back) in place: Lightning sets its own as it starts."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.raised_at is None:
            self.raised_at = now
            if os.environ.get("RANK", "0") == "0":
                print(
                    "fitexp: stopping after this batch (once more to stop at once)",
                    file=sys.stderr,
                    flush=True,
                )
        elif now - self.raised_at >= self.grace_s:
            raise KeyboardInterrupt


class RunCheckpoints(Checkpoint):
    """best.ckpt, last.ckpt and learning_curve.csv of a run, each replaced in one step.

    last.ckpt: at every epoch's end, `every_minutes` after the last one and every `every_steps`
    optimizer steps (null: never), and before a stop that a signal asked for. best.ckpt: a copy of
    it after each epoch with a new lowest `monitor`; with no such figure, after every epoch.
    learning_curve.csv: one row an epoch (epochs count from 1; metrics as logged, learning rate of
    the first group of parameters, seconds); its rows travel in the checkpoint, so that a resumed
    run writes what an uninterrupted one would, seconds apart.

    Together with a loader that has a state, a resumed run is bit-identical on one machine: states
    of all random generators (of every rank) are saved, and restored before the first batch.

    on_epoch(row, best) is told every epoch's row and whether it was the best so far.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        monitor: str,
        every_minutes: float | None = None,
        every_steps: int | None = None,
        stop: StopFlag | None = None,
        on_epoch: Callable[[dict[str, float], bool], None] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.every_s = math.inf if every_minutes is None else 60.0 * every_minutes
        self.every_steps = every_steps
        self.stop = StopFlag() if stop is None else stop
        self.on_epoch = on_epoch
        self.curve: list[dict[str, float]] = []
        self.best: float | None = None
        self.stopped_early = False
        self.seconds = 0.0  # of the epoch in progress, before `_clock`
        self._clock = time.monotonic()
        self._saved = self._clock
        self._random: list[dict[str, Any]] | None = None
        self._stopping = False
        self._at_end_of_epoch = False

    # State within the checkpoint: plain values and tensors

    def state_dict(self) -> dict[str, Any]:
        return {
            "curve": [dict(row) for row in self.curve],
            "best": self.best,
            "stopped_early": self.stopped_early,
            "seconds": 0.0 if self._at_end_of_epoch else self._seconds(),
            "random": _gathered(random_state()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curve = [dict(row) for row in state_dict["curve"]]
        self.best = state_dict["best"]
        self.seconds = float(state_dict["seconds"])
        self._random = state_dict["random"]

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self._clock

    # Hooks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop.listen()
        self._clock = self._saved = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._stopping:
            raise Interrupted

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._random is not None:
            if trainer.global_rank < len(self._random):
                restore_random_state(self._random[trainer.global_rank])
            self._random = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if _enough_steps(trainer):
            trainer.should_stop = True  # so that Lightning validates before it ends
            return
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the epoch's end saves; between accumulated batches nothing can be saved
        due = time.monotonic() - self._saved >= self.every_s
        if self.every_steps:
            due = due or trainer.global_step % self.every_steps == 0
        stop, due = _any_rank(trainer, bool(self.stop), due)
        if stop or due:
            self._save(trainer, best=False)
        if stop:
            raise Interrupted

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if not name.endswith("_step")
        }
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row |= metrics
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        row["seconds"] = self._seconds()
        self.curve.append(row)
        value = metrics.get(self.monitor)
        best = value is None or (math.isfinite(value) and (self.best is None or value < self.best))
        if best:
            self.best = value
        self._stopping, _ = _any_rank(trainer, bool(self.stop), False)
        self.stopped_early = trainer.should_stop and not _enough_steps(trainer)
        self._at_end_of_epoch = True
        self._save(trainer, best)
        self._at_end_of_epoch = False
        self.seconds, self._clock = 0.0, time.monotonic()
        if trainer.is_global_zero:
            write_text(self.folder / CURVE, curve_text(self.curve))
            if self.on_epoch is not None:
                self.on_epoch(row, best)

    def _save(self, trainer: Trainer, best: bool) -> None:
        """last.ckpt, before it best.ckpt: if a crash comes between, the epoch is done again."""
        written = self.folder / f".{LAST}.new"
        trainer.save_checkpoint(written)  # every rank takes part, rank 0 writes
        if trainer.is_global_zero:
            if best:
                copy = self.folder / f".{BEST}.new"
                shutil.copyfile(written, copy)
                _replace(copy, self.folder / BEST)
            _replace(written, self.folder / LAST)
        self._saved = time.monotonic()


def curve_text(curve: list[dict[str, float]]) -> str:
    """The learning curve as CSV; a figure that an epoch has not is left empty."""
    ends = ("learning_rate", "seconds")
    names = list(dict.fromkeys(name for row in curve for name in row if name not in ends))
    text = io.StringIO()
    table = csv.DictWriter(text, [*names, *ends], lineterminator="\n")
    table.writeheader()
    for row in curve:
        table.writerow({name: f"{value:.9g}" for name, value in row.items()})
    return text.getvalue()


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint on the CPU; only tensors and plain values are ever unpickled."""
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} is not a checkpoint of fitexp")
    return loaded


def training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What `RunCheckpoints` kept in a checkpoint."""
    state: dict[str, Any] = checkpoint["callbacks"][RunCheckpoints.__qualname__]
    return state


def random_state() -> dict[str, Any]:
    """States of the generators of python, numpy, torch and the CUDA devices in use."""
    version, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": {
            "bit_generator": str(legacy["bit_generator"]),
            "key": legacy["state"]["key"].tolist(),
            "pos": int(legacy["state"]["pos"]),
            "has_gauss": int(legacy["has_gauss"]),
            "gauss": float(legacy["gauss"]),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    legacy = state["numpy"]
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": legacy["bit_generator"],
            "state": {"key": np.array(legacy["key"], dtype=np.uint32), "pos": legacy["pos"]},
            "has_gauss": legacy["has_gauss"],
            "gauss": legacy["gauss"],
        }
    )
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def _replace(written: Path, target: Path) -> None:
    with written.open("rb+") as file:
        os.fsync(file.fileno())
    written.replace(target)


def _enough_steps(trainer: Trainer) -> bool:
    return 0 <= trainer.max_steps <= trainer.global_step


def _gathered(value: Any) -> list[Any]:
    """Every rank's value, in the order of ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _any_rank(trainer: Trainer, *flags: bool) -> tuple[bool, ...]:
    """Each flag, up if it is up on any rank."""
    if trainer.world_size == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.int32, device=trainer.strategy.root_device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())
