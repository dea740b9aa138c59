"""A paper's table as a document: its figures beside the measured ones, baselines beneath."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitexp.errors import InputError
from fitexp.report.compare import Comparison, Row, compare
from fitexp.report.compare_sheets import (
    NONE,
    SIDES,
    SIMULATED,
    better,
    difference,
    figure,
    finite,
    protocol_notes,
    protocol_of,
)
from fitexp.report.document import Document, Sheet
from fitexp.report.paper_table import PaperRow, PaperTable, Section
from fitexp.report.table import CONTROLS, LABELS
from fitexp.report.text import WIDTH
from fitexp.run import FINISHED, RECOMMENDED, TRANSFERRED, Run

QUICK = "QUICK"
QUICK_WORDS = "one seed, less data, fewer epochs: not to be quoted"
FIGURES = "paper beside measured, mean (sd over seeds){}; {}"
INTERVAL = " [95 % interval]"
DIFFERENCES = "difference to {} [95 % interval] adjusted p; {}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A printed row: a model's (of the table), or a control's or baseline's (paper is None).

    row: as measured; of: the label of the model that a control belongs to.
    """

    section: Section
    label: str
    paper: PaperRow | None
    row: Row | None
    of: str = ""


def document(
    table: PaperTable, runs: Mapping[str, Sequence[Run]], *, quick: bool, notes: Sequence[str] = ()
) -> Document:
    """Paper beside measured, section by section, baselines beneath the models of a section.

    runs: by key of a row, one a seed and fold; those that did not finish are left out. notes: to
    print beneath. Raises InputError where no run finished.
    """
    comparison, names, left_out = _compared(table, runs)
    notes = [*notes, *(f"left out: {text}" for text in left_out)]
    lines = {section.name: list(_lines(section, comparison, names)) for section in table.sections}
    beneath = [("table", f"{table.name}: {table.title}")]
    beneath += [(QUICK, QUICK_WORDS)] if quick else []
    beneath += [("paper", text) for text in _papers(table)]
    beneath += [("note", text) for text in (table.note, *notes) if text]
    beneath += [("note", text) for text in comparison.notes if "groups by" not in text]
    return Document(
        sheets=lambda gap: _sheets(table, lines, quick, gap),
        notes=beneath + protocol_notes(comparison),
        records=[
            _record(table, line, metric, comparison, quick)
            for section in table.sections
            for line in lines[section.name]
            for metric in section.metrics
        ],
    )


def _compared(
    table: PaperTable, runs: Mapping[str, Sequence[Run]]
) -> tuple[Comparison, dict[str, str], list[str]]:
    """-> the comparison, key of a row -> its group in it, and what was left out.

    Rows that overrides have made equal have the same runs: one group.
    """
    groups: dict[str, str] = {}
    names: dict[str, str] = {}
    finished: list[Run] = []
    for key, own in runs.items():
        for run in own:
            if run.status == FINISHED and str(run.path) not in groups:
                finished.append(run)
            names.setdefault(key, groups.setdefault(str(run.path), key))
    known = {metric for run in finished for metric in run.metrics}
    wanted = dict.fromkeys(m for section in table.sections for m in section.metrics)
    metrics = [metric for metric in wanted if metric in known]
    if finished and not metrics:
        raise InputError(f"the runs have none of the metrics of table {table.name}")
    comparison, left_out = compare(finished, metrics=metrics, groups=groups)
    return comparison, names, left_out


def _lines(section: Section, comparison: Comparison, names: Mapping[str, str]) -> Iterator[Line]:
    """Models, each with its controls beneath, then baselines.

    Letters of protocols where the models stand under several. Of a sweep, baselines are those of
    its first value. A baseline with the same figures under several protocols stands once.
    """
    models: list[tuple[PaperRow, Row | None]] = []
    for paper in section.rows:
        name = names.get(paper.key)
        rows = [row for row in comparison.rows if row.kind == "group" and row.name == name]
        models += [(paper, row) for row in rows] or [(paper, None)]
    first = section.rows[0].value
    several = first is None and len({row.mark for _, row in models if row}) > 1
    protocols: set[int] = set()
    for paper, row in models:
        label = f"{paper.label} ({row.mark})" if several and row else paper.label
        yield Line(section=section, label=label, paper=paper, row=row)
        for control in comparison.rows:
            if row and control.prefix in CONTROLS and control.belongs_to(row):
                own = LABELS[control.prefix]
                yield Line(section=section, label=own, paper=None, row=control, of=label)
        protocols |= set(row.protocols) if row and paper.value == first else set()
    beside: dict[tuple[str, ...], Row] = {}
    for row in comparison.rows:
        measured = [metric for metric in section.metrics if metric in row.cells]
        if row.kind in ("group", "control") or not measured or not protocols & set(row.protocols):
            continue
        if row.name in (section.baselines or (row.name,)):
            figures = (f"{row.cells[metric].mean:.9g}" for metric in measured)
            beside.setdefault((row.name, *figures), row)
    kinds = Counter(row.name for row in beside.values())
    for row in beside.values():
        label = row.label if several and kinds[row.name] > 1 else row.name
        label = label if first is None else f"{label}: {first}"
        yield Line(section=section, label=label, paper=None, row=row)


