import dataclasses
import importlib.util
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import Ridge as ScikitRidge

from fitexp.data.prepare import Prepared
from fitexp.data.workouts.layout import ahead_rows, training_rows, workout_of
from fitexp.data.workouts.protocol import arrays_of
from fitexp.errors import InputError
from fitexp.models.fitted import FittedSeries
from fitexp.models.ridge import fit_terms
from fitexp.targets import build
from tests.data.workouts.made import CONF, protocol, table

PREPARED = {
    "whole": arrays_of(protocol(steps=30, max_steps=60), table()),
    "short": arrays_of(protocol(regime="short", max_steps=60, horizons=[1, 6]), table()),
}
BOTH = [
    "ridge",
    pytest.param(
        "boosting",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("xgboost") is None, reason="needs the extra `baselines`"
        ),
    ),
]
EQUAL = {"slope": 1e-9, "sport": 7.0, "sport_slope": 7.0, "person": 7.0, "person_slope": 7.0}


def made(prepared: Prepared, name: str = "ridge", **changed: Any) -> FittedSeries:
    """conf/model/NAME.yaml with changes, fitted."""
    node: dict[str, Any] = {}
    for part in ("ridge", name):
        node |= yaml.safe_load((CONF / "model" / f"{part}.yaml").read_text())
    node.pop("defaults", None)
    if name == "boosting":
        node |= {"rounds": 20, "min_child_weight": 5}  # fast
    model: FittedSeries = build(node | changed, spec=prepared.spec)
    model.fit(prepared.arrays)
    return model


def moments(X: Any, y: Any, user: Any, sport: Any) -> np.ndarray:
    """(U, S, C+2, C+2) by the definition."""
    out = np.zeros((max(user) + 1, max(sport) + 1, X.shape[1] + 2, X.shape[1] + 2))
    for row, value, u, s in zip(X, y, user, sport, strict=True):
        v = np.array([1.0, *row, value])
        out[u, s] += np.outer(v, v)
    return out


def test_terms_are_scikit_learns_ridge_on_the_written_out_columns() -> None:
    """Its one penalty for all columns: each is divided by the root of its own."""
    rng = np.random.default_rng(0)
    n, C, U, S = 300, 3, 4, 3
    X, y = rng.normal(2, 3, (n, C)), rng.normal(140, 20, n)
    user, sport = rng.integers(0, U, n), rng.integers(0, S, n)  # 0: unknown
    weight = np.array([1.0, 0.5, 2.0, 0.7])
    penalty = {"slope": 2.0, "sport": 5.0, "sport_slope": 30.0, "person": 3.0, "person_slope": 11.0}
    found = fit_terms(moments(X, y, user, sport), weight, penalty)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    one_z = np.column_stack([np.ones(n), z])
    columns, roots = [z], [np.full(C, 2.0)]
    for group, number, own, slope in ((sport, S, 5.0, 30.0), (user, U, 3.0, 11.0)):
        for k in range(1, number):
            columns.append(one_z * (group == k)[:, None])
            roots.append(np.array([own, *[slope] * C]))
    root = np.sqrt(np.concatenate(roots))
    ridge = ScikitRidge(alpha=1.0, solver="cholesky").fit(
        np.hstack(columns) / root, y, sample_weight=weight[user]
    )
    coefficients = ridge.coef_ / root
    np.testing.assert_allclose(found["b"], [ridge.intercept_, *coefficients[:C]], rtol=1e-6)
    terms = coefficients[C:].reshape(S + U - 2, C + 1)
    np.testing.assert_allclose(found["s"], [[0] * (C + 1), *terms[: S - 1]], atol=1e-6)
    np.testing.assert_allclose(found["p"], [[0] * (C + 1), *terms[S - 1 :]], atol=1e-6)


def test_two_people_by_hand() -> None:
    """Two steps at 100 and two at 160, person penalty 2: b = 130, p = -+ 2 / (2 + 2) * 30."""
    X, y = np.zeros((4, 1)), np.array([100.0, 100, 160, 160])
    found = fit_terms(moments(X, y, [1, 1, 2, 2], [1, 1, 1, 1]), np.ones(3), EQUAL | {"person": 2})
    np.testing.assert_allclose(found["b"][0] + found["s"][1, 0], 130)
    np.testing.assert_allclose(found["p"][:, 0], [0, -15, 15])


