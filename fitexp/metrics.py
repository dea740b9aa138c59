"""Errors of predictions, in the target's unit. Pure functions of arrays, float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def mae(target: ArrayLike, prediction: ArrayLike) -> float:
    """mean |y_hat - y|, pooled over all steps."""
    return float(np.mean(np.abs(_error(target, prediction))))


def rmse(target: ArrayLike, prediction: ArrayLike) -> float:
    """sqrt(mean (y_hat - y)^2), pooled over all steps."""
    return float(np.sqrt(np.mean(_error(target, prediction) ** 2)))


def mae_sequence(target: ArrayLike, prediction: ArrayLike, unit: ArrayLike) -> float:
    """1/|T| sum over sequences of sum_t |y_hat - y| (the notes: a sum over steps, then a mean)."""
    return float(np.abs(_error(target, prediction)).sum() / len(np.unique(np.asarray(unit))))


def rmse_sequence(target: ArrayLike, prediction: ArrayLike, unit: ArrayLike) -> float:
    """sqrt(1/|T| sum over sequences of sum_t (y_hat - y)^2) (the notes)."""
    error = _error(target, prediction)
    return float(np.sqrt((error**2).sum() / len(np.unique(np.asarray(unit)))))


def mae_workout(target: ArrayLike, prediction: ArrayLike, unit: ArrayLike) -> float:
    """Mean over workouts of their own MAE: a short one counts as much as a long one."""
    return float(_by_workout(np.abs(_error(target, prediction)), unit).mean())


def rmse_workout(target: ArrayLike, prediction: ArrayLike, unit: ArrayLike) -> float:
    """Mean over workouts of their own RMSE."""
    return float(np.sqrt(_by_workout(_error(target, prediction) ** 2, unit)).mean())


def _by_workout(values: np.ndarray, unit: ArrayLike) -> np.ndarray:
    _, number = np.unique(np.asarray(unit, dtype=str), return_inverse=True)
    mean: np.ndarray = np.bincount(number, weights=values) / np.bincount(number)
    return mean


def _error(target: ArrayLike, prediction: ArrayLike) -> np.ndarray:
    error: np.ndarray = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    if not error.size:
        raise ValueError("no step to score")
    return error
