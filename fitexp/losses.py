"""Losses as pure functions: elementwise, so that a task can mask and average them.

Losses of rankings take logits s (M, N) of N items and the item that followed (M,), one value a
row. Those of Spotlight (Kula, 2017) compare it with items drawn uniformly from all N, among which
it may be itself, from torch's generator.

Losses of quantiles take predictions f and targets y in the same unit, e = y - f, and
rho_a(e) = max(a e, (a - 1) e) (Koenker, Bassett, 1978). What has one output a target takes it
with or without a last axis of length 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fitexp.errors import InputError


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)^2, elementwise."""
    return _error(prediction, target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|, elementwise."""
    return _error(prediction, target).abs()


def pinball(prediction: Tensor, target: Tensor, *, quantile: float) -> Tensor:
    """rho_quantile(e), elementwise: smallest in the mean where f is that quantile of y."""
    return _pinball(_error(prediction, target)[..., None], [quantile])


def joint_shared(
    prediction: Tensor,
    target: Tensor,
    *,
    quantiles: Sequence[float],
    mse_weight: float,
    quantile_weight: float,
) -> Tensor:
    """mse_weight e^2 + quantile_weight sum_j rho_(a_j)(e), one output for all J quantiles a_j.

    Source: Step2Heart (Spathis et al., 2021), eq. (3), as the authors' program reads it. Quantiles
    that lie symmetrically about 1/2 add up to J/2 |e|: this is squared plus absolute error, and no
    quantile is estimated.
    """
    _check_weights(mse_weight, quantile_weight)
    error = _error(prediction, target)
    return mse_weight * error.square() + quantile_weight * _pinball(error[..., None], quantiles)


def joint_heads(
    prediction: Tensor,
    target: Tensor,
    *,
    heads: Sequence[float],
    mse_weight: float,
    quantile_weight: float,
) -> Tensor:
    """mse_weight (y - f_0)^2 + quantile_weight sum_j rho_(a_j)(y - f_j).

    Source: Step2Heart, eq. (3), with an output of its own for the mean, f_0, and for each
    quantile of `heads`. prediction: (..., 1 + J), target: (...).
    """
    if not heads:
        raise InputError("loss.heads=[]: name at least one quantile")
    _check_weights(mse_weight, quantile_weight)
    if prediction.shape != (*target.shape, 1 + len(heads)):
        raise ValueError(f"{1 + len(heads)} outputs a target, not {tuple(prediction.shape)}")
    if not mse_weight > 0:
        raise InputError(
            f"loss.mse_weight={mse_weight}: above 0, since nothing else trains the output of the "
            "mean (joint_shared takes 0)"
        )
    squared = (target - prediction[..., 0]).square()
    apart = target[..., None] - prediction[..., 1:]
    return mse_weight * squared + quantile_weight * _pinball(apart, heads)


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


def _error(prediction: Tensor, target: Tensor) -> Tensor:
    """y - f with the target's shape. ValueError rather than a broadcast to (M, M)."""
    if prediction.shape == (*target.shape, 1):
        prediction = prediction[..., 0]
    if prediction.shape != target.shape:
        raise ValueError(f"one output a target, not {tuple(prediction.shape)}")
    return target - prediction


def _check_weights(mse_weight: float, quantile_weight: float) -> None:
    for key, value in (("mse_weight", mse_weight), ("quantile_weight", quantile_weight)):
        if not value >= 0:
            raise InputError(f"loss.{key}={value}: 0 or more")
    if mse_weight + quantile_weight == 0:
        raise InputError("loss.mse_weight and loss.quantile_weight are 0: nothing is trained")


def _pinball(error: Tensor, quantiles: Sequence[float]) -> Tensor:
    """(...,) the sum over quantiles of rho_a(e), of errors (..., J), or (..., 1) for all."""
    if not quantiles:
        raise InputError("loss.quantiles=[]: name at least one quantile")
    for level in quantiles:
        if not 0 < level < 1:
            raise InputError(f"loss: {level} is not a quantile: it lies between 0 and 1")
    levels = error.new_tensor(quantiles)
    return torch.maximum(levels * error, (levels - 1.0) * error).sum(-1)
