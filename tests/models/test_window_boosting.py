from __future__ import annotations

import json
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from fitexp.data.windows import features
from fitexp.errors import InputError
from tests.models.test_boosting import without_xgboost
from tests.models.windows import SPEC, STEPS, fitted_windows, made_windows

xgboost = pytest.importorskip("xgboost", reason="the extra `baselines` is not installed")
ARRAYS = made_windows()
TRAIN, USER = ARRAYS["train"], ARRAYS["window_user"]
GRID = {"rounds": [5, 20], "depth": [1, 3], "learning_rate": [0.1, 0.4]}


def rmse(model: Any, part: str = "val") -> float:
    found = model.predict(ARRAYS, part)["prediction"]
    return float(np.sqrt(np.mean((found - ARRAYS["target"][ARRAYS[part]]) ** 2)))


def regressor(rounds: int, depth: int, learning_rate: float) -> Any:
    return xgboost.XGBRegressor(
        n_estimators=rounds, max_depth=depth, learning_rate=learning_rate, n_jobs=1
    )


def test_it_is_xgboost_on_the_statistics() -> None:
    model = fitted_windows(ARRAYS, "window_boosting", rounds=10)
    X = features.statistics(ARRAYS["series"], ARRAYS["window_first"], STEPS)
    known = regressor(10, 4, 0.05).fit(X[TRAIN], ARRAYS["target"][TRAIN])
    found = model.predict(ARRAYS, "val")
    np.testing.assert_allclose(found["prediction"], known.predict(X[ARRAYS["val"]]), rtol=1e-6)
    np.testing.assert_array_equal(
        found["rows"], np.stack([USER, ARRAYS["window_first"]], axis=1)[ARRAYS["val"]]
    )


def test_the_same_arrays_give_the_same_trees() -> None:
    first, second = (fitted_windows(ARRAYS, "window_boosting").fitted for _ in range(2))
    np.testing.assert_array_equal(first["trees"], second["trees"])
    assert json.loads(first["trees"].tobytes())["learner"]


@pytest.mark.parametrize(
    ("name", "columns"),
    [("window_boosting", 16), ("window_boosting_recent", 32), ("window_boosting_averages", 42)],
)
def test_what_the_trees_see_has_a_name_each(name: str, columns: int) -> None:
    model: Any = fitted_windows(ARRAYS, name, rounds=1)
    names = model.names()
    assert len(set(names)) == columns == model._seen(ARRAYS, TRAIN).shape[1]
    assert json.loads(model.fitted["trees"].tobytes())["learner"]["feature_names"] == list(names)
    assert names[16:17] in ((), ("vm_hpf_mean__16_back",))


def test_recent_values_and_statics_help_where_they_are_what_counts() -> None:
    plain = rmse(fitted_windows(ARRAYS, "window_boosting"))
    recent = rmse(fitted_windows(ARRAYS, "window_boosting_recent"))
    known = {"inputs": ["recent"], "statics": ["resting_hr_bpm"]}
    assert recent < 0.9 * plain
    assert rmse(fitted_windows(ARRAYS, "window_boosting", **known)) < recent


def test_targets_that_are_not_trained_on_change_nothing() -> None:
    shifted = ARRAYS["target"] + np.where(np.isin(USER, [6, 7]), 50, 0)
    options = {"rounds": 5, "search": True, "grid": GRID}
    one = fitted_windows(ARRAYS, "window_boosting", **options)
    other = fitted_windows({**ARRAYS, "target": shifted}, "window_boosting", **options)
    np.testing.assert_array_equal(one.fitted["trees"], other.fitted["trees"])


def test_the_search_finds_what_trying_all_finds() -> None:
    """Each choice grown anew, on folds of users."""
    X = features.statistics(ARRAYS["series"], ARRAYS["window_first"], STEPS)[TRAIN]
    y, user = ARRAYS["target"][TRAIN], USER[TRAIN]
    errors = {}
    for choice in product(GRID["rounds"], GRID["depth"], GRID["learning_rate"]):
        apart = np.zeros(len(y))
        for train, held in GroupKFold(3).split(X, groups=user):
            assert not set(user[train]) & set(user[held])
            apart[held] = regressor(*choice).fit(X[train], y[train]).predict(X[held]) - y[held]
        errors[choice] = float(np.sqrt(np.mean(apart**2)))
    best = min(errors, key=lambda choice: errors[choice])
    model: Any = fitted_windows(ARRAYS, "window_boosting", search=True, search_folds=3, grid=GRID)
    assert tuple(model.fitted["choice"].tolist()) == best
    assert float(model.fitted["rmse"]) == pytest.approx(errors[best], rel=1e-6)
    wanted = regressor(*best).fit(X, y).predict(X)
    np.testing.assert_allclose(model.at(ARRAYS, TRAIN), wanted, rtol=1e-6)
    words = f"{best[0]} of depth {best[1]}, rate {best[2]}, by cross-validation over users"
    assert model.described()["trees"].startswith(words)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": ["last"]}, "last is none of statistics, recent, averages"),
        ({"inputs": []}, "nothing is left"),
        ({"statics": ["iq"]}, "do not have iq, they know age_years, resting_hr_bpm"),
        ({"inputs": ["recent"], "movement": ["vm"]}, r"model.movement: .*\(enmo_mean, vm_hpf_mean"),
        ({"inputs": ["recent"], "recent": 21}, "model.recent=21: a window has 20 steps"),
        ({"rounds": 0}, "model.rounds=0"),
        ({"grid": GRID | {"depth": [0]}}, "model.depth=0"),
        ({"grid": GRID | {"depth": []}}, r"model.grid.depth=\[\]"),
        ({"grid": {"depth": [1]}}, "it takes rounds, depth, learning_rate"),
        ({"learning_rate": 2.0}, "model.learning_rate=2.0"),
        ({"shortest": 0.0}, "model.shortest=0.0"),
        ({"search_folds": 1}, "model.search_folds=1"),
        ({"min_child_weight": -1}, "model.min_child_weight=-1"),
    ],
)
def test_what_it_cannot_take_is_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fitted_windows(ARRAYS, "window_boosting", **changed)


def test_one_user_cannot_be_searched_over() -> None:
    arrays = {**ARRAYS, "train": TRAIN[:5]}
    with pytest.raises(InputError, match="two training users"):
        fitted_windows(arrays, "window_boosting", search=True)


def test_it_stands_beside_where_it_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fitted_windows(ARRAYS, "window_boosting_recent", rounds=1)
    assert model.stands_beside(ARRAYS)
    model.spec = SimpleNamespace(**{**vars(SPEC), "series": ("counts",)})
    assert not model.stands_beside(ARRAYS)
    model.spec = SPEC
    without_xgboost(monkeypatch)
    assert not model.stands_beside(ARRAYS)
    assert capsys.readouterr().err.count("\n") == 1
