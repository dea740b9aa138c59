"""What folders of runs tell: list, filter and sort them, compare two, train one again.

Reads manifests and metrics, of a config only what a key asks for. No torch, pandas or hydra.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from fitexp.errors import InputError
from fitexp.run import DAMAGED, Run, find_runs
from fitexp.targets import closest, did_you_mean

WIDTH = 100  # columns of every table
PROTOCOL = ("regime", "split", "history")  # words of the manifest that tell protocols apart
FIELDS = (
    "run",
    "status",
    "model",
    "data",
    "protocol",
    *PROTOCOL,
    "target",
    "seed",
    "created",
    "seconds",
    "parent",
    "error",
)
ALIASES = {"time": "seconds"}
SHOWN = ("run", "status", "model", "data", "protocol", "seed", "time")
MAE, TOP1 = "test/mae_", "test/top1"  # what the last column of a table of runs shows
NARROWEST = 6  # columns that a cell keeps however many there are
HASH_DIGITS = 12


# A run as a row


class Listed:
    """One run folder, read once; of a damaged one what can be read. Never raises InputError."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.manifest = _quietly(lambda: run.manifest)
        self.status = run.status_by(self.manifest) if self.manifest else DAMAGED
        try:
            values: Mapping[str, Any] = run.metrics
        except InputError:
            values, self.status = {}, DAMAGED
        self.metrics = {name: _number(value) for name, value in values.items() if _is_number(value)}
        choices = self.manifest.get("choices")
        self.choices = choices if isinstance(choices, dict) else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dotted keys of config.yaml; {} where it cannot be read."""
        return dotted(_quietly(lambda: self.run.config))

    @cached_property
    def fields(self) -> dict[str, Any]:
        manifest = self.manifest
        words = {name: manifest.get(name) for name in PROTOCOL}
        if manifest and "split" not in manifest:  # older than these words
            words |= {name: self.config.get(f"data.{name}") for name in PROTOCOL}
        seconds = manifest.get("seconds")
        return {
            "run": str(self.run.path),
            "status": self.status,
            "model": self.choices.get("model"),
            "data": self.choices.get("data"),
            "protocol": " ".join(str(w) for w in words.values() if w is not None) or None,
            **words,
            "target": manifest.get("target"),
            "seed": manifest.get("seed"),
            "created": manifest.get("created"),
            "seconds": _number(seconds) if _is_number(seconds) else None,
            "parent": manifest.get("parent"),
            "error": manifest.get("error"),
        }

    def row(self) -> dict[str, Any]:
        return {**self.fields, "metrics": self.metrics}

    def has(self, key: str) -> bool:
        """Whether this run has such a key; a config is read only for what is nothing else."""
        key = ALIASES.get(key, key)
        others = (self.fields, self.choices, self.metrics)
        return any(key in known for known in others) or key in self.config

    def value(self, key: str) -> Any:
        """Of a field, a config group, a metric or a dotted config key; None where it has none."""
        key = ALIASES.get(key, key)
        for known in (self.fields, self.choices, self.metrics):
            if key in known:
                return known[key]
        return self.config.get(key)


def _quietly(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except InputError:
        return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    """The number where it is finite and can be a float."""
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def dotted(node: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of a nested mapping by dotted key; an empty mapping is a leaf."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            found |= dotted(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def word(value: object) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)


# Filter and sort


@dataclass(frozen=True)
class Term:
    """KEY=GLOB, KEY!=GLOB, or KEY and one of < <= > >= and a number."""

    key: str
    sign: str
    value: str

    def holds(self, value: object) -> bool:
        """A missing value equals only `null`, differs from all else, and is in no order."""
        if self.sign == "=":
            return self._equals(value)
        if self.sign == "!=":
            return not self._equals(value)
        if not _is_number(value):
            return False
        left, right = _number(value), float(self.value)
        if left is None:
            return False
        return {
            "<": left < right,
            "<=": left <= right,
            ">": left > right,
            ">=": left >= right,
        }[self.sign]

    def _equals(self, value: object) -> bool:
        text = word(value)
        if text == self.value or fnmatchcase(text, self.value):
            return True
        if self.key == "run" and fnmatchcase(Path(text).name, self.value):
            return True
        number = _parsed(self.value)
        return number is not None and _is_number(value) and value == number


def _parsed(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if not math.isnan(number) else None


def terms(text: str) -> list[Term]:
    """Read `model=fitrec* test/mae_bpm<8`: terms between blanks, quotes as in a shell."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"cannot read the filter {text!r}: {error}") from error
    found = []
    for term in words:
        match = re.fullmatch(r"([^=!<>]+)(<=|>=|!=|==|=|<|>)(.*)", term, re.DOTALL)
        if match is None:
            raise InputError(
                f"cannot read the filter {term!r}: it takes KEY=GLOB, KEY!=GLOB, KEY<NUMBER, "
                "KEY<=NUMBER, KEY>NUMBER or KEY>=NUMBER"
            )
        key, sign, value = match[1].strip(), match[2], match[3].strip()
        if sign[0] in "<>" and _parsed(value) is None:
            raise InputError(f"cannot read the filter {term!r}: {sign} takes a number")
        found.append(Term(key, "=" if sign == "==" else sign, value))
    return found


