"""From probabilities of items to predictions.parquet, metrics.json and the table of a run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from fitexp import metrics
from fitexp.data.prepare import Arrays, Prepared
from fitexp.models.fitted import Fitted
from fitexp.report import plots
from fitexp.report.baselines import BASELINES, write_baselines
from fitexp.report.table import described_words, model_name, training_words
from fitexp.report.text import rendered
from fitexp.run import CURVE, METRICS, PLOTS, PREDICTIONS, Run, write_bytes, write_json

Float = NDArray[np.float64]
Int = NDArray[np.int64]
CEILING = "ceiling/bayes/"
SEEN = "_seen_mask"
KS = (1, 5, 10)
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


def predictions_table(
    prepared: Prepared,
    predictions: Mapping[str, NDArray[np.generic]],
    part: str,
    baselines: Mapping[str, Fitted],
) -> pd.DataFrame:
    """One row an answer, by fold, user and step: the schema of `predictions.parquet`.

    unit_id USER:STEP; fold: number of the model that answered; target, prediction: items;
    p_target, p_prediction: their probabilities; rank_of_target of all items, of ties the mean
    rank; rank_of_target_seen_mask: of the items that the user had not had before (missing where he
    had had the target); margin: the highest probability less the second. The ranks of a baseline
    NAME are baseline_NAME_rank and baseline_NAME_rank_seen_mask; `ceiling` is a simulator's.
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
        "rank_of_target": ranks(given, target),
        "rank_of_target_seen_mask": masked_ranks(given, target, seen),
    }
    for name, model in baselines.items():
        other = model.predict(arrays, part)
        assert np.array_equal(other["rows"][np.lexsort(other["rows"].T[::-1])], rows)
        beside = other["probability"][np.lexsort(other["rows"].T[::-1])]
        found[f"baseline_{name}_rank"] = ranks(beside, target)
        found[f"baseline_{name}_rank_seen_mask"] = masked_ranks(beside, target, seen)
    if "ceiling" in arrays:
        known = np.asarray(arrays["ceiling"], np.float64)[event]
        found["ceiling_rank"] = ranks(known, target)
        found["ceiling_rank_seen_mask"] = masked_ranks(known, target, seen)
    return pd.DataFrame(found)


def ranks(scores: Float, target: Int) -> Float:
    """(R,) rank, from 1, of the target among all items (R, N); of ties, the mean rank."""
    own = scores[np.arange(len(scores)), target][:, None]
    found: Float = (scores > own).sum(1) + 0.5 * ((scores == own).sum(1) + 1)
    return found


def masked_ranks(scores: Float, target: Int, seen: NDArray[np.bool_]) -> Float:
    """`ranks` among the items not `seen` (R, N); NaN where the target was."""
    had = seen[np.arange(len(seen)), target]
    return np.where(had, np.nan, ranks(np.where(seen, -np.inf, scores), target))


def _seen(arrays: Arrays, event: Int) -> NDArray[np.bool_]:
    """(R, N) items that the user had before each event."""
    user, item = np.asarray(arrays["user"])[event], np.asarray(arrays["item"])
    begin, items = np.asarray(arrays["begin"]), len(arrays["item_id"])
    seen = np.zeros((len(event), items), bool)
    for row, (first, end) in enumerate(zip(begin[user].tolist(), event.tolist(), strict=True)):
        seen[row, item[first:end]] = True
    return seen


