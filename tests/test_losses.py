from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch.nn import functional as F

from fitexp.errors import InputError
from fitexp.losses import (
    absolute_error,
    adaptive_hinge,
    bpr,
    cross_entropy,
    hinge,
    joint_heads,
    joint_shared,
    pinball,
    pointwise,
    squared_error,
)
from fitexp.tasks.regression import Regression


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


# Quantiles

PAPER = [0.01, 0.05, 0.5, 0.95, 0.99]


def heart_rates(rows: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and skewed targets, in bpm."""
    draw = torch.Generator().manual_seed(0)
    target = 60 + 20 * torch.rand(rows, dtype=torch.float64, generator=draw).log().neg()
    return 75 + 9 * torch.randn(rows, dtype=torch.float64, generator=draw), target


@pytest.mark.parametrize("quantile", PAPER)
def test_pinball_is_scikit_learns(quantile: float) -> None:
    prediction, target = heart_rates()
    found = pinball(prediction, target, quantile=quantile).mean()
    wanted = mean_pinball_loss(target.numpy(), prediction.numpy(), alpha=quantile)
    assert float(found) == pytest.approx(wanted, rel=3e-14)


@pytest.mark.parametrize(("mse_weight", "quantile_weight"), [(1.0, 1.0), (0.5, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("quantiles", [PAPER, [0.1, 0.9], [0.5]])
def test_symmetric_quantiles_of_one_output_are_the_absolute_error(
    quantiles: list[float], mse_weight: float, quantile_weight: float
) -> None:
    """sum_j rho_(a_j)(e) = J/2 |e|, since rho_a + rho_(1-a) = |e|."""
    prediction, target = heart_rates()
    error = target - prediction
    weights = {"mse_weight": mse_weight, "quantile_weight": quantile_weight}
    found = joint_shared(prediction[:, None], target, quantiles=quantiles, **weights)
    wanted = mse_weight * error**2 + quantile_weight * len(quantiles) / 2 * error.abs()
    torch.testing.assert_close(found, wanted, rtol=3e-14, atol=0)


def test_gradient_of_one_shared_output() -> None:
    """Half the square and 2.5 of the absolute error, e = y - f: d/df = -e - 2.5 sign(e)."""
    prediction, target = heart_rates()
    f = prediction.clone().requires_grad_()
    joint_shared(f, target, quantiles=PAPER, mse_weight=0.5, quantile_weight=1.0).sum().backward()
    error = target - prediction
    torch.testing.assert_close(f.grad, -error - 2.5 * error.sign(), rtol=1e-13, atol=0)


def test_heads_are_one_loss_each() -> None:
    prediction, target = heart_rates()
    f = prediction[:, None] + torch.arange(6, dtype=torch.float64)
    found = joint_heads(f, target, heads=PAPER, mse_weight=0.5, quantile_weight=3.0)
    wanted = 0.5 * squared_error(f[:, 0], target)
    for j, quantile in enumerate(PAPER):
        wanted = wanted + 3.0 * pinball(f[:, j + 1], target, quantile=quantile)
    torch.testing.assert_close(found, wanted, rtol=1e-14, atol=0)


def test_constants_that_minimise_the_heads_are_mean_and_quantiles() -> None:
    """Of skewed data. Between order statistics the loss is flat: the constant may lie anywhere."""
    _, target = heart_rates(999)
    ordered = target.sort().values
    outputs = [target.mean()] + [ordered[int(quantile * 999)] for quantile in PAPER]
    best = torch.stack(outputs)

    def loss(constants: torch.Tensor) -> float:
        f = constants.expand(999, 6)
        weights = {"mse_weight": 1.0, "quantile_weight": 1.0}
        return float(joint_heads(f, target, heads=PAPER, **weights).mean())

    for head in range(6):
        for step in (-0.5, 0.5):
            moved = best.clone()
            moved[head] += step
            assert loss(moved) > loss(best)


@pytest.mark.parametrize("loss", [squared_error, absolute_error])
def test_a_column_of_predictions_is_not_broadcast(loss: Callable[..., torch.Tensor]) -> None:
    prediction, target = heart_rates(5)
    assert torch.equal(loss(prediction[:, None], target), loss(prediction, target))
    with pytest.raises(ValueError, match="one output a target"):
        loss(prediction[None], target)


def test_heads_are_refused_for_series() -> None:
    heads = functools.partial(joint_heads, heads=PAPER, mse_weight=1.0, quantile_weight=1.0)
    with pytest.raises(InputError, match="loss joint_heads is not for Regression"):
        Regression.check_loss(heads, "joint_heads")
    shared = functools.partial(joint_shared, quantiles=PAPER, mse_weight=0.0, quantile_weight=1.0)
    Regression.check_loss(shared, "joint_shared")


@pytest.mark.parametrize(
    ("loss", "changed", "said"),
    [
        (joint_heads, {"mse_weight": 0.0}, "loss.mse_weight=0.0"),
        (joint_heads, {"heads": [0.0, 0.5]}, "0.0 is not a quantile"),
        (joint_shared, {"quantiles": [0.5, 95]}, "95 is not a quantile"),
        (joint_shared, {"quantiles": []}, r"quantiles=\[\]: name at least one"),
        (joint_shared, {"mse_weight": -1.0}, "mse_weight=-1.0: 0 or more"),
        (joint_shared, {"mse_weight": 0.0, "quantile_weight": 0.0}, "nothing is trained"),
        (joint_heads, {"quantile_weight": -1.0}, "quantile_weight=-1.0: 0 or more"),
        (joint_heads, {"heads": []}, r"heads=\[\]: name at least one"),
    ],
)
def test_keys_of_quantiles_are_checked(
    loss: Callable[..., torch.Tensor], changed: dict[str, object], said: str
) -> None:
    levels = "heads" if loss is joint_heads else "quantiles"
    keys = {levels: [0.05, 0.95], "mse_weight": 1.0, "quantile_weight": 1.0} | changed
    outputs = (4, 3) if loss is joint_heads else (4,)
    with pytest.raises(InputError, match=said):
        loss(torch.zeros(outputs), torch.zeros(4), **keys)
