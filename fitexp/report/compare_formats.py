"""A comparison as text of at most 100 columns, Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from fitexp.report.compare import Cell, Comparison, Row
from fitexp.report.text import WIDTH, rendered

LABEL_WIDTH = 36  # longer labels get a number, and a line beneath
SIMULATED = "SIMULATED DATA"
FIGURES = "mean (sd over runs) [95 % interval]; lower is better"
DIFFERENCES = "difference to the reference [95 % interval] adjusted p; below zero is better"
NONE = "-"


@dataclass(frozen=True)
class Sheet:
    """One small table; lines[0] is the header."""

    title: str
    lines: list[list[str]]

    def width(self, gap: int) -> int:
        columns = zip(*self.lines, strict=True)
        return sum(max(map(len, column)) + gap for column in columns)


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """One plain dict a row and metric; nothing that is not finite."""
    out = []
    for row in comparison.rows:
        words = _protocol_of(comparison, row)
        for name in comparison.metrics:
            if name not in row.cells:
                continue
            cell = row.cells[name]
            out.append(
                {
                    "group": row.label,
                    "metric": name,
                    "mean": _finite(cell.mean),
                    "sd": _finite(cell.sd),
                    "n": len(cell.values),
                    "low": _finite(cell.low),
                    "high": _finite(cell.high),
                    "against": cell.against,
                    "difference": _finite(cell.difference),
                    "p_adjusted": cell.p_adjusted,
                    "protocol": words,
                    "kind": row.kind,
                    "difference_low": _finite(cell.difference_low),
                    "difference_high": _finite(cell.difference_high),
                    "p": cell.p,
                    "clusters": cell.clusters,
                    "few_users": cell.few_users,
                    "simulated": row.simulated,
                }
            )
    return out


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _protocol_of(comparison: Comparison, row: Row) -> dict[str, str]:
    """The row's protocol; of a baseline that stands under several, their words between bars."""
    several = [list(comparison.protocols.values())[i] for i in row.protocols]
    labels = dict.fromkeys(label for words in several for label in words)
    return {
        label: " | ".join(dict.fromkeys(words.get(label, NONE) for words in several))
        for label in labels
    }


def as_json(comparison: Comparison) -> str:
    return json.dumps(records(comparison), indent=2, allow_nan=False)


def as_csv(comparison: Comparison) -> str:
    file = io.StringIO()
    rows = records(comparison)
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        protocol = "; ".join(f"{label}: {words}" for label, words in row["protocol"].items())
        simulated = "SIMULATED" if row["simulated"] else ""
        writer.writerow({**row, "protocol": protocol, "simulated": simulated})
    return file.getvalue().rstrip("\n")


def as_text(comparison: Comparison) -> str:
    parts = []
    for sheet in _sheets(comparison, gap=2):
        header, *lines = sheet.lines
        table = Table(box=None, pad_edge=False)
        for i, name in enumerate(header):
            table.add_column(Text(name), justify="right" if i else "left", no_wrap=True)
        for line in lines:
            table.add_row(*map(Text, line))
        parts.append(f"{sheet.title}\n{rendered(table)}")
    notes = Table(box=None, pad_edge=False, show_header=False)
    notes.add_column(no_wrap=True)
    notes.add_column(overflow="fold")
    for label, words in _beneath(comparison):
        notes.add_row(Text(label), Text(words))
    return "\n\n".join([*parts, rendered(notes)])


def as_markdown(comparison: Comparison) -> str:
    parts = []
    for sheet in _sheets(comparison, gap=3):
        cells = [[cell.replace("|", r"\|") for cell in line] for line in sheet.lines]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [cells[0], rule, *cells[1:]]
        text = ["| " + " | ".join(_aligned(line, widths, first=str.ljust)) + " |" for line in lines]
        parts.append("\n".join([f"**{sheet.title}**", "", *text]))
    notes = [
        "\n".join(textwrap.wrap(f"- {label}: {words}", WIDTH, subsequent_indent="  "))
        for label, words in _beneath(comparison)
    ]
    return "\n\n".join([*parts, "\n".join(notes)])


