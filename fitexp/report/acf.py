"""Picture of how far back items come again, which gives the window length."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fitexp.data.exercises.autocorrelation import Autocorrelation, window_by_acf
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED


def acf_page(found: Autocorrelation, *, title: str, simulated: bool) -> Figure:
    """`acf_panel` alone, with the window that it gives."""
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    acf_panel(axis, found)
    window = window_by_acf(found)
    mark = "SIMULATED  " if simulated else ""
    peak = f"peak at lag {window}" if window else "no lag above chance"
    axis.set_title(f"{mark}{title}: {peak}", fontsize=11, loc="left")
    return figure


def acf_panel(axis: Axes, found: Autocorrelation) -> None:
    """Share of events that repeat the item k events earlier, its interval, and chance."""
    lags = np.arange(1, len(found.acf) + 1)
    window = window_by_acf(found)
    acf = 100 * found.acf
    reach = 100 * np.stack([found.acf - found.low, found.high - found.acf]).clip(min=0)
    colors = [PREDICTED if lag == window else BASELINE for lag in lags]
    axis.bar(lags, acf, width=0.7, color=colors)
    axis.errorbar(
        lags,
        acf,
        yerr=reach,
        fmt="none",
        ecolor=MEASURED,
        elinewidth=1,
        capsize=2,
        label="95 %, users resampled",
    )
    axis.axhline(100 * found.chance, color=MEASURED, linestyle="--", linewidth=1, label="chance")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=15, steps=[1, 2, 5, 10], integer=True))
    axis.set_xlim(0.4, len(lags) + 0.6)
    axis.set_xlabel("lag (events)")
    axis.set_ylabel("events that repeat the item at that lag (%)")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
