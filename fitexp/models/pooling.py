"""The mean of past items (Spotlight's pooling net)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fitexp.data.spec import ExerciseSpec
from fitexp.models.events import ItemScores, NextItem, PastEvents, check_sizes


class Pooling(NextItem):
    """u_t = mean of v_(item j) over events j <= t;  score of item i = u_t . v_i + b_i.

    Source: Covington, Adams, Sargin, RecSys 2016, as the baseline "Pooling" of Mahyari, Pirolli,
    LeBlanc 2022, which is Spotlight's. v starts as normal(0, 1 / embedding), b at 0.
    Departure: Spotlight divides the sum by the number of events plus one.

    Shapes and errors: `NextItem`.
    """

    def __init__(self, *, spec: ExerciseSpec, embedding: int) -> None:
        super().__init__(spec=spec)
        check_sizes(embedding=embedding)
        self.events = PastEvents(spec=spec, width=embedding, side=False, sd=1.0 / embedding)
        self.scores = ItemScores(items=len(spec.items))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = self.events(batch)
        count = batch["valid"].cumsum(dim=1).clamp(min=1)
        mean = torch.cumsum(x, dim=1) / count[..., None]
        found: Tensor = self.scores(self.answers(mean), self.events.vectors)
        return found
