"""Speeds that a run of speed predicts for routes: laws, by hand, and the command."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import cli, predict, speeds, worker
from fitexp.data.prepare import Prepared
from fitexp.data.workouts.habits import GRADES, Habit
from fitexp.data.workouts.plans import Plan
from fitexp.data.workouts.protocol import arrays_of
from fitexp.data.workouts.routes import Along, planned, recorded
from fitexp.errors import InputError
from fitexp.run import Run
from tests.data.workouts.made import protocol, table
from tests.data.workouts.test_routes import gpx, plan, way

RULES = protocol(target="derived_speed", steps=10, max_steps=40, min_piece_steps=2)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of speed on made workouts that says 5, 6, 7, ... km/h; `fed` is what it was given."""
    made = table()
    spec = arrays_of(RULES, made).spec
    run = SimpleNamespace(
        path=Path("fast"),
        status="finished",
        spec=spec.to_dict(),
        config={"data": {"max_steps": RULES.max_steps}},
        metrics={"test/by_sport/run/mae_km_h": 1.52},
        check=lambda: None,
        fed=[],
    )

    def prepared_plans(run: Any, plans: list[Plan], user: str, earlier: Any, allow: Any) -> Any:
        names = [f"plan {one.name}" for one in plans]
        free = protocol(target="derived_speed", steps=10, max_steps=None, min_piece_steps=2)
        return arrays_of(free, predict.planned_table(plans, user, earlier), spec, names)

    def predict_run(run: Any, prepared: Prepared, part: str, allow: Any) -> dict[str, Any]:
        run.fed.append(prepared.arrays)
        windows = prepared.arrays[part]
        return {"rows": windows, "whole": 5.0 + windows[:, 1:] + np.arange(10)}

    monkeypatch.setattr(speeds, "Run", lambda path: run)
    monkeypatch.setattr(predict, "table_of", lambda run, allow: made)
    monkeypatch.setattr(predict, "prepared_plans", prepared_plans)
    monkeypatch.setattr(worker, "predict_run", predict_run)
    return run


def test_a_route_takes_the_sum_of_its_steps_times(run: Any) -> None:
    """1 km in steps of 50 m at 5, 6, ..., 24 km/h, whatever its date was."""
    (found,), notes = speeds.by_run("fast", "athlete1", False, ())("run", [plan(way(start=1.7e9))])
    candidate = planned(plan(way()), "run", found, step_s=10, max_gap_s=60)
    assert candidate is not None
    seconds = sum(0.05 / (5 + k) * 3600 for k in range(20))
    assert candidate.plan.activity.time_s[-1] == pytest.approx(seconds)
    assert candidate.speed == "predicted by fast"
    assert notes == ["speed of run by fast: test MAE 1.5 km/h"]


