"""Does a measured cost grow as K w? Power laws and sums of terms, fitted to a table of costs.

Mahyari, Pirolli, LeBlanc (IEEE J-BHI 2022), appendix B: "the overall computational cost is O(K w)".
N items, K entries that attention weighs, w events of a window; M sizes are an array (M, 3) of them.
Pure, numpy and scipy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from fitexp.report.document import Sheet
from fitexp.report.statistics import interval

Floats = NDArray[np.float64]

SIZES = ("N", "K", "w")
TERMS: Mapping[str, tuple[int, int, int]] = {  # name -> powers of N, K, w
    "1": (0, 0, 0),
    "K w": (0, 1, 1),
    "N": (1, 0, 0),
    "N K": (1, 1, 0),
    "N w": (1, 0, 1),
    "w": (0, 0, 1),
    "w^2": (0, 0, 2),
    "K": (0, 1, 0),
    "K w^2": (0, 1, 2),
    "K^2": (0, 2, 0),
    "K^2 w": (0, 2, 1),
}
CLAIM = ("1", "K w")
FURTHER = tuple(name for name in TERMS if name not in CLAIM)
PARTS = 5  # of the sizes: each is held out once
RESAMPLES = 2000
EXPLAINED = "share of the variation explained, and median error of sizes held out"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network: its sizes, and what a batch costs it.

    case: the grid it is a size of, or the point; change: of a point, "" for itself.
    operations: of a forward pass, in floating point; forward_ms, step_ms: a forward pass, a
    training step.
    """

    case: str
    change: str
    items: int
    width: int
    window: int
    operations: float
    forward_ms: float
    step_ms: float


