"""Pictures of a replay: risk by coverage, and how often the expert was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fitexp.report.plots import BASELINE, MEASURED, PREDICTED, SHADES

COLOURS = (MEASURED, PREDICTED, *SHADES, "#8a9a3b", "#5c4a3d", "#c05f9a")
MARKERS = {"margin": "o", "dirichlet": "s", "printed": "D", "entropy": "^", "random": "x"}


def risk_coverage_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    rows: Sequence[Mapping[str, Any]],
    title: str,
    simulated: bool,
) -> Figure:
    """A curve for every update, of the first policy at its largest rate; marks: what was answered.

    curves: "POLICY UPDATE [RATE]" -> coverage and risk.
    """
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    updates = list(dict.fromkeys(row["update"] for row in rows))
    colour = dict(zip(updates, COLOURS * len(updates), strict=False))
    for update in updates:
        own = [name for name in curves if name.split()[1] == update]
        own = [name for name in own if name.split()[0] == own[0].split()[0]]
        curve, label = curves[own[-1]], f"update {update}"
        if update != "none":
            policy, _, *rate = own[-1].split()
            label += f", {policy}" + "".join(f" {100 * float(r):g} %" for r in rate)
        axis.plot(curve["coverage"], curve["risk"], color=colour[update], lw=1.5, label=label)
    for policy, marker in MARKERS.items():
        points = [row for row in rows if row["policy"] == policy and row["rate"] < 100]
        for row in points:
            axis.scatter(
                100 - row["rate"],
                100 - row["answered"],
                marker=marker,
                color=colour[row["update"]],
                s=26,
                zorder=3,
            )
        if points:
            axis.scatter([], [], marker=marker, color=BASELINE, s=26, label=f"answered, {policy}")
    axis.set_xlim(0, 101)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("coverage: % of windows answered, the most certain first")
    axis.set_ylabel("risk: % of them wrong")
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    mark = "SIMULATED  " if simulated else ""
    axis.set_title(f"{mark}{title}: risk and coverage", fontsize=11, loc="left")
    return figure


def rates_figure(rows: Sequence[Mapping[str, Any]], title: str, simulated: bool) -> Figure:
    """Rate of asking against the rate that was wanted, with 95 % intervals over users."""
    figure, axis = plt.subplots(figsize=(7, 4.6), layout="constrained")
    aimed = [row for row in rows if row["wanted"] is not None]
    pairs = list(dict.fromkeys((row["policy"], row["update"]) for row in aimed))
    top = max([row["wanted"] for row in aimed], default=10.0) * 1.15
    axis.plot([0, top], [0, top], color=MEASURED, lw=1)
    axis.fill_between([0, top], [-1, top - 1], [1, top + 1], color=MEASURED, alpha=0.1, lw=0)
    for place, (policy, update) in enumerate(pairs):
        own = [row for row in aimed if (row["policy"], row["update"]) == (policy, update)]
        shift = top * 0.008 * (place - (len(pairs) - 1) / 2)  # side by side
        axis.errorbar(
            [row["wanted"] + shift for row in own],
            [row["rate"] for row in own],
            yerr=[
                [row["rate"] - row["rate_low"] for row in own],
                [row["rate_high"] - row["rate"] for row in own],
            ],
            fmt=MARKERS[policy],
            color=(COLOURS * len(pairs))[place],
            markersize=5,
            lw=1,
            label=f"{policy}, {update}",
        )
    axis.set_xlim(0, top)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("questions wanted, % of windows")
    axis.set_ylabel("questions asked, %")
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    mark = "SIMULATED  " if simulated else ""
    axis.set_title(f"{mark}{title}: how often the expert was asked", fontsize=11, loc="left")
    return figure
