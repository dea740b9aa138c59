import numpy as np
import pytest
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
