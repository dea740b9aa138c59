import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor

from fitexp.models.baselines import MEANS, GroupMean

ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.floats(40, 200)), min_size=1, max_size=60
)


@given(ROWS, st.integers(0, 5), st.integers(0, 4))
def test_back_off_equals_the_literal_rule(
    rows: list[tuple[int, int, float]], user: int, sport: int
) -> None:
    X = np.array([r[:2] for r in rows])
    y = np.array([r[2] for r in rows])
    got = GroupMean((0, 1)).fit(X, y).predict(np.array([[user, sport]]))[0]
    both = [v for u, s, v in rows if (u, s) == (user, sport)]
    mine = [v for u, _, v in rows if u == user]
    np.testing.assert_allclose(got, np.mean(both or mine or list(y)))


def test_global_mean_is_scikit_learns_dummy() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (50, 2)), rng.normal(140, 10, 50)
    expected = DummyRegressor().fit(X, y).predict(X)
    np.testing.assert_allclose(GroupMean(()).fit(X, y).predict(X), expected)


def test_unknown_is_never_a_group() -> None:
    X, y = np.array([[0, 1], [1, 1], [1, 1]]), np.array([300.0, 100.0, 110.0])
    mean = GroupMean(MEANS["user_mean"]).fit(X, y)
    assert mean.predict(np.array([[0, 1], [1, 1]])).tolist() == [170.0, 105.0]


def test_arrays_round_trip() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (80, 2)), rng.normal(size=80)
    for columns in MEANS.values():
        mean = GroupMean(columns).fit(X, y)
        again = GroupMean.from_arrays(mean.to_arrays())
        np.testing.assert_array_equal(again.predict(X), mean.predict(X))
