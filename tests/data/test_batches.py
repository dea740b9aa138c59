"""Order, shares and state of whole-batch loaders, also in Lightning's hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import Callback

from fitexp.data.batches import Batch, Batches


def gather(rows: np.ndarray) -> Batch:
    return {"row": torch.from_numpy(rows), "mask": torch.ones(len(rows), 3)}


def seen(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def test_every_row_once_an_epoch_and_the_last_batch_ragged() -> None:
    loader = Batches(gather, 10, batch_size=4, seed=3, shuffle=True)
    batches = seen(loader)
    assert [len(b) for b in batches] == [4, 4, 2]
    assert len(loader) == 3
    assert sorted(row for rows in batches for row in rows) == list(range(10))


def test_rows_in_their_own_order_without_shuffle() -> None:
    loader = Batches(gather, 5, batch_size=2)
    assert seen(loader) == seen(loader) == [[0, 1], [2, 3], [4]]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    one = Batches(gather, 30, batch_size=7, seed=5, shuffle=True)
    two = Batches(gather, 30, batch_size=7, seed=5, shuffle=True)
    epochs = [seen(one) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    two.set_epoch(2)
    assert seen(two) == epochs[2]
    assert seen(Batches(gather, 30, batch_size=7, seed=6, shuffle=True)) != epochs[0]


def test_iterators_that_give_nothing_do_not_count() -> None:
    loader = Batches(gather, 9, batch_size=3, seed=1, shuffle=True)
    iter(loader)
    iter(loader)
    assert seen(loader) == seen(Batches(gather, 9, batch_size=3, seed=1, shuffle=True))


def test_an_abandoned_epoch_is_over() -> None:
    loader = Batches(gather, 9, batch_size=3, seed=1, shuffle=True)
    next(iter(loader))
    second = Batches(gather, 9, batch_size=3, seed=1, shuffle=True)
    second.set_epoch(1)
    assert seen(loader) == seen(second)


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_first_batches_are_those_of_epoch_0_in_every_epoch(shuffle: bool) -> None:
    loader = Batches(gather, 10, batch_size=3, seed=2, shuffle=shuffle)
    expected = seen(loader)
    loader.set_epoch(3)
    for batches in range(1, 6):
        first = loader.first(batches)
        assert len(first) == min(batches, 4)
        assert seen(first) == seen(first) == expected[:batches]


@pytest.mark.parametrize("done", range(4))
def test_state_goes_on_where_it_was_taken(done: int) -> None:
    loader = Batches(gather, 10, batch_size=3, seed=2, shuffle=True)
    first, second = seen(loader), seen(loader)
    assert first != second
    other = Batches(gather, 10, batch_size=3, seed=2, shuffle=True)
    iterator = iter(other)
    for _ in range(done):
        next(iterator)
    resumed = Batches(gather, 10, batch_size=3, seed=2, shuffle=True)
    resumed.load_state_dict(other.state_dict())
    iter(resumed)
    assert seen(resumed) == first[done:]
    assert seen(resumed) == second


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    world=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_ranks_share_each_global_batch(rows: int, batch_size: int, world: int, epoch: int) -> None:
    whole = Batches(gather, rows, batch_size=batch_size, seed=9, shuffle=True)
    whole.set_epoch(epoch)
    ranks = [
        Batches(gather, rows, batch_size=batch_size, seed=9, shuffle=True, rank=r, world=world)
        for r in range(world)
    ]
    for loader in ranks:
        loader.set_epoch(epoch)
        assert len(loader) == len(whole)
    for batch, *shares in zip(whole, *ranks, strict=True):
        expected = batch["row"].tolist()
        for r, share in enumerate(shares):
            own = expected[r::world]
            assert share["row"].tolist() == (own or expected[:1])
            assert share["mask"].sum() == 3 * len(own)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Batches(gather, 3, batch_size=0)
    with pytest.raises(ValueError, match="rank 2"):
        Batches(gather, 3, batch_size=1, rank=2, world=2)


class _Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.rows.append((self.current_epoch, batch["row"].tolist()))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _Counts(Callback):
    """What a checkpoint taken after each training step would say."""

    def __init__(self) -> None:
        self.states: list[dict[str, int]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.states.append(trainer.train_dataloader.state_dict())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [1.0, 2])
@pytest.mark.parametrize("sanity", [0, 2])
def test_lightning_takes_the_same_batches_and_counts_those_done(limit: float, sanity: int) -> None:
    module, counts = _Module(), _Counts()
    trainer = pl.Trainer(
        max_epochs=3,
        limit_train_batches=limit,
        num_sanity_val_steps=sanity,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[counts],
    )
    trainer.fit(
        module,
        Batches(gather, 10, batch_size=3, seed=4, shuffle=True),
        Batches(gather, 4, batch_size=3),
    )
    plain = Batches(gather, 10, batch_size=3, seed=4, shuffle=True)
    steps = 4 if limit == 1.0 else 2
    expected = []
    for epoch in range(3):
        plain.set_epoch(epoch)
        expected += [(epoch, rows) for rows in seen(plain)[:steps]]
    assert module.rows == expected
    assert counts.states == [
        {"epoch": epoch, "done": done + 1} for epoch in range(3) for done in range(steps)
    ]
