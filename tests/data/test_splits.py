import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data import splits
from fitexp.data.splits import TEST, TRAIN, VAL, at_random, by_time, by_user, shares

FRACTIONS = (0.8, 0.1, 0.1)
USERS = st.lists(st.integers(0, 8), min_size=1, max_size=80).map(np.array)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (9, (7, 1, 1)),
        (29, (23, 3, 3)),
        (100, (80, 10, 10)),
    ],
)
def test_shares(n: int, expected: tuple[int, int, int]) -> None:
    assert shares(n, FRACTIONS) == expected


@given(st.integers(1, 500))
def test_training_is_never_empty(n: int) -> None:
    train, val, test = shares(n, FRACTIONS)
    assert train >= 1
    assert train + val + test == n
    assert test >= 1 or n == 1


@given(USERS, st.randoms(use_true_random=False))
def test_time_split_never_trains_on_the_future(user: np.ndarray, random) -> None:
    order = np.array(random.sample(range(len(user)), len(user)))
    part = by_time(user, order, FRACTIONS)
    assert set(part) <= {TRAIN, VAL, TEST}
    for u in np.unique(user):
        mine, when = part[user == u], order[user == u]
        assert (np.diff(mine[np.argsort(when)]) >= 0).all()


@given(USERS.filter(lambda u: len(np.unique(u)) >= 3), st.integers(0, 5))
def test_no_user_is_in_two_parts_and_each_is_tested_once(user: np.ndarray, seed: int) -> None:
    tested = []
    for fold in range(3):
        part = by_user(user, folds=3, fold=fold, val_fraction=0.1, seed=seed)
        for u in np.unique(user):
            assert len(np.unique(part[user == u])) == 1
        assert (part == TRAIN).any()
        tested += np.unique(user[part == TEST]).tolist()
    assert sorted(tested) == np.unique(user).tolist()


def test_folds_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="5 folds for 2 users"):
        by_user(np.array([0, 1]), folds=5, fold=0, val_fraction=0.1, seed=0)
    with pytest.raises(ValueError, match="fold 3 of 3"):
        by_user(np.arange(5), folds=3, fold=3, val_fraction=0.1, seed=0)


def test_random_split_has_the_shares_and_hangs_on_the_seed() -> None:
    part = at_random(100, FRACTIONS, seed=1)
    assert [(part == p).sum() for p in (TRAIN, VAL, TEST)] == [80, 10, 10]
    assert (part == at_random(100, FRACTIONS, seed=1)).all()
    assert (part != at_random(100, FRACTIONS, seed=2)).any()


@given(
    st.lists(st.integers(0, 6), min_size=8, max_size=60).filter(
        lambda users: sum(users.count(u) > 2 for u in set(users)) > 1
    ),
    st.integers(0, 12),
    st.integers(0, 1),
)
def test_own_workouts_go_into_training_and_the_tested_ones_stay(
    user: list[int], own: int, fold: int
) -> None:
    users = np.array(user)
    order = np.random.default_rng(len(user)).permutation(len(user))
    part = by_user(users, folds=2, fold=fold, val_fraction=0.2, seed=0, at_least=3)
    some, none = (splits.with_own(part, users, order, own=n, test_share=0.25) for n in (own, 0))
    np.testing.assert_array_equal(some == TEST, none == TEST)
    for u in set(user):
        rows = np.flatnonzero(users == u)
        rows = rows[np.argsort(order[rows])]
        if part[rows[0]] != TEST:
            np.testing.assert_array_equal(some[rows], part[rows])
            continue
        assert len(rows) >= 3
        tested = max(1, round(0.25 * len(rows)))
        assert (some[rows[-tested:]] == TEST).all()
        earlier = some[rows[:-tested]]
        assert (earlier == TRAIN).sum() == min(own, len(earlier))
        assert (np.sort(earlier == TRAIN) == (earlier == TRAIN)).all()  # the last
        assert set(none[rows[:-tested]]) <= {splits.OUT}
    folds = [by_user(users, folds=2, fold=f, val_fraction=0.2, seed=0, at_least=3) for f in (0, 1)]
    tested_once = sum((found == TEST).astype(int) for found in folds)
    able = np.array([user.count(u) >= 3 for u in user])
    np.testing.assert_array_equal(tested_once, able.astype(int))
