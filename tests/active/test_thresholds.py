"""When to ask: levels of the law, quantiles of held-out margins, and whether the law fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipys
from scipy.stats import kstest

from fitexp.active import marginal, thresholds

PAPER = (1.59, 0.42, 0.31)


def test_law_asks_at_its_level_where_it_is_true() -> None:
    threshold = thresholds.dirichlet_law(PAPER, 0.05)
    margins = marginal.sample(PAPER, 40_000, np.random.default_rng(0))
    assert np.mean(margins < threshold) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 / 40_000))


def test_printed_threshold_is_not_the_level_it_claims() -> None:
    assert thresholds.dirichlet_law(PAPER, 0.01) == pytest.approx(0.0240, abs=5e-5)
    assert marginal.cdf(thresholds.PRINTED, PAPER) == pytest.approx(0.088, abs=5e-5)


def test_empirical_is_an_order_statistic_by_hand() -> None:
    margins = np.arange(99, 0, -1) / 100  # 0.01 ... 0.99
    for level, k in ((0.01, 1), (0.019, 1), (0.02, 2), (0.29, 29), (0.999, 99)):
        assert thresholds.empirical(margins, level) == k / 100


@pytest.mark.parametrize(("n", "level"), [(99, 0.01), (50, 0.1), (30, 0.04)])
def test_empirical_asks_at_its_level_over_exchangeable_margins(n: int, level: float) -> None:
    """Rate over draws of n held-out margins and a new one: k / (n + 1), never above the level."""
    studies, k = 10_000, int((n + 1) * level + 1e-9)
    drawn = np.random.default_rng(n).beta(2, 0.7, (studies, n + 1))
    asked = [new < thresholds.empirical(held, level) for *held, new in drawn]
    error = np.sqrt(level / studies)
    assert np.mean(asked) == pytest.approx(k / (n + 1), abs=4 * error)
    assert np.mean(asked) <= level + 4 * error


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=2, max_size=30), st.floats(0.35, 0.99)
)
def test_ties_only_lower_the_rate(margins: list[float], level: float) -> None:
    """Each margin in turn is the new one: the share asked is at most the level, exactly."""
    asked = 0
    for place, new in enumerate(margins):
        held = margins[:place] + margins[place + 1 :]
        if (len(held) + 1) * level >= 1:
            asked += new < thresholds.empirical(held, level)
    assert asked <= len(margins) * level + 1e-9


@pytest.mark.parametrize(("n", "level", "needed"), [(98, 0.01, 99), (0, 0.5, 1), (5, 0.15, 6)])
def test_too_few_held_out_margins(n: int, level: float, needed: int) -> None:
    with pytest.raises(ValueError, match=f"needs {needed} held-out margins or more, got {n}"):
        thresholds.empirical(np.full(n, 0.5), level)
    thresholds.empirical(np.full(needed, 0.5), level)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, float("nan")])
def test_level_is_a_share(level: float) -> None:
    for ask in (
        lambda: thresholds.empirical([0.5] * 9, level),
        lambda: thresholds.dirichlet_law(PAPER, level),
    ):
        with pytest.raises(ValueError, match="level of asking must lie between 0 and 1"):
            ask()


def test_margins_that_are_none() -> None:
    with pytest.raises(ValueError, match="not a number"):
        thresholds.empirical([0.1, np.nan], 0.5)
    for margins in ([], [0.5, np.nan], [1.5]):
        with pytest.raises(ValueError, match="margins, each from 0 to 1"):
            thresholds.fit_test(margins, PAPER)


@pytest.mark.parametrize("n", [200, 2000])
def test_fit_test_is_scipys_and_tells_laws_apart(n: int) -> None:
    margins = marginal.sample(PAPER, n, np.random.default_rng(1))
    found = thresholds.fit_test(margins, PAPER)
    direct = kstest(margins[:200], lambda z: marginal.cdf(z, PAPER))
    if n == 200:
        assert tuple(found) == pytest.approx((direct.statistic, direct.pvalue))
    assert found.p > 0.01
    assert thresholds.fit_test(margins, (1.0, 1.0, 1.0)).p < 1e-6


@pytest.mark.parametrize("alpha", [PAPER, (0.1, 0.15, 0.2), (300.0, 200.0, 1.0), (0.4, 5.0, 2.0)])
def test_spline_is_the_distribution_function(alpha: tuple[float, float, float]) -> None:
    margins = marginal.sample(alpha, 5000, np.random.default_rng(0))
    margins = np.minimum(margins, thresholds.BELOW_1)
    found = thresholds._interpolated(margins, alpha)
    some = np.argsort(margins)[::100]
    assert found[some] == pytest.approx(marginal.cdf(margins[some], alpha), abs=1e-6)


def test_margins_all_equal_or_rounded_to_the_ends() -> None:
    assert thresholds.fit_test(np.full(1000, 0.5), PAPER).statistic > 0.3
    assert thresholds.fit_test(np.repeat([0.0, 1.0], 500), PAPER).p < 1e-6


def test_entropy_is_scipys() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(7, 0.2), size=20)
    p[0] = np.eye(7)[3]
    assert thresholds.entropy(p) == pytest.approx(scipys(p, axis=1))
    assert thresholds.entropy(p)[0] == 0.0
