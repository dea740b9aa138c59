"""`fitexp recommend`: routes and sports that should bring a user to a target."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp import cli, predict, recommend, worker
from fitexp.data.workouts.plans import on_last_workout, planned_table
from fitexp.data.workouts.protocol import arrays_of
from fitexp.data.workouts.routes import Candidate, planned, recorded
from fitexp.data.workouts.wanted import Mean, Profile, Zone, target_of
from fitexp.errors import InputError
from fitexp.report.compare_sheets import better
from fitexp.report.paper_table import paper_table
from fitexp.run import Run
from tests.data.workouts.made import protocol, table, trivial
from tests.data.workouts.test_routes import gpx
from tests.test_retrieval import by_speed

pytestmark = pytest.mark.slow  # each trains

RUN: Any = SimpleNamespace(path="run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a trivial model on simulated workouts."""
    path = tmp_path_factory.mktemp("runs") / "curve"
    words = ["model=user_curve", "data.source.athletes=6", "data.source.workouts=20"]
    assert cli.main(["train", *words, f"hydra.run.dir={path}"]) == 0
    return Run(path)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Targets


def test_targets_as_they_are_typed(folder: Path) -> None:
    assert target_of("140") == Mean(140)
    assert target_of("130-145x30min") == Zone(130, 145, 30)
    assert target_of("130.5-145x7.5 min") == Zone(130.5, 145, 7.5)
    (folder / "wanted.csv").write_text("t_s,heart_rate\n10,100\n20,\n70,160\n")
    found = target_of("wanted.csv")
    assert isinstance(found, Profile)
    assert found.time_s.tolist() == [0, 60]
    assert found.bpm.tolist() == [100, 160]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "needs --target: a mean (140), a zone with minutes (130-145x30min) or a CSV"),
        ("fast", "--target fast: a mean (140)"),
        ("20", "heart rates are 30 to 230 bpm"),
        ("145-130x30min", "the lower bpm first"),
        ("130-145x0min", "more than 0 minutes"),
        ("130-145", "--target 130-145: a mean"),
        ("none.csv", "none.csv: no such file"),
        ("empty.csv", "empty.csv: a profile needs two or more values of heart_rate"),
    ],
)
def test_targets_that_are_none(text: str | None, said: str, folder: Path) -> None:
    (folder / "empty.csv").write_text("t_s,speed_mps\n0,1\n5,1\n")
    with pytest.raises(InputError) as error:
        target_of(text)
    assert said in str(error.value)


def test_distances_by_hand() -> None:
    elapsed, predicted = np.arange(0, 61, 10.0), np.array([100, 120, 130, 140, 145, 146, 150.0])
    assert Mean(140).distance(elapsed, predicted) == pytest.approx(abs(931 / 7 - 140))
    zone = Zone(130, 145, 2)  # three steps of 10 s
    assert zone.within(elapsed, predicted) == pytest.approx(0.5)
    assert zone.distance(elapsed, predicted) == pytest.approx(1.5)
    profile = Profile(np.array([0, 20.0, 55.0]), np.array([100, 120, 155.0]))
    errors = [0, 10, 10, 10, 5, -4]  # of 100, 110, 120, 130, 140, 150; the last is behind its end
    root = np.sqrt(np.mean(np.square(errors)))
    assert profile.distance(elapsed, predicted) == pytest.approx(root)
    assert profile.distance(elapsed[:5], predicted[:5]) is None  # too short
    long = np.arange(0, 80, 10.0)
    assert profile.distance(long, np.full(8, 140.0)) is None  # too long


# Ranking


