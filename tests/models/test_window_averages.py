"""Averages of epochs: the literal sum, causality, gaps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from fitexp.errors import InputError
from fitexp.models.window_averages import WindowAverages
from tests.models.window_networks import window_batch, window_spec

KEYS: dict[str, Any] = {
    "channels": 4,
    "hidden": 6,
    "statics": ["age_years"],
    "shortest": 0.7,
    "longest": 30.0,
    "dropout": 0.1,
    "heads": None,
}


def network(**changed: Any) -> WindowAverages:
    torch.manual_seed(0)
    spec = changed.pop("spec", None) or window_spec(steps=70, answers="every")
    return WindowAverages(spec=spec, **KEYS | changed)


def test_the_literal_sum() -> None:
    model = network().double().eval()
    batch = {
        name: v.double() if v.is_floating_point() else v
        for name, v in window_batch(window_spec(steps=70, answers="every")).items()
    }
    x, tau = batch["x"], model.log_tau.exp()
    c = model.channels(x)
    means = []
    for t in range(70):
        lag = (t - torch.arange(t + 1))[:, None]
        weight = torch.exp(-lag / tau)  # (t + 1, C)
        means.append((weight * c[:, : t + 1]).sum(1) / weight.sum(0))
    person = batch["statics"][:, None, 1:2].expand(-1, 70, -1)
    known = torch.cat([torch.stack(means, dim=1), x, person], dim=-1)
    wanted = model.head(F.silu(model.mix(known)))
    assert torch.allclose(model(batch), wanted, atol=1e-12)
    assert torch.allclose(model.embed(batch), means[-1], atol=1e-12)


def test_later_epochs_do_not_reach_back() -> None:
    model, batch = network().eval(), window_batch(window_spec(steps=70, answers="every"))
    x = batch["x"].clone()
    x[:, 40:] += 1
    moved, before = model({**batch, "x": x}), model(batch)
    assert torch.equal(moved[:, :40], before[:, :40])
    assert not torch.equal(moved[:, 40:], before[:, 40:])


def test_behind_the_window_is_the_last_of_every() -> None:
    last = network(spec=window_spec(steps=70)).eval()
    batch = window_batch(window_spec(steps=70))
    assert torch.equal(last(batch), network().eval()(batch)[:, -1:])


def test_log_tau_has_no_weight_decay() -> None:
    model = network()
    rest, tau = model.parameter_groups()
    assert tau == {"params": [model.log_tau], "weight_decay": 0.0}
    assert len(rest["params"]) + 1 == len(list(model.parameters()))  # type: ignore[arg-type]
    assert model.described()["time constants (s)"][0] == pytest.approx(0.7 * 15)


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"channels": 0}, "model.channels"),
        ({"shortest": 40.0}, "model.shortest"),
        ({"statics": ["bmi"]}, "model.statics"),
    ],
)
def test_mistakes_are_named(changed: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        network(**changed)
