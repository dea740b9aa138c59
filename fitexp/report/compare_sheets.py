"""A comparison as a document: figures, differences, and the protocol beneath."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fitexp.metrics import higher_is_better
from fitexp.report.compare import Cell, Comparison, Row
from fitexp.report.document import Document, Sheet
from fitexp.report.table import LABELS
from fitexp.report.text import WIDTH

LABEL_WIDTH = 36  # longer labels get a number, and a line beneath
SIMULATED = "SIMULATED DATA"
FIGURES = "mean (sd over runs) [95 % interval]; {}"
DIFFERENCES = "difference to the reference [95 % interval] adjusted p; {}"
SIDES = ("below zero", "above zero")
NEITHER = "test/asked"  # what an expert was asked about: fewer questions, or more right answers?
NONE = "-"


def document(comparison: Comparison) -> Document:
    """The comparison in small tables: figures, then differences to the reference."""
    return Document(
        sheets=lambda gap: _sheets(comparison, gap),
        notes=_beneath(comparison),
        records=records(comparison),
    )


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One plain dict a row and metric; nothing that is not finite."""
    out = []
    for row in comparison.rows:
        words = protocol_of(comparison, row)
        for name in comparison.metrics:
            if name not in row.cells:
                continue
            cell = row.cells[name]
            out.append(
                {
                    "group": row.label,
                    "metric": name,
                    "mean": finite(cell.mean),
                    "sd": finite(cell.sd),
                    "n": len(cell.values),
                    "low": finite(cell.low),
                    "high": finite(cell.high),
                    "against": cell.against,
                    "difference": finite(cell.difference),
                    "p_adjusted": cell.p_adjusted,
                    "protocol": words,
                    "kind": row.kind,
                    "difference_low": finite(cell.difference_low),
                    "difference_high": finite(cell.difference_high),
                    "p": cell.p,
                    "clusters": cell.clusters,
                    "few_users": cell.few_users,
                    "simulated": row.simulated,
                }
            )
    return out


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def protocol_of(comparison: Comparison, row: Row) -> dict[str, str]:
    """The row's protocol; of a baseline that stands under several, their words between bars."""
    several = [list(comparison.protocols.values())[i] for i in row.protocols]
    labels = dict.fromkeys(label for words in several for label in words)
    return {
        label: " | ".join(dict.fromkeys(words.get(label, NONE) for words in several))
        for label in labels
    }


def _sheets(comparison: Comparison, gap: int) -> list[Sheet]:
    """Figures, then differences; two metrics beside each other where 100 columns hold them."""
    names = comparison.metrics
    for beside in (2, 1):
        sheets = []
        for begin in range(0, len(names), beside):
            part = names[begin : begin + beside]
            sheets.append(_sheet(comparison, FIGURES.format(better(part)), part, figure, n=True))
            if any(c.p is not None for r in comparison.rows for c in _cells(r, part)):
                sheets.append(
                    _sheet(
                        comparison,
                        DIFFERENCES.format(better(part, SIDES)),
                        part,
                        difference,
                        n=False,
                    )
                )
        if max(sheet.width(gap) for sheet in sheets) + 1 <= WIDTH:
            break
    return sheets


def _sheet(
    comparison: Comparison,
    title: str,
    names: Sequence[str],
    write: Callable[[Cell], str],
    *,
    n: bool,
) -> Sheet:
    lines = [["group", *(["n"] if n else []), *names]]
    for label, row in zip(_labels(comparison), comparison.rows, strict=True):
        if not n and row.kind in ("control", "ceiling"):
            continue
        cells = [row.cells.get(name) for name in names]
        if not any(cells):
            continue
        counts = [len(cell.values) for cell in cells if cell]
        number = [str(max(counts, default=0))] if n else []
        lines.append([label, *number, *(write(cell) if cell else NONE for cell in cells)])
    mark = f"   {SIMULATED}" if comparison.simulated else ""
    if comparison.simulated and not all(row.simulated for row in comparison.rows):
        marks = dict.fromkeys(m for row in comparison.rows if row.simulated for m in [row.mark])
        mark += f": ({', '.join(marks)})"
    return Sheet(title + mark, lines)


