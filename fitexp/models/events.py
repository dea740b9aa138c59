"""What networks for exercises share: past events as vectors, scores of items."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError


def check_sizes(**sizes: int) -> None:
    """Raise InputError if a size of the config, model.<name>, is not 1 or more."""
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"model.{name}={value}: it takes a whole number, 1 up")


def check_dropout(value: float) -> None:
    """Raise InputError if model.dropout is no share of units that can be left out."""
    if not 0.0 <= value < 1.0:
        raise InputError(f"model.dropout={value}: it takes a number from 0 up to below 1")


class PastEvents(nn.Module):
    """x_t = v_(item of event t) + W [features_t; profile], 0 where there is no event.

    side: false leaves W out, so that an event is its item and nothing else.
    sd: the items' vectors v start as normal(0, sd).
    Shape: `items`, `valid`, `features`, `profile` of a batch (B, T, ..) -> (B, T, width).
    """

    def __init__(self, *, spec: ExerciseSpec, width: int, side: bool, sd: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(len(spec.items), width) * sd)
        known = len(spec.features) + len(spec.profile)
        self.side = nn.Linear(known, width) if side and known else None

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        items, valid = batch["items"], batch["valid"]
        x = nn.functional.embedding(items.clamp(max=len(self.vectors) - 1), self.vectors)
        if self.side is not None:
            person = batch["profile"][:, None].expand(-1, items.shape[1], -1)
            x = x + self.side(torch.cat([batch["features"], person], dim=-1))
        return x.masked_fill(~valid[..., None], 0.0)


class NextItem(nn.Module):
    """A network of one fold that reads past events by `PastEvents`, under the name `events`.

    spec.answers "every": an answer behind each event; "last": one, behind the window.
    Shapes: `batch` without a fold axis, (B, T, ..); returns (B, S, N). Any T.
    Raises InputError for a key it cannot take.
    """

    kind = "exercises"
    stacked = False
    events: PastEvents

    def __init__(self, *, spec: ExerciseSpec) -> None:
        super().__init__()
        self.spec = spec

    def described(self) -> dict[str, str]:
        side = self.events.side is not None
        return self.spec.not_read(features=side, profile=side)

    def answers(self, states: Tensor) -> Tensor:
        """Of states (B, T, D) those that answer: (B, S, D)."""
        return states if self.spec.answers == "every" else states[:, -1:]

    def answers_of(self, layers: Callable[[Tensor], Tensor], x: Tensor, valid: Tensor) -> Tensor:
        """Of x (B, T, F) the `answers` of layers that look back only, from the first event on."""
        return self.answers(to_the_end(layers(to_the_start(x, valid)), valid))


class ItemScores(nn.Module):
    """score of item i = u . v_i + b_i; b starts at 0. Shape: u (B, S, D), v (N, D) -> (B, S, N)."""

    def __init__(self, *, items: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, u: Tensor, vectors: Tensor) -> Tensor:
        return nn.functional.linear(u, vectors, self.bias)


def to_the_start(x: Tensor, valid: Tensor) -> Tensor:
    """Roll each row of x (B, T, F) so that its events stand first and its padding last.

    A row's events are one stretch, with padding before it, behind it or both. Behind the events
    padding is harmless to whatever looks back only.
    """
    return _rolled(x, valid, 1)


def to_the_end(x: Tensor, valid: Tensor) -> Tensor:
    """Undo `to_the_start`; what stands where there is no event is 0."""
    return _rolled(x, valid, -1).masked_fill(~valid[..., None], 0.0)


def _rolled(x: Tensor, valid: Tensor, direction: int) -> Tensor:
    T = valid.shape[1]
    first = valid.long().argmax(dim=1, keepdim=True)
    index = (torch.arange(T, device=x.device) + direction * first) % T
    return x.gather(1, index[..., None].expand_as(x))
