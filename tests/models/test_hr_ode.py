"""The heart-rate equation against scipy's solver and steps by hand, and a network's laws."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from fitexp import cli
from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.models.hr_ode import BEND, DRIFT_S, PERSON, SPORT, HeartRateODE, follow
from fitexp.run import Run
from tests.models import networks
from tests.models.networks import Batch, batch_of, spec_of

INPUTS = ("grade", "derived_speed")  # in any order


def small(spec: WorkoutSpec | None = None, **changes: Any) -> HeartRateODE:
    torch.manual_seed(0)
    given = {
        **networks.arguments("hr_ode"),
        "target_scaling": "none",
        "person_hidden": 0.0,
        **changes,
    }
    return HeartRateODE(spec=spec or spec_of(*INPUTS), **given).double()


def drive(km_h: float, grade: float, *, steps: int, y0: float) -> Batch:
    """A person and sport not seen in training, at one speed on one grade; scaled as `spec_of`."""
    x = torch.tensor([grade, km_h], dtype=torch.float64)
    return {
        "x": ((x - 1.0) / 2.0 * 5.0).repeat(1, steps, 1),
        "valid": torch.ones(1, steps, dtype=torch.bool),
        "attributes": torch.zeros(1, 3, dtype=torch.int64),
        "y0": torch.tensor([y0], dtype=torch.float64),
    }


def bent(value: float) -> float:
    return BEND * math.log1p(math.exp(value / BEND))


@pytest.mark.parametrize("y0", [60.0, 180.0])
def test_constant_drive_equals_scipys_solution(y0: float) -> None:
    """Without drift the exponential step is exact; with it D is held over each step."""
    T, km_h, grade = 60, 10.8, 0.05
    v = km_h / 3.6
    u = SPORT["standing"] + bent(
        v * (SPORT["flat"] + SPORT["climb"] * grade + SPORT["air"] * v * v)
    )

    def slope(_: float, state: np.ndarray, kappa: float) -> list[float]:
        h, d = state
        steady = PERSON["rest"] + PERSON["reserve"] * (1.0 - bent(1.0 - u - d))
        tau = 50.0 if steady > h else 70.0
        return [(steady - h) / tau, (kappa * u - d) / DRIFT_S]

    at = 10.0 * np.arange(1, T + 1)
    for drift, apart in ((False, 1e-6), (True, 0.05)):
        model = small(drift=drift)
        model.person_start[list(PERSON).index("down")] = 70.0
        kappa = PERSON["drift"] if drift else 0.0
        solved = solve_ivp(
            slope, (0.0, at[-1]), [y0, 0.0], t_eval=at, args=(kappa,), rtol=1e-10, atol=1e-10
        )
        with torch.no_grad():
            found = model(drive(km_h, grade, steps=T, y0=y0))[0].numpy()
        assert np.abs(found - solved.y[0]).max() < apart
        assert abs(found[-1] - y0) > 20


def test_steps_worked_by_hand() -> None:
    """Half the way up, a quarter of the way down."""
    steady = torch.tensor([[100.0, 100.0, 60.0, 60.0], [50.0, 90.0, 90.0, 90.0]])
    found = follow(
        steady, torch.tensor([60.0, 90.0]), torch.full((2,), 0.5), torch.full((2,), 0.25)
    )
    assert found.tolist() == [[80.0, 90.0, 82.5, 76.875], [80.0, 85.0, 87.5, 88.75]]


def test_drift_is_stepped_as_its_equation() -> None:
    model = small()
    demand = torch.rand(2, 50, dtype=torch.float64)
    kappa = torch.tensor([0.1, 0.3], dtype=torch.float64)
    found = model._drift(demand, kappa)
    d, keep = torch.zeros(2, dtype=torch.float64), math.exp(-10.0 / DRIFT_S)
    for t in range(50):
        torch.testing.assert_close(found[:, t], d, rtol=1e-12, atol=1e-15)
        d = keep * d + (1 - keep) * kappa * demand[:, t]


def test_told_the_past_each_step_starts_from_it() -> None:
    spec = spec_of(*INPUTS)
    model, batch = small(spec), batch_of(spec, bpm=True)
    free = model(batch)
    told = torch.cat([batch["y0"][:, None], free[:, :-1]], dim=1)
    torch.testing.assert_close(model({**batch, "y_previous": told}), free, rtol=0, atol=1e-10)
    told[:, 5] += 10.0
    moved = model({**batch, "y_previous": told}) != free
    assert moved[:, 5].all()


def test_laws() -> None:
    spec = spec_of(*INPUTS)
    batch = batch_of(spec, bpm=True)
    batch["x"] += 4.0  # mostly moving
    networks.later_inputs_do_not_reach_back(small(spec), batch)
    networks.padding_does_not_matter(small(spec), batch)
    networks.state_loads(lambda: small(spec), batch)
    networks.gradients_are_finite(small(spec), batch)


def test_one_batch_is_learned_by_heart() -> None:
    """Heart rates of other parameters, one person each, are found again."""
    spec = spec_of(*INPUTS, steps=40)
    teacher, model = small(spec), small(spec)
    for weight in teacher.parameters():
        weight.data += 0.5 * torch.randn_like(weight)
    batch = batch_of(spec, size=5, bpm=True)
    batch["attributes"][:, 0] = torch.arange(1, 6)
    first, last = networks.loss_after(model, batch, teacher(batch).detach(), lr=0.03, steps=150)
    assert last < 0.02 * first


def test_unknown_people_and_sports_are_the_population() -> None:
    model, batch = small(), batch_of(spec_of(*INPUTS), bpm=True)
    batch["attributes"][:] = 0
    known = model(batch)
    model.person.weight.data[1:] += 1.0
    model.of_sport.weight.data[1:] += 1.0
    assert torch.equal(model(batch), known)
    assert model.described()["population's rest (bpm)"] == pytest.approx([65.0])


def test_in_training_a_share_of_people_is_unknown() -> None:
    spec = spec_of(*INPUTS)
    batch, model = batch_of(spec, size=200, bpm=True), small(spec, person_hidden=0.3)
    batch["attributes"][:, 0] = 1
    stranger = {**batch, "attributes": batch["attributes"].clone()}
    stranger["attributes"][:, 0] = 0
    model.person.weight.data[1:] += 1.0
    unknown = model.eval()(stranger)
    as_unknown = (model.train()(batch) == unknown).all(dim=1)
    assert 0.15 < as_unknown.double().mean() < 0.45
    assert not (model.eval()(batch) == unknown).all(dim=1).any()


def test_coefficients_are_positive_whatever_the_weights() -> None:
    model = small()
    for weight in model.parameters():
        weight.data -= 20.0
    assert all((value > 0).all() for value in model.personal(torch.arange(6)))
    assert model(batch_of(spec_of(*INPUTS), bpm=True)).isfinite().all()


def test_parameter_groups_hold_every_weight_once() -> None:
    model = small(person_decay=0.3, sport_decay=0.2)
    groups = model.parameter_groups()
    assert [g["weight_decay"] for g in groups] == [0.3, 0.2, 0.0]
    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())


def test_on_simulated_data_it_says_whose_form_it_has() -> None:
    assert "simulator's own form" in str(small(spec_of(*INPUTS)).described()["note"])
    assert "note" not in small(spec_of(*INPUTS, simulated=False)).described()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_scaling": "zscore"}, "task.target_scaling=none, not zscore"),
        ({"spec": spec_of("altitude")}, r"\[derived_speed,grade\], not \[altitude\]"),
        ({"spec": spec_of(*INPUTS, step_unit="m")}, "data.target=heart_rate"),
        ({"person_hidden": 1.5}, r"model\.person_hidden=1.5: it takes a share"),
        ({"person_decay": -1.0}, r"model\.person_decay=-1.0"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["data.regime=short"], ["model.drift=false"]])
def test_it_trains_two_epochs(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["data.source.athletes=3", "data.source.workouts=5", "trainer.max_epochs=2"]
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    assert cli.main(["train", "model=hr_ode", *tiny, *words, folder]) == 0
    printed = capsys.readouterr().out
    assert "hr_ode has the simulator's own form" in printed
    assert "population's tau up (s)" in printed
    assert Run(tmp_path / "run").file("plots").joinpath("time_constants.png").is_file()
