"""Self-attention over past events (SASRec)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.models.events import ItemScores, NextItem, PastEvents, check_dropout, check_sizes


class Block(nn.Module):
    """x + attention(norm(x)), then x + W_2 relu(W_1 norm(x)); no event sees a later one.

    Attention: softmax_j<=i(q_i . k_j / sqrt(D / heads)) v_j per head, heads side by side, then a
    linear map. Dropout falls on the weights of attention and on what is added to x.
    Shape: (B, T, D) -> (B, T, D).
    """

    def __init__(self, *, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.mix(self._attend(self.norm_1(x))))
        inner = self.dropout(self.up(self.norm_2(x)).relu())
        answer: Tensor = x + self.dropout(self.down(inner))
        return answer

    def _attend(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        parts = self.query_key_value(x).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, D / heads)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        weights = self.dropout(scores.masked_fill(later, float("-inf")).softmax(dim=-1))
        seen: Tensor = (weights @ v).transpose(1, 2).reshape(B, T, D)
        return seen


class SASRec(NextItem):
    """Scores of the item that follows event t, from the events up to t.

        x_t = dropout(v_(item t) + W [features_t; profile] + p_k)    event t is the k-th of its row
        y   = norm(blocks(x)),   s_t = V y_t + b                      V: the items' vectors

    Source: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018. Departures:
    features and profile (`side`), a bias per item, cross-entropy over all N items, and a width of
    the two-layer part (`hidden`) that need not be that of the events.

    Learned positions p count from the first event of a row, so that an answer depends neither on
    padding nor on how many events follow. Beyond `spec.window` events the last position is held.

    Shapes and errors: `NextItem`.
    """

    def __init__(
        self,
        *,
        spec: ExerciseSpec,
        embedding: int,
        hidden: int,
        layers: int,
        heads: int,
        dropout: float,
        side: bool,
    ) -> None:
        super().__init__(spec=spec)
        check_sizes(embedding=embedding, hidden=hidden, layers=layers, heads=heads)
        check_dropout(dropout)
        if embedding % heads:
            raise InputError(
                f"model.heads={heads} does not divide model.embedding={embedding}: "
                "each head takes an equal part of it"
            )
        sd = embedding**-0.5
        self.events = PastEvents(spec=spec, width=embedding, side=side, sd=sd)
        self.positions = nn.Parameter(torch.randn(spec.window, embedding) * sd)
        self.blocks = nn.ModuleList(
            Block(width=embedding, heads=heads, hidden=hidden, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(embedding)
        self.scores = ItemScores(items=len(spec.items))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        y = self.answers_of(self._attended, self.events(batch), batch["valid"])
        found: Tensor = self.scores(y, self.events.vectors)
        return found

    def _attended(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device).clamp(max=len(self.positions) - 1)
        x = self.dropout(x + self.positions[places])
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y
