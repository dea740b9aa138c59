"""Runs side by side: seeds averaged, differences paired by user, baselines and protocol beneath.

Runs are read and grouped here; statistics.py resamples; compare_sheets.py shows them.
"""

from __future__ import annotations

import math
import re
import statistics as descriptive
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.data.spec import NOT_READ
from fitexp.errors import InputError
from fitexp.metrics import digits, higher_is_better
from fitexp.report import statistics, unit_errors
from fitexp.report.folds import joined
from fitexp.report.statistics import Errors
from fitexp.report.table import CONTROLS, LABELS, described_words, model_name
from fitexp.report.unit_errors import BASELINE, Found, UnitErrors
from fitexp.run import FINISHED, NOT_IDENTITY, TRANSFERRED, Run
from fitexp.targets import closest, did_you_mean

OWN = "its own selection alone"  # the reference of a group with an expert
OF_EXPERT = re.compile(r"test/(?:.+_(?:answered|asked|system)|asked)")  # where one was asked
ORACLE = "_oracle"  # ends the name of a baseline that reads what it is tested on: no reference
MIN_USERS = 10  # with fewer, units are resampled within users
EVALUATIONS = "evaluations"  # folder in a run with its tests on other data
GROUP = "group"  # stands for a choice, where groups are given
# Keys that tell runs apart, the telling ones first: lr follows from the regime, not vice versa.
ORDER = ("data", "model", "task", "loss", "optimizer", "trainer", "early_stopping")
Config = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run as it was read."""

    run: Run
    seed: Any
    identity: tuple[str, ...]
    choices: Mapping[str, str]
    config: Config  # flat, dotted keys
    metrics: Mapping[str, float]
    kind: str  # of the data: workouts, exercises
    usual: tuple[str, ...]  # metrics that are compared unless others are asked for
    simulated: bool
    protocol: Mapping[str, str]
    not_read: str  # of what the data offer; "" where the model reads all
    data: tuple[str, str]  # data_hash, split_hash
    errors: Found = field(default_factory=dict)


@dataclass(kw_only=True)
class Cell:
    """One row's figures in one metric. difference: to `against`, paired; digits: to print."""

    values: list[float]
    digits: int = 2
    low: float | None = None
    high: float | None = None
    against: str | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    clusters: str | None = None
    few_users: bool = False
    reference: bool = False  # the others' differences are to this one

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def sd(self) -> float | None:
        return descriptive.stdev(self.values) if len(self.values) > 1 else None


@dataclass(kw_only=True)
class Row:
    """A line of the table: a group of runs, a baseline or the ceiling, under its protocols."""

    name: str
    kind: str  # "group" | "control" (of the group before it) | "baseline" | "ceiling"
    results: list[Result]
    prefix: str
    protocols: list[int]
    of: str = ""  # the group that a control belongs to
    mark: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.name} ({self.mark})" if self.mark else self.name

    @property
    def simulated(self) -> bool:
        return any(result.simulated for result in self.results)

    def belongs_to(self, group: Row) -> bool:
        """Whether this is a control of a group."""
        return (self.of, self.protocols) == (group.name, group.protocols)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """metrics in order; rows; protocols: mark -> label -> words; notes: lines to print beneath."""

    metrics: list[str]
    rows: list[Row]
    protocols: Mapping[str, Mapping[str, str]]
    notes: list[str]
    simulated: bool


