"""Losses as pure functions: elementwise, so that a task can mask and average them."""

from __future__ import annotations

from torch import Tensor


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)^2, elementwise."""
    return (prediction - target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|, elementwise."""
    return (prediction - target).abs()
