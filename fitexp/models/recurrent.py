"""One step of an RNN, GRU or LSTM, and a GRU or LSTM that torch.vmap can take apart.

torch's fused nn.RNN, nn.GRU and nn.LSTM have no batching rule for vmap (torch 2.13).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # blocks of a cell's maps, in torch's order


def step(cell: str, x: Tensor, past: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """(h_t, c_t) from x = W_i x_t + b_i and past = W_h h_(t-1) + b_h, both (..., GATES * D).

    rnn:  h_t = relu(x + past)
    gru:  r, z = sigmoid(x_rz + past_rz), n = tanh(x_n + r past_n), h_t = n + z (h_(t-1) - n)
    lstm: i, f, g, o = x + past, c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g),
          h_t = sigmoid(o) tanh(c_t)
    Source: documentation of nn.RNN, nn.GRU, nn.LSTM. c is passed through but for the LSTM.
    """
    if cell == "rnn":
        return (x + past).relu(), c
    if cell == "gru":
        D = h.shape[-1]
        r, z = (x[..., : 2 * D] + past[..., : 2 * D]).sigmoid().chunk(2, dim=-1)
        n = torch.addcmul(x[..., 2 * D :], r, past[..., 2 * D :]).tanh()
        return n + z * (h - n), c
    i, f, g, o = (x + past).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


class Recurrent(nn.Module):
    """nn.GRU or nn.LSTM with its parameters, names and initial values, from a zero state.

    fused: torch's own loop, which is fast; else step by step, which vmap can take.
    dropout falls between layers. Shape: x (B, T, F) -> states of the last layer (B, T, D).
    """

    def __init__(
        self, *, cell: str, inputs: int, hidden: int, layers: int, dropout: float, fused: bool
    ) -> None:
        super().__init__()
        made = (nn.GRU if cell == "gru" else nn.LSTM)(inputs, hidden, num_layers=layers)
        for name, weight in made.named_parameters():
            self.register_parameter(name, weight)
        self.cell, self.hidden, self.layers = cell, hidden, layers
        self.dropout, self.fused = dropout, fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return self._at_once(x)
        for layer in range(self.layers):
            x = self._by_steps(F.dropout(x, self.dropout, self.training) if layer else x, layer)
        return x

    def _weights(self, layer: int) -> list[Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l{layer}") for name in names]

    def _at_once(self, x: Tensor) -> Tensor:
        h = x.new_zeros(self.layers, len(x), self.hidden)
        weights = [weight for layer in range(self.layers) for weight in self._weights(layer)]
        # has_biases, layers, dropout, train, bidirectional, batch_first
        settings = (True, self.layers, self.dropout, self.training, False, True)
        if self.cell == "gru":
            return torch.gru(x, h, weights, *settings)[0]
        return torch.lstm(x, (h, h), weights, *settings)[0]

    def _by_steps(self, x: Tensor, layer: int) -> Tensor:
        w_i, w_h, b_i, b_h = self._weights(layer)
        h = c = x.new_zeros(len(x), self.hidden)
        states = []
        for x_t in F.linear(x, w_i, b_i).unbind(1):
            h, c = step(self.cell, x_t, F.linear(h, w_h, b_h), h, c)
            states.append(h)
        return torch.stack(states, dim=1)
