"""The closing table of a run: the model beside trivial baselines, under its protocol."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from fitexp.errors import InputError
from fitexp.report.text import labelled, rendered
from fitexp.run import DESCRIBED, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fitexp.data.prepare import Prepared

# kind of data -> the module with its `write_results` and `closing_table`
RESULTS = {
    "workouts": "fitexp.report.results",
    "exercises": "fitexp.report.rankings",
    "windows": "fitexp.report.forecasts",
}
# kind of data -> what gives the words and the page of `fitexp data describe`
DESCRIPTIONS = {
    "workouts": ("fitexp.report.describe:describe", "fitexp.report.plots:describe_page"),
    "exercises": (
        "fitexp.report.describe_events:describe",
        "fitexp.report.describe_events:describe_page",
    ),
    "windows": (
        "fitexp.report.describe_windows:describe",
        "fitexp.report.describe_windows:describe_page",
    ),
}
LABELS = {
    "ceiling/noise_floor/": "noise floor of the simulator",
    "ceiling/bayes/": "ceiling of the simulator",
    "before_adapting/": "before adapting",
    "baseline/selection_alone/": "selection alone",
    "baseline/learning_alone/": "learning alone",
    "baseline/no_expert/": "no expert",
}
CONTROLS = tuple(LABELS)[-3:]  # prefixes of figures that belong to one run with an expert
GROUPS = {  # by what the test is parted -> what a part is called
    "sport": "sport: {}",
    "bpm": "mean heart rate: {}",
    "own": "own training workouts: {}",
    "athlete": "athlete: {}",
}


def closing_table(run: Run) -> str:
    """Model, baselines and ceiling of a finished run, and the protocol; at most 100 columns."""
    return str(importlib.import_module(RESULTS[run.spec["kind"]]).closing_table(run))


def description(prepared: Prepared) -> tuple[str, Figure]:
    """What prepared data hold, in words of at most 100 columns and as a page."""
    found = [name.split(":") for name in DESCRIPTIONS[prepared.spec.kind]]
    say, draw = (getattr(importlib.import_module(module), name) for module, name in found)
    return str(say(prepared)), draw(prepared)


def described(run: Run) -> dict[str, Sequence[float] | str]:
    """What the run's network says of itself (its `described()`): label -> numbers or words."""
    path = run.file(DESCRIBED)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(label): values if isinstance(values, str) else [v for v in values if v is not None]
            for label, values in found.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: remove it and evaluate the run again") from error


def described_words(run: Run) -> dict[str, str]:
    """`described` as it is printed."""
    return {label: _shown(values) for label, values in described(run).items()}


def _shown(values: Sequence[float] | str) -> str:
    """Words as they are; numbers sorted and rounded to three digits."""
    if isinstance(values, str):
        return values
    return ", ".join(f"{v:.0f}" if abs(v) >= 100 else f"{v:.3g}" for v in sorted(values))


def training_words(config: Mapping[str, Any]) -> str:
    """How the network was trained, as far as it belongs to the protocol."""
    task = config["task"]
    loss = str(config["loss"]["_target_"]).rpartition(".")[2].replace("_", " ")
    words = [loss]
    if "reduction" in task:  # of a series
        mean = task["reduction"] == "mean"
        words[0] += ", mean over steps" if mean else ", sum over a sequence's steps"
    if "target_scaling" in task:
        words.append(f"target scaling {task['target_scaling']}")
    if task.get("one_cycle"):
        words.append("one-cycle rate")
    if task.get("teacher_forcing"):
        words.append("teacher forced")
    if task.get("mask_seen"):
        words.append("seen items masked in training and answers")
    if (limit := config["trainer"].get("limit_train_batches", 1.0)) != 1.0:
        words.append(f"limit_train_batches {limit}")
    if some := config["trainer"].get("overfit_batches"):
        batches, them = ("1 batch", "it") if some == 1 else (f"{some} batches", "them")
        words.insert(0, f"OVERFIT: trained on {batches} only, validated on {them}")
    return ", ".join([*words, f"seed {config['seed']}"])


def model_name(run: Run) -> str:
    """What `model=` chose; where the manifest does not say it, the name of the network's file."""
    choices = run.manifest.get("choices") or {}
    return str(choices.get("model") or run.config["model"]["_target_"].rsplit(".", 2)[-2])


