"""Laws that any network for whole workouts must keep, and tiny data to test them on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from fitexp.data.spec import Scale, WorkoutSpec
from tests.models.fitrec_attn_oracle import tiny_batch, tiny_spec

CONF = Path(__file__).parents[2] / "conf" / "model"
Batch = dict[str, Tensor]


def spec_of(*inputs: str, steps: int = 12, **changes: Any) -> WorkoutSpec:
    """Five users, two sports; inputs of mean 1 and sd 2, scaled by 5; heart rate 140 +- 20 bpm."""
    scaling = {name: Scale(mean=1.0, sd=2.0, factor=5.0) for name in inputs}
    scaling["heart_rate"] = Scale(mean=140.0, sd=20.0)
    tiny = tiny_spec(steps=steps, inputs=len(inputs))
    return dataclasses.replace(tiny, **{"inputs": inputs, "scaling": scaling, **changes})


def arguments(name: str) -> dict[str, Any]:
    """The model's arguments as in conf/model, without `_target_`."""
    found = dict(yaml.safe_load((CONF / f"{name}.yaml").read_text())["model"])
    del found["_target_"]
    return found


def batch_of(spec: WorkoutSpec, *, size: int = 7, told: bool = False, bpm: bool = False) -> Batch:
    """`tiny_batch` in float64; bpm: its targets in physical units."""
    batch = tiny_batch(spec, size=size, teacher=told)
    for name in ("y0", "context_y", "y_previous"):
        if bpm and name in batch:
            batch[name] = 140.0 + 20.0 * batch[name]
    return batch


def later_inputs_do_not_reach_back(model: nn.Module, batch: Batch) -> None:
    """Each t: changing x from t on leaves answers before t bit-equal and moves the one at t."""
    batch = {**batch, "valid": torch.ones_like(batch["valid"])}
    before = model(batch)
    for t in range(1, before.shape[1]):
        x = batch["x"].clone()
        x[:, t:] += 3.0
        after = model({**batch, "x": x})
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.isclose(after[:, t], before[:, t], rtol=0, atol=1e-9).any()


def padding_does_not_matter(model: nn.Module, batch: Batch) -> None:
    assert not batch["valid"].all()
    other = {name: values.clone() for name, values in batch.items()}
    other["x"][~batch["valid"]] = float("nan")
    assert torch.equal(model(batch)[batch["valid"]], model(other)[batch["valid"]])


def gradients_are_finite(model: nn.Module, batch: Batch) -> None:
    """Of every parameter and not all zero, also with an empty row and unknown attributes."""
    batch = {name: values.clone() for name, values in batch.items()}
    batch["valid"][3] = False
    batch["attributes"][1] = 0
    model(batch)[batch["valid"]].square().mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def loss_after(
    model: nn.Module, batch: Mapping[str, Tensor], y: Tensor, *, lr: float, steps: int
) -> tuple[float, float]:
    """Squared error on one batch before and at the best of the last 20 steps of training."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(batch) - y)[batch["valid"]].square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], min(losses[-20:])


def state_loads(make: Callable[[], nn.Module], batch: Batch) -> None:
    """Another instance with the saved weights gives the same answers; before, others."""
    torch.manual_seed(1)
    one, other = make(), make()
    for weight in one.parameters():
        weight.data += 0.1 * torch.rand_like(weight)
    assert not torch.equal(one(batch), other(batch))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(batch), other(batch))
