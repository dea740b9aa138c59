"""Physical units outside the network, scaled units inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fitexp.data.spec import Scale


class Scaler(nn.Module):
    """scaled = (value - mean) / sd and its inverse; `Scaler(0.0, 1.0)` changes nothing.

    mean, sd: of the training rows, in the value's unit; sd must be positive and finite.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: float, sd: float) -> None:
        super().__init__()
        if not 0.0 < sd < float("inf"):
            raise ValueError(f"a scaler's sd must be positive and finite, not {sd}")
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("sd", torch.tensor(float(sd)))

    @classmethod
    def of(cls, scale: Scale) -> Scaler:
        """The same scaling as `(value - mean) / sd * factor`."""
        return cls(scale.mean, scale.sd / scale.factor)

    def forward(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.sd

    def inverse(self, scaled: Tensor) -> Tensor:
        return scaled * self.sd + self.mean
