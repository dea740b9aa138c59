import builtins
import dataclasses
import importlib.util
import json
from typing import Any

import numpy as np
import pytest

from fitexp.data.workouts.layout import training_rows, workout_of
from fitexp.errors import InputError
from tests.models.test_ridge import PREPARED, made

pytest.importorskip("xgboost", reason="the extra `baselines` is not installed")


def test_the_same_arrays_give_the_same_trees() -> None:
    first, second = (made(PREPARED["whole"], "boosting").fitted for _ in range(2))
    np.testing.assert_array_equal(first["whole/trees"], second["whole/trees"])


def test_the_trees_are_json_in_bytes() -> None:
    trees = made(PREPARED["short"], "boosting").fitted["10s/trees"]
    assert trees.dtype == np.uint8
    found = json.loads(trees.tobytes())
    assert found["learner"]["gradient_booster"]["model"]["gbtree_model_param"]["num_trees"] == "20"


def test_it_is_the_ridge_and_one_tree_by_hand() -> None:
    """One stump of full rate without shrinkage: each side's mean residual is added."""
    prepared = PREPARED["whole"]
    rows = training_rows(prepared.arrays)
    step = rows - prepared.arrays["offset"][workout_of(prepared.arrays)[rows]]
    y = prepared.arrays["y"].copy()
    y[rows[step >= 20]] += 60  # what a straight line cannot follow, a stump can
    jump = dataclasses.replace(prepared, arrays={**prepared.arrays, "y": y})
    options = {"rounds": 1, "learning_rate": 1.0, "depth": 1, "min_child_weight": 0}
    added = made(jump, "boosting", person_weight=0.0, **options)
    ridge = made(jump, person_weight=0.0).at(jump.arrays, rows, None)
    leaf = added.at(jump.arrays, rows, None) - ridge
    sides = np.unique(leaf.round(3))
    assert len(sides) == 2
    for side in sides:
        own = np.abs(leaf - side) < 0.01
        mean = (y[rows] - ridge)[own].sum() / (own.sum() + 1)  # xgboost's lambda is 1
        np.testing.assert_allclose(side, mean, atol=0.01)


def without_xgboost(monkeypatch: pytest.MonkeyPatch) -> None:
    load, find = builtins.__import__, importlib.util.find_spec

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "xgboost":
            raise ImportError(name)
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "xgboost" else find(name)
    )


def test_without_xgboost_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    without_xgboost(monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'fitexp\[baselines\]'"):
        made(PREPARED["whole"], "boosting")


def test_without_xgboost_it_does_not_stand_beside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made(PREPARED["whole"], "boosting")
    assert model.stands_beside(PREPARED["whole"].arrays)
    without_xgboost(monkeypatch)
    assert not model.stands_beside(PREPARED["whole"].arrays)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"rounds": 0}, "model.rounds=0"), ({"learning_rate": 2}, "model.learning_rate=2")],
)
def test_what_it_cannot_take_is_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(PREPARED["whole"], "boosting", **changed)
