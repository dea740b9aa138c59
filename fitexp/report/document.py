"""Small tables with notes beneath as text of at most 100 columns, Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from fitexp.report.text import WIDTH, rendered


@dataclass(frozen=True)
class Sheet:
    """One small table; lines[0] is the header, its first column is flush left."""

    title: str
    lines: list[list[str]]

    def width(self, gap: int) -> int:
        columns = zip(*self.lines, strict=True)
        return sum(max(map(len, column)) + gap for column in columns)


@dataclass(frozen=True)
class Document:
    """What is printed for people: sheets and notes (label, words); for programs: records.

    sheets: for columns that stand `gap` characters apart. records: plain, finite values.
    """

    sheets: Callable[[int], list[Sheet]]
    notes: list[tuple[str, str]]
    records: list[dict[str, Any]]


def beneath(document: Document, other: Document) -> Document:
    """`document` with the sheets and notes of `other` beneath; its records alone."""
    return Document(
        sheets=lambda gap: [*document.sheets(gap), *other.sheets(gap)],
        notes=[*document.notes, *other.notes],
        records=document.records,
    )


def as_json(document: Document) -> str:
    return json.dumps(document.records, indent=2, allow_nan=False)


def as_csv(document: Document) -> str:
    """One line a record: of nested values one column each, the protocol as words."""
    lines = [_flat(record) for record in document.records]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue().rstrip("\n")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in record.items():
        if name == "protocol":
            out[name] = "; ".join(f"{label}: {words}" for label, words in value.items())
        elif isinstance(value, Mapping):
            out |= value
        elif name in ("simulated", "quick"):
            out[name] = name.upper() if value else ""
        else:
            out[name] = value
    return out


def as_text(document: Document) -> str:
    parts = []
    for sheet in document.sheets(2):
        header, *lines = sheet.lines
        table = Table(box=None, pad_edge=False)
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", no_wrap=True)
        for line in lines:
            table.add_row(*line)
        parts.append(f"{sheet.title}\n{rendered(table)}")
    notes = Table(box=None, pad_edge=False, show_header=False)
    notes.add_column(no_wrap=True)
    notes.add_column(overflow="fold")
    for label, words in document.notes:
        notes.add_row(label, words)
    return "\n\n".join([*parts, rendered(notes)])


def as_markdown(document: Document) -> str:
    parts = []
    for sheet in document.sheets(3):
        cells = [[cell.replace("|", r"\|") for cell in line] for line in sheet.lines]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [cells[0], rule, *cells[1:]]
        text = ["| " + " | ".join(_aligned(line, widths)) + " |" for line in lines]
        parts.append("\n".join([f"**{sheet.title}**", "", *text]))
    notes = [
        "\n".join(textwrap.wrap(f"- {label}: {words}", WIDTH, subsequent_indent="  "))
        for label, words in document.notes
    ]
    return "\n\n".join([*parts, "\n".join(notes)])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    pairs = zip(cells, widths, strict=True)
    return [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(pairs)]


def as_latex(document: Document) -> str:
    parts = []
    for sheet in document.sheets(5):
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
    for label, words in document.notes:
        parts += textwrap.wrap(
            rf"{_latex(label)}: {_latex(words)} \\", WIDTH, break_long_words=False
        )
    return "\n".join([*parts, r"\end{flushleft}", r"\end{footnotesize}"])


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


FOR_PEOPLE = ("table", "md", "latex")  # formats that show sheets and notes
FORMATS: Mapping[str, Callable[[Document], str]] = {
    "table": as_text,
    "md": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
    "json": as_json,
}
