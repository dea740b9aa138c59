"""Who is trained on, who is tested on. Pure functions of their arguments (and a seed).

Each returns one part a unit: TRAIN, VAL, TEST, or OUT for a unit that belongs to none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Part = NDArray[np.int8]
TRAIN, VAL, TEST, OUT = 0, 1, 2, -1
NAMES = {TRAIN: "train", VAL: "val", TEST: "test"}


def shares(n: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """Numbers of train, validation and test units among `n`.

    Validation and test are rounded to the nearest whole number and get at least one unit each as
    soon as training keeps one too: 1 -> (1, 0, 0), 2 -> (1, 0, 1), 3 -> (1, 1, 1), 9 -> (7, 1, 1).
    A training share of 0 leaves it empty (other data to evaluate on).
    """
    if fractions[0] == 0:
        return 0, (val := round(n * fractions[1])), n - val
    test = max(1, round(n * fractions[2])) if n > 1 and fractions[2] > 0 else 0
    val = max(1, round(n * fractions[1])) if n > 2 and fractions[1] > 0 else 0
    while test + val >= n > 0:
        test, val = (test - 1, val) if test >= val else (test, val - 1)
    return n - val - test, val, test


def by_time(user: NDArray[np.int64], order: NDArray[np.int64], fractions: Sequence[float]) -> Part:
    """Per user: the first units (by `order`, a rank in time) train, the next val, the last test."""
    part = np.full(len(user), OUT, dtype=np.int8)
    for u in np.unique(user):
        rows = np.flatnonzero(user == u)
        rows = rows[np.argsort(order[rows], kind="stable")]
        train, val, _ = shares(len(rows), fractions)
        part[rows[:train]] = TRAIN
        part[rows[train : train + val]] = VAL
        part[rows[train + val :]] = TEST
    return part


def by_user(
    user: NDArray[np.int64],
    *,
    folds: int,
    fold: int,
    val_fraction: float,
    seed: int,
    at_least: int = 1,
) -> Part:
    """Users of fold `fold` (of `folds`, shuffled by `seed`) test; `val_fraction` of the others val.

    No user is in two parts; over all folds each user with `at_least` units is tested once.
    """
    users, units = np.unique(user, return_counts=True)
    able = users[units >= at_least]
    if not 2 <= folds <= len(able):
        raise ValueError(f"{folds} folds for {len(able)} users: need 2 <= folds <= users")
    if not 0 <= fold < folds:
        raise ValueError(f"fold {fold} of {folds}: need 0 <= fold < folds")
    test = np.random.default_rng([seed, 0]).permutation(able)[fold::folds]
    rest = np.setdiff1d(users, test)
    rest = np.random.default_rng([seed, 1, fold]).permutation(rest)
    n_val = min(max(1, round(len(rest) * val_fraction)), len(rest) - 1) if val_fraction > 0 else 0
    part = np.full(len(user), TRAIN, dtype=np.int8)
    part[np.isin(user, rest[:n_val])] = VAL
    part[np.isin(user, test)] = TEST
    return part


def with_own(
    part: Part,
    user: NDArray[np.int64],
    order: NDArray[np.int64],
    *,
    own: int,
    test_share: float,
) -> Part:
    """`by_user`, but of a tested user the last workouts are tested, `own` before them trained on.

    Tested are the last round(test_share * n) of a user's n workouts, at least one, the same ones
    whatever `own` is; of the others the last `own` are in training, the rest is in no part.
    """
    found = part.copy()
    for u in np.unique(user[part == TEST]):
        rows = np.flatnonzero(user == u)
        rows = rows[np.argsort(order[rows])]
        tested = max(1, round(test_share * len(rows)))
        earlier = rows[: len(rows) - tested]
        found[earlier] = OUT
        found[earlier[max(0, len(earlier) - own) :]] = TRAIN
    return found


def at_random(n: int, fractions: Sequence[float], seed: int) -> Part:
    """Units at random: later units may explain earlier ones. Only to compare with others."""
    train, val, _ = shares(n, fractions)
    order = np.random.default_rng([seed, 2]).permutation(n)
    part = np.full(n, TEST, dtype=np.int8)
    part[order[:train]] = TRAIN
    part[order[train : train + val]] = VAL
    return part
