"""What prepared windows hold: users, hours, wear, what is missing, heart rate, and how it lags."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from rich.table import Table

from fitexp.data import splits
from fitexp.data.prepare import Prepared
from fitexp.report.describe import PARTS, rejections
from fitexp.report.lag import lagged_correlation, liveliest, movement_of, recoveries
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED, simulated
from fitexp.report.plots import PARTS as COLORS
from fitexp.report.text import labelled, rendered

QUANTILES = (1, 5, 25, 50, 75, 95, 99)  # percent
BEFORE_S, AFTER_S = 300, 1200  # lags that are drawn
STRETCH_S, DAY_S = 7200, 86400
MOVED = "#e08a2e"


def describe(prepared: Prepared) -> str:
    """Tables of at most 100 columns: parts, heart rate, series, protocol, rejections."""
    spec = prepared.spec
    mark = "SIMULATED   " if spec.simulated else ""
    return "\n\n".join(
        [
            f"{mark}{spec.source}: people kept, epochs of {spec.step_s:g} s",
            _parts_table(prepared),
            f"heart rate of epochs (bpm): quantiles\n{_heart_rate_table(prepared)}",
            f"series, over all epochs\n{_series_table(prepared)}",
            labelled(spec.protocol),
            rejections(prepared),
        ]
    )


def _parts_table(prepared: Prepared) -> str:
    arrays, step_h = prepared.arrays, prepared.spec.step_s / 3600
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in (
        "users",
        "hours",
        "worn,\nhours",
        "least worn\nuser",
        "windows",
        "heart rate\nmissing",
        "behind\nwindows, bpm",
        "sd",
    ):
        table.add_column(name, justify="right")
    part, worn = np.asarray(arrays["user_part"]), np.asarray(arrays["wear_h"])
    rows = np.diff(arrays["begin"])
    missing = _of_users(np.isnan(arrays["heart_rate"]), arrays["begin"])
    window_user, behind = (
        np.concatenate([np.asarray(arrays[of])[arrays[name]] for name in splits.NAMES.values()])
        for of in ("window_user", "target")
    )  # not those that networks alone are trained on
    everyone = np.ones(len(part), bool)
    for label, users in [*((name, part == n) for n, name in PARTS.items()), ("all", everyone)]:
        if not users.any():
            continue
        chosen = users[window_user]
        target = behind[chosen].astype(np.float64)
        table.add_row(
            label,
            f"{users.sum():,}",
            f"{rows[users].sum() * step_h:,.0f}",
            f"{worn[users].sum():,.0f}",
            f"{worn[users].min():.1f}",
            f"{chosen.sum():,}",
            f"{100 * missing[users].sum() / rows[users].sum():.1f} %",
            f"{target.mean():.1f}" if len(target) else "-",
            f"{target.std():.1f}" if len(target) else "-",
        )
    return rendered(table)


def _of_users(values: NDArray[Any], begin: NDArray[Any]) -> NDArray[np.float64]:
    """(U,) sums of values (R,)."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return np.asarray(np.diff(total[np.asarray(begin)]))


def _heart_rate_table(prepared: Prepared) -> str:
    beats = _known(prepared.arrays["heart_rate"])
    table = Table(box=None)
    for name in ("mean", "sd", "lowest", *(f"{q} %" for q in QUANTILES), "highest"):
        table.add_column(name, justify="right")
    if len(beats):
        found = [beats.mean(), beats.std(), beats.min(), *np.percentile(beats, QUANTILES)]
        table.add_row(*(f"{value:.1f}" for value in [*found, beats.max()]))
    return rendered(table)


