"""Whole batches in an order that is known from (seed, epoch), for every kind of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]
Gather = Callable[[np.ndarray], Batch]  # row numbers (B,) int64 -> tensors with B rows each


class Batches:
    """Iterable of whole batches of `rows` rows, to be used in place of a DataLoader.

    The order of epoch e is a function of (seed, e) only; global batch s of it is the order's
    rows [s * batch_size, (s + 1) * batch_size). Rank r of `world` gets the rows r::world of that
    global batch; if this leaves it none, it gets the batch's first row with "mask" zeroed, so that
    every rank takes every step. The last global batch may be smaller.

    Every pass is one epoch: after a pass that gave at least one batch, the next one has
    the next epoch's order. Lightning sets the epoch itself (`set_epoch`, found through `sampler`).
    `state_dict` counts the batches given out in this epoch; Lightning fetches none ahead where
    `len` is known, so in and after `on_train_batch_end` these are the batches done.

    gather: row numbers (B,) int64 -> dict of tensors whose first axis is B; batch_size: rows of
    a global batch; shuffle: False keeps the rows' own order in every epoch.
    """

    batch_sampler = None  # Lightning asks whatever has a `sampler` for this one too

    def __init__(
        self,
        gather: Gather,
        rows: int,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world} ranks")
        self.gather = gather
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.done = 0  # batches of this epoch given out
        self._resumed = False  # `done` was loaded: the next pass starts there

    def __len__(self) -> int:
        """Global batches of an epoch, the same on every rank."""
        return -(-self.rows // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers (rows,) in the order of this epoch."""
        if not self.shuffle:
            return np.arange(self.rows)
        return np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def first(self, batches: int) -> Batches:
        """The first so many batches of epoch 0 alone, the same ones in every epoch."""
        rows = self.order(0)[: batches * self.batch_size]
        return Batches(
            lambda share: self.gather(rows[share]),
            len(rows),
            batch_size=self.batch_size,
            rank=self.rank,
            world=self.world,
        )

    def batch(self, rows: np.ndarray) -> Batch:
        """This rank's share of the global batch that has these row numbers."""
        share = rows[self.rank :: self.world]
        if len(share):
            return self.gather(share)
        absent = self.gather(rows[:1])
        return {**absent, "mask": torch.zeros_like(absent["mask"])}

    def __iter__(self) -> Iterator[Batch]:
        if self.done and not self._resumed:
            self.set_epoch(self.epoch + 1)
        return _Pass(self)

    @property
    def sampler(self) -> Batches:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of this epoch; within it already: stay."""
        if epoch != self.epoch:
            self.epoch, self.done, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.done = int(state["epoch"]), int(state["done"])
        self._resumed = True


class _Pass(Iterator[Batch]):
    """One pass over a `Batches`; where it starts is asked when the first batch is."""

    def __init__(self, loader: Batches) -> None:
        self.loader = loader
        self.order: np.ndarray | None = None
        self.next = 0

    def __next__(self) -> Batch:
        loader = self.loader
        if self.order is None:
            self.order, self.next = loader.order(loader.epoch), loader.done
        start = self.next * loader.batch_size
        if start >= loader.rows:
            raise StopIteration
        batch = loader.batch(self.order[start : start + loader.batch_size])
        self.next += 1
        loader.done, loader._resumed = self.next, False
        return batch
