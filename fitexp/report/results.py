"""From predictions of windows to predictions.parquet, metrics.json and plots of a run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import metrics
from fitexp.data.prepare import Prepared
from fitexp.data.spec import Spec
from fitexp.errors import InputError
from fitexp.models.baselines import MEANS, GroupMean
from fitexp.report import plots
from fitexp.report.table import described, model_name
from fitexp.run import CURVE, METRICS, PLOTS, PREDICTIONS, Run, write_bytes, write_json

BASELINES = "baselines.npz"
WHOLE = "whole"  # label of predictions of whole workouts
Predictions = Mapping[str, NDArray[Any]]
Means = Mapping[str, GroupMean]


def fit_means(prepared: Prepared) -> dict[str, GroupMean]:
    """The mean baselines, fitted on the measured steps of training workouts."""
    arrays = prepared.arrays
    workout = _workout_of_step(arrays)
    rows = (arrays["part"][workout] == 0) & arrays["observed"]
    codes = _codes(prepared.spec, arrays)[workout[rows]]
    y = np.asarray(arrays["y"][rows], dtype=np.float64)
    return {name: GroupMean(columns).fit(codes, y) for name, columns in MEANS.items()}


def predictions_table(
    prepared: Prepared, predictions: Predictions, means: Means, fold: int = 0
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
    codes = _codes(spec, arrays)[table["workout"]]
    for name, mean in means.items():
        table[f"baseline_{name}"] = mean.predict(codes)
    table.insert(0, "unit_id", arrays["workout_id"][table["workout"]])
    table.insert(1, "user_id", arrays["user_id"][table["workout"]])
    table.insert(2, "fold", np.int32(fold))
    table["sport"] = arrays["sport"][table["workout"]]
    return table.drop(columns="workout")


def score(table: pd.DataFrame, spec: Spec, part: str) -> dict[str, float]:
    """Flat metrics of a predictions table, baselines beside the model.

    `PART/mae_UNIT` and `PART/rmse_UNIT`, pooled over steps, and the notes' `*_sequence_UNIT`; in
    the short regime they are those one step ahead, and `PART/at_LABEL/mae_UNIT` those at each
    horizon. Baselines: `baseline/NAME/PART/...`; a simulator's floor: `ceiling/noise_floor/...`.
    """
    out: dict[str, float] = {}
    columns = {"": "prediction"}
    columns |= {
        f"baseline/{name.removeprefix('baseline_')}/": name
        for name in map(str, table.columns)
        if name.startswith("baseline_")
    }
    if "expected" in table:
        columns["ceiling/noise_floor/"] = "expected"
    views = {f"{part}/": table}
    if spec.horizons:
        ahead = table["steps_ahead"]
        views = {f"{part}/": table[ahead == 1]}
        views |= {f"{part}/at_{label}/": table[ahead == n] for label, n in spec.horizons.items()}
    for place, rows in views.items():
        if not len(rows):
            continue
        target, unit = rows["target"].to_numpy(), rows["unit_id"].to_numpy()
        for prefix, column in columns.items():
            prediction = rows[column].to_numpy()
            errors = {
                "mae": metrics.mae(target, prediction),
                "rmse": metrics.rmse(target, prediction),
            }
            if not spec.horizons:
                errors["mae_sequence"] = metrics.mae_sequence(target, prediction, unit)
                errors["rmse_sequence"] = metrics.rmse_sequence(target, prediction, unit)
            out |= {f"{prefix}{place}{name}_{spec.unit}": v for name, v in errors.items()}
    return out


def write_results(
    run: Run, prepared: Prepared, predictions: Predictions, val: Predictions | None = None
) -> dict[str, float]:
    """Write predictions.parquet, baselines.npz, metrics.json and plots/ of a run.

    predictions: of the test windows; val: of the validation windows, scored as well if given.
    """
    spec, name, data = prepared.spec, model_name(run), run.config["data"]
    fold = int(data["fold"]) if data.get("split") == "user" else 0
    known = run.file(BASELINES).is_file()  # tested before, or on other data than its training
    means = read_means(run.file(BASELINES)) if known else fit_means(prepared)
    table = predictions_table(prepared, predictions, means, fold)
    found = score(table, spec, "test")
    if val is not None:
        found |= score(predictions_table(prepared, val, means, fold), spec, "val")
    found |= {
        "count/test/workouts": table["unit_id"].nunique(),
        "count/test/athletes": table["user_id"].nunique(),
        "count/test/steps": len(table.drop_duplicates(["unit_id", "step"])),
    }
    _write_means(run.file(BASELINES), means)
    packed = io.BytesIO()
    table.to_parquet(packed, index=False)
    write_bytes(run.file(PREDICTIONS), packed.getvalue())
    write_json(run.file(METRICS), found)
    folder = run.file(PLOTS)
    plots.save(plots.workouts_page(table, spec, name), folder / "workouts.png")
    plots.save(plots.error_by_minute(table, spec, name), folder / "error_by_minute.png")
    if run.file(CURVE).exists():
        curve = pd.read_csv(run.file(CURVE))
        plots.save(plots.learning_curve(curve, spec, name), folder / "learning_curve.png")
    constants = {
        label: values
        for label, values in described(run).items()
        if label.endswith("(s)") and values and not isinstance(values, str)
    }
    if constants:
        plots.save(plots.time_constants(constants, spec, name), folder / "time_constants.png")
    return found


def read_means(path: Path) -> dict[str, GroupMean]:
    """The baselines of a finished run."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        packed = np.load(path, allow_pickle=False)
        for key in packed.files:
            name, _, part = key.partition("/")
            arrays.setdefault(name, {})[part] = packed[key]
        return {name: GroupMean.from_arrays(parts) for name, parts in arrays.items()}
    except Exception as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}): remove it") from error


