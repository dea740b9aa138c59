"""Step2Heart (Spathis et al. 2021): convolutions, bidirectional GRUs and what else is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fitexp.data.spec import WindowSpec
from fitexp.errors import InputError
from fitexp.models.both_ways import BiGRU
from fitexp.models.context import check_choice
from fitexp.models.events import check_dropout
from fitexp.models.global_norm import GlobalNorm

VARIANTS = {"A": (), "A/T": ("T",), "A/R": ("R",), "A/R/T": ("R", "T")}


class Step2Heart(nn.Module):
    """Heart rate after a window from its series (A), the time (T) and the resting heart rate (R).

        c = relu(conv(relu(conv(x))))                        kernel 3, no padding: T -> T - 4
        g = pool over time of two bidirectional GRU layers   2 * width
        t, r = MLP(time), MLP(resting heart rate)            batch norm, two relu layers, dropout
        E = [g; t; r], y = w E + b                           `embed` gives E

    Source: Spathis, Perez-Pozuelo, Brage, Wareham, Mascolo, "Self-supervised transfer learning of
    physiological representations from free-living wearable data", CHIL 2021, sections Methods and
    Training procedure; what these leave open is read as in the authors' program: batch norm with
    eps 1e-3 and momentum 0.01 before a branch (of the global batch: `GlobalNorm`), dropout 0.33
    behind it, GRUs with two biases.

    inputs: A, A/T, A/R or A/R/T; person: the static that R reads (resting_hr_bpm, or
    sleeping_hr_bpm as in the program, which is derived from the target signal). pooling: mean, max
    (the program's A/T) or last. filters, width, branch: 128 each in the paper; kernel 3.
    heads: quantiles; an output for each behind the mean.

    Parameters of A/R/T with 10 series and 128 throughout: 582,293, counting batch norm's buffers.
    Shapes: `batch` as WindowsData yields it; returns (B, 1, O). Raises InputError for a key it
    cannot take, for data.answers=every and for statics that the data do not offer.
    reads: the statics that are in the embedding.
    """

    kind = "windows"
    reads: frozenset[str]

    def __init__(
        self,
        *,
        spec: WindowSpec,
        inputs: str,
        person: str,
        filters: int,
        width: int,
        branch: int,
        pooling: str,
        dropout: float,
        heads: Sequence[float] | None,
    ) -> None:
        super().__init__()
        check_choice("model.inputs", inputs, tuple(VARIANTS))
        check_choice("model.pooling", pooling, ("mean", "max", "last"))
        for key, value in (("filters", filters), ("width", width), ("branch", branch)):
            if value < 1:
                raise InputError(f"model.{key}={value}: it takes a whole number, 1 up")
        check_dropout(dropout)
        if spec.answers != "last":
            raise InputError("Step2Heart answers behind its window only: use data.answers=last")
        if spec.steps < 6:
            raise InputError(f"data.steps={spec.steps}: two convolutions need 6 steps or more")
        branches = VARIANTS[inputs]
        if "R" in branches and person not in spec.statics:
            offered = ", ".join(spec.statics) or "none"
            raise InputError(f"model.person={person}: data.statics has it not ({offered})")
        self.pooling = pooling
        self.person = spec.statics.index(person) if "R" in branches else None
        self.reads = frozenset({person} if "R" in branches else ())
        F = len(spec.inputs)
        self.convolutions = nn.Sequential(
            nn.Conv1d(F, filters, 3), nn.ReLU(), nn.Conv1d(filters, filters, 3), nn.ReLU()
        )
        self.recurrent = BiGRU(filters, width, layers=2)
        self.time = _Branch(4, branch, dropout) if "T" in branches else None
        self.resting = _Branch(1, branch, dropout) if "R" in branches else None
        self.embedding = 2 * width + branch * len(branches)
        self.head = nn.Linear(self.embedding, 1 + len(heads or ()))

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """E (B, D): D = 2 width, and `branch` more for each of T and R."""
        mapped = self.convolutions(batch["x"].transpose(1, 2)).transpose(1, 2)
        states, _ = self.recurrent(mapped)
        if self.pooling == "mean":
            parts = [states.mean(dim=1)]
        elif self.pooling == "max":
            parts = [states.amax(dim=1)]
        else:
            parts = [states[:, -1]]
        there = batch.get("there")
        if self.time is not None:
            parts.append(self.time(batch["time"], there))
        if self.resting is not None and self.person is not None:
            person = batch["statics"][:, self.person : self.person + 1]
            parts.append(self.resting(person, there))
        return torch.cat(parts, dim=1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = self.head(self.embed(batch))[:, None]
        return answer

    def start_at(self, value: float) -> None:
        """Begin with answers around `value`: for a target that is not scaled."""
        with torch.no_grad():
            self.head.bias.fill_(value)


class _Branch(nn.Sequential):
    """A vector of what is known beside the series -> (B, width)."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__(
            GlobalNorm(inputs, eps=1e-3, momentum=0.01),
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        norm, *rest = self
        known: Tensor = norm(x, there)
        for layer in rest:
            known = layer(known)
        return known
