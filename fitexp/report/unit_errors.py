"""What a test's files say of every user and workout, for intervals and paired differences."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.errors import InputError
from fitexp.report import statistics
from fitexp.report.statistics import Errors, Form
from fitexp.run import PREDICTIONS, RECOMMEND, RECOMMENDED, SCORES, TRANSFERRED, Run

FROM_PREDICTIONS = re.compile(
    r"test/(?:at_(?P<at>[^/]+)/)?(?P<error>mae|rmse|mse)(?P<sum>_sequence)?_(?!workout_)"
)
RANKS = re.compile(
    r"test/(?P<name>(?:top1|top5|top10|mrr|ndcg10)(?:_seen_mask)?"
    r"|(?:top1|top5|top10)_(?:answered|asked|system)|asked)"
)
BASELINE = "baseline/"
CEILING = "ceiling/noise_floor/"


@dataclass(frozen=True, kw_only=True)
class UnitErrors:
    """Errors of one run and metric by unit, sorted by (user, unit); tested: digest of the steps.

    Of a metric of ranks: its value for each workout (tested: of workouts and candidates), or its
    sum over the answers to each event (of a ranking, a unit; tested: of events and what came).
    Of an AUC: users are the units, total their scores, count their classes (tested: of users and
    classes).
    form: what `statistics.pooled` makes of them.
    """

    users: NDArray[Any]
    units: NDArray[Any]
    total: NDArray[np.float64]
    count: NDArray[np.float64]
    form: Form
    tested: str

    @property
    def value(self) -> float:
        """The metric itself."""
        one = Errors(total=self.total[:, None], count=self.count[:, None], form=self.form)
        return float(statistics.pooled(one))


Found = dict[tuple[str, str], UnitErrors]  # (prefix of the name, metric) -> errors


def read(run: Run, names: Sequence[str]) -> Found:
    """Errors by unit of those metrics that have any, of the model and all that stands beside it.

    Raises InputError for a file that is missing, cannot be read or does not give what metrics.json
    says.
    """
    found: Found = {}
    errors = [name for name in names if FROM_PREDICTIONS.match(name)]
    ranks = [name for name in names if RANKS.fullmatch(name)]
    figures = [name for name in names if name.startswith(RECOMMENDED)]
    aucs = [name for name in names if name.startswith(TRANSFERRED)]
    file, again = PREDICTIONS, ""
    try:
        if errors or ranks:
            table = pd.read_parquet(run.file(PREDICTIONS))
            horizons = run.spec.get("horizons") or {}
            for name in errors:
                found |= _of_predictions(table, name, horizons)
            for name in ranks:
                found |= _of_ranks(table, name)
        if figures:
            file, again = RECOMMEND, f"; fitexp recommend {run.path} --evaluate writes it"
            workouts = json.loads(run.file(RECOMMEND).read_text(encoding="utf-8"))["workouts"]
            for name in figures:
                found |= _of_recommended(workouts, name)
        if aucs:
            file, again = SCORES, f"; fitexp transfer {run.path} --evaluate writes it"
            table = pd.read_parquet(run.file(SCORES))
            for name in aucs:
                found |= _of_scores(table, name)
    except FileNotFoundError:
        raise InputError(f"no {file}{again}") from None
    except Exception as error:  # pyarrow's and pandas' own kinds, a missing column
        raise InputError(f"{file}: {type(error).__name__}: {error}{again}") from error
    own = [("", name) for name in (*errors, *ranks, *figures, *aucs)]
    for prefix, name in dict.fromkeys([*own, *found]):
        value = found[prefix, name].value if (prefix, name) in found else math.nan
        printed = run.metrics.get(f"{prefix}{name}", math.nan)
        if not math.isclose(value, printed, rel_tol=1e-6):
            file = RECOMMEND if name in figures else SCORES if name in aucs else PREDICTIONS
            raise InputError(f"{file} does not give the {prefix}{name} of metrics.json")
    return found


def _of_recommended(workouts: Sequence[Any], name: str) -> Found:
    """A figure of ranks by workout, of the model and of every other way of ranking."""
    ordered = sorted(workouts, key=lambda one: (one["user"], one["workout"]))
    asked = [(one["user"], one["workout"], one["candidates"]) for one in ordered]
    figure = name.removeprefix(RECOMMENDED)
    return {
        (f"{BASELINE}{way}/" if way else "", name): UnitErrors(
            users=np.array([one["user"] for one in ordered], object),
            units=np.array([one["workout"] for one in ordered], object),
            total=np.array([one["figures"][way][figure] for one in ordered], np.float64),
            count=np.ones(len(ordered)),
            form="mean",
            tested=hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        )
        for way in ordered[0]["figures"]
    }


def _of_predictions(table: pd.DataFrame, name: str, horizons: Mapping[str, int]) -> Found:
    match = FROM_PREDICTIONS.match(name)
    assert match
    if horizons:
        table = table[table["steps_ahead"] == (horizons[match["at"]] if match["at"] else 1)]
    users, units = (table[c].astype(str).to_numpy(object) for c in ("user_id", "unit_id"))
    codes = table.groupby([users, units], sort=True).ngroup().to_numpy()
    _, first = np.unique(codes, return_index=True)
    target = table["target"].to_numpy(np.float64)
    steps = pd.DataFrame(
        {"user": users, "unit": units, "step": table["step"].to_numpy(np.int64)}
        | {"target": np.round(target, 3)}
    )
    hashes = pd.util.hash_pandas_object(steps, index=False).to_numpy()
    tested = f"{len(table)}-{int(hashes.sum(dtype=np.uint64)):x}"  # whatever the order of rows
    counts = np.bincount(codes).astype(np.float64)
    columns = {"": "prediction"} | {
        f"{BASELINE}{c.removeprefix('baseline_')}/": c
        for c in map(str, table.columns)
        if c.startswith("baseline_")
    }
    if "expected" in table:
        columns[CEILING] = "expected"
    if match["error"] == "mae" and "median" in table:
        columns[""] = "median"
    form: Form = "root" if match["error"] == "rmse" else "mean"
    squared = match["error"] != "mae"
    out = {}
    for prefix, column in columns.items():
        error = np.abs(table[column].to_numpy(np.float64) - target)
        out[prefix, name] = UnitErrors(
            users=users[first],
            units=units[first],
            total=np.bincount(codes, error**2 if squared else error).astype(np.float64),
            count=np.ones(len(first)) if match["sum"] else counts,
            form=form,
            tested=tested,
        )
    return out


def _of_ranks(table: pd.DataFrame, name: str) -> Found:
    """A figure of ranks summed over the answers to each event, of every prefix in `figures_of`.

    Answers without a value, as of asked windows in top1_answered, count nothing. An event is
    answered by several models where folds are repeated; tested holds it once.
    """
    from fitexp.report.rankings import figures_of  # draws: matplotlib

    match = RANKS.fullmatch(name)
    assert match
    events = table[["user_id", "unit_id", "target"]].astype(str)
    codes = events.groupby(["user_id", "unit_id"], sort=True).ngroup().to_numpy()
    _, first = np.unique(codes, return_index=True)
    asked = events.iloc[first]
    hashes = pd.util.hash_pandas_object(asked, index=False).to_numpy()
    return {
        (prefix, name): UnitErrors(
            users=asked["user_id"].to_numpy(object),
            units=asked["unit_id"].to_numpy(object),
            total=np.bincount(codes, np.nan_to_num(values)).astype(np.float64),
            count=np.bincount(codes, np.isfinite(values)).astype(np.float64),
            form="mean",
            tested=f"{len(asked)}-{int(hashes.sum(dtype=np.uint64)):x}",
        )
        for prefix, values in figures_of(table, match["name"]).items()
    }


def _of_scores(table: pd.DataFrame, name: str) -> Found:
    """Scores and classes of the test users of an outcome, of every representation."""
    found: Found = {}
    for prefix, rows in table[table["metric"] == name].groupby("prefix"):
        own = rows.sort_values("user_id")
        users, upper = own["user_id"].to_numpy(object), own["upper"].to_numpy(np.float64)
        asked = json.dumps([*zip(users.tolist(), upper.tolist(), strict=True)])
        found[str(prefix), name] = UnitErrors(
            users=users,
            units=users,
            total=own["score"].to_numpy(np.float64),
            count=upper,
            form="auc",
            tested=hashlib.sha256(asked.encode()).hexdigest(),
        )
    return found
