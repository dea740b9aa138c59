"""Predicted workouts for people: a CSV and a picture each, one summary table."""

from __future__ import annotations

import math
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
from numpy.typing import NDArray

from fitexp.data.spec import WorkoutSpec
from fitexp.report.plots import MEASURED, PREDICTED, save
from fitexp.report.text import WIDTH, rendered
from fitexp.run import make_folder, write_text

if TYPE_CHECKING:
    from fitexp.predict import Predicted, Validation

PROFILE = "#9aa5b1"


def write(folder: Path, found: Sequence[Predicted], spec: WorkoutSpec) -> None:
    """NAME.csv and NAME.png of every workout; what was there before is replaced."""
    make_folder(folder)
    for one in found:
        table = pd.DataFrame(
            {
                "time_s": one.time_s,
                "predicted_bpm": np.round(one.predicted, 2),
                "low_bpm": np.round(one.low, 2),
                "high_bpm": np.round(one.high, 2),
                "measured_bpm": one.measured,
            }
        )
        write_text(folder / f"{one.plan.name}.csv", table.to_csv(index=False))
        save(picture(one, spec), folder / f"{one.plan.name}.png")


def picture(one: Predicted, spec: WorkoutSpec) -> Figure:
    """The prediction with its 80 % band and the measured line; below it speed and altitude."""
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(9, 5), height_ratios=[3, 1.3], sharex=True, layout="constrained"
    )
    minutes = one.time_s / 60
    if np.isfinite(one.low).any():
        upper.fill_between(
            minutes, one.low, one.high, color=PREDICTED, alpha=0.15, linewidth=0, label="80 % band"
        )
    if np.isfinite(one.measured).any():
        upper.plot(minutes, one.measured, color=MEASURED, linewidth=1.0, label="measured")
    upper.plot(minutes, one.predicted, color=PREDICTED, linewidth=1.4, label="predicted")
    upper.set_ylabel("heart rate (bpm)")
    upper.legend(frameon=False, ncols=3, loc="lower right", fontsize=9)
    mark = "model trained on SIMULATED data   " if spec.simulated else ""
    upper.set_title(f"{mark}{one.plan.name} ({one.plan.activity.sport})", loc="left", fontsize=11)
    axes: list[Axes] = [upper, lower]
    lower.plot(minutes, smooth(one.speed_km_h, one.time_s), color=PROFILE, linewidth=1.0)
    lower.set_ylabel("speed (km/h)", color="#66717d")
    lower.set_ylim(bottom=0)
    if np.isfinite(one.altitude_m).any():
        altitude = lower.twinx()
        low = float(np.nanmin(one.altitude_m))
        altitude.fill_between(
            minutes, low, one.altitude_m, color="#c8b88a", alpha=0.35, linewidth=0
        )
        altitude.set_ylabel("altitude (m)", color="#8a7a4c")
        axes.append(altitude)
    lower.set_xlabel("minute")
    for axis in axes:
        axis.spines["top"].set_visible(False)
    upper.spines["right"].set_visible(False)
    return figure


def smooth(values: NDArray[np.float64], time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over 30 s of samples, for the eye only."""
    if len(values) < 3:
        return values
    width = max(1, round(30.0 / max(float(np.median(np.diff(time_s))), 0.1)))
    return pd.Series(values).rolling(width, center=True, min_periods=1).mean().to_numpy()


def summary(
    found: Sequence[Predicted], spec: WorkoutSpec, user: str, validation: Validation | None
) -> str:
    """One line a workout, at most 100 columns, and what the band is."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=40)
    names = ("sport", "minutes", "predicted\nmean", "highest", "measured\nmean", "MAE")
    for name in names if any(one.offset is None for one in found) else (*names, "offset"):
        table.add_column(name, justify="right")
    for one in found:
        both = np.isfinite(one.predicted) & np.isfinite(one.measured)
        apart = np.abs(one.predicted - one.measured)[both]
        cells = [
            one.plan.activity.sport,
            f"{one.time_s[-1] / 60:.0f}",
            number(_mean(one.predicted)),
            number(float(np.nanmax(one.predicted)) if np.isfinite(one.predicted).any() else None),
            number(_mean(one.measured)),
            number(float(apart.mean()) if len(apart) else None),
        ]
        cells += [] if one.offset is None else [f"{one.offset:+.1f}"]
        table.add_row(one.plan.name, *cells)
    mark = "   MODEL TRAINED ON SIMULATED DATA" if spec.simulated else ""
    lines = [f"heart rate in bpm of user {user}{mark}", rendered(table), ""]
    if validation is not None and math.isfinite(validation.low):
        lines.append(
            f"80 % band {validation.low:+.1f} to {validation.high:+.1f} bpm and MAE "
            f"{validation.mae:.1f}: of {validation.workouts} validation workouts"
        )
        if validation.share is not None:
            lines.append(
                f"given minutes: {validation.share:.0%} of their mean error lasts (validation), "
                "and is added from there on"
            )
    return "\n".join(line[:WIDTH] for line in "\n".join(lines).splitlines())


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
