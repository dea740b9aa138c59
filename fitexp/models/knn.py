"""The person's own training workouts that are most like the one asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays, scored
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.features import rates, rows_of
from fitexp.data.workouts.layout import TRAIN, step_of, workout_of
from fitexp.errors import InputError
from fitexp.models.fitted import FittedSeries, Float, Int
from fitexp.models.means import BalancedMean


class NearestWorkouts(FittedSeries):
    """Mean of the targets that the person had at the same step of the k nearest workouts.

    Nearest of the person's training workouts: first those of the same sport, then by Euclidean
    distance of `summary`, each column over its standard deviation in training. Fewer than k: all
    there are. Behind a neighbour's end counts its last value. A person not seen in training gets
    the mean of the sport, `BalancedMean`.
    """

    regimes = ("whole",)

    def __init__(self, *, spec: WorkoutSpec, neighbours: int) -> None:
        super().__init__(spec=spec)
        if not (isinstance(neighbours, int) and neighbours >= 1):
            raise InputError(f"model.neighbours={neighbours}: a whole number, 1 up")
        self.neighbours = neighbours

    def fit(self, arrays: Arrays) -> None:
        training = np.flatnonzero(np.asarray(arrays["part"]) == TRAIN)
        rows, _, starts = rows_of(arrays, training)
        summaries = summary(self.spec, arrays, training)
        sd = summaries.std(axis=0)
        self.fitted = {
            "sd": np.where(sd > 0, sd, 1.0),
            "summary": summaries,
            "person_sport": self._person_sport(arrays)[training],
            "starts": starts,
            "y": scored(arrays)[rows].astype(np.float64),
            **{f"else_{name}": values for name, values in self._means(arrays).items()},
        }

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        workout, step = workout_of(arrays)[rows], step_of(arrays)[rows]
        asked, which = np.unique(workout, return_inverse=True)
        nearest = self._nearest(arrays, asked)[which]  # (n, k), -1: none
        starts = self.fitted["starts"]
        row = np.minimum(starts[nearest] + step[:, None], starts[nearest + 1] - 1)
        there = nearest >= 0
        total = np.where(there, self.fitted["y"][np.where(there, row, 0)], 0.0).sum(axis=1)
        count = there.sum(axis=1)
        sport = BalancedMean(spec=self.spec, by=["sport"])
        sport.fitted = {
            name.removeprefix("else_"): values
            for name, values in self.fitted.items()
            if name.startswith("else_")
        }
        return np.where(count > 0, total / np.maximum(count, 1), sport.at(arrays, rows, None))

    def _nearest(self, arrays: Arrays, workouts: Int) -> Int:
        """(W, k) places of the nearest in training, -1 where there are no more."""
        own, sd = self.fitted["person_sport"], self.fitted["sd"]
        found = np.full((len(workouts), self.neighbours), -1)
        summaries = summary(self.spec, arrays, workouts)
        for k, (person, sport) in enumerate(self._person_sport(arrays)[workouts]):
            mine = np.flatnonzero((own[:, 0] == person) & (person > 0))
            apart = (((self.fitted["summary"][mine] - summaries[k]) / sd) ** 2).sum(axis=1)
            chosen = mine[np.lexsort([apart, own[mine, 1] != sport])][: self.neighbours]
            found[k, : len(chosen)] = chosen
        return found

    def _person_sport(self, arrays: Arrays) -> Int:
        names = list(self.spec.attributes)
        return np.asarray(arrays["attributes"])[:, [names.index("user"), names.index("sport")]]

    def _means(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        sport = BalancedMean(spec=self.spec, by=["sport"])
        sport.fit(arrays)
        return sport.fitted


def summary(spec: WorkoutSpec, arrays: Arrays, workouts: Int) -> Float:
    """(W, M) what the plan says of whole workouts: the mean of each rate and the log of the length.

    Of rates only what is above 0 counts: of vertical speed and grade, the climbing.
    """
    rows, number, starts = rows_of(arrays, workouts)
    above = [np.maximum(rate, 0.0) for rate in rates(spec, arrays, rows, number)]
    length = np.diff(starts)
    means = [np.add.reduceat(rate, starts[:-1]) / length for rate in above]
    return np.column_stack([*means, np.log(length)])
