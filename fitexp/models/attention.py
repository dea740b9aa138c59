"""Attention of FitRec-Attn whose scores are linear, as printed, in closed form.

A term of a score that does not depend on the index of the softmax cancels in it. With the
printed scores v'(W [state; item] + b) that is everything but v' W_item item: the weights do not
vary with time, and W_state and b have exactly zero gradient. They are no parameters here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, valid: Tensor) -> Tensor:
    """Softmax over the last axis where `valid`; 0 elsewhere, uniform where nothing is valid."""
    return scores.masked_fill(~valid, torch.finfo(scores.dtype).min).softmax(dim=-1)


class InputAttention(nn.Module):
    """Weigh the K input series: alpha = softmax_k(u^T w), w = W_u' v of the printed score.

    Source: Ni, Muhlstein, McAuley, WWW 2019; notes' s_t^k and alpha_t^k, the same for every t.
    Departure: no score of the hidden state and no bias, which cancel in the softmax.
    One weight per step, so it answers for sequences of `steps` steps only.
    Shape: u (B, T, K) -> alpha (B, K), rows sum to 1.
    """

    def __init__(self, *, steps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps))  # starts uniform

    def forward(self, u: Tensor) -> Tensor:
        steps = len(self.weight)
        if u.shape[1] != steps:
            raise ValueError(
                f"input attention has one weight per step and answers for {steps} steps, "
                f"got a batch of {u.shape[1]}: cut windows of spec.steps"
            )
        return torch.matmul(self.weight, u).softmax(dim=-1)


class TemporalAttention(nn.Module):
    """Weigh the encoder's states: beta = softmax_i(h_i . w), w = W_h' v of the printed score.

    Source: Ni, Muhlstein, McAuley, WWW 2019; notes' l_(i,t) and beta_(i,t), the same for every t.
    Departure: no score of the decoder's state and no bias, which cancel; padded steps weigh 0.
    Shape: memory (B, T, D), valid (B, T) bool -> beta (B, T), rows sum to 1.
    """

    def __init__(self, *, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden))  # starts uniform

    def forward(self, memory: Tensor, valid: Tensor) -> Tensor:
        return masked_softmax(memory @ self.weight, valid)
