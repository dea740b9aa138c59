"""Physical units outside the network, scaled units inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fitexp.data.spec import Scale
from fitexp.errors import InputError


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


def target_scaler(scaling: str, scale: Scale, model: nn.Module) -> Scaler:
    """Of the target, as task.target_scaling says: zscore | none.

    none: outputs are in the target's unit; a network with `start_at` is told the training mean.
    Raises InputError for another word.
    """
    if scaling == "zscore":
        return Scaler.of(scale)
    if scaling != "none":
        raise InputError(f"task.target_scaling={scaling}: it is none or zscore")
    start_at = getattr(model, "start_at", None)
    if callable(start_at):
        start_at(scale.mean)
    return Scaler(0.0, 1.0)