def speedy(candidates: list[Candidate], target: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Recommendations of a model whose prediction is a function of speed and athlete."""
    made, rules = table(), protocol(steps=30, max_steps=None, min_piece_steps=2)
    spec = arrays_of(rules, made).spec
    names = [f"plan {c.plan.name}" for c in candidates]
    plans = [c.plan for c in candidates]
    prepared = arrays_of(rules, planned_table(plans, "athlete1", made), spec, names)
    monkeypatch.setattr(
        worker,
        "predict_run",
        lambda run, data, part, allow: {
            "rows": data.arrays[part],
            "whole": by_speed(data, data.arrays[part]),
        },
    )
    return recommend.recommendations(RUN, prepared, candidates, target, {"run": 3.0, "": 5.0}, ())


def choices(number: int = 12) -> list[Candidate]:
    found = [
        planned(route, route.activity.sport, None, step_s=10, max_gap_s=60)
        for route in recorded(table(), range(number))
    ]
    return [candidate for candidate in found if candidate]


def test_the_plan_behind_a_profile_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """athlete1's own heart rate of a workout is the target: that workout is recommended."""
    for wanted in (9, 10):
        (route,) = recorded(table(), [wanted])
        activity = route.activity
        target = Profile(activity.time_s, activity.heart_rate_bpm)
        found = speedy(choices(), target, monkeypatch)
        assert found[0].candidate.route == route.name
        assert found[0].distance < 3 < found[1].distance


def test_ranking_is_by_distance_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    one = speedy(choices(), Mean(138.0), monkeypatch)
    other = speedy(choices()[::-1], Mean(138.0), monkeypatch)
    names = [r.candidate.plan.name for r in one]
    assert names == [r.candidate.plan.name for r in other]
    assert [r.distance for r in one] == sorted(abs(r.mean - 138.0) for r in one)
    assert len(set(names)) == 12
    assert {r.doubt for r in one if r.candidate.sport == "run"} == {3.0}
    assert {r.doubt for r in one if r.candidate.sport == "bike"} == {5.0}
    long = Profile(np.array([0.0, 9000.0]), np.array([140.0, 140.0]))
    with pytest.raises(InputError, match="no candidate lasts 90 % to 125 %"):
        speedy(choices(2), long, monkeypatch)


def test_all_candidates_look_back_on_the_last_recorded_workout() -> None:
    """Not on each other, whatever the order of the table."""
    made, rules = table(), protocol(steps=30, max_steps=None)
    starts = made.sessions["start"].to_numpy().copy()
    own = np.flatnonzero((made.sessions["athlete"] == "athlete1").to_numpy())
    starts[own] = starts[own][::-1]  # the first in the table is the last in time
    made = dataclasses.replace(made, sessions=made.sessions.assign(start=starts))
    plans = [c.plan for c in choices(3)]
    names = [f"plan {plan.name}" for plan in plans]
    spec = arrays_of(rules, made).spec
    prepared = arrays_of(rules, planned_table(plans, "athlete1", made), spec, names)
    arrays = on_last_workout(prepared, made).arrays
    ahead = arrays["part"] == 2
    assert ahead.sum() == 3
    assert set(arrays["workout_id"][arrays["previous"][ahead]]) == {"a1w0"}
    stranger = arrays_of(rules, planned_table(plans, "nobody", None), spec, names)
    assert (on_last_workout(stranger, made).arrays["previous"] == -1).all()


def test_what_lasts_longer_than_the_run_was_trained_on_is_left_out() -> None:
    candidates = choices()
    seconds = sorted(c.plan.activity.time_s[-1] for c in candidates)
    steps = int(10 * seconds[5]) + 1
    assert seconds[5] < 0.1 * steps < seconds[6]
    kept, (note,) = recommend.trained_lengths(candidates, {"max_steps": steps, "step": 0.1})
    assert [c.plan.activity.time_s[-1] <= 0.1 * steps for c in kept] == [True] * 6
    assert note.startswith("left out: 6 of 12 candidates last over")
    assert recommend.trained_lengths(candidates, {"max_steps": None, "step": 10.0}) == (
        candidates,
        [],
    )
    with pytest.raises(InputError, match="--long keeps them"):
        recommend.trained_lengths(candidates, {"max_steps": 2, "step": 10.0})


def test_doubt_is_half_the_interval_of_a_mean_s_error() -> None:
    prepared = arrays_of(protocol(steps=100), table(athletes=8, workouts=10))
    predicted = predict.series(
        prepared, trivial(prepared)["global_mean"].predict(prepared.arrays, "val")
    )
    arrays = prepared.arrays
    errors: dict[str, list[float]] = {"": [], "run": [], "bike": []}
    for w in np.flatnonzero(arrays["part"] == 1):
        rows = [r for r in range(*arrays["offset"][w : w + 2]) if arrays["observed"][r]]
        error = np.mean([predicted[r] for r in rows]) - np.mean([arrays["y"][r] for r in rows])
        errors[""].append(error)
        errors[str(arrays["sport"][w])].append(error)
    found = recommend.doubts_of(prepared, predicted)
    wanted = {name: values for name, values in errors.items() if len(values) >= 5}
    assert set(found) == set(wanted)
    assert "" in found
    for name, values in wanted.items():
        low, high = np.quantile(values, [0.1, 0.9])
        assert found[name] == pytest.approx((high - low) / 2, rel=1e-5)


# The command


def test_recorded_workouts_are_the_routes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    user = run.spec["attributes"]["user"][1]
    words = ["recommend", str(run.path), "--user", user, "--target", "140", "--top", "4"]
    assert cli.main([*words, "-o", "there"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"mean 140 bpm, for user {user}: the best of ")
    assert lines[0].endswith("MODEL TRAINED ON SIMULATED DATA")
    assert lines[-1] == "there"
    assert max(map(len, lines)) <= 100
    found = pd.read_csv("there/recommendations.csv")
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    apart = (found["predicted_mean_bpm"] - 140).abs()
    np.testing.assert_allclose(found["distance_bpm"], apart, atol=0.01)
    assert found["distance_bpm"].is_monotonic_increasing
    arrays = worker.own_data(run).arrays
    trained = (arrays["part"] == 0) & (arrays["user_id"] == user)
    assert set(found["sport"]) == set(arrays["sport"][trained])
    assert found["minutes"].max() <= 50
    assert found["route"].nunique() < len(arrays["workout_id"])
    assert set(found["speed"]) == {"recorded", "habit"}
    assert Path("there/recommendations.png").stat().st_size > 5000


def test_routes_without_times_get_the_habit_s(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpx(folder / "routes/way.gpx", points=300)
    (folder / "routes/broken.gpx").write_text("no")
    words = ["recommend", str(run.path), "--routes", "routes", "--user", "nobody"]
    assert cli.main([*words, "--target", "120-150x10min", "--sport", "run", "--sport=bike"]) == 0
    printed = capsys.readouterr()
    assert "the run does not know user nobody" in printed.err
    assert "no training workout in run: everybody's speed by grade" in printed.err
    assert "left out: routes/broken.gpx" in printed.err
    assert "minutes" in printed.out
    assert "* at the user's usual speed" in printed.out
    found = pd.read_csv("outputs/recommendations/curve/recommendations.csv").set_index("sport")
    assert set(found.index) == {"run", "bike"}
    assert (found["speed"] == "habit").all()
    np.testing.assert_allclose(found["km"], 3.32, atol=0.02)
    assert found["minutes"]["bike"] < found["minutes"]["run"]
    assert found["minutes_in_zone"].max() <= found["minutes"].max()


def test_evaluation_is_added_to_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Run(shutil.copytree(run.path, "copy"))
    before = copy.metrics
    assert cli.main(["recommend", "copy", "--evaluate"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "copy"
    assert copy.metrics.items() >= before.items()
    figures = json.loads(copy.file("recommend.json").read_text())
    assert copy.metrics == before | figures["figures"]
    for one in figures["workouts"]:  # this model does not look at the plan: all are tied
        assert one["rank"] == (len(one["candidates"]) + 1) / 2
        assert one["workout"] == one["candidates"][0]
    assert cli.main(["compare", "copy", "--metric", "test/recommend/mrr"]) == 0
    compared = capsys.readouterr().out
    assert "higher is better" in compared
    assert "nearest_duration" in compared
    from fitexp.report.table import closing_table

    assert closing_table(copy) == closing_table(run)  # no rows for ways of ranking
    assert cli.main(["recommend", "copy", "--evaluate", "--target", "140"]) == 2
    assert "--evaluate takes no --target" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("RUN", "fitexp recommend needs --target"),
        ("RUN --target soon", "--target soon: a mean (140)"),
        ("RUN ride.gpx --target 140", "takes one run: what is 'ride.gpx'"),
        ("RUN --target 140 --routes empty", "empty: no route in GPX, TCX or FIT"),
        ("RUN --target 140 --routes nowhere", "--routes nowhere: no such folder"),
        ("RUN --target 140 --sport runn", "did you mean run?"),
        ("RUN --target 140 --top none", "--top none: a whole number above 0"),
        ("RUN --targt 140", "did you mean --target?"),
    ],
)
def test_mistakes(
    words: str, said: str, run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    assert cli.main(["recommend", *words.replace("RUN", str(run.path)).split()]) == 2
    printed = capsys.readouterr()
    assert said in printed.err.splitlines()[-1]
    assert printed.out == ""
    assert not (folder / "outputs").exists()


# In a paper's table


def test_a_table_s_verb_adds_what_runs_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: not again for a metric that the verb does not give of this run."""
    metrics = SimpleNamespace(metrics=["test/recommend/mrr", "test/recommend/none", "test/mae_bpm"])
    paper: Any = SimpleNamespace(name="mine", after="recommend", sections=[metrics])
    having: Any = SimpleNamespace(path="a", status="finished", metrics={"test/recommend/mrr": 0.1})
    lacking: Any = SimpleNamespace(path="b", status="finished", metrics={"test/mae_bpm": 1.0})
    failed: Any = SimpleNamespace(path="c", status="failed", metrics={})
    asked: list[list[str]] = []
    monkeypatch.setattr(cli, "_act", lambda verb, words: asked.append([verb, *words]))
    cli._check_after(paper)
    assert cli._after(paper, [having, lacking, lacking, failed]) == []
    assert asked == [["recommend", "b", "--evaluate"]]
    paper.after = "predict"
    with pytest.raises(InputError, match="after is one of recommend, transfer, not predict"):
        cli._check_after(paper)
    rows = [{"row": "one", "experiment": "x"}]
    section = {"name": "s", "metrics": ["test/recommend/mrr"], "rows": rows}
    assert paper_table("t", {"title": "t", "sections": [section]}).after is None
    assert paper_table("t", {"title": "t", "sections": [section], "after": "recommend"}).after


def test_which_figures_are_better_is_said() -> None:
    errors, ranks = ["test/mae_bpm"], ["test/recommend/mrr"]
    assert better(errors) == "lower is better"
    assert better(ranks) == "higher is better"
    assert better(errors + ranks) == "lower is better, of test/recommend/mrr higher"


@pytest.mark.slow
def test_the_table_of_recommendation(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trainer.max_epochs=1", "data.source.athletes=8", "--format", "json"]
    assert cli.main(["reproduce", "fitrec.recommendation", "--quick", *words]) == 0
    records = json.loads(capsys.readouterr().out)
    found = {(r["kind"], r["metric"]): r["measured"]["mean"] for r in records}
    assert found["model", "test/recommend/mrr"] > 0
    assert found["baseline", "test/recommend/hit_at_5"] is not None


@pytest.mark.slow
def test_recorded_files(folder: Path, real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run on recorded workouts, routes in files of watches."""
    words = ["model=user_sport_mean", "data=workout_table"]
    words += [f"data.path={real_data / 'open-workouts'}", "hydra.run.dir=recorded"]
    assert cli.main(["train", *words]) == 0
    user = Run("recorded").spec["attributes"]["user"][1]
    asked = ["recommend", "recorded", "--user", user, "--target", "140"]
    capsys.readouterr()
    assert cli.main([*asked, "--long", "--routes", str(real_data / "fit-importer-samples")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SIMULATED" not in "".join(lines)
    assert max(map(len, lines)) <= 100
    found = pd.read_csv(Path(lines[-1]) / "recommendations.csv")
    assert found["route"].nunique() >= 10
    assert found["predicted_mean_bpm"].between(60, 200).all()
    speed = 60 * found["km"] / found["minutes"]
    assert speed.between(0, 60).all()
