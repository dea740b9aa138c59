"""The stacked network against the literal equations, and the laws of a network for exercises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fitexp.errors import InputError
from fitexp.models.exercise_attn import ExerciseAttn
from tests.models.exercise_attn_oracle import literal
from tests.models.exercises import batch_of, fold, padding_does_not_matter, spec_of, trained
from tests.models.networks import arguments

FOLDS = {"folds": 3, "fold_names": ("a", "b", "c")}


def small(**changes: Any) -> ExerciseAttn:
    """Of the config's keys but small, without dropout, in float64."""
    torch.manual_seed(changes.pop("seed", 0))
    spec = changes.pop("spec", spec_of(**FOLDS))
    sizes = {"exercise": 6, "user": 5, "width": 4, "hidden": 4, "output": 5, "dropout": 0.0}
    return ExerciseAttn(spec=spec, **{**arguments("exercise_attn"), **sizes, **changes}).double()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"combine": "product"},
        {"rescale": True},
        {"attention_over": "last"},
        {"cell": "gru"},
        {"cell": "lstm", "output": 0},
        {"bias": False},
        {"bias": False, "cell": "gru", "rescale": True},
        {"combine": "product", "rescale": True, "attention_over": "last", "output": 0},
        {"recurrence": "batch"},
        {"recurrence": "batch", "cell": "lstm", "attention_over": "last"},
    ],
    ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()) or "default",
)
def test_it_is_the_equations_fold_by_fold(options: dict[str, Any]) -> None:
    model = small(**options)
    batch = batch_of(spec_of(**FOLDS), full=options.get("recurrence") == "batch")
    found, wanted = model(batch), literal(model, batch)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    upward = torch.randn_like(found)
    parameters = dict(model.named_parameters())
    gradients = [
        torch.autograd.grad((logits * upward).sum(), list(parameters.values()))
        for logits in (found, wanted)
    ]
    for name, one, other in zip(parameters, *gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12, msg=name)
        assert (one != 0).any(), name


def test_without_features_profiles_or_items_profiles() -> None:
    spec = spec_of(**FOLDS, features=(), profile=(), item_profile=())
    model, batch = small(spec=spec), batch_of(spec)
    torch.testing.assert_close(model(batch), literal(model, batch), rtol=0, atol=1e-12)


def test_padding_does_not_matter() -> None:
    for changes in ({}, {"cell": "lstm"}, {"attention_over": "last"}, {"bias": False}):
        padding_does_not_matter(small(**changes), batch_of(spec_of(**FOLDS)))


def test_rows_and_folds_do_not_touch() -> None:
    model, batch = small(), batch_of(spec_of(**FOLDS), full=True)
    other = {name: values.clone() for name, values in batch.items()}
    other["features"][1, 2] += 1.0
    other["profile"][1, 2] += 1.0
    moved = (model(other) != model(batch)).any(-1)[..., 0]
    assert moved.nonzero().tolist() == [[1, 2]]
    for weight in model.parameters():
        weight.data[2] += 0.1
    moved = (model(other) != small()(other)).any(-1)[..., 0]
    assert moved.tolist() == [[False] * 5, [False] * 5, [True] * 5]


def test_later_rows_do_not_reach_back_along_the_batch() -> None:
    model, batch = small(recurrence="batch", cell="gru"), batch_of(spec_of(**FOLDS), full=True)
    other = {**batch, "features": batch["features"].clone()}
    other["features"][:, 2] += 1.0
    moved = (model(other) != model(batch)).any(-1)[..., 0]
    assert moved.tolist() == [[False, False, True, True, True]] * 3


def test_later_events_do_not_reach_back() -> None:
    """What the first two events leave in the state is the same whatever the third is."""
    model, batch = small(), batch_of(spec_of(**FOLDS), full=True)
    other = {**batch, "items": batch["items"].clone(), "features": batch["features"].clone()}
    other["items"][..., 2] = (other["items"][..., 2] + 1) % 7
    other["features"][..., 2, :] += 1.0
    seen: list[torch.Tensor] = []
    model.W_h.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    before, after = model(batch), model(other)
    assert torch.equal(seen[2], seen[5])  # h_2, given to the third step
    assert (before != after).any(-1).all()


def test_folds_start_as_networks_built_one_after_the_other() -> None:
    stacked = small().state_dict()
    torch.manual_seed(0)
    for index in range(3):
        one = ExerciseAttn(
            spec=spec_of(),
            **{
                **arguments("exercise_attn"),
                **{"exercise": 6, "user": 5, "width": 4, "hidden": 4, "output": 5},
            },
        )
        for name, values in one.state_dict().items():
            assert torch.equal(values[0].double(), stacked[name][index]), name


def test_initial_values_are_torch_s() -> None:
    """Uniform in +-1/sqrt(fan_in), the fan-in of a recurrent map being its states."""
    model = small(exercise=60, hidden=50, output=40, width=30, cell="gru")
    fans = {"W_x": 9, "W_1": 60, "W_phi": 50, "W_h": 50, "W_o": 50, "W_y": 40, "W_u": 3, "W_e": 2}
    for name, fan in fans.items():
        layer, bound = getattr(model, name), 1.0 / math.sqrt(fan)
        weights = layer.weight.detach()
        assert weights.abs().max() <= bound
        assert layer.bias.abs().max() <= bound
        if weights.numel() > 500:
            assert float(weights.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_a_stacked_step_is_a_step_of_each_fold() -> None:
    spec = spec_of(**FOLDS)
    torch.manual_seed(1)
    batches = [batch_of(spec), batch_of(spec, full=True)]
    targets = [torch.randint(7, (3, 5, 1)) for _ in batches]
    model = small()
    start = {name: values.clone() for name, values in model.state_dict().items()}
    losses = trained(model, batches, targets, steps=20)
    for index in range(3):
        one = small(spec=spec_of())
        one.load_state_dict({name: values[index : index + 1] for name, values in start.items()})
        alone = [
            {k: v[None] if k != "item_profile" else v for k, v in fold(b, index).items()}
            for b in batches
        ]
        found = trained(one, alone, [target[index : index + 1] for target in targets], steps=20)
        torch.testing.assert_close(losses[:, index], found[:, 0], rtol=0, atol=1e-9)
        for name, values in one.state_dict().items():
            torch.testing.assert_close(
                model.state_dict()[name][index], values[0], rtol=0, atol=1e-9
            )


def test_one_batch_is_learned_by_heart() -> None:
    spec = spec_of(**FOLDS)
    model = small(hidden=16, exercise=16, width=16, output=16, rescale=True)
    batch, target = batch_of(spec, full=True), torch.randint(7, (3, 5, 1))
    losses = trained(model, [batch], [target], steps=150, lr=0.02)
    assert (losses[-1] < 0.02 * losses[0]).all()


def test_dropout_is_for_training() -> None:
    model, batch = small(dropout=0.5), batch_of(spec_of(**FOLDS))
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), small()(batch))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"combine": "cat"}, r"model\.combine: 'cat' is not one of sum, product"),
        ({"cell": "tcn"}, r"model\.cell: 'tcn'"),
        ({"hidden": 0}, r"model\.hidden=0: it takes a whole number, 1 up"),
        ({"output": -1}, r"model\.output=-1"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0"),
        ({"spec": spec_of(answers="every")}, r"use data\.answers=last"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_another_window_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 3 events is expected, not 4"):
        small()(batch_of(spec_of(**FOLDS), steps=4))
