"""FitRec against a step-by-step second writing, and the laws of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp import cli
from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.models.fitrec import SELU_FLOOR, SELU_SLOPE, FitRec
from fitexp.run import FINISHED, Run
from tests.models import networks
from tests.models.networks import Batch, batch_of, spec_of

INPUTS = ("distance", "altitude", "total_time")
SMALL = {"hidden": 6, "embedding": 3, "context_hidden": 5, "context_width": 4, "dropout": 0.0}


def small(spec: WorkoutSpec | None = None, **changes: Any) -> FitRec:
    torch.manual_seed(0)
    given = {**networks.arguments("fitrec"), "target_scaling": "none", **SMALL, **changes}
    return FitRec(spec=spec or spec_of(*INPUTS), **given).double()


def run_cells(lstm: nn.LSTM, layer: int, series: Tensor) -> Tensor:
    """One layer of `lstm` as nn.LSTMCell, step after step: (B, T, K) -> (B, T, D)."""
    cell = nn.LSTMCell(series.shape[2], lstm.hidden_size, dtype=series.dtype)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, nn.Parameter(lstm.get_parameter(f"{name}_l{layer}").detach()))
    h = c = series.new_zeros(len(series), lstm.hidden_size)
    states = []
    for t in range(series.shape[1]):
        h, c = cell(series[:, t], (h, c))
        states.append(h)
    return torch.stack(states, 1)


def step_by_step(model: FitRec, batch: Batch) -> Tensor:
    """The notes' equations on the weights of `model`, without dropout."""
    B, T, _ = batch["x"].shape
    parts = [batch["x"]]
    for name, table in model.embeddings.tables.items():
        column = ["user", "sport", "gender"].index(name)
        rows = [table.weight[int(code)] for code in batch["attributes"][:, column]]
        parts.append(torch.stack(rows)[:, None].repeat(1, T, 1))
    if model.context is not None:
        h_1 = run_cells(model.context.inputs, 0, batch["context"])
        h_2 = run_cells(model.context.target, 0, (batch["context_y"][..., None] - 140.0) / 20.0)
        project = model.context.project
        e = torch.cat([h_1, h_2], -1) @ project.weight.T + project.bias
        for b in range(B):
            last = int(batch["context_last"][b])
            e[b, last:] = e[b, last].clone()
        parts.append(e * batch["has_context"][:, None, None])
    u = torch.cat(parts, -1) * batch["valid"][..., None]
    h = run_cells(model.body, 1, run_cells(model.body, 0, u))
    z = h @ model.head.weight[0] + model.head.bias
    return torch.where(z > 0, SELU_SLOPE * z, SELU_SLOPE * 1.6732632423543772 * torch.expm1(z))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attributes": ["gender", "user"]},
        {"attributes": [], "context": False},
        {"history": "none"},
    ],
    ids=str,
)
def test_equals_the_step_by_step_form(changes: dict[str, Any]) -> None:
    history = changes.pop("history", "previous")
    spec = spec_of(*INPUTS, history=history)
    model, batch = small(spec, **changes), batch_of(spec, bpm=True)
    model.head.weight.data *= 5.0
    for bias in (-2.0, 2.0):  # both sides of SELU's bend
        model.head.bias.data.fill_(bias)
        found = model(batch).detach()
        assert (found * bias > 0).any()
        torch.testing.assert_close(found, step_by_step(model, batch).detach(), rtol=0, atol=1e-12)


def test_laws() -> None:
    spec = spec_of(*INPUTS)
    batch = batch_of(spec, bpm=True)
    networks.later_inputs_do_not_reach_back(small(spec), batch)
    networks.padding_does_not_matter(small(spec), batch)
    networks.state_loads(lambda: small(spec), batch)
    networks.gradients_are_finite(small(spec), batch)