def _write_means(path: Path, means: Means) -> None:
    arrays: dict[str, Any] = {
        f"{name}/{key}": array
        for name, mean in means.items()
        for key, array in mean.to_arrays().items()
    }
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    write_bytes(path, packed.getvalue())


def _whole(
    spec: Spec, arrays: Mapping[str, NDArray[Any]], windows: NDArray[Any], predicted: NDArray[Any]
) -> pd.DataFrame:
    workout, first = windows[:, 0], windows[:, 1]
    step = first[:, None] + np.arange(spec.steps)
    length = arrays["offset"][workout + 1] - arrays["offset"][workout]
    row = arrays["offset"][workout][:, None] + np.minimum(step, length[:, None] - 1)
    scored = (step < length[:, None]) & arrays["observed"][row]
    rows = row[scored]
    table = pd.DataFrame(
        {
            "workout": np.broadcast_to(workout[:, None], step.shape)[scored],
            "step": step[scored].astype(np.int32),
            "horizon_s": np.asarray(arrays["elapsed_s"][rows], np.float64),
            "target": np.asarray(arrays["y"][rows], np.float64),
            "prediction": np.asarray(predicted[scored], np.float64),
            "elapsed_s": np.asarray(arrays["elapsed_s"][rows], np.float64),
        }
    )
    if "expected" in arrays:
        table["expected"] = np.asarray(arrays["expected"][rows], np.float64)
    return table


def _ahead(
    spec: Spec,
    arrays: Mapping[str, NDArray[Any]],
    windows: NDArray[Any],
    ahead: int,
    predicted: NDArray[Any],
) -> pd.DataFrame:
    workout, first = windows[:, 0], windows[:, 1]
    begin = arrays["offset"][workout]
    step = first + spec.steps - 2 + ahead
    end = arrays["piece_end"][begin + first]  # a horizon behind a gap is not scored
    row = begin + np.minimum(step, end - 1)
    scored = (step < end) & arrays["observed"][row]
    rows, origin = row[scored], (begin + first + spec.steps - 2)[scored]
    return pd.DataFrame(
        {
            "workout": workout[scored],
            "step": step[scored].astype(np.int32),
            "horizon_s": np.full(len(rows), ahead * spec.step if spec.step_unit == "s" else np.nan),
            "target": np.asarray(arrays["y"][rows], np.float64),
            "prediction": np.asarray(predicted[scored], np.float64),
            "elapsed_s": np.asarray(arrays["elapsed_s"][rows], np.float64),
            "steps_ahead": np.full(len(rows), ahead, np.int32),
            "baseline_last_value": np.asarray(arrays["y"][origin], np.float64),
        }
    )


def _workout_of_step(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(arrays["offset"]) - 1), np.diff(arrays["offset"]))


def _codes(spec: Spec, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """(W, 2) user and sport of every workout, as numbers of the vocabularies."""
    names = list(spec.attributes)
    columns = [names.index("user"), names.index("sport")]
    return np.asarray(arrays["attributes"])[:, columns]
