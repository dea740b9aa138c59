"""data.shuffled_target: nothing is left to learn, so whoever learns something is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fitexp import targets, worker
from fitexp.data import splits
from fitexp.data.batches import Batch
from fitexp.data.prepare import Prepared
from fitexp.data.workouts.module import WorkoutGather
from fitexp.data.workouts.protocol import arrays_of
from fitexp.errors import InputError
from fitexp.report.results import WHOLE, predictions_table, score
from tests.data.workouts.made import trivial
from tests.toy_run import ALLOW, toy_run

from .made import protocol, table

MADE = table()
PARTS = {name: number for number, name in splits.NAMES.items()}


def prepared(**changed: Any) -> Prepared:
    return arrays_of(protocol(shuffled_target=True, **changed), MADE)


def series(arrays: Any, name: str, workout: int) -> np.ndarray:
    return arrays[name][arrays["offset"][workout] : arrays["offset"][workout + 1]]


def lender(arrays: Any, observed: np.ndarray, workout: int) -> int:
    """The one workout whose measured target is scored in this one's place, found by its values."""
    found = []
    for other in range(len(arrays["part"])):
        y, seen = series(arrays, "y", other), series({**arrays, "y": observed}, "y", other)
        mine, counts = series(arrays, "scored", workout), series(arrays, "observed", workout)
        n = min(len(y), len(mine))
        if np.array_equal(mine[:n], y[:n]) and np.array_equal(counts[:n], seen[:n]):
            assert not counts[n:].any()  # behind the lender's end nothing is scored
            found.append(other)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("start_value", ["user_mean", "measured"])
@pytest.mark.parametrize("split", ["time", "random"])
def test_targets_are_permuted_within_each_part_and_nobody_keeps_his_own(
    split: str, start_value: str
) -> None:
    changed = {"split": split, "start_value": start_value}
    own = arrays_of(protocol(**changed), MADE).arrays["observed"]
    arrays = prepared(**changed).arrays
    for number in (splits.TRAIN, splits.VAL, splits.TEST):
        workouts = np.flatnonzero(arrays["part"] == number).tolist()
        lenders = [lender(arrays, own, w) for w in workouts]
        assert sorted(lenders) == workouts
        assert len(workouts) > 1
        assert all(a != b for a, b in zip(workouts, lenders, strict=True))
    for w in np.flatnonzero(arrays["part"] == splits.OUT):
        assert lender(arrays, own, w) == w


def test_a_part_of_one_workout_keeps_it() -> None:
    arrays = arrays_of(protocol(shuffled_target=True), table(athletes=1, workouts=4)).arrays
    np.testing.assert_array_equal(arrays["scored"], arrays["y"])


