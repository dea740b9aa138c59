"""Units, masks, teacher forcing, windows in a row and rollouts of the regression task."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp.data.batches import Batch
from fitexp.data.spec import Scale, WorkoutSpec
from fitexp.errors import InputError
from fitexp.losses import absolute_error, squared_error
from fitexp.tasks import task as task_module
from fitexp.tasks.regression import Regression

MEAN, SD = 140.0, 20.0


def spec(**changes: Any) -> WorkoutSpec:
    values: dict[str, Any] = {
        "kind": "workouts",
        "source": "toy",
        "simulated": True,
        "target": "heart_rate",
        "unit": "bpm",
        "regime": "whole",
        "steps": 4,
        "step": 10.0,
        "step_unit": "s",
        "inputs": ("derived_speed",),
        "attributes": {"user": ("unknown", "a")},
        "history": "previous",
        "horizons": {},
        "scaling": {"heart_rate": Scale(mean=MEAN, sd=SD)},
        "start_by_user": {"unknown": 90.0},
        "protocol": {},
    }
    return WorkoutSpec(**{**values, **changes})


SHORT = {"regime": "short", "horizons": {"10s": 1, "30s": 3}}


class Recorder(nn.Module):
    """Answers `bias + x` and keeps what it was given."""

    kind = "workouts"

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))
        self.given: list[Mapping[str, Tensor]] = []

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        self.given.append(batch)
        return batch["x"][..., 0] + self.bias


class Follow(Recorder):
    """Answers y_(t-1) + x_t; free running from y_0 without y_previous."""

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        self.given.append(batch)
        x = batch["x"][..., 0]
        if "y_previous" in batch:
            return batch["y_previous"] + x + self.bias
        return batch["y0"][:, None] + x.cumsum(dim=1) + self.bias


def task(model: nn.Module, of: WorkoutSpec, **changes: Any) -> Regression:
    values: dict[str, Any] = {
        "loss": squared_error,
        "optimizer": functools.partial(torch.optim.SGD, lr=0.1),
        "target_scaling": "zscore",
        "teacher_forcing": False,
        "reduction": "mean",
    }
    module = Regression(model=model, spec=of, **{**values, **changes})
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    return module


def batch(B: int = 3, T: int = 4, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    y = 140 + 20 * torch.randn(B, T, generator=random)
    y0 = 140 + 20 * torch.randn(B, generator=random)
    return {
        "x": torch.randn(B, T, 1, generator=random),
        "valid": torch.ones(B, T, dtype=torch.bool),
        "attributes": torch.zeros(B, 1, dtype=torch.int64),
        "y": y,
        "mask": (torch.rand(B, T, generator=random) < 0.7).float(),
        "y0": y0,
        "y_previous": torch.cat([y0[:, None], y[:, :-1]], dim=1),
        "context": torch.randn(B, T, 2, generator=random),
        "context_y": 140 + 20 * torch.randn(B, T, generator=random),
        "context_last": torch.full((B,), T - 1),
        "has_context": torch.ones(B, dtype=torch.bool),
        "workout": torch.arange(B),
        "first": torch.zeros(B, dtype=torch.int64),
    }


@pytest.mark.parametrize(("scaling", "mean", "sd"), [("zscore", MEAN, SD), ("none", 0.0, 1.0)])
def test_the_network_sees_scaled_values_and_never_the_answer(
    scaling: str, mean: float, sd: float
) -> None:
    model, data = Recorder(), batch()
    task(model, spec(), target_scaling=scaling).training_step(data, 0)
    given = model.given[0]
    assert {"y", "mask", "y_previous"}.isdisjoint(given)
    for name in ("y0", "context_y"):
        assert torch.allclose(given[name], (data[name] - mean) / sd)
    for name in ("x", "valid", "attributes", "context", "context_last", "has_context"):
        assert given[name] is data[name]


@pytest.mark.parametrize(
    ("regime", "forcing", "training", "told"),
    [
        ("whole", False, True, False),
        ("whole", True, True, True),
        ("whole", True, False, False),
        ("short", False, True, True),
        ("short", False, False, True),
    ],
)
def test_who_is_told_the_measured_past(
    regime: str, forcing: bool, training: bool, told: bool
) -> None:
    model, data = Recorder(), batch()
    changes = SHORT if regime == "short" else {}
    module = task(model, spec(**changes), teacher_forcing=forcing).train(training)
    (module.training_step if training else module.validation_step)(data, 0)
    assert ("y_previous" in model.given[0]) == told
    if told:
        assert torch.allclose(model.given[0]["y_previous"], (data["y_previous"] - MEAN) / SD)


@pytest.mark.parametrize("loss", [squared_error, absolute_error])
def test_mean_is_over_masked_steps(loss: Any) -> None:
    data = batch(B=5)
    module = task(Recorder(), spec(), loss=loss)
    errors = loss(data["x"][..., 0], (data["y"] - MEAN) / SD)
    expected = errors[data["mask"] == 1].mean()
    assert torch.isclose(module.training_step(data, 0), expected)


def test_sum_is_over_steps_and_mean_over_sequences_that_count() -> None:
    data = batch(B=5)
    data["mask"][2] = 0.0
    module = task(Recorder(), spec(), reduction="sum")
    errors = squared_error(data["x"][..., 0], (data["y"] - MEAN) / SD) * data["mask"]
    assert torch.isclose(module.training_step(data, 0), errors.sum() / 4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_averaged_over_ranks_are_those_of_the_global_batch(
    monkeypatch: pytest.MonkeyPatch, reduction: str
) -> None:
    data = batch(B=5)
    data["mask"][4] = 0.0
    whole = task(Recorder(), spec(), reduction=reduction)
    whole.training_step(data, 0).backward()
    ranks = [task(Recorder(), spec(), reduction=reduction) for _ in range(2)]
    shares = [{name: values[r::2] for name, values in data.items()} for r in range(2)]
    sums = [
        torch.stack([p.detach().float() for p in m._step(s)[1:]])
        for m, s in zip(ranks, shares, strict=True)
    ]
    monkeypatch.setattr(task_module, "world", lambda: 2)
    monkeypatch.setattr(task_module, "over_ranks", lambda _: sums[0] + sums[1])
    gradients = []
    for module, share in zip(ranks, shares, strict=True):
        module.training_step(share, 0).backward()
        gradients.append(module.model.bias.grad)
    assert torch.allclose((gradients[0] + gradients[1]) / 2, whole.model.bias.grad)


def test_what_is_masked_does_not_matter() -> None:
    data, other = batch(), batch()
    other["y"] = torch.where(other["mask"] > 0, other["y"], 1e6)
    one, two = task(Recorder(), spec()), task(Recorder(), spec())
    one.training_step(data, 0).backward()
    two.training_step(other, 0).backward()
    assert torch.equal(one.model.bias.grad, two.model.bias.grad)  # type: ignore[arg-type]


def test_nothing_to_learn_from_is_a_zero_loss() -> None:
    data = batch()
    data["mask"] = torch.zeros_like(data["mask"])
    module = task(Recorder(), spec())
    loss = module.training_step(data, 0)
    loss.backward()
    assert loss == 0
    assert module.model.bias.grad == 0


def test_validation_pools_physical_errors_over_all_batches() -> None:
    module = task(Recorder(), spec()).eval()
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[method-assign]
    module.on_validation_epoch_start()
    parts = [batch(B=3, seed=1), batch(B=1, seed=2)]
    parts[1]["workout"] += 10
    for number, data in enumerate(parts):
        module.validation_step(data, number)
    module.on_validation_epoch_end()
    keep = torch.cat([d["mask"] for d in parts]) == 1
    error = torch.cat([d["x"][..., 0] * SD + MEAN - d["y"] for d in parts])[keep]
    assert logged["val/mae_bpm"] == pytest.approx(error.abs().mean().item(), rel=1e-6)
    assert logged["val/rmse_bpm"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-6)
    assert logged["val/loss"] == pytest.approx((error / SD).square().mean().item(), rel=1e-5)


def workout_in_windows(T: int, windows: int, B: int = 2) -> tuple[Batch, list[Batch]]:
    """Workouts of windows * T steps: as one long window, and cut into windows of T."""
    long = batch(B=B, T=T * windows, seed=3)
    cut = []
    for w in range(windows):
        part = {
            name: values[:, w * T : (w + 1) * T]
            if values.ndim > 1 and name != "attributes"
            else values
            for name, values in long.items()
        }
        part["first"] = torch.full((B,), w * T)
        part["y0"] = part["y_previous"][:, 0]  # the measured one
        cut.append(part)
    return long, cut


def test_windows_of_a_workout_follow_from_the_last_prediction() -> None:
    long, cut = workout_in_windows(T=4, windows=3)
    expected = task(Follow(), spec()).eval().predict_batch(long)["whole"]
    module = task(Follow(), spec()).eval()
    found = [module.predict_batch(part)["whole"] for part in cut]
    assert torch.allclose(torch.cat(found, dim=1), expected, atol=1e-3)


def test_windows_of_one_workout_may_share_a_batch_in_any_order() -> None:
    _, cut = workout_in_windows(T=4, windows=3)
    names = cut[0]
    order = torch.tensor([3, 0, 5, 4, 1, 2])
    mixed = {name: torch.cat([part[name] for part in cut])[order] for name in names}
    module = task(Follow(), spec()).eval()
    expected = torch.cat([module.predict_batch(part)["whole"] for part in cut])[order]
    module.start_over()
    assert torch.allclose(module.predict_batch(mixed)["whole"], expected, atol=1e-3)


def test_training_starts_later_windows_at_the_measured_value() -> None:
    _, cut = workout_in_windows(T=4, windows=2)
    module = task(Follow(), spec())
    module.training_step(cut[0], 0)
    module.training_step(cut[1], 1)
    model = module.model
    assert isinstance(model, Follow)
    assert torch.allclose(model.given[1]["y0"], (cut[1]["y0"] - MEAN) / SD)


def test_a_new_pass_forgets_the_last_one() -> None:
    _, cut = workout_in_windows(T=4, windows=2)
    module = task(Follow(), spec()).eval()
    first = module.predict_batch(cut[1])["whole"]  # nothing known: the measured value
    module.predict_batch(cut[0])
    assert not torch.equal(module.predict_batch(cut[1])["whole"], first)
    module.start_over()
    assert torch.equal(module.predict_batch(cut[1])["whole"], first)


def test_rollout_against_a_loop_by_hand() -> None:
    T, H = 4, 3
    data = batch(B=3, T=T + H - 1)
    found = task(Follow(0.1), spec(**SHORT)).eval().predict_batch(data)
    x = data["x"][..., 0]
    y = (data["y_previous"][:, T - 1] - MEAN) / SD  # the last one measured
    expected = []
    for ahead in range(H):
        y = y + x[:, T - 1 + ahead] + 0.1
        expected.append(y * SD + MEAN)
    assert found.keys() == {"10s", "30s"}
    assert torch.allclose(found["10s"], expected[0], atol=1e-3)
    assert torch.allclose(found["30s"], expected[2], atol=1e-3)


def test_rollout_sees_nothing_measured_after_the_origin() -> None:
    T, H = 4, 3
    data = batch(T=T + H - 1)
    other = {name: values.clone() for name, values in data.items()}
    other["y"][:, T - 1 :] += 50
    other["y_previous"][:, T:] += 50
    module = task(Follow(), spec(**SHORT)).eval()
    one, two = module.predict_batch(data), module.predict_batch(other)
    assert all(torch.equal(one[label], two[label]) for label in one)


def test_rollout_windows_are_those_of_the_loader() -> None:
    """Each window handed to the network is what a loader of single windows would give."""
    T, H = 4, 3
    data = batch(T=T + H - 1)
    data["context_last"] = torch.tensor([1, 2, 5])
    model = Recorder()
    task(model, spec(**SHORT)).eval().predict_batch(data)
    assert len(model.given) == H
    for ahead, given in enumerate(model.given):
        for name in ("x", "valid", "context"):
            assert torch.equal(given[name], data[name][:, ahead : ahead + T])
        assert given["y_previous"].shape == (3, T)
        y0 = data["y0"] if not ahead else data["y_previous"][:, ahead]
        assert torch.allclose(given["y0"], (y0 - MEAN) / SD)
        assert torch.equal(given["first"], data["first"] + ahead)
        # a context that ended before the window is held at its last step throughout
        last = [min(end - ahead, T - 1) if end >= ahead else T - 1 for end in (1, 2, 5)]
        assert given["context_last"].tolist() == last


def test_a_batch_too_short_answers_the_horizons_it_reaches() -> None:
    found = task(Follow(), spec(**SHORT)).eval().predict_batch(batch(T=4))
    assert found.keys() == {"10s"}


def test_a_network_may_group_its_parameters() -> None:
    class Grouped(Recorder):
        def parameter_groups(self) -> list[dict[str, Any]]:
            return [{"params": [self.bias], "weight_decay": 0.25}]

    optimizer = task(Grouped(), spec()).configure_optimizers()
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_without_scaling_a_network_is_told_where_to_start() -> None:
    class Starts(Recorder):
        def start_at(self, value: float) -> None:
            self.bias.data.fill_(value)

    assert task(Starts(), spec(), target_scaling="none").model.bias == MEAN
    assert task(Starts(), spec()).model.bias == 0.0


@pytest.mark.parametrize("changes", [{"target_scaling": "minmax"}, {"reduction": "median"}])
def test_unknown_choices_name_the_key(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match="task." + next(iter(changes))):
        task(Recorder(), spec(), **changes)
