"""`fitexp predict RUN FILE` of a run of windows: heart rate over time from people's movement."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.data.prepare import Prepared
from fitexp.data.spec import WindowSpec
from fitexp.data.windows.given import given_epochs, given_windows, unknown_statics
from fitexp.data.windows.protocol import Windows
from fitexp.errors import InputError
from fitexp.report import bands
from fitexp.report.forecasts import heads_of, predictions_table
from fitexp.report.table import described
from fitexp.run import PREDICTIONS, Run

EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Band:
    """bpm by which `report.bands.ends` move apart; words: whose windows say so."""

    margin_bpm: float
    words: str


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp predict RUN FILE [-o DIR] [--user ID] [--every SECONDS] [--users FILE]`."""
    from fitexp.report import forecasted as report

    if len(words) != 1:
        raise InputError(
            "fitexp predict takes one file of people's epochs or of raw acceleration: "
            f"{len(words)} are given"
        )
    spec = WindowSpec.from_dict(run.spec)
    check(run)
    stride = every(options.last("--every"), spec)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    with tempfile.TemporaryDirectory(prefix="fitexp-") as folder:
        prepared = given(run, Path(words[0]), options, stride, Path(folder), allow)
        predictions = worker.predict_run(run, prepared, "test", allow)
        table = predictions_table(
            prepared, predictions, "test", {}, fold=0, quantiles=heads_of(run, predictions)
        )
        band = band_of(run)
        if band is not None:
            table = bands.with_band(table, band.margin_bpm)
        for line in notes(run, prepared):
            print(f"fitexp: {line}", file=sys.stderr)
        target = Path(options.last("-o") or Path("outputs") / "predictions" / run.path.name)
        report.write(target, table, prepared, spec, stride * spec.step_s)
    print(report.summary(table, spec, band))
    print(target)
    return 0


def check(run: Run) -> None:
    """Raise InputError for a run that forecasts nothing for people whose heart rate is unknown."""
    if not any(name.startswith("test/rmse_") for name in run.metrics):
        raise InputError(f"{run.path} gives windows back: it forecasts no heart rate")
    if "oracle" in described(run):
        raise InputError(f"{run.path} is an oracle: it reads the heart rate that it answers")


def every(text: str | None, spec: WindowSpec) -> int:
    """Epochs from forecast to forecast; None: a minute's, one at least."""
    if text is None:
        return math.ceil(EVERY_S / spec.step_s)
    try:
        steps = float(text) / spec.step_s
    except ValueError:
        steps = math.nan
    if not (1 <= steps < 1e6) or abs(steps - round(steps)) > 1e-6:
        raise InputError(f"--every {text}: seconds, a multiple of the run's {spec.step_s:g} s")
    return round(steps)


def given(
    run: Run,
    file: Path,
    options: Options,
    stride: int | None,
    scratch: Path,
    allow: Sequence[str],
) -> Prepared:
    """The windows of the people in a file, as the run reads them; stride None: the run's own."""
    spec = WindowSpec.from_dict(run.spec)
    protocol: Windows = targets.build(run.config["data"], allow)
    epochs = given_epochs(
        file,
        spec,
        run.config["data"]["source"],
        options.last("--users"),
        options.last("--user"),
        scratch,
    )
    own = protocol.stride or protocol.steps
    return given_windows(protocol, epochs, spec, stride or own, scratch)


def notes(run: Run, prepared: Prepared) -> list[str]:
    """What was left out, and what the model reads of people that is not known of them."""
    lines = [f"{n:,} {why}" for why, n in prepared.report["rejected"].items() if n]
    people = len(prepared.arrays["user_id"])
    for name, n in unknown_statics(prepared, columns_read(run.config["model"])).items():
        lines.append(
            f"{name} of {n} of {people} people is not known (--users FILE): the run takes an "
            "average person's"
        )
    return lines


def columns_read(model: Mapping[str, Any]) -> list[str]:
    """Columns of users that a model's node names; Step2Heart reads its `person` in branch R."""
    found = list(model.get("statics") or ())
    if "column" in model:
        found.append(model["column"])
    if "person" in model and "R" in str(model["inputs"]).split("/"):
        found.append(model["person"])
    return found


def band_of(run: Run) -> Band | None:
    """The 90 % band of the run's validation users, else of those it was tested on; None: no file.

    A band of tested users is as wide as they needed: it is fair to other people.
    """
    found = run.metrics
    margin = found.get(f"val/{bands.MARGIN}")
    if margin is not None:
        users = f"{found['count/val/users']:.0f} validation users"
        return Band(margin_bpm=margin, words=f"calibrated on {users} of the run")
    file = run.file(PREDICTIONS)
    if not file.is_file():
        return None
    tested = pd.read_parquet(file)
    if len(tested) < bands.LEAST:
        return None
    users = f"the {tested['user_id'].nunique()} users that the run was tested on"
    return Band(
        margin_bpm=bands.margin(tested), words=f"calibrated on {users}: it has no validation part"
    )
