import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

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


def test_mean_pinball_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    y, p, levels = rng.gamma(2, 20, 300), rng.normal(40, 9, (300, 3)), [0.05, 0.5, 0.9]
    wanted = [mean_pinball_loss(y, p[:, j], alpha=level) for j, level in enumerate(levels)]
    assert metrics.mean_pinball(y, p, levels) == pytest.approx(np.mean(wanted), rel=3e-14)


def test_crossings_and_coverage_by_hand() -> None:
    """Equal neighbours do not cross; a target on the edge is covered."""
    assert metrics.crossings([[1, 2, 3], [1, 1, 3], [1, 3, 2], [2, 1, 3]]) == 0.5
    assert metrics.coverage([5, 6, 7, 9], low=[5, 7, 6, 6], high=[6, 8, 7, 8]) == 0.5


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.integers(-9, 9), st.integers(0, 9)),
        min_size=2,
        max_size=15,
    ),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_a_calibrated_band_keeps_its_finite_sample_law(
    rows: list[tuple[int, int, int]], share: float
) -> None:
    """Each of n + 1 rows against the n others: ceil((n + 1) share) are covered, more if tied.

    Every order of exchangeable rows is as likely, so this share is the probability of coverage.
    """
    y, low, width = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    high = low + width
    covered = 0
    for row in range(len(y)):
        others = np.arange(len(y)) != row
        band = metrics.calibrated(
            low[[row]],
            high[[row]],
            target_cal=y[others],
            low_cal=low[others],
            high_cal=high[others],
            share=share,
        )
        covered += metrics.coverage(y[[row]], *band) == 1.0
    wanted = min(len(y), int(np.ceil(np.round(len(y) * share, 9))))
    scores = np.maximum(low - y, y - high)
    assert covered == wanted if len(set(scores.tolist())) == len(y) else covered >= wanted


def test_a_band_that_is_too_wide_is_narrowed() -> None:
    """Nine targets lie 3 to 11 within the edges: 80 % of 10 is the 8th, 4 within."""
    y = np.zeros(9)
    edge = np.arange(3.0, 12.0)
    band = metrics.calibrated(
        [-20.0], [20.0], target_cal=y, low_cal=-edge, high_cal=edge, share=0.8
    )
    assert [float(side[0]) for side in band] == [-16.0, 16.0]


def test_too_few_targets_to_calibrate_leave_no_bound() -> None:
    low, high = metrics.calibrated(
        [0.0], [1.0], target_cal=[0.5] * 8, low_cal=[0.0] * 8, high_cal=[1.0] * 8, share=0.9
    )
    assert (low[0], high[0]) == (-np.inf, np.inf)


def test_a_share_is_between_0_and_1() -> None:
    with pytest.raises(ValueError, match="share=90"):
        metrics.calibrated([], [], target_cal=[], low_cal=[], high_cal=[], share=90)
