"""The task of windows: losses in bpm, masks, heads, one batch by heart."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp import losses
from fitexp.errors import InputError
from fitexp.tasks.forecast import Forecast
from tests.models.window_networks import window_batch, window_spec


class Linear(nn.Module):
    kind = "windows"

    def __init__(self, outputs: int = 1, every: bool = False) -> None:
        super().__init__()
        self.map, self.every = nn.Linear(10, outputs), every

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert not {"y", "mask", "rows"} & set(batch)
        answer: Tensor = self.map(batch["x"])
        return answer if self.every else answer[:, -1:]

    def start_at(self, value: float) -> None:
        nn.init.constant_(self.map.bias, value)


def task(model: nn.Module | None = None, **changed: Any) -> Forecast:
    torch.manual_seed(0)
    spec = changed.pop("spec", None) or window_spec()
    values: dict[str, Any] = {
        "loss": losses.squared_error,
        "optimizer": partial(torch.optim.Adam, lr=0.1),
        "target_scaling": "none",
        "heads": None,
        "one_cycle": False,
    }
    return Forecast(model=model or Linear(), spec=spec, **values | changed)


def two_heads(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error of the mean, absolute error of one more head."""
    if prediction.shape[1:] != (2,):
        raise ValueError("two heads")
    return (prediction[:, 0] - target) ** 2 + (prediction[:, 1] - target).abs()


def test_losses_are_of_bpm_whatever_the_scaling() -> None:
    batch = window_batch(window_spec())
    for scaling in ("none", "zscore"):
        made = task(target_scaling=scaling)
        outputs, total, count = made._step(batch)
        wanted = ((outputs[..., 0] - batch["y"]) ** 2).sum()
        assert total.item() == pytest.approx(wanted.item(), rel=1e-5)
        assert count == 3
    zscore = task(target_scaling="zscore")
    inputs = {"x": batch["x"]}
    assert torch.allclose(zscore.outputs(batch), zscore.model(inputs) * 15 + 70)


def test_a_raw_target_starts_at_the_training_mean() -> None:
    assert task().model.map.bias.item() == 70.0  # type: ignore[union-attr]


def test_what_is_masked_does_not_matter() -> None:
    spec = window_spec(answers="every")
    batch = window_batch(spec)
    batch["mask"][:, 3:7] = 0
    made = task(Linear(every=True), spec=spec)
    _, total, count = made._step(batch)
    other = {**batch, "y": torch.where(batch["mask"] > 0, batch["y"], 1e6)}
    assert torch.equal(made._step(other)[1], total)
    assert count == batch["mask"].sum()


def test_one_batch_is_learned_by_heart() -> None:
    made, batch = task(target_scaling="zscore"), window_batch(window_spec())
    optimizer = made.configure_optimizers()
    for _ in range(600):
        optimizer.zero_grad()
        _, total, _ = made._step(batch)
        torch.autograd.backward(total)
        optimizer.step()
    assert total < 0.5


def test_heads_answer_mean_and_quantiles() -> None:
    batch = window_batch(window_spec())
    made = task(Linear(2), loss=two_heads, heads=[0.5]).eval()
    found = made.answer(batch)
    outputs = made.outputs(batch)
    assert torch.equal(found["prediction"], outputs[:, -1, 0])
    assert torch.equal(found["quantiles"], outputs[:, -1, 1:])
    assert torch.equal(found["rows"], batch["rows"])


def test_validation_has_the_rmse_of_the_mean_and_the_mae_of_the_median() -> None:
    batch = window_batch(window_spec())
    made = task(Linear(2), loss=two_heads, heads=[0.5]).eval()
    logged: dict[str, float] = {}
    made.log = lambda name, value: logged.update({name: float(value)})  # type: ignore[method-assign, assignment]
    made.validation_step(batch, 0)
    made.on_validation_epoch_end()
    outputs = made.outputs(batch)[:, 0]
    error = outputs - batch["y"]
    assert logged["val/mae_bpm"] == pytest.approx(float(error[:, 1].abs().mean()), rel=1e-6)
    assert logged["val/rmse_bpm"] == pytest.approx(
        float(error[:, 0].square().mean().sqrt()), rel=1e-6
    )


def test_losses_of_other_tasks_are_refused() -> None:
    Forecast.check_loss(losses.squared_error, "squared_error")
    Forecast.check_loss(two_heads, "two_heads")
    with pytest.raises(InputError, match="cross_entropy is not for Forecast"):
        Forecast.check_loss(losses.cross_entropy, "cross_entropy")
    with pytest.raises(InputError, match=r"2\.0 is not a quantile"):  # in the loss's own words
        Forecast.check_loss(partial(losses.pinball, quantile=2.0), "pinball")


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"target_scaling": "tens"}, "task.target_scaling"),
        ({"heads": [0.5, 1.0]}, "loss.heads"),
        ({"loss": two_heads}, "takes 2 outputs"),
        ({"heads": [0.5]}, "takes 1 outputs"),
    ],
)
def test_mistakes_are_named(changed: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        task(**changed)


def test_a_network_with_other_outputs_is_named() -> None:
    with pytest.raises(InputError, match="the network answers"):
        task(Linear(3)).outputs(window_batch(window_spec()))
