"""The exercise recommender of Mahyari, Pirolli, LeBlanc (2022), L folds side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.models.context import check_choice
from fitexp.models.events import check_dropout, check_sizes
from fitexp.models.recurrent import GATES, step


class FoldLinear(nn.Module):
    """y = x W + b with W and b of each fold. Shape: x (L, M, inputs) -> (L, M, outputs).

    W and b start uniform in +-1/sqrt(fan_in), as torch's nn.Linear; fan_in: `inputs`, or the
    states of a recurrent map, as torch's nn.RNN.
    """

    def __init__(
        self, folds: int, inputs: int, outputs: int, *, bias: bool, fan_in: int | None = None
    ) -> None:
        super().__init__()
        self.bound = max(fan_in or inputs, 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(folds, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(folds, 1, outputs)) if bias else None

    def draw(self, fold: int) -> None:
        """Draw one fold's initial values from torch's generator."""
        for values in self.parameters():
            nn.init.uniform_(values.data[fold], -self.bound, self.bound)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class ExerciseAttn(nn.Module):
    """The item that follows a window of w events, from items, person and items' profiles.

    x_t: one-hot item and features of event t; U: the person's profile; E_t: the profile of t's
    item; o: `combine`. Each W has a bias if `bias`.

        H_t = relu(W_x x_t), H_u = dropout(relu(W_u U)), H_e = dropout(relu(W_e E_t))  (1) (2) (4)
        psi_t = softmax(W_1 H_t o W_2 H_u) * W_1 H_t            over the K entries     (3)
        p_t   = softmax(W_3 psi_t o W_4 H_e)                    over w places          (5)
        phi_t = p_t[t] psi_t                                    attention_over: own
              = p_T[t] psi_t                                    attention_over: last
        h_t   = relu(W_phi phi_t + W_h h_(t-1))                 or a GRU, an LSTM      (6)
        y     = W_y dropout(relu(W_o h_T)); output 0: W_y h_T                          (7)

    Source: Mahyari, Pirolli, LeBlanc, "Real-time learning from an expert in deep recommendation
    systems with application to mHealth for physical exercises", IEEE J-BHI 2022, section III-A.
    y are logits; the softmax of (7) is the loss's.

    Readings of what the paper leaves open, each a key:
    combine: the circled plus; sum, or product as in the authors' program.
    rescale: multiply psi by K and phi by w, so that uniform attention changes nothing. As printed
    (false) it shrinks them K and w times, and training takes 3 to 5 times as many epochs.
    attention_over: which of the w-vectors (5) weighs event t: its own, or the last event's.
    cell: rnn; gru and lstm as the paper proposes for data with longer memory.
    recurrence: window, along the events of a window. batch, for comparison only: along the rows
    of a batch, as the authors' program runs it by an oversight; a row's answer then depends on the
    rows before it.
    output: inner layer of the decoder, which the program has and the paper's ablation halves.
    bias, dropout: none is printed; the program has biases, and dropout 0.2 on H_u, on the items'
    profiles and in the decoder. It also leaves dropout on when it is evaluated; here it is off.

    Departures: x_t is the program's input, one-hot and what is known of the event, not the one-hot
    alone; where there is no event, phi_t is 0 and the state is kept. The program's weights (5) see
    the profiles of the window's items side by side and no psi; that reading is not offered.

    All parameters have a leading fold axis, and folds do not touch: fold l starts as the l-th of L
    networks built one after the other, and a step of Adam on the sum of the folds' losses is a step
    of each.

    Shapes: `batch` with a fold axis, (L, B, w, ..); returns (L, B, 1, N).
    Raises InputError for a key it cannot take and for data.answers=every.
    """

    kind = "exercises"
    stacked = True

    def __init__(
        self,
        *,
        spec: ExerciseSpec,
        combine: str,
        rescale: bool,
        attention_over: str,
        cell: str,
        recurrence: str,
        exercise: int,
        user: int,
        profile: int,
        width: int,
        hidden: int,
        output: int,
        bias: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        check_choice("model.combine", combine, ("sum", "product"))
        check_choice("model.attention_over", attention_over, ("own", "last"))
        check_choice("model.cell", cell, tuple(GATES))
        check_choice("model.recurrence", recurrence, ("window", "batch"))
        check_sizes(exercise=exercise, user=user, profile=profile, width=width, hidden=hidden)
        check_dropout(dropout)
        if output < 0:
            raise InputError(f"model.output={output}: it takes a whole number, 0 for no layer")
        if spec.answers != "last":
            raise InputError("ExerciseAttn answers behind its window only: use data.answers=last")
        self.combine, self.rescale, self.attention_over = combine, rescale, attention_over
        self.cell, self.recurrence, self.width, self.hidden = cell, recurrence, width, hidden
        self.items, self.window = N, w = len(spec.items), spec.window
        L = spec.folds
        gates = GATES[cell] * hidden
        self.W_x = FoldLinear(L, N + len(spec.features), exercise, bias=bias)
        self.W_u = FoldLinear(L, len(spec.profile), user, bias=bias)
        self.W_1 = FoldLinear(L, exercise, width, bias=bias)
        self.W_2 = FoldLinear(L, user, width, bias=bias)
        self.W_e = FoldLinear(L, len(spec.item_profile), profile, bias=bias)
        self.W_3 = FoldLinear(L, width, w, bias=bias)
        self.W_4 = FoldLinear(L, profile, w, bias=bias)
        self.W_phi = FoldLinear(L, width, gates, bias=bias, fan_in=hidden)
        self.W_h = FoldLinear(L, hidden, gates, bias=bias, fan_in=hidden)
        self.W_o = FoldLinear(L, hidden, output, bias=bias) if output else None
        self.W_y = FoldLinear(L, output or hidden, N, bias=bias)
        self.dropout = nn.Dropout(dropout)
        for fold in range(L):
            for layer in self.children():
                if isinstance(layer, FoldLinear):
                    layer.draw(fold)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        valid = batch["valid"]
        L, B, T = valid.shape
        if self.window != T:
            raise ValueError(f"a window of {self.window} events is expected, not {T}")
        items = batch["items"].reshape(L, B * T)
        features = batch["features"].masked_fill(~valid[..., None], 0.0).reshape(L, B * T, -1)

        mapped = self.W_1(self._events(items, features).relu()).view(L, B, T, -1)
        person = self.W_2(self.dropout(self.W_u(batch["profile"]).relu()))[:, :, None]
        psi = self._combined(mapped, person).softmax(dim=-1) * mapped

        known = self.dropout(self.W_e(_looked_up(batch["item_profile"], items)).relu())
        if self.rescale:
            psi = psi * self.width
        p = self._combined(self.W_3(psi.view(L, B * T, -1)), self.W_4(known))
        p = p.softmax(dim=-1).view(L, B, T, T)
        weights = p.diagonal(dim1=2, dim2=3) if self.attention_over == "own" else p[:, :, -1]
        if self.rescale:
            weights = weights * T
        phi = psi * weights.masked_fill(~valid, 0.0)[..., None]

        h = self._last_states(phi, valid)
        if self.W_o is not None:
            h = self.dropout(self.W_o(h).relu())
        logits: Tensor = self.W_y(h)[:, :, None]
        return logits

    def _events(self, items: Tensor, features: Tensor) -> Tensor:
        """W_x [one-hot; features] (L, M, K_X): a row of W_x per item, no one-hot is made."""
        W, b = self.W_x.weight, self.W_x.bias
        first = torch.arange(len(W), device=items.device)[:, None] * W.shape[1]
        rows = F.embedding(items.clamp(max=self.items - 1) + first, W.flatten(0, 1))
        rows = torch.baddbmm(rows, features, W[:, self.items :])
        return rows if b is None else rows + b

    def _combined(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b if self.combine == "sum" else a * b

    def _last_states(self, phi: Tensor, valid: Tensor) -> Tensor:
        """States (L, B, D) behind the window of phi (L, B, T, K)."""
        along_batch = self.recurrence == "batch"
        if along_batch:
            phi, valid = phi.transpose(1, 2), valid.transpose(1, 2)
        L, R, S = valid.shape  # R sequences of S steps
        mapped = self.W_phi(phi.reshape(L, R * S, -1)).view(L, R, S, -1)
        h = c = phi.new_zeros(L, R, self.hidden)
        states = []
        for x, there in zip(mapped.unbind(2), valid[..., None].unbind(2), strict=True):
            new, c_new = step(self.cell, x, self.W_h(h), h, c)
            h = torch.where(there, new, h)
            c = torch.where(there, c_new, c) if self.cell == "lstm" else c
            states.append(h[:, -1])
        return torch.stack(states, dim=1) if along_batch else h


def _looked_up(profile: Tensor, items: Tensor) -> Tensor:
    """Rows of profile (N, Q) per item (L, M), 0 for N, "nothing": (L, M, Q)."""
    return F.embedding(items, F.pad(profile, (0, 0, 0, 1)))
