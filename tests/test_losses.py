from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from fitexp.errors import InputError
from fitexp.losses import (
    absolute_error,
    adaptive_hinge,
    bpr,
    cross_entropy,
    hinge,
    pointwise,
    squared_error,
)


def test_elementwise_as_torch_writes_them() -> None:
    prediction, target = torch.randn(2, 4, 7, dtype=torch.float64)
    assert torch.equal(
        squared_error(prediction, target), F.mse_loss(prediction, target, reduction="none")
    )
    assert torch.equal(
        absolute_error(prediction, target), F.l1_loss(prediction, target, reduction="none")
    )


def test_zero_only_where_equal() -> None:
    value = torch.randn(9)
    for loss in (squared_error, absolute_error):
        assert loss(value, value).abs().max() == 0
        assert (loss(value, value + 1) > 0).all()


def rows(*logits: list[float]) -> torch.Tensor:
    return torch.tensor(logits, dtype=torch.float64)


def drawn(monkeypatch: pytest.MonkeyPatch, *items: list[int]) -> None:
    """The items that the next loss draws, one list a row."""

    def fixed(high: int, size: tuple[int, int], **_: object) -> torch.Tensor:
        assert (high, size) == (3, (len(items), len(items[0])))
        return torch.tensor(items)

    monkeypatch.setattr(torch, "randint", fixed)


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_cross_entropy_by_hand() -> None:
    """Logits are logs of 1, 2, 5 (sum 8) and 3, 3, 4 (sum 10)."""
    logits = rows([1.0, 2.0, 5.0], [3.0, 3.0, 4.0]).log()
    found = cross_entropy(logits, torch.tensor([1, 2]))
    assert found.tolist() == pytest.approx([math.log(8 / 2), math.log(10 / 4)])


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (pointwise, [1 - sigmoid(2.0) + sigmoid(0.5), 1 - sigmoid(-1.0) + sigmoid(-1.0)]),
        (bpr, [1 - sigmoid(2.0 - 0.5), 0.5]),
        (hinge, [0.0, 1.0]),
    ],
)
def test_one_drawn_item_by_hand(
    loss: Callable[..., torch.Tensor], wanted: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 1: item 0 with 2.0 against item 2 with 0.5. Row 2 draws its own target, -1.0."""
    drawn(monkeypatch, [2], [1])
    found = loss(rows([2.0, 9.0, 0.5], [4.0, -1.0, 7.0]), torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_adaptive_hinge_takes_the_highest_drawn_item(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, [0, 2], [2, 2])
    logits = rows([1.5, 2.0, 0.5], [9.0, 3.0, 0.5])
    found = adaptive_hinge(logits, torch.tensor([1, 1]), negatives=2)
    assert found.tolist() == pytest.approx([1 - 2.0 + 1.5, 0.0])


def test_no_drawn_items_are_refused() -> None:
    with pytest.raises(InputError, match=r"loss\.negatives=0: it takes a whole number, 1 up"):
        adaptive_hinge(rows([1.0, 2.0]), torch.tensor([0]), negatives=0)


def test_items_are_drawn_uniformly_and_anew() -> None:
    """Logits 0, 1, 2 under target 0: the hinge loss is 1 + the drawn item."""
    torch.manual_seed(0)
    logits, target = rows([0.0, 1.0, 2.0]).expand(6000, 3), torch.zeros(6000, dtype=torch.int64)
    found = hinge(logits, target)
    counts = torch.bincount(found.long() - 1, minlength=3)
    assert counts.sum() == 6000
    assert (counts - 2000).abs().max() < 200
    assert not torch.equal(hinge(logits, target), found)
    of_many = adaptive_hinge(logits, target, negatives=40)
    assert (of_many == 3.0).all()


@pytest.mark.parametrize("loss", [cross_entropy, pointwise, bpr, hinge])
def test_a_better_score_costs_less(loss: Callable[..., torch.Tensor]) -> None:
    """The gradient pushes the target up in every row where the draw was another item."""
    torch.manual_seed(0)
    logits = torch.zeros(50, 4, dtype=torch.float64, requires_grad=True)
    loss(logits, torch.full((50,), 2)).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, 2] <= 0).all()
    assert (logits.grad[:, 2] < 0).sum() > 20
    assert (logits.grad[:, [0, 1, 3]] >= 0).all()
