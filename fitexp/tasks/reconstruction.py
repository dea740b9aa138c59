"""The task of networks that give back what they were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitexp.data.batches import Batch
from fitexp.data.spec import WindowSpec
from fitexp.tasks.task import Task, over_ranks


class Reconstruction(Task):
    """Train, validate and ask an autoencoder of windows: the loss between x and what it answers.

    The mean over all steps and inputs of the global batch's windows, in scaled units. Logged:
    train/loss, val/loss.
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
    ) -> None:
        super().__init__(model=model, loss=loss, optimizer=optimizer, figures=2)
        self.spec = spec

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
        return cast(Tensor, self.model(self.inputs(batch)))

    def summed_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum over windows of their mean loss, and how many they are (this rank)."""
        there = (batch["mask"] > 0).any(dim=1)  # an empty share of a rank has a masked window
        own = self.loss(self._again(batch), batch["x"]).mean(dim=(1, 2))
        return (own * there).sum(), there.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.add_to_validation(*self.summed_loss(batch))

    def on_validation_epoch_end(self) -> None:
        loss, count = over_ranks(self.val_sums).tolist()
        self.log("val/loss", loss / count if count else float("nan"))