def _labels(comparison: Comparison) -> list[str]:
    """Labels of rows; a long one is a number that the lines beneath explain.

    A control stands beneath its group and says what it is alone.
    """
    out = []
    for number, row in enumerate(comparison.rows, 1):
        if row.kind == "control":
            out.append(f"- {LABELS[row.prefix]}")
            continue
        short = f"row {number} ({row.mark})" if row.mark else f"row {number}"
        out.append(row.label if len(row.label) <= LABEL_WIDTH else short[:LABEL_WIDTH])
    return out


def _cells(row: Row, names: Sequence[str]) -> list[Cell]:
    return [row.cells[name] for name in names if name in row.cells]


def better(names: Sequence[str], sides: tuple[str, str] = ("lower", "higher")) -> str:
    """Which figures of these metrics are better, in the words for low and high ones."""
    low, high = sides
    judged = [name for name in names if name != NEITHER]
    if not judged:
        return "neither side is better"
    higher = [name for name in judged if higher_is_better(name)]
    if len(higher) == len(judged):
        of = f", of {' and '.join(judged)}" if len(judged) < len(names) else ""
        return f"{high} is better{of}"
    return f"{low} is better" + (f", of {' and '.join(higher)} {high}" if higher else "")


def figure(cell: Cell) -> str:
    n = cell.digits
    sd = f" ({_number(cell.sd, n)})" if cell.sd is not None else ""
    between = ""
    if cell.low is not None and cell.high is not None:
        between = f" [{_number(cell.low, n)}, {_number(cell.high, n)}]"
    return _number(cell.mean, n) + sd + between


def difference(cell: Cell) -> str:
    if cell.reference:
        return "reference"
    if cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        return NONE
    assert cell.p_adjusted is not None
    p = "<0.001" if cell.p_adjusted < 0.001 else f"{cell.p_adjusted:.3f}"
    low, high = (f"{end:+.{cell.digits}f}" for end in (cell.difference_low, cell.difference_high))
    return f"{cell.difference:+.{cell.digits}f} [{low}, {high}] {p}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NONE


def _beneath(comparison: Comparison) -> list[tuple[str, str]]:
    """References, notes, long labels, then the protocol: what is shared, then what differs."""
    out: list[tuple[str, str]] = []
    for label, row in zip(_labels(comparison), comparison.rows, strict=True):
        if label != row.label and row.kind != "control":
            out.append((label, row.label))
    references: dict[str, list[str]] = {}
    for name in comparison.metrics:
        cells = [row.cells[name] for row in comparison.rows if name in row.cells]
        if against := ", ".join(dict.fromkeys(cell.against for cell in cells if cell.against)):
            references.setdefault(against, []).append(name)
    out += [("reference", f"{words} for {', '.join(n)}") for words, n in references.items()]
    for note in comparison.notes:
        out.append(("note", note))
    return out + protocol_notes(comparison)


def protocol_notes(comparison: Comparison) -> list[tuple[str, str]]:
    """The protocol: what all rows share, then what differs, with the letters of the rows."""
    out: list[tuple[str, str]] = []
    protocols = comparison.protocols
    labels = dict.fromkeys(label for words in protocols.values() for label in words)
    differing: list[tuple[str, str]] = []
    for label in labels:
        marks: dict[str, list[str]] = {}
        for mark, words in protocols.items():
            marks.setdefault(words.get(label, NONE), []).append(mark)
        if len(marks) == 1:
            out.append((label, next(iter(marks))))
        else:
            differing += [(label, f"({', '.join(m)}) {text}") for text, m in marks.items()]
    if differing:
        out.append(("DIFFERING", "rows with different letters stand under different protocols"))
    out += differing
    return out
