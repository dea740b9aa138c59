"""Trivial predictors: means of training targets, and the last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays, scored
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.layout import step_of, training_rows, workout_of
from fitexp.errors import InputError
from fitexp.models.fitted import FittedSeries, Float, Int

STEP = "step"  # of a group: the number of the step within its workout
PER = {"s": 60.0, "m": 1000.0}  # a curve has one value a minute, or a kilometre


def codes(spec: WorkoutSpec, arrays: Arrays, rows: Int, by: Sequence[str]) -> Int:
    """(n, len(by)) attributes as numbers of their vocabularies, 0 unknown; of STEP, its + 1."""
    names = list(spec.attributes)
    attributes = np.asarray(arrays["attributes"])[workout_of(arrays)[rows]]
    columns = [
        step_of(arrays)[rows] + 1 if name == STEP else attributes[:, names.index(name)]
        for name in by
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), np.int64)


class GroupMean(FittedSeries):
    """Mean target of a step's group, e.g. of its user and sport (`by`).

    Backs off to larger groups that training has seen: by [user, sport], then by [user], then all.
    An unknown value is never a group of its own.
    """

    def __init__(self, *, spec: WorkoutSpec, by: Sequence[str]) -> None:
        super().__init__(spec=spec)
        known = [*spec.attributes, STEP]
        for name in by:
            if name not in known:
                raise InputError(f"model.by={list(by)}: a group is by any of {', '.join(known)}")
        self.by = tuple(by)

    def fit(self, arrays: Arrays) -> None:
        rows = training_rows(arrays)
        self.fitted = group_means(
            codes(self.spec, arrays, rows, self.by), scored(arrays)[rows].astype(np.float64)
        )

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        return looked_up(self.fitted, codes(self.spec, arrays, rows, self.by))


class StepMean(GroupMean):
    """Mean target at each step of a workout: all that is left to learn of shuffled targets."""

    def __init__(self, *, spec: WorkoutSpec) -> None:
        super().__init__(spec=spec, by=[STEP])

    def stands_beside(self, arrays: Arrays) -> bool:
        return "scored" in arrays


class UserCurve(GroupMean):
    """The user's mean + how the target usually goes with time in a workout.

    curve_m = mean over training steps of minute m (on a distance grid, kilometre m) of (y - mean
    of the user). Behind the last minute that training has seen: that minute's value.
    """

    def __init__(self, *, spec: WorkoutSpec) -> None:
        super().__init__(spec=spec, by=["user"])

    def fit(self, arrays: Arrays) -> None:
        super().fit(arrays)
        rows = training_rows(arrays)
        apart = scored(arrays)[rows] - super().at(arrays, rows, None)
        minute = self._minute(arrays, rows)
        count = np.bincount(minute)
        total = np.bincount(minute, weights=apart)
        curve = np.full(len(count), np.nan)
        np.divide(total, count, out=curve, where=count > 0)
        seen = np.flatnonzero(count)
        self.fitted["curve"] = np.interp(np.arange(len(curve)), seen, curve[seen])

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        curve = self.fitted["curve"]
        minute = np.minimum(self._minute(arrays, rows), len(curve) - 1)
        mean: Float = super().at(arrays, rows, origins)
        return mean + np.asarray(curve[minute], np.float64)

    def _minute(self, arrays: Arrays, rows: Int) -> Int:
        """By the number of the step: on a distance grid, time would tell the speed."""
        covered = step_of(arrays)[rows] * self.spec.step
        minute: Int = (covered // PER[self.spec.step_unit]).astype(np.int64)
        return minute


class BalancedMean(GroupMean):
    """Mean over people of their mean in a group (`by`, without the user): each counts once.

    The two recordings with the longest workouts would else be the mean of a small data set.
    """

    def fit(self, arrays: Arrays) -> None:
        rows = training_rows(arrays)
        y = scored(arrays)[rows].astype(np.float64)
        keys = codes(self.spec, arrays, rows, [*self.by, "user"])
        people, row = np.unique(keys, axis=0, return_inverse=True)
        row = row.reshape(-1)
        means = np.bincount(row, weights=y) / np.bincount(row)
        self.fitted = group_means(people[:, :-1], means)


class LastValue(FittedSeries):
    """The last known target, for every horizon; short regime only."""

    regimes = ("short",)

    def fit(self, arrays: Arrays) -> None:
        self.fitted = {}

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        assert origins is not None
        return np.asarray(arrays["y"])[origins].astype(np.float64)


# Means by group, backing off


def group_means(X: Int, y: Float) -> dict[str, NDArray[np.generic]]:
    """Means of y (n,) by the rows of X (n, levels), of each shorter row as well.

    keys<l> (G, l): the groups by the first l columns; means<l> (G,). Level 0 is everybody.
    """
    found: dict[str, NDArray[np.generic]] = {}
    for level in range(X.shape[1] + 1):
        keys, group = np.unique(X[:, :level], axis=0, return_inverse=True)
        group = group.reshape(-1)
        total = np.bincount(group, weights=y, minlength=len(keys))
        found[f"keys{level}"] = keys
        found[f"means{level}"] = total / np.bincount(group, minlength=len(keys))
    return found


def looked_up(means: Mapping[str, NDArray[np.generic]], X: Int) -> Float:
    """(n,) the mean of the smallest group that training has seen; code 0 is never a group."""
    out = np.full(len(X), float(means["means0"][0]))
    for level in range(1, X.shape[1] + 1):
        keys, values = means[f"keys{level}"].tolist(), means[f"means{level}"].tolist()
        known = {tuple(key): mean for key, mean in zip(keys, values, strict=True)}
        rows, group = np.unique(X[:, :level], axis=0, return_inverse=True)
        found = np.array(
            [known.get(tuple(row), np.nan) if all(row) else np.nan for row in rows.tolist()]
        )[group.reshape(-1)]
        out = np.where(np.isnan(found), out, found)
    return out
