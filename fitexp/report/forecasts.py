"""From forecasts of windows to predictions.parquet, metrics.json, the table and plots of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import metrics
from fitexp.data.prepare import Prepared
from fitexp.models.fitted import Fitted
from fitexp.report import bands, forecast_plots, plots
from fitexp.report.table import described_words, figures, model_name, training_words
from fitexp.report.tested import write_tested
from fitexp.report.text import labelled
from fitexp.run import PLOTS, Run

Predictions = Mapping[str, NDArray[Any]]
HEADLINE = "heart rate behind a window of activity"
MEDIAN = "median"  # column of the median head, which the MAE is of
BANDS = ((0.05, 0.95), (0.01, 0.99))
ERRORS = {"rmse": metrics.rmse, "mae": metrics.mae, "mse": metrics.mse}
AGAIN = "reconstruction_mse"  # of a network that gives windows back, in scaled units
COLUMNS = {  # of the table -> metric, digits
    "RMSE\nbpm": ("rmse_bpm", 2),
    "MAE\nbpm": ("mae_bpm", 2),
    "MSE\nbpm2": ("mse_bpm2", 1),
    "RMSE, mean\nof users": ("mean_of_users/rmse_bpm", 2),
    "mean squared error\nof scaled inputs": (AGAIN, 4),
}


def quantile_column(q: float) -> str:
    """Name of a quantile's column: p_0.05."""
    return f"p_{q:g}"


def predictions_table(
    prepared: Prepared,
    predictions: Predictions,
    part: str,
    baselines: Mapping[str, Fitted],
    *,
    fold: int,
    quantiles: tuple[float, ...],
) -> pd.DataFrame:
    """One row a window, by user and time: the schema of `predictions.parquet`.

    unit_id USER:STEP, step the first epoch of the window in the user's recording; horizon_s from
    its last epoch to the target; target, prediction bpm; p_Q the head of quantile Q, `median` where
    there is one; time_s local time of the target since 1970; baseline_NAME.
    """
    spec, arrays = prepared.spec, prepared.arrays
    rows, order = _sorted(predictions["rows"])
    window = arrays[part]
    known = np.stack([arrays["window_user"][window], arrays["window_first"][window]], axis=1)
    kept, by = _sorted(known)
    if not np.array_equal(kept, rows):
        raise ValueError(f"predictions are of other windows than the {part} part's")
    user, step = rows[:, 0], rows[:, 1] - arrays["begin"][rows[:, 0]]
    names = np.asarray(arrays["user_id"])[user]
    found: dict[str, Any] = {
        "unit_id": [f"{name}:{number}" for name, number in zip(names, step, strict=True)],
        "user_id": names,
        "fold": np.full(len(rows), fold, np.int32),
        "step": step.astype(np.int32),
        "horizon_s": np.full(len(rows), spec.step_s),
        "target": np.asarray(arrays["target"], np.float64)[window][by],
        "prediction": np.asarray(predictions["prediction"], np.float64)[order],
        "time_s": arrays["start_s"][user] + (step + spec.steps) * spec.step_s,
    }
    for j, q in enumerate(quantiles):
        found[quantile_column(q)] = np.asarray(predictions["quantiles"], np.float64)[order, j]
    if 0.5 in quantiles:
        found[MEDIAN] = found[quantile_column(0.5)]
    for name, model in baselines.items():
        other = model.predict(arrays, part)
        same, own = _sorted(other["rows"])
        if not np.array_equal(same, rows):
            raise ValueError(f"{name} answers other windows than the model")
        found[f"baseline_{name}"] = np.asarray(other["prediction"], np.float64)[own]
    return pd.DataFrame(found)


def heads_of(run: Run, predictions: Predictions) -> tuple[float, ...]:
    """Quantiles that predictions of a run have heads for."""
    return tuple(run.config["task"].get("heads") or ()) if "quantiles" in predictions else ()


