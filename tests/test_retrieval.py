"""Is the plan that was followed found among others? Laws, and a model that knows everything."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fitexp import predict, retrieval, worker
from fitexp.data.prepare import Prepared
from fitexp.data.splits import TRAIN
from fitexp.data.workouts import candidates as among
from fitexp.data.workouts.protocol import arrays_of
from fitexp.errors import InputError
from fitexp.report.recommended import evaluation_table
from tests.data.workouts.made import protocol, table, trivial

RUN: Any = SimpleNamespace(path="run")


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """8 people with 12 workouts of 8 to 12 minutes, blocks of 30 steps."""
    return arrays_of(protocol(steps=30, max_steps=None), table(athletes=8, workouts=12))


def by_speed(prepared: Prepared, windows: Any) -> Any:
    """Predicts what `made.table` made, without noise: 80 + 5 x speed + 4 x athlete's number."""
    arrays, spec = prepared.arrays, prepared.spec
    scale, column = spec.scaling["derived_speed"], spec.inputs.index("derived_speed")
    speed = arrays["x"][:, column] / scale.factor * scale.sd + scale.mean
    rows = arrays["offset"][windows[:, 0]] + windows[:, 1]
    rows = np.minimum(rows[:, None] + np.arange(spec.steps), len(speed) - 1)
    number = [int(user.removeprefix("athlete")) for user in arrays["user_id"][windows[:, 0]]]
    return 80 + 5 * speed[rows] + 4 * np.array(number)[:, None]