def test_without_penalty_each_person_has_his_own_least_squares() -> None:
    rng = np.random.default_rng(1)
    X, user = rng.normal(0, 1, (60, 2)), np.repeat([1, 2], 30)
    y = 100 + 10 * user + X @ [3.0, -2.0] * user + rng.normal(0, 1, 60)
    free = {"slope": 10.0, "sport": 1e9, "sport_slope": 1e9, "person": 1e-7, "person_slope": 1e-7}
    found = fit_terms(moments(X, y, user, np.ones(60, int)), np.ones(3), free)
    z = (X - found["centre"]) / found["sd"]
    for u in (1, 2):
        own = np.column_stack([np.ones(30), z[user == u]])
        expected = np.linalg.lstsq(own, y[user == u], rcond=None)[0]
        np.testing.assert_allclose(found["b"] + found["p"][u], expected, rtol=1e-5)


def test_under_a_great_penalty_everybody_is_the_population() -> None:
    rng = np.random.default_rng(2)
    X, y, user = rng.normal(0, 1, (60, 2)), rng.normal(140, 20, 60), np.repeat([1, 2], 30)
    great = {"slope": 1e-9, "sport": 1e12, "sport_slope": 1e12, "person": 1e12}
    found = fit_terms(
        moments(X, y, user, np.ones(60, int)), np.ones(3), great | {"person_slope": 1e12}
    )
    z = np.column_stack([np.ones(60), (X - found["centre"]) / found["sd"]])
    np.testing.assert_allclose(found["b"], np.linalg.lstsq(z, y, rcond=None)[0], rtol=1e-6)
    np.testing.assert_allclose(found["p"], 0, atol=1e-6)


def test_person_weight_1_counts_people_0_steps() -> None:
    """Without features: the mean over people, and the mean over steps."""
    prepared = PREPARED["whole"]
    arrays = prepared.arrays
    great = {"slope": 1e12, "sport": 1e12, "sport_slope": 1e12, "person": 1e12}
    rows = training_rows(arrays)
    rows = rows[(arrays["attributes"][workout_of(arrays)[rows], 0] > 1) | (rows % 5 == 0)]
    some = np.zeros(len(arrays["y"]), bool)
    some[rows] = True  # the first athlete has a fifth of the steps of others
    arrays = {**arrays, "observed": arrays["observed"] & some}
    user = arrays["attributes"][workout_of(arrays)[rows], 0]
    y = arrays["y"][rows].astype(float)
    people = [y[user == u].mean() for u in np.unique(user)]
    for weight, expected in ((0.0, y.mean()), (1.0, np.mean(people))):
        model = made(
            dataclasses.replace(prepared, arrays=arrays),
            person_weight=weight,
            penalty=great | {"person_slope": 1e12},
        )
        np.testing.assert_allclose(model.at(arrays, rows[:3], None), expected, rtol=1e-6)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("regime", list(PREPARED))
def test_targets_of_the_test_do_not_matter(regime: str, name: str) -> None:
    prepared = PREPARED[regime]
    tested = prepared.arrays["part"][workout_of(prepared.arrays)] > 0
    y = np.where(tested, prepared.arrays["y"] + 50, prepared.arrays["y"]).astype(np.float32)
    other = dataclasses.replace(prepared, arrays={**prepared.arrays, "y": y})
    first, second = made(prepared, name).fitted, made(other, name).fitted
    assert set(first) == set(second)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("regime", list(PREPARED))
