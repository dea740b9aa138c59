"""Three probabilities of a row, and the Dirichlet law fitted to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import psi
from scipy.stats import dirichlet as scipys

from fitexp.active import dirichlet

PAPER = (1.59, 0.42, 0.31)


def drawn(alpha: tuple[float, ...], rows: int, seed: int = 0) -> np.ndarray:
    """log of Dirichlet draws: log gamma(a) = log gamma(a + 1) + log(u) / a never underflows."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(alpha))
    logs = np.log(rng.standard_gamma(np.array(alpha) + 1, shape))
    logs += np.log(rng.uniform(size=shape)) / np.array(alpha)
    return logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "alpha", [PAPER, (0.03, 0.02, 0.05), (100.0, 1.0, 0.05), (9e4, 2e5, 3e4), (2.0, 3.0, 4.0, 0.5)]
)
def test_fit_recovers_the_law_and_ends_where_the_gradient_is_zero(alpha: tuple[float, ...]) -> None:
    rows = drawn(alpha, 20_000)
    found = dirichlet.fit(rows)
    assert found == pytest.approx(alpha, rel=0.04)
    gradient = psi(found.sum()) - psi(found) + rows.mean(axis=0)
    assert np.linalg.norm(gradient) <= 1e-10


def test_no_neighbour_is_likelier() -> None:
    """By scipy's density, row by row."""
    rows = drawn(PAPER, 300)
    found = dirichlet.fit(rows)

    def likelihood(alpha: np.ndarray) -> float:
        return sum(scipys.logpdf(p / p.sum(), alpha) for p in np.exp(rows))

    best = likelihood(found)
    for k in range(3):
        for factor in (0.98, 1.02):
            other = found.copy()
            other[k] *= factor
            assert likelihood(other) < best


def test_fit_is_that_of_the_package_dirichlet() -> None:
    package = pytest.importorskip("dirichlet", reason="the package dirichlet is not installed")
    rows = drawn(PAPER, 2000)
    assert dirichlet.fit(rows) == pytest.approx(package.mle(np.exp(rows), tol=1e-10), rel=1e-4)


def test_fit_does_not_clip() -> None:
    """Third probabilities far below 1e-7 and even below floats are as good as others."""
    alpha = (1.5, 0.4, 0.01)
    rows = drawn(alpha, 5000)
    assert np.exp(rows[:, 2]).min() == 0.0
    assert dirichlet.fit(rows)[2] == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.log([[0.5, 0.3, 0.2]] * 3), "3 rows do not differ"),
        (np.log([[0.5, 0.3, 0.2]]), "1 rows do not differ"),
        (np.array([[-1.0, -np.inf, -1.0], [-1.0, -1.0, -1.0]]), "a probability is 0"),
        (np.array([[-1.0, np.nan, -1.0]]), "a probability is 0 or not a number"),
        (np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]), "do not sum to 1"),
        (np.empty((0, 3)), "rows of log-probabilities"),
        (np.zeros(3), "rows of log-probabilities"),
    ],
)
def test_rows_without_a_law_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dirichlet.fit(rows)


def test_top_two_and_rest_by_hand() -> None:
    p = np.array([[0.1, 0.6, 0.05, 0.25], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    three = dirichlet.top_two_and_rest(logs)
    expected = [[0.6, 0.25, 0.15], [0.25, 0.25, 0.5], [1, 0, 0]]
    assert np.exp(three) == pytest.approx(np.array(expected))
    assert dirichlet.margins(three) == pytest.approx([0.35, 0.0, 1.0])


def test_top_two_and_rest_is_sorting() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (50, 44)).astype(np.float32)
    p = np.exp(scores.astype(np.float64))
    p = np.sort(p / p.sum(axis=1, keepdims=True), axis=1)
    expected = np.column_stack([p[:, -1], p[:, -2], p[:, :-2].sum(axis=1)])
    three = dirichlet.top_two_and_rest(scores)
    assert np.exp(three) == pytest.approx(expected, rel=1e-12)
    assert np.exp(three).sum(axis=1) == pytest.approx(1.0)
    assert dirichlet.margins(three) == pytest.approx(p[:, -1] - p[:, -2], rel=1e-9)


def test_small_probabilities_keep_their_logarithms() -> None:
    three = dirichlet.top_two_and_rest([[0.0, -900.0, -2000.0, -2000.0]])
    assert three[0] == pytest.approx([0.0, -900.0, -2000.0 + np.log(2)])


@pytest.mark.parametrize("shape", [(3, 2), (3,), (2, 3, 4)])
def test_margins_need_three_items(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows of 3 or more items"):
        dirichlet.top_two_and_rest(np.zeros(shape))