def test_the_model_is_fed_nothing_of_the_speed_a_route_was_laid_out_at(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the way, the person, his usual start and his last workout."""
    asked = speeds.by_run("fast", "athlete1", False, ())
    routes = [plan(way(climb_m=30.0))]
    asked("run", routes)
    monkeypatch.setattr(speeds, "STEADY", Habit(np.full(len(GRADES), 14.0)))
    asked("run", routes)
    first, second = run.fed
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    (w,) = np.flatnonzero(first["part"] == 2)
    rows = slice(first["offset"][w], first["offset"][w + 1])
    usual = run.spec["start_by_user"]["athlete1"]
    np.testing.assert_allclose(first["y"][rows], usual, rtol=1e-6)
    assert not first["observed"][rows].any()
    assert first["workout_id"][first["previous"][w]] == "a1w7"


def test_what_was_recorded_too_short_too_long_or_of_an_unknown_sport_has_no_speed(run: Any) -> None:
    asked = speeds.by_run("fast", "athlete1", False, ())
    (timed,) = recorded(table(), [0])
    sport = timed.activity.sport
    names = ["timed", "short", "long", "fits"]
    activities = [timed.activity, way(0.1), way(2.2), way(1.9)]
    routes = [Plan(n, Path(n), a) for n, a in zip(names, activities, strict=True)]
    found, notes = asked(sport, routes)
    assert [speed is not None for speed in found] == [False, False, False, True]
    assert notes[1:] == [
        f"left out: 1 routes in {sport} of over 2 km, more than fast was trained on "
        "(data.max_steps); --long keeps them"
    ]
    found, notes = speeds.by_run("fast", "athlete1", True, ())(sport, routes)
    assert [speed is not None for speed in found] == [False, False, True, True]
    assert len(notes) == 1
    assert asked("swim", routes) == (
        [None] * 4,
        ["fast does not know swim: only routes recorded in it"],
    )


def test_nobody_is_slower_than_1_km_h(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(run: Any, prepared: Prepared, part: str, allow: Any) -> dict[str, Any]:
        windows = prepared.arrays[part]
        return {"rows": windows, "whole": np.full((len(windows), 10), -3.0)}

    monkeypatch.setattr(worker, "predict_run", backwards)
    (found,), _ = speeds.by_run("fast", "unknown", False, ())("run", [plan(way())])
    assert isinstance(found, Along)
    assert (found.speed_km_h == 1.0).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"target": "heart_rate"},
            r"--speed fast predicts heart_rate \(regime whole, steps in m\)",
        ),
        ({"regime": "short"}, "data.regime=whole, data.grid=distance is needed"),
        ({"step_unit": "s"}, "steps in s"),
        ({"kind": "windows"}, "--speed fast is of kind windows, not workouts"),
        ({"inputs": ("altitude", "total_time")}, "total_time, which only its speed would tell"),
        (
            {"user": "athlete9"},
            r"--speed fast does not know user athlete9; did you mean athlete0\?",
        ),
        ({"status": "running"}, "--speed fast is running: a finished run is needed"),
    ],
)
def test_runs_that_cannot_tell(run: Any, changed: dict[str, Any], said: str) -> None:
    run.status = changed.pop("status", "finished")
    user = changed.pop("user", "athlete1")
    run.spec |= changed
    with pytest.raises(InputError, match=said):
        speeds.by_run("fast", user, False, ())


@pytest.mark.slow
def test_the_command_says_whose_speed_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean of athlete and sport as a run of speed: every route takes length / that mean."""
    monkeypatch.chdir(tmp_path)
    small = ["data.source.athletes=6", "data.source.workouts=20"]
    for name, words in {
        "heart": ["model=user_curve"],
        "fast": ["model=user_sport_mean", "data.target=derived_speed"],
    }.items():
        assert cli.main(["train", *words, *small, f"hydra.run.dir={name}"]) == 0
    gpx(tmp_path / "routes/way.gpx", points=300)
    arrays = worker.own_data(Run("fast")).arrays
    trained = arrays["part"] == 0
    both = [set(arrays["user_id"][trained & (arrays["sport"] == s)]) for s in ("run", "bike")]
    user = min(set.intersection(*both))
    asked = ["recommend", "heart", "--user", user, "--target", "140", "--routes", "routes"]
    asked += ["--sport", "run", "--sport", "bike", "--speed"]
    capsys.readouterr()
    assert cli.main([*asked, "fast", "-o", "there"]) == 0
    printed = capsys.readouterr()
    assert "* at the speed predicted by fast; others as recorded" in printed.out
    mae = Run("fast").metrics["test/by_sport/run/mae_km_h"]
    assert f"speed of run by fast: test MAE {mae:.1f} km/h" in printed.err
    found = pd.read_csv("there/recommendations.csv").set_index("sport")
    assert (found["speed"] == "predicted by fast").all()
    workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
    for sport in ("run", "bike"):
        mine = trained & (arrays["sport"] == sport) & (arrays["user_id"] == user)
        mean = arrays["y"][mine[workout] & arrays["observed"]].mean()
        assert found["km"][sport] / found["minutes"][sport] * 60 == pytest.approx(mean, rel=0.01)
    shutil.copytree("fast", "cut")
    Run("cut").update(status="interrupted")
    for speed, said in {
        "heart": "--speed heart predicts heart_rate",
        "cut": "--speed cut is interrupted",
        "nowhere": "nowhere",
    }.items():
        assert cli.main([*asked, speed]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