def test_later_inputs_and_targets_do_not_reach_back(regime: str, name: str) -> None:
    """Up to step 30, everything behind which becomes another; a horizon of one step."""
    prepared = PREPARED[regime]
    arrays, model = prepared.arrays, made(prepared, name)
    step = np.arange(len(arrays["y"])) - arrays["offset"][workout_of(arrays)]
    later = step > 30
    x = np.where(later[:, None], arrays["x"][::-1], arrays["x"])
    y = np.where(later, arrays["y"] + 50, arrays["y"]).astype(np.float32)
    rows = np.flatnonzero((step >= 20) & (step <= 31))
    origins = None if regime == "whole" else rows - 1
    before = model.at(arrays, rows, origins)
    after = model.at({**arrays, "x": x, "y": y}, rows, origins)
    known = step[rows] <= 30
    np.testing.assert_array_equal(after[known], before[known])
    assert (after[~known] != before[~known]).any()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("regime", list(PREPARED))
def test_it_predicts_again_from_what_it_learned(regime: str, name: str) -> None:
    """Plain arrays, as a run folder keeps them; every step a window asks for, in any order."""
    prepared = PREPARED[regime]
    model = made(prepared, name)
    again: FittedSeries = type(model).__new__(type(model))
    again.__dict__ |= model.__dict__ | {"fitted": {k: v.copy() for k, v in model.fitted.items()}}
    assert all(values.dtype.kind in "fiu" for values in model.fitted.values())
    first, second = (m.predict(prepared.arrays, "test") for m in (model, again))
    for label in first:
        np.testing.assert_array_equal(first[label], second[label])
        assert np.isfinite(first[label]).all()
    if regime == "short":
        rows, origins, _ = ahead_rows(prepared.arrays, prepared.arrays["test"], 10, 6)
        mixed = np.random.default_rng(0).permutation(len(rows))
        found = model.at(prepared.arrays, rows[mixed], origins[mixed])
        np.testing.assert_allclose(found, model.at(prepared.arrays, rows, origins)[mixed])


def test_it_knows_more_than_the_means() -> None:
    """The made heart rates follow speed, sd 1 around it."""
    arrays = PREPARED["whole"].arrays
    light = dict.fromkeys(EQUAL, 0.1)
    found = made(PREPARED["whole"], penalty=light).predict(arrays, "test")
    rows = arrays["offset"][found["rows"][:, 0]][:, None] + found["rows"][:, 1:] + np.arange(30)
    there = rows < arrays["offset"][found["rows"][:, 0] + 1][:, None]
    errors = (found["whole"] - arrays["y"][np.where(there, rows, 0)])[there]
    assert np.abs(errors).mean() < 2


def test_an_unknown_speed_counts_as_the_mean() -> None:
    """Of workouts without any: the answer of the same model with its speed terms out."""
    prepared = PREPARED["whole"]
    scale = prepared.spec.scaling["derived_speed"]
    x = prepared.arrays["x"].copy()
    x[:, 0] = -scale.mean / scale.sd * scale.factor
    model = made(prepared)
    rows = training_rows(prepared.arrays)
    rows = rows[rows - prepared.arrays["offset"][workout_of(prepared.arrays)[rows]] >= 18]
    found = model.at({**prepared.arrays, "x": x}, rows, None)
    speed = [1, 4, 5, 6, 7]  # behind the 1: speed, climb, step, averages of speed, ...
    for terms in "bsp":
        model.fitted[f"whole/{terms}"][..., speed] = 0
    np.testing.assert_allclose(found, model.at(prepared.arrays, rows, None))


def test_an_unknown_person_gets_the_population() -> None:
    arrays = dict(PREPARED["whole"].arrays)
    model = made(PREPARED["whole"])
    arrays["attributes"] = arrays["attributes"].copy()
    rows = np.arange(40)
    known = model.at(arrays, rows, None)
    arrays["attributes"][:, 0] = 0
    unknown = model.at(arrays, rows, None)
    model.fitted["whole/p"][:] = 0
    arrays["attributes"] = PREPARED["whole"].arrays["attributes"]
    np.testing.assert_array_equal(unknown, model.at(arrays, rows, None))
    assert (np.abs(known - unknown) > 0.1).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"penalty": {"slope": 1}}, "model.penalty: slope, sport"),
        ({"penalty": EQUAL | {"sport": 0}}, "above 0"),
        ({"scales": [0]}, r"model.scales=\[0\]"),
        ({"memory": 0}, "model.memory=0"),
    ],
)
def test_what_it_cannot_take_is_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(PREPARED["whole"], **changed)
