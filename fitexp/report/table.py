"""The closing table of a run: the model beside trivial baselines, under its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fitexp.report.text import rendered
from fitexp.run import Run

LABELS = {"ceiling/noise_floor/": "noise floor of the simulator"}


def closing_table(run: Run) -> str:
    """Model, baselines and ceiling of a finished run, and the protocol; at most 100 columns."""
    metrics = run.metrics
    spec = run.spec
    return results_table(
        metrics,
        model=model_name(run),
        unit=str(spec["unit"]),
        simulated=bool(spec["simulated"]),
        protocol={
            **spec["protocol"],
            "training": run.manifest.get("training") or training_words(run.config),
        },
        horizons=list(spec["horizons"]),
        counts={k: int(v) for k, v in metrics.items() if k.startswith("count/")},
    )


def training_words(config: Mapping[str, Any]) -> str:
    """How the network was trained, as far as it belongs to the protocol."""
    task = config["task"]
    loss = str(config["loss"]["_target_"]).rpartition(".")[2].replace("_", " ")
    over = "mean over steps" if task.get("reduction") == "mean" else "sum over a sequence's steps"
    words = [f"{loss}, {over}", f"target scaling {task.get('target_scaling')}"]
    if task.get("teacher_forcing"):
        words.append("teacher forced")
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
    places = [f"test/at_{label}/" for label in horizons] or ["test/"]
    for place in places:
        ahead = f"{place.split('at_')[1].rstrip('/')} ahead\n" if horizons else ""
        table.add_column(f"{ahead}MAE", justify="right")
        table.add_column(f"{ahead}RMSE", justify="right")
    rows = {model: ""}
    for name in metrics:
        prefix, found, _ = name.partition("test/")
        if found and prefix.startswith(("baseline/", "ceiling/")):
            rows[LABELS.get(prefix, prefix.split("/")[1])] = prefix
    for label, prefix in rows.items():
        cells = []
        for place in places:
            for error in ("mae", "rmse"):
                value = metrics.get(f"{prefix}{place}{error}_{unit}")
                cells.append("-" if value is None else f"{value:.2f}")
        table.add_row(label, *cells)
    notes = Table(box=None, pad_edge=False, show_header=False)
    notes.add_column(style="dim", no_wrap=True)
    notes.add_column()
    for label, words in protocol.items():
        notes.add_row(label, words)
    if counts:
        tested = (
            f"{counts.get('count/test/workouts', 0)} workouts of "
            f"{counts.get('count/test/athletes', 0)} athletes, "
            f"{counts.get('count/test/steps', 0):,} scored steps"
        )
        notes.add_row("tested on", tested)
    return "\n".join([title, rendered(table), "", rendered(notes)])
