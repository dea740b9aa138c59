"""FitRec-Attn against its step-by-step form, and the laws a short-term model must keep."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from fitexp.errors import InputError
from fitexp.models import additive
from fitexp.models.fitrec_attn import FitRecAttn
from tests.models.fitrec_attn_oracle import (
    StepByStep,
    defaults,
    gradients,
    same_weights,
    tiny_batch,
    tiny_spec,
)

CONFIG = Path(__file__).parents[2] / "conf" / "model" / "fitrec_attn.yaml"
SMALL = {"hidden": 6, "embedding": 3, "context_hidden": 5, "context_width": 4}
T, B = 12, 7


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(params=["linear", "tanh", "tanh recomputed"])
def score(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The two scores, tanh through autograd's loop and through the hand-written backward."""
    steps = 1 if request.param == "tanh recomputed" else 10**9
    monkeypatch.setattr(additive, "RECOMPUTE_FROM", steps)
    return str(request.param).split()[0]


def small(
    score: str, *, steps: int = T, history: str = "previous", **changes: object
) -> FitRecAttn:
    spec = tiny_spec(steps=steps, history=history)
    model = FitRecAttn(spec=spec, **defaults(score=score, **{**SMALL, **changes}))
    return model.double()


def close(ours: Tensor, theirs: Tensor) -> bool:
    scale = max(1.0, float(theirs.abs().max()))
    return float((ours - theirs).abs().max()) <= 1e-12 * scale


@pytest.mark.parametrize("teacher", [True, False], ids=["teacher forced", "free running"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"context_activation": "selu", "attributes": ["gender", "user", "sport"]},
        {"history": "none", "attributes": []},
        {"rescale": True},
    ],
    ids=["notes", "selu, three attributes", "no history, no attributes", "rescale"],
)
def test_equals_the_step_by_step_form(
    score: str, teacher: bool, changes: dict[str, object]
) -> None:
    arguments = defaults(score=score, **SMALL) | changes
    inputs = 2 if arguments["attributes"] else 5
    history = str(arguments.pop("history", "previous"))
    spec = tiny_spec(steps=T, inputs=inputs, history=history)
    oracle = StepByStep(spec=spec, **arguments).double()
    with torch.no_grad():
        for weight in oracle.parameters():
            weight *= 2.0
        for sharp, times in ((oracle.W_s, 2.0), (oracle.v_s, 2.0), (oracle.v_l, 60.0)):
            sharp.weight *= times
    model = FitRecAttn(spec=spec, **arguments).double()
    same_weights(model, oracle)

    batch = tiny_batch(spec, size=B, teacher=teacher)
    batch["x"] *= 5.0  # as the protocol scales inputs
    wanted = torch.randn(B, T, dtype=torch.float64)
    results = []
    for network in (model, oracle):
        given = {k: v.clone() for k, v in batch.items()}
        real = {k: v.requires_grad_() for k, v in given.items() if v.is_floating_point()}
        output = network(given)
        ((output - wanted) ** 2).sum().backward()
        results.append((output.detach(), {k: v.grad for k, v in real.items()}))
    (ours, our_inputs), (theirs, their_inputs) = results

    alpha, _ = model.attention(batch)
    uniform = 1 / batch["valid"].sum(1, keepdim=True)
    assert alpha.max().item() - 1 / alpha.shape[1] > 0.3
    assert (oracle.last_beta - uniform).max().item() > 0.3
    assert close(ours, theirs)
    for name, gradient in their_inputs.items():
        if gradient is None:  # y0 when the measured y_(t-1) is fed in
            assert teacher
            assert name == "y0"
            continue
        assert close(our_inputs[name], gradient), name
        assert float(gradient.abs().max()) > 1e-6, name
    for name, (mine, printed) in gradients(model, oracle).items():
        assert close(mine, printed), name
        if "dead" in name:
            assert float(printed.abs().max()) < 1e-12, name


@pytest.mark.parametrize("free", [False, True])
def test_hand_written_backward_passes_gradcheck(free: bool) -> None:
    steps, size, hidden, width = 4, 3, 3, 2

    def weight(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    valid = torch.ones(size, steps, dtype=torch.bool)
    valid[1, 2:] = False
    valid[2] = False  # an empty row of a last batch
    arguments = (
        weight(size, steps, hidden),
        weight(size, steps, width),
        valid,
        weight(steps, size, 4 * hidden),
        weight(width, hidden),
        weight(width),
        weight(4 * hidden, hidden),
        weight(4 * hidden, hidden),
        weight(4 * hidden, hidden) if free else None,
    )
    assert torch.autograd.gradcheck(
        lambda *a: additive.RecomputedDecoder.apply(*a)[:2], arguments, atol=1e-8
    )


def test_long_sequences_keep_less_than_half_for_the_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = small("tanh", steps=90), tiny_batch(tiny_spec(steps=90), size=4, teacher=False)

    def kept() -> int:
        storages: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output = model(batch)
        assert output.requires_grad
        return sum(storages.values())

    recomputed = kept()
    monkeypatch.setattr(additive, "RECOMPUTE_FROM", 10**9)
    assert recomputed < 0.5 * kept()


@pytest.mark.parametrize("teacher", [True, False])
def test_padding_does_not_matter(score: str, teacher: bool) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=teacher)
    other = {k: v.clone() for k, v in batch.items()}
    other["x"][~batch["valid"]] = 1e3
    beyond = torch.arange(T) > batch["context_last"][:, None]
    beyond |= ~batch["has_context"][:, None]
    assert beyond.any()
    other["context"][beyond] = 1e3
    other["context_y"][beyond] = 1e3
    assert torch.equal(model(batch)[batch["valid"]], model(other)[batch["valid"]])


