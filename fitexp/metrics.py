"""Errors of predictions, in the target's unit, figures of ranks and of bands. Pure, float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# Beginnings of names of figures that are better when higher.
HIGHER = ("auc", "hit_at_", "mrr", "top1", "top5", "top10", "ndcg")
SHARES = ("hit_at_", "mrr", "ndcg")  # from 0 to 1; the others are percent


def mae(target: ArrayLike, prediction: ArrayLike) -> float:
    """mean |y_hat - y|, pooled over all steps."""
    return float(np.mean(np.abs(_error(target, prediction))))


def rmse(target: ArrayLike, prediction: ArrayLike) -> float:
    """sqrt(mean (y_hat - y)^2), pooled over all steps."""
    return float(np.sqrt(np.mean(_error(target, prediction) ** 2)))


def mse(target: ArrayLike, prediction: ArrayLike) -> float:
    """mean (y_hat - y)^2, in the unit's square."""
    return float(np.mean(_error(target, prediction) ** 2))


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


def rank_of_first(scores: ArrayLike) -> float:
    """Rank, from 1, of the first of `scores` among all, the lowest best; ties: their mean rank."""
    values = np.asarray(scores, np.float64)
    below, equal = (values < values[0]).sum(), (values == values[0]).sum()
    return float(below + (equal + 1) / 2)


def hit_at(ranks: ArrayLike, k: int) -> float:
    """Share of `ranks` (from 1) that are k or better."""
    return float(np.mean(np.asarray(ranks, np.float64) <= k))


def mrr(ranks: ArrayLike) -> float:
    """Mean reciprocal rank: mean of 1 / rank."""
    return float(np.mean(1.0 / np.asarray(ranks, np.float64)))


def higher_is_better(name: str) -> bool:
    """Whether a metric of metrics.json is a figure of ranks rather than an error."""
    return name.rpartition("/")[2].startswith(HIGHER)


def digits(name: str) -> int:
    """Digits behind the point to print: 3 of a figure from 0 to 1, 1 of an AUC (of few users, in
    percent), 2 of percent and errors."""
    last = name.rpartition("/")[2]
    return 3 if last.startswith(SHARES) else 1 if last.startswith("auc_") else 2


def _by_workout(values: np.ndarray, unit: ArrayLike) -> np.ndarray:
    _, number = np.unique(np.asarray(unit, dtype=str), return_inverse=True)
    mean: np.ndarray = np.bincount(number, weights=values) / np.bincount(number)
    return mean


def _error(target: ArrayLike, prediction: ArrayLike) -> np.ndarray:
    error: np.ndarray = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    if not error.size:
        raise ValueError("no step to score")
    return error


def ece(confidence: ArrayLike, hit: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of share x |mean confidence - share of hits|.

    `bins` equal parts of [0, 1]; confidence: probability of the answer given, hit: it was right.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(hit, np.float64)
    number = np.minimum((sure * bins).astype(int), bins - 1)
    gap = np.bincount(number, sure, bins) - np.bincount(number, right, bins)
    return float(np.abs(gap).sum() / len(sure))


# Quantiles and bands


def mean_pinball(target: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> float:
    """Mean over rows and levels a of max(a e, (a - 1) e), e = y - quantile; quantiles (n, J)."""
    error = np.asarray(target, np.float64)[:, None] - np.asarray(quantiles, np.float64)
    level = np.asarray(levels, np.float64)
    return float(np.maximum(level * error, (level - 1.0) * error).mean())


def crossings(quantiles: ArrayLike) -> float:
    """Share of rows whose quantiles (n, J), levels ascending, are not sorted."""
    return float((np.diff(np.asarray(quantiles, np.float64), axis=1) < 0).any(axis=1).mean())


def coverage(target: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Share of targets within the band, its ends included."""
    y = np.asarray(target, np.float64)
    return float(np.mean((np.asarray(low) <= y) & (y <= np.asarray(high))))


def calibrated(
    low: ArrayLike,
    high: ArrayLike,
    *,
    target_cal: ArrayLike,
    low_cal: ArrayLike,
    high_cal: ArrayLike,
    share: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The band widened (or narrowed) by what held `share` of n other targets: (low - q, high + q).

    q: the ceil((n + 1) share)-th smallest of max(low_i - y_i, y_i - high_i), infinite where that
    is more than n. A target that is exchangeable with those n is covered with probability
    ceil((n + 1) share) / (n + 1), more where scores are tied.
    Source: Romano, Patterson, Candes, "Conformalized Quantile Regression", NeurIPS 2019. Windows
    of one person are not exchangeable with another's: calibrate on other users, and look at the
    coverage by user.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: between 0 and 1")
    y = np.asarray(target_cal, np.float64)
    scores = np.sort(np.maximum(np.asarray(low_cal) - y, y - np.asarray(high_cal)))
    rank = math.ceil(round((len(scores) + 1) * share, 9))
    q = scores[rank - 1] if rank <= len(scores) else np.inf
    return np.asarray(low, np.float64) - q, np.asarray(high, np.float64) + q
