"""What a run of any kind of data writes of its test."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from fitexp.data.prepare import Prepared
from fitexp.models.fitted import Fitted
from fitexp.report import plots
from fitexp.report.baselines import BASELINES, write_baselines
from fitexp.report.table import described, model_name
from fitexp.run import CURVE, METRICS, PLOTS, PREDICTIONS, Run, write_json, write_parquet


def write_tested(
    run: Run,
    prepared: Prepared,
    table: pd.DataFrame,
    found: Mapping[str, float],
    baselines: Mapping[str, Fitted],
) -> None:
    """predictions.parquet, baselines.npz, metrics.json; plots of the training's course and of the
    time constants that a network says it has learned."""
    write_baselines(run.file(BASELINES), baselines)
    write_parquet(run.file(PREDICTIONS), table)
    write_json(run.file(METRICS), found)
    name, spec, folder = model_name(run), prepared.spec, run.file(PLOTS)
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
