"""What every task is to the worker, and sums over the processes of a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from fitexp.data.batches import Batch
from fitexp.errors import InputError


class Task(LightningModule, ABC):
    """Trains, validates and asks a network on data of one kind.

    Minimised is the sum of the losses over what they are divided by, both of the global batch
    whatever the ranks; of several folds trained at once, the sum of these quotients. Logged:
    train/loss_step of a batch, train/loss pooled over the epoch (its mean over folds), val/loss and
    the val_figures of the data's spec.

    model: a network; loss: prediction and target -> losses; optimizer: parameters -> Optimizer.
    figures: how many sums validation keeps, the loss and its divisor among them. folds: how many
    are trained at once, None where there is no such thing.
    """

    kind: ClassVar[str]
    withheld: ClassVar[tuple[str, ...]]  # of a batch: never handed to a network as they are

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterable[Any]], Optimizer],
        figures: int,
        folds: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        parts = () if folds is None else (folds,)
        self.train_sums = torch.zeros(*parts, 2, dtype=torch.float64)  # loss, its divisor
        self.val_sums = torch.zeros(*parts, figures, dtype=torch.float64)

    @classmethod
    def check_loss(cls, loss: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
        """Raise InputError for a loss of another kind of task: it is tried on two rows."""
        prediction, target, shape = cls.sample()
        with torch.random.fork_rng(devices=[]):
            try:
                fits = loss(prediction, target).shape == shape
            except InputError:  # of its own keys
                raise
            except (RuntimeError, IndexError, ValueError, TypeError):
                fits = False
        if not fits:
            raise InputError(f"loss {name} is not for {cls.__name__}: choose another loss=")

    @staticmethod
    @abstractmethod
    def sample() -> tuple[Tensor, Tensor, torch.Size]:
        """A prediction and a target as the loss gets them, and the shape of its answer."""

    @abstractmethod
    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions by label, one row an answer; "rows" (N, 2) says what each is of."""

    @abstractmethod
    def summed_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the losses that count and what it is divided by, of this rank: () or (L,)."""

    def inputs(self, batch: Batch) -> Batch:
        """What a network may see of a batch."""
        return {name: values for name, values in batch.items() if name not in self.withheld}

    def start_over(self) -> None:
        """Forget what was predicted so far: a new pass over a loader begins."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        total, count = self.summed_loss(batch)
        sums = over_ranks(torch.stack([total.detach(), count.to(total)], dim=-1))
        self.train_sums = self.train_sums.to(sums.device, wide(sums)) + sums
        everyone = sums[..., 1].clamp(min=1.0)
        self.log("train/loss_step", (sums[..., 0] / everyone).mean(), prog_bar=True)
        return (total * (world() / everyone)).sum()  # ranks' gradients are averaged

    def on_train_epoch_end(self) -> None:
        total, count = self.train_sums.unbind(dim=-1)
        self.log("train/loss", (total / count.clamp(min=1.0)).mean())
        self.train_sums = torch.zeros_like(self.train_sums)

    def on_validation_epoch_start(self) -> None:
        self.start_over()
        self.val_sums = torch.zeros_like(self.val_sums)

    def add_to_validation(self, *figures: Tensor) -> None:
        """Add a batch's sums, () or (L,) each, to `val_sums`."""
        sums = torch.stack([figure.to(wide(figure)) for figure in figures], dim=-1)
        self.val_sums = self.val_sums.to(sums.device, sums.dtype) + sums

    def configure_optimizers(self) -> Any:
        groups = getattr(self.model, "parameter_groups", None)
        return self.optimizer(groups() if callable(groups) else self.model.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_sums"] = self.train_sums.clone()  # of the epoch in progress

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.train_sums = checkpoint["train_sums"].clone()


def wide(like: Tensor) -> torch.dtype:
    """float64, but float32 on the one device that has none."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def world() -> int:
    """Processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def over_ranks(sums: Tensor) -> Tensor:
    """The sum over all ranks."""
    if world() > 1:
        sums = sums.clone()
        dist.all_reduce(sums)
    return sums


def of_all_ranks(values: list[Any]) -> list[Any]:
    """All ranks' values, sorted, each once."""
    if world() == 1:
        return values
    gathered: list[Any] = [None] * world()
    dist.all_gather_object(gathered, values)
    return sorted({value for part in gathered for value in part})
