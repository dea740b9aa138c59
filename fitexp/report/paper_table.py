"""A paper's table: which experiments are its rows, and its figures beside the measured ones.

One YAML of the config group `table` describes it; `fitexp reproduce` trains its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fitexp.errors import InputError
from fitexp.targets import closest, did_you_mean

COSTS = ("exercise_attn",)  # networks whose cost can be measured beside a table


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of a table: an experiment file, and the paper's figures by metric with their source.

    value: of the table's sweep, None without one. evaluate: its runs are those of its experiment,
    evaluated once more with these words of `fitexp evaluate`; () as they were trained.
    """

    label: str
    experiment: str
    paper: Mapping[str, float]
    source: str | None
    value: str | None = None
    evaluate: tuple[str, ...] = ()

    @property
    def trained(self) -> str:
        """What the runs that are trained for it are found by."""
        return self.experiment if self.value is None else f"{self.experiment} {self.value}"

    @property
    def key(self) -> str:
        """What its own runs are found by."""
        return " ".join([self.trained, *self.evaluate])


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that are measured alike, by the same metrics; their baselines stand beneath.

    baselines: names of those that are shown, () all.
    """

    name: str
    metrics: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    baselines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableSweep:
    """Each experiment is run with each value of one key; `shown` are the values' names."""

    key: str
    values: tuple[str, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """What conf/table/NAME.yaml says.

    seeds, folds: a row has seeds x folds runs, pooled over data.fold; overrides: of every row;
    quick: of every row by --quick, "always" or by the choice of data that all rows have; note:
    printed beneath. after: a verb that adds figures to a finished run (`fitexp recommend RUN
    --evaluate`). sweep: every row once for each value of a key; drawn as curves. cost: the network
    whose cost is measured (fitexp/cost.py) and printed beneath, one of COSTS.
    """

    name: str
    title: str
    note: str
    seeds: int
    folds: int
    overrides: tuple[str, ...]
    quick: Mapping[str, Sequence[str]]
    after: str | None
    sections: tuple[Section, ...]
    sweep: TableSweep | None
    cost: str | None

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(row.experiment for s in self.sections for row in s.rows))

    @property
    def evaluated(self) -> list[PaperRow]:
        """Rows whose runs are evaluations, each key once."""
        rows = {row.key: row for s in self.sections for row in s.rows if row.evaluate}
        return list(rows.values())

    @property
    def keys(self) -> list[str]:
        """Keys of the rows in the order of a multirun over experiments, then values."""
        if self.sweep is None:
            return self.experiments
        return [f"{name} {value}" for name in self.experiments for value in self.sweep.values]

    def multirun(self, seeds: int) -> list[str]:
        """Overrides of the multirun that trains all rows: len(keys) * seeds * folds jobs."""
        words = [f"experiment={','.join(self.experiments)}"]
        if self.sweep:
            words.append(f"{self.sweep.key}={','.join(self.sweep.values)}")
        words.append(f"seed={','.join(map(str, range(seeds)))}")
        return words + ([f"data.fold={','.join(map(str, range(self.folds)))}"] * (self.folds > 1))

    def key_of(self, number: int, seeds: int) -> str:
        """Which row job `number` of `multirun` (from 1) belongs to: the last key varies fastest."""
        return self.keys[(number - 1) // (seeds * self.folds)]

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
        ("note", "source", "seeds", "folds", "overrides", "quick", "after", "sweep", "cost"),
    )
    cost = top.get("cost")
    if cost is not None and cost not in COSTS:
        raise InputError(f"{where}: cost is one of {', '.join(COSTS)}, not {cost}")
    source = top.get("source")
    sweep = _sweep(top["sweep"], f"{where}: sweep") if top.get("sweep") else None
    sections = []
    for place, section in _items(top["sections"], f"{where}: sections"):
        known = _keys(section, place, ("name", "metrics", "rows"), ("baselines",))
        metrics = tuple(metric for _, metric in _items(known["metrics"], f"{place}.metrics"))
        rows = []
        for at, row in _items(known["rows"], f"{place}.rows"):
            fields = _keys(row, at, ("row", "experiment"), ("paper", "source", "evaluate"))
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
                    evaluate=_words(fields.get("evaluate"), f"{at}.evaluate"),
                )
            )
            if paper and not rows[-1].source:
                raise InputError(f"{at}: figures of a paper need their source")
        if sweep is not None:
            rows = [one for row in rows for one in _swept(row, sweep)]
        sections.append(
            Section(
                name=str(known["name"]),
                metrics=metrics,
                rows=tuple(rows),
                baselines=tuple(known.get("baselines") or ()),
            )
        )
    return PaperTable(
        name=name,
        title=str(top["title"]),
        note=str(top.get("note") or ""),
        seeds=int(top.get("seeds") or 3),
        folds=int(top.get("folds") or 1),
        overrides=tuple(top.get("overrides") or ()),
        quick=dict(top.get("quick") or {}),
        after=str(top["after"]) if top.get("after") else None,
        sections=tuple(sections),
        sweep=sweep,
        cost=cost,
    )


def _words(values: Any, where: str) -> tuple[str, ...]:
    words = () if values is None else tuple(str(value) for _, value in _items(values, where))
    for word in words:
        if "=" not in word:
            raise InputError(f"{where}: {word!r} is no KEY=VALUE")
    return words


def _sweep(values: Any, where: str) -> TableSweep:
    known = _keys(values, where, ("key", "values"), ("shown",))
    found = tuple(str(value) for _, value in _items(known["values"], f"{where}.values"))
    shown = tuple(str(name) for name in known.get("shown") or found)
    if len(shown) != len(found):
        raise InputError(f"{where}.shown: {len(shown)} names for {len(found)} values")
    return TableSweep(key=str(known["key"]), values=found, shown=shown)


def _swept(row: PaperRow, sweep: TableSweep) -> list[PaperRow]:
    pairs = zip(sweep.values, sweep.shown, strict=True)
    return [replace(row, label=f"{row.label}: {name}", value=value) for value, name in pairs]


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
