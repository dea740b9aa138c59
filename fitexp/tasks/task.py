"""What every task is to the worker, and sums over the processes of a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from fitexp.data.batches import Batch
from fitexp.errors import InputError


class Task(LightningModule, ABC):
    """Trains, validates and asks a network on data of one kind.

    A task logs train/loss, val/loss and the val_figures of its data's spec.
    """

    kind: ClassVar[str]
    model: nn.Module

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

    def start_over(self) -> None:
        """Forget what was predicted so far: a new pass over a loader begins."""


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
