"""The one task for what a window's activity says of the heart rate behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from fitexp.data.batches import Batch
from fitexp.data.spec import WindowSpec
from fitexp.errors import InputError
from fitexp.tasks.scaler import target_scaler
from fitexp.tasks.task import Task, over_ranks

MEDIAN = 0.5
HEADS = range(2, 21)  # outputs that a loss is tried with


class Forecast(Task):
    """Train, validate and ask a network that forecasts heart rate from a window of activity.

    The network answers (B, S, O); O = 1, or 1 + J where `heads` names J quantiles: the mean, then a
    value for each. Losses are of bpm, whatever the target_scaling: the joint loss depends on it.
    target_scaling zscore: the network's outputs are z-scores of training targets; none: they are
    bpm, and start at the training mean.
    one_cycle: the rate rises to optimizer.lr and falls to nothing until trainer.max_epochs or
    max_steps (Smith and Topin 2018, torch's OneCycleLR).
    The loss is the mean over what counts (mask 1). Logged too: val/rmse_bpm of the mean,
    val/mae_bpm of the median where there is one, else of the mean.
    """

    kind = "windows"
    withheld = ("y", "mask", "rows")

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterable[Any]], Optimizer],
        spec: WindowSpec,
        target_scaling: str,
        heads: Sequence[float] | None,
        one_cycle: bool,
    ) -> None:
        super().__init__(model=model, loss=loss, optimizer=optimizer, figures=4)
        for q in heads or ():
            if not 0 < q < 1:
                raise InputError(f"loss.heads: {q} is not between 0 and 1")
        self.spec = spec
        self.one_cycle = one_cycle
        self.quantiles = tuple(heads or ())
        self.scaler = target_scaler(target_scaling, spec.scaling["heart_rate"], model)
        self._check_heads()

    @staticmethod
    def sample() -> tuple[Tensor, Tensor, torch.Size]:
        return torch.zeros(5), torch.zeros(5), torch.Size([5])

    @classmethod
    def check_loss(cls, loss: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
        """Raise InputError for a loss that takes neither one output a row nor several."""
        if not any(_takes(loss, heads) for heads in (1, *HEADS)):
            raise InputError(f"loss {name} is not for {cls.__name__}: choose another loss=")

    def _check_heads(self) -> None:
        heads = 1 + len(self.quantiles)
        if not _takes(self.loss, heads):
            wanted = next((h for h in (1, *HEADS) if _takes(self.loss, h)), None)
            raise InputError(
                f"the loss takes {wanted} outputs, but task.heads={list(self.quantiles)} makes "
                f"{heads}: leave task.heads as they are, the loss's"
            )

    def outputs(self, batch: Batch) -> Tensor:
        """(B, S, O) in bpm."""
        inputs = self.inputs(batch)
        inputs["there"] = (batch["mask"] > 0).any(dim=1)  # not the one of an empty share
        answer = cast(Tensor, self.model(inputs))
        if answer.shape[1:] != (batch["y"].shape[1], 1 + len(self.quantiles)):
            raise InputError(
                f"the network answers {tuple(answer.shape[1:])} a window, but "
                f"data.answers={self.spec.answers} and loss.heads ask for "
                f"{(batch['y'].shape[1], 1 + len(self.quantiles))}"
            )
        return self.scaler.inverse(answer)

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Of every window: "rows" as the batch has them, "prediction" bpm, "quantiles" (B, J)."""
        with torch.no_grad():
            last = self.outputs(batch)[:, -1]
        found = {"rows": batch["rows"], "prediction": last[:, 0]}
        return found | ({"quantiles": last[:, 1:]} if self.quantiles else {})

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, the sum of the losses that count, and how many these are (this rank)."""
        outputs, mask = self.outputs(batch), batch["mask"]
        rows = outputs.flatten(0, 1)
        losses = self.loss(rows if self.quantiles else rows[:, 0], batch["y"].flatten())
        return outputs, torch.where(mask > 0, losses.view(mask.shape), 0.0).sum(), mask.sum()

    def summed_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        _, total, count = self._step(batch)
        return total, count

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        outputs, total, count = self._step(batch)
        y, mask = batch["y"], batch["mask"]
        middle = 1 + self.quantiles.index(MEDIAN) if MEDIAN in self.quantiles else 0
        absolute = ((outputs[..., middle] - y).abs() * mask).sum()
        square = ((outputs[..., 0] - y).square() * mask).sum()
        self.add_to_validation(total, count, absolute, square)

    def on_validation_epoch_end(self) -> None:
        loss, count, absolute, square = over_ranks(self.val_sums).tolist()
        count = count or float("nan")
        self.log("val/loss", loss / count)
        self.log(f"val/mae_{self.spec.unit}", absolute / count)
        self.log(f"val/rmse_{self.spec.unit}", (square / count) ** 0.5)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        if not self.one_cycle:
            return optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        schedule = OneCycleLR(optimizer, max_lr=rates, total_steps=self._steps())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _steps(self) -> int:
        """Optimizer steps until the training's end.

        Lightning's estimated_stepping_batches sets the loaders up before a checkpoint is read: a
        training that goes on in mid-epoch would then begin the epoch's batches again.
        """
        trainer = self.trainer
        epochs, limit = trainer.max_epochs, trainer.limit_train_batches
        ends = [trainer.max_steps] if trainer.max_steps >= 0 else []
        if epochs is not None and epochs >= 0:
            batches = len(cast(Any, trainer).datamodule.train_dataloader())
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
            ends.append(epochs * math.ceil(batches / trainer.accumulate_grad_batches))
        if not ends:
            raise InputError(
                "task.one_cycle=true: the rate falls until an end that must be known; give "
                "trainer.max_epochs or trainer.max_steps"
            )
        return min(ends)


def _takes(loss: Callable[[Tensor, Tensor], Tensor], heads: int) -> bool:
    rows = 23  # no number of heads
    with torch.random.fork_rng(devices=[]):
        try:
            made = torch.zeros(rows) if heads == 1 else torch.zeros(rows, heads)
            return loss(made, torch.zeros(rows)).shape == (rows,)
        except InputError:  # of its own keys
            raise
        except (RuntimeError, IndexError, ValueError, TypeError):
            return False
