"""From predictions of windows to predictions.parquet, metrics.json and plots of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import metrics
from fitexp.data.prepare import Arrays, Prepared, scored
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.layout import ahead_rows, step_of, whole_rows, workout_of
from fitexp.models.fitted import FittedSeries
from fitexp.report import plots
from fitexp.report.subgroups import score_subgroups
from fitexp.report.table import (
    described_words,
    model_name,
    results_table,
    training_words,
)
from fitexp.report.tested import write_tested
from fitexp.run import PLOTS, Run

FIRST_S = 120.0  # the first two minutes, in which a heart rate rises, are shown apart
WHOLE = "whole"  # label of predictions of whole workouts
Predictions = Mapping[str, NDArray[Any]]
Baselines = Mapping[str, FittedSeries]


def predictions_table(
    prepared: Prepared, predictions: Predictions, baselines: Baselines, fold: int = 0
) -> pd.DataFrame:
    """One row a scored step, physical units: the schema of `predictions.parquet`.

    predictions: "rows" (N, 2) windows as (workout, first step), and either WHOLE -> (N, T) or,
    per horizon label of the spec, (N,) predictions made at the window's last known step.
    horizon_s: whole workout, seconds since its start (all of it is predicted beforehand); short,
    seconds after the last value used (missing on a distance grid; see steps_ahead).
    """
    spec, arrays = prepared.spec, prepared.arrays
    windows = predictions["rows"]
    if WHOLE in predictions:
        parts = [_whole(spec, arrays, windows, predictions[WHOLE])]
    else:
        parts = [
            _ahead(spec, arrays, windows, steps, predictions[label])
            for label, steps in spec.horizons.items()
        ]
    table = pd.concat(parts, ignore_index=True)
    rows = table.pop("row").to_numpy()
    origins = table.pop("origin").to_numpy() if spec.horizons else None
    for name, model in baselines.items():
        table[f"baseline_{name}"] = model.at(arrays, rows, origins)
    workout = workout_of(arrays)[rows]
    table.insert(0, "unit_id", arrays["workout_id"][workout])
    table.insert(1, "user_id", arrays["user_id"][workout])
    table.insert(2, "fold", np.int32(fold))
    table["sport"] = arrays["sport"][workout]
    return table


def predicted_columns(table: pd.DataFrame) -> dict[str, str]:
    """Prefix of a metric's name -> column of the predictions table that it is of."""
    columns = {"": "prediction"}
    columns |= {
        f"baseline/{name.removeprefix('baseline_')}/": name
        for name in map(str, table.columns)
        if name.startswith("baseline_")
    }
    return columns | ({"ceiling/noise_floor/": "expected"} if "expected" in table else {})


def score(table: pd.DataFrame, spec: WorkoutSpec, part: str) -> dict[str, float]:
    """Flat metrics of a predictions table, baselines beside the model.

    `PART/mae_UNIT` and `PART/rmse_UNIT`, pooled over steps; `*_workout_UNIT`, means over workouts
    of their own; the notes' `*_sequence_UNIT`; on a time grid `PART/first_2min/...` and
    `PART/after_2min/...`. In the short regime they are those one step ahead, and
    `PART/at_LABEL/mae_UNIT` those at each horizon. Baselines: `baseline/NAME/PART/...`; a
    simulator's floor: `ceiling/noise_floor/...`.
    """
    out: dict[str, float] = {}
    columns = predicted_columns(table)
    views = {f"{part}/": table}
    if spec.horizons:
        ahead = table["steps_ahead"]
        views = {f"{part}/": table[ahead == 1]}
        views |= {f"{part}/at_{label}/": table[ahead == n] for label, n in spec.horizons.items()}
    elif spec.step_unit == "s":
        early = table["elapsed_s"] < FIRST_S
        views |= {f"{part}/first_2min/": table[early], f"{part}/after_2min/": table[~early]}
    for place, rows in views.items():
        if not len(rows):
            continue
        target, unit = rows["target"].to_numpy(), rows["unit_id"].to_numpy()
        for prefix, column in columns.items():
            prediction = rows[column].to_numpy()
            errors = {
                "mae": metrics.mae(target, prediction),
                "rmse": metrics.rmse(target, prediction),
                "mae_workout": metrics.mae_workout(target, prediction, unit),
                "rmse_workout": metrics.rmse_workout(target, prediction, unit),
            }
            if not spec.horizons:
                errors["mae_sequence"] = metrics.mae_sequence(target, prediction, unit)
                errors["rmse_sequence"] = metrics.rmse_sequence(target, prediction, unit)
            out |= {f"{prefix}{place}{name}_{spec.unit}": v for name, v in errors.items()}
    return out


