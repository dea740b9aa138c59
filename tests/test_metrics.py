import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from fitexp import metrics


def test_pooled_errors_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(140, 20, 500), rng.normal(140, 20, 500)
    assert metrics.mae(y, p) == pytest.approx(mean_absolute_error(y, p))
    assert metrics.rmse(y, p) == pytest.approx(root_mean_squared_error(y, p))


def test_sequence_errors_by_hand() -> None:
    """Two sequences with errors (3, -4) and (1): sums 7 and 1, squares 25 and 1."""
    y, p, unit = [100, 100, 100], [103, 96, 101], ["a", "a", "b"]
    assert metrics.mae_sequence(y, p, unit) == pytest.approx((7 + 1) / 2)
    assert metrics.mae_workout(y, p, unit) == pytest.approx((7 / 2 + 1) / 2)
    assert metrics.rmse_workout(y, p, unit) == pytest.approx((np.sqrt(25 / 2) + 1) / 2)
    assert metrics.rmse_sequence(y, p, unit) == pytest.approx(np.sqrt((25 + 1) / 2))


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no step"):
        metrics.mae([], [])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_rank_of_first_is_the_mean_place_among_equals(scores: list[int]) -> None:
    places = [place for place, score in enumerate(sorted(scores), 1) if score == scores[0]]
    assert metrics.rank_of_first(scores) == pytest.approx(np.mean(places))


@given(st.lists(st.floats(1, 50), min_size=1, max_size=20), st.integers(1, 50))
def test_figures_of_ranks_are_those_of_loops(ranks: list[float], k: int) -> None:
    hits, reciprocal = 0, 0.0
    for rank in ranks:
        hits += rank <= k
        reciprocal += 1 / rank
    assert metrics.hit_at(ranks, k) == pytest.approx(hits / len(ranks))
    assert metrics.mrr(ranks) == pytest.approx(reciprocal / len(ranks))


def test_only_figures_of_ranks_are_better_when_higher() -> None:
    for name in ("test/recommend/hit_at_1", "baseline/random/test/recommend/mrr"):
        assert metrics.higher_is_better(name)
    for name in ("test/mae_bpm", "test/at_10s/rmse_bpm", "count/test/recommend/workouts"):
        assert not metrics.higher_is_better(name)
