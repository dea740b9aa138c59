"""Learned exponential averages against the literal double loop, and the laws of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp import cli
from fitexp.errors import InputError
from fitexp.models.averages import CHUNK, Averages, ExponentialAverages, decayed_sums
from fitexp.run import DESCRIBED, Run
from tests.models import networks
from tests.models.averages_oracle import literal
from tests.models.networks import batch_of, spec_of

INPUTS = ("derived_speed", "time_elapsed")
SMALL = {"channels": 4, "hidden": 8, "embedding": 3}


def small(**changes: Any) -> Averages:
    torch.manual_seed(0)
    spec = changes.pop("spec", spec_of(*INPUTS))
    return Averages(spec=spec, **{**networks.arguments("averages"), **SMALL, **changes}).double()


@pytest.mark.parametrize("steps", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK - 5])
def test_layer_is_the_double_loop(steps: int) -> None:
    torch.manual_seed(0)
    layer = ExponentialAverages(channels=4, longest=300).double()
    layer.log_tau.data = torch.tensor([0.2, 1.0, 20.0, 5000.0]).double().log()
    x = 140.0 + 20.0 * torch.randn(2, steps, 4, dtype=torch.float64)
    wanted = literal(x, layer.log_tau.exp())
    torch.testing.assert_close(layer(x), wanted, rtol=1e-13, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, CHUNK * CHUNK + 40), st.floats(0.05, 1e6))
def test_sums_of_a_constant_are_the_geometric_series(steps: int, tau: float) -> None:
    """sum_(i<t) r^i = (1 - r^t) / (1 - r), over all depths of the scan."""
    of = torch.tensor([tau], dtype=torch.float64)
    found = decayed_sums(torch.ones(1, 1, steps, dtype=torch.float64), of)[0, 0]
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    torch.testing.assert_close(
        found, torch.expm1(-t / of) / torch.expm1(-1 / of), rtol=1e-9, atol=0
    )


def test_gradients_of_the_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, CHUNK + 3, dtype=torch.float64, requires_grad=True)
    log_tau = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: decayed_sums(x, w.exp()), (x, log_tau))


def test_layer_of_3000_steps_is_as_exact_in_float32() -> None:
    torch.manual_seed(0)
    layer = ExponentialAverages(channels=8, longest=3000)
    x = 140.0 + 20.0 * torch.randn(1, 3000, 8)
    with torch.no_grad():
        one, two = layer(x), layer.double()(x.double())
    assert float((one - two).abs().max()) < 1e-3


def test_time_constants_start_from_one_step_to_the_window() -> None:
    model = small(channels=3, spec=spec_of(*INPUTS, steps=100))
    assert model.time_constants_s().tolist() == pytest.approx([10.0, 100.0, 1000.0])
    assert model.described() == {"time constants (s)": pytest.approx([10.0, 100.0, 1000.0])}


def test_on_a_distance_grid_they_are_lengths() -> None:
    model = small(channels=2, spec=spec_of(*INPUTS, steps=4, step=50.0, step_unit="m"))
    assert model.described() == {"length constants (m)": pytest.approx([50.0, 200.0])}
    with pytest.raises(ValueError, match="steps are 50 m"):
        model.time_constants_s()


@pytest.mark.parametrize("regime", ["whole", "short"])
def test_laws(regime: str) -> None:
    spec = spec_of(*INPUTS, regime=regime, steps=CHUNK + 5)
    model, batch = small(spec=spec), batch_of(spec, told=regime == "short")
    networks.later_inputs_do_not_reach_back(model, batch)
    networks.padding_does_not_matter(model, batch)
    networks.state_loads(lambda: small(spec=spec), batch)
    networks.gradients_are_finite(small(spec=spec, channels=3), batch)


def test_short_regime_reads_the_past_and_the_whole_one_does_not() -> None:
    for regime in ("short", "whole"):
        spec = spec_of(*INPUTS, regime=regime)
        model, batch = small(spec=spec), batch_of(spec, told=True)
        batch["valid"][:] = True
        other = {**batch, "y_previous": batch["y_previous"].clone(), "y0": batch["y0"] + 1}
        other["y_previous"][:, 6:] += 1.0
        before, after = model(batch), model(other)
        assert torch.equal(before[:, :6], after[:, :6])
        assert torch.equal(before[:, 6:], after[:, 6:]) == (regime == "whole")


def test_one_batch_is_learned_by_heart() -> None:
    spec = spec_of(*INPUTS)
    model = small(spec=spec, channels=16, hidden=16).float()
    batch = {k: v.float() if v.is_floating_point() else v for k, v in batch_of(spec).items()}
    y = torch.randn(batch["y0"].shape[0], 12).cumsum(1)
    first, last = networks.loss_after(model, batch, y, lr=0.03, steps=150)
    assert last < 0.05 * first


def test_unknown_people_and_sports_are_those_without_embeddings() -> None:
    model, batch = small(), batch_of(spec_of(*INPUTS))
    batch["attributes"][:] = 0
    known = model(batch)
    for table in model.embeddings.tables.values():
        table.weight.data[1:] += 1.0
    assert torch.equal(model(batch), known)


def test_a_raw_target_starts_at_its_mean() -> None:
    model, batch = small(), batch_of(spec_of(*INPUTS))
    model.start_at(140.0)
    assert (model(batch) - 140.0).abs().max() < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, r"model\.channels=0: it takes a whole number, 1 up"),
        ({"attributes": ["usr"]}, r"model\.attributes: 'usr'"),
        ({"embedding_decay": {}}, r"model\.embedding_decay: no value for user, sport"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["data.regime=short"], ["data.target=derived_speed"]])
def test_it_trains_two_epochs(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["data.source.athletes=3", "data.source.workouts=5", "trainer.max_epochs=2"]
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    assert cli.main(["train", "model=averages", *tiny, *words, folder]) == 0
    printed = capsys.readouterr().out
    run = Run(tmp_path / "run")
    on_time = "data.target=derived_speed" not in words
    assert ("time constants (s)" if on_time else "length constants (m)") in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 100
    assert run.file("plots").joinpath("time_constants.png").is_file() == on_time
    run.file(DESCRIBED).write_text("[1]")
    assert cli.main(["evaluate", str(run.path)]) == 0  # written anew
