"""The ranking task: losses by fold, figures of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fitexp.data.exercises.module import EventGather
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.prepare import Prepared
from fitexp.errors import InputError
from fitexp.tasks.ranking import Ranking, ranks
from tests.data.exercises.made import made_table, protocol, random_histories

PREPARED = arrays_of(protocol(), made_table(random_histories(4, 7, 5, seed=2)))


class Table(nn.Module):
    """Scores by the item before only, a table a fold."""

    def __init__(self, folds: int, items: int, seed: int = 0, every: bool = False) -> None:
        super().__init__()
        self.first = 0 if every else -1
        draw = torch.Generator().manual_seed(seed)
        self.scores = nn.Parameter(torch.randn(folds, items + 1, items, generator=draw))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        assert not {"target", "mask", "event", "had"} & set(batch)
        fold = torch.arange(len(self.scores))[:, None, None]
        return self.scores[fold, batch["items"][..., self.first :]]


def task(seed: int = 0, prepared: Prepared = PREPARED, mask_seen: bool = False) -> Ranking:
    spec = prepared.spec
    made = Ranking(
        model=Table(spec.folds, len(spec.items), seed, every=spec.answers == "every"),
        loss=partial(cross_entropy, reduction="none"),
        optimizer=partial(torch.optim.Adam, lr=0.1),
        spec=spec,
        mask_seen=mask_seen,
    )
    made.log = lambda *_, **__: None  # type: ignore[method-assign]
    return made


def test_the_loss_is_the_sum_of_the_folds_own_means() -> None:
    batch = EventGather(PREPARED, "train")(np.arange(6))
    found = task().training_step(batch, 0)
    expected = torch.zeros(())
    scores = task().model.scores
    for fold in range(PREPARED.spec.folds):
        losses = [
            cross_entropy(
                scores[fold, batch["items"][fold, row, -1]], batch["target"][fold, row, 0]
            )
            for row in range(6)
            if batch["mask"][fold, row, 0]
        ]
        expected = expected + torch.stack(losses).mean()
    torch.testing.assert_close(found, expected)


def test_a_fold_learns_as_it_would_alone() -> None:
    """20 steps of all folds at once, and of one fold whose batches are those of the stack."""
    gather = EventGather(PREPARED, "train")
    stacked, alone = task(), task()
    optimizers = [t.optimizer(t.model.parameters()) for t in (stacked, alone)]
    for step in range(20):
        batch = gather(np.arange(step % 3, 9, 2))
        only = {**batch, "mask": batch["mask"] * (torch.arange(5) == 2)[:, None, None]}
        for module, optimizer, given in zip(
            (stacked, alone), optimizers, (batch, only), strict=True
        ):
            optimizer.zero_grad()
            module.training_step(given, 0).backward()
            optimizer.step()
    torch.testing.assert_close(stacked.model.scores[2], alone.model.scores[2], rtol=0, atol=0)
    assert not torch.equal(stacked.model.scores[1], alone.model.scores[1])


def test_answers_are_of_the_rows_that_count() -> None:
    module = task()
    batch = EventGather(PREPARED, "test")(np.arange(4))
    found = module.answer(batch)
    assert found["rows"].tolist() == np.asarray(PREPARED.arrays["test"]).tolist()
    np.testing.assert_allclose(found["probability"].sum(1), 1.0, rtol=1e-12)
    fold, event = found["rows"][5].tolist()
    before = int(PREPARED.arrays["item"][event - 1])
    expected = torch.softmax(module.model.scores[fold, before].detach().double(), dim=0)
    torch.testing.assert_close(found["probability"][5], expected)


def test_ranks_of_ties_are_their_mean() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert ranks(scores, torch.tensor([2, 0, 1])).tolist() == [2.0, 1.5, 2.0]


def test_the_norm_over_all_folds_is_not_clipped() -> None:
    module = task()
    with pytest.raises(InputError, match="gradient_clip_val"):
        module.configure_gradient_clipping(module.configure_optimizers(), 1.0)


def whole_histories(
    histories: dict[str, str], answers: str = "every", window: int | None = None
) -> Prepared:
    changed = protocol(answers=answers, window=window, min_past=0, folds=2)
    return arrays_of(changed, made_table(histories))


@pytest.mark.parametrize(("answers", "window"), [("every", None), ("last", None), ("last", 2)])
def test_seen_items_cannot_come(answers: str, window: int | None) -> None:
    """Of equal logits each film not yet seen gets its equal share: the losses are log(left).

    Also of films that were seen before the window that the network reads."""
    draw = np.random.default_rng(3)
    orders = {f"u{u}": "".join(draw.permutation(list("abcdef"))) for u in range(5)}
    prepared = whole_histories(orders, answers, window)
    module = task(prepared=prepared, mask_seen=True)
    torch.nn.init.zeros_(module.model.scores)
    item, step = prepared.arrays["item"], prepared.arrays["step"]
    gather = EventGather(prepared, "test")
    found = module.answer(gather(np.arange(len(gather))))
    assert len(found["rows"]) == 30
    for (_, event), chance in zip(found["rows"].tolist(), found["probability"], strict=True):
        left = np.ones(6)
        left[item[event - step[event] : event]] = 0
        np.testing.assert_allclose(chance, left / left.sum(), rtol=1e-6)
    batch = EventGather(prepared, "train")(np.arange(2))
    _, losses = module._step(batch)
    expected = torch.log(6.0 - torch.as_tensor(step)[batch["event"]]) * batch["mask"]
    torch.testing.assert_close(losses, expected)


def test_padding_has_a_finite_gradient_under_the_mask() -> None:
    """Behind the end of a history the last event stands as target, which was seen by then."""
    prepared = whole_histories({"u0": "abcdef", "u1": "ba", "u2": "cde", "u3": "f"})
    module = task(prepared=prepared, mask_seen=True)
    loss = module.training_step(EventGather(prepared, "train")(np.arange(2)), 0)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(module.model.scores.grad.isfinite().all())


def test_who_has_an_item_again_is_refused_under_the_mask() -> None:
    with pytest.raises(InputError, match=r"task\.mask_seen=true, but somebody"):
        task(mask_seen=True).training_step(EventGather(PREPARED, "train")(np.arange(9)), 0)
    again = whole_histories({"u0": "abcda", "u1": "abcde"}, "last", window=1)
    with pytest.raises(InputError, match=r"task\.mask_seen=true, but somebody"):
        task(prepared=again, mask_seen=True).training_step(
            EventGather(again, "train")(np.arange(5)), 0
        )
