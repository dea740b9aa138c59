"""A network with a fold axis is each of its folds alone: answers, gradients, steps of Adam."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.models.cnn import CNN
from fitexp.models.folds import Folds
from fitexp.models.gru4rec import GRU4Rec
from fitexp.models.mixture import Mixture
from fitexp.models.pooling import Pooling
from fitexp.models.sasrec import SASRec
from tests.models.exercises import batch_of, fold, spec_of, trained

THREE = {"folds": 3, "fold_names": ("a", "b", "c")}
GRU = {
    "cell": "gru", "embedding": 4, "hidden": 5, "layers": 2, "dropout": 0.0, "side": True,
    "tied": False,
}  # fmt: skip
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "gru": (GRU4Rec, GRU),
    "lstm": (GRU4Rec, {**GRU, "cell": "lstm", "hidden": 4, "tied": True}),
    "sasrec": (
        SASRec,
        {"embedding": 4, "hidden": 5, "layers": 2, "heads": 2, "dropout": 0.0, "side": True},
    ),
    "pooling": (Pooling, {"embedding": 4}),
    "cnn": (CNN, {"embedding": 4, "kernel": 2, "layers": 2, "dilation": 2}),
    "mixture": (Mixture, {"embedding": 4, "tastes": 2}),
}


def built(name: str, spec: ExerciseSpec) -> nn.Module:
    made, settings = NETWORKS[name]
    return made(spec=spec, **settings).double()


def stacked(name: str, spec: ExerciseSpec) -> Folds:
    torch.manual_seed(0)
    return Folds(build=lambda: built(name, spec), folds=spec.folds)


def singles(name: str, spec: ExerciseSpec) -> list[nn.Module]:
    """As many networks one after the other; on one fold, so that torch's fused loops are used."""
    torch.manual_seed(0)
    return [built(name, spec_of(window=spec.window, answers=spec.answers)) for _ in spec.fold_names]


@pytest.mark.parametrize("answers", ["last", "every"])
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_gradients_are_those_of_each_fold(name: str, answers: str) -> None:
    spec = spec_of(**THREE, window=4, answers=answers)
    model, alone, batch = stacked(name, spec), singles(name, spec), batch_of(spec)
    found = model(batch)
    wanted = torch.stack([one(fold(batch, index)) for index, one in enumerate(alone)])
    assert found.shape == (3, 5, 1 if answers == "last" else 4, 7)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    upward = torch.randn_like(found)
    (found * upward).sum().backward()
    (wanted * upward).sum().backward()
    for weight_name, weight in model.named_parameters():
        assert weight.grad is not None
        each = [one.get_parameter(weight_name).grad for one in alone]
        for index, other in enumerate(each):
            assert other is not None
            torch.testing.assert_close(weight.grad[index], other, rtol=0, atol=1e-11)


def test_a_state_has_the_network_s_names_and_a_fold_axis() -> None:
    spec = spec_of(**THREE)
    model, one = stacked("gru", spec), singles("gru", spec)[0]
    state = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    assert state == {name: (3, *values.shape) for name, values in one.state_dict().items()}
    assert [name for name, _ in model.named_parameters()] == list(dict(one.named_parameters()))


def test_a_state_and_a_copy_give_the_same_answers() -> None:
    spec = spec_of(**THREE)
    model, batch = stacked("sasrec", spec), batch_of(spec)
    for weight in model.parameters():
        weight.data += 0.1
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = stacked("sasrec", spec)
    assert not torch.equal(other(batch), model(batch))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(batch), model(batch))
    twin = copy.deepcopy(model)
    for weight in model.parameters():
        weight.data += 0.1
    assert torch.equal(twin(batch), other(batch))
    assert not torch.equal(model(batch), other(batch))


@pytest.mark.parametrize("name", ["gru", "sasrec"])
def test_one_fold_is_the_network_itself(name: str) -> None:
    spec = spec_of(answers="every")
    model, (one,), batch = stacked(name, spec), singles(name, spec), batch_of(spec)
    assert torch.equal(model(batch)[0], one(fold(batch, 0)))
    assert all(len(weight) == 1 for weight in model.parameters())


class Alone(nn.Module):
    """Gives a single network's answers the fold axis that `trained` counts on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        answers: Tensor = self.network(batch)
        return answers[None]


def test_a_stacked_step_is_a_step_of_each_fold() -> None:
    spec = spec_of(**THREE, window=4)
    torch.manual_seed(1)
    batches = [batch_of(spec), batch_of(spec, full=True)]
    targets = [torch.randint(7, (3, 5, 1)) for _ in batches]
    model = stacked("gru", spec)
    losses = trained(model, batches, targets, steps=20)
    for index, one in enumerate(singles("gru", spec)):
        alone = [fold(batch, index) for batch in batches]
        found = trained(Alone(one), alone, [target[index : index + 1] for target in targets], 20)
        torch.testing.assert_close(losses[:, index], found[:, 0], rtol=0, atol=1e-9)
        for name, values in one.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name][index], values, rtol=0, atol=1e-9)


class Noisy(nn.Module):
    """Drops units by its own `training` and adds a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(40))
        self.register_buffer("shift", torch.rand(1))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        dropped = nn.functional.dropout(self.weight, 0.5, self.training)
        return dropped * batch["x"] + self.shift


def test_dropout_differs_by_fold_and_stops_in_evaluation() -> None:
    torch.manual_seed(0)
    model, batch = Folds(build=Noisy, folds=2), {"x": torch.ones(2, 40)}
    first, second = model(batch) - model.get_buffer("shift")
    assert not torch.equal(first > 0.5, second > 0.5)
    assert model.state_dict()["shift"].unique().numel() == 2
    model.eval()
    assert torch.equal(model(batch), 1.0 + model.get_buffer("shift").expand(2, 40))
    model.train()
    assert not torch.equal(model(batch)[0], model(batch)[0])


def test_another_precision_reaches_parameters_and_buffers() -> None:
    model = Folds(build=Noisy, folds=2).double().eval()
    assert model({"x": torch.ones(2, 40, dtype=torch.float64)}).dtype == torch.float64


def test_words_of_the_network_are_passed_on_and_numbers_are_not() -> None:
    class Talks(nn.Linear):
        def described(self) -> dict[str, Any]:
            return {"bias": self.bias.tolist(), "note": "of one fold"}

    assert Folds(build=lambda: Talks(2, 1), folds=3).described() == {"note": "of one fold"}
    assert Folds(build=lambda: nn.Linear(2, 1), folds=3).described() == {}