def test_it_sees_neither_its_own_past_nor_the_start_value() -> None:
    spec = spec_of(*INPUTS)
    model, batch = small(spec), batch_of(spec, told=True, bpm=True)
    other = {**batch, "y_previous": batch["y_previous"] + 9.0, "y0": batch["y0"] + 9.0}
    assert torch.equal(model(batch), model(other))


def test_context_is_read_where_there_is_one() -> None:
    spec = spec_of(*INPUTS)
    batch = batch_of(spec, bpm=True)
    there = batch["has_context"]
    there[2] = False
    other = {**batch, "context_y": batch["context_y"] + 20.0}
    moved = (small(spec)(batch) != small(spec)(other)).any(dim=1)
    assert torch.equal(moved, there)
    off = small(spec, context=False)
    assert torch.equal(off(batch), off(other))
    assert not any("context" in name for name, _ in off.named_parameters())


def test_raw_target_starts_at_its_mean_and_the_context_is_a_z_score() -> None:
    spec = spec_of(*INPUTS)
    raw, scaled = small(spec), small(spec, target_scaling="zscore")
    batch = batch_of(spec)
    bpm = {**batch, "context_y": 140.0 + 20.0 * batch["context_y"]}
    torch.testing.assert_close(raw(bpm), scaled(batch), rtol=0, atol=1e-12)
    raw.start_at(140.0)
    assert (raw(bpm) - 140.0).abs().max() < 2.0


def test_the_floor_of_selu() -> None:
    model, batch = small(), batch_of(spec_of(*INPUTS), bpm=True)
    with torch.no_grad():
        model.head.bias.fill_(-100.0)
    torch.testing.assert_close(model(batch), torch.full_like(batch["context_y"], SELU_FLOOR))


def test_dropout_falls_on_both_layers() -> None:
    model = small(dropout=0.5)
    batch = batch_of(spec_of(*INPUTS), bpm=True)
    assert not torch.equal(model(batch), model(batch))
    model.body.dropout = 0.0
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_one_batch_is_learned_by_heart() -> None:
    spec = spec_of(*INPUTS)
    model = small(spec, hidden=16).float()
    model.start_at(140.0)
    given = batch_of(spec, bpm=True)
    batch = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    y = 140.0 + 5.0 * torch.randn(len(batch["y0"]), 12).cumsum(1)
    first, last = networks.loss_after(model, batch, y, lr=0.05, steps=150)
    assert last < 0.05 * first


def test_unknown_attributes_have_a_zero_embedding() -> None:
    model, batch = small(), batch_of(spec_of(*INPUTS), bpm=True)
    batch["attributes"][:] = 0
    known = model(batch)
    for table in model.embeddings.tables.values():
        table.weight.data[1:] += 1.0
    assert torch.equal(model(batch), known)


def test_parameter_groups_hold_every_weight_once() -> None:
    model = small()
    groups = model.parameter_groups()
    assert [g.get("weight_decay") for g in groups] == [0.0, 0.01, 0.05, None]
    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": spec_of(*INPUTS, regime="short")}, "whole workouts only: use data.regime=whole"),
        ({"attributes": ["user", "user"]}, r"model\.attributes: 'user' is named twice"),
        ({"context_activation": "relu"}, r"model\.context_activation: 'relu'"),
        ({"embedding_decay": {}}, r"model\.embedding_decay: no value for user, sport, gender"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["data.target=derived_speed"],
        ["data.history=none", "model.attributes=[sport]"],
        ["model.context=false", "model.attributes=[]", "task.target_scaling=zscore"],
    ],
    ids=" ".join,
)
def test_it_trains_two_epochs(words: list[str], tmp_path: Path) -> None:
    tiny = ["data.source.athletes=3", "data.source.workouts=5", "trainer.max_epochs=2"]
    narrow = ["model.hidden=8", "model.context_hidden=8"]
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    assert cli.main(["train", "model=fitrec", *tiny, *narrow, *words, folder]) == 0
    assert Run(tmp_path / "run").status == FINISHED
