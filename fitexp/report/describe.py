"""What prepared data hold: athletes, workouts, hours, sports, what is missing or was rejected."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from fitexp.data.prepare import Prepared, scored
from fitexp.report.text import labelled, rendered

PARTS = {0: "train", 1: "val", 2: "test", -1: "context only"}


def describe(prepared: Prepared) -> str:
    """Tables of at most 100 columns: parts, sports, protocol, rejections by reason."""
    spec, arrays = prepared.spec, prepared.arrays
    workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
    y, observed = np.asarray(scored(arrays), np.float64), np.asarray(arrays["observed"])
    unit = spec.unit.replace("_", "/")
    per_hour = 3600.0 / spec.step if spec.step_unit == "s" else None
    size = "hours" if per_hour else "km"

    def row(label: str, chosen: np.ndarray) -> list[str]:
        steps = chosen[workout]
        known = steps & observed
        amount = steps.sum() / per_hour if per_hour else steps.sum() * spec.step / 1000
        missing = 1 - known.sum() / max(int(steps.sum()), 1)
        return [
            label,
            str(len(np.unique(arrays["user_id"][chosen]))),
            f"{int(chosen.sum()):,}",
            f"{amount:,.1f}",
            f"{100 * missing:.1f} %",
            f"{y[known].mean():.1f}" if known.any() else "-",
            f"{y[known].std():.1f}" if known.any() else "-",
        ]

    mark = "SIMULATED   " if spec.simulated else ""
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in (
        "athletes",
        "workouts",
        size,
        f"{spec.target}\nmissing",
        f"mean\n{unit}",
        f"sd\n{unit}",
    ):
        table.add_column(name, justify="right")
    for number, label in PARTS.items():
        chosen = arrays["part"] == number
        if chosen.any():
            table.add_row(*row(label, chosen))
    everything = np.ones(len(arrays["part"]), dtype=bool)
    table.add_row(*row("all", everything), end_section=True)
    sports, count = np.unique(arrays["sport"], return_counts=True)
    for sport in sports[np.argsort(-count, kind="stable")]:
        table.add_row(*row(f"  {sport}", arrays["sport"] == sport))
    title = f"{mark}{spec.source}: steps kept"
    return "\n\n".join([title, rendered(table), labelled(spec.protocol), rejections(prepared)])


def rejections(prepared: Prepared) -> str:
    """What was left out, by reason; one line each."""
    rejected = prepared.report["rejected"]
    if not rejected:
        return "rejected: nothing"
    width = max(len(f"{n:,}") for n in rejected.values())
    return "\n".join(
        ["rejected", *(f"  {n:>{width},}  {reason}" for reason, n in rejected.items())]
    )


def counts(prepared: Prepared) -> str:
    """Numbers of the prepared arrays, one line each, then what was rejected."""
    found = prepared.report["counts"]
    width = max(len(f"{n:,}") for n in found.values())
    mark = "SIMULATED " if prepared.spec.simulated else ""
    lines = [f"{mark}{prepared.spec.source}", *(f"  {n:>{width},}  {k}" for k, n in found.items())]
    return "\n".join([*lines, rejections(prepared)])
