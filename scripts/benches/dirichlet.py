"""A Dirichlet law fitted to a million recommendations, against a limit."""

from __future__ import annotations

from typing import Any

from benches._harness import Row, Side, cpu_ms, limit_row

ROWS, LIMIT_MS, ALPHA = 1_000_000, 1000.0, (1.59, 0.42, 0.31)


def _rows(count: int) -> Any:
    import numpy as np

    return np.log(np.random.default_rng(0).dirichlet(ALPHA, count))


def ours() -> Side:
    from fitexp.active.dirichlet import fit

    rows = _rows(ROWS)
    return cpu_ms(lambda: fit(rows))


def agree() -> None:
    from fitexp.active.dirichlet import fit

    found = fit(_rows(20_000))
    assert all(abs(a / b - 1) < 0.05 for a, b in zip(found, ALPHA, strict=True)), found


def rows() -> list[Row]:
    what = f"maximum likelihood of alpha from {ROWS:,} rows of three log-probabilities"
    return [limit_row("dirichlet_fit", what, "ms", LIMIT_MS, ours, agree)]
