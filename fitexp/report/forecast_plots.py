"""Pictures of forecasts of windows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fitexp.data.spec import WindowSpec
from fitexp.report import bands
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED, simulated

MOST = 8
BANDS = {"calibrated": ("low", "high"), "as the heads give it": bands.HEADS}


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
        for low, high in list(shown_bands(table).values())[:1]:
            axis.fill_between(hours, own[low], own[high], color=PREDICTED, alpha=0.15, linewidth=0)
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


def shown_bands(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The 90 % bands that the table has: label -> columns of its ends."""
    return {label: pair for label, pair in BANDS.items() if set(pair) <= set(table.columns)}


def coverage_by_user(table: pd.DataFrame, spec: WindowSpec, title: str) -> Figure:
    """Percent of each user's targets inside the 90 % band, sorted; a second band as dots."""
    (first, columns), *others = shown_bands(table).items()
    own = bands.inside(table, *columns).sort_values(kind="stable")
    place = np.arange(len(own))
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    axis.bar(place, own, width=0.9 if len(own) < 50 else 1.0, color=BASELINE, label=first)
    for label, pair in others:
        of_user = bands.inside(table, *pair).reindex(own.index)
        axis.plot(place, of_user, ".", color=PREDICTED, markersize=5, clip_on=False, label=label)
    nominal = 100 * bands.SHARE
    axis.axhline(nominal, color=MEASURED, linestyle="--", linewidth=1, label=f"{nominal:g} %")
    axis.set_ylim(0, 100)
    axis.set_xticks([])
    windows = table.groupby("user_id").size().median()
    axis.set_xlabel(f"{len(own):,} tested users, {windows:g} windows each (median)")
    axis.set_ylabel("% of targets inside")
    axis.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{simulated(spec)}{title}: {nominal:g} % band by user", fontsize=11)
    return figure
