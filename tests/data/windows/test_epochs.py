from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.data.windows.epochs import Epochs, Recording, heart_rate_range
from fitexp.errors import InputError

RECORDING: dict[str, Any] = {
    "user": "a",
    "start_s": float("nan"),
    "series": np.zeros((4, 2), np.float32),
    "heart_rate": np.zeros(4, np.float32),
    "first": np.array([0, 3]),
    "target": np.zeros(2, np.float32),
}
EPOCHS: dict[str, Any] = {
    "source": "made",
    "simulated": True,
    "series": ("one", "two"),
    "step_s": 15.0,
    "users": pd.DataFrame({"bmi": [22.0, np.nan]}, index=["a", "b"]),
    "recordings": lambda: iter(()),
    "rejected": {},
    "notes": {},
}


def test_what_agrees_is_taken() -> None:
    assert Recording(**RECORDING).user == "a"
    assert Recording(**RECORDING | {"first": None, "target": None}).first is None
    assert Epochs(**EPOCHS).step_s == 15.0


@pytest.mark.parametrize(
    "change",
    [
        {"series": np.zeros((4, 2))},
        {"series": np.zeros(4, np.float32)},
        {"series": np.zeros((5, 2), np.float32)},
        {"heart_rate": np.zeros(4)},
        {"heart_rate": np.zeros((4, 1), np.float32)},
        {"start_s": float("inf")},
        {"first": None},
        {"target": None},
        {"first": np.array([0, 4])},
        {"first": np.array([-1, 0])},
        {"first": np.array([0.0, 1.0])},
        {"target": np.zeros(3, np.float32)},
        {"target": np.zeros(2)},
    ],
)
def test_recordings_that_do_not_agree(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=rf"user a: .*{name} "):
        Recording(**RECORDING | change)


@pytest.mark.parametrize(
    "change",
    [
        {"series": ()},
        {"series": ("one", "one")},
        {"step_s": 0.0},
        {"users": pd.DataFrame({"bmi": [1.0, 2.0]}, index=["a", "a"])},
        {"users": pd.DataFrame({"bmi": [1.0, 2.0]}, index=[1, 2])},
        {"users": pd.DataFrame({"bmi": [1, 2]}, index=["a", "b"])},
    ],
)
def test_epochs_that_do_not_agree(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="made: "):
        Epochs(**EPOCHS | change)


def test_ranges_of_heart_rates() -> None:
    assert heart_rate_range([30, 220]) == (30, 220)
    for wrong in ([30], [230, 30], [-1, 230], [float("nan"), 230]):
        with pytest.raises(InputError, match="heart_rate_bpm"):
            heart_rate_range(wrong)
