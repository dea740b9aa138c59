"""FitRec-Attn written out step by step as printed: slow, obvious, with its dead parameters.

The oracle of tests/models/test_fitrec_attn.py and the reference of scripts/benches/fitrec_attn.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fitexp.data.spec import UNKNOWN, Scale, WorkoutSpec
from fitexp.models.fitrec_attn import FitRecAttn

DECAY = {"user": 0.002, "sport": 0.005, "gender": 0.0}


class StepByStep(nn.Module):
    """Notes' equations, one step after the other; `score` is the decoder's, linear or tanh.

    Attention's inner width is `hidden` in both. The previous workout's LSTMs are torch's fused
    ones, here as there: the notes have no loop in them.
    """

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        hidden: int,
        attributes: list[str],
        embedding: int,
        context_hidden: int,
        context_width: int,
        context_dropout: float,
        context_activation: str,
        rescale: bool,
        score: str,
        embedding_decay: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        F, T, D = len(spec.inputs), spec.steps, hidden
        self.columns = [list(spec.attributes).index(name) for name in attributes]
        self.tables = nn.ModuleList(
            nn.Embedding(len(spec.attributes[name]), embedding, padding_idx=0)
            for name in attributes
        )
        K = F + embedding * len(attributes)
        self.has_history = spec.history != "none"
        if self.has_history:
            K += context_width
            self.lstm_1 = nn.LSTM(F + 1, context_hidden, batch_first=True)
            self.lstm_2 = nn.LSTM(1, context_hidden, batch_first=True)
            self.dropout = nn.Dropout(context_dropout)
            self.W_e = nn.Linear(2 * context_hidden, context_width)
            self.selu = context_activation == "selu"
        self.W_s = nn.Linear(D + T, D)  # [h_(t-1); u^k]
        self.v_s = nn.Linear(D, 1, bias=False)
        self.lstm_e = nn.LSTMCell(K, D)
        self.W_l = nn.Linear(D + D, D)  # [d_(t-1); h_i]
        self.v_l = nn.Linear(D, 1, bias=False)
        self.lstm_d = nn.LSTMCell(1 + D, D)
        self.W_AT = nn.Linear(2 * D, 1)
        self.tanh = score == "tanh"
        self.gain = K if rescale else 1

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x, valid = batch["x"], batch["valid"]
        B, T, _ = x.shape
        parts = [x]
        if self.has_history:
            h_1, _ = self.lstm_1(batch["context"])
            h_2, _ = self.lstm_2(batch["context_y"].unsqueeze(-1))
            e = self.W_e(self.dropout(torch.cat([h_1, h_2], -1)))
            if self.selu:
                e = torch.selu(e)
            held = [[min(t, int(last)) for t in range(T)] for last in batch["context_last"]]
            e = torch.stack([row[steps] for row, steps in zip(e, held, strict=True)])
            parts.append(e * batch["has_context"][:, None, None].to(e.dtype))
        for table, column in zip(self.tables, self.columns, strict=True):
            parts.append(table(batch["attributes"][:, column]).unsqueeze(1).repeat(1, T, 1))
        u = torch.cat(parts, -1) * valid.unsqueeze(-1).to(x.dtype)
        K, D = u.shape[-1], self.lstm_e.hidden_size

        series = u.transpose(1, 2)  # (B, K, T), u^k is its row
        h = cell = x.new_zeros(B, D)
        states = []
        for t in range(T):
            pairs = torch.cat([h.unsqueeze(1).expand(B, K, D), series], -1)
            alpha = torch.softmax(self.v_s(self.W_s(pairs)).squeeze(-1), dim=1)
            h, cell = self.lstm_e(self.gain * alpha * u[:, t], (h, cell))
            states.append(h)
        memory = torch.stack(states, 1)  # (B, T, D)

        d = cell = x.new_zeros(B, D)
        y = batch["y0"]
        predictions = []
        for t in range(T):
            pairs = torch.cat([d.unsqueeze(1).expand(B, T, D), memory], -1)
            inner = self.W_l(pairs)
            if self.tanh:
                inner = torch.tanh(inner)
            scores = self.v_l(inner).squeeze(-1)
            beta = torch.softmax(scores.masked_fill(~valid, float("-inf")), dim=1)
            self.last_beta = beta.detach()
            c = (beta.unsqueeze(-1) * memory).sum(1)
            if "y_previous" in batch:
                y = batch["y_previous"][:, t]
            d, cell = self.lstm_d(torch.cat([y.unsqueeze(-1), c], -1), (d, cell))
            y = self.W_AT(torch.cat([d, c], -1)).squeeze(-1)
            predictions.append(y)
        return torch.stack(predictions, 1)


def same_weights(model: FitRecAttn, oracle: StepByStep) -> None:
    """Give `model` the weights of `oracle`; those that cancel in a softmax are left behind."""
    D = model.decoder.hidden_size
    with torch.no_grad():
        for ours, theirs in zip(model.embeddings.tables.values(), oracle.tables, strict=True):
            ours.weight.copy_(theirs.weight)
        if model.context is not None:
            model.context.inputs.load_state_dict(oracle.lstm_1.state_dict())
            model.context.target.load_state_dict(oracle.lstm_2.state_dict())
            model.context.project.load_state_dict(oracle.W_e.state_dict())
        model.input_attention.weight.copy_(oracle.W_s.weight[:, D:].T @ oracle.v_s.weight[0])
        for ours, theirs in ((model.encoder, oracle.lstm_e), (model.decoder, oracle.lstm_d)):
            ours.load_state_dict({f"{k}_l0": v for k, v in theirs.state_dict().items()})
        if model.score == "linear":
            w = oracle.W_l.weight[:, D:].T @ oracle.v_l.weight[0]
            model.temporal_attention.weight.copy_(w)
        else:
            model.query.weight.copy_(oracle.W_l.weight[:, :D])
            model.key.weight.copy_(oracle.W_l.weight[:, D:])
            model.key.bias.copy_(oracle.W_l.bias)
            model.energy.weight.copy_(oracle.v_l.weight)
        model.head.load_state_dict(oracle.W_AT.state_dict())


def gradients(model: FitRecAttn, oracle: StepByStep) -> dict[str, tuple[Tensor, Tensor]]:
    """name -> (gradient in `model`, the same read from `oracle`) after backward of both."""
    D = model.decoder.hidden_size
    pairs = {}
    for ours, theirs in zip(model.embeddings.tables.values(), oracle.tables, strict=True):
        pairs[f"embedding {len(pairs)}"] = (ours.weight.grad, theirs.weight.grad)
    modules = [
        (model.encoder, oracle.lstm_e),
        (model.decoder, oracle.lstm_d),
        (model.head, oracle.W_AT),
    ]
    if model.context is not None:
        modules += [
            (model.context.inputs, oracle.lstm_1),
            (model.context.target, oracle.lstm_2),
            (model.context.project, oracle.W_e),
        ]
    for ours, theirs in modules:
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            pairs[f"{type(theirs).__name__} {len(pairs)} {name}"] = (a.grad, b.grad)
    # w = W' v, so dL/dW = v (dL/dw)' and dL/dv = W dL/dw.
    linear = [("input", model.input_attention, oracle.W_s, oracle.v_s)]
    if model.score == "linear":
        linear.append(("temporal", model.temporal_attention, oracle.W_l, oracle.v_l))
    for name, ours, W, v in linear:
        w_grad = ours.weight.grad
        pairs[f"{name} W"] = (torch.outer(v.weight[0], w_grad), W.weight.grad[:, D:])
        pairs[f"{name} v"] = (W.weight[:, D:] @ w_grad, v.weight.grad[0])
        pairs[f"{name} dead weight"] = (torch.zeros_like(W.weight[:, :D]), W.weight.grad[:, :D])
        pairs[f"{name} dead bias"] = (torch.zeros_like(W.bias), W.bias.grad)
    if model.score == "tanh":
        pairs["query"] = (model.query.weight.grad, oracle.W_l.weight.grad[:, :D])
        pairs["key"] = (model.key.weight.grad, oracle.W_l.weight.grad[:, D:])
        pairs["key bias"] = (model.key.bias.grad, oracle.W_l.bias.grad)
        pairs["energy"] = (model.energy.weight.grad, oracle.v_l.weight.grad)
    return {name: (a.detach(), b.detach()) for name, (a, b) in pairs.items()}


def tiny_spec(
    *, steps: int, inputs: int = 2, users: int = 5, history: str = "previous"
) -> WorkoutSpec:
    names = tuple(f"input_{n}" for n in range(inputs))
    return WorkoutSpec(
        kind="workouts",
        source="none",
        simulated=True,
        target="heart_rate",
        unit="bpm",
        regime="whole",
        steps=steps,
        step=10.0,
        step_unit="s",
        inputs=names,
        attributes={
            "user": (UNKNOWN, *(str(n) for n in range(users))),
            "sport": (UNKNOWN, "run", "bike"),
            "gender": (UNKNOWN, "female", "male"),
        },
        history=history,
        horizons={},
        scaling={name: Scale(mean=0.0, sd=1.0) for name in names},
        start_by_user={UNKNOWN: 80.0},
        protocol={},
    )


def tiny_batch(
    spec: WorkoutSpec,
    *,
    size: int,
    teacher: bool,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> dict[str, Tensor]:
    """A scaled batch with padded rows, a shorter and a missing context, unknown attributes."""
    random = torch.Generator().manual_seed(seed)
    B, T, F = size, spec.steps, len(spec.inputs)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=dtype)

    lengths = torch.randint(max(1, T // 2), T + 1, (B,), generator=random)
    lengths[0] = T
    steps = torch.arange(T)
    batch = {
        "x": normal(B, T, F),
        "valid": steps < lengths[:, None],
        "attributes": torch.stack(
            [torch.randint(0, len(v), (B,), generator=random) for v in spec.attributes.values()], 1
        ),
        "y0": normal(B),
    }
    if spec.history != "none":
        batch |= {
            "context": normal(B, T, F + 1),
            "context_y": normal(B, T),
            "context_last": torch.randint(0, T, (B,), generator=random),
            "has_context": torch.rand(B, generator=random) < 0.8,
        }
        batch["has_context"][0] = True
    if teacher:
        batch["y_previous"] = torch.cat([batch["y0"][:, None], normal(B, T - 1)], 1)
    return batch


def defaults(**changes: object) -> dict[str, object]:
    """The model's arguments as in conf/model/fitrec_attn.yaml, without dropout."""
    return {
        "hidden": 64,
        "attributes": ["user", "sport"],
        "embedding": 5,
        "embedding_decay": DECAY,
        "context_hidden": 64,
        "context_width": 32,
        "context_dropout": 0.0,
        "context_activation": "none",
        "rescale": False,
        "score": "linear",
        **changes,
    }
