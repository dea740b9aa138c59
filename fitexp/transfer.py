"""Outcomes of users from what a network embeds: a linear probe (Step2Heart, transfer learning).

Embeddings of windows are pooled by user, standardised, reduced by PCA to shares of their variance,
and a logistic regression tells the two classes of an outcome apart. scikit-learn does the fitting;
everything is fitted on training users (validation users among them), and a row is a user, so the
folds of the cross-validation hold users apart.

The network saw the training users and not the test users, in the paper as here: their embeddings
may be told apart more easily in the folds than in the test.

Departures: settings are chosen by AUC of probabilities (the authors' program: of hard labels), PCA
and scaling are fitted again in every fold, and the level of PCA that is printed is chosen by
cross-validation too.
W windows, U users, D width of an embedding, N training and M test users of an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fitexp.outcomes import Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
POOLS: Mapping[str, Callable[..., Floats]] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "median": np.median,
}
LEVELS = (0.9, 0.95, 0.99, 0.999)  # explained variance
CS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
GRID = tuple((c, penalty) for c in CS for penalty in ("l2", "l1"))
RESTING_HR, FEATURE_MEANS, NOISE = "resting HR alone", "feature means", "noise"


@dataclass(frozen=True, kw_only=True)
class Representation:
    """What is known of U users, (U, D); NaN: filled by the mean of the training users.

    reads: outcomes that are among its inputs, which it is not asked for.
    """

    name: str
    values: Floats
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Level:
    """A probe at one level of PCA, its setting chosen by cross-validation.

    cv_auc: mean over folds; score (M,): probabilities of the upper class, of the test users.
    """

    level: float
    components: int
    C: float
    penalty: str
    cv_auc: float
    score: Floats


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All levels of PCA, and which of them has the best AUC in cross-validation."""

    levels: tuple[Level, ...]
    best: Level


def pooled(embeddings: ArrayLike, user: Ints, how: str, users: int) -> Floats:
    """(W, D) of windows -> (U, D) of users, element by element; NaN for a user without windows.

    user (W,): the number of each window's user; how: mean (the paper's), min, max or median.
    """
    values = np.asarray(embeddings)
    order = np.argsort(user, kind="stable")
    numbers, begin = np.unique(user[order], return_index=True)
    found = np.full((users, values.shape[1]), np.nan)
    for number, rows in zip(numbers, np.split(order, begin[1:]), strict=True):
        found[number] = POOLS[how](values[rows].astype(np.float64), axis=0)
    return found


def series_moments(series: NDArray[np.float32], begin: Ints) -> Floats:
    """(R, F) raw series, NaN absent -> (U, 2F): mean and standard deviation of each user's rows.

    begin (U + 1,): where the users' rows begin. NaN where a user has no value.
    """
    found = np.full((len(begin) - 1, 2, series.shape[1]), np.nan)
    for number, (first, end) in enumerate(pairwise(begin)):
        rows = np.asarray(series[first:end], np.float64)
        there = np.isfinite(rows).any(axis=0)
        found[number, 0, there] = np.nanmean(rows[:, there], axis=0)
        found[number, 1, there] = np.nanstd(rows[:, there], axis=0)
    return found.reshape(len(found), -1)


def auc(score: ArrayLike, high: ArrayLike) -> float:
    """P(upper class scores above lower), a tie counts half.

    (sum of the p upper ranks - p (p + 1) / 2) / (p n).
    """
    upper = np.asarray(high, bool)
    p, n = int(upper.sum()), int((~upper).sum())
    return float((rankdata(score)[upper].sum() - p * (p + 1) / 2) / (p * n))


def chance_sd(upper: int, lower: int) -> float:
    """Standard deviation of the AUC of a score that knows nothing: sqrt((p + n + 1) / (12 p n))
    (Mann and Whitney 1947)."""
    return float(np.sqrt((upper + lower + 1) / (12 * upper * lower)))


