"""The LightningDataModule of every kind of data: whole batches of a prepared part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl

from fitexp.data.batches import Batches
from fitexp.data.prepare import Prepared


class PreparedBatches(pl.LightningDataModule, ABC):
    """Whole batches of prepared data; order of training batches is a function of (seed, epoch).

    batch_size: rows of a global batch, shared out among `world` ranks.
    overfit: batches to be learned by heart, which are training and validation part; 0: none.
    """

    def __init__(
        self,
        *,
        prepared: Prepared,
        batch_size: int,
        seed: int,
        overfit: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.overfit = overfit
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world

    @abstractmethod
    def gather(self, part: str, extra: int) -> Any:
        """Row numbers (B,) -> batch, with a length; `extra` steps behind each row."""

    def batches(self, part: str, extra: int = 0) -> Batches:
        """Batches of "train" (shuffled), "val" or "test"; `extra` steps behind each row."""
        if self.overfit and part == "val":
            part = "train"
        gather = self.gather(part, extra)
        batches = Batches(
            gather,
            len(gather),
            batch_size=self.batch_size,
            seed=self.seed,
            shuffle=part == "train",
            rank=self.rank,
            world=self.world,
        )
        return batches.first(self.overfit) if self.overfit and part == "train" else batches

    def train_dataloader(self) -> Batches:
        return self.batches("train")

    def val_dataloader(self) -> Batches | list[Batches]:
        """None where the protocol has no validation part: every epoch is the best then."""
        batches = self.batches("val")
        return batches if len(batches) else []

    def tested(self, part: str) -> Batches:
        """Batches of a part as it is tested."""
        return self.batches(part)
