"""Predictors that are fitted to all training steps at once, without epochs.

They run like any model (`fitexp train model=user_mean`) and stand beside every run
(`data.baselines`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.layout import ahead_rows, whole_rows
from fitexp.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Fitted(ABC):
    """A model without epochs, of any kind of data.

    fitted: all that `fit` learned, as plain arrays; a run folder keeps nothing else.
    """

    kind: ClassVar[str]
    slow_to_fit: ClassVar[bool] = False  # beside runs it is kept in the cache

    def __init__(self, *, spec: Any) -> None:  # the Spec of its kind
        self.spec = spec
        self.fitted: dict[str, NDArray[Any]] = {}

    def check(self) -> None:  # noqa: B027 - most take all data of their kind
        """Raise InputError for data of its kind that it cannot take all the same."""

    def stands_beside(self, arrays: Arrays) -> bool:
        """Whether it belongs beside other models on these data."""
        return True

    @abstractmethod
    def fit(self, arrays: Arrays) -> None:
        """Learn from the training part."""

    @abstractmethod
    def predict(self, arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
        """Predictions of a part, as `fitexp.worker.predict` gives them."""


class FittedSeries(Fitted):
    """A predictor of single steps of prepared workouts, in physical units."""

    kind = "workouts"
    regimes: ClassVar[tuple[str, ...]] = ("whole", "short")

    def __init__(self, *, spec: WorkoutSpec) -> None:
        super().__init__(spec=spec)

    def check(self) -> None:
        if self.spec.regime not in self.regimes:
            raise InputError(
                f"model {type(self).__name__} predicts with data.regime={self.regimes[0]} only, "
                f"not {self.spec.regime}"
            )

    @abstractmethod
    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        """(n,) predictions of steps `rows` (n,).

        origins: short regime, rows of the last known targets, in the same workouts; None: whole.
        """

    def stands_beside(self, arrays: Arrays) -> bool:
        return bool(self.spec.regime in self.regimes)

    def predict(self, arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
        spec, windows = self.spec, np.asarray(arrays[part])
        out: dict[str, NDArray[Any]] = {"rows": windows}
        if spec.regime == "whole":
            rows, _ = whole_rows(arrays, windows, spec.steps)
            out["whole"] = self.at(arrays, rows.ravel(), None).reshape(rows.shape)
        for label, ahead in spec.horizons.items():
            rows, origins, _ = ahead_rows(arrays, windows, spec.steps, ahead)
            out[label] = self.at(arrays, rows, origins)
        return out


class FittedWindows(Fitted):
    """A predictor of the heart rate behind each of prepared windows, in bpm."""

    kind = "windows"

    @abstractmethod
    def at(self, arrays: Arrays, windows: Int) -> Float:
        """(n,) predictions of the windows with these numbers (n,)."""

    def predict(self, arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
        """ "rows" (n, 2) user and first row of each window; "prediction" (n,)."""
        windows = np.asarray(arrays[part])
        rows = np.stack([arrays[name][windows] for name in ("window_user", "window_first")], axis=1)
        return {"rows": rows, "prediction": self.at(arrays, windows)}
