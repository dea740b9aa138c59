"""What a person sees of training, all of it on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm  # type: ignore[import-untyped]


def epoch_line(row: dict[str, float], best: bool, epochs: int, figure: str) -> str:
    """`epoch  3/50  train 0.1234  val 0.2345  mae 5.67 bpm  1.2 s  best`.

    figure: name of the metric that is shown, `val/mae_bpm`; val/top1 is a percentage.
    """
    of = f"/{epochs}" if epochs > 0 else ""
    parts = [f"epoch {int(row['epoch']):>{len(str(epochs))}}{of}"]
    for label, name in (("train", "train/loss"), ("val", "val/loss")):
        if name in row:
            parts.append(f"{label} {row[name]:.4g}")
    if figure in row:
        name, _, unit = figure.removeprefix("val/").partition("_")
        parts.append(f"{name} {row[figure]:.2f} {unit.replace('_', '/') or '%'}")
    parts.append(f"{row['seconds']:.1f} s")
    return "  ".join([*parts, "best"] if best else parts)


def epoch_printer(epochs: int, figure: str) -> Callable[[dict[str, float], bool], None]:
    """Prints one line an epoch."""

    def tell(row: dict[str, float], best: bool) -> None:
        print(epoch_line(row, best, epochs, figure), file=sys.stderr, flush=True)

    return tell


class EpochBar(Callback):
    """A bar over the steps of the epoch in hand, gone when the epoch's line is printed."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.bar is None:  # here, since an epoch that is resumed does not start again
            self.bar = tqdm(
                desc=f"epoch {trainer.current_epoch + 1}",
                total=int(trainer.num_training_batches),
                initial=batch_idx,
                leave=False,
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.bar.update()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}, validating")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