def _sorted(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.lexsort(np.asarray(rows).T[::-1])
    return np.asarray(rows, np.int64)[order], order


def score(table: pd.DataFrame, part: str, quantiles: tuple[float, ...]) -> dict[str, float]:
    """Flat metrics of a predictions table.

    `PART/rmse_bpm`, `PART/mae_bpm` (of the median head where there is one), `PART/mse_bpm2`, pooled
    over windows; `PART/mean_of_users/...`; with quantile heads `PART/coverage_LOW_HIGH` (percent of
    targets inside), `.../lowest_user`, and `PART/crossings` (percent of windows whose heads are out
    of order). Baselines: `baseline/NAME/PART/...`.
    """
    target, out = table["target"].to_numpy(), {}
    names = [c for c in map(str, table.columns) if c.startswith("baseline_")]
    for name in ("prediction", *names):
        prefix = "" if name == "prediction" else f"baseline/{name.removeprefix('baseline_')}/"
        for error, of in ERRORS.items():
            column = MEDIAN if error == "mae" and not prefix and MEDIAN in table else name
            unit = "bpm2" if error == "mse" else "bpm"
            given = table[column].to_numpy()
            out[f"{prefix}{part}/{error}_{unit}"] = of(target, given)
            own = [
                of(target[rows], given[rows]) for rows in table.groupby("user_id").indices.values()
            ]
            out[f"{prefix}{part}/mean_of_users/{error}_{unit}"] = float(np.mean(own))
    for low, high in BANDS:
        if low in quantiles and high in quantiles:
            name = f"{part}/coverage_{100 * low:g}_{100 * high:g}"
            out |= bands.coverage(table, quantile_column(low), quantile_column(high), name)
    if "low" in table:
        out |= bands.coverage(table, "low", "high", f"{part}/{bands.NAME}_coverage")
        out[f"{part}/{bands.NAME}_width_bpm"] = float((table["high"] - table["low"]).mean())
    if len(quantiles) > 1:
        heads = table[[quantile_column(q) for q in sorted(quantiles)]].to_numpy()
        out[f"{part}/crossings"] = float(100.0 * (np.diff(heads, axis=1) < 0).any(axis=1).mean())
    return out


def write_results(
    run: Run,
    prepared: Prepared,
    predictions: Predictions,
    val: Predictions | None,
    baselines: Mapping[str, Fitted],
) -> dict[str, float]:
    """Write predictions.parquet, baselines.npz, metrics.json and plots/ of a run."""
    if "prediction" not in predictions:
        return _write_reconstruction(run, prepared, predictions, val)
    quantiles = heads_of(run, predictions)
    data = run.config["data"]
    fold = int(data["fold"]) if data["folds"] is not None else 0
    table = predictions_table(
        prepared, predictions, "test", baselines, fold=fold, quantiles=quantiles
    )
    found: dict[str, float] = {}
    if val is not None:
        seen = predictions_table(prepared, val, "val", baselines, fold=fold, quantiles=quantiles)
        found |= score(seen, "val", quantiles)
        found |= {"count/val/users": seen["user_id"].nunique(), "count/val/windows": len(seen)}
        if len(seen) >= bands.LEAST:
            found[f"val/{bands.MARGIN}"] = bands.margin(seen)
            table = bands.with_band(table, found[f"val/{bands.MARGIN}"])
    found |= score(table, "test", quantiles)
    found |= {
        "count/test/users": table["user_id"].nunique(),
        "count/test/windows": len(table),
    }
    write_tested(run, prepared, table, found, baselines)
    name, spec, folder = model_name(run), prepared.spec, run.file(PLOTS)
    plots.save(forecast_plots.users_page(table, spec, name), folder / "users.png")
    if forecast_plots.shown_bands(table):
        figure = forecast_plots.coverage_by_user(table, spec, name)
        plots.save(figure, folder / "coverage_by_user.png")
    return found


def _write_reconstruction(
    run: Run, prepared: Prepared, test: Predictions, val: Predictions | None
) -> dict[str, float]:
    """Of a network that gives windows back: errors in scaled units, beside each window's mean."""
    found: dict[str, float] = {}
    for part, given in (("test", test), *((("val", val),) if val is not None else ())):
        found[f"{part}/{AGAIN}"] = float(given["error"].mean(dtype=np.float64))
        found[f"baseline/window_mean/{part}/{AGAIN}"] = float(
            given["spread"].mean(dtype=np.float64)
        )
    user = test["rows"][:, 0]
    found |= {"count/test/users": len(np.unique(user)), "count/test/windows": len(user)}
    table = pd.DataFrame(
        {
            "user_id": np.asarray(prepared.arrays["user_id"])[user],
            "step": test["rows"][:, 1] - prepared.arrays["begin"][user],
            "error": test["error"],
            "baseline_window_mean": test["spread"],
        }
    ).sort_values(["user_id", "step"])
    write_tested(run, prepared, table, found, {})
    return found


def closing_table(run: Run) -> str:
    """Model and baselines of a finished run, and the protocol; at most 100 columns."""
    found, spec = run.metrics, run.spec
    columns = {header: of for header, of in COLUMNS.items() if f"test/{of[0]}" in found}
    rows = {model_name(run): ""}
    for name in found:
        prefix, tested, figure = name.partition("test/")
        if tested and figure == next(iter(columns.values()))[0] and prefix:
            rows[prefix.removeprefix("baseline/").rstrip("/")] = prefix
    words = {
        **spec["protocol"],
        "training": run.manifest.get("training") or training_words(run.config),
        **described_words(run),
        **_bands(found),
        "tested on": f"{found['count/test/windows']:,.0f} windows of "
        f"{found['count/test/users']:,.0f} users",
    }
    title = "windows given back" if f"test/{AGAIN}" in found else HEADLINE
    title += "   SIMULATED DATA" if spec["simulated"] else ""
    return f"{title}\n{figures(found, rows, columns)}\n\n{labelled(words)}"


def _bands(found: Mapping[str, float]) -> dict[str, str]:
    """Coverage of the bands, as the heads give them and calibrated, in words."""
    if f"test/{AGAIN}" in found:
        return {}
    said = []
    for low, high in BANDS:
        name = f"test/coverage_{100 * low:g}_{100 * high:g}"
        if name in found:
            said.append(bands.words(found, name, f"heads of {100 * low:g} and {100 * high:g} %"))
    if "test/crossings" in found:
        said.append(f"heads out of order in {found['test/crossings']:.1f} % of windows")
    band = f"test/{bands.NAME}"
    if f"{band}_coverage" in found:
        users = f"{found['count/val/users']:.0f} validation users"
        label = f"{100 * bands.SHARE:g} %, calibrated on {users}"
        said.append(bands.words(found, f"{band}_coverage", label))
        said[-1] += f", {found[f'{band}_width_bpm']:.1f} bpm wide"
    elif "count/val/windows" in found:
        said.append(f"none calibrated: fewer than {bands.LEAST} windows of validation users")
    else:
        said.append("none calibrated: no validation part (data.fractions)")
    return {"bands": "; ".join(said)}