def write_results(
    run: Run,
    prepared: Prepared,
    predictions: Predictions,
    val: Predictions | None,
    baselines: Baselines,
) -> dict[str, float]:
    """Write predictions.parquet, baselines.npz, metrics.json and plots/ of a run.

    predictions: of the test windows; val: of the validation windows, scored as well if given;
    baselines: fitted, to stand beside the model.
    """
    spec, name, data = prepared.spec, model_name(run), run.config["data"]
    fold = int(data["fold"]) if data.get("split") == "user" else 0
    table = predictions_table(prepared, predictions, baselines, fold)
    found = score(table, spec, "test") | _subgroups(table, prepared)
    if val is not None:
        found |= score(predictions_table(prepared, val, baselines, fold), spec, "val")
    found |= {
        "count/test/workouts": table["unit_id"].nunique(),
        "count/test/athletes": table["user_id"].nunique(),
        "count/test/steps": len(table.drop_duplicates(["unit_id", "step"])),
    }
    write_tested(run, prepared, table, found, baselines)
    folder = run.file(PLOTS)
    plots.save(plots.workouts_page(table, spec, name), folder / "workouts.png")
    plots.save(plots.error_by_minute(table, spec, name), folder / "error_by_minute.png")
    return found


def _subgroups(table: pd.DataFrame, prepared: Prepared) -> dict[str, float]:
    columns = predicted_columns(table)
    if not prepared.spec.horizons:
        return score_subgroups(table, prepared, columns, "test/")
    out: dict[str, float] = {}
    for label, ahead in prepared.spec.horizons.items():
        rows = table[table["steps_ahead"] == ahead]
        out |= score_subgroups(rows, prepared, columns, f"test/at_{label}/")
    return out


def _whole(
    spec: WorkoutSpec, arrays: Arrays, windows: NDArray[Any], predicted: NDArray[Any]
) -> pd.DataFrame:
    row, exists = whole_rows(arrays, windows, spec.steps)
    counts = exists & arrays["observed"][row]
    return _steps(arrays, row[counts], predicted[counts])


def _ahead(
    spec: WorkoutSpec, arrays: Arrays, windows: NDArray[Any], ahead: int, predicted: NDArray[Any]
) -> pd.DataFrame:
    row, origin, exists = ahead_rows(arrays, windows, spec.steps, ahead)
    counts = exists & arrays["observed"][row]
    table = _steps(arrays, row[counts], predicted[counts])
    seconds = ahead * spec.step if spec.step_unit == "s" else np.nan
    table["horizon_s"] = np.full(len(table), seconds)
    table["steps_ahead"] = np.full(len(table), ahead, np.int32)
    table["origin"] = origin[counts]
    return table


def _steps(arrays: Arrays, rows: NDArray[Any], predicted: NDArray[Any]) -> pd.DataFrame:
    elapsed = np.asarray(arrays["elapsed_s"][rows], np.float64)
    table = pd.DataFrame(
        {
            "row": rows,
            "step": step_of(arrays)[rows].astype(np.int32),
            "horizon_s": elapsed,
            "target": np.asarray(scored(arrays)[rows], np.float64),
            "prediction": np.asarray(predicted, np.float64),
            "elapsed_s": elapsed,
        }
    )
    if "expected" in arrays:
        table["expected"] = np.asarray(arrays["expected"][rows], np.float64)
    return table


def closing_table(run: Run) -> str:
    """Model, baselines and ceiling of a finished run, and the protocol; at most 100 columns."""
    found, spec = run.metrics, run.spec
    return results_table(
        found,
        model=model_name(run),
        unit=str(spec["unit"]),
        simulated=bool(spec["simulated"]),
        protocol={
            **spec["protocol"],
            "training": run.manifest.get("training") or training_words(run.config),
            **described_words(run),
        },
        horizons=list(spec["horizons"]),
        counts={k: int(v) for k, v in found.items() if k.startswith("count/")},
    )
