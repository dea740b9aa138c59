from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from fitexp.errors import InputError
from tests.models.windows import SPEC, STEPS, fitted_windows, made_windows

ARRAYS = made_windows()
TARGET, USER = ARRAYS["target"].astype(np.float64), ARRAYS["window_user"]


def test_the_global_mean_is_that_of_training() -> None:
    found = fitted_windows(ARRAYS, "window_global_mean").predict(ARRAYS, "test")
    wanted = TARGET[ARRAYS["train"]].mean()
    np.testing.assert_allclose(found["prediction"], np.full(12, wanted))
    np.testing.assert_array_equal(found["rows"][:, 0], 7)
    np.testing.assert_array_equal(found["rows"][:, 1], ARRAYS["test"] * STEPS)


def test_the_oracle_is_the_tested_user_s_own_mean_and_says_so() -> None:
    model = fitted_windows(ARRAYS, "user_mean_oracle")
    found = model.predict(ARRAYS, "test")["prediction"]
    np.testing.assert_allclose(found, np.full(12, TARGET[USER == 7].mean()))
    assert "tested users" in model.described()["oracle"]


def test_the_oracle_knows_no_windows_that_networks_alone_are_trained_on() -> None:
    window_user = np.append(ARRAYS["window_user"], USER[ARRAYS["train"][0]])
    arrays = {**ARRAYS, "window_user": window_user, "target": np.append(TARGET, np.nan)}
    model = fitted_windows(ARRAYS, "user_mean_oracle")
    found = model.predict(arrays, "train")["prediction"]
    np.testing.assert_array_equal(found, model.predict(ARRAYS, "train")["prediction"])


def test_resting_hr_is_scikit_learns_line() -> None:
    model = fitted_windows(ARRAYS, "resting_hr")
    train, val = ARRAYS["train"], ARRAYS["val"]
    x = ARRAYS["users"][USER, 1:].astype(np.float64)
    line = LinearRegression().fit(x[train], TARGET[train])
    found = model.predict(ARRAYS, "val")["prediction"]
    np.testing.assert_allclose(found, line.predict(x[val]), rtol=1e-10)
    assert model.described()["line"] == (
        f"{line.intercept_:.2f} + {line.coef_[0]:.3f} x resting_hr_bpm"
    )


def test_a_user_without_resting_hr_gets_the_mean_and_is_counted() -> None:
    model = fitted_windows(ARRAYS, "resting_hr")
    found = model.predict(ARRAYS, "test")["prediction"]
    np.testing.assert_allclose(found, np.full(12, TARGET[ARRAYS["train"]].mean()))
    assert model.described()["users without resting_hr_bpm"] == "1, given the mean"


@pytest.mark.parametrize("value", [60.0, np.nan])
def test_a_column_that_tells_nothing_leaves_the_mean(value: float) -> None:
    users = np.full_like(ARRAYS["users"], value)
    arrays = {**ARRAYS, "users": users}
    found = fitted_windows(arrays, "resting_hr").predict(arrays, "val")["prediction"]
    np.testing.assert_allclose(found, np.full(12, TARGET[ARRAYS["train"]].mean()))


def test_a_column_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match=r"model.column=hr: .* they know age_years, resting"):
        fitted_windows(ARRAYS, "resting_hr", column="hr")
    model = fitted_windows(ARRAYS, "resting_hr")
    assert model.stands_beside(ARRAYS)
    model.spec = SimpleNamespace(**{**vars(SPEC), "columns": ()})
    assert not model.stands_beside(ARRAYS)


@pytest.mark.parametrize("name", ["window_global_mean", "resting_hr"])
def test_targets_that_are_not_trained_on_change_nothing(name: str) -> None:
    shifted = ARRAYS["target"] + np.where(np.isin(USER, [6, 7]), 50, 0)
    other = fitted_windows({**ARRAYS, "target": shifted}, name).fitted
    for key, value in fitted_windows(ARRAYS, name).fitted.items():
        np.testing.assert_array_equal(value, other[key])
