"""Trivial predictors that stand beside every model (scikit-learn's fit and predict)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Float = NDArray[np.float64]


class GroupMean:
    """Mean target of a row's group, backing off to larger groups that training has seen.

    columns: which columns of X make the group, in order of back-off from the last: (0, 1) means
    (X0, X1), then X0, then everybody; () is the global mean. Code 0 is "unknown": such a row
    is never a group of its own.
    """

    def __init__(self, columns: Sequence[int]) -> None:
        self.columns = tuple(columns)
        self.keys: list[Codes] = []  # per level, (G, level) group codes
        self.means: list[Float] = []  # per level, (G,)

    def fit(self, X: Codes, y: Float) -> GroupMean:
        """X (n, columns) codes; y (n,) targets, all finite."""
        self.keys, self.means = [], []
        for level in range(len(self.columns) + 1):
            keys, group = np.unique(X[:, self.columns[:level]], axis=0, return_inverse=True)
            group = group.reshape(-1)
            total = np.bincount(group, weights=y, minlength=len(keys))
            self.keys.append(keys)
            self.means.append(total / np.bincount(group, minlength=len(keys)))
        return self

    def predict(self, X: Codes) -> Float:
        """(n,) the mean of the smallest group that training has seen."""
        out = np.full(len(X), self.means[0][0])
        for level in range(1, len(self.columns) + 1):
            codes = X[:, self.columns[:level]]
            known = {
                tuple(key): mean
                for key, mean in zip(self.keys[level].tolist(), self.means[level], strict=True)
            }
            rows, group = np.unique(codes, axis=0, return_inverse=True)
            means = np.array(
                [known.get(tuple(row), np.nan) if all(row) else np.nan for row in rows.tolist()]
            )[group.reshape(-1)]
            out = np.where(np.isnan(means), out, means)
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """What `from_arrays` needs, as plain arrays."""
        arrays: dict[str, NDArray[np.generic]] = {"columns": np.array(self.columns, np.int64)}
        for level, (keys, means) in enumerate(zip(self.keys, self.means, strict=True)):
            arrays[f"keys{level}"], arrays[f"means{level}"] = keys, means
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> GroupMean:
        made = cls([int(c) for c in arrays["columns"]])
        levels = range(len(made.columns) + 1)
        made.keys = [arrays[f"keys{level}"].astype(np.int64) for level in levels]
        made.means = [arrays[f"means{level}"].astype(np.float64) for level in levels]
        return made


# X of the means below: column 0 the user, 1 the sport, 2 the step within the workout, from 1
MEANS: Mapping[str, tuple[int, ...]] = {
    "global_mean": (),
    "user_mean": (0,),
    "user_sport_mean": (0, 1),
}
STEP_MEAN: Mapping[str, tuple[int, ...]] = {"step_mean": (2,)}
