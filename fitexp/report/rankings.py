"""From probabilities of items to predictions.parquet, metrics.json and the table of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import metrics
from fitexp.data.prepare import Arrays, Prepared
from fitexp.data.spec import NOT_READ
from fitexp.models.fitted import Fitted
from fitexp.report.table import (
    CONTROLS,
    LABELS,
    described_words,
    figures,
    model_name,
    training_words,
)
from fitexp.report.tested import write_tested
from fitexp.report.text import labelled
from fitexp.run import Run

Float = NDArray[np.float64]
Int = NDArray[np.int64]
CEILING = "ceiling/bayes/"
BEFORE = "before_adapting/"
SEEN = "_seen_mask"
FIGURES = ("top1", "top5", "top10", "mrr", "ndcg10")
ASKED = "asked"  # windows that an expert was asked about, percent
CONSULTED = ("_answered", "_asked", "_system")  # of a figure, where an expert is asked
TOPS = ("top1", "top5", "top10")  # those that have them
COLUMNS = {  # of the table -> metric, digits
    "top-1\n%": ("top1", 1),
    "top-5\n%": ("top5", 1),
    "top-10\n%": ("top10", 1),
    "MRR": ("mrr", 3),
    "NDCG@10": ("ndcg10", 3),
    "ECE": ("ece", 3),
    "seen mask\ntop-1 %": (f"top1{SEEN}", 1),
    "seen mask\ntop-5 %": (f"top5{SEEN}", 1),
    "seen mask\ntop-10 %": (f"top10{SEEN}", 1),
}
WITH_EXPERT = {  # the same of a run with an expert, all in percent
    "all\ntop-1": ("top1", 1),
    "all\ntop-5": ("top5", 1),
    "all\ntop-10": ("top10", 1),
    "answered\ntop-1": ("top1_answered", 1),
    "answered\ntop-5": ("top5_answered", 1),
    "answered\ntop-10": ("top10_answered", 1),
    "asked\ntop-1": ("top1_asked", 1),
    "system\ntop-1": ("top1_system", 1),
    "asks": (ASKED, 1),
}
EXPERT_NOTES = {
    "all": "every window, predicted before anything is asked about it",
    "answered": "those not asked about, which alone the authors' program scores; asked: the others",
    "system": "every window, where asked counts as right",
}


def predictions_table(
    prepared: Prepared,
    predictions: Mapping[str, NDArray[np.generic]],
    part: str,
    baselines: Mapping[str, Fitted],
    beside: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
) -> pd.DataFrame:
    """One row an answer, by fold, user and step: the schema of `predictions.parquet`.

    unit_id USER:STEP; fold: number of the model that answered; target, prediction: items;
    p_target, p_prediction: their probabilities; rank_of_target among all items, of ties the mean
    rank; ties_of_target: items with just its probability, itself among them; *_seen_mask: among
    the items that the user had not had before (missing where he had had the target); margin: the
    highest probability less the second; asked: whether an expert was asked, after this prediction.
    baseline_NAME_rank, baseline_NAME_ties and so on are of a baseline; `ceiling_*` of the best that
    a simulator allows. beside: name -> further predictions, with columns of that name:
    `before_adapting_*` of the network before it was trained on for a new user, `baseline_NAME_*`
    of controls, with `baseline_NAME_asked` where an expert was asked.
    """
    arrays, items = prepared.arrays, np.asarray(prepared.arrays["item_id"])
    rows = np.asarray(predictions["rows"], np.int64)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows, given = rows[order], np.asarray(predictions["probability"], np.float64)[order]
    event = rows[:, 1]
    user, target = np.asarray(arrays["user"])[event], np.asarray(arrays["item"])[event]
    best = np.sort(given, axis=1)[:, -2:]
    seen = _seen(arrays, event)
    names, step = np.asarray(arrays["user_id"])[user], np.asarray(arrays["step"])[event]
    found = {
        "unit_id": [f"{name}:{number}" for name, number in zip(names, step, strict=True)],
        "user_id": names,
        "fold": rows[:, 0].astype(np.int32),
        "step": step.astype(np.int32),
        "horizon_s": np.full(len(rows), np.nan),
        "target": items[target],
        "prediction": items[given.argmax(axis=1)],
        "p_target": given[np.arange(len(rows)), target],
        "p_prediction": best[:, -1],
        "margin": best[:, -1] - best[:, 0],
        **_columns("{}_of_target", given, target, seen),
    }
    if ASKED in predictions:
        found[ASKED] = np.asarray(predictions[ASKED], bool)[order]
    others: dict[str, Mapping[str, NDArray[Any]]]
    others = {f"baseline_{name}": m.predict(arrays, part) for name, m in baselines.items()}
    others |= beside or {}
    for name, other in others.items():
        same = np.lexsort(np.asarray(other["rows"]).T[::-1])
        if not np.array_equal(other["rows"][same], rows):
            raise ValueError(f"{name} answers other events than the model")
        found |= _columns(f"{name}_{{}}", other["probability"][same], target, seen)
        if ASKED in other:
            found[f"{name}_{ASKED}"] = np.asarray(other[ASKED], bool)[same]
    if "ceiling" in arrays:
        known = np.asarray(arrays["ceiling"], np.float64)[event]
        found |= _columns("ceiling_{}", known, target, seen)
    return pd.DataFrame(found)


def _columns(
    name: str, scores: Float, target: Int, seen: NDArray[np.bool_]
) -> dict[str, NDArray[np.generic]]:
    rank, ties = ranks(scores, target)
    masked, masked_ties = ranks(np.where(seen, -np.inf, scores), target)
    had = seen[np.arange(len(seen)), target]
    return {
        name.format("rank"): rank,
        name.format("ties"): ties,
        f"{name.format('rank')}{SEEN}": np.where(had, np.nan, masked),
        f"{name.format('ties')}{SEEN}": np.where(had, np.nan, masked_ties),
    }


def ranks(scores: Float, target: Int) -> tuple[Float, Float]:
    """(R,) rank, from 1, of the target among all items (R, N), of ties the mean; (R,) ties."""
    own = scores[np.arange(len(scores)), target][:, None]
    ties = (scores == own).sum(1).astype(np.float64)
    found: Float = (scores > own).sum(1) + 0.5 * (ties + 1)
    return found, ties


def _seen(arrays: Arrays, event: Int) -> NDArray[np.bool_]:
    """(R, N) items that the user had before each event."""
    user, item = np.asarray(arrays["user"])[event], np.asarray(arrays["item"])
    begin, items = np.asarray(arrays["begin"]), len(arrays["item_id"])
    seen = np.zeros((len(event), items), bool)
    for row, (first, end) in enumerate(zip(begin[user].tolist(), event.tolist(), strict=True)):
        seen[row, item[first:end]] = True
    return seen


def figures_of(table: pd.DataFrame, name: str) -> dict[str, Float]:
    """Prefix of a metric's name -> its value for each row of a predictions table, NaN for none.

    name: top1, top5, top10 (percent), mrr, ndcg10, each also *_seen_mask. A target among ties has
    the mean over the places that they share: what breaking them by lot gives on average. Where an
    expert was asked also top1_answered (.., top10_answered): of windows that were not asked about;
    top1_asked: of those that were; top1_system: of all, those that were asked about 100; asked:
    100 there, else 0. Prefixes without a value in any row are left out.
    """
    base, mask, _ = name.partition(SEEN)
    base, among = next(
        ((base.removesuffix(end), end) for end in CONSULTED if base.endswith(end)), (base, "")
    )
    found = {}
    for prefix, column in _ranked(table):
        of_expert = column.format(ASKED) if prefix else ASKED
        if (among or name == ASKED) and of_expert not in table:
            continue
        if name == ASKED:
            found[prefix] = 100.0 * table[of_expert].to_numpy(np.float64)
            continue
        values = _figure(base, *(table[f"{column.format(c)}{mask}"] for c in ("rank", "ties")))
        found[prefix] = _among(values, among, table[of_expert]) if among else values
    return {prefix: values for prefix, values in found.items() if np.isfinite(values).any()}


def _among(values: Float, among: str, asked: pd.Series[bool]) -> Float:
    other = 100.0 if among == "_system" else np.nan
    return np.asarray(np.where(asked.to_numpy(bool) != (among == "_asked"), other, values))


def _figure(name: str, rank: pd.Series[float], ties: pd.Series[float]) -> Float:
    r, n = rank.to_numpy(np.float64), ties.to_numpy(np.float64)
    before = r - (n + 1) / 2  # items that are surely ahead
    if name.startswith("top"):
        shared: Float = 100.0 * np.clip((int(name[3:]) - before) / n, 0.0, 1.0)
        return shared
    top = int(np.nanmax(r + n, initial=1.0)) + 1
    place = np.arange(1, top + 1)
    worth = 1.0 / place if name == "mrr" else np.where(place <= 10, 1 / np.log2(place + 1), 0.0)
    total = np.concatenate([[0.0], np.cumsum(worth)])
    known = np.isfinite(r)
    out = np.full(len(r), np.nan)
    first = before[known].astype(int)
    out[known] = (total[first + n[known].astype(int)] - total[first]) / n[known]
    return out


def score(table: pd.DataFrame, part: str) -> dict[str, float]:
    """Flat metrics of a predictions table; top1, top5 and top10 in percent.

    `PART/top1`, .., `PART/mrr`, `PART/ndcg10`, `PART/log_loss` (nats), `PART/ece` (of the answer
    given); `*_seen_mask`: a user's earlier items can be neither target nor answer; where an expert
    was asked, `*_answered` and so on (`figures_of`). Baselines and controls:
    `baseline/NAME/PART/...`; the best that a simulator allows: `ceiling/bayes/PART/...`; before
    the network was trained on for new users: `before_adapting/PART/...`.
    """
    out: dict[str, float] = {}
    again = table[f"rank_of_target{SEEN}"].isna().any()  # the mask would leave out what is right
    names = [f"{figure}{mask}" for mask in ("", *([] if again else [SEEN])) for figure in FIGURES]
    if ASKED in table:
        names += [*(f"{top}{among}" for among in CONSULTED for top in TOPS), ASKED]
    for name in names:
        for prefix, values in figures_of(table, name).items():
            out[f"{prefix}{part}/{name}"] = float(np.nanmean(values))
    hit = (table["target"] == table["prediction"]).to_numpy()
    out[f"{part}/ece"] = metrics.ece(table["p_prediction"], hit)
    out[f"{part}/log_loss"] = float(-np.log(table["p_target"]).mean())
    return out


def _ranked(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Prefix of a metric's name, pattern of the columns that it is of."""
    yield "", "{}_of_target"
    for name in map(str, table.columns):
        if name.startswith("baseline_") and name.endswith("_rank"):
            own = name.removesuffix("_rank")
            yield f"baseline/{own.removeprefix('baseline_')}/", f"{own}_{{}}"
    if "before_adapting_rank" in table:
        yield BEFORE, "before_adapting_{}"
    if "ceiling_rank" in table:
        yield CEILING, "ceiling_{}"