@pytest.fixture
def knowing(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict_run(run: Any, data: Prepared, part: str, allow: Any) -> dict[str, Any]:
        windows = data.arrays[part]
        return {"rows": windows, "whole": by_speed(data, windows)}

    monkeypatch.setattr(worker, "own_data", lambda run, allow: prepared)
    monkeypatch.setattr(worker, "predict_run", predict_run)


def test_candidates_are_of_the_sport_and_length_and_the_true_plan_is_first(
    prepared: Prepared,
) -> None:
    arrays = prepared.arrays
    draws, left_out = among.drawn(arrays)
    tests = set(arrays["test"][:, 0].tolist())
    assert len(draws) + left_out == len(tests)
    length = np.diff(arrays["offset"])
    for test, own in draws.items():
        assert own[0] == test
        assert 10 <= len(own) == len(set(own.tolist())) <= 50
        alike = [
            w
            for w in range(len(length))
            if arrays["sport"][w] == arrays["sport"][test]
            and abs(length[w] - length[test]) <= 0.1 * length[test]
        ]
        assert set(own.tolist()) <= set(alike)
        assert len(own) == min(50, len(alike))
    again, _ = among.drawn(arrays)
    assert all((again[test] == own).all() for test, own in draws.items())


def test_too_few_candidates_are_left_out_and_counted() -> None:
    few = arrays_of(protocol(steps=100), table(athletes=2, workouts=6)).arrays
    draws, left_out = among.drawn(few)
    assert not draws
    assert left_out == len(np.unique(few["test"][:, 0]))


def test_the_own_plan_is_predicted_as_the_test_workout_was(prepared: Prepared) -> None:
    """Every array that a model sees of (t, t) is the run's own of t, past and start included."""
    arrays = prepared.arrays
    tests = np.unique(arrays["test"][:, 0])
    found = among.followed(prepared, tests, tests).arrays
    behind = len(found["offset"]) - 1 - len(tests)
    for k, test in enumerate(tests):
        w = behind + k
        here = slice(found["offset"][w], found["offset"][w + 1])
        there = slice(arrays["offset"][test], arrays["offset"][test + 1])
        for name in ("x", "elapsed_s"):
            np.testing.assert_array_equal(found[name][here], arrays[name][there])
        for name in ("attributes", "start", "since_last", "sport", "workout_id"):
            np.testing.assert_array_equal(found[name][w], arrays[name][test])
        assert not found["observed"][here].any()
        assert (found["y"][here] == arrays["start"][test]).all()  # nothing of the target
        past, own = found["previous"][w], arrays["previous"][test]
        assert past < behind
        assert found["workout_id"][past] == arrays["workout_id"][own]
        seen = slice(found["offset"][past], found["offset"][past + 1])
        known = slice(arrays["offset"][own], arrays["offset"][own + 1])
        for name in ("x", "y"):
            np.testing.assert_array_equal(found[name][seen], arrays[name][known])
    assert len(found["test"]) == len(arrays["test"])
    first = found["test"][:, 1]
    assert (np.diff(first) >= 0).all()  # every first block before any second one


def test_another_s_plan_is_done_by_the_owner(prepared: Prepared) -> None:
    arrays = prepared.arrays
    owner, plan = arrays["test"][0, 0], arrays["test"][1, 0]
    found = among.followed(prepared, np.array([owner]), np.array([plan])).arrays
    rows = slice(found["offset"][-2], found["offset"][-1])
    there = slice(arrays["offset"][plan], arrays["offset"][plan + 1])
    np.testing.assert_array_equal(found["x"][rows], arrays["x"][there])
    for name in ("attributes", "start", "since_last", "user_id"):
        np.testing.assert_array_equal(found[name][-1], arrays[name][owner])


def test_fitted_models_predict_the_own_plan_as_before(prepared: Prepared) -> None:
    tests = np.unique(prepared.arrays["test"][:, 0])
    virtual = among.followed(prepared, tests, tests)
    for model in trivial(prepared).values():
        before = predict.series(prepared, model.predict(prepared.arrays, "test"))
        after = predict.series(virtual, model.predict(virtual.arrays, "test"))
        known = after[np.isfinite(after)]
        rows = [np.arange(*prepared.arrays["offset"][t : t + 2]) for t in tests]
        np.testing.assert_array_equal(known, before[np.concatenate(rows)])


def test_a_model_that_knows_ranks_the_true_plan_first(prepared: Prepared, knowing: None) -> None:
    found = retrieval.retrieval(RUN)
    assert len(found.tests) > 5
    assert [one.ranks[""] for one in found.tests] == [1.0] * len(found.tests)
    metrics = found.metrics()
    assert metrics["test/recommend/hit_at_1"] == metrics["test/recommend/mrr"] == 1.0
    assert metrics["count/test/recommend/workouts"] == len(found.tests)
    for name in ("random", "nearest_duration", "nearest_speed", "nearest_user_mean"):
        assert 0 <= metrics[f"baseline/{name}/test/recommend/mrr"] < 1


def test_ranks_do_not_depend_on_the_order_of_candidates(
    prepared: Prepared, knowing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = {w: np.random.default_rng(w).normal(0, 12) for w in range(200)}  # a model that errs
    names = prepared.arrays["workout_id"].tolist()

    def predict_run(run: Any, data: Prepared, part: str, allow: Any) -> dict[str, Any]:
        windows = data.arrays[part]
        own = [noise[names.index(n)] for n in data.arrays["workout_id"][windows[:, 0]]]
        return {"rows": windows, "whole": by_speed(data, windows) + np.array(own)[:, None]}

    monkeypatch.setattr(worker, "predict_run", predict_run)
    before = retrieval.retrieval(RUN)
    draws, left_out = among.drawn(prepared.arrays)
    turned = {t: np.concatenate([own[:1], own[:0:-1]]) for t, own in draws.items()}
    monkeypatch.setattr(among, "drawn", lambda arrays: (turned, left_out))
    after = retrieval.retrieval(RUN)
    assert [one.ranks for one in after.tests] == [one.ranks for one in before.tests]
    assert len({one.ranks[""] for one in before.tests}) > 3


def test_ranks_are_those_of_a_literal_loop(prepared: Prepared, knowing: None) -> None:
    """Baselines and the common steps, written down once more."""
    arrays = prepared.arrays
    offset, users, sports = arrays["offset"], arrays["user_id"], arrays["sport"]
    training = [w for w in range(len(users)) if arrays["part"][w] == TRAIN]

    def hr(w: int, steps: int | None = None) -> float:
        rows = np.arange(offset[w], offset[w + 1])[:steps]
        return float(np.mean([arrays["y"][r] for r in rows if arrays["observed"][r]]))

    def usual(w: int, value: Any) -> float:
        own = [v for v in training if (users[v], sports[v]) == (users[w], sports[w])]
        return float(np.mean([value(v) for v in own]))

    def steps(w: int) -> int:
        return int(offset[w + 1] - offset[w])

    draws, _ = among.drawn(arrays)
    for one, (test, own) in zip(retrieval.retrieval(RUN).tests, draws.items(), strict=True):
        common = min(steps(c) for c in own)
        scores = {
            "nearest_duration": [abs(steps(c) - usual(test, steps)) for c in own],
            "nearest_user_mean": [abs(usual(c, hr) - hr(test, common)) for c in own],
        }
        for way, values in scores.items():
            rounded = [round(v, 4) for v in values]
            places = [i for i, v in enumerate(sorted(rounded), 1) if v == rounded[0]]
            assert one.ranks[way] == pytest.approx(np.mean(places)), way


def test_random_is_the_mean_over_all_places() -> None:
    ids = [["w"] * n for n in (10, 3)]
    tests = [retrieval.Tested("u", "w", own, {"": 1.0}) for own in ids]
    found = retrieval.Retrieval(tests, 0).figures("model")["random"]
    places = [list(range(1, n + 1)) for n in (10, 3)]
    assert found["hit_at_1"] == pytest.approx(np.mean([1 / 10, 1 / 3]))
    assert found["hit_at_5"] == pytest.approx(np.mean([np.mean(np.array(p) <= 5) for p in places]))
    assert found["mrr"] == pytest.approx(np.mean([np.mean(1 / np.array(p)) for p in places]))


def test_a_person_without_training_has_the_sport_s_mean_then_everybody_s() -> None:
    arrays = {
        "part": np.array([0, 0, 0, 2, 2, 2]),
        "user_id": np.array(["a", "a", "b", "a", "c", "c"]),
        "sport": np.array(["run", "run", "run", "run", "run", "swim"]),
    }
    values = np.array([1.0, 3.0, 8.0, 99.0, 99.0, 99.0])
    np.testing.assert_allclose(among.in_training(arrays, values), [2, 2, 8, 2, 4, 4])
    values[1] = np.nan
    np.testing.assert_allclose(among.in_training(arrays, values)[0], 1)


def test_errors_are_of_measured_steps() -> None:
    target = np.array([1.0, np.nan, 3.0])
    lines = [np.array([1.0, 50.0, 3.0]), np.array([4.0, 0.0, 7.0])]
    np.testing.assert_allclose(retrieval.errors(target, lines), [0, np.sqrt((9 + 16) / 2)])


def test_without_speed_in_the_inputs_there_is_no_such_baseline(prepared: Prepared) -> None:
    spec = dataclasses.replace(prepared.spec, inputs=("altitude", "grade"))
    ways = retrieval.baselines(dataclasses.replace(prepared, spec=spec))
    assert set(ways) == {"nearest_duration", "nearest_user_mean"}


def test_nothing_to_choose_among_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few = arrays_of(protocol(steps=100), table(athletes=2, workouts=6))
    monkeypatch.setattr(worker, "own_data", lambda run, allow: few)
    with pytest.raises(InputError, match="no test workout has 10 workouts of its sport"):
        retrieval.retrieval(RUN)


def test_table_fits_and_marks(prepared: Prepared, knowing: None) -> None:
    text = evaluation_table(retrieval.retrieval(RUN), "mine", simulated=True)
    lines = text.splitlines()
    assert "SIMULATED DATA" in lines[0]
    assert "higher is better" in lines[0]
    assert max(map(len, lines)) <= 100
    assert next(line for line in lines if line.startswith("mine")).split()[1:] == ["1.000"] * 3
    json.dumps(retrieval.retrieval(RUN).metrics())
