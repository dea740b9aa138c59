"""What `fitexp explain` found: tables, and a picture each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from fitexp.data.spec import WorkoutSpec
from fitexp.report.plots import BASELINE, MEASURED, PREDICTED, save, words
from fitexp.report.table import model_name
from fitexp.report.text import rendered
from fitexp.run import Run, make_folder, write_text

if TYPE_CHECKING:
    from fitexp.explain import Attention, Importance, People

COLORS = ("#2a78b8", "#d1495b", "#3c9d6b", "#b5852d", "#7b5ea7", "#555555")
KNOWN = {  # what a simulator knows of people: column -> heading
    "vo2max_ml_kg_min": "VO2max\nml/kg\n/min",
    "resting_bpm": "resting\nbpm",
    "maximal_bpm": "maximal\nbpm",
}
NAMED = 15  # up to so many athletes carry their names
Importances = tuple[float, "Sequence[Importance]"]


def write(
    folder: Path,
    run: Run,
    spec: WorkoutSpec,
    importance: Importances,
    attention: Attention | None,
    people: People | None,
) -> None:
    """importance.csv and .png; attention.png and athletes.csv, .png where there are."""
    make_folder(folder)
    rows = [{"input": one.name, "rise": one.rise, "sd": one.sd} for one in importance[1]]
    write_text(folder / "importance.csv", pd.DataFrame(rows).to_csv(index=False))
    save(importance_page(run, spec, importance), folder / "importance.png")
    if attention is not None:
        save(attention_page(run, spec, attention), folder / "attention.png")
    if people is not None:
        write_text(folder / "athletes.csv", people.table.to_csv(index_label="athlete"))
        save(people_page(run, spec, people), folder / "athletes.png")


def importance_page(run: Run, spec: WorkoutSpec, importance: Importances) -> Figure:
    base, found = importance
    unit = spec.unit.replace("_", "/")
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.4 * len(found)), layout="constrained")
    axis.barh(
        [one.name for one in found],
        [one.rise for one in found],
        xerr=[one.sd for one in found],
        color=PREDICTED,
        ecolor=MEASURED,
        height=0.6,
    )
    axis.axvline(0, color=MEASURED, linewidth=0.8)
    axis.invert_yaxis()
    axis.set_xlabel(f"rise of the test MAE ({unit}) when the input is another workout's")
    axis.spines[["top", "right"]].set_visible(False)
    mark = words(spec)[1]
    axis.set_title(f"{mark}{model_name(run)}, test MAE {base:.2f} {unit}", loc="left", fontsize=11)
    return figure


def attention_page(run: Run, spec: WorkoutSpec, attention: Attention) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    names = list(attention.inputs)
    left.barh(names, list(attention.inputs.values()), color=BASELINE, height=0.6)
    left.invert_yaxis()
    left.set_xlabel("mean weight of the input attention")
    minutes = np.arange(len(attention.time)) * spec.step / (60 if spec.step_unit == "s" else 1000)
    right.plot(minutes, attention.time, color=PREDICTED, linewidth=1.2)
    right.axhline(1, color=MEASURED, linewidth=0.8)
    right.set_ylim(0, 1.25 * float(np.nanmax(attention.time)))
    right.set_xlabel("minute of the window" if spec.step_unit == "s" else "km of the window")
    right.set_ylabel("temporal attention,\nmultiple of uniform")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{words(spec)[1]}{model_name(run)}: where it looks", fontsize=11)
    return figure


def people_page(run: Run, spec: WorkoutSpec, people: People) -> Figure:
    table = people.table
    figure, axis = plt.subplots(figsize=(7, 5.5), layout="constrained")
    for number, rows in table.groupby("cluster"):
        color = COLORS[(int(str(number)) - 1) % len(COLORS)]
        axis.scatter(rows["x"], rows["y"], color=color, s=36, label=f"cluster {number}")
    for name, row in table.iterrows():
        text = f"{name} " if len(table) <= NAMED else ""
        text += f"{row['mean']:.0f}" if np.isfinite(row["mean"]) else ""
        axis.annotate(text, (row["x"], row["y"]), (4, 3), textcoords="offset points", fontsize=7)
    axis.margins(0.1)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(frameon=False, fontsize=9)
    label = words(spec)[0]
    mark = words(spec)[1]
    axis.set_title(
        f"{mark}{model_name(run)}: athletes by embedding (t-SNE), mean {label}",
        loc="left",
        fontsize=11,
    )
    return figure


def text(
    run: Run,
    spec: WorkoutSpec,
    importance: Importances,
    attention: Attention | None,
    people: People | None,
) -> str:
    unit = spec.unit.replace("_", "/")
    mark = "   SIMULATED DATA" if spec.simulated else ""
    base, found = importance
    at = ""
    if spec.horizons:
        at = f" {list(spec.horizons)[len(spec.horizons) // 2]} ahead"
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column(f"rise of MAE\n({unit})", justify="right")
    table.add_column("sd over 5\npermutations", justify="right")
    for one in found:
        table.add_row(one.name, f"{one.rise:+.2f}", f"{one.sd:.2f}")
    title = f"{model_name(run)}: test MAE {base:.2f} {unit}{at}{mark}"
    what = "rise of it when an input is another workout's"
    parts = [f"{title}\n{what}\n{rendered(table)}"]
    if attention is not None:
        shares = ", ".join(f"{name} {value:.0%}" for name, value in attention.inputs.items())
        low, high = np.nanmin(attention.time), np.nanmax(attention.time)
        parts.append(
            f"input attention: {shares}\n"
            f"temporal attention: {low:.2f} to {high:.2f} times uniform (attention.png)"
        )
    if people is not None:
        parts.append(_clusters(people, unit))
    return "\n\n".join(parts)


def _clusters(people: People, unit: str) -> str:
    table = Table(box=None, pad_edge=False)
    table.add_column("cluster", no_wrap=True)
    known = [name for name in KNOWN if name in people.table]
    means = ("athletes", f"mean\n{unit}", "lowest", "highest", "workouts")
    for heading in (*means, *(KNOWN[name] for name in known)):
        table.add_column(heading, justify="right")
    table.add_column("main sports")
    for number, rows in people.table.groupby("cluster"):
        sports = rows["sport"].value_counts()
        table.add_row(
            str(number),
            str(len(rows)),
            f"{rows['mean'].mean():.1f}",
            f"{rows['mean'].min():.1f}",
            f"{rows['mean'].max():.1f}",
            f"{rows['workouts'].sum():.0f}",
            *(f"{rows[name].mean():.1f}" for name in known),
            ", ".join(f"{sport} {count}" for sport, count in sports.items()),
        )
    silhouettes = ", ".join(f"{k}: {value:.2f}" for k, value in people.silhouettes.items())
    weak = " (below 0.25: no clear clusters)" if max(people.silhouettes.values()) < 0.25 else ""
    return (
        f"athletes by embedding\n{rendered(table)}\n"
        f"silhouette by number of clusters: {silhouettes}{weak}"
    )