def score(table: pd.DataFrame, part: str) -> dict[str, float]:
    """Flat metrics of a predictions table; top1, top5 and top10 in percent.

    `PART/top1`, .., `PART/mrr`, `PART/ndcg10`, `PART/log_loss` (nats), `PART/ece` (of the answer
    given); `*_seen_mask`: a user's earlier items can be neither target nor answer. Baselines:
    `baseline/NAME/PART/...`; the best that a simulator allows: `ceiling/bayes/PART/...`.
    """
    out: dict[str, float] = {}
    for prefix, column in _ranked(table):
        for suffix in ("", SEEN):
            rank = table[f"{column}{suffix}"].dropna().to_numpy()
            if suffix and len(rank) < len(table):
                continue  # items come again here: the mask would leave out what is right
            figures = {f"top{k}": 100.0 * metrics.hit_at(rank, k) for k in KS}
            figures |= {"mrr": metrics.mrr(rank), "ndcg10": metrics.ndcg(rank, 10)}
            out |= {f"{prefix}{part}/{name}{suffix}": value for name, value in figures.items()}
    hit = (table["target"] == table["prediction"]).to_numpy()
    out[f"{part}/ece"] = metrics.ece(table["p_prediction"], hit)
    out[f"{part}/log_loss"] = float(-np.log(table["p_target"]).mean())
    return out


def _ranked(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Prefix of a metric's name, column of the ranks that it is of."""
    yield "", "rank_of_target"
    for name in map(str, table.columns):
        if name.startswith("baseline_") and name.endswith("_rank"):
            yield f"baseline/{name.removeprefix('baseline_').removesuffix('_rank')}/", name
    if "ceiling_rank" in table:
        yield CEILING, "ceiling_rank"


def write_results(
    run: Run,
    prepared: Prepared,
    predictions: Mapping[str, NDArray[np.generic]],
    val: Mapping[str, NDArray[np.generic]] | None,
    baselines: Mapping[str, Fitted],
) -> dict[str, float]:
    """Write predictions.parquet, baselines.npz, metrics.json and plots/ of a run."""
    table = predictions_table(prepared, predictions, "test", baselines)
    found = score(table, "test")
    if val is not None:
        found |= score(predictions_table(prepared, val, "val", baselines), "val")
    found |= {
        "count/test/users": table["user_id"].nunique(),
        "count/test/events": table["unit_id"].nunique(),
        "count/test/answers": len(table),
    }
    write_baselines(run.file(BASELINES), baselines)
    packed = io.BytesIO()
    table.to_parquet(packed, index=False)
    write_bytes(run.file(PREDICTIONS), packed.getvalue())
    write_json(run.file(METRICS), found)
    if run.file(CURVE).exists():
        curve = pd.read_csv(run.file(CURVE))
        figure = plots.learning_curve(curve, prepared.spec, model_name(run))
        plots.save(figure, run.file(PLOTS) / "learning_curve.png")
    return found


def closing_table(run: Run) -> str:
    """Model, baselines and ceiling of a finished run, and the protocol; at most 100 columns."""
    found, spec = run.metrics, run.spec
    rows = {model_name(run): ""}
    for name in found:
        prefix, tested, figure = name.partition("test/")
        if tested and figure == "top1" and prefix.startswith(("baseline/", "ceiling/")):
            ceiling = "ceiling of the simulator"
            rows[ceiling if prefix == CEILING else prefix.split("/")[1]] = prefix
    columns = {k: v for k, v in COLUMNS.items() if f"test/{v[0]}" in found}
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for header in columns:
        table.add_column(header, justify="right")
    for label, prefix in rows.items():
        values = [(found.get(f"{prefix}test/{name}"), digits) for name, digits in columns.values()]
        table.add_row(label, *("-" if v is None else f"{v:.{d}f}" for v, d in values))
    words = {
        **spec["protocol"],
        "training": run.manifest.get("training") or training_words(run.config),
        **described_words(run),
        "tested on": f"{found['count/test/events']:,.0f} events of "
        f"{found['count/test/users']:,.0f} users",
    }
    notes = Table(box=None, pad_edge=False, show_header=False)
    notes.add_column(style="dim", no_wrap=True)
    notes.add_column()
    for label, text in words.items():
        notes.add_row(label, text)
    title = "which item comes next" + ("   SIMULATED DATA" if spec["simulated"] else "")
    return f"{title}\n{rendered(table)}\n\n{rendered(notes)}"
