"""Recommended routes for people: a table, a CSV, a picture of the best three."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.routes import RECORDED
from fitexp.data.workouts.wanted import Mean, Target, Zone
from fitexp.report.plots import PREDICTED, save
from fitexp.report.text import rendered
from fitexp.run import make_folder, write_text

if TYPE_CHECKING:
    from fitexp.predict import Validation
    from fitexp.recommend import Recommended
    from fitexp.retrieval import Retrieval

CSV, PICTURE = "recommendations.csv", "recommendations.png"
SHOWN = 3
WANTED = "#2a78b8"


def write(
    folder: Path,
    found: Sequence[Recommended],
    target: Target,
    spec: WorkoutSpec,
    user: str,
    validation: Validation | None,
) -> None:
    """recommendations.csv, all candidates, and recommendations.png of the best three."""
    make_folder(folder)
    table = pd.DataFrame(
        {
            "rank": range(1, len(found) + 1),
            "route": [one.candidate.route for one in found],
            "sport": [one.candidate.sport for one in found],
            "speed": [one.candidate.speed for one in found],
            "km": [round(one.km, 3) for one in found],
            "minutes": [round(one.minutes, 2) for one in found],
            "predicted_mean_bpm": [round(one.mean, 2) for one in found],
            "minutes_in_zone": [one.in_zone for one in found],
            f"distance_{target.unit}": [round(one.distance, 3) for one in found],
            "doubt_bpm": [None if one.doubt is None else round(one.doubt, 2) for one in found],
        }
    )
    write_text(folder / CSV, table.to_csv(index=False))
    save(picture(found[:SHOWN], target, spec, user, validation), folder / PICTURE)


def summary(
    found: Sequence[Recommended], top: int, target: Target, spec: WorkoutSpec, user: str
) -> str:
    """The best `top`, at most 100 columns, and what the columns are."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("route", no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column("sport", no_wrap=True, overflow="ellipsis", max_width=12)
    zone = found[0].in_zone is not None
    for name in ("km", "minutes", "predicted\nmean", *(["minutes\nin zone"] if zone else [])):
        table.add_column(name, justify="right")
    table.add_column(f"distance\n({target.unit})", justify="right")
    table.add_column("doubt\n(bpm)", justify="right")
    for rank, one in enumerate(found[:top], 1):
        table.add_row(
            str(rank),
            one.candidate.route,
            one.candidate.sport + ("" if one.candidate.speed == RECORDED else "*"),
            f"{one.km:.1f}",
            f"{one.minutes:.0f}",
            f"{one.mean:.1f}",
            *([f"{one.in_zone:.0f}"] if one.in_zone is not None else []),
            f"{one.distance:.1f}",
            "-" if one.doubt is None else f"+-{one.doubt:.1f}",
        )
    mark = "   MODEL TRAINED ON SIMULATED DATA" if spec.simulated else ""
    lines = [
        f"{target.words()}, for user {user}: the best of {len(found):,} candidates{mark}",
        rendered(table),
        "",
    ]
    for how in dict.fromkeys(one.candidate.speed for one in found[:top]):
        if how != RECORDED:
            words = "user's usual speed by grade in training" if how == "habit" else f"speed {how}"
            lines.append(f"* at the {words}; others as recorded")
    if all(one.doubt is None for one in found):
        lines.append("no doubt is known: too few validation workouts")
    else:
        lines.append("doubt: half the 80 % interval of the error of a mean, on validation workouts")
    return "\n".join(lines)


def picture(
    found: Sequence[Recommended],
    target: Target,
    spec: WorkoutSpec,
    user: str,
    validation: Validation | None,
) -> Figure:
    """Predicted lines with the 80 % band, the target, and the elevation below them."""
    figure, axes = plt.subplots(
        len(found),
        1,
        figsize=(9, 2.5 * len(found) + 0.8),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for rank, (axis, one) in enumerate(zip(axes.flat, found, strict=True), 1):
        minutes = one.elapsed_s / 60
        _target(axis, target)
        if validation is not None and np.isfinite(validation.low):
            low, high = one.predicted + validation.low, one.predicted + validation.high
            axis.fill_between(
                minutes, low, high, color=PREDICTED, alpha=0.13, linewidth=0, label="80 % band"
            )
        axis.plot(minutes, one.predicted, color=PREDICTED, linewidth=1.5, label="predicted")
        axis.set_xlim(left=0)
        axis.set_ylabel("bpm")
        title = f"{rank}. {one.candidate.route} ({one.candidate.sport}, {one.km:.1f} km)"
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        _elevation(axis, one)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low - 0.25 * (high - low), high)  # room for the elevation
    axes[0, 0].legend(frameon=False, ncols=3, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    axes[-1, 0].set_xlabel("minute")
    mark = "model trained on SIMULATED data   " if spec.simulated else ""
    figure.suptitle(f"{mark}{target.words()}, for user {user}", fontsize=11)
    return figure


def _target(axis: Axes, target: Target) -> None:
    if isinstance(target, Mean):
        axis.axhline(target.bpm, color=WANTED, linewidth=1.2, linestyle="--", label="target")
    elif isinstance(target, Zone):
        for bpm, label in ((target.low, "zone"), (target.high, None)):
            axis.axhline(bpm, color=WANTED, linewidth=1.2, linestyle="--", label=label)
    else:
        axis.plot(target.time_s / 60, target.bpm, color=WANTED, linewidth=1.2, label="target")


def _elevation(axis: Axes, one: Recommended) -> None:
    """Altitude in the lowest fifth of the picture, if it is known."""
    activity = one.candidate.plan.activity
    known = np.isfinite(activity.altitude_m)
    if not known.any():
        return
    minutes, altitude = activity.time_s[known] / 60, activity.altitude_m[known]
    low, high = float(altitude.min()), float(altitude.max())
    beneath = axis.twinx()
    beneath.fill_between(minutes, low, altitude, color="#c8b88a", alpha=0.4, linewidth=0)
    beneath.set_ylim(low, low + 5 * max(high - low, 20.0))
    beneath.set_yticks([low, high] if high - low >= 5 else [low])
    beneath.set_yticklabels([f"{tick:.0f} m" for tick in beneath.get_yticks()], fontsize=8)
    beneath.tick_params(length=0, labelcolor="#8a7a4c")
    beneath.spines[:].set_visible(False)
    axis.set_zorder(beneath.get_zorder() + 1)
    axis.patch.set_visible(False)


# How often the true plan is found


def evaluation_table(found: Retrieval, model: str, simulated: bool) -> str:
    """hit@1, hit@5 and MRR of the model and of what stands beside it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("hit@1", "hit@5", "MRR"):
        table.add_column(name, justify="right")
    for name, figures in found.figures(model).items():
        table.add_row(name, *(f"{value:.3f}" for value in figures.values()))
    mark = "   SIMULATED DATA" if simulated else ""
    number = float(np.mean([len(one.candidates) for one in found.tests]))
    lines = [
        f"finding the plan that was followed by its heart rate; higher is better{mark}",
        rendered(table),
        "",
        f"{len(found.tests)} test workouts, {number:.0f} candidates each on average, of the same "
        "sport and length",
    ]
    if found.left_out:
        lines.append(f"left out, with under 10 candidates or without heart rate: {found.left_out}")
    return "\n".join(lines)
