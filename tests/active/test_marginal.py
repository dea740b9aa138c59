"""Law of the margin: three ways to the same numbers, and what holds for any law."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, betaln
from scipy.stats import kstest

from fitexp.active import marginal

# An oracle that is less sure of itself is compared all the same.
pytestmark = pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
PAPER = (1.59, 0.42, 0.31)
Triple = tuple[float, float, float]
LAST = 1 - 2.0**-53


def triples() -> list[Triple]:
    """50 of them: special ones, and 46 with every size from 0.05 to 60."""
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.uniform(np.log(0.05), np.log(60), (46, 3)))
    named = [PAPER, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.02, 0.05, 0.01)]
    return [*named, *((float(a), float(b), float(c)) for a, b, c in drawn)]


def closed_form(z: float, alpha: Triple) -> mp.mpf:
    """The protocol's closed form, with 30 digits and those that 1 - z needs."""
    with mp.workdps(30 + int(-np.log10(z))):
        a1, a2, a3, z = (mp.mpf(value) for value in (*alpha, z))
        mass = mp.betainc(a2, a1, 0, mp.mpf(1) / 2, regularized=True)
        powers = ((1 - z) / 2) ** a2 * (1 - z) ** (a3 - 1) * ((1 + z) / 2) ** (a1 - 1)
        series = mp.hyp2f1(1 - a1, a3, a2 + a3, (1 - z) / (1 + z))
        return powers * series / mp.beta(a1, a2 + a3) / mass


def eq_13(z: float, alpha: Triple) -> float:
    """The paper's integral over the second probability, by QUADPACK's algebraic weights."""
    a1, a2, a3 = alpha
    half = (1 - z) / 2

    def smooth(y: float) -> float:  # (1 - 2 y - z) = 2 (half - y)
        return (y + z) ** (a1 - 1) * 2 ** (a3 - 1)

    value, _ = quad(smooth, 0, half, weight="alg", wvar=(a2 - 1, a3 - 1), epsabs=0, epsrel=1e-11)
    return value / np.exp(betaln(a1, a2) + betaln(a1 + a2, a3)) / betainc(a2, a1, 0.5)


def beta_route(z: float, alpha: Triple) -> float:
    """P(Z > z) = int_z^1 Beta(s; a1+a2, a3) I_((1-z/s)/2)(a2, a1) ds / mass (the protocol)."""
    a1, a2, a3 = alpha

    def smooth(s: float) -> float:
        return s ** (a1 + a2 - 1) * betainc(a2, a1, (1 - z / s) / 2)

    value, _ = quad(smooth, z, 1, weight="alg", wvar=(0, a3 - 1), epsabs=0, epsrel=1e-10, limit=200)
    return value / np.exp(betaln(a1 + a2, a3)) / betainc(a2, a1, 0.5)


@pytest.mark.parametrize("alpha", [*triples(), (800.0, 700.0, 900.0), (1000.0, 0.01, 3.0)])
def test_density_is_the_closed_form(alpha: Triple) -> None:
    """At both ends and between them."""
    points = [1e-12, 1e-4, 0.024, 0.3, 0.8, 0.999, 1 - 1e-9, LAST]
    expected = [closed_form(z, alpha) for z in points]
    for found, exact in zip(marginal.pdf(points, alpha), expected, strict=True):
        assert abs(found - exact) <= 1e-10 * exact + 1e-280


@pytest.mark.parametrize("alpha", triples())
def test_density_is_eq_13(alpha: Triple) -> None:
    for z in (0.1, 0.5, 0.95):
        assert marginal.pdf(z, alpha) == pytest.approx(eq_13(z, alpha), rel=1e-8, abs=1e-250)


@pytest.mark.parametrize("alpha", triples())
def test_probabilities_are_those_of_the_beta_route(alpha: Triple) -> None:
    for z in (0.05, 0.3, 0.9):
        above = beta_route(z, alpha)
        assert 1 - marginal.cdf(z, alpha) == pytest.approx(above, rel=1e-8, abs=1e-12)
        assert marginal._above(np.array([z]), alpha)[0] == pytest.approx(above, rel=1e-8, abs=1e-99)


@pytest.mark.parametrize(
    ("alpha", "z"),
    [(PAPER, 0.01), ((0.5, 0.5, 0.5), 1e-9), ((0.05, 0.2, 3.0), 1e-3), ((20.0, 9.0, 0.4), 1e-9)],
)
def test_small_probabilities_are_integrals_of_the_closed_form(alpha: Triple, z: float) -> None:
    """int_0^z f = int e^u f(e^u) du, u from far below log z, where the rest is a power of z."""
    power = min(1.0, alpha[0] + alpha[1])
    low = np.log(z) - 30 / power
    steps = np.linspace(low, np.log(z), 17)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    half = np.diff(steps)[:, None] / 2
    u = (steps[:-1, None] + half) + half * nodes
    f = np.array([float(closed_form(float(np.exp(x)), alpha)) for x in u.flat]).reshape(u.shape)
    assert marginal.cdf(z, alpha) == pytest.approx((f * np.exp(u) * half * weights).sum(), rel=1e-8)