def test_the_permutation_is_a_function_of_the_split_seed() -> None:
    one, again, other = (prepared(split_seed=s).arrays["scored"] for s in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_all_that_is_fed_stays_as_it_was() -> None:
    """Arrays and batches, y and what counts of it aside; several windows a workout."""
    several: dict[str, Any] = {"steps": 25, "max_steps": None}
    plain, shuffled = arrays_of(protocol(**several), MADE), prepared(**several)
    assert set(shuffled.arrays) == {*plain.arrays, "scored"}
    for name in set(plain.arrays) - {"observed"}:
        np.testing.assert_array_equal(plain.arrays[name], shuffled.arrays[name], err_msg=name)
    assert plain.spec.scaling == shuffled.spec.scaling
    assert plain.spec.start_by_user == shuffled.spec.start_by_user
    for part in PARTS:
        rows = np.arange(len(plain.arrays[part]))
        one, other = (WorkoutGather(p, part)(rows) for p in (plain, shuffled))
        for name in set(one) - {"y", "mask"}:
            assert torch.equal(one[name], other[name]), name
        assert not torch.equal(one["y"], other["y"])


def test_batches_and_figures_are_of_the_scored_target() -> None:
    """One workout at a time, one step at a time."""
    made = prepared()
    arrays, rows = made.arrays, made.arrays["test"]
    batch = WorkoutGather(made, "test")(np.arange(len(rows)))
    expected = []
    for b, (w, _) in enumerate(rows):
        y, counts = series(arrays, "scored", w), series(arrays, "observed", w)
        assert batch["y"][b, : len(y)].tolist() == y.tolist()
        assert batch["mask"][b].tolist() == [*counts, *[0.0] * (made.spec.steps - len(y))]
        expected += [(w, step, y[step]) for step in np.flatnonzero(counts)]
    train = np.flatnonzero(arrays["part"] == splits.TRAIN)
    measured = [
        (step, value)
        for w in train
        for step, value in enumerate(series(arrays, "scored", w))
        if series(arrays, "observed", w)[step]
    ]
    zero = np.zeros((len(rows), made.spec.steps), np.float32)
    found = predictions_table(made, {"rows": rows, WHOLE: zero}, trivial(made))
    ids = arrays["workout_id"]
    assert list(zip(found["unit_id"], found["step"], found["target"], strict=True)) == [
        (ids[w], step, value) for w, step, value in expected
    ]
    mean = np.mean([value for _, value in measured])
    assert found["baseline_global_mean"].unique() == pytest.approx(mean)
    at_7 = np.mean([value for step, value in measured if step == 7])
    assert found["baseline_step_mean"][found["step"] == 7].unique() == pytest.approx(at_7)


def test_what_is_printed_says_so_and_no_ceiling_is_claimed() -> None:
    simulated = dataclasses.replace(MADE, simulated=True)
    plain, shuffled = (arrays_of(protocol(shuffled_target=on), simulated) for on in (False, True))
    assert "SHUFFLED" not in plain.spec.protocol["target"]
    assert "SHUFFLED between workouts" in shuffled.spec.protocol["target"]
    assert "expected" in plain.arrays
    assert "expected" not in shuffled.arrays
    assert plain.report["data_hash"] != shuffled.report["data_hash"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"regime": "short", "shuffled_target": True}, r"needs data\.regime=whole"),
        ({"shuffled_target": "yes"}, "true or false"),
    ],
)
def test_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        protocol(**changed)


# A model in training


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def errors(folder: Path, **changed: Any) -> dict[str, float]:
    """Test figures of a run, without its files of results."""
    run = toy_run(folder, **changed)
    worker.fit(run, allow=ALLOW)
    data = targets.build(run.config["data"]).prepare()
    found = worker.predict_run(run, data, "test", ALLOW)
    return score(predictions_table(data, found, trivial(data)), data.spec, "test")


TOY: dict[str, Any] = {
    "data__source": {
        "_target_": "fitexp.data.workouts.simulate.simulated_workouts",
        "athletes": 10,
        "workouts": 10,
        "seed": 0,
    },
    "model__dropout": 0.0,
    "trainer__max_epochs": 8,
    "optimizer__lr": 0.02,
}


@pytest.mark.slow
def test_a_planted_leak_is_caught(
    tmp_path: Path, cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy network, told the scored target in place of its first input."""
    gather = WorkoutGather.__call__

    def leaking(self: WorkoutGather, rows: np.ndarray) -> Batch:
        batch = gather(self, rows)
        batch["x"][..., 0] = (batch["y"] - 130.0) / 30.0
        return batch

    monkeypatch.setattr(WorkoutGather, "__call__", leaking)
    found = errors(tmp_path / "leak", data__shuffled_target=True, **TOY)
    assert found["test/rmse_bpm"] < 0.5 * found["baseline/step_mean/test/rmse_bpm"]


@pytest.mark.slow
def test_the_toy_network_without_a_leak_learns_nothing(tmp_path: Path, cache: None) -> None:
    """The control: of its own targets it learns, of the others' no more than the mean by step."""
    found = errors(tmp_path / "shuffled", data__shuffled_target=True, **TOY)
    assert found["test/rmse_bpm"] > 0.97 * found["baseline/step_mean/test/rmse_bpm"]
    found = errors(tmp_path / "own", **TOY)
    assert found["test/rmse_bpm"] < 0.8 * found["baseline/global_mean/test/rmse_bpm"]