def _known(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return found[np.isfinite(found)]


def _series_table(prepared: Prepared) -> str:
    """Each series from one pass over the users: their rows may not be held all at once."""
    spec, arrays = prepared.spec, prepared.arrays
    begin, width = arrays["begin"], len(spec.series)
    count, total, square = (np.zeros(width) for _ in range(3))
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for first, last in itertools.pairwise(begin):
        values = np.asarray(arrays["series"][first:last], np.float64)
        known = np.isfinite(values)
        count += known.sum(axis=0)
        total += np.where(known, values, 0.0).sum(axis=0)
        square += np.where(known, values**2, 0.0).sum(axis=0)
        low = np.minimum(low, np.where(known, values, np.inf).min(axis=0))
        high = np.maximum(high, np.where(known, values, -np.inf).max(axis=0))
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in ("missing", "mean", "sd", "lowest", "highest"):
        table.add_column(name, justify="right")
    for i, name in enumerate(spec.series):
        if not count[i]:
            table.add_row(name, "100.0 %", "-", "-", "-", "-")
            continue
        mean = total[i] / count[i]
        sd = max(square[i] / count[i] - mean**2, 0.0) ** 0.5
        share = f"{100 * (1 - count[i] / begin[-1]):.1f} %"
        table.add_row(name, share, *(f"{value:.4g}" for value in (mean, sd, low[i], high[i])))
    return rendered(table)


def describe_page(prepared: Prepared) -> Figure:
    """Heart rate by part, a person's day; how his heart rate lags behind his movement (Figure 1).

    The person is the one with the most known heart rates. Source: Spathis et al. 2021, Figure 1.
    """
    spec, arrays = prepared.spec, prepared.arrays
    figure, axes = plt.subplots(2, 2, figsize=(13, 7), layout="constrained")
    (histogram, day), (correlation, stretch) = axes
    known = _of_users(np.isfinite(arrays["heart_rate"]), arrays["begin"])
    user = int(np.argmax(known))
    rows = slice(int(arrays["begin"][user]), int(arrays["begin"][user + 1]))
    name = movement_of(spec.series)
    moved = np.asarray(arrays["series"][rows, spec.series.index(name)], np.float64)
    beats = np.asarray(arrays["heart_rate"][rows], np.float64)
    start_s, who = float(arrays["start_s"][user]), str(arrays["user_id"][user])
    who = who if "user" in who else f"user {who}"
    _histogram(histogram, prepared)
    of_day = liveliest(moved, beats, round(DAY_S / spec.step_s))
    _both(day, moved[of_day], beats[of_day], _hours(of_day, start_s, spec.step_s), name)
    day.set_title(f"a day of {who}", fontsize=9, loc="left")
    lags = np.arange(-round(BEFORE_S / spec.step_s), round(AFTER_S / spec.step_s) + 1)
    found = lagged_correlation(moved, beats, lags.tolist())
    correlation.plot(lags * spec.step_s / 60, found, color=BASELINE, marker=".")
    words = f"{who}: unknown"
    if np.isfinite(found).any():
        lag_min = float(lags[np.nanargmax(found)] * spec.step_s / 60)
        correlation.axvline(lag_min, color=PREDICTED, linestyle="--", linewidth=1)
        words = f"{who}: highest at {lag_min:g} min"
    correlation.set_title(f"correlation of {name} with heart rate; {words}", fontsize=9, loc="left")
    correlation.set_xlabel("heart rate later than movement by (min)")
    of_hours = liveliest(moved, beats, round(STRETCH_S / spec.step_s))
    hours = _hours(of_hours, start_s, spec.step_s)
    _both(stretch, moved[of_hours], beats[of_hours], hours, name)
    for end, down in recoveries(moved[of_hours], beats[of_hours], spec.step_s):
        stretch.axvspan(hours[end], hours[down], color=PREDICTED, alpha=0.2, linewidth=0)
    words = "shaded: movement ended, heart rate not yet nine tenths down"
    stretch.set_title(f"two hours of {who}; {words}", fontsize=9, loc="left")
    size = f"{arrays['begin'][-1] * spec.step_s / 3600:,.0f} h of {len(known):,} people"
    figure.suptitle(f"{simulated(spec)}{spec.source}: {size}", fontsize=11)
    return figure


def _histogram(axis: Axes, prepared: Prepared) -> None:
    arrays = prepared.arrays
    beats = np.asarray(arrays["heart_rate"], np.float64)
    part = np.repeat(np.asarray(arrays["user_part"]), np.diff(arrays["begin"]))
    everyone = _known(beats)
    if len(everyone):
        edges = np.histogram_bin_edges(everyone, bins=60)
        for number, (label, color) in COLORS.items():
            own = _known(beats[part == number])
            if len(own):
                height = 100 * np.histogram(own, edges)[0] / len(own)
                axis.stairs(height, edges, label=label, color=color, linewidth=1.4)
        axis.legend(frameon=False)
    axis.set_title("% of measured epochs, by part", fontsize=9, loc="left")
    axis.set_xlabel("heart rate (bpm)")
    axis.spines[["top", "right"]].set_visible(False)


def _hours(rows: slice, start_s: float, step_s: float) -> NDArray[np.float64]:
    """Hour of the day of each row; from the first row, where the time is not known."""
    begin = start_s % DAY_S if np.isfinite(start_s) else -rows.start * step_s
    return np.asarray((begin + np.arange(rows.start, rows.stop) * step_s) / 3600)


def _clock(hour: float, _: object = None) -> str:
    minutes = round(60 * hour)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _both(
    axis: Axes,
    moved: NDArray[np.float64],
    beats: NDArray[np.float64],
    hours: NDArray[np.float64],
    name: str,
) -> None:
    """Movement as an area, heart rate as a line on an axis of its own."""
    axis.fill_between(hours, 0, moved, color=MOVED, alpha=0.6, linewidth=0)
    axis.set_ylabel(name, color=MOVED)
    axis.set_ylim(0, 2.0 * max(float(np.nanmax(moved, initial=0.0)), 1e-9))
    other = axis.twinx()
    other.plot(hours, beats, color=MEASURED, linewidth=0.9)
    other.set_ylabel("heart rate (bpm)", color=MEASURED)
    axis.xaxis.set_major_locator(MultipleLocator(4 if np.ptp(hours) > 6 else 1 / 3))
    axis.xaxis.set_major_formatter(_clock)
    axis.set_xlim(hours[0], hours[-1])
    for each in (axis, other):
        each.spines["top"].set_visible(False)
