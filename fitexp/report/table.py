"""The closing table of a run: the model beside trivial baselines, under its protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from fitexp.errors import InputError
from fitexp.report.text import rendered
from fitexp.run import DESCRIBED, Run

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
            "training": training_words(run.config),
            **{label: _shown(values) for label, values in described(run).items()},
        },
        horizons=list(spec["horizons"]),
        counts={k: int(v) for k, v in metrics.items() if k.startswith("count/")},
    )


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


def _shown(values: Sequence[float] | str) -> str:
    """Words as they are; numbers sorted and rounded to three digits."""
    if isinstance(values, str):
        return values
    return ", ".join(f"{v:.0f}" if abs(v) >= 100 else f"{v:.3g}" for v in sorted(values))


def training_words(config: Mapping[str, Any]) -> str:
    """How the network was trained, as far as it belongs to the protocol."""
    task = config["task"]
    loss = str(config["loss"]["_target_"]).rpartition(".")[2].replace("_", " ")
    over = "mean over steps" if task.get("reduction") == "mean" else "sum over a sequence's steps"
    words = [f"{loss}, {over}", f"target scaling {task.get('target_scaling')}"]
    if task.get("teacher_forcing"):
        words.append("teacher forced")
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
