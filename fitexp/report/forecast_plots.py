"""Pictures of forecasts of windows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fitexp.data.spec import WindowSpec
from fitexp.report.plots import BASELINE, PREDICTED, simulated

MOST = 8


def users_page(table: pd.DataFrame, spec: WindowSpec, title: str) -> Figure:
    """Measured and forecast heart rate of some users over time, the best to the worst."""
    errors = (table["prediction"] - table["target"]).abs().groupby(table["user_id"]).mean()
    names = errors.sort_values(kind="stable").index.to_numpy()
    chosen = names[np.unique(np.linspace(0, len(names) - 1, MOST).round().astype(int))]
    rows = -(-len(chosen) // 2)
    figure, axes = plt.subplots(
        rows, 2, figsize=(10, 2.1 * rows + 0.6), layout="constrained", sharey=True, squeeze=False
    )
    for axis, name in zip(axes.ravel(), chosen, strict=False):
        own = table[table["user_id"] == name].sort_values("step")
        hours = (own["step"] - own["step"].iloc[0]) * spec.step_s / 3600
        axis.plot(hours, own["target"], color=BASELINE, marker=".", label="measured")
        axis.plot(hours, own["prediction"], color=PREDICTED, marker=".", label="forecast")
        if {"p_0.05", "p_0.95"} <= set(table.columns):
            axis.fill_between(
                hours, own["p_0.05"], own["p_0.95"], color=PREDICTED, alpha=0.15, linewidth=0
            )
        axis.set_title(f"user {name}: MAE {errors[name]:.1f} bpm", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.ravel()[len(chosen) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("hours since the first window")
    for axis in axes[:, 0]:
        axis.set_ylabel("bpm")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{simulated(spec)}{title}: heart rate behind each window", fontsize=11)
    return figure
