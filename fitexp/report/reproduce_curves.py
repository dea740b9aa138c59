"""A paper's table with a sweep as curves: the first metric of each section by the swept value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fitexp.report.paper_table import PaperTable, Section
from fitexp.report.plots import save

COLORS = ("#d1495b", "#2a78b8", "#3c9d6b", "#b5852d", "#7b5ea7", "#555555")


def draw_curves(table: PaperTable, records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One panel a section, one line an experiment, bars for the 95 % intervals."""
    figure, axes = plt.subplots(
        1,
        len(table.sections),
        figsize=(5.2 * len(table.sections) + 1.5, 4),
        squeeze=False,
        layout="constrained",
    )
    for axis, section in zip(axes.flat, table.sections, strict=True):
        _panel(axis, table, section, records)
    simulated = "SIMULATED   " if any(record["simulated"] for record in records) else ""
    quick = "QUICK   " if any(record["quick"] for record in records) else ""
    figure.suptitle(f"{simulated}{quick}{table.title}", fontsize=11)
    save(figure, path)


def _panel(
    axis: Axes, table: PaperTable, section: Section, records: Sequence[Mapping[str, Any]]
) -> None:
    sweep, metric = table.sweep, section.metrics[0]
    assert sweep is not None
    for number, experiment in enumerate(dict.fromkeys(row.experiment for row in section.rows)):
        found = {
            record["value"]: record["measured"]
            for record in records
            if record["experiment"] == experiment and record["metric"] == metric
        }
        there = [
            (place, found[value])
            for place, value in enumerate(sweep.values)
            if value in found and found[value]["mean"] is not None
        ]
        if not there:
            continue
        x = [place for place, _ in there]
        mean = [measured["mean"] for _, measured in there]
        color = COLORS[number % len(COLORS)]
        label = next(row.label for row in section.rows if row.experiment == experiment)
        axis.plot(x, mean, color=color, marker="o", markersize=4, label=label.rpartition(": ")[0])
        for place, measured in there:
            if measured["low"] is not None:
                shifted = place + 0.05 * number
                axis.plot([shifted] * 2, [measured["low"], measured["high"]], color, alpha=0.5)
    axis.set_xticks(range(len(sweep.values)), sweep.shown)
    axis.set_xlabel(sweep.key)
    axis.set_ylabel(metric)
    axis.set_ylim(bottom=0)
    axis.set_title(section.name, fontsize=10, loc="left")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
