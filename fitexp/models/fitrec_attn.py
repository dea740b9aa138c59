"""FitRec-Attn (Ni, Muhlstein, McAuley, WWW 2019): encoder, decoder and two attentions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fitexp.data.spec import WorkoutSpec
from fitexp.models.additive import decode
from fitexp.models.attention import InputAttention, TemporalAttention
from fitexp.models.context import ACTIVATIONS, AttributeEmbeddings, ContextEncoder, check_choice

SCORES = ("linear", "tanh")


class FitRecAttn(nn.Module):
    """y_t from the plan x, the person, the previous workout and the past of y.

        u_t = [x_t; e_t; e_a1; ..; e_am]                         0 where the step does not exist
        h = LSTM_e(alpha * u),       alpha = softmax_k(s^k)      K input series
        c_t = sum_i beta_(i,t) h_i,  beta_t = softmax_i(l_(i,t)) T encoder states
        d_t = LSTM_d(d_(t-1), [y_(t-1); c_t])
        y_t = w_d . d_t + w_o . c_t + b_o

    With `y_previous` in the batch the measured y_(t-1) is fed in (teacher forcing), else the
    model's own prediction, from y_0 on (free running).

    score: linear (the notes). alpha and beta do not vary with t (`fitexp.models.attention`), so
    both recurrences are one fused LSTM each, in free running as well: there
    y_(t-1) = w_d . d_(t-1) + r with r = w_o . c + b_o, hence the decoder reads [r; c] at every
    step but the first and its recurrent weight is W_hh + W_y w_d'.
    score: tanh. The decoder's l_(i,t) = v' tanh(W [d_(t-1); h_i] + b) (`fitexp.models.additive`);
    the input attention stays linear.

    rescale: the encoder reads K alpha * u, so that the inputs keep their size where alpha is
    uniform; as printed (false) they shrink K times.

    Departures from the paper: `rescale`; linear attention starts uniform; no parameters that
    cancel in a softmax; unknown people and sports have a zero embedding; padding is masked in u
    and in beta.

    Shapes: all of `batch` as WorkoutsData yields it, targets scaled; returns (B, T), scaled.
    Answers for T = spec.steps only (ValueError else). Raises InputError for a key it cannot take.
    """

    kind = "workouts"

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        hidden: int,
        attributes: Sequence[str],
        embedding: int,
        embedding_decay: Mapping[str, float],
        context_hidden: int,
        context_width: int,
        context_dropout: float,
        context_activation: str,
        rescale: bool,
        score: str,
    ) -> None:
        super().__init__()
        check_choice("model.score", score, SCORES)
        check_choice("model.context_activation", context_activation, ACTIVATIONS)
        self.embeddings = AttributeEmbeddings(names=attributes, width=embedding, spec=spec)
        self.embedding_decay = dict(embedding_decay)
        self.embeddings.decay_groups(embedding_decay)  # a missing value is said now
        width = len(spec.inputs) + self.embeddings.width
        self.context = None
        if spec.history != "none":
            self.context = ContextEncoder(
                inputs=len(spec.inputs),
                hidden=context_hidden,
                width=context_width,
                dropout=context_dropout,
                activation=context_activation,
            )
            width += context_width
        self.input_attention = InputAttention(steps=spec.steps)
        self.encoder = nn.LSTM(width, hidden, batch_first=True)
        if score == "linear":
            self.temporal_attention = TemporalAttention(hidden=hidden)
        else:
            self.key = nn.Linear(hidden, hidden)
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.energy = nn.Linear(hidden, 1, bias=False)
        self.decoder = nn.LSTM(1 + hidden, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, 1)
        self.score = score
        self.gain = width if rescale else 1

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        _, memory = self._encode(batch)
        prediction, _ = self._decode(batch, memory)
        return prediction

    def attention(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """alpha (B, K) over [x; e; embeddings] and beta over encoder states.

        beta is (B, 1, T) with linear scores, (B, T, T) with tanh: by decoder step, then state.
        """
        alpha, memory = self._encode(batch)
        _, beta = self._decode(batch, memory)
        return alpha, beta

    def start_at(self, value: float) -> None:
        """Begin with answers around `value`: for a target that is not scaled."""
        with torch.no_grad():
            self.head.bias.fill_(value)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Each embedding with its L2 weight; all else under the optimiser's own setting."""
        return self.embeddings.groups_of(self, self.embedding_decay)

    def _encode(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """-> alpha (B, K), memory (B, T, D)."""
        x = batch["x"]
        person = self.embeddings(batch["attributes"])[:, None].expand(-1, x.shape[1], -1)
        parts = [x, person]
        if self.context is not None:
            names = ("context", "context_y", "context_last", "has_context")
            parts.insert(1, self.context(*(batch[name] for name in names)))
        u = torch.cat(parts, dim=-1).masked_fill(~batch["valid"][..., None], 0.0)
        alpha = self.input_attention(u)
        memory, _ = self.encoder(self.gain * alpha[:, None] * u)
        return alpha, memory

    def _decode(self, batch: Mapping[str, Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
        """-> prediction (B, T), beta (B, 1 or T, T)."""
        decoded = self._decode_linear if self.score == "linear" else self._decode_tanh
        return decoded(memory, batch["valid"], batch.get("y_previous"), batch["y0"])

    def _decode_linear(
        self, memory: Tensor, valid: Tensor, y_previous: Tensor | None, y0: Tensor
    ) -> tuple[Tensor, Tensor]:
        beta = self.temporal_attention(memory, valid)[:, None]
        c = torch.bmm(beta, memory)  # (B, 1, D)
        w_d, w_o = self.head.weight[0].chunk(2)
        r = c @ w_o + self.head.bias  # (B, 1), the part of y that does not vary with t
        weights = {}
        if y_previous is None:
            y_previous = torch.cat([y0[:, None], r.expand(-1, memory.shape[1] - 1)], dim=1)
            w_y = self.decoder.get_parameter("weight_ih_l0")[:, 0]
            recur = self.decoder.get_parameter("weight_hh_l0")
            weights["weight_hh_l0"] = recur + torch.outer(w_y, w_d)
        inputs = torch.cat([y_previous[..., None], c.expand_as(memory)], dim=-1)
        d, _ = functional_call(self.decoder, weights, (inputs,))
        return d @ w_d + r, beta

    def _decode_tanh(
        self, memory: Tensor, valid: Tensor, y_previous: Tensor | None, y0: Tensor
    ) -> tuple[Tensor, Tensor]:
        w_ih, w_hh, b_ih, b_hh = self.decoder.parameters()
        w_y, read = w_ih[:, :1], w_ih[:, 1:]
        recur: Tensor = w_hh
        feedback: Tensor | None = None
        w_d, w_o = self.head.weight.chunk(2, dim=1)  # (1, D) each
        if y_previous is None:  # d_0 = c_0 = 0, so the folded weights do nothing at t = 1
            recur, feedback = recur + w_y @ w_d, w_y @ w_o
            rest = self.head.bias.expand(len(y0), memory.shape[1] - 1)
            y_previous = torch.cat([y0[:, None], rest], dim=1)
        x = y_previous.T[..., None] * w_y[:, 0] + (b_ih + b_hh)  # (T, B, 4 D)
        d, c, beta = decode(
            memory,
            self.key(memory),
            valid,
            x,
            self.query.weight,
            self.energy.weight[0],
            recur,
            read,
            feedback,
        )
        prediction = d @ w_d[0] + c @ w_o[0] + self.head.bias
        return prediction.T, beta.transpose(0, 1)