def listed(
    folder: Path, filters: Iterable[str] = (), sort: str | None = None
) -> tuple[list[Listed], list[str]]:
    """Runs in and under a folder for which every filter holds -> (runs, keys worth a column).

    sort: a key, `-KEY` descending; runs without a value come last. A key that has one value in
    all these runs is worth none. Raises InputError for keys that no run has.
    """
    found = [Listed(run) for run in find_runs(folder)]
    wanted = [term for text in filters for term in terms(text)]
    order = (sort or "").removeprefix("-")
    if sort is not None and not order:
        raise InputError("--sort needs a key, as --sort test/mae_bpm or --sort -time")
    fixed = {term.key for term in wanted if term.sign == "=" and not set("*?[") & {*term.value}}
    asked = dict.fromkeys([*(term.key for term in wanted), *([order] if order else [])])
    for key in asked:
        _check_key(key, found)
    kept = [run for run in found if all(term.holds(run.value(term.key)) for term in wanted)]
    if order:
        kept = _sorted(kept, order, descending=str(sort).startswith("-"))
    return kept, [key for key in asked if key not in fixed]


def _check_key(key: str, runs: Sequence[Listed]) -> None:
    if not runs or key in FIELDS or key in ALIASES or any(run.has(key) for run in runs):
        return
    known = [*FIELDS, *ALIASES]
    for run in runs:
        known += [*run.choices, *run.metrics, *run.config]
    near = did_you_mean(closest(key, dict.fromkeys(known)))
    kinds = "; keys are fields of a row, metrics (test/mae_bpm) and config keys (model.hidden)"
    raise InputError(f"no run has the key '{key}'{near or kinds}")


def _sorted(runs: Iterable[Listed], key: str, descending: bool) -> list[Listed]:
    """Stable; numbers before words; missing values last either way."""
    there: list[tuple[tuple[bool, float, str], Listed]] = []
    missing: list[Listed] = []
    for run in runs:
        value = run.value(key)
        if value is None or (_is_number(value) and _number(value) is None):
            missing.append(run)
        elif _is_number(value):
            there.append(((False, float(value), ""), run))
        else:
            there.append(((True, 0.0, word(value)), run))
    there.sort(key=lambda pair: pair[0], reverse=descending)
    return [run for _, run in there] + missing


# Tables


