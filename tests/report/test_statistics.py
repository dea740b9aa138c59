"""The bootstrap against cases worked by hand, scipy, and a slow obvious second writing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fitexp.report import statistics
from fitexp.report.statistics import Errors, Form


def errors(total: object, count: object = 1.0, form: Form = "mean") -> Errors:
    totals = np.atleast_2d(np.asarray(total, float).T).T
    return Errors(total=totals, count=np.broadcast_to(count, totals.shape).astype(float), form=form)


def test_pooled_by_hand() -> None:
    # two clusters, two seeds: (6 + 2) / (3 + 1) = 2 and (9 + 3) / (3 + 1) = 3
    row = errors([[6, 9], [2, 3]], [[3, 3], [1, 1]])
    assert statistics.pooled(row) == 2.5
    # first cluster twice: (12 + 2) / 7 = 2, (18 + 3) / 7 = 3; only the second: 2, 3
    np.testing.assert_allclose(statistics.pooled(row, [[2, 1], [0, 1]]), [2.5, 2.5])
    row = errors([[4, 16], [4, 16]], 1.0, form="root")  # sqrt(4) and sqrt(16), then the mean
    assert statistics.pooled(row) == 3.0


def test_two_clusters_have_the_binomial_distribution() -> None:
    # errors 0 and 1: the resampled mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4
    samples = statistics.bootstrap([errors([0.0, 1.0])], resamples=40_000)[:, 0]
    values, count = np.unique(samples, return_counts=True)
    np.testing.assert_array_equal(values, [0, 0.5, 1])
    np.testing.assert_allclose(count / 40_000, [0.25, 0.5, 0.25], atol=0.01)
    assert statistics.interval(samples) == (0.0, 1.0)


def test_percentiles_are_scipy_s_on_clusters_of_equal_size() -> None:
    rng = np.random.default_rng(1)
    values = rng.gamma(2.0, 3.0, 25)
    ours = statistics.interval(statistics.bootstrap([errors(values * 7, 7.0)])[:, 0])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, rtol=0.01)
    other = values + rng.normal(0.5, 1.0, 25)
    samples = statistics.bootstrap([errors(values), errors(other)])
    ours = statistics.interval(samples[:, 1] - samples[:, 0])
    theirs = stats.bootstrap(
        (other, values),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        n_resamples=10_000,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.02)


@pytest.mark.parametrize("form", ["mean", "root"])
def test_resamples_equal_a_slow_loop(form: Form) -> None:
    rng = np.random.default_rng(2)
    total, count = rng.uniform(1, 9, (6, 2)), rng.integers(1, 5, (6, 2)).astype(float)
    row = Errors(total=total, count=count, form=form)
    ours = statistics.bootstrap([row], resamples=50, seed=3)[:, 0]
    drawn = np.random.default_rng(3).integers(0, 6, (50, 6))
    for value, clusters in zip(ours, drawn, strict=True):
        seeds = []
        for s in range(2):
            ratio = sum(total[c, s] for c in clusters) / sum(count[c, s] for c in clusters)
            seeds.append(ratio**0.5 if form == "root" else ratio)
        assert value == pytest.approx(sum(seeds) / 2)


def test_resampled_aucs_are_scikit_learns_of_weighted_users() -> None:
    rng = np.random.default_rng(4)
    upper = rng.random(15) < 0.4
    score = np.round(rng.normal(upper[:, None], 1.0, (15, 2)), 1)  # with ties
    row = errors(score, np.repeat(upper[:, None], 2, axis=1), form="auc")
    of = [100 * roc_auc_score(upper, s) for s in score.T]
    assert float(statistics.pooled(row)) == pytest.approx(np.mean(of))
    ours = statistics.bootstrap([row], resamples=40, seed=5)[:, 0]
    drawn = np.random.default_rng(5).integers(0, 15, (40, 15))
    for value, users in zip(ours, drawn, strict=True):
        if 0 < upper[users].sum() < 15:
            of = [100 * roc_auc_score(upper[users], s[users]) for s in score.T]
            assert value == pytest.approx(np.mean(of))
        else:
            assert np.isnan(value)


def test_chunks_are_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    row = errors(np.arange(12.0))
    whole = statistics.bootstrap([row], resamples=100)
    monkeypatch.setattr(statistics, "CHUNK", 12 * 7)
    assert statistics.bootstrap([row], resamples=100).shape == whole.shape


def test_strata_are_resampled_apart_with_the_right_variance() -> None:
    """The variance of a stratified mean: sum_h (n_h / n)^2 s_h^2 / n_h, s_h^2 with n_h - 1."""
    values = np.array([1.0, 5.0, 20.0, 22.0, 27.0])
    strata = np.array([0, 0, 1, 1, 1])
    samples = statistics.bootstrap([errors(values)], strata=strata, resamples=40_000)[:, 0]
    expected = sum((n / 5) ** 2 * values[strata == h].var(ddof=1) / n for h, n in ((0, 2), (1, 3)))
    assert samples.var() == pytest.approx(expected, rel=0.03)
    assert samples.mean() == pytest.approx(values.mean(), abs=0.03)
    with pytest.raises(ValueError, match="one cluster"):
        statistics.bootstrap([errors(values)], strata=[0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("strata", "joined"),
    [
        ([0, 0, 1, 1], [[0, 1], [2, 3]]),
        ([0, 1, 2], [[0, 1, 2]]),
        ([0, 0, 1, 2], [[0, 1], [2, 3]]),
        ([0, 0, 0, 1, 1, 2], [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_lone_units_are_joined(strata: list[int], joined: list[list[int]]) -> None:
    found = statistics.joined_strata(strata)
    assert sorted(np.flatnonzero(found == h).tolist() for h in np.unique(found)) == joined


def test_p_by_hand() -> None:
    assert statistics.p_two_sided(np.array([1.0, 2, 3, -1])) == pytest.approx(2 * 2 / 5)
    assert statistics.p_two_sided(np.ones(99)) == pytest.approx(2 / 100)
    assert statistics.p_two_sided(np.zeros(9)) == 1.0
    # resamples without a value, as of an AUC without one of its classes, are no evidence
    assert statistics.p_two_sided(np.array([1.0, 2, 3, -1] + [np.nan] * 96)) == 0.8
    assert statistics.p_two_sided(np.full(9, np.nan)) == 1.0


def test_holm_by_hand_and_by_a_loop() -> None:
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert len(statistics.holm([])) == 0
    rng = np.random.default_rng(0)
    for m in (1, 2, 7):
        p = rng.uniform(0, 0.3, m).round(2)  # with ties
        expected, before = [0.0] * m, 0.0
        for rank, i in enumerate(sorted(range(m), key=lambda i: p[i])):
            before = max(before, min(1.0, (m - rank) * p[i]))
            expected[i] = before
        np.testing.assert_allclose(statistics.holm(p), expected)


@pytest.mark.parametrize("stratified", [False, True])
def test_coverage_and_false_alarms(stratified: bool) -> None:
    """95 % intervals of a null difference hold it in most of 300 made-up studies."""
    rng = np.random.default_rng(5)
    held = found = 0
    for study in range(300):
        # 24 users, resampled; or 4 users of 5 workouts, resampled within users
        strata = np.repeat(np.arange(4), 5) if stratified else None
        size = 20 if stratified else 24
        level = rng.gamma(4, 2, size)
        reference = errors(level)
        null = errors(level + rng.normal(0, 1, size))
        better = errors(level + rng.normal(-1, 1, size))
        samples = statistics.bootstrap(
            [reference, null, better], strata=strata, resamples=500, seed=study
        )
        none, some = (
            statistics.paired_difference(row, reference, samples[:, k], samples[:, 0])
            for k, row in ((1, null), (2, better))
        )
        held += none.low <= 0 <= none.high
        found += some.high < 0 and some.p < 0.05
    assert 0.90 <= held / 300 <= 0.98
    assert found / 300 > 0.95
