"""Learned exponential averages of a wearable's epochs: a model of our own, for windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fitexp.data.spec import WindowSpec
from fitexp.errors import InputError
from fitexp.models.averages import decayed_sums
from fitexp.models.events import check_dropout


class WindowAverages(nn.Module):
    """y_t from exponential averages of functions of the epochs, the epoch itself and the person.

        c_t = W_2 silu(W_1 x_t + b_1) + b_2                  C channels, each epoch alone
        a_t = sum_(j<=t) e^(-(t-j)/tau) c_j / sum_(j<=t) e^(-(t-j)/tau), tau learned per channel
        y_t = w silu(W_3 [dropout(a_t); x_t; p] + b_3) + b   p: the statics that are named

    log tau starts evenly spaced from `shortest` to `longest` epochs and has no weight decay.
    Causal; answers behind every epoch.

    No paper: on recorded days what carried the signal was a handful of such averages.
    Shapes: `batch` as WindowsData yields it; returns (B, S, O), O = 1 + number of heads.
    Raises InputError for a key it cannot take.
    """

    kind = "windows"
    reads: frozenset[str] = frozenset()  # the embedding is of the epochs alone

    def __init__(
        self,
        *,
        spec: WindowSpec,
        channels: int,
        hidden: int,
        statics: Sequence[str],
        shortest: float,
        longest: float,
        dropout: float,
        heads: Sequence[float] | None,
    ) -> None:
        super().__init__()
        for key, value in (("channels", channels), ("hidden", hidden)):
            if value < 1:
                raise InputError(f"model.{key}={value}: it takes a whole number, 1 up")
        if not 0 < shortest < longest:
            raise InputError(f"model.shortest={shortest}: above 0 and below model.longest")
        check_dropout(dropout)
        for name in statics:
            if name not in spec.statics:
                offered = ", ".join(spec.statics) or "none"
                raise InputError(f"model.statics: data.statics has no {name} ({offered})")
        self.statics = [spec.statics.index(name) for name in statics]
        self.every, self.step_s = spec.answers == "every", spec.step_s
        F = len(spec.inputs)
        self.channels = nn.Sequential(nn.Linear(F, hidden), nn.SiLU(), nn.Linear(hidden, channels))
        even = torch.linspace(0.0, 1.0, channels)
        low, high = torch.tensor([shortest, longest]).log()
        self.log_tau = nn.Parameter(low + even * (high - low))
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(channels + F + len(statics), hidden)
        self.head = nn.Linear(hidden, 1 + len(heads or ()))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = self.head(self._states(batch))
        return answer if self.every else answer[:, -1:]

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, C) the averages at the end of the window: what of the past the answer reads."""
        return self._averages(batch["x"])[:, -1]

    def _states(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = batch["x"]
        person = batch["statics"][:, None, self.statics].expand(-1, x.shape[1], -1)
        known = torch.cat([self.dropout(self._averages(x)), x, person], dim=-1)
        return nn.functional.silu(self.mix(known))

    def _averages(self, x: Tensor) -> Tensor:
        tau = self.log_tau.exp()
        sums = decayed_sums(self.channels(x).permute(2, 0, 1), tau).permute(1, 2, 0)
        t = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)[:, None]
        return sums * (torch.expm1(-1.0 / tau) / torch.expm1(-t / tau))

    def start_at(self, value: float) -> None:
        """Begin with answers around `value`: for a target that is not scaled."""
        with torch.no_grad():
            self.head.bias.fill_(value)

    def parameter_groups(self) -> list[dict[str, object]]:
        """No weight decay on log tau; all else under the optimiser's own setting."""
        rest = [values for name, values in self.named_parameters() if name != "log_tau"]
        return [{"params": rest}, {"params": [self.log_tau], "weight_decay": 0.0}]

    def described(self) -> dict[str, list[float] | str]:
        """The learned tau of all channels."""
        tau = self.log_tau.detach().exp() * self.step_s
        return {"time constants (s)": sorted(tau.tolist())}