@pytest.mark.parametrize("alpha", triples()[:12])
def test_both_tails_add_up_to_one(alpha: Triple) -> None:
    z = np.array([1e-100, 1e-8, 0.1, 0.7, 1 - 1e-8, LAST])
    assert marginal._below(z, alpha) + marginal._above(z, alpha) == pytest.approx(1.0, abs=1e-11)


def test_values_of_the_protocol() -> None:
    assert marginal.mass(PAPER) == pytest.approx(0.8600564182, abs=5e-11)
    assert marginal.quantile(0.01, PAPER) == pytest.approx(0.0240, abs=5e-5)
    assert marginal.cdf(0.18, PAPER) == pytest.approx(0.088, abs=5e-5)


def test_three_equal_ones_by_hand() -> None:
    """Uniform on the triangle: f(z) = 2 (1 - z), P(Z <= z) = 1 - (1 - z)^2."""
    z = np.array([[0.0, 1e-9, 0.25], [0.5, 0.999, 1.0]])
    ones = (1.0, 1.0, 1.0)
    assert marginal.pdf(z, ones) == pytest.approx(2 * (1 - z), rel=1e-12)
    assert marginal.cdf(z, ones) == pytest.approx(z * (2 - z), rel=1e-12)
    p = np.array([[0.0, 1e-9, 0.19], [0.5, 0.75, 1.0]])
    assert marginal.quantile(p, ones) == pytest.approx(p / (1 + np.sqrt(1 - p)), rel=1e-10)


@pytest.mark.parametrize(
    ("alpha", "at_0", "at_1"),
    [
        (PAPER, None, np.inf),
        ((0.3, 0.7, 2.0), np.inf, 0.0),
        ((0.3, 0.4, 0.5), np.inf, np.inf),
        ((2.0, 0.5, 0.5), None, None),
    ],
)
def test_density_at_its_ends(alpha: Triple, at_0: float | None, at_1: float | None) -> None:
    """Infinite where it diverges, else the limit from within."""
    found = marginal.pdf([0.0, 1.0], alpha)
    assert found[0] == pytest.approx(marginal.pdf(1e-14, alpha) if at_0 is None else at_0, rel=1e-7)
    assert found[1] == pytest.approx(marginal.pdf(LAST, alpha) if at_1 is None else at_1, rel=1e-7)


def test_outside_and_unknown() -> None:
    z = [-0.1, 1.1, np.nan]
    np.testing.assert_array_equal(marginal.pdf(z, PAPER), [0.0, 0.0, np.nan])
    np.testing.assert_array_equal(marginal.cdf(z, PAPER), [0.0, 1.0, np.nan])


@pytest.mark.parametrize("alpha", [PAPER, (0.2, 0.3, 0.1), (800.0, 700.0, 900.0)])
def test_quantile_inverts(alpha: Triple) -> None:
    p = np.array([1e-12, 1e-3, 0.4, 0.6, 0.999])
    z = marginal.quantile(p, alpha)
    assert np.all(np.diff(z) > 0)
    assert marginal.cdf(z, alpha) == pytest.approx(p, rel=1e-9)


def test_quantile_beyond_floats_is_an_end() -> None:
    """a1 + a2 = 0.03: z^0.03 = 1e-20 at z = 1e-667; a2 + a3 = 0.03 at the other end."""
    assert marginal.quantile(1e-20, (0.01, 0.02, 1.0)) == 0.0
    assert marginal.quantile(1 - 1e-9, (1.0, 0.01, 0.02)) == 1.0


def test_draws_follow_the_law() -> None:
    margins = marginal.sample(PAPER, 20_000, np.random.default_rng(0))
    assert margins.shape == (20_000,)
    assert margins.min() > 0
    z = np.quantile(margins, [0.01, 0.1, 0.5, 0.9])
    error = 4 * np.sqrt(0.25 / 20_000)
    assert marginal.cdf(z, PAPER) == pytest.approx([0.01, 0.1, 0.5, 0.9], abs=error)
    law: Callable[[np.ndarray], np.ndarray] = lambda z: marginal.cdf(z, PAPER)  # noqa: E731
    assert kstest(margins[:500], law).pvalue > 0.001
    assert marginal.sample(PAPER, 0, np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize(
    "alpha", [(1.0, 2.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0), (1e9, 1.0, 1.0), (1.0, -1.0, 1.0)]
)
def test_bad_alpha_is_one_sentence(alpha: tuple[float, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^alpha must be three numbers from 0.01 to 1000, got .*$"
    ):
        marginal.pdf(0.5, alpha)


def test_a_law_without_mass_is_refused() -> None:
    with pytest.raises(ValueError, match="the first never exceeds the second"):
        marginal.mass((0.01, 1000.0, 1.0))
    with pytest.raises(ValueError, match=r"too few draws to keep: P\(Y1 > Y2\) is 3.5e-18"):
        marginal.sample((1.0, 58.0, 1.0), 1, np.random.default_rng(0))


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, [0.5, 2.0]])
def test_bad_p_is_one_sentence(p: object) -> None:
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        marginal.quantile(p, PAPER)
