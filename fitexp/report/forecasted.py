"""Forecast heart rate of people over time: a CSV file and a picture each, one summary table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from fitexp import metrics
from fitexp.data.prepare import Prepared
from fitexp.data.spec import WindowSpec
from fitexp.report import bands
from fitexp.report.lag import movement_of
from fitexp.report.plots import MEASURED, PREDICTED, save
from fitexp.report.text import WIDTH, rendered
from fitexp.run import make_folder, write_text

if TYPE_CHECKING:
    from fitexp.forecast import Band

PROFILE = "#9aa5b1"


def write(
    folder: Path, table: pd.DataFrame, prepared: Prepared, trained: WindowSpec, every_s: float
) -> None:
    """USER.csv and USER.png of everybody; what was there before is replaced."""
    make_folder(folder)
    for user, own in table.groupby("user_id", sort=False):
        columns = {
            "time": local(own["time_s"]).dt.strftime("%Y-%m-%dT%H:%M:%S"),
            "forecast_bpm": own["prediction"].round(2),
        }
        if "low" in own:
            columns |= {"low_bpm": own["low"].round(2), "high_bpm": own["high"].round(2)}
        columns["measured_bpm"] = own["target"].round(2)
        name = quote(str(user), safe=" ")
        write_text(folder / f"{name}.csv", pd.DataFrame(columns).to_csv(index=False))
        save(picture(str(user), own, prepared, trained, every_s), folder / f"{name}.png")


def local(seconds: pd.Series[float]) -> pd.Series[pd.Timestamp]:
    """Local times from seconds since 1970."""
    return pd.to_datetime(seconds.round(3), unit="s")


def picture(
    user: str, own: pd.DataFrame, prepared: Prepared, trained: WindowSpec, every_s: float
) -> Figure:
    """The forecast with its 90 % band and the measured line; below them the movement."""
    spec, arrays = prepared.spec, prepared.arrays
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(10, 5), height_ratios=[3, 1.2], sharex=True, layout="constrained"
    )
    u = np.asarray(arrays["user_id"]).tolist().index(user)
    rows = slice(int(arrays["begin"][u]), int(arrays["begin"][u + 1]))
    beats = np.asarray(arrays["heart_rate"])[rows]
    seconds = pd.Series(arrays["start_s"][u] + np.arange(len(beats)) * spec.step_s)
    time = local(seconds)
    if np.isfinite(beats).any():
        upper.plot(time, beats, color=MEASURED, linewidth=0.8, label="measured")
    shown = _with_gaps(own, every_s)
    at = local(shown["time_s"])
    if "low" in shown:
        upper.fill_between(
            at,
            shown["low"],
            shown["high"],
            color=PREDICTED,
            alpha=0.15,
            linewidth=0,
            label=f"{100 * bands.SHARE:g} % band",
        )
    upper.plot(at, shown["prediction"], color=PREDICTED, linewidth=1.3, label="forecast")
    upper.set_ylabel("heart rate (bpm)")
    upper.legend(frameon=False, ncols=3, loc="upper left", fontsize=9)
    mark = "model trained on SIMULATED data   " if trained.simulated else ""
    upper.set_title(f"{mark}{user}", loc="left", fontsize=11, parse_math=False)
    name = movement_of(spec.series)
    movement = np.asarray(arrays["series"][rows, spec.series.index(name)])
    lower.plot(time, movement, color=PROFILE, linewidth=0.8)
    lower.set_ylabel(name, color="#66717d", parse_math=False)
    dates = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]
    lower.xaxis.set_major_locator(dates)
    lower.xaxis.set_major_formatter(mdates.ConciseDateFormatter(dates))  # type: ignore[no-untyped-call]
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _with_gaps(own: pd.DataFrame, every_s: float) -> pd.DataFrame:
    """A row without numbers behind each forecast that no other follows at once."""
    columns = [n for n in ("time_s", "prediction", "low", "high") if n in own]
    found = own[columns].reset_index(drop=True)
    last = found[found["time_s"].diff().shift(-1) > 1.5 * every_s]
    empty = last.assign(**dict.fromkeys(columns[1:], np.nan), time_s=last["time_s"] + every_s)
    return pd.concat([found, empty]).sort_values("time_s", ignore_index=True)


def summary(table: pd.DataFrame, spec: WindowSpec, band: Band | None) -> str:
    """One line a person, at most 100 columns; errors where the heart rate is known.

    spec: of the run.
    """
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", no_wrap=True, overflow="ellipsis", max_width=30)
    for name in ("forecasts", "mean", "lowest", "highest", "measured", "RMSE", "MAE", "in band"):
        shown.add_column(name, justify="right")
    groups = list(table.groupby("user_id", sort=False))
    for user, own in groups:
        shown.add_row(str(user), *_cells(own))
    if len(groups) > 1:
        shown.add_section()
        shown.add_row("all", *_cells(table))
    mark = "   MODEL TRAINED ON SIMULATED DATA" if spec.simulated else ""
    window = f"{spec.steps} x {spec.step_s:g} s"
    lines = [
        f"heart rate in bpm behind windows of {window}{mark}",
        rendered(shown),
        "",
        f"{100 * bands.SHARE:g} % band: {band.words if band else 'none'}",
    ]
    return "\n".join(line[:WIDTH] for line in "\n".join(lines).splitlines())


def _cells(own: pd.DataFrame) -> list[str]:
    forecast, known = own["prediction"], own.dropna(subset=["target"])
    cells = [f"{len(own):,}"]
    cells += [f"{value:.1f}" for value in (forecast.mean(), forecast.min(), forecast.max())]
    if not len(known):
        return [*cells, "-", "-", "-", "-"]
    middle = known["median" if "median" in known else "prediction"]
    rmse = metrics.rmse(known["target"], known["prediction"])
    mae = metrics.mae(known["target"], middle)
    cells += [f"{value:.1f}" for value in (known["target"].mean(), rmse, mae)]
    if "low" not in known:
        return [*cells, "-"]
    share = metrics.coverage(known["target"], known["low"], known["high"])
    return [*cells, f"{100 * share:.0f} %"]