def _papers(table: PaperTable) -> list[str]:
    """Sources of the paper's figures; by section where they differ."""
    known = [_sources(section) for section in table.sections]
    if all(sources == known[0] for sources in known):
        return known[0]
    sections = zip(table.sections, known, strict=True)
    return [f"{section.name}: {text}" for section, sources in sections for text in sources]


def _sources(section: Section) -> list[str]:
    return list(dict.fromkeys(row.source for row in section.rows if row.source))


def _sheets(
    table: PaperTable, lines: Mapping[str, list[Line]], quick: bool, gap: int
) -> list[Sheet]:
    """As many metrics beside each other as 100 columns hold: four, two or one."""
    sheets: list[Sheet] = []
    for section in table.sections:
        rows = lines[section.name]
        marks = dict.fromkeys(line.row.mark for line in rows if line.row and line.paper)
        mark = next(iter(marks)) if len(marks) == 1 else ""
        title = f"{section.name} ({mark})" if mark else section.name
        title += f"   {SIMULATED}" if any(x.row and x.row.simulated for x in rows) else ""
        title += f"   {QUICK}: {QUICK_WORDS}" if quick else ""
        for beside in (4, 2, 1):
            found = []
            for begin in range(0, len(section.metrics), beside):
                part = section.metrics[begin : begin + beside]
                measured = [x.row.cells.get(name) for x in rows if x.row for name in part]
                sure = any(cell is not None and cell.low is not None for cell in measured)
                words = FIGURES.format(INTERVAL if sure else "", better(part))
                found.append(Sheet(_titled(title, words, part), _figures(rows, part)))
                found += [] if table.sweep else _differences(title, rows, part)
            if max(sheet.width(gap) for sheet in found) <= WIDTH:
                break
        sheets += found
    return sheets


def _titled(title: str, words: str, metrics: Sequence[str]) -> str:
    place = _place(metrics)
    return "\n".join([title, words, *([f"{place}..."] if place else [])])


def _place(metrics: Sequence[str]) -> str:
    """What metrics of a verb's have before their last name, test/transfer/age_years/; else ""."""
    places = {metric[: metric.rfind("/") + 1] for metric in metrics}
    place = places.pop() if len(places) == 1 else ""
    return place if place.startswith((RECOMMENDED, TRANSFERRED)) else ""


def _figures(lines: Sequence[Line], metrics: Sequence[str]) -> list[list[str]]:
    heads = [metric.removeprefix(_place(metrics)) for metric in metrics]
    out = [["", "n", *(word for head in heads for word in ("paper", head))]]
    for line in lines:
        cells = [line.row.cells.get(metric) if line.row else None for metric in metrics]
        if line.paper is None and not any(cells):
            continue
        number = max((len(cell.values) for cell in cells if cell), default=0)
        words = []
        for metric, cell in zip(metrics, cells, strict=True):
            printed = line.paper.paper.get(metric) if line.paper else None
            words += [NONE if printed is None else f"{printed:g}", figure(cell) if cell else NONE]
        label = f"- {line.label}" if line.of else line.label
        out.append([label, str(number) if number else NONE, *words])
    return out


def _differences(title: str, lines: Sequence[Line], metrics: Sequence[str]) -> list[Sheet]:
    """The models' paired differences to the best baseline, where there are any."""
    out = [["", *(metric.removeprefix(_place(metrics)) for metric in metrics)]]
    references: dict[str, None] = {}
    for line in lines:
        if line.paper and line.row:
            cells = [line.row.cells.get(metric) for metric in metrics]
            references |= {c.against.partition(" (")[0]: None for c in cells if c and c.against}
            out.append([line.label, *(difference(cell) if cell else NONE for cell in cells)])
    if not references:
        return []
    words = DIFFERENCES.format(" and ".join(references), better(metrics, SIDES))
    return [Sheet(_titled(title, words, metrics), out)]


def _record(
    table: PaperTable, line: Line, metric: str, comparison: Comparison, quick: bool
) -> dict[str, Any]:
    cell = line.row.cells.get(metric) if line.row else None
    measured = {
        "mean": finite(cell.mean) if cell else None,
        "sd": finite(cell.sd) if cell else None,
        "n": len(cell.values) if cell else 0,
        "low": finite(cell.low) if cell else None,
        "high": finite(cell.high) if cell else None,
    }
    return {
        "table": table.name,
        "row": ": ".join(filter(None, [line.section.name, line.of, line.label])),
        "metric": metric,
        "measured": measured,
        "paper": line.paper.paper.get(metric) if line.paper else None,
        "source": line.paper.source if line.paper else None,
        "simulated": line.row.simulated if line.row else None,
        "quick": quick,
        "protocol": protocol_of(comparison, line.row) if line.row else {},
        "kind": "model" if line.paper else line.row.kind if line.row else None,
        "experiment": line.paper.experiment if line.paper else None,
        "value": line.paper.value if line.paper else None,
    }
