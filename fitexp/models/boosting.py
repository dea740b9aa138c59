"""Gradient boosted trees on what ridge regression leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitexp.data.prepare import Arrays, scored
from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.models import trees
from fitexp.models.fitted import Float, Int
from fitexp.models.ridge import Ridge, by_horizon, people_and_sports, training_sets


class Boosting(Ridge):
    """`Ridge`, plus trees (xgboost, histograms) fitted to its residuals in training.

    The trees see the features of a step and the ridge's answer to it, which carries person and
    sport; steps weigh as in `Ridge`. All `rounds` are used: no early stopping, so that validation
    workouts stay unseen. One thread: the same arrays give the same trees.
    fitted: the ridge's arrays, and per fit the trees as xgboost's JSON, in bytes.
    """

    slow_to_fit = True

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        scales: Sequence[float],
        memory: int,
        person_weight: float,
        penalty: Mapping[str, float],
        rounds: int,
        learning_rate: float,
        depth: int,
        min_child_weight: float,
        seed: int,
    ) -> None:
        super().__init__(
            spec=spec,
            scales=scales,
            memory=memory,
            person_weight=person_weight,
            penalty=penalty,
        )
        for name, value in {"rounds": rounds, "depth": depth}.items():
            if not (isinstance(value, int) and value >= 1):
                raise InputError(f"model.{name}={value}: a whole number, 1 up")
        if not 0 < learning_rate <= 1:
            raise InputError(f"model.learning_rate={learning_rate}: above 0, at most 1")
        if not min_child_weight >= 0:
            raise InputError(f"model.min_child_weight={min_child_weight}: 0 or more")
        self.rounds = rounds
        self.options = {
            "tree_method": "hist",
            "nthread": 1,
            "eta": learning_rate,
            "max_depth": depth,
            "min_child_weight": min_child_weight,
            "base_score": 0.0,
            "seed": seed,
        }

    def stands_beside(self, arrays: Arrays) -> bool:
        return trees.installed("boosting") and super().stands_beside(arrays)

    def fit(self, arrays: Arrays) -> None:
        xgboost = trees.xgboost()
        super().fit(arrays)
        for label, rows, origins in training_sets(self.spec, arrays):
            ridge = super().at(arrays, rows, origins)
            user, _ = people_and_sports(self.spec, arrays, rows)
            data = xgboost.QuantileDMatrix(
                self._seen(arrays, rows, origins, ridge),
                label=scored(arrays)[rows] - ridge,
                weight=self._weights(user)[user],
                nthread=1,
            )
            grown = xgboost.train(self.options, data, self.rounds)
            self.fitted[f"{label}/trees"] = trees.packed(grown)

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        out = super().at(arrays, rows, origins)
        for label, chosen in by_horizon(self.spec, rows, origins):
            if len(chosen):
                grown = trees.unpacked(self.fitted[f"{label}/trees"])
                origin = None if origins is None else origins[chosen]
                seen = self._seen(arrays, rows[chosen], origin, out[chosen])
                out[chosen] += grown.inplace_predict(seen)
        return out

    def _seen(self, arrays: Arrays, rows: Int, origins: Int | None, ridge: Float) -> Any:
        """(n, C+1) float32: features and the ridge's answer, in the short regime its change."""
        known = 0.0 if origins is None else np.asarray(arrays["y"])[origins]
        seen: Any = None
        for places, x in self._blocks(arrays, rows, origins):
            if seen is None:
                seen = np.empty((len(rows), x.shape[1] + 1), np.float32)
            seen[places, :-1] = x
        seen[:, -1] = ridge - known
        return seen