def compare(
    runs: Sequence[Run],
    *,
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    against: str | None = None,
    groups: Mapping[str, str] | None = None,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> tuple[Comparison, list[str]]:
    """Compare runs. -> the table, and one line for every run that was left out, with the reason.

    by: keys of the choices or dotted keys of the config; () is `telling_keys`. metrics: names in
    metrics.json; () is MAE and RMSE of the test, of rankings top-1, 5 and 10. against: a group or
    baseline; None is the best baseline, by metric, that is no oracle, and of a group with an expert
    its own selection alone. groups: path of a run -> its group, instead of `by`. Groups are never
    averaged over protocols. Raises InputError.
    """
    results, left_out = _read(runs)
    _check_one_kind(results)
    if groups is not None:
        by = [GROUP]
        results = [_in_group(result, groups) for result in results]
    names = _metric_names(results, metrics)
    whole: list[Result] = []
    for result in results:
        if not any(name in result.metrics for name in names):
            left_out.append(f"{result.run.path}: it has no {' or '.join(names)}")
            continue
        try:
            known = [name for name in names if name in result.metrics]
            whole.append(replace(result, errors=unit_errors.read(result.run, known)))
        except InputError as error:
            left_out.append(f"{result.run.path}: damaged ({error})")
    whole = joined(whole)
    if not whole:
        raise InputError(f"no finished run is left to compare ({'; '.join(left_out) or 'none'})")
    keys = _checked_keys(whole, by) if by else telling_keys(whole)
    signatures = list(dict.fromkeys(_signature(result) for result in whole))
    rows = _rows(whole, keys, signatures, names)
    marks = [_letters(i) if len(signatures) > 1 else "" for i in range(len(signatures))]
    for row in rows:
        row.mark = ",".join(marks[i] for i in row.protocols if marks[i])
    notes = _averaged(rows, keys) + _not_read(rows)
    printed_alone = []
    for name in names:
        found = _infer(rows, name, against, resamples, seed)
        printed_alone += [name] if found is None else []
        notes += found or []
    if printed_alone:
        several = "are" if len(printed_alone) > 1 else "is"
        notes.append(
            f"{_some(printed_alone)} {several} not computed from predictions of the test: no "
            "interval, no difference"
        )
    protocols = {
        mark: next(_words(r) for r in whole if _signature(r) == signature)
        for mark, signature in zip(marks, signatures, strict=True)
    }
    comparison = Comparison(
        metrics=names,
        rows=rows,
        protocols=protocols,
        notes=list(dict.fromkeys(notes)),
        simulated=any(result.simulated for result in whole),
    )
    return comparison, left_out


# Reading


def _read(runs: Sequence[Run]) -> tuple[list[Result], list[str]]:
    """Finished runs, of equal ones the newest; and a line for each of the others."""
    found: dict[tuple[str, ...], tuple[str, Result]] = {}
    left_out = []
    for run in runs:
        if (status := run.status) != FINISHED:
            left_out.append(f"{run.path}: {status}")
            continue
        try:
            result = _result(run)
            created = str(run.manifest.get("created", ""))
        except (InputError, KeyError, TypeError, AttributeError, ValueError) as error:
            left_out.append(f"{run.path}: damaged ({error})")
            continue
        old = found.get(result.identity)
        if old is None or old[0] < created:
            found[result.identity] = created, result
        if old is not None:
            older = old[1] if old[0] < created else result
            left_out.append(f"{older.run.path}: the same run as a newer one")
    if not found:
        raise InputError(f"no finished run to compare ({'; '.join(left_out) or 'no run at all'})")
    return [result for _, result in found.values()], left_out


def _in_group(result: Result, groups: Mapping[str, str]) -> Result:
    return replace(result, choices={**result.choices, GROUP: groups[str(result.run.path)]})


def _result(run: Run) -> Result:
    config, spec, manifest = run.config, run.spec, run.manifest
    words = {str(k): str(v) for k, v in spec["protocol"].items()}
    simulated = bool(spec["simulated"])
    if simulated and not any("SIMULATED" in text for text in words.values()):
        words["data"] = f"SIMULATED {words.get('data', '')}".rstrip()
    evaluated = run.path.resolve().parent.name == EVALUATIONS and manifest.get("parent")
    if evaluated and not _on_the_same_data(run):
        words["trained on"] = "other data than it is tested on (fitexp evaluate)"
    choices = {str(k): str(v) for k, v in (manifest.get("choices") or {}).items()}
    hashes = str(manifest.get("data_hash") or ""), str(manifest.get("split_hash") or "")
    identity = str(manifest.get("identity") or run.path.resolve())
    return Result(
        run=run,
        seed=config.get("seed"),
        identity=(identity, str(evaluated or "")),
        choices={"model": model_name(run), **choices},
        config=dict(flat(config)),
        metrics={k: float(v) for k, v in run.metrics.items()},
        kind=str(spec["kind"]),
        usual=_usual(spec),
        simulated=simulated,
        protocol=words,
        not_read=described_words(run).get(NOT_READ, ""),
        data=hashes,
    )


def _on_the_same_data(evaluation: Run) -> bool:
    """Whether an evaluation is of the data that its run was trained on (with adapt or expert)."""
    try:
        trained = Run(evaluation.path.resolve().parents[1]).manifest
    except InputError:  # moved away
        return False
    return trained.get("data_hash") == evaluation.manifest.get("data_hash")


def _usual(spec: Mapping[str, Any]) -> tuple[str, ...]:
    if spec["kind"] == "exercises":
        return ("test/top1", "test/top5", "test/top10")
    if spec["kind"] == "windows":
        return (f"test/rmse_{spec['unit']}", f"test/mae_{spec['unit']}")
    return (f"test/mae_{spec['unit']}", f"test/rmse_{spec['unit']}")


def _check_one_kind(results: Sequence[Result]) -> None:
    first = {result.kind: result for result in reversed(results)}
    if len(first) > 1:
        found = " and ".join(f"{kind} ({first[kind].run.path})" for kind in sorted(first))
        raise InputError(f"runs of {found} share no metric: compare runs of one kind of data")


def flat(config: Config, place: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of a config's leaves; lists are leaves."""
    for key, value in config.items():
        name = f"{place}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def _metric_names(results: Sequence[Result], asked: Sequence[str]) -> list[str]:
    known = {
        name: None
        for result in results
        for name in result.metrics
        if not name.startswith((BASELINE, "ceiling/", "count/"))
    }
    if not asked:
        usual = list(dict.fromkeys(name for result in results for name in result.usual))
        names = [name for name in usual if name in known]
        if not names:
            raise InputError(
                f"these runs have no {usual[0]}: choose with --metric ({_some(known)})"
            )
        return names
    for name in asked:
        if name not in known:
            near = did_you_mean(closest(name, known)) or f" (there are {_some(known)})"
            raise InputError(f"no metric '{name}' in these runs{near}")
    return list(dict.fromkeys(asked))


def _some(names: Iterable[str]) -> str:
    words = list(names)
    return ", ".join(words[:6]) + (", ..." if len(words) > 6 else "")


# Groups


def telling_keys(results: Sequence[Result]) -> list[str]:
    """model, then as few choices and config keys as tell apart all runs that differ but by seed."""
    groups = {key for result in results for key in result.choices} - {"model"}
    keys = {key for result in results for key in result.config}

    def place(key: str) -> tuple[int, int]:
        head = key.partition(".")[0]
        return (ORDER.index(head) if head in ORDER else len(ORDER), first[key])

    first: dict[str, int] = {}
    for result in results:
        for key in result.config:
            first.setdefault(key, len(first))
    dotted = sorted((key for key in keys if key != "seed" and not _skipped(key)), key=place)
    chosen = ["model"]
    cells = len({_values(result, chosen) for result in results})
    for key in [*sorted(groups - {"accelerator"}), *dotted]:
        finer = len({_values(result, [*chosen, key]) for result in results})
        if finer > cells:
            chosen, cells = [*chosen, key], finer
    return chosen


def _skipped(key: str) -> bool:
    parts = key.split(".")
    return parts[-1] == "path" or any(
        ".".join(parts[:n]) in NOT_IDENTITY for n in range(1, len(parts) + 1)
    )


def _checked_keys(results: Sequence[Result], by: Sequence[str]) -> list[str]:
    known = {key for result in results for key in (*result.choices, *result.config)}
    for key in by:
        if key not in known:
            near = did_you_mean(closest(key, sorted(known))) or " in the config of these runs"
            raise InputError(f"--by: no key '{key}'{near}")
    return list(dict.fromkeys(by))


def _values(result: Result, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(_word(result, key) for key in keys)


def _word(result: Result, key: str) -> str:
    if key in result.choices:
        return result.choices[key]
    value = result.config.get(key, "-")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    return re.sub(r"[\s']", "", text)


def _name(result: Result, keys: Sequence[str]) -> str:
    last = [key.rpartition(".")[2] for key in keys]
    words = []
    for key, short in zip(keys, last, strict=True):
        word = _word(result, key)
        named = key if last.count(short) > 1 else short
        words.append(word if key in result.choices else f"{named}={word}")
    return " ".join(words)


def _natural(word: str) -> list[tuple[float, str]]:
    """A key that sorts 9 before 10."""
    parts = re.findall(r"[0-9]+(?:\.[0-9]+)?|[^0-9]+", word)
    return [(float(part), "") if part[0] in "0123456789" else (math.inf, part) for part in parts]


Signature = tuple[tuple[tuple[str, str], ...], tuple[str, str], tuple[tuple[str, str], ...]]


def _signature(result: Result) -> Signature:
    """What two runs must share to be of one protocol: its words, data, split and tested steps.

    Not which outcomes they were asked for, or which windows an expert.
    """
    tested = {
        name: errors.tested
        for (_, name), errors in result.errors.items()
        if not OF_EXPERT.fullmatch(name) and not name.startswith(TRANSFERRED)
    }
    return tuple(result.protocol.items()), result.data, tuple(sorted(tested.items()))


def _words(result: Result) -> dict[str, str]:
    data, split = (text[:8] or "unknown" for text in result.data)
    where = result.config.get("data.path")
    out = {**result.protocol, "data hash": data, "split hash": split}
    return out if where is None else {**out, "path": str(where)}


def _rows(
    results: Sequence[Result],
    keys: Sequence[str],
    signatures: Sequence[Signature],
    names: Sequence[str],
) -> list[Row]:
    groups: dict[tuple[Any, ...], Row] = {}
    under: dict[int, list[Result]] = {}
    for result in results:
        protocol = signatures.index(_signature(result))
        under.setdefault(protocol, []).append(result)
        place = (_values(result, keys), protocol)
        if place not in groups:
            groups[place] = Row(
                name=_name(result, keys), kind="group", results=[], prefix="", protocols=[protocol]
            )
        groups[place].results.append(result)
    ordered = [groups[p] for p in sorted(groups, key=lambda p: ([*map(_natural, p[0])], p[1]))]
    rows = [row for group in ordered for row in (group, *_controls(group, names))]
    beside: dict[tuple[Any, ...], Row] = {}
    for protocol, members in sorted(under.items()):
        prefixes = {
            f"{before}test/".rsplit("test/", 1)[0]: None
            for result in members
            for name in result.metrics
            for before, found, _ in [name.partition("test/")]
            if found and before.startswith((BASELINE, "ceiling/")) and before not in CONTROLS
        }
        for prefix in prefixes:
            having = [r for r in members if any(f"{prefix}{n}" in r.metrics for n in names)]
            if not having:
                continue
            figures = [
                tuple(r.metrics.get(f"{prefix}{n}", math.nan) for n in names) for r in having
            ]
            if np.allclose(figures, figures[0], rtol=1e-9, equal_nan=True):
                having = having[:1]  # it does not depend on the seed
            steps = tuple(
                having[0].errors[prefix, n].tested if (prefix, n) in having[0].errors else protocol
                for n in names
            )
            same = tuple(f"{value:.9g}" for value in figures[0])
            equal = (prefix, len(having) > 1 and protocol, steps, same)
            if equal in beside:  # of another protocol, but the same figures on the same steps
                beside[equal].protocols.append(protocol)
                continue
            ceiling = prefix.startswith("ceiling/")
            name = LABELS.get(prefix, prefix.split("/")[1])
            beside[equal] = Row(
                name=name,
                kind="ceiling" if ceiling else "baseline",
                results=having,
                prefix=prefix,
                protocols=[protocol],
            )
    rows += sorted(beside.values(), key=lambda row: row.kind)  # stable: baseline, ceiling
    for row in rows:
        for name in names:
            values = [
                r.metrics[row.prefix + name] for r in row.results if row.prefix + name in r.metrics
            ]
            if values:
                row.cells[name] = Cell(values=values, digits=digits(name))
    return rows


def _controls(group: Row, names: Sequence[str]) -> list[Row]:
    """Rows of a group's own controls, which no other group shares."""
    found = []
    for prefix in CONTROLS:
        having = [r for r in group.results if any(f"{prefix}{n}" in r.metrics for n in names)]
        name = f"{group.name}: {LABELS[prefix]}"
        own = Row(
            name=name,
            kind="control",
            results=having,
            prefix=prefix,
            protocols=group.protocols,
            of=group.name,
        )
        found += [own] if having else []
    return found


def _letters(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _averaged(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """What groups were averaged over: seeds, and what else differs within one."""
    seeds = sorted({str(r.seed) for row in rows if row.kind == "group" for r in row.results})
    notes = [f"averaged over runs of seed {', '.join(seeds)}; groups by {', '.join(keys)}"]
    mixed: dict[str, set[str]] = {}
    for row in rows:
        if row.kind == "group":
            for key in telling_keys(row.results):
                words = {_word(result, key) for result in row.results}
                if len(words) > 1:
                    mixed.setdefault(key, set()).update(words)
    for key, all_words in mixed.items():
        notes.append(f"AVERAGED OVER MORE THAN SEEDS: {key} = {', '.join(sorted(all_words))}")
    return notes


def _not_read(rows: Sequence[Row]) -> list[str]:
    """Which groups leave what of the data's protocol: two may offer the same and read other."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for words in {r.not_read for r in row.results if row.kind == "group" and r.not_read}:
            found.setdefault(words, []).append(row.name)
    return [
        f"not read by {', '.join(dict.fromkeys(names))}: {words}" for words, names in found.items()
    ]


# Inference


def _by_unit(runs: Sequence[UnitErrors]) -> Errors:
    return Errors(
        total=np.stack([run.total for run in runs], axis=1),
        count=np.stack([run.count for run in runs], axis=1),
        form=runs[0].form,
    )


def _by_user(errors: Errors, user: NDArray[np.int64]) -> Errors:
    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros((int(user.max()) + 1, values.shape[1]))
        np.add.at(out, user, values)
        return out

    return Errors(total=summed(errors.total), count=summed(errors.count), form=errors.form)


def _infer(
    rows: Sequence[Row], name: str, against: str | None, resamples: int, seed: int
) -> list[str] | None:
    """Fill intervals, differences and p-values of one metric. -> notes; None: it has no units."""
    notes: list[str] = []
    tests: dict[str, list[tuple[Row, list[UnitErrors]]]] = {}
    for row in rows:
        errors = [r.errors[row.prefix, name] for r in row.results if (row.prefix, name) in r.errors]
        if errors:
            tests.setdefault(errors[0].tested, []).append((row, errors))
    if not tests:
        return None
    named = _named(rows, against) if against is not None else None
    lacking: list[str] = []
    said: dict[str, list[str]] = {}  # what is resampled -> marks of protocols
    for members in tests.values():
        marks = [mark for row, _ in members for mark in row.mark.split(",") if mark]
        first = members[0][1][0]
        user = np.unique(first.users, return_inverse=True)[1]
        users, units = int(user.max()) + 1, len(first.units)
        prepared = [_by_unit(errors) for _, errors in members]
        few = users < MIN_USERS
        strata = None
        clusters = f"{users} users"
        if few:
            clusters = f"{_counted(units, 'unit')} within {_counted(users, 'user')}"
            if units < 2:
                said.setdefault(f"FEW USERS: {clusters}, so no interval and no difference", marks)
                continue
            strata = statistics.joined_strata(user)
        else:
            prepared = [_by_user(errors, user) for errors in prepared]
        said.setdefault(
            f"95 % percentile intervals over {resamples:,} resamples of {clusters}; seeds as they "
            "are" + "; FEW USERS: this says nothing of other people" * few,
            [],
        ).extend(marks)
        with np.errstate(invalid="ignore"):  # a resample without a window that counts
            samples = statistics.bootstrap(prepared, strata=strata, resamples=resamples, seed=seed)
        for k, (row, _) in enumerate(members):
            cell = row.cells[name]
            cell.low, cell.high = statistics.interval(samples[:, k])
            cell.clusters, cell.few_users = clusters, few
        best = _reference([row for row, _ in members], name, named, against)
        if best is not None:
            members[best][0].cells[name].reference = True
        for k, (row, _) in enumerate(members):
            own = None if named else _own_control([row for row, _ in members], row)
            reference = best if own is None else own
            if reference is None and row.kind == "group":
                lacking.append(row.label)
            if reference in (None, k) or row.kind in ("control", "ceiling"):
                continue
            assert reference is not None
            found = statistics.paired_difference(
                prepared[k], prepared[reference], samples[:, k], samples[:, reference]
            )
            cell = row.cells[name]
            cell.against, cell.difference = members[reference][0].label, found.value
            if own is not None:
                cell.against = OWN
            cell.difference_low, cell.difference_high, cell.p = found.low, found.high, found.p
    for text, marks in said.items():
        where = ", ".join(dict.fromkeys(marks))
        notes.append(f"({where}) {text}" if where and len(said) > 1 else text)
    cells = [row.cells[name] for row in rows if name in row.cells]
    tested = [cell for cell in cells if cell.p is not None]
    adjusted = statistics.holm([cell.p for cell in tested if cell.p is not None])
    for cell, p in zip(tested, adjusted, strict=True):
        cell.p_adjusted = float(p)
    if tested:
        notes.append(
            "differences are paired (the same resamples); p two-sided, with Holm's correction over "
            f"the {_counted(len(tested), 'row')} of a metric"
        )
    if lacking:
        names = " or ".join(row.label for row in named or ()) or "any baseline"
        notes.append(
            f"no difference in {name} for {', '.join(lacking)}: not tested on the steps of {names}"
        )
    return notes


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _named(rows: Sequence[Row], against: str) -> list[Row]:
    """The groups or baselines that `against` names: a label, a name, or some of a name's words."""
    able = [row for row in rows if row.kind in ("group", "baseline")]
    for fits in (
        lambda row: row.label == against,
        lambda row: row.name == against,
        lambda row: set(against.split()) <= set(row.name.split()),
    ):
        found = [row for row in able if fits(row)]
        if len({row.name for row in found}) > 1:
            options = ", ".join(dict.fromkeys(f"'{row.name}'" for row in found))
            raise InputError(f"--against '{against}' names several groups: {options}")
        if found:
            return found
    labels = dict.fromkeys(row.label for row in able)
    near = did_you_mean(closest(against, labels)) or f" (there are {', '.join(labels)})"
    raise InputError(f"--against: no group or baseline '{against}'{near}")


def _own_control(members: Sequence[Row], group: Row) -> int | None:
    """Place of the selection alone of a group with an expert, which the group is compared with."""
    own = (
        k for k, row in enumerate(members) if row.prefix == CONTROLS[0] and row.belongs_to(group)
    )
    return next(own, None)


def _reference(
    members: Sequence[Row], name: str, named: Sequence[Row] | None, against: str | None
) -> int | None:
    """Which of the rows that were tested on the same steps is the reference; None: none of them."""
    if named is not None:
        found = [k for k, row in enumerate(members) if row in named]
        if len(found) > 1:
            options = ", ".join(f"'{members[k].label}'" for k in found)
            raise InputError(f"--against '{against}' stands under several protocols: {options}")
        return found[0] if found else None
    baselines = [
        k
        for k, row in enumerate(members)
        if row.kind == "baseline" and not row.name.endswith(ORACLE)
    ]
    best = max if higher_is_better(name) else min
    return best(baselines, key=lambda k: members[k].cells[name].mean, default=None)
