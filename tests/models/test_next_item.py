"""Networks that score the next item, against slow second writings on each row's events alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.losses import cross_entropy
from fitexp.models.cnn import CNN
from fitexp.models.gru4rec import GRU4Rec
from fitexp.models.mixture import Mixture
from fitexp.models.pooling import Pooling
from fitexp.models.recurrent import Recurrent
from fitexp.models.sasrec import SASRec
from tests.models.exercises import Batch, batch_of, fold, padding_does_not_matter, spec_of
from tests.models.networks import arguments

SPEC = spec_of(window=5, answers="every")
SMALL = {
    "gru4rec": {"embedding": 6, "hidden": 4},
    "sasrec": {"embedding": 6, "hidden": 5},
    "pooling": {"embedding": 6},
    "cnn": {"embedding": 6, "layers": 2, "dilation": 2},
    "mixture": {"embedding": 6, "tastes": 3},
}
MADE = {"gru4rec": GRU4Rec, "sasrec": SASRec, "pooling": Pooling, "cnn": CNN, "mixture": Mixture}


def small(name: str, *, spec: ExerciseSpec = SPEC, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    model = MADE[name](spec=spec, **{**arguments(name), **SMALL[name], **changes}).double()
    return model.eval()


def rows(batch: Batch) -> list[tuple[list[int], Tensor, Tensor]]:
    """Of each row with events: its items, features (t, F) and profile."""
    found = []
    for items, valid, features, profile in zip(
        batch["items"], batch["valid"], batch["features"], batch["profile"], strict=True
    ):
        found.append((items[valid].tolist(), features[valid], profile))
    return found


def agrees(model: nn.Module, oracle: Any) -> None:
    """oracle(items, features, profile) -> (t, N) on unpadded events; also in the form "last"."""
    batch = fold(batch_of(SPEC, size=6), 0)
    found = model(batch)
    model.spec = spec_of(window=5, answers="last")
    last = model(batch)
    assert found.shape == (6, 5, 7)
    torch.testing.assert_close(last, found[:, -1:], rtol=0, atol=1e-12)
    for row, (items, features, profile) in enumerate(rows(batch)):
        if items:
            wanted = oracle(items, features, profile)
            torch.testing.assert_close(found[row, -len(items) :], wanted, rtol=0, atol=1e-12)


def events(model: Any, items: list[int], features: Tensor, profile: Tensor) -> Tensor:
    x = [model.events.vectors[item] for item in items]
    if model.events.side is not None:
        W = model.events.side
        x = [v + W.weight @ torch.cat([f, profile]) + W.bias
             for v, f in zip(x, features, strict=True)]  # fmt: skip
    return torch.stack(x)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "lstm", "layers": 2},
        {"side": False, "tied": True, "hidden": 6},
    ],
    ids=str,
)
@pytest.mark.parametrize("folds", [1, 2])
def test_gru4rec_is_torch_s_gru_on_the_events(changes: dict[str, Any], folds: int) -> None:
    """folds 2: the loop by steps that vmap takes."""
    fused = spec_of(window=5, answers="every", folds=folds)
    model: Any = small("gru4rec", spec=fused, **changes)
    kind = nn.LSTM if changes.get("cell") == "lstm" else nn.GRU
    inner = kind(6, model.memory.hidden, num_layers=model.memory.layers).double()
    inner.load_state_dict(model.memory.state_dict())

    def oracle(items: list[int], features: Tensor, profile: Tensor) -> Tensor:
        h, _ = inner(events(model, items, features, profile)[:, None])
        if model.head is not None:
            return model.head(h[:, 0])
        scores = [torch.stack([h_t @ v for v in model.events.vectors]) for h_t in h[:, 0]]
        return torch.stack(scores) + model.scores.bias

    if model.scores is not None:
        model.scores.bias.data.normal_()
    agrees(model, oracle)


def test_steps_drop_units_between_layers_only() -> None:
    torch.manual_seed(0)
    model = Recurrent(cell="gru", inputs=3, hidden=4, layers=2, dropout=0.5, fused=False)
    x = torch.randn(2, 5, 3)
    assert not torch.equal(model(x), model(x))
    model.layers = 1
    assert torch.equal(model(x), model(x))


def test_sasrec_is_torch_s_encoder_with_a_causal_mask() -> None:
    model: Any = small("sasrec", heads=3)
    model.scores.bias.data.normal_()
    blocks = []
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(6, 3, 5, 0.0, norm_first=True, dtype=torch.float64)
        names = {
            "self_attn.in_proj_": block.query_key_value,
            "self_attn.out_proj.": block.mix,
            "linear1.": block.up,
            "linear2.": block.down,
            "norm1.": block.norm_1,
            "norm2.": block.norm_2,
        }
        layer.load_state_dict(
            {
                f"{n}{part}": getattr(m, part)
                for n, m in names.items()
                for part in ("weight", "bias")
            }
        )
        blocks.append(layer)

    def oracle(items: list[int], features: Tensor, profile: Tensor) -> Tensor:
        x = events(model, items, features, profile)[:, None]
        x = x + model.positions[: len(items), None]
        mask = nn.Transformer.generate_square_subsequent_mask(len(items), dtype=torch.float64)
        for layer in blocks:
            x = layer(x, src_mask=mask)
        return model.norm(x)[:, 0] @ model.events.vectors.T + model.scores.bias

    agrees(model, oracle)


def test_sasrec_holds_the_last_position_beyond_its_window() -> None:
    model: Any = small("sasrec")
    longer = fold(batch_of(SPEC, steps=7, full=True), 0)
    short = model(longer)
    model.positions = nn.Parameter(torch.cat([model.positions, model.positions[-1:].repeat(2, 1)]))
    assert torch.equal(model(longer), short)


def test_pooling_is_the_mean_of_past_items() -> None:
    model: Any = small("pooling")
    model.scores.bias.data.normal_()

    def oracle(items: list[int], features: Tensor, profile: Tensor) -> Tensor:
        v, b = model.events.vectors, model.scores.bias
        means = [sum(v[item] for item in items[: t + 1]) / (t + 1) for t in range(len(items))]
        return torch.stack([torch.stack([u @ v[i] + b[i] for i in range(7)]) for u in means])

    agrees(model, oracle)


def test_cnn_is_the_sum_over_past_events() -> None:
    model: Any = small("cnn")
    model.scores.bias.data.normal_()

    def oracle(items: list[int], features: Tensor, profile: Tensor) -> Tensor:
        x = [model.events.vectors[item] for item in items]
        for number, layer in enumerate(model.layers):
            gap, kernel = 2**number, layer.weight.shape[2]
            answer = []
            for t in range(len(x)):
                total = layer.bias
                for back in range(kernel):
                    if t - back * gap >= 0:
                        total = total + layer.weight[:, :, kernel - 1 - back] @ x[t - back * gap]
                answer.append(x[t] + total.tanh())
            x = answer
        return torch.stack(x) @ model.events.vectors.T + model.scores.bias

    agrees(model, oracle)


def test_mixture_is_the_softmax_over_tastes() -> None:
    model: Any = small("mixture")
    model.scores.bias.data.normal_()
    lstm = nn.LSTM(6, 6).double()
    lstm.load_state_dict(model.memory.state_dict())

    def oracle(items: list[int], features: Tensor, profile: Tensor) -> Tensor:
        v, b = model.events.vectors, model.scores.bias
        answers = []
        for h in lstm(v[items])[0]:
            projected = model.project(h)
            tastes, attentions = projected[:18].view(3, 6), projected[18:].view(3, 6)
            scores = []
            for i in range(7):
                weight = [torch.exp(a @ v[i]) for a in attentions]
                parts = [w * (m @ v[i]) for w, m in zip(weight, tastes, strict=True)]
                scores.append(sum(parts) / sum(weight) + b[i])
            answers.append(torch.stack(scores))
        return torch.stack(answers)

    agrees(model, oracle)


@pytest.mark.parametrize("answers", ["last", "every"])
@pytest.mark.parametrize("name", MADE)
def test_padding_does_not_matter(name: str, answers: str) -> None:
    """Neither what stands in it nor how much of it there is."""
    spec = spec_of(window=5, answers=answers)
    model, batch = small(name, spec=spec), fold(batch_of(spec, size=6), 0)
    padding_does_not_matter(model, batch)
    wider = {
        "items": nn.functional.pad(batch["items"], (2, 0), value=7),
        "valid": nn.functional.pad(batch["valid"], (2, 0)),
        "features": nn.functional.pad(batch["features"], (0, 0, 2, 0)),
        "profile": batch["profile"],
    }
    one, other = model(batch), model(wider)
    torch.testing.assert_close(one, other[:, -one.shape[1] :], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MADE)
def test_later_events_do_not_reach_back(name: str) -> None:
    model, batch = small(name), fold(batch_of(SPEC, full=True), 0)
    before = model(batch)
    for t in range(5):
        items, features = batch["items"].clone(), batch["features"].clone()
        items[:, t:] = (items[:, t:] + 1) % 7
        features[:, t:] += 1.0
        after = model({**batch, "items": items, "features": features})
        assert torch.equal(after[:, :t], before[:, :t])
        assert (after[:, t] != before[:, t]).any(-1).all()


@pytest.mark.parametrize("name", MADE)
def test_one_batch_is_learned_by_heart(name: str) -> None:
    """Five rows with another next item each."""
    spec = spec_of(window=5)
    model, batch = small(name, spec=spec).train(), fold(batch_of(spec, full=True), 0)
    if hasattr(model, "dropout"):
        model.dropout.p = 0.0
    target = torch.arange(5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = cross_entropy(model(batch)[:, 0], target).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.0
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gru4rec", {"cell": "rnn"}, r"model\.cell: 'rnn' is not one of gru, lstm"),
        (
            "gru4rec",
            {"tied": True},
            r"model\.hidden \(4\) and model\.embedding \(6\) must be equal",
        ),
        ("gru4rec", {"dropout": -0.1}, r"model\.dropout=-0\.1"),
        ("sasrec", {"heads": 4}, r"model\.heads=4 does not divide model\.embedding=6"),
        ("cnn", {"kernel": 0}, r"model\.kernel=0: it takes a whole number"),
        ("pooling", {"embedding": 0}, r"model\.embedding=0"),
        ("mixture", {"tastes": 0}, r"model\.tastes=0"),
    ],
)
def test_mistakes_are_named(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(name, **changes)


@pytest.mark.parametrize("name", MADE)
def test_padding_behind_the_events_does_not_matter(name: str) -> None:
    """As in whole histories of unequal length: nothing, then k events, then nothing."""
    model = small(name)
    batch = fold(batch_of(SPEC, size=6), 0)
    valid = batch["valid"]
    T = valid.shape[1]
    shift = (T - valid.sum(dim=1) - 1).clamp(min=0)[:, None]  # so much to the left
    index = (torch.arange(T) + shift) % T
    moved = {**batch, "valid": valid.gather(1, index), "items": batch["items"].gather(1, index)}
    wide = index[..., None].expand_as(batch["features"])
    moved["features"] = batch["features"].gather(1, wide)
    assert not moved["valid"][1:4, -1].any()
    torch.testing.assert_close(
        model(moved)[moved["valid"]], model(batch)[valid], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "names", "scores"),
    [
        (
            "gru4rec",
            "events.vectors events.side.weight events.side.bias memory.weight_ih_l0 "
            "memory.weight_hh_l0 memory.bias_ih_l0 memory.bias_hh_l0 head.weight head.bias",
            [-0.31451472746807496, -0.0344168278656963, 0.7080550045625655],
        ),
        (
            "sasrec",
            "positions events.vectors events.side.weight events.side.bias "
            + " ".join(
                f"blocks.{block}.{layer}.{what}"
                for block in range(2)
                for layer in ("norm_1", "query_key_value", "mix", "norm_2", "up", "down")
                for what in ("weight", "bias")
            )
            + " norm.weight norm.bias scores.bias",
            [-0.3631756570536627, -0.5870623104778573, 0.8265373598764811],
        ),
        (
            "pooling",
            "events.vectors scores.bias",
            [0.031435657077890054, 0.0342341179276234, -0.0528798872489439],
        ),
        (
            "cnn",
            "events.vectors layers.0.weight layers.0.bias layers.1.weight layers.1.bias "
            "scores.bias",
            [0.035989283035528605, -0.04972197704878762, -0.1567773740624756],
        ),
        (
            "mixture",
            "events.vectors memory.weight_ih_l0 memory.weight_hh_l0 memory.bias_ih_l0 "
            "memory.bias_hh_l0 project.weight project.bias scores.bias",
            [0.07912768462092, 0.17072650011454937, -0.09674667209284601],
        ),
    ],
)
def test_names_first_values_and_answers_stay(name: str, names: str, scores: list[float]) -> None:
    """Checkpoints of old runs are loaded by these names, and seeds give these answers."""
    model = small(name)
    assert [found for found, _ in model.named_parameters()] == names.split()
    answer = model(fold(batch_of(SPEC, size=6), 0))[5, 4]
    assert answer[:3].tolist() == pytest.approx(scores, rel=1e-12)


@pytest.mark.parametrize("name", MADE)
def test_what_is_said_not_to_be_read_changes_no_answer(name: str) -> None:
    """And what is not said does."""
    offered = {
        "features": "what is known of past events",
        "profile": "profile of the user",
        "item_profile": "profile of items",
    }
    batch = fold(batch_of(SPEC, size=6), 0)
    for side in (True, False) if name in ("gru4rec", "sasrec") else (None,):
        model = small(name, **({} if side is None else {"side": side}))
        said = model.described()["not read"].split(", ")
        for key, words in offered.items():
            other = model({**batch, key: batch[key] + 1.0})
            assert torch.equal(other, model(batch)) == (words in said)
    bare = spec_of(window=5, answers="every", features=(), profile=(), item_profile=())
    assert small(name, spec=bare).described() == {}
