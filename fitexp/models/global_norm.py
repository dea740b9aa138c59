"""Batch normalisation over the global batch, whatever number of processes share it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class GlobalNorm(nn.Module):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, of each of C columns.

    While training, mean and variance are those of the global batch, else the running ones:
    r <- (1 - momentum) r + momentum * (mean, variance n / (n - 1)).

    Source: Ioffe and Szegedy 2015. In one process it is torch's BatchNorm1d, with its parameters
    and buffers; but a batch of one row, which torch refuses, is its own mean and leaves the
    running variance as it was. torch's SyncBatchNorm is for GPUs alone, and would count the row
    that stands in an empty share. No gradient goes through mean and variance: x is data, not what
    a layer has made.

    Shapes: x (B, C), there (B,) bool, the rows that are counted (None: all) -> (B, C).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, columns: int, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(columns))
        self.bias = nn.Parameter(torch.zeros(columns))
        self.register_buffer("running_mean", torch.zeros(columns))
        self.register_buffer("running_var", torch.ones(columns))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        if self.training:
            mean, variance = self._tracked(x.detach(), there)
        else:
            mean, variance = self.running_mean, self.running_var
        return self.weight * (x - mean) * torch.rsqrt(variance + self.eps) + self.bias

    def _tracked(self, x: Tensor, there: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of the global batch; the running ones follow."""
        rows = x if there is None else x[there]
        count = _over_ranks(x.new_tensor([len(rows)])).clamp(min=1.0)
        mean = _over_ranks(rows.sum(dim=0)) / count
        squares = _over_ranks((rows - mean).square().sum(dim=0))
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        if count > 1:
            self.running_var.lerp_(squares / (count - 1), self.momentum)
        return mean, squares / count


def _over_ranks(sums: Tensor) -> Tensor:
    """The sum over all processes of the training."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    return sums
