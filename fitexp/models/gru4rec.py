"""A GRU (or LSTM) over past events: GRU4Rec, and Spotlight's LSTM net."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.models.context import check_choice
from fitexp.models.events import ItemScores, NextItem, PastEvents, check_dropout, check_sizes
from fitexp.models.recurrent import Recurrent


class GRU4Rec(NextItem):
    """Scores of the item that follows event t, from the events up to t.

        x_t = v_(item t) + W [features_t; profile]      `PastEvents`
        h   = dropout(GRU(dropout(x)))                  from h_0 = 0 at the first event
        s_t = W_y h_t + b                               tied: s_t = V h_t + b, V the items' vectors

    Source: Hidasi et al., "Session-based recommendations with recurrent neural networks", ICLR
    2016, on whole histories instead of sessions, with cross-entropy over all N items, and with
    what else is known of an event and of the person (`side`).
    With cell lstm, tied, no side and no dropout it is Spotlight's LSTM net, but for the empty
    step that it puts before the first event.

    Shapes and errors: `NextItem`.
    """

    def __init__(
        self,
        *,
        spec: ExerciseSpec,
        cell: str,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        side: bool,
        tied: bool,
    ) -> None:
        super().__init__(spec=spec)
        check_choice("model.cell", cell, ("gru", "lstm"))
        check_sizes(embedding=embedding, hidden=hidden, layers=layers)
        check_dropout(dropout)
        if tied and hidden != embedding:
            raise InputError(
                f"model.tied=true: states and items' vectors are multiplied, so model.hidden "
                f"({hidden}) and model.embedding ({embedding}) must be equal"
            )
        sd = 1.0 / embedding if tied else 1.0  # Spotlight's; torch's for an embedding
        self.events = PastEvents(spec=spec, width=embedding, side=side, sd=sd)
        self.memory = Recurrent(
            cell=cell,
            inputs=embedding,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            fused=spec.folds == 1,
        )
        self.dropout = nn.Dropout(dropout)
        self.scores = ItemScores(items=len(spec.items)) if tied else None
        self.head = None if tied else nn.Linear(hidden, len(spec.items))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = self.dropout(self.events(batch))
        h = self.dropout(self.answers_of(self.memory, x, batch["valid"]))
        if self.scores is not None:
            found: Tensor = self.scores(h, self.events.vectors)
        else:
            assert self.head is not None
            found = self.head(h)
        return found
