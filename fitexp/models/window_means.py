"""Trivial predictors of the heart rate behind a window: nothing of the movement is seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from fitexp.data import splits
from fitexp.data.prepare import Arrays
from fitexp.errors import InputError
from fitexp.models.fitted import FittedWindows, Float, Int


class GlobalMean(FittedWindows):
    """The mean target of all training windows."""

    def fit(self, arrays: Arrays) -> None:
        self.fitted = {"mean": np.array(_target(arrays, arrays["train"]).mean())}

    def at(self, arrays: Arrays, windows: Int) -> Float:
        return np.full(len(windows), float(self.fitted["mean"]))


class UserMeanOracle(FittedWindows):
    """An oracle, no predictor: each user's mean target over all windows, the tested ones too.

    The paper's "user mean" is that of the training set, which has no user of the test set. This
    one is read off the answers: what knowing a person's level, and nothing else, would give.
    """

    def fit(self, arrays: Arrays) -> None:
        self.fitted = {}

    def at(self, arrays: Arrays, windows: Int) -> Float:
        user = np.asarray(arrays["window_user"])
        counted = np.concatenate([arrays[part] for part in splits.NAMES.values()])
        count = np.bincount(user[counted])
        total = np.bincount(user[counted], weights=_target(arrays, counted))
        asked = user[windows]
        return np.asarray(total[asked] / count[asked])

    def described(self) -> dict[str, str]:
        return {"oracle": "uses the heart rate of the tested users themselves"}


class RestingHeartRate(FittedWindows):
    """Least-squares line of the target over one column of the users, over training windows.

    Users without a value in it get the mean target of all training windows; they are counted.
    """

    def __init__(self, *, spec: Any, column: str) -> None:
        super().__init__(spec=spec)
        self.column = column

    def check(self) -> None:
        if self.column not in self.spec.columns:
            known = ", ".join(self.spec.columns) or "nothing"
            raise InputError(
                f"model.column={self.column}: these data do not have it, they know {known} of users"
            )

    def stands_beside(self, arrays: Arrays) -> bool:
        return self.column in self.spec.columns

    def fit(self, arrays: Arrays) -> None:
        windows = np.asarray(arrays["train"])
        x, y = self._value(arrays, windows), _target(arrays, windows)
        known = ~np.isnan(x)
        centre, mean = (v[known].mean() if known.any() else 0.0 for v in (x, y))
        apart = x[known] - centre
        spread = apart @ apart
        everyone = np.arange(len(arrays["window_user"]))
        lacking = everyone[np.isnan(self._value(arrays, everyone))]
        self.fitted = {
            "slope": np.array(apart @ y[known] / spread if spread > 0 else 0.0),
            "intercept": np.array(mean),
            "centre": np.array(centre),
            "mean": np.array(y.mean()),
            "users_without": np.array(len(np.unique(arrays["window_user"][lacking]))),
        }

    def at(self, arrays: Arrays, windows: Int) -> Float:
        x, line = self._value(arrays, windows), self.fitted
        answer = line["intercept"] + line["slope"] * (x - line["centre"])
        return np.asarray(np.where(np.isnan(x), line["mean"], answer), np.float64)

    def described(self) -> dict[str, str]:
        line = self.fitted
        start = float(line["intercept"] - line["slope"] * line["centre"])
        return {
            "line": f"{start:.2f} + {float(line['slope']):.3f} x {self.column}",
            f"users without {self.column}": f"{int(line['users_without'])}, given the mean",
        }

    def _value(self, arrays: Arrays, windows: Int) -> Float:
        users = np.asarray(arrays["users"])[:, list(self.spec.columns).index(self.column)]
        return np.asarray(users[arrays["window_user"][windows]], np.float64)


def _target(arrays: Arrays, windows: Int) -> Float:
    return np.asarray(arrays["target"][windows], np.float64)
