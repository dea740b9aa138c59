"""Learned exponential averages of the inputs: a model of our own, with time constants to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.models.context import AttributeEmbeddings

CHUNK = 32  # steps that are summed at once


def decayed_sums(x: Tensor, tau: Tensor) -> Tensor:
    """s_t = sum_(j<=t) e^(-(t-j)/tau) x_j, for each channel with its own tau > 0 in steps.

    A scan: sums within chunks of CHUNK steps, plus what the chunks before leave behind, which is
    the same sum over the chunks' last values with tau / CHUNK. Every factor is at most 1, so
    nothing overflows, and, unlike an FFT, later steps reach back not even by rounding.
    Shapes: x (C, B, T), tau (C,) -> (C, B, T).
    """
    C, B, T = x.shape
    if T <= CHUNK:
        return _sums_at_once(x, tau)
    chunks = -(-T // CHUNK)
    padded = nn.functional.pad(x, (0, chunks * CHUNK - T))
    inner = _sums_at_once(padded.reshape(C, B * chunks, CHUNK), tau).view(C, B, chunks, CHUNK)
    ends = decayed_sums(inner[..., :-1, -1], tau / CHUNK)  # of all chunks up to each but the last
    before = nn.functional.pad(ends, (1, 0))[..., None]
    since = torch.arange(1, CHUNK + 1, device=x.device, dtype=x.dtype)
    fade = torch.exp(-since / tau[:, None])[:, None, None]
    return torch.addcmul(inner, before, fade).view(C, B, -1)[..., :T]


def _sums_at_once(x: Tensor, tau: Tensor) -> Tensor:
    steps = torch.arange(x.shape[2], device=x.device, dtype=x.dtype)
    lag = (steps - steps[:, None]).clamp(min=0.0)  # (j, t)
    return torch.bmm(x, torch.exp(-lag / tau[:, None, None]).triu())


class ExponentialAverages(nn.Module):
    """y_t = sum_(j<=t) e^(-(t-j)/tau) x_j / sum_(j<=t) e^(-(t-j)/tau), tau learned per channel.

    The mean of the past in this window, weighted towards the present; the sum below is
    (1 - e^(-t/tau)) / (1 - e^(-1/tau)), t from 1. log tau is the parameter and starts evenly
    spaced from one step to `longest` steps. A diagonal linear state space layer.
    Shape: (B, T, C) -> (B, T, C).
    """

    def __init__(self, *, channels: int, longest: int) -> None:
        super().__init__()
        self.log_tau = nn.Parameter(torch.linspace(0.0, math.log(longest), channels))

    def forward(self, x: Tensor) -> Tensor:
        tau = self.log_tau.exp()
        sums = decayed_sums(x.permute(2, 0, 1), tau).permute(1, 2, 0)
        t = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)[:, None]
        return sums * (torch.expm1(-1.0 / tau) / torch.expm1(-t / tau))


class Averages(nn.Module):
    """y_t from averages of functions of the inputs, the inputs themselves and the person.

        c_t = W_2 silu(W_1 x_t + b_1) + b_2                  C channels, each step alone
        a_t = exponential averages of c_1..c_t               `ExponentialAverages`
        y_t = w silu(W_3 [a_t; x_t; e_a1; ..; e_am] + b_3) + b

    No recurrence is stepped through and no later input is seen. An average does not know how
    long its past is, so the config adds a clock to the inputs (time_elapsed; on a distance grid,
    distance).

    Short regime: x_t is [x_t; y_(t-1)], measured in the window and predicted behind it. In the
    whole regime neither y_(t-1) nor y_0 nor the previous workout is used.

    No paper: on few recorded workouts ridge regression on such averages was as good as LSTMs.

    Shapes: `batch` as WorkoutsData yields it, targets scaled; returns (B, T), scaled. Any T.
    Raises InputError for a key it cannot take.
    """

    kind = "workouts"

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        channels: int,
        hidden: int,
        attributes: Sequence[str],
        embedding: int,
        embedding_decay: Mapping[str, float],
    ) -> None:
        super().__init__()
        for key, value in (("channels", channels), ("hidden", hidden)):
            if value < 1:
                raise InputError(f"model.{key}={value}: it takes a whole number, 1 up")
        self.embeddings = AttributeEmbeddings(names=attributes, width=embedding, spec=spec)
        self.embedding_decay = dict(embedding_decay)
        self.embeddings.decay_groups(embedding_decay)  # a missing value is said now
        self.short = spec.regime == "short"
        self.step, self.step_unit = spec.step, spec.step_unit
        inputs = len(spec.inputs) + self.short
        self.channels = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, channels)
        )
        self.averages = ExponentialAverages(channels=channels, longest=spec.steps)
        self.mix = nn.Linear(channels + inputs + self.embeddings.width, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = batch["x"]
        if self.short:
            x = torch.cat([x, batch["y_previous"][..., None]], dim=-1)
        x = x.masked_fill(~batch["valid"][..., None], 0.0)
        person = self.embeddings(batch["attributes"])[:, None].expand(-1, x.shape[1], -1)
        known = torch.cat([self.averages(self.channels(x)), x, person], dim=-1)
        answer: Tensor = self.head(nn.functional.silu(self.mix(known)))[..., 0]
        return answer

    def start_at(self, value: float) -> None:
        """Begin with answers around `value`: for a target that is not scaled."""
        with torch.no_grad():
            self.head.bias.fill_(value)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Each embedding with its L2 weight; all else under the optimiser's own setting."""
        return self.embeddings.groups_of(self, self.embedding_decay)

    def time_constants_s(self) -> Tensor:
        """(C,) tau in seconds. ValueError on a distance grid, where tau is a length."""
        if self.step_unit != "s":
            raise ValueError(f"steps are {self.step:g} {self.step_unit}, tau is no time")
        return self.averages.log_tau.detach().exp() * self.step

    def described(self) -> dict[str, list[float] | str]:
        """The learned tau of all channels, in the unit of a step."""
        tau = self.averages.log_tau.detach().exp() * self.step
        kind = "time" if self.step_unit == "s" else "length"
        return {f"{kind} constants ({self.step_unit})": sorted(tau.tolist())}
