"""Margins below which the expert is asked: asked where margin < threshold.

Three ways to a threshold: a level of the fitted law (the paper), the same level of margins on users
held out, or the number that the paper prints.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.special import entr, expit, logit
from scipy.stats import kstest

from fitexp.active.marginal import Alpha, cdf, pdf, quantile
from fitexp.errors import InputError

PRINTED = 0.18  # the paper's, "alpha = 0.01"; its own law asks 8.8 % there, and 1 % at 0.0240
KNOTS = 256
BELOW_1 = 1 - 2.0**-53
Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """Kolmogorov-Smirnov: the largest distance of the two distribution functions, and its p."""

    statistic: float
    p: float


def dirichlet_law(alpha: Alpha, level: float) -> float:
    """Margin that the fitted law falls below with probability `level` (the paper's test of H0).

    It asks at the level that was wished for only if the law fits; see `fit_test`.
    """
    return float(quantile(_inside(level), alpha))


def empirical(margins: ArrayLike, level: float) -> float:
    """The k-th smallest of n held-out margins, k = floor((n + 1) level): split conformal.

    A new margin exchangeable with these falls below it with probability k / (n + 1) <= level if
    ties have probability 0, with less if not: its rank among all n + 1 is uniform. This is the rate
    over draws of held-out margins as well as of the new one; with these margins given it varies
    about it, with standard deviation about sqrt(level (1 - level) / n), more where margins of one
    user resemble each other. Raises InputError where k = 0.
    """
    values = np.asarray(margins, np.float64).ravel()
    if not np.all(np.isfinite(values)):
        raise InputError("a held-out margin is not a number")
    k = int((len(values) + 1) * _inside(level) + 1e-9)  # 100 * 0.29 is 28.999999999999996
    if k == 0:
        raise InputError(
            f"a level of {level:g} needs {int(np.ceil(1 / level - 1e-9)) - 1} held-out margins "
            f"or more, got {len(values)}: raise the level or hold out more"
        )
    k = min(k, len(values))
    return float(np.partition(values, k - 1)[k - 1])


def fit_test(margins: ArrayLike, alpha: Alpha) -> Fit:
    """Does the law of `alpha` fit margins? Kolmogorov-Smirnov, two-sided (scipy.stats.kstest).

    Too good where alpha was fitted to the same margins: p is then too high, and only a rejection
    counts. p is too low where margins of one user resemble each other. A margin of 1 is a rounded
    one and counts as the last float below it. More than 2 KNOTS margins are looked up in a cubic
    Hermite spline of P(Z <= z), within 1e-6 where alpha is 0.1 or more.
    """
    values = np.asarray(margins, np.float64).ravel()
    if not len(values) or not np.all((values >= 0) & (values <= 1)):
        raise InputError("a test of fit needs margins, each from 0 to 1")
    values = np.minimum(values, BELOW_1)
    law = _interpolated(values, alpha) if len(values) > 2 * KNOTS else cdf(values, alpha)
    found = kstest(law, "uniform")
    return Fit(float(found.statistic), float(found.pvalue))


def entropy(probabilities: ArrayLike) -> Floats:
    """- sum p log p of every row, nats; 0 log 0 is 0. Shape: (M, N) -> (M,)."""
    return np.asarray(entr(np.asarray(probabilities, np.float64)).sum(axis=-1))


def _interpolated(values: Floats, alpha: Alpha) -> Floats:
    """P(Z <= z) by a spline in u = log(z / (1 - z)), whose slope is f(z) z (1 - z)."""
    u = logit(np.maximum(values, 1e-300))
    knots = np.linspace(u.min(), max(u.max(), u.min() + 1e-9), KNOTS)
    z = expit(knots)
    spline = CubicHermiteSpline(knots, cdf(z, alpha), pdf(z, alpha) * z * expit(-knots))
    return np.asarray(np.clip(spline(u), 0.0, 1.0))


def _inside(level: float) -> float:
    if not 0 < level < 1:
        raise InputError(f"a level of asking must lie between 0 and 1, got {level}")
    return level
