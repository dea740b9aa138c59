import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor

from fitexp.data.prepare import Prepared
from fitexp.data.workouts.protocol import arrays_of
from fitexp.errors import InputError
from fitexp.models.means import GroupMean, group_means, looked_up
from tests.data.workouts.made import protocol, table, trivial

ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.floats(40, 200)), min_size=1, max_size=60
)


@given(ROWS, st.integers(0, 5), st.integers(0, 4))
def test_back_off_equals_the_literal_rule(
    rows: list[tuple[int, int, float]], user: int, sport: int
) -> None:
    X = np.array([r[:2] for r in rows])
    y = np.array([r[2] for r in rows])
    got = looked_up(group_means(X, y), np.array([[user, sport]]))[0]
    both = [v for u, s, v in rows if (u, s) == (user, sport)]
    mine = [v for u, _, v in rows if u == user]
    np.testing.assert_allclose(got, np.mean(both or mine or list(y)))


def test_global_mean_is_scikit_learns_dummy() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (50, 2)), rng.normal(140, 10, 50)
    expected = DummyRegressor().fit(X, y).predict(X)
    np.testing.assert_allclose(looked_up(group_means(X[:, :0], y), X[:, :0]), expected)


def test_unknown_is_never_a_group() -> None:
    X, y = np.array([[0], [1], [1]]), np.array([300.0, 100.0, 110.0])
    found = looked_up(group_means(X, y), np.array([[0], [1]]))
    assert found.tolist() == [170.0, 105.0]


PREPARED = {
    "whole": arrays_of(protocol(steps=30, max_steps=60), table()),
    "short": arrays_of(protocol(regime="short", max_steps=60, horizons=[1, 6]), table()),
}


def training(prepared: Prepared) -> pd.DataFrame:
    """The measured steps of training workouts, by a plain loop."""
    arrays, rows = prepared.arrays, []
    for w in range(len(arrays["part"])):
        if arrays["part"][w] != 0:
            continue
        for step, row in enumerate(range(arrays["offset"][w], arrays["offset"][w + 1])):
            if arrays["observed"][row]:
                user, sport = arrays["user_id"][w], arrays["sport"][w]
                rows.append((user, sport, step, float(arrays["y"][row])))
    return pd.DataFrame(rows, columns=["user", "sport", "step", "y"])


@pytest.mark.parametrize("regime", list(PREPARED))
def test_means_by_plain_group_by(regime: str) -> None:
    """At every step of every workout, for people and sports that training has."""
    prepared = PREPARED[regime]
    arrays, models, known = prepared.arrays, trivial(prepared), training(prepared)
    rows = np.arange(len(arrays["y"]))
    workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
    steps = pd.DataFrame(
        {
            "user": arrays["user_id"][workout],
            "sport": arrays["sport"][workout],
            "step": rows - arrays["offset"][workout],
        }
    )
    found = {name: model.at(arrays, rows, rows - 1) for name, model in models.items()}
    user = steps["user"].map(known.groupby("user")["y"].mean())
    by_person = known.groupby(["sport", "user"])["y"].mean()
    minute = known["y"] - known["user"].map(known.groupby("user")["y"].mean())
    curve = minute.groupby(known["step"] * 10 // 60).mean()
    last = np.minimum(steps["step"] * 10 // 60, curve.index.max())
    expected = {
        "global_mean": np.full(len(rows), known["y"].mean()),
        "user_mean": user,
        "user_sport_mean": known.groupby(["user", "sport"])["y"]
        .mean()
        .reindex(pd.MultiIndex.from_frame(steps[["user", "sport"]])),
        "sport_mean": steps["sport"].map(by_person.groupby("sport").mean()),
        "user_curve": user + last.map(curve),
    }
    if regime == "short":
        expected["last_value"] = arrays["y"][rows - 1]
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], np.asarray(values, float), err_msg=name)


@pytest.mark.parametrize("regime", list(PREPARED))
def test_targets_of_the_test_do_not_matter(regime: str) -> None:
    prepared = PREPARED[regime]
    workout = np.repeat(np.arange(len(prepared.arrays["part"])), np.diff(prepared.arrays["offset"]))
    tested = prepared.arrays["part"][workout] > 0
    y = np.where(tested, prepared.arrays["y"] + 50, prepared.arrays["y"])
    other = dataclasses.replace(prepared, arrays={**prepared.arrays, "y": y.astype(np.float32)})
    for name, model in trivial(prepared).items():
        for key, values in trivial(other)[name].fitted.items():
            np.testing.assert_array_equal(values, model.fitted[key])


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.by=\['userr'\]"):
        GroupMean(spec=PREPARED["whole"].spec, by=["userr"])
