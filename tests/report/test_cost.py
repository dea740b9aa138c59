"""Power laws and sums of terms: made-up exact laws come back, other laws refute the claim."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fitexp.report.cost import (
    CLAIM,
    COSTS,
    FURTHER,
    TERMS,
    Measured,
    break_even,
    exponents,
    fitted,
    models,
    sheets,
)

GRID = np.array(list(itertools.product((44, 300, 2000), (10, 50, 250), (3, 8, 20))), np.float64)
N, K, w = GRID.T


@pytest.mark.parametrize("powers", [(0, 1, 1), (0.5, -0.25, 2), (0, 0, 0)])
def test_a_power_law_comes_back(powers: tuple[float, ...]) -> None:
    cost = 3e-4 * N ** powers[0] * K ** powers[1] * w ** powers[2]
    for found, power in zip(exponents(GRID, cost, resamples=50), powers, strict=True):
        assert found.value == pytest.approx(power, abs=1e-9)
        assert (found.low, found.high) == pytest.approx((power, power), abs=1e-9)


def test_the_interval_of_a_noisy_law_covers_its_powers() -> None:
    """About 95 of 100 times, and it is not as wide as to say nothing."""
    noise = np.random.default_rng(1).normal(0, 0.1, (100, len(GRID)))
    inside = widths = 0.0
    for row in noise:
        found = exponents(GRID, K * w * np.exp(row), resamples=200)[1]
        inside += found.low < 1 < found.high
        widths += (found.high - found.low) / len(noise)
    assert 85 <= inside <= 99
    assert widths < 0.08


def test_a_size_that_does_not_vary_is_refused() -> None:
    with pytest.raises(ValueError, match="must vary by itself"):
        exponents(GRID[K == 10], (N * w)[K == 10])


def test_the_claim_explains_a_cost_of_its_own_kind() -> None:
    cost = 5 + 0.25 * K * w
    found = fitted(GRID, cost, CLAIM)
    assert found.coefficients == pytest.approx({"1": 5, "K w": 0.25})
    assert found.explained == pytest.approx(1)
    assert found.held_out < 1e-9
    assert found.cost(GRID) == pytest.approx(cost)


def test_another_law_refutes_the_claim_and_names_its_term() -> None:
    cost = 5 + 0.25 * K * w + 0.5 * N
    fits = {name: fitted(GRID, cost, terms) for name, terms in models().items()}
    assert fits["c0 + c1 K w"].explained < 0.8
    assert fits["c0 + c1 K w"].held_out > 0.1
    best = max((name for name in fits if name != "  + all"), key=lambda n: fits[n].explained)
    assert best == "  + N"
    assert fits["  + N"].coefficients == pytest.approx({"1": 5, "K w": 0.25, "N": 0.5})
    assert fits["  + all"].held_out < 1e-6


def test_more_terms_never_explain_less_and_never_cost_below_nothing() -> None:
    rng = np.random.default_rng(2)
    cost = (1 + N * K / 1e3 + w**2) * np.exp(rng.normal(0, 0.2, len(GRID)))
    terms: list[str] = []
    before = 0.0
    for name in (*CLAIM, *FURTHER):
        terms.append(name)
        found = fitted(GRID, cost, terms)
        assert before - 1e-9 <= found.explained <= 1
        assert min(found.coefficients.values()) >= 0
        before = found.explained
    assert set(terms) == set(TERMS)


def test_held_out_sizes_are_not_seen() -> None:
    """A size whose cost is wild spoils its own prediction only as far as the rest differ."""
    cost = 0.25 * K * w
    cost[4] *= 1000
    coefficients = fitted(np.delete(GRID, 4, 0), np.delete(cost, 4), CLAIM).coefficients
    assert coefficients["K w"] == pytest.approx(0.25)
    assert fitted(GRID, cost, CLAIM).held_out < 0.2


def test_sheets_say_times_powers_and_shares() -> None:
    def row(case: str, change: str, size: tuple[float, ...], cost: float) -> Measured:
        n, k, t = map(int, size)
        return Measured(
            case=case,
            change=change,
            items=n,
            width=k,
            window=t,
            operations=1e6 * cost,
            forward_ms=cost,
            step_ms=2 * cost,
        )

    grid = [row("grid", "", tuple(size), size[1] * size[2] + size[0]) for size in GRID]
    points = [row("small", "", (44, 10, 3), 4.0), row("small", "2 N", (88, 10, 3), 6.0)]
    changes, powers, shares = sheets({"grid": "the grid"}, [*grid, *points])
    assert changes.lines == [
        ["", "cost", "2 N"],
        ["small: operations", "4 M", "1.50"],
        ["small: forward pass", "4 ms", "1.50"],
        ["small: training step", "8 ms", "1.50"],
    ]
    assert [line[0] for line in powers.lines] == ["", *COSTS.values()]
    assert shares.lines[0] == ["", *(x for name in COSTS.values() for x in (name, "error"))]
    assert [line[0] for line in shares.lines[1:]] == list(models())
    assert shares.lines[2] == ["  + N", *["1.000", "0.0%"] * 3]
    assert max(sheet.width(5) for sheet in (changes, powers, shares)) <= 100
    assert break_even(grid).endswith("at N = 30")
