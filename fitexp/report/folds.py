"""Runs of one protocol that differ by fold only, as one: every athlete unseen once."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fitexp.report.compare import Result
    from fitexp.report.unit_errors import UnitErrors

FOLD, FOLDS, SPLIT = "data.fold", "data.folds", "data.split"


def joined(results: Sequence[Result]) -> list[Result]:
    """Results with complete sets of folds of users pooled; others as they are.

    A pooled result has the test units of all folds; its figures are those that can be computed
    from them, `metrics` of one fold are not kept.
    """
    groups: dict[Any, list[Result]] = {}
    out: list[Result] = []
    for result in results:
        if _of_users(result):
            groups.setdefault(_but_fold(result), []).append(result)
        else:
            out.append(result)
    for group in groups.values():
        folds = sorted(int(result.config[FOLD]) for result in group)
        if len(group) > 1 and folds == list(range(int(group[0].config[FOLDS]))):
            out.append(_pooled(sorted(group, key=lambda result: int(result.config[FOLD]))))
        else:
            out += group
    order = {id(result.run): place for place, result in enumerate(results)}
    return sorted(out, key=lambda result: order[id(result.run)])


def _of_users(result: Result) -> bool:
    """Whether it is one of folds with other users in each: data.split=user, or of windows."""
    if result.kind == "windows":
        return result.config.get(FOLDS) is not None
    return result.config.get(SPLIT) == "user"


def _but_fold(result: Result) -> str:
    """What two folds of one run share: config but the fold, choices."""
    config = {key: value for key, value in result.config.items() if key != FOLD}
    return repr((sorted(config.items(), key=str), sorted(result.choices.items())))


def _pooled(group: Sequence[Result]) -> Result:
    first = group[0]
    keys = [key for key in first.errors if all(key in result.errors for result in group)]
    errors = {key: _concatenated([result.errors[key] for result in group]) for key in keys}
    metrics = {}
    for (prefix, name), found in errors.items():
        metrics[f"{prefix}{name}"] = found.value
    split = re.sub(r"fold \d+ of (\d+)", r"\1 folds pooled", first.protocol.get("split", ""))
    data, parts = ("".join(found).encode() for found in zip(*(r.data for r in group), strict=True))
    return replace(
        first,
        config={**first.config, FOLD: "all"},
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        protocol={**first.protocol, "split": split},
        data=(hashlib.sha256(data).hexdigest(), hashlib.sha256(parts).hexdigest()),
        identity=tuple(part for result in group for part in result.identity),
        errors=errors,
    )


def _concatenated(parts: Sequence[UnitErrors]) -> UnitErrors:
    users = np.concatenate([part.users for part in parts])
    units = np.concatenate([part.units for part in parts])
    order = np.lexsort((units.astype(str), users.astype(str)))
    return replace(
        parts[0],
        users=users[order],
        units=units[order],
        total=np.concatenate([part.total for part in parts])[order],
        count=np.concatenate([part.count for part in parts])[order],
        tested=" ".join(part.tested for part in parts),
    )
