"""A paper's table: which experiments are its rows, and its figures beside the measured ones.

One YAML of the config group `table` describes it; `fitexp reproduce` trains its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitexp.errors import InputError
from fitexp.targets import closest, did_you_mean


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of a table: an experiment file, and the paper's figures by metric with their source."""

    label: str
    experiment: str
    paper: Mapping[str, float]
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that are measured alike, by the same metrics; their baselines stand beneath."""

    name: str
    metrics: tuple[str, ...]
    rows: tuple[PaperRow, ...]


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """What conf/table/NAME.yaml says.

    seeds: runs a row; overrides: of every row; quick: of every row by --quick, "always" or
    by the choice of data that all rows have; note: printed beneath. after: a verb
    that adds figures to a finished run (`fitexp recommend RUN --evaluate`).
    """

    name: str
    title: str
    note: str
    seeds: int
    overrides: tuple[str, ...]
    quick: Mapping[str, Sequence[str]]
    after: str | None
    sections: tuple[Section, ...]

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(row.experiment for s in self.sections for row in s.rows))

    def listed(self) -> list[str]:
        """A line of `fitexp reproduce --list`."""
        rows = sum(len(section.rows) for section in self.sections)
        return [self.name, str(rows), str(self.seeds), self.title]

    def quick_overrides(self, data: set[str]) -> list[str]:
        """Overrides by --quick where the rows have these choices of data."""
        words = list(self.quick.get("always", ()))
        return words + list(self.quick.get(data.pop(), ()) if len(data) == 1 else ())


def paper_table(name: str, values: Any) -> PaperTable:
    """The table of a YAML's values. Raises InputError that names the key."""
    where = f"table/{name}"
    top = _keys(
        values,
        where,
        ("title", "sections"),
        ("note", "source", "seeds", "overrides", "quick", "after"),
    )
    source = top.get("source")
    sections = []
    for place, section in _items(top["sections"], f"{where}: sections"):
        known = _keys(section, place, ("name", "metrics", "rows"))
        metrics = tuple(metric for _, metric in _items(known["metrics"], f"{place}.metrics"))
        rows = []
        for at, row in _items(known["rows"], f"{place}.rows"):
            fields = _keys(row, at, ("row", "experiment"), ("paper", "source"))
            paper = dict(fields.get("paper") or {})
            for metric in paper:
                if metric not in metrics:
                    near = did_you_mean(closest(str(metric), metrics))
                    raise InputError(f"{at}.paper: {metric} is no metric of this section{near}")
            rows.append(
                PaperRow(
                    label=str(fields["row"]),
                    experiment=str(fields["experiment"]),
                    paper={metric: float(value) for metric, value in paper.items()},
                    source=(fields.get("source") or source) if paper else None,
                )
            )
            if paper and not rows[-1].source:
                raise InputError(f"{at}: figures of a paper need their source")
        sections.append(Section(name=str(known["name"]), metrics=metrics, rows=tuple(rows)))
    return PaperTable(
        name=name,
        title=str(top["title"]),
        note=str(top.get("note") or ""),
        seeds=int(top.get("seeds") or 3),
        overrides=tuple(top.get("overrides") or ()),
        quick=dict(top.get("quick") or {}),
        after=str(top["after"]) if top.get("after") else None,
        sections=tuple(sections),
    )


def _keys(
    values: Any, where: str, needed: Sequence[str], others: Sequence[str] = ()
) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: keys are expected ({', '.join((*needed, *others))})")
    for key in values:
        if key not in (*needed, *others):
            near = did_you_mean(closest(str(key), (*needed, *others)))
            raise InputError(f"{where}: no key '{key}'{near}")
    for key in needed:
        if key not in values:
            raise InputError(f"{where}: the key {key} is missing")
    return values


def _items(values: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Items of a list with their places."""
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: a list is expected")
    for number, value in enumerate(values):
        yield f"{where}[{number}]", value
