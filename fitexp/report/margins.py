"""Picture of margins: their histogram, the fitted law, the thresholds below which one asks."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fitexp.active.marginal import Alpha, pdf
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED

BINS = 40


def margins_figure(
    margins: ArrayLike,
    alpha: Alpha,
    thresholds: Mapping[str, float],
    *,
    title: str,
    simulated: bool,
) -> Figure:
    """Density of margins (M,) beside f(z) of `alpha`; every threshold with the share it asks.

    Where f(z) diverges it is cut at the top of the picture.
    """
    values = np.asarray(margins, np.float64).ravel()
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    heights, edges = np.histogram(values, bins=BINS, range=(0, 1), density=True)
    axis.stairs(heights, edges, fill=True, color=BASELINE, alpha=0.35)
    axis.stairs([], [0], fill=True, color=BASELINE, alpha=0.35, label=f"{len(values):,} margins")
    z = np.linspace(0, 1, 1001)[1:-1]
    law = "Dirichlet " + ", ".join(f"{a:.3g}" for a in alpha)
    axis.plot(z, pdf(z, alpha), color=PREDICTED, linewidth=1.6, label=f"f(z), {law}")
    top = 1.35 * max(float(heights.max()), float(pdf(0.5, alpha)))
    axis.set_ylim(0, top)
    axis.set_xlim(0, 1)
    _draw_thresholds(axis, values, thresholds, top)
    axis.set_xlabel("margin z: largest probability less the second")
    axis.set_ylabel("density")
    axis.legend(frameon=False, fontsize=9, loc="upper center")
    axis.spines[["top", "right"]].set_visible(False)
    mark = "SIMULATED  " if simulated else ""
    axis.set_title(f"{mark}{title}: margins and their law", fontsize=11, loc="left")
    return figure


def _draw_thresholds(
    axis: Axes, values: np.ndarray, thresholds: Mapping[str, float], top: float
) -> None:
    """Dashed lines, each with its name at a height of its own so that names do not collide."""
    ordered = sorted(thresholds.items(), key=lambda item: item[1])
    for place, (name, threshold) in enumerate(ordered):
        axis.axvline(threshold, color=MEASURED, linewidth=1.1, linestyle="--")
        right = threshold > 0.5  # the name stands on the side with room
        axis.annotate(
            f"{name}: z < {threshold:.3g} asks {100 * np.mean(values < threshold):.1f} %",
            (threshold, top * (0.78 - 0.09 * place)),
            xytext=(-5 if right else 5, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=9,
            color=MEASURED,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
