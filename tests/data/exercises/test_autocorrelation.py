"""The nominal autocorrelation on cases worked by hand, and the window it gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fitexp.data.exercises.autocorrelation import (
    Autocorrelation,
    nominal_acf,
    window_by_acf,
)
from fitexp.data.exercises.simulate import simulated_study
from fitexp.errors import InputError


def histories(*texts: str) -> list[np.ndarray]:
    return [np.array([ord(letter) for letter in text], dtype=np.int64) for text in texts]


def of(acf: list[float], chance: float) -> Autocorrelation:
    values = np.array(acf)
    pairs = np.ones(len(acf), dtype=np.int64)
    return Autocorrelation(acf=values, low=values, high=values, pairs=pairs, chance=chance)


@pytest.fixture(scope="module")
def study() -> Autocorrelation:
    table = simulated_study(path=None, users=72, seed=0)
    return nominal_acf(list(pd.factorize(table.events["item"])[0].reshape(72, 36)), lags=12)


def test_by_hand() -> None:
    """abab and aac: lag 1 matches aa, 1 of 3 + 2 pairs; lag 2 ab, ab: 2 of 2 + 1; lag 3 0 of 1."""
    found = nominal_acf(histories("abab", "aac"), lags=4)
    assert found.pairs.tolist() == [5, 3, 1, 0]
    assert found.acf == pytest.approx([1 / 5, 2 / 3, 0, np.nan], nan_ok=True)
    assert found.chance == pytest.approx((4 / 7) ** 2 + (2 / 7) ** 2 + (1 / 7) ** 2)
    assert window_by_acf(found) == 2


def test_names_of_items_do_not_matter() -> None:
    one = nominal_acf(histories("abcabcad", "bcbc"), lags=5)
    two = nominal_acf(histories("zpqzpqzk", "pqpq"), lags=5)
    assert np.array_equal(one.acf, two.acf)
    assert np.array_equal(one.high, two.high, equal_nan=True)
    assert one.chance == pytest.approx(two.chance)


def test_independent_items_repeat_by_chance() -> None:
    rng = np.random.default_rng(0)
    share = [0.5, 0.3, 0.2]
    found = nominal_acf(list(rng.choice(3, (60, 100), p=share)), lags=6)
    assert found.chance == pytest.approx(0.38, abs=0.02)
    assert found.acf == pytest.approx(0.38, abs=0.03)
    assert (found.low < found.acf).all()
    assert (found.acf < found.high).all()


def test_the_interval_is_over_users_not_events() -> None:
    """Half the people always repeat, half never do: the mean of n such is 0.5 +- 0.5 / sqrt(n)."""
    rows = histories(*["a" * 50, "ab" * 25] * 20)
    found = nominal_acf(rows, lags=1)
    assert found.acf[0] == pytest.approx(0.5)
    assert (found.high - found.low)[0] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.15)
    again = nominal_acf(rows, lags=1)
    assert np.array_equal(again.low, found.low)


def test_the_shortest_of_equal_lags_and_none_at_chance() -> None:
    assert window_by_acf(of([0.1, 0.4, 0.4], chance=0.2)) == 2
    assert window_by_acf(of([0.1, 0.2, np.nan], chance=0.2)) is None
    assert window_by_acf(of([np.nan], chance=0.2)) is None


@pytest.mark.parametrize(("rows", "lags"), [([], 3), (histories(""), 3), (histories("ab"), 0)])
def test_refused(rows: list[np.ndarray], lags: int) -> None:
    with pytest.raises(InputError, match="at least one lag and one event"):
        nominal_acf(rows, lags=lags)


def test_three_exercises_a_day_peak_at_lag_3(study: Autocorrelation) -> None:
    assert window_by_acf(study) == 3
    assert study.pairs.tolist() == [72 * (36 - k) for k in range(1, 13)]
    days, others = study.acf[[2, 5, 11]], np.delete(study.acf, [2, 5, 8, 11])
    assert (study.low[[2, 5]] > study.chance).all()
    assert days.min() > study.chance
    assert others.max() < study.chance
