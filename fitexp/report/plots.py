"""Pictures of a run: what was predicted, where it errs, how it learned."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitexp.data.prepare import Prepared
from fitexp.data.spec import Spec, WorkoutSpec
from fitexp.run import write_bytes

MEASURED, PREDICTED, BASELINE = "#444444", "#d1495b", "#2a78b8"
PARTS = {0: ("train", BASELINE), 1: ("val", "#8a9a3b"), 2: ("test", PREDICTED)}
SHADES = ("#2a78b8", "#e08a2e", "#3f9b6c", "#8d62ad")
NAMED = 12  # bars that carry their name


def words(spec: WorkoutSpec) -> tuple[str, str]:
    """Name of the target with its unit, and the mark that simulated data carry."""
    name = spec.target.replace("derived_", "").replace("_", " ")
    return f"{name} ({spec.unit.replace('_', '/')})", simulated(spec)


def simulated(spec: Spec) -> str:
    """What the titles of simulated data begin with."""
    return "SIMULATED  " if spec.simulated else ""


def farthest(table: pd.DataFrame, spec: WorkoutSpec) -> tuple[str, pd.DataFrame]:
    """Label and rows of the farthest horizon that has rows."""
    ahead = int(table["steps_ahead"].max())
    label = next(name for name, steps in spec.horizons.items() if steps == ahead)
    return label, table[table["steps_ahead"] == ahead]


def workouts_page(table: pd.DataFrame, spec: WorkoutSpec, title: str, most: int = 12) -> Figure:
    """Predicted against measured, of workouts spread evenly over athletes' units.

    In the short regime the lines are the predictions at the farthest horizon that was scored.
    """
    label, mark = words(spec)
    note = ""
    if spec.horizons:
        name, table = farthest(table, spec)
        note = f", {name} ahead"
    units = list(dict.fromkeys(table["unit_id"]))
    chosen = [units[i] for i in np.unique(np.linspace(0, len(units) - 1, most).round().astype(int))]
    rows = -(-len(chosen) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(11, 2.3 * rows + 0.8), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, unit in zip(axes.flat, chosen, strict=False):
        part = table[table["unit_id"] == unit]
        minutes = part["elapsed_s"].to_numpy() / 60
        gaps = np.flatnonzero(np.diff(minutes) > 1.5)
        for name, color in (("target", MEASURED), ("prediction", PREDICTED)):
            values = part[name].to_numpy()
            axis.plot(
                np.insert(minutes, gaps + 1, np.nan),
                np.insert(values, gaps + 1, np.nan),
                color=color,
                linewidth=1.1,
                label="measured" if name == "target" else "predicted",
            )
        error = float(np.abs(part["prediction"] - part["target"]).mean())
        who, sport = str(part["user_id"].iloc[0]), part["sport"].iloc[0]
        who = who if "athlete" in who else f"athlete {who}"
        axis.set_title(f"{who}, {sport}: MAE {error:.1f}", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(fontsize=8, frameon=False)
    figure.supxlabel("minutes since the start", fontsize=9)
    figure.supylabel(label, fontsize=9)
    figure.suptitle(f"{mark}{title}: test workouts{note}", fontsize=11)
    return figure


def error_by_minute(table: pd.DataFrame, spec: WorkoutSpec, title: str) -> Figure:
    """MAE in each minute of the workout, the model beside the best mean baseline."""
    label, mark = words(spec)
    if spec.horizons:
        name, table = farthest(table, spec)
        title = f"{title}, {name} ahead"
    minute = (table["elapsed_s"] // 60).astype(int)
    names = [str(c) for c in table.columns if str(c).startswith("baseline_")]
    errors = {n: (table[n] - table["target"]).abs() for n in ("prediction", *names)}
    best = min(names, key=lambda n: float(errors[n].mean()))
    figure, (axis, lower) = plt.subplots(
        2, 1, figsize=(8, 5), height_ratios=[4, 1], sharex=True, layout="constrained"
    )
    for name, color in (("prediction", PREDICTED), (best, BASELINE)):
        by_minute = errors[name].groupby(minute).mean()
        shown = name.removeprefix("baseline_") if name != "prediction" else "model"
        axis.plot(by_minute.index, by_minute.to_numpy(), color=color, label=shown)
    axis.set_ylabel(f"MAE, {label}", fontsize=9)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    axis.set_title(f"{mark}{title}: error by minute of the workout", fontsize=11, loc="left")
    count = minute.value_counts().sort_index()
    lower.bar(count.index, count.to_numpy(), color="#bbbbbb", width=1.0)
    lower.set_ylabel("steps", fontsize=9)
    lower.set_xlabel("minute")
    for a in (axis, lower):
        a.spines[["top", "right"]].set_visible(False)
    return figure


def learning_curve(curve: pd.DataFrame, spec: Spec, title: str) -> Figure:
    """Training and validation loss by epoch, and the first validation figure, if there is one."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, color, shown in (
        ("train/loss", BASELINE, "training"),
        ("val/loss", PREDICTED, "validation"),
    ):
        if name in curve:
            left.plot(curve["epoch"], curve[name], color=color, marker=".", label=shown)
    left.set_ylabel("loss (scaled units)" if spec.kind == "workouts" else "loss")
    left.legend(frameon=False)
    figure_name, label = spec.val_figures[0], spec.val_label
    if figure_name in curve:
        right.plot(curve["epoch"], curve[figure_name], color=PREDICTED, marker=".")
    else:
        right.text(0.5, 0.5, "no validation part", ha="center", transform=right.transAxes)
    right.set_ylabel(label)
    for axis in (left, right):
        axis.set_xlabel("epoch")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{simulated(spec)}{title}: learning curve", fontsize=11)
    return figure


