"""The task of networks that give back what they were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitexp.data.batches import Batch
from fitexp.data.spec import WindowSpec
from fitexp.tasks.task import Task, over_ranks, wide, world

ANSWERS = ("y", "mask", "rows")  # never handed to a network


class Reconstruction(Task):
    """Train, validate and ask an autoencoder of windows: the loss between x and what it answers.

    The mean over all steps and inputs of the global batch's windows, in scaled units. Logged:
    train/loss, val/loss.
    """

    kind = "windows"

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterable[Any]], Optimizer],
        spec: WindowSpec,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.spec = spec
        self.train_sums = torch.zeros(2, dtype=torch.float64)  # loss, windows
        self.val_sums = torch.zeros(2, dtype=torch.float64)

    @staticmethod
    def sample() -> tuple[Tensor, Tensor, torch.Size]:
        return torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.Size([2, 3, 4])

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Of every window: "rows", "error" (B,) mean squared error, and "spread" (B,) that of
        answering each input's mean in the window."""
        with torch.no_grad():
            again = self._again(batch)
        x = batch["x"]
        return {
            "rows": batch["rows"],
            "error": (again - x).square().mean(dim=(1, 2)),
            "spread": x.var(dim=1, correction=0).mean(dim=1),
        }

    def _again(self, batch: Batch) -> Tensor:
        inputs = {name: values for name, values in batch.items() if name not in ANSWERS}
        return cast(Tensor, self.model(inputs))

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum over windows of their mean loss, and how many they are (this rank)."""
        there = (batch["mask"] > 0).any(dim=1)  # an empty share of a rank has a masked window
        own = self.loss(self._again(batch), batch["x"]).mean(dim=(1, 2))
        return (own * there).sum(), there.sum()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        total, count = self._step(batch)
        sums = over_ranks(torch.stack([total.detach(), count.to(total)]))
        self.train_sums = self.train_sums.to(sums.device, wide(sums)) + sums
        everyone = sums[1].clamp(min=1.0)
        self.log("train/loss_step", sums[0] / everyone, prog_bar=True)
        return total * (world() / everyone)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        total, count = self._step(batch)
        sums = torch.stack([total.to(wide(total)), count.to(wide(total))])
        self.val_sums = self.val_sums.to(sums.device, sums.dtype) + sums

    def on_train_epoch_end(self) -> None:
        loss, count = self.train_sums.tolist()
        self.log("train/loss", loss / max(count, 1.0))
        self.train_sums = torch.zeros_like(self.train_sums)

    def on_validation_epoch_start(self) -> None:
        self.val_sums = torch.zeros_like(self.val_sums)

    def on_validation_epoch_end(self) -> None:
        loss, count = over_ranks(self.val_sums).tolist()
        self.log("val/loss", loss / count if count else float("nan"))

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer(self.model.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_sums"] = self.train_sums.clone()  # of the epoch in progress

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_sums = checkpoint["train_sums"].clone()
