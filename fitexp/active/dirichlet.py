"""Three sorted probabilities of every row of a recommender, and the Dirichlet law fitted to them.

M rows (one a recommendation), N items. All in logarithms and float64: clipping probabilities at
1e-7 before the logarithm moves a3 by 1 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp, polygamma, psi

from fitexp.errors import InputError

GRADIENT = 1e-10  # the fit ends at this norm of the mean gradient
STEPS = 200
ROUNDING = 1e-14  # of a sum of logarithms, relative
Floats = NDArray[np.float64]


def top_two_and_rest(log_probabilities: ArrayLike) -> Floats:
    """log of the largest probability, the second, and the sum of all others, of every row.

    Any scores whose softmax are the probabilities do as well; -inf is a probability of 0.
    Shape: (M, N) -> (M, 3), N >= 3; exp of a row sums to 1.
    """
    scores = np.asarray(log_probabilities, np.float64)
    if scores.ndim != 2 or scores.shape[1] < 3:
        raise InputError(f"a margin needs rows of 3 or more items, got shape {scores.shape}")
    ordered = np.partition(scores, (-2, -1), axis=1)
    rest = logsumexp(ordered[:, :-2], axis=1)
    three = np.column_stack([ordered[:, -1], ordered[:, -2], rest])
    return np.asarray(three - logsumexp(three, axis=1, keepdims=True))


def margins(log_rows: ArrayLike) -> Floats:
    """Largest probability less the second: p1 - p2. Shape: (M, 3) of `top_two_and_rest` -> (M,)."""
    first, second, _ = np.asarray(log_rows, np.float64).T
    return np.asarray(-np.exp(first) * np.expm1(second - first))


def fit(log_probabilities: ArrayLike) -> Floats:
    """alpha of greatest likelihood: Newton's method (Minka, Estimating a Dirichlet distribution).

    Likelihood a row: log Gamma(sum a) - sum log Gamma(a_k) + sum (a_k - 1) m_k, with m_k the mean
    of log p_k, all that it needs of the rows; it is concave. Gradient: psi(sum a) - psi(a_k) + m_k.
    The Hessian is diagonal plus a constant, so a step costs O(K). Steps are halved until alpha is
    positive and the likelihood does not fall.
    Shape: (M, K) -> (K,). Errors: a probability of 0; rows that do not differ (no maximum).
    """
    rows = np.asarray(log_probabilities, np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2 or not len(rows):
        raise InputError(f"a Dirichlet is fitted to rows of log-probabilities, got {rows.shape}")
    mean = rows.mean(axis=0)
    if not np.all(np.isfinite(mean)):
        raise InputError("a Dirichlet cannot be fitted: a probability is 0 or not a number")
    total = float(np.exp(mean).sum())  # geometric means: 1 only where all rows are equal
    if total > 1 - 1e-12:
        raise InputError(
            f"a Dirichlet cannot be fitted: its {len(rows)} rows do not differ or do not sum to 1"
        )
    alpha = np.ones(len(mean))
    for _ in range(STEPS):
        gradient = psi(alpha.sum()) - psi(alpha) + mean
        if np.linalg.norm(gradient) <= GRADIENT:
            return alpha
        alpha = _climb(alpha, _newton_step(alpha, gradient), mean)
    raise InputError(f"no Dirichlet found in {STEPS} steps: do the rows hardly differ?")


def _newton_step(alpha: Floats, gradient: Floats) -> Floats:
    """- H^-1 g with H = diag(q) + z 1 1^T, q = -psi'(a_k), z = psi'(sum a) (Minka, eq. 13-18)."""
    q, z = -polygamma(1, alpha), polygamma(1, alpha.sum())
    b = (gradient / q).sum() / (1 / z + (1 / q).sum())
    return np.asarray((b - gradient) / q)


def _climb(alpha: Floats, step: Floats, mean: Floats) -> Floats:
    """alpha + step, or the nearest half of a half ... of it that does not lower the likelihood."""
    start, noise = _likelihood(alpha, mean)
    while np.any(alpha + step <= 0) or _likelihood(alpha + step, mean)[0] < start - noise:
        step = step / 2
    return np.asarray(alpha + step)


def _likelihood(alpha: Floats, mean: Floats) -> tuple[float, float]:
    """Mean log-likelihood of a row, and the rounding error that it may carry."""
    terms = np.concatenate([[gammaln(alpha.sum())], -gammaln(alpha), (alpha - 1) * mean])
    return float(terms.sum()), float(ROUNDING * np.abs(terms).sum())
