"""What comes next, for people: a table, a CSV, the questions to an expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.report.text import rendered
from fitexp.run import make_folder, write_text

if TYPE_CHECKING:
    from fitexp.recommend_exercises import Threshold

CSV = "next.csv"
TOP = 5  # items of a question
Float = NDArray[np.float64]


def ordered(probability: Float) -> NDArray[np.intp]:
    """Numbers of items, the likeliest first; ties as in the catalogue. Shape: (..., N)."""
    return np.argsort(-probability, axis=-1, kind="stable")


def write(folder: Path, spec: ExerciseSpec, probability: Float) -> None:
    """next.csv: all items by probability (N,)."""
    make_folder(folder)
    order = ordered(probability)
    table = pd.DataFrame(
        {
            "rank": range(1, len(order) + 1),
            "item": [spec.items[item] for item in order],
            "category": [spec.categories[item] for item in order],
            "probability": [f"{probability[item]:.6f}" for item in order],
            "simulated": str(spec.simulated).lower(),
        }
    )
    write_text(folder / CSV, table.to_csv(index=False))


def summary(
    spec: ExerciseSpec,
    user: str,
    past: Sequence[str],
    events: int,
    probability: Float,
    top: int,
    threshold: Threshold,
) -> str:
    """The likeliest items (of N probabilities), the margin, and whether an expert is asked."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("item", no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column("category", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("probability", justify="right")
    order = ordered(probability)
    for rank, item in enumerate(order[:top].tolist(), 1):
        name, category = spec.items[item], spec.categories[item] or "-"
        table.add_row(str(rank), name, category, f"{probability[item]:.3f}")
    margin = float(probability[order[0]] - probability[order[1]])
    mark = "   MODEL TRAINED ON SIMULATED DATA" if spec.simulated else ""
    lines = [
        f"what comes next for user {user}, of {len(spec.items):,} items{mark}",
        rendered(table),
        "",
        f"behind {events:,} events, the last: {', '.join(past) or 'none'}",
        f"margin {margin:.4g}: the highest probability less the second",
        f"would ask the expert: {threshold.verdict(margin)}",
    ]
    return "\n".join(lines)


def question_row(
    spec: ExerciseSpec, question: str, user: str, past: Sequence[str], probability: Float
) -> dict[str, str]:
    """A question to an expert; he fills in `item`. probability: (N,)."""
    row = {"question": question, "user": user, "item": "", "last_items": "; ".join(past)}
    order = ordered(probability)
    for rank in range(1, TOP + 1):  # a short catalogue leaves columns empty
        there = rank <= len(order)
        item = int(order[rank - 1]) if there else -1
        row[f"item_{rank}"] = spec.items[item] if there else ""
        row[f"p_{rank}"] = f"{probability[item]:.6f}" if there else ""
    row["margin"] = f"{probability[order[0]] - probability[order[1]]:.6f}"
    return {**row, "simulated": str(spec.simulated).lower()}


def write_questions(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """The queue as CSV, also if there is no question."""
    tops = [name for rank in range(1, TOP + 1) for name in (f"item_{rank}", f"p_{rank}")]
    names = ["question", "user", "item", "last_items", *tops, "margin", "simulated"]
    make_folder(file.parent)
    try:
        write_text(file, pd.DataFrame(rows, columns=names).to_csv(index=False))
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from error
