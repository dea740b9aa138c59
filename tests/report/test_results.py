from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp.data.spec import KINDS
from fitexp.data.workouts.protocol import arrays_of
from fitexp.report import plots
from fitexp.report.results import WHOLE, predictions_table, score
from fitexp.report.table import RESULTS, results_table
from tests.data.workouts.made import protocol, table, trivial

MADE = table()


def whole_table(**changed: object) -> tuple[pd.DataFrame, object]:
    prepared = arrays_of(protocol(steps=40, max_steps=None, **changed), MADE)
    rows = prepared.arrays["test"]
    predicted = np.zeros((len(rows), 40), np.float32)
    begin = prepared.arrays["offset"][rows[:, 0]]
    for i, (w, first) in enumerate(rows):
        n = min(40, prepared.arrays["offset"][w + 1] - begin[i] - first)
        predicted[i, :n] = prepared.arrays["y"][begin[i] + first :][:n] + 2.0
        predicted[i, n:] = 1e6  # padding must not count
    predictions = {"rows": rows, WHOLE: predicted}
    return predictions_table(prepared, predictions, trivial(prepared)), prepared


def test_whole_workouts_have_each_measured_step_once() -> None:
    found, prepared = whole_table()
    arrays = prepared.arrays
    workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
    expected = (arrays["part"][workout] == 2) & arrays["observed"]
    assert len(found) == expected.sum()
    assert not found.duplicated(["unit_id", "step"]).any()
    assert list(found.columns[:7]) == [
        "unit_id",
        "user_id",
        "fold",
        "step",
        "horizon_s",
        "target",
        "prediction",
    ]
    errors = score(found, prepared.spec, "test")
    assert errors["test/mae_bpm"] == pytest.approx(2.0)
    assert errors["test/rmse_bpm"] == pytest.approx(2.0, abs=1e-5)
    assert errors["test/mae_sequence_bpm"] == pytest.approx(
        2.0 * len(found) / found["unit_id"].nunique()
    )


def test_means_come_from_training_only() -> None:
    found, prepared = whole_table()
    arrays = prepared.arrays
    workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
    train = (arrays["part"][workout] == 0) & arrays["observed"]
    assert found["baseline_global_mean"].unique() == pytest.approx(arrays["y"][train].mean())
    user = found["user_id"].iloc[0]
    mine = train & (arrays["user_id"][workout] == user)
    assert found["baseline_user_mean"].iloc[0] == pytest.approx(arrays["y"][mine].mean())


def test_short_horizons_are_scored_against_the_right_step() -> None:
    made = protocol(regime="short", horizons=[1, 6])
    prepared = arrays_of(made, MADE)
    arrays, rows = prepared.arrays, prepared.arrays["test"]
    assert dict(prepared.spec.horizons) == {"10s": 1, "60s": 6}
    # a prediction that says which step it is for: the number of the flat row
    last = arrays["offset"][rows[:, 0]] + rows[:, 1] + prepared.spec.steps - 1
    predictions = {"rows": rows, "10s": last + 0.0, "60s": last + 5.0}
    found = predictions_table(prepared, predictions, trivial(prepared))
    for ahead in (1, 6):
        part = found[found["steps_ahead"] == ahead]
        row = part["prediction"].astype(int).to_numpy()
        np.testing.assert_array_equal(part["target"], arrays["y"][row].astype(float))
        np.testing.assert_array_equal(
            part["baseline_last_value"], arrays["y"][row - ahead].astype(float)
        )
        assert (part["horizon_s"] == 10.0 * ahead).all()
    assert (found[found["steps_ahead"] == 1].groupby("unit_id")["step"].min() == 10).all()
    errors = score(found, prepared.spec, "test")
    assert errors["test/mae_bpm"] == errors["test/at_10s/mae_bpm"]
    assert "baseline/last_value/test/at_60s/mae_bpm" in errors
    assert "test/mae_sequence_bpm" not in errors


def test_a_horizon_behind_a_gap_is_not_scored() -> None:
    import dataclasses

    samples = MADE.samples
    gap = (samples["time_s"] > 300) & (samples["time_s"] < 420)
    made = dataclasses.replace(MADE, samples=samples[~gap].reset_index(drop=True))
    prepared = arrays_of(protocol(regime="short", min_piece_steps=12, horizons=[1, 6]), made)
    rows = prepared.arrays["test"]
    zero = np.zeros(len(rows))
    predictions = {"rows": rows, "10s": zero, "60s": zero}
    found = predictions_table(prepared, predictions, trivial(prepared))
    assert len(found[found["steps_ahead"] == 1]) == len(rows)
    far = found[found["steps_ahead"] == 6]
    origin = far["step"] - 6
    elapsed = {
        (u, s): e
        for u, s, e in zip(found["unit_id"], found["step"], found["elapsed_s"], strict=True)
    }
    known = [
        (e, elapsed[u, o])
        for u, o, e in zip(far["unit_id"], origin, far["elapsed_s"], strict=True)
        if (u, o) in elapsed
    ]
    assert known
    assert all(abs(e - o - 60) < 1e-3 for e, o in known)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_data_has_its_results(kind: str) -> None:
    module = importlib.import_module(RESULTS[kind])
    for name in ("write_results", "closing_table"):
        assert getattr(module, name).__module__ == RESULTS[kind]


@pytest.mark.parametrize("horizons", [[], ["10s", "60s", "300s"]])
def test_closing_table_fits_the_terminal_and_says_simulated(horizons: list[str]) -> None:
    names = ["", "baseline/global_mean/", "baseline/user_sport_mean/", "ceiling/noise_floor/"]
    places = [f"test/at_{h}/" for h in horizons] or ["test/"]
    metrics = {f"{n}{p}{e}_bpm": 12.3456 for n in names for p in places for e in ("mae", "rmse")}
    text = results_table(
        metrics,
        model="fitrec_attn",
        unit="bpm",
        simulated=True,
        protocol={"data": "SIMULATED workouts_sim", "split": "by time " * 20},
        horizons=horizons,
        counts={"count/test/workouts": 3, "count/test/athletes": 2, "count/test/steps": 1234},
    )
    assert max(map(len, text.splitlines())) <= 100
    assert "SIMULATED" in text.splitlines()[0]
    assert "12.35" in text
    for name in ("fitrec_attn", "global_mean", "user_sport_mean", "noise floor", "1,234"):
        assert name in text


def test_plots_are_pictures(tmp_path: Path) -> None:
    found, prepared = whole_table()
    curve = pd.DataFrame(
        {"epoch": [0, 1], "train/loss": [1.0, 0.5], "val/loss": [1.0, 0.6], "val/mae_bpm": [9, 8]}
    )
    spec = prepared.spec
    for name, figure in (
        ("workouts", plots.workouts_page(found, spec, "m")),
        ("error", plots.error_by_minute(found, spec, "m")),
        ("curve", plots.learning_curve(curve, spec, "m")),
    ):
        plots.save(figure, tmp_path / "plots" / f"{name}.png")
        assert (tmp_path / "plots" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert not list((tmp_path / "plots").glob(".*"))
