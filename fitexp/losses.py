"""Losses as pure functions: elementwise, so that a task can mask and average them.

Losses of rankings take logits s (M, N) of N items and the item that followed (M,), one value a
row. Those of Spotlight (Kula, 2017) compare it with items drawn uniformly from all N, among which
it may be itself, from torch's generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fitexp.errors import InputError


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)^2, elementwise."""
    return (prediction - target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|, elementwise."""
    return (prediction - target).abs()


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """-log softmax(s)_target."""
    return F.cross_entropy(prediction, target, reduction="none")


def pointwise(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - sigmoid(s_target) + sigmoid(s_j), one drawn item j a row. Spotlight's default."""
    positive, drawn = _compared(prediction, target, 1)
    return 1.0 - positive.sigmoid() + drawn[:, 0].sigmoid()


def bpr(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - sigmoid(s_target - s_j), one drawn item j a row.

    Source: Spotlight's form of Rendle et al., "BPR", UAI 2009, which has -log sigmoid.
    """
    positive, drawn = _compared(prediction, target, 1)
    return 1.0 - (positive - drawn[:, 0]).sigmoid()


def hinge(prediction: Tensor, target: Tensor) -> Tensor:
    """max(0, 1 - s_target + s_j), one drawn item j a row."""
    positive, drawn = _compared(prediction, target, 1)
    return (1.0 - positive + drawn[:, 0]).relu()


def adaptive_hinge(prediction: Tensor, target: Tensor, *, negatives: int) -> Tensor:
    """max(0, 1 - s_target + max_j s_j) over `negatives` drawn items j a row.

    Source: Spotlight's form of Weston, Bengio, Usunier, "WSABIE", IJCAI 2011.
    """
    if negatives < 1:
        raise InputError(f"loss.negatives={negatives}: it takes a whole number, 1 up")
    positive, drawn = _compared(prediction, target, negatives)
    return (1.0 - positive + drawn.amax(dim=1)).relu()


def _compared(prediction: Tensor, target: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """Logits of the item that followed (M,) and of drawn items (M, negatives)."""
    M, N = prediction.shape
    drawn = torch.randint(N, (M, negatives), device=prediction.device)
    return prediction.gather(1, target[:, None])[:, 0], prediction.gather(1, drawn)