def figures(
    found: Mapping[str, float], rows: Mapping[str, str], columns: Mapping[str, tuple[str, int]]
) -> str:
    """Figures of the test. rows: label -> prefix; columns: header -> metric, digits."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for header in columns:
        table.add_column(header, justify="right")
    for label, prefix in rows.items():
        values = [(found.get(f"{prefix}test/{name}"), digits) for name, digits in columns.values()]
        table.add_row(label, *("-" if v is None else f"{v:.{d}f}" for v, d in values))
    return rendered(table)


def results_table(
    metrics: Mapping[str, float],
    *,
    model: str,
    unit: str,
    simulated: bool,
    protocol: Mapping[str, str],
    horizons: list[str],
    counts: Mapping[str, int],
) -> str:
    """The table of flat metrics as text."""
    shown = unit.replace("_", "/")
    title = f"test error in {shown}" + ("   SIMULATED DATA" if simulated else "")
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    columns = list(_columns(metrics, horizons, unit))
    for header, _, _ in columns:
        table.add_column(header, justify="right")
    rows = {model: ""}
    first = "{1}{2}_{0}".format(unit, *columns[0][1:])
    for name in metrics:
        prefix, found, _ = name.partition("test/")
        if found and prefix.startswith(("baseline/", "ceiling/")) and f"{prefix}{first}" in metrics:
            rows[LABELS.get(prefix, prefix.split("/")[1])] = prefix
    for label, prefix in rows.items():
        values = [metrics.get(f"{prefix}{place}{error}_{unit}") for _, place, error in columns]
        table.add_row(label, *("-" if value is None else f"{value:.2f}" for value in values))
    words = dict(protocol)
    if counts:
        words["tested on"] = (
            f"{counts.get('count/test/workouts', 0)} workouts of "
            f"{counts.get('count/test/athletes', 0)} athletes, "
            f"{counts.get('count/test/steps', 0):,} scored steps"
        )
    parts = [f"{title}\n{rendered(table)}"]
    if groups := groups_table(metrics, horizons, unit):
        parts.append(f"{groups_title(horizons, shown)}\n{groups}")
    return "\n\n".join([*parts, labelled(words)])


def _columns(
    metrics: Mapping[str, float], horizons: list[str], unit: str
) -> Iterator[tuple[str, str, str]]:
    """(header, place, error) of the figures that are shown."""
    for label in horizons:
        yield f"{label} ahead\nMAE", f"test/at_{label}/", "mae"
        yield f"{label} ahead\nRMSE", f"test/at_{label}/", "rmse"
    if horizons:
        return
    yield "pooled\nMAE", "test/", "mae"
    yield "over steps\nRMSE", "test/", "rmse"
    if f"test/mae_workout_{unit}" in metrics:
        yield "by workout\nMAE", "test/", "mae_workout"
    if f"test/first_2min/mae_{unit}" in metrics:
        yield "first 2 min\nMAE", "test/first_2min/", "mae"


def groups_title(horizons: list[str], unit: str) -> str:
    at = f" {_middle(horizons)} ahead" if horizons else ""
    return f"MAE in {unit} of parts of the test{at}, beside the best baseline of each"


def _middle(horizons: list[str]) -> str:
    return horizons[len(horizons) // 2]


def groups_table(metrics: Mapping[str, float], horizons: list[str], unit: str) -> str:
    """Subgroups of the test, a line each; empty where there are none."""
    start = f"test/at_{_middle(horizons)}/by_" if horizons else "test/by_"
    end = f"/mae_{unit}"
    found = [name for name in metrics if name.startswith(start) and name.endswith(end)]
    if not found:
        return ""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("workouts", "model", "best", "baseline"):
        table.add_column(name, justify="left" if name == "baseline" else "right")
    for name in found:
        by, _, group = name.removeprefix(start).removesuffix(end).partition("/")
        beside = {
            key.split("/")[1]: value
            for key, value in metrics.items()
            if key.startswith("baseline/") and key.endswith(f"/{name}")
        }
        best = min(beside, key=lambda key: beside[key], default=None)
        count = metrics.get(f"count/{name.removesuffix(end)}/workouts")
        table.add_row(
            GROUPS[by].format(group.replace("_", " ") if by in ("bpm", "own") else group),
            "-" if count is None else f"{count:.0f}",
            f"{metrics[name]:.2f}",
            "-" if best is None else f"{beside[best]:.2f}",
            best or "-",
        )
    return rendered(table)