def runs_table(runs: Iterable[Listed], asked: Iterable[str] = ()) -> str:
    """The rows of `ls`; keys that were asked for get a column of their own."""
    known = (*SHOWN, *PROTOCOL, "seconds", TOP1)
    extra = [k for k in asked if k not in known and not k.startswith(MAE)]
    lines = []
    runs = list(runs)
    for run in runs:
        fields = run.fields
        cells = [fields[key] for key in ("run", "status", "model", "data", "protocol", "seed")]
        cells += [duration(fields["seconds"]), main_metric(run.metrics)]
        lines.append([*map(_cell, cells), *(_cell(run.value(key)) for key in extra)])
    return table([*SHOWN, main_header(run.metrics for run in runs), *extra], lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(word(value))


def printable(text: str) -> str:
    """Without line ends and escapes that a strange manifest may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def main_metric(metrics: Mapping[str, float | None]) -> str:
    """Test MAE, one for each horizon; of rankings top-1; of others their first test figure."""
    if (top1 := metrics.get(TOP1)) is not None:
        return f"top1 {top1:.1f} %"
    at = [name for name in metrics if re.match(r"test/at_[^/]+/mae_(?!sequence_|workout_)", name)]
    names = at or [name for name in metrics if name.startswith(MAE)][:1]
    if not names:
        first = next((name for name in metrics if name.startswith("test/")), None)
        value = metrics[first] if first else None
        return "-" if value is None or first is None else f"{value:.4g} {first.split('/')[-1]}"
    unit = names[0].rpartition("mae_")[2].removeprefix("sequence_").replace("_", "/")
    values = [metrics[name] for name in names]
    if not any(value is not None for value in values):
        return "-"
    return " ".join([*("-" if v is None else f"{v:.2f}" for v in values), unit])


def main_header(metrics: Iterable[Mapping[str, float | None]]) -> str:
    """What the column of `main_metric` is called: rankings name their figure in the cell."""
    return "test" if any(TOP1 in found for found in metrics) else "test mae"


def duration(seconds: float | None) -> str:
    if seconds is None or not 0 <= seconds < 1e9:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def table(header: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """At most WIDTH columns: a first cell that leaves too little room gets a line of its own.

    right: numbers of the columns that are set flush right.
    """
    rows = [list(header), *map(list, lines)]
    count = len(header)
    widths = [max(len(row[column]) for row in rows) for column in range(1, count)]
    while sum(widths) + 2 * len(widths) > WIDTH and max(widths) > NARROWEST:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    room = max(0, WIDTH - sum(widths) - 2 * len(widths))
    room = min(room, max(len(row[0]) for row in rows))
    out = []
    for name, *rest in rows:
        cells = []
        for column, (text, width) in enumerate(zip(rest, widths, strict=True), 1):
            text = clipped(text, width)
            cells.append(text.rjust(width) if column in right else text.ljust(width))
        if len(name) > room:
            out.append(name)
            name = ""
        out.append("  ".join([name.ljust(room), *cells]).rstrip())
    return "\n".join(out)


def clipped(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


# Two runs


def facts(run: Run) -> dict[str, str]:
    """How a run came to be, apart from its config: versions, code, hashes."""
    manifest = run.manifest
    git = manifest.get("git")
    code: Mapping[str, Any] = git if isinstance(git, dict) else {}
    packages = manifest.get("packages")
    found: dict[str, Any] = {
        "fitexp": manifest.get("version"),
        "code": code.get("revision"),
        "code dirty": code.get("dirty"),
        "python": manifest.get("python"),
        **(packages if isinstance(packages, dict) else {}),
        "host": manifest.get("host"),
        "data hash": manifest.get("data_hash"),
        "split hash": manifest.get("split_hash"),
    }
    return {key: word(value) for key, value in found.items() if value is not None}


def difference(old: Run, new: Run) -> dict[str, Any]:
    """What `fitexp diff --json` prints: config and facts that differ, every metric of both.

    A side that lacks a key lacks it here too. difference: new - old, where both are numbers.
    """
    ours, theirs = old.metrics, new.metrics
    metrics: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = (_number(m[name]) if name in m else None for m in (ours, theirs))
        metrics[name] = {
            "old": a,
            "new": b,
            "difference": None if a is None or b is None else b - a,
        }
    return {
        "old": str(old.path),
        "new": str(new.path),
        "config": _changes(dotted(old.config), dotted(new.config)),
        "made": _changes(facts(old), facts(new)),
        "metrics": metrics,
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Keys whose values differ -> {"old": ..., "new": ...} without the side that has none."""
    sides = {"old": old, "new": new}
    return {
        key: {side: values[key] for side, values in sides.items() if key in values}
        for key in dict.fromkeys([*old, *new])
        if key not in old or key not in new or old[key] != new[key]
    }


def difference_text(found: Mapping[str, Any]) -> str:
    """`difference` for reading; of the metrics the model's own, `--json` has the rest."""
    parts = [f"old  {found['old']}", f"new  {found['new']}"]
    for name, what in (("config", "config"), ("made", "how they were made")):
        changes = found[name]
        parts.append("")
        parts.append(change_table(what, changes) if changes else f"{what}: no difference")
    lines = []
    for name, values in found["metrics"].items():
        if not name.startswith(("baseline/", "ceiling/")):
            lines.append([name, *(_figure(values[key]) for key in ("old", "new", "difference"))])
    parts.append("")
    if lines:
        parts.append(table(["metric", "old", "new", "difference"], lines, right=(1, 2, 3)))
    else:
        parts.append("metrics: neither run has any")
    return "\n".join(parts)


def change_table(what: str, changes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for key, sides in changes.items():
        cells = [_cell_of_change(key, sides[s]) if s in sides else "-" for s in ("old", "new")]
        lines.append([key, *cells])
    return table([what, "old", "new"], lines)


def _cell_of_change(key: str, value: object) -> str:
    text = printable(word(value))
    return text[:HASH_DIGITS] if key in ("code", "data hash", "split hash") else text


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def agreement(old: Mapping[str, float], new: Mapping[str, float]) -> str:
    """Whether the figures of two runs agree: exactly, or the largest relative difference."""
    both = [name for name in old if name in new]
    if not both:
        return "figures: none in common, nothing to compare"
    alone = len(old) + len(new) - 2 * len(both)
    rest = f"; {alone} are in one run only" if alone else ""
    apart = {name: _apart(old[name], new[name]) for name in both}
    name = max(apart, key=lambda name: apart[name])
    if apart[name] == 0:
        return f"figures: all {len(both)} agree exactly{rest}"
    differ = sum(value > 0 for value in apart.values())
    return (
        f"figures: {differ} of {len(both)} differ; the largest relative difference is "
        f"{apart[name]:.2g}: {name} {old[name]:.8g}, now {new[name]:.8g}{rest}"
    )


def _apart(a: float, b: float) -> float:
    """|a - b| over the larger of |a| and |b|; infinite where only one is a number."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    apart = abs(a - b) / max(abs(a), abs(b))
    return math.inf if math.isnan(apart) else apart


# Training again


def named(run: Run) -> Run:
    """The run by a path that ends in its folder's name, which `.` does not."""
    return run if run.path.name not in ("", "..") else Run(os.path.abspath(run.path))


def rerun_name(run: Run) -> str:
    return f"{run.path.name}_rerun"


def reruns(run: Run) -> list[Run]:
    """Folders beside a run that `fitexp rerun` made of it, oldest first."""
    pattern = re.compile(rf"{re.escape(rerun_name(run))}(?:_(\d+))?")
    found: list[tuple[int, Path]] = []
    for path in run.path.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path.is_dir():
            parent = Listed(Run(path)).fields["parent"]
            if isinstance(parent, str) and Path(parent).name == run.path.name:
                found.append((int(match[1] or 1), path))
    return [Run(path) for _, path in sorted(found)]


def rerun_report(old: Run, new: Run) -> str:
    """What differs between a run and the one trained again from its folder; do figures agree?"""
    changes = difference(old, new)["made"]
    what = "differs from the first run"
    lines = [change_table(what, changes) if changes else f"{what}: nothing"]
    same_code = "code" not in changes and "fitexp" not in changes
    dirty = facts(old).get("code dirty") == "true" or facts(new).get("code dirty") == "true"
    if same_code and dirty:
        lines.append("the code has uncommitted changes: equal revisions may differ")
    if old.metrics:
        lines.append(agreement(old.metrics, new.metrics))
    else:
        lines.append(f"figures: {old.path} has none ({old.status}), nothing to compare")
    return "\n".join(lines)