def as_latex(comparison: Comparison) -> str:
    parts = []
    for sheet in _sheets(comparison, gap=5):
        header, *lines = [[_latex(cell) for cell in line] for line in sheet.lines]
        parts += [
            r"\begin{table}",
            *textwrap.wrap(rf"\caption{{{_latex(sheet.title)}}}", WIDTH),
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\hline",
            " & ".join(header) + r" \\",
            r"\hline",
            *(" & ".join(line) + r" \\" for line in lines),
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    parts += [r"\begin{footnotesize}", r"\begin{flushleft}"]
    for label, words in _beneath(comparison):
        parts += textwrap.wrap(
            rf"{_latex(label)}: {_latex(words)} \\", WIDTH, break_long_words=False
        )
    return "\n".join([*parts, r"\end{flushleft}", r"\end{footnotesize}"])


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "table": as_text,
    "md": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
    "json": as_json,
}


def _aligned(
    cells: Sequence[str], widths: Sequence[int], first: Callable[[str, int], str]
) -> list[str]:
    return [
        first(cell, width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _sheets(comparison: Comparison, gap: int) -> list[Sheet]:
    """Figures, then differences; two metrics beside each other where 100 columns hold them."""
    names = comparison.metrics
    for beside in (2, 1):
        sheets = []
        for begin in range(0, len(names), beside):
            part = names[begin : begin + beside]
            sheets.append(_sheet(comparison, FIGURES, part, _figure, n=True))
            if any(c.p is not None for r in comparison.rows for c in r.cells.values()):
                sheets.append(_sheet(comparison, DIFFERENCES, part, _difference, n=False))
        if max(sheet.width(gap) for sheet in sheets) + 1 <= WIDTH:
            break
    return sheets


def _sheet(
    comparison: Comparison,
    title: str,
    names: Sequence[str],
    write: Callable[[Row, Cell], str],
    *,
    n: bool,
) -> Sheet:
    lines = [["group", *(["n"] if n else []), *names]]
    for label, row in zip(_labels(comparison), comparison.rows, strict=True):
        if not n and row.kind == "ceiling":
            continue
        cells = [row.cells.get(name) for name in names]
        if not any(cells):
            continue
        counts = [len(cell.values) for cell in cells if cell]
        number = [str(max(counts, default=0))] if n else []
        lines.append([label, *number, *(write(row, cell) if cell else NONE for cell in cells)])
    mark = f"   {SIMULATED}" if comparison.simulated else ""
    if comparison.simulated and not all(row.simulated for row in comparison.rows):
        marks = dict.fromkeys(m for row in comparison.rows if row.simulated for m in [row.mark])
        mark += f": ({', '.join(marks)})"
    return Sheet(title + mark, lines)


def _labels(comparison: Comparison) -> list[str]:
    """Labels of rows; a long one is a number that the lines beneath explain."""
    out = []
    for number, row in enumerate(comparison.rows, 1):
        short = f"row {number} ({row.mark})" if row.mark else f"row {number}"
        out.append(row.label if len(row.label) <= LABEL_WIDTH else short[:LABEL_WIDTH])
    return out


def _figure(row: Row, cell: Cell) -> str:
    sd = f" ({_number(cell.sd)})" if cell.sd is not None else ""
    between = ""
    if cell.low is not None and cell.high is not None:
        between = f" [{_number(cell.low)}, {_number(cell.high)}]"
    return _number(cell.mean) + sd + between


def _difference(row: Row, cell: Cell) -> str:
    if cell.reference:
        return "reference"
    if cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        return NONE
    assert cell.p_adjusted is not None
    p = "<0.001" if cell.p_adjusted < 0.001 else f"{cell.p_adjusted:.3f}"
    low, high = f"{cell.difference_low:+.2f}", f"{cell.difference_high:+.2f}"
    return f"{cell.difference:+.2f} [{low}, {high}] {p}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NONE


def _beneath(comparison: Comparison) -> list[tuple[str, str]]:
    """References, notes, long labels, then the protocol: what is shared, then what differs."""
    out: list[tuple[str, str]] = []
    for label, row in zip(_labels(comparison), comparison.rows, strict=True):
        if label != row.label:
            out.append((label, row.label))
    references: dict[str, list[str]] = {}
    for name in comparison.metrics:
        cells = [row.cells[name] for row in comparison.rows if name in row.cells]
        if against := ", ".join(dict.fromkeys(cell.against for cell in cells if cell.against)):
            references.setdefault(against, []).append(name)
    out += [("reference", f"{words} for {', '.join(n)}") for words, n in references.items()]
    for note in comparison.notes:
        out.append(("note", note))
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


_LATEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(c, c) for c in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
