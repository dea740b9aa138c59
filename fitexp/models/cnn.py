"""Causal dilated convolutions over past items (Spotlight's CNN net)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.models.events import ItemScores, NextItem, PastEvents, check_sizes


class CNN(NextItem):
    """u = layers(v_item), each layer x <- x + tanh(causal convolution(x)); score u_t . v_i + b_i.

    Layer l looks back (kernel - 1) * dilation^l events, l from 0. Where there is no event, x is 0
    before every layer.

    Source: van den Oord et al., "WaveNet", 2016, and Kalchbrenner et al., "Neural machine
    translation in linear time", 2016, as the baseline "CNN" of Mahyari, Pirolli, LeBlanc 2022,
    which is Spotlight's (kernel 3, one layer, no dilation, tanh, residual). v starts as
    normal(0, 1 / embedding), b at 0. Departure: Spotlight takes a list of dilations.

    Shapes and errors: `NextItem`.
    """

    def __init__(
        self, *, spec: ExerciseSpec, embedding: int, kernel: int, layers: int, dilation: int
    ) -> None:
        super().__init__(spec=spec)
        check_sizes(embedding=embedding, kernel=kernel, layers=layers, dilation=dilation)
        self.events = PastEvents(spec=spec, width=embedding, side=False, sd=1.0 / embedding)
        self.layers = nn.ModuleList(
            nn.Conv1d(embedding, embedding, kernel, dilation=dilation**layer)
            for layer in range(layers)
        )
        self.back = [(kernel - 1) * dilation**layer for layer in range(layers)]
        self.scores = ItemScores(items=len(spec.items))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = self.events(batch).transpose(1, 2)  # (B, D, T)
        absent = ~batch["valid"][:, None]
        for layer, back in zip(self.layers, self.back, strict=True):
            x = x + layer(nn.functional.pad(x, (back, 0))).tanh()
            x = x.masked_fill(absent, 0.0)
        u = self.answers(x.transpose(1, 2))
        found: Tensor = self.scores(u, self.events.vectors)
        return found
