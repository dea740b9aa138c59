"""What a file of benches/ builds its rows from.

A file defines `rows()`, which returns a list of `Row`. Importing it must stay cheap: import torch
and what is measured inside the functions. Each row's two sides run in turns in one process.
"""

from __future__ import annotations

import gc
import statistics
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Side = Callable[[], float]  # one run -> one figure, in the row's unit
WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim: `ours` beside `reference`.

    note: what is compared, and how it is measured.
    target: least ratio reference / ours, or None where the row only reports.
    sides: sets up and returns (ours, reference).
    agree: runs both sides on small sizes; raises AssertionError where they differ.
    repeats: runs a side; best: the smallest figure counts instead of the median.
    warm_up: one more run a side beforehand, not counted.
    """

    name: str
    unit: str
    note: str
    target: float | None
    sides: Callable[[], tuple[Side, Side]]
    agree: Callable[[], None]
    repeats: int = 5
    best: bool = False
    warm_up: bool = True


def cpu_ms(work: Callable[[], object], at_least_s: float = 0.1) -> Side:
    """Milliseconds of CPU time of this process that one `work()` takes.

    A turn repeats quick work for `at_least_s`, so that both sides are seen warm, as in training,
    and not in what the other side left in the caches and the heap.
    """

    def run() -> float:
        gc.collect()
        runs, start = 0, time.process_time()
        while True:
            work()
            runs, spent = runs + 1, time.process_time() - start
            if spent >= at_least_s:
                return spent / runs * 1e3

    return run


def limit_row(
    name: str,
    what: str,
    unit: str,
    limit: float,
    ours: Callable[[], Side],
    agree: Callable[[], None],
) -> Row:
    """A row whose reference is a limit: the best of 5 runs must stay below it.

    what: is measured, and how; ours: sets up and returns the side.
    """
    return Row(
        name=name,
        unit=unit,
        note=f"{what}, best of 5; reference: the limit",
        target=1.0,
        sides=lambda: (ours(), lambda: limit),
        agree=agree,
        best=True,
    )


def measure(row: Row) -> dict[str, object]:
    """{name, ours, reference, unit, ratio, target, met}; met is None without a target."""
    ours, reference = row.sides()
    if row.warm_up:
        ours()
        reference()
    pairs = [(ours(), reference()) for _ in range(row.repeats)]
    summary = min if row.best else statistics.median
    a, b = (summary(side) for side in zip(*pairs, strict=True))
    ratio = b / a
    return {
        "name": row.name,
        "ours": a,
        "reference": b,
        "unit": row.unit,
        "ratio": ratio,
        "target": row.target,
        "met": None if row.target is None else ratio >= row.target,
    }


def print_table(results: Sequence[dict[str, object]]) -> None:
    head = (
        f"{'name':<36} {'ours':>10} {'reference':>10} {'unit':<7} {'ratio':>8} {'target':>8}  met"
    )
    print(head)
    print("-" * len(head))
    for r in results:
        target = "" if r["target"] is None else f"{r['target']:.2f}"
        met = {None: "", True: "yes", False: "NO"}[r["met"]]
        print(
            f"{r['name']:<36} {r['ours']:>10.2f} {r['reference']:>10.2f} {r['unit']:<6} "
            f"{r['ratio']:>8.2f} {target:>8} {met}"
        )


def print_notes(rows: Sequence[Row]) -> None:
    for row in rows:
        target = "no target" if row.target is None else f"target {row.target:g}"
        print(f"{row.name} ({row.unit}, {target})")
        print(textwrap.indent(textwrap.fill(row.note, WIDTH - 4), "    "))


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(text, 300)
