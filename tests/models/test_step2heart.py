"""Step2Heart: its size, its embedding, what each variant reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fitexp.errors import InputError
from fitexp.models.step2heart import Step2Heart
from fitexp.models.step2heart_autoencoder import Step2HeartAutoencoder
from tests.models.window_networks import window_batch, window_spec

PAPER: dict[str, Any] = {
    "person": "resting_hr_bpm",
    "filters": 128,
    "width": 128,
    "branch": 128,
    "pooling": "mean",
    "dropout": 0.33,
    "heads": None,
}


def network(inputs: str, **changed: Any) -> Step2Heart:
    torch.manual_seed(0)
    spec = changed.pop("spec", None) or window_spec()
    return Step2Heart(spec=spec, inputs=inputs, **PAPER | changed)


@pytest.mark.parametrize(
    ("inputs", "width"), [("A", 256), ("A/T", 384), ("A/R", 384), ("A/R/T", 512)]
)
def test_width_of_the_embedding(inputs: str, width: int) -> None:
    model = network(inputs).eval()
    batch = window_batch(window_spec())
    assert model.embed(batch).shape == (3, width)
    assert torch.equal(model(batch)[:, 0], model.head(model.embed(batch)))


def test_number_of_parameters_as_the_authors_count_them() -> None:
    model = network("A/R/T")
    buffers = sum(b.numel() for name, b in model.named_buffers() if "num_batches" not in name)
    assert sum(p.numel() for p in model.parameters()) + buffers == 582_293


@pytest.mark.parametrize(
    ("inputs", "reads"),
    [
        ("A", {"x"}),
        ("A/T", {"x", "time"}),
        ("A/R", {"x", "statics"}),
        ("A/R/T", {"x", "time", "statics"}),
    ],
)
def test_a_variant_reads_what_it_names(inputs: str, reads: set[str]) -> None:
    model, batch = network(inputs).eval(), window_batch(window_spec())
    before = model(batch)
    for name in ("x", "time", "statics"):
        moved = model({**batch, name: batch[name] + 1})
        assert torch.equal(moved, before) == (name not in reads)


def test_r_reads_the_person_s_column_alone() -> None:
    model, batch = network("A/R").eval(), window_batch(window_spec())
    other = batch["statics"].clone()
    other[:, 1] += 5
    assert torch.equal(model({**batch, "statics": other}), model(batch))


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_pooling_by_hand(pooling: str) -> None:
    model, batch = (
        network("A", pooling=pooling, width=4, filters=5).eval(),
        window_batch(window_spec()),
    )
    c = batch["x"].transpose(1, 2)
    for layer in model.convolutions:
        c = layer(c)
    assert c.shape[-1] == batch["x"].shape[1] - 4
    states, _ = model.recurrent(c.transpose(1, 2))
    wanted = {"mean": states.mean(1), "max": states.max(1).values, "last": states[:, -1]}[pooling]
    assert torch.allclose(model.embed(batch), wanted)


def test_heads_of_quantiles_and_a_start_at_the_mean() -> None:
    model = network("A", heads=[0.05, 0.5, 0.95]).eval()
    before = model(window_batch(window_spec()))
    assert before.shape == (3, 1, 4)
    model.start_at(70.0)
    assert (model(window_batch(window_spec())) - 70).abs().max() < 1


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"inputs": "A/X"}, "model.inputs"),
        ({"pooling": "sum"}, "model.pooling"),
        ({"width": 0}, "model.width"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"inputs": "A/R", "person": "weight_kg"}, "model.person"),
        ({"spec": window_spec(answers="every")}, "data.answers=last"),
        ({"spec": window_spec(steps=5)}, "data.steps"),
    ],
)
def test_mistakes_are_named(changed: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        network(**{"inputs": "A"} | changed)


@pytest.mark.parametrize(("filters", "parameters"), [(128, 123_402), (296, 583_554)])
def test_sizes_of_the_autoencoders(filters: int, parameters: int) -> None:
    spec = window_spec(steps=512, scaled="window")
    model = Step2HeartAutoencoder(spec=spec, filters=filters, bottleneck=128)
    assert sum(p.numel() for p in model.parameters()) == parameters
    batch = window_batch(spec)
    assert model(batch).shape == batch["x"].shape
    assert model.embed(batch).shape == (3, 128)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (window_spec(steps=510, scaled="window"), "data.steps=512"),
        (window_spec(steps=512), "data.scaling"),
    ],
)
def test_windows_the_autoencoder_cannot_take(spec: Any, names: str) -> None:
    with pytest.raises(InputError, match=names):
        Step2HeartAutoencoder(spec=spec, filters=4, bottleneck=128)
