"""Pictures of a transfer: AUCs with their intervals, and users on a map of their embeddings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from fitexp.data.splits import TEST, Part
from fitexp.outcomes import RESTING, Outcome
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED, SHADES
from fitexp.transfer import FEATURE_MEANS, NOISE, RESTING_HR, Reduction

COLOURS = (PREDICTED, *SHADES[1:], "#5c4a3d", "#c05f9a")  # of runs, the command's own first
BASES = {RESTING_HR: MEASURED, FEATURE_MEANS: BASELINE}
LEAST_USERS, PANELS = 8, 8
LONGEST = 40  # letters of a label
CLASSES = {"sex": ("0 female", "1 male")}  # of columns of two values
UNITS = {
    "vo2max_ml_min_kg": "ml/min/kg",
    "paee_j_min_kg": "J/min/kg",
    "height_cm": "cm",
    "weight_kg": "kg",
    "age_years": "years",
    "bmi": "kg/m²",
    RESTING: "bpm",
}
TWO = ListedColormap(["#4393c3", "#d6604d"])


def auc_figure(
    rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], title: str, simulated: bool
) -> Figure:
    """A mark with its 95 % interval for each representation, by outcome; the band is 50 % and two
    standard deviations of chance at that number of test users."""
    names = [name for name in dict.fromkeys(row["representation"] for row in rows) if name != NOISE]
    runs = [name for name in names if name not in BASES]
    colours = {**dict(zip(runs, COLOURS * len(runs), strict=False)), **BASES}
    figure, axis = plt.subplots(
        figsize=(8, 1.3 + len(labels) * (0.22 + 0.14 * len(names))), layout="constrained"
    )
    step = 0.8 / max(len(names), 1)
    for place, outcome in enumerate(labels):
        own = {row["representation"]: row for row in rows if row["outcome"] == outcome}
        if (noise := own.get(NOISE)) is not None:
            spread = 2 * noise["sd_in_theory"]
            axis.fill_between(
                [50 - spread, 50 + spread],
                place - 0.46,
                place + 0.46,
                color=MEASURED,
                alpha=0.1,
                lw=0,
            )
        for number, name in enumerate(names):
            row, y = own[name], place + step * (number - (len(names) - 1) / 2)
            if row.get("reads_outcome"):
                axis.text(51, y, "N/A", color=colours[name], fontsize=7, va="center")
                continue
            axis.plot([row["low"], row["high"]], [y, y], color=colours[name], lw=1.4)
            axis.plot(row["auc"], y, "o", color=colours[name], ms=4.5)
    for name in names:
        axis.plot([], [], "o-", color=colours[name], ms=4.5, lw=1.4, label=name)
    axis.axvline(50, color=MEASURED, lw=0.8)
    names_of = [textwrap.shorten(label, LONGEST, placeholder="...") for label in labels.values()]
    axis.set_yticks(range(len(labels)), names_of, parse_math=False)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    grey = "; grey: chance, ± 2 sd" if any(row["representation"] == NOISE for row in rows) else ""
    axis.set_xlabel(f"AUC of test users, % (bars: 95 % over users{grey})")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.spines[["top", "right"]].set_visible(False)
    mark = "SIMULATED  " if simulated else ""
    axis.set_title(f"{mark}{title}: outcomes of users", fontsize=11, loc="left")
    return figure


def tsne_figure(
    embeddings: NDArray[np.float64],
    outcomes: Sequence[Outcome],
    part: Part,
    title: str,
    simulated: bool,
) -> Figure | None:
    """Users of all parts by t-SNE of their standardised embeddings, a panel an outcome, white at
    its threshold (the paper's figure 3, which shows PAEE). None for fewer than 8 users."""
    there = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    if len(there) < LEAST_USERS:
        return None
    place = TSNE(
        perplexity=min(30.0, (len(there) - 1) / 3), init="pca", random_state=0
    ).fit_transform(Reduction(embeddings[there])(embeddings[there]))
    shown = outcomes[:PANELS]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(2.7 * columns, 5.4), 2.6 * rows + 0.8),
        squeeze=False,
        layout="constrained",
    )
    test = part[there] == TEST
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, outcome in zip(axes.flat, shown, strict=False):
        value = outcome.value[there]
        known = np.isfinite(value)
        two = np.unique(value[known])
        axis.scatter(*place[~known].T, s=8, color="#cccccc", marker="x", lw=0.6)
        for chosen, edge in ((known & ~test, "#bbbbbb"), (known & test, "black")):
            points = axis.scatter(
                *place[chosen].T,
                c=value[chosen],
                s=16,
                cmap=TWO if len(two) == 2 else "RdBu_r",
                norm=_around(value[known], outcome.threshold),
                edgecolors=edge,
                linewidths=0.5,
            )
        bar = figure.colorbar(points, ax=axis, shrink=0.8)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
        if len(two) == 2:
            bar.set_ticks(two.tolist(), labels=CLASSES.get(outcome.name, [f"{v:g}" for v in two]))
        axis.set(xticks=[], yticks=[])
        label = textwrap.shorten(outcome.label, LONGEST, placeholder="...")
        white = f"\nwhite: {outcome.threshold:.3g} {UNITS.get(outcome.name, '')}"
        axis.set_title(label + white * (len(two) > 2), fontsize=9, parse_math=False)
        axis.spines[:].set_visible(False)
    mark = "SIMULATED  " if simulated else ""
    figure.suptitle(
        f"{mark}{title}: {len(there):,} users by embedding (t-SNE), the {int(test.sum()):,} of the "
        "test ringed; x: not known",
        fontsize=11,
    )
    return figure


def _around(values: NDArray[np.float64], middle: float) -> TwoSlopeNorm:
    """Colours about the threshold, a fifth farther than the 5th and 95th percentile: the darkest
    tell nothing apart."""
    low, high = np.quantile(values, [0.05, 0.95])
    least = 1e-9 * max(abs(middle), 1.0)
    return TwoSlopeNorm(
        middle,
        middle - 1.2 * max(middle - low, least),
        middle + 1.2 * max(high - middle, least),
    )