COSTS: Mapping[str, str] = {  # field of Measured -> what it is called
    "operations": "operations",
    "forward_ms": "forward pass",
    "step_ms": "training step",
}


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """Power of one size in a cost, with its percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """cost = sum_j coefficients_j term_j.

    explained: 1 - S(fit) / S(the best constant), S = sum of (fit / cost - 1)^2; in [0, 1], and no
    lower with more terms.
    held_out: median |fit / cost - 1| of sizes that the fit has not seen.
    """

    coefficients: Mapping[str, float]
    explained: float
    held_out: float

    def cost(self, sizes: Floats) -> Floats:
        """Shape: (M, 3) -> (M,)."""
        names = list(self.coefficients)
        found: Floats = _terms(sizes, names) @ np.array([self.coefficients[name] for name in names])
        return found


def exponents(
    sizes: Floats, cost: Floats, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Exponent]:
    """Powers a of N, K, w in cost = c N^a1 K^a2 w^a3, by least squares on logarithms.

    The interval is that of refits to M sizes drawn with replacement: how far the power hangs on
    which sizes were measured, as it does where the cost is no power law. Draws in which some size
    does not vary are left out. Raises ValueError where one does not vary at all.
    """
    x = np.column_stack([np.ones(len(sizes)), np.log(sizes)])
    y = np.log(cost)
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(f"each of {', '.join(SIZES)} must vary by itself")
    drawn = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    full = [rows for rows in drawn if np.linalg.matrix_rank(x[rows]) == x.shape[1]]
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    again = np.array([np.linalg.lstsq(x[rows], y[rows], rcond=None)[0] for rows in full])
    pairs = [(found[i], interval(again[:, i])) for i in range(1, x.shape[1])]
    return [Exponent(value=float(a), low=low, high=high) for a, (low, high) in pairs]


def fitted(sizes: Floats, cost: Floats, terms: Sequence[str], *, seed: int = 0) -> Fit:
    """Coefficients >= 0 with the least sum of (fit / cost - 1)^2, and how well they fit.

    Relative errors, so that small sizes count as much as large ones. PARTS random parts of the
    sizes are held out in turn.
    """
    coefficients = _coefficients(sizes, cost, terms)
    left = _terms(sizes, terms) @ coefficients / cost - 1
    about = _coefficients(sizes, cost, ("1",)) / cost - 1
    part = np.random.default_rng(seed).permutation(len(cost)) % PARTS
    errors = np.empty(len(cost))
    for i in range(PARTS):
        seen, unseen = part != i, part == i
        found = _terms(sizes[unseen], terms) @ _coefficients(sizes[seen], cost[seen], terms)
        errors[unseen] = np.abs(found / cost[unseen] - 1)
    return Fit(
        coefficients=dict(zip(terms, map(float, coefficients), strict=True)),
        explained=float(1 - (left @ left) / (about @ about)),
        held_out=float(np.median(errors)),
    )


def models() -> dict[str, tuple[str, ...]]:
    """The claim, the claim with each further term, and with all of them: name -> terms."""
    one = {f"  + {name}": (*CLAIM, name) for name in FURTHER}
    return {"c0 + c1 K w": CLAIM, **one, "  + all": (*CLAIM, *FURTHER)}


def _terms(sizes: Floats, names: Sequence[str]) -> Floats:
    powers = np.array([TERMS[name] for name in names])
    found: Floats = np.prod(np.asarray(sizes, np.float64)[:, None] ** powers, axis=-1)
    return found


def _coefficients(sizes: Floats, cost: Floats, terms: Sequence[str]) -> Floats:
    columns = _terms(sizes, terms) / cost[:, None]
    scale = columns.max(axis=0)
    found: Floats = nnls(columns / scale, np.ones(len(cost)), maxiter=1000)[0] / scale
    return found


# sheets


def sheets(grids: Mapping[str, str], rows: Sequence[Measured]) -> list[Sheet]:
    """What was measured as small tables: at the points, then powers and models of each grid.

    grids: case -> how it is headed; the other cases are points.
    """
    found = [_changes([row for row in rows if row.case not in grids])]
    for case, title in grids.items():
        own = [row for row in rows if row.case == case]
        found += [_powers(title, own), _models(title, own)]
    return found


def break_even(rows: Sequence[Measured]) -> str:
    """At which N the operations that grow with N are as many as those of K w, smallest K and w."""
    _, sizes, cost = next(_columns(rows))
    c = fitted(sizes, cost, (*CLAIM, *FURTHER)).coefficients
    K, w = sizes[:, 1].min(), sizes[:, 2].min()
    return (
        f"{rows[0].case}, K {K:.0f}, w {w:.0f}: the term in N takes as many operations as the one "
        f"in K w at N = {c['K w'] * K * w / c['N']:.0f}"
    )


def _changes(rows: Sequence[Measured]) -> Sheet:
    """Cost at a point, and how many times as much it is after a change of its sizes."""
    by_point: dict[str, dict[str, Measured]] = {}
    for row in rows:
        by_point.setdefault(row.case, {})[row.change] = row
    changes = list(dict.fromkeys(row.change for row in rows if row.change))
    lines = [["", "cost", *changes]]
    for case, own in by_point.items():
        for field, name in COSTS.items():
            cost = {change: getattr(row, field) for change, row in own.items()}
            base = cost[""]
            shown = f"{base / 1e6:.3g} M" if field == "operations" else f"{base:.3g} ms"
            times = [f"{cost[change] / base:.2f}" for change in changes]
            lines.append([f"{case}: {name}", shown, *times])
    return Sheet("cost of a batch at the paper's sizes, and times as much after a change", lines)


def _columns(rows: Sequence[Measured]) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, sizes and costs of each of COSTS."""
    sizes = np.array([(row.items, row.width, row.window) for row in rows], np.float64)
    for field, name in COSTS.items():
        yield name, sizes, np.array([getattr(row, field) for row in rows], np.float64)


def _powers(title: str, rows: Sequence[Measured]) -> Sheet:
    lines = [["", *SIZES]]
    for name, sizes, cost in _columns(rows):
        found = exponents(sizes, cost)
        lines.append([name, *(f"{a.value:.2f} [{a.low:.2f}, {a.high:.2f}]" for a in found)])
    return Sheet(f"{title}\nexponents [95 % interval]; claimed: 0, 1, 1", lines)


def _models(title: str, rows: Sequence[Measured]) -> Sheet:
    lines = [["", *(word for name in COSTS.values() for word in (name, "error"))]]
    columns = list(_columns(rows))
    for name, terms in models().items():
        fits = [fitted(sizes, cost, terms) for _, sizes, cost in columns]
        words = [text for fit in fits for text in (f"{fit.explained:.3f}", f"{fit.held_out:.1%}")]
        lines.append([name, *words])
    return Sheet(f"{title}\n{EXPLAINED}", lines)