def write_results(
    run: Run,
    prepared: Prepared,
    predictions: Mapping[str, NDArray[np.generic]],
    val: Mapping[str, NDArray[np.generic]] | None,
    baselines: Mapping[str, Fitted],
    beside: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
) -> dict[str, float]:
    """Write predictions.parquet, baselines.npz, metrics.json and plots/ of a run."""
    table = predictions_table(prepared, predictions, "test", baselines, beside)
    found = score(table, "test")
    if val is not None:
        found |= score(predictions_table(prepared, val, "val", baselines), "val")
    found |= {
        "count/test/users": table["user_id"].nunique(),
        "count/test/events": table["unit_id"].nunique(),
        "count/test/answers": len(table),
    }
    write_tested(run, prepared, table, found, baselines)
    return found


def closing_table(run: Run) -> str:
    """Model, baselines and ceiling of a finished run, and the protocol; at most 100 columns."""
    found, spec = run.metrics, run.spec
    rows = {model_name(run): ""}
    others = [name.removesuffix("test/top1") for name in found if name.endswith("/test/top1")]
    for prefix in sorted(others, key=lambda prefix: prefix not in CONTROLS):  # stable
        rows[LABELS.get(prefix) or prefix.removeprefix("baseline/").rstrip("/")] = prefix
    expert = f"test/{ASKED}" in found
    shown = WITH_EXPERT if expert else COLUMNS
    columns = {k: v for k, v in shown.items() if f"test/{v[0]}" in found}
    words = {
        **(EXPERT_NOTES if expert else {}),
        **spec["protocol"],
        "training": run.manifest.get("training") or training_words(run.config),
        **described_words(run),
        "tested on": f"{found['count/test/events']:,.0f} events of "
        f"{found['count/test/users']:,.0f} users",
    }
    first = ("data", "task", "reads", "profiles", NOT_READ)
    words = dict(sorted(words.items(), key=lambda word: word[0] not in first))
    title = (
        "which item comes next"
        + ", percent" * expert
        + ("   SIMULATED DATA" if spec["simulated"] else "")
    )
    return f"{title}\n{figures(found, rows, columns)}\n\n{labelled(words)}"
