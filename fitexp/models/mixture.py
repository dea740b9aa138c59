"""A person as a mixture of tastes over an LSTM (Spotlight's mixture net)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.models.events import ItemScores, NextItem, PastEvents, check_sizes
from fitexp.models.recurrent import Recurrent


class Mixture(NextItem):
    """Each item is scored by the tastes that care for it.

        h = LSTM(v_item);  tastes m_1..m_M and their attentions a_1..a_M: linear maps of h_t
        score of item i = sum_k softmax_k(a_k . v_i) (m_k . v_i) + b_i

    Source: Kula, "Mixture-of-tastes models for representing users with diverse interests", 2017,
    as the baseline "Mixture" of Mahyari, Pirolli, LeBlanc 2022, which is Spotlight's. v starts as
    normal(0, 1 / embedding), b at 0. Departure: Spotlight puts an empty step before the first
    event.

    Shapes and errors: `NextItem`.
    """

    def __init__(self, *, spec: ExerciseSpec, embedding: int, tastes: int) -> None:
        super().__init__(spec=spec)
        check_sizes(embedding=embedding, tastes=tastes)
        self.tastes = tastes
        self.events = PastEvents(spec=spec, width=embedding, side=False, sd=1.0 / embedding)
        self.memory = Recurrent(
            cell="lstm",
            inputs=embedding,
            hidden=embedding,
            layers=1,
            dropout=0.0,
            fused=spec.folds == 1,
        )
        self.project = nn.Linear(embedding, 2 * tastes * embedding)
        self.scores = ItemScores(items=len(spec.items))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        v = self.events.vectors
        h = self.answers_of(self.memory, self.events(batch), batch["valid"])
        projected = self.project(h.flatten(0, 1))  # as one matrix: vmap is slow on more axes
        products = projected.view(-1, v.shape[1]) @ v.T
        taste, attention = products.view(*h.shape[:2], 2, self.tastes, len(v)).unbind(2)
        found: Tensor = (attention.softmax(dim=2) * taste).sum(dim=2) + self.scores.bias
        return found