def test_rows_do_not_matter_to_each_other(score: str) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=False)
    alone = model({k: v[2:4] for k, v in batch.items()})
    torch.testing.assert_close(alone, model(batch)[2:4], rtol=0, atol=1e-12)


def test_a_row_without_any_step_gives_finite_numbers(score: str) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=False)
    batch["valid"][3] = False
    output = model(batch)
    output.square().sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_later_targets_do_not_reach_back(score: str) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=True)
    before = model(batch)
    for t in range(1, T):
        later = batch | {"y_previous": batch["y_previous"].clone()}
        later["y_previous"][:, t:] += 1.0
        after = model(later)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.isclose(after[:, t], before[:, t], rtol=0, atol=1e-9).any()


def test_free_running_feeds_back_its_own_predictions(score: str) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=False)
    free = model(batch).detach()
    fed = torch.cat([batch["y0"][:, None], free[:, :-1]], dim=1)
    torch.testing.assert_close(model(batch | {"y_previous": fed}), free, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("teacher", [True, False])
def test_one_batch_can_be_learned_by_heart(score: str, teacher: bool) -> None:
    spec = tiny_spec(steps=10)
    model = FitRecAttn(spec=spec, **defaults(score=score, hidden=24, context_hidden=16))
    batch = tiny_batch(spec, size=6, teacher=teacher, dtype=torch.float32)
    y = torch.randn(6, 10).cumsum(1) * 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(250):
        optimizer.zero_grad()
        loss = (model(batch) - y)[batch["valid"]].square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-20:]) < 0.02 * losses[0]


def test_unknown_attributes_have_a_zero_embedding_and_keep_it() -> None:
    model, batch = small("linear"), tiny_batch(tiny_spec(steps=T), size=B, teacher=False)
    batch["attributes"][0] = 0
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=0.1)
    for _ in range(2):
        embedded = model.embeddings(batch["attributes"])
        assert torch.equal(embedded[0], torch.zeros_like(embedded[0]))
        optimizer.zero_grad()
        model(batch).square().sum().backward()
        optimizer.step()
    assert not torch.equal(model.embeddings.tables["user"].weight, torch.zeros(6, 3))


def test_attention_weights_are_weights(score: str) -> None:
    model, batch = small(score), tiny_batch(tiny_spec(steps=T), size=B, teacher=False)
    alpha, beta = model.attention(batch)
    assert alpha.shape == (B, 2 + 4 + 2 * 3)
    assert beta.shape == (B, 1 if score == "linear" else T, T)
    for weights in (alpha, beta):
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert not beta.masked_select(~batch["valid"][:, None]).any()


def test_parameters_that_cancel_are_not_created() -> None:
    linear, tanh = (
        {n.split(".")[0] for n, _ in small(s).named_parameters()} for s in ("linear", "tanh")
    )
    assert linear - tanh == {"temporal_attention"}
    assert tanh - linear == {"key", "query", "energy"}
    assert small("linear").input_attention.weight.shape == (T,)
    assert not any(
        "context" in name for name, _ in small("linear", history="none").named_parameters()
    )


def test_parameter_groups_hold_every_weight_once() -> None:
    model = small("linear", attributes=["sport", "user"])
    groups = model.parameter_groups()
    assert [g.get("weight_decay") for g in groups] == [0.005, 0.002, None]
    assert [len(g["params"]) for g in groups[:2]] == [1, 1]
    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())


def test_config_names_exactly_the_arguments() -> None:
    config = yaml.safe_load(CONFIG.read_text())["model"]
    target = config.pop("_target_")
    assert target == f"{FitRecAttn.__module__}.{FitRecAttn.__qualname__}"
    arguments = inspect.signature(FitRecAttn).parameters
    assert set(config) == set(arguments) - {"spec"}
    assert all(a.kind is a.KEYWORD_ONLY and a.default is a.empty for a in arguments.values())
    model = FitRecAttn(spec=tiny_spec(steps=T), **config)
    assert model(
        tiny_batch(tiny_spec(steps=T), size=2, teacher=False, dtype=torch.float32)
    ).shape == (2, T)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "softmax"}, r"model\.score: 'softmax' is not one of linear, tanh"),
        ({"attributes": ["usr"]}, r"model\.attributes: 'usr' is not one of user, sport, gender"),
        ({"attributes": ["user", "user"]}, r"model\.attributes: 'user' is named twice"),
        (
            {"context_activation": "relu"},
            r"model\.context_activation: 'relu' is not one of none, selu",
        ),
        ({"embedding_decay": {"user": 0.1}}, r"model\.embedding_decay: no value for sport"),
    ],
)
def test_mistakes_are_named_with_the_choices(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**{"score": "linear", **changes})


def test_another_length_is_refused() -> None:
    model = small("linear")
    with pytest.raises(ValueError, match="answers for 12 steps, got a batch of 9"):
        model(tiny_batch(tiny_spec(steps=9), size=2, teacher=False))