def describe_page(prepared: Prepared) -> Figure:
    """What prepared data hold: amounts by sport and athlete, the target, lengths, what is missing.

    Steps are those kept; the target's histograms are of measured steps only.
    """
    spec, arrays = prepared.spec, prepared.arrays
    label, mark = words(spec)
    target, km = label.partition(" (")[0], spec.step_unit == "m"
    count = np.diff(arrays["offset"])
    amount = count * spec.step / (1000 if km else 3600)
    sport = pd.Series(np.asarray(arrays["sport"], dtype=str))
    athlete = pd.Series(np.asarray(arrays["user_id"], dtype=str))
    observed = np.asarray(arrays["observed"], dtype=bool)
    measured = np.asarray(arrays["y"], dtype=np.float64)[observed]
    part = pd.Series(np.asarray(arrays["part"])).map({k: name for k, (name, _) in PARTS.items()})

    figure, axes = plt.subplots(2, 3, figsize=(12, 6.6), layout="constrained")
    (hours, workouts, missing), (by_part, by_sport, lengths) = axes
    _bars(hours, pd.Series(amount).groupby(sport).sum())
    hours.set_title(f"{'km' if km else 'hours'} kept, by sport", fontsize=9, loc="left")
    _bars(workouts, athlete.value_counts().astype(float))
    workouts.set_title("workouts by athlete", fontsize=9, loc="left")
    steps_of = np.repeat(sport.to_numpy(), count)
    _bars(missing, pd.Series(100.0 * ~observed).groupby(steps_of).mean())
    missing.set_title(f"% of steps without {target}, by sport", fontsize=9, loc="left")
    missing.set_xlim(0, max(1.0, missing.get_xlim()[1]))
    colors = dict(PARTS.values())
    parts = np.repeat(part.to_numpy(), count)[observed]
    _histograms(by_part, measured, parts, list(colors), colors)
    by_part.set_title("% of measured steps, by part", fontsize=9, loc="left")
    common = sport.value_counts().index[: len(SHADES)].tolist()
    _histograms(
        by_sport, measured, steps_of[observed], common, dict(zip(common, SHADES, strict=False))
    )
    by_sport.set_title("% of measured steps, by sport", fontsize=9, loc="left")
    for axis in (by_part, by_sport):
        axis.set_xlabel(label, fontsize=8)
    lengths.hist(amount * (1 if km else 60), bins=30, color=BASELINE)
    lengths.set_title("workouts by length, of steps kept", fontsize=9, loc="left")
    lengths.set_xlabel("km" if km else "minutes", fontsize=8)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    people = athlete.nunique()
    size = f"{len(count):,} workouts of {people:,} athlete{'s' if people > 1 else ''}"
    figure.suptitle(f"{mark}{spec.source}: {size}", fontsize=11)
    return figure


def _bars(axis: Axes, values: pd.Series[float]) -> None:
    """Horizontal bars, the largest on top; more than NAMED of them carry no names."""
    values = values.sort_values()
    named = len(values) <= NAMED
    height = 0.75 if named else 1.0
    axis.barh(np.arange(len(values)), values.to_numpy(), color=BASELINE, height=height)
    axis.set_ylim(min(len(values) - 4.5, -0.5), len(values) - 0.5)  # few bars stay slim
    if named:
        axis.set_yticks(np.arange(len(values)), [textwrap.shorten(n, 24) for n in values.index])
    else:
        axis.set_yticks([])
        axis.set_ylabel(f"{len(values):,}, most on top", fontsize=8)


def _histograms(
    axis: Axes, values: np.ndarray, group: np.ndarray, names: list[str], colors: dict[str, str]
) -> None:
    """Shares of each group's values in common bins; a group without values is left out."""
    edges = np.histogram_bin_edges(values, bins=30)
    for name in names:
        chosen = values[group == name]
        if len(chosen):
            height = 100 * np.histogram(chosen, edges)[0] / len(chosen)
            axis.stairs(height, edges, label=name, color=colors[name], linewidth=1.4)
    axis.legend(frameon=False, fontsize=8)


def time_constants(constants: Mapping[str, Sequence[float]], spec: Spec, title: str) -> Figure:
    """What a network learned to remember: a row of ticks per label, seconds on a log axis."""
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.5 * len(constants)), layout="constrained")
    axis.eventplot(
        [list(values) for values in constants.values()],
        lineoffsets=list(range(len(constants))),
        linelengths=0.7,
        colors=PREDICTED,
    )
    flat = [value for values in constants.values() for value in values]
    axis.set_xscale("log")
    axis.set_xlim(min(1.0, min(flat)), max(10_000.0, max(flat)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(constants)), [label.removesuffix(" (s)") for label in constants])
    axis.invert_yaxis()
    axis.set_xlabel("s")
    axis.spines[["top", "right", "left"]].set_visible(False)
    mark = simulated(spec)
    axis.set_title(f"{mark}{title}: learned time constants", fontsize=11, loc="left")
    return figure


def save(figure: Figure, path: Path) -> None:
    """As PNG; the folder is made."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    plt.close(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, picture.getvalue())
