"""Cluster bootstrap of pooled errors, paired differences, Holm's correction. Pure, numpy only.

C clusters (users, or workouts), S runs averaged (seeds), R resamples.

Coverage of the nominal 95 % for a null difference (2,000 made-up studies each): 10 users 90 %, 15
93 %, 40 93 %; within users: 6 x 2 workouts 89 % (78 % without Rao and Wu's weights), 4 x 5 93 %.
Percentile intervals of few clusters are somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
LEVEL = 0.95
CHUNK = 2_000_000  # weights held at once: resamples x clusters
Floats = NDArray[np.float64]
Form = Literal["mean", "root", "auc"]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """One row's figures by cluster: total and count (C, S), and what is made of them.

    form mean: the sum of total over the sum of count; root: its square root; auc: a cluster is a
    user, total a score, and count 1 of the upper class and 0 of the lower.
    """

    total: Floats
    count: Floats
    form: Form


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row less the reference: value, percentile interval, two-sided bootstrap p."""

    value: float
    low: float
    high: float
    p: float


def pooled(errors: Errors, weights: ArrayLike | None = None) -> Floats:
    """mean_s f(sum_c w_c total_cs / sum_c w_c count_cs), f = sqrt for root; or the mean AUC.

    With weights of one (None) this is the metric itself: pooled over steps, then averaged over
    runs. Shape: weights (R, C) -> (R,); None -> ().
    """
    w = np.ones(len(errors.total)) if weights is None else np.asarray(weights, np.float64)
    if errors.form == "auc":
        columns = zip(errors.total.T, errors.count.T, strict=True)
        figure = np.stack([weighted_auc(score, of > 0, w) for score, of in columns], axis=-1)
    else:
        ratio = (w @ errors.total) / (w @ errors.count)
        figure = np.sqrt(ratio) if errors.form == "root" else ratio
    return np.asarray(figure.mean(axis=-1), np.float64)


def weighted_auc(score: Floats, upper: NDArray[np.bool_], weights: Floats) -> Floats:
    """AUC in percent of scores (C,), weights (..., C) -> (...); NaN without weight in a class.

    100 sum_ij w_i w_j (s_i > s_j, a tie counts half) / (sum_i w_i sum_j w_j), i of the upper class
    and j of the lower.
    """
    above, below = score[upper][:, None], score[~upper]
    wins = (above > below) + 0.5 * (above == below)
    p, n = weights[..., upper], weights[..., ~upper]
    with np.errstate(invalid="ignore"):
        return np.asarray(
            100.0 * ((p @ wins) * n).sum(axis=-1) / (p.sum(axis=-1) * n.sum(axis=-1)), np.float64
        )


def resampled_weights(
    clusters: int, resamples: int, rng: np.random.Generator, strata: ArrayLike | None = None
) -> Iterator[Floats]:
    """How often every cluster is drawn, in chunks (r, C) whose r add up to `resamples`.

    Without strata: C draws with replacement from C clusters (Efron). With strata (C,), the number
    of each cluster's stratum: n_h - 1 draws from the n_h clusters of stratum h, each of weight
    n_h / (n_h - 1) (Rao and Wu, JASA 1988): as many draws as clusters would make the variance
    (n_h - 1) / n_h of what it is, half of it for two workouts a user. Raises ValueError for a
    stratum of one cluster, which cannot vary (see `joined_strata`).
    """
    if strata is None:
        members, lacking = [np.arange(clusters)], 0
    else:
        labels = np.asarray(strata)
        members, lacking = [np.flatnonzero(labels == h) for h in np.unique(labels)], 1
        if min(map(len, members)) < 2:
            raise ValueError("a stratum of one cluster cannot be resampled")
    size = max(1, CHUNK // max(clusters, 1))
    for begin in range(0, resamples, size):
        rows = min(size, resamples - begin)
        weights = np.zeros((rows, clusters))
        for inside in members:
            n = len(inside)
            drawn = rng.integers(0, n, (rows, n - lacking))
            flat = (drawn + n * np.arange(rows)[:, None]).ravel()
            counts = np.bincount(flat, minlength=rows * n).reshape(rows, n)
            weights[:, inside] = counts * (n / (n - lacking))
        yield weights


def joined_strata(strata: ArrayLike) -> NDArray[np.int64]:
    """Strata of two clusters or more: those of one are joined, a last lone one to the smallest.

    Raises ValueError for fewer than two clusters.
    """
    labels = np.unique(np.asarray(strata), return_inverse=True)[1].astype(np.int64)
    if len(labels) < 2:
        raise ValueError("one cluster cannot be resampled")
    sizes = np.bincount(labels)
    lone = sizes[labels] == 1
    labels[lone] = len(sizes)
    if lone.sum() == 1:
        labels[lone] = int(np.argmin(sizes + len(labels) * (sizes == 1)))
    return labels


def bootstrap(
    rows: Sequence[Errors],
    *,
    strata: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Floats:
    """`pooled` of K rows over the same clusters in the same resamples: (R, K), so rows are paired.

    A function of its arguments: the order of clusters is the caller's.
    """
    clusters = len(rows[0].total)
    if any(len(row.total) != clusters for row in rows):
        raise ValueError("rows have different clusters")
    chunks = resampled_weights(clusters, resamples, np.random.default_rng(seed), strata)
    return np.concatenate(
        [np.stack([pooled(row, weights) for row in rows], axis=-1) for weights in chunks]
    )


def interval(samples: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of R resampled values, of those that are numbers.

    A figure of some windows only has none in a resample without such windows.
    """
    known = samples[np.isfinite(samples)]
    low, high = (
        np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else [np.nan] * 2
    )
    return float(low), float(high)


def p_two_sided(samples: Floats) -> float:
    """min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1)) of the R resampled differences d that
    are numbers."""
    known = samples[np.isfinite(samples)]
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + tail) / (len(known) + 1))


def paired_difference(
    row: Errors, reference: Errors, samples: Floats, reference_samples: Floats
) -> Difference:
    """row - reference; samples (R,) of both from one `bootstrap`, hence from the same resamples."""
    moved = samples - reference_samples
    low, high = interval(moved)
    value = float(pooled(row) - pooled(reference))
    return Difference(value=value, low=low, high=high, p=p_two_sided(moved))


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down correction of m p-values: max over j <= i of min(1, (m - j + 1) p_(j))."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factor = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factor * values[order]))
    return adjusted