class Reduction:
    """Fill, standardise, PCA: fitted on the rows (N, D) it is made with."""

    def __init__(self, rows: Floats) -> None:
        fill = SimpleImputer(strategy="mean", keep_empty_features=True)
        self.steps = make_pipeline(fill, StandardScaler(), PCA(svd_solver="full"))
        with np.errstate(invalid="ignore"):  # no variance at all
            self.steps.fit(rows)
            share = np.cumsum(self.steps[-1].explained_variance_ratio_)
        share = np.nan_to_num(share, nan=1.0)
        more = [int(np.searchsorted(share, level, side="right")) + 1 for level in LEVELS]
        self.components = [min(k, len(share)) for k in more]

    def __call__(self, rows: Floats) -> Floats:
        """All components; the first `components[i]` explain more than LEVELS[i]."""
        return np.asarray(self.steps.transform(rows), np.float64)


def probe(values: Floats, outcome: Outcome, seed: int = 0) -> Probe:
    """values (U, D) -> the probe, by cross-validation over the outcome's training users.

    Nothing of the test users plays a part but that they are scored at the end.
    """
    x, high = values[outcome.train], outcome.high(outcome.train)
    found = np.stack([_fold(x, high, *rows) for rows in folds(outcome, seed)]).mean(axis=0)
    reduction = Reduction(x)
    inside, outside = reduction(x), reduction(values[outcome.test])
    levels = []
    for level, k, aucs in zip(LEVELS, reduction.components, found, strict=True):
        place = int(np.argmax(aucs))
        C, penalty = GRID[place]
        model = _logistic(C, penalty).fit(inside[:, :k], high)
        levels.append(
            Level(
                level=level,
                components=k,
                C=C,
                penalty=penalty,
                cv_auc=float(aucs[place]),
                score=model.predict_proba(outside[:, :k])[:, 1],
            )
        )
    return Probe(levels=tuple(levels), best=max(levels, key=lambda one: one.cv_auc))


def folds(outcome: Outcome, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Places in `outcome.train` to fit and to hold out; both classes in every fold."""
    split = StratifiedKFold(outcome.folds, shuffle=True, random_state=seed)
    yield from split.split(outcome.train, outcome.high(outcome.train))


def _fold(x: Floats, high: NDArray[np.bool_], fit: Ints, held: Ints) -> Floats:
    """AUC of the users held out: (levels, grid); 0 for a model without a coefficient, as strong L1
    makes them: a constant is no probe, and would be chosen wherever there is nothing to find."""
    reduction = Reduction(x[fit])
    inside, outside = reduction(x[fit]), reduction(x[held])
    found = np.empty((len(LEVELS), len(GRID)))
    for i, k in enumerate(reduction.components):
        if k in reduction.components[:i]:  # few columns: the same model again
            found[i] = found[i - 1]
            continue
        for j, (C, penalty) in enumerate(GRID):
            model = _logistic(C, penalty).fit(inside[:, :k], high[fit])
            score = model.predict_proba(outside[:, :k])[:, 1]
            found[i, j] = auc(score, high[held]) if model.coef_.any() else 0.0
    return found


def _logistic(C: float, penalty: str) -> LogisticRegression:
    """liblinear does L1 and L2. How scikit-learn is told which changed in its 1.8."""
    new = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 8)
    kind = {"l1_ratio": float(penalty == "l1")} if new else {"penalty": penalty}
    return LogisticRegression(C=C, solver="liblinear", max_iter=1000, random_state=0, **kind)


def noise_aucs(outcome: Outcome, width: int, draws: int, seed: int = 0) -> Floats:
    """(draws,) test AUC of the best level of probes of (U, width) standard normal numbers: what
    luck alone gives at this number of users."""
    found = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        best = probe(rng.standard_normal((len(outcome.value), width)), outcome, seed).best
        found.append(auc(best.score, outcome.high(outcome.test)))
    return np.asarray(found, np.float64)
