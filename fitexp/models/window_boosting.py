"""XGBoost_A of Step2Heart: boosted trees on numbers that describe a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays
from fitexp.data.windows import features
from fitexp.errors import InputError
from fitexp.models import trees
from fitexp.models.fitted import FittedWindows, Float, Int

INPUTS = ("statistics", "recent", "averages")
CHOSEN = ("rounds", "depth", "learning_rate")


class WindowBoosting(FittedWindows):
    """Trees (xgboost, histograms) from features of the unscaled series to bpm.

    inputs: "statistics", the 80 features of XGBoost_A (`features.statistics`); "recent", the last
    `recent` values of one series, the first of `movement` that the data have; "averages", ten
    exponential averages of its log (`features.averages`), time constants evenly spaced in their
    logarithm from `shortest` to `longest` steps. statics: users' columns beside them. What is
    absent is absent to the trees as well.

    search: rounds, depth and learning_rate are the ones of `grid` with the smallest RMSE in
    `search_folds`-fold cross-validation over training windows, in which no user is in two folds
    (departure: the authors' program splits windows, so that a fold knows its users), then the trees
    are grown on all of them. Validation users stay unseen.
    One thread: the same arrays give the same trees. fitted: the trees as xgboost's JSON, in bytes,
    and what was chosen.
    """

    slow_to_fit = True

    def __init__(
        self,
        *,
        spec: Any,
        inputs: Sequence[str],
        movement: Sequence[str],
        recent: int,
        averages: int,
        shortest: float,
        longest: float,
        statics: Sequence[str],
        rounds: int,
        learning_rate: float,
        depth: int,
        min_child_weight: float,
        search: bool,
        search_folds: int,
        grid: Mapping[str, Sequence[float]],
        seed: int,
    ) -> None:
        super().__init__(spec=spec)
        if unknown := set(inputs) - set(INPUTS):
            raise InputError(f"model.inputs: {unknown.pop()} is none of {', '.join(INPUTS)}")
        if not (inputs or statics):
            raise InputError("model.inputs=[]: nothing is left to predict from")
        if not 0 < shortest <= longest:
            raise InputError(f"model.shortest={shortest}: above 0, at most model.longest={longest}")
        if sorted(grid) != sorted(CHOSEN):
            raise InputError(f"model.grid has {', '.join(grid)}: it takes {', '.join(CHOSEN)}")
        self.choice = {"rounds": rounds, "depth": depth, "learning_rate": learning_rate}
        for name in CHOSEN:
            if not grid[name]:
                raise InputError(f"model.grid.{name}=[]: name at least one value")
            _check_values(name, [self.choice[name], *grid[name]])
        _check_values("recent", [recent])
        _check_values("averages", [averages])
        if search_folds < 2:
            raise InputError(f"model.search_folds={search_folds}: a whole number, 2 up")
        if not min_child_weight >= 0:
            raise InputError(f"model.min_child_weight={min_child_weight}: 0 or more")
        self.inputs, self.statics = tuple(inputs), tuple(statics)
        self.movement, self.recent = tuple(movement), recent
        self.constants = np.geomspace(shortest, longest, averages)
        self.search, self.search_folds, self.grid = search, search_folds, grid
        self.options = {
            "tree_method": "hist",
            "nthread": 1,
            "min_child_weight": min_child_weight,
            "seed": seed,
        }

    def check(self) -> None:
        if problem := self._problem():
            raise InputError(problem)

    def stands_beside(self, arrays: Arrays) -> bool:
        return self._problem() is None and trees.installed("window_boosting")

    def fit(self, arrays: Arrays) -> None:
        windows = np.asarray(arrays["train"])
        X = self._seen(arrays, windows)
        y = np.asarray(arrays["target"])[windows]
        choice = self.choice
        self.fitted = {}
        if self.search:
            choice, rmse = self._searched(X, y, np.asarray(arrays["window_user"])[windows])
            self.fitted["rmse"] = np.array(rmse)
        self.fitted["choice"] = np.array([choice[name] for name in CHOSEN], np.float64)
        self.fitted["trees"] = trees.packed(self._grown(X, y, choice))

    def at(self, arrays: Arrays, windows: Int) -> Float:
        grown = trees.unpacked(self.fitted["trees"])
        return np.asarray(grown.inplace_predict(self._seen(arrays, windows)), np.float64)

    def described(self) -> dict[str, str]:
        rounds, depth, rate = self.fitted["choice"].tolist()
        words = f"{rounds:.0f} of depth {depth:.0f}, rate {rate:g}"
        if "rmse" in self.fitted:
            words += f", by cross-validation over users: RMSE {float(self.fitted['rmse']):.2f} bpm"
        return {"trees": words, "inputs": ", ".join([*self.inputs, *self.statics])}

    # What the trees see

    def names(self) -> tuple[str, ...]:
        """Columns that the trees see."""
        found: list[str] = []
        if "statistics" in self.inputs:
            found += features.statistic_names(self.spec.series)
        if "recent" in self.inputs:
            found += [f"{self._moved()}__{back}_back" for back in range(self.recent, 0, -1)]
        if "averages" in self.inputs:
            found += [f"{self._moved()}__average_{tau:.3g}" for tau in self.constants]
        return (*found, *self.statics)

    def _seen(self, arrays: Arrays, windows: Int) -> NDArray[np.float32]:
        """(n, P) float32"""
        series, steps = np.asarray(arrays["series"]), self.spec.steps
        first = np.asarray(arrays["window_first"])[windows]
        found = [np.empty((len(first), 0))]
        if "statistics" in self.inputs:
            found.append(features.statistics(series, first, steps))
        if set(self.inputs) & {"recent", "averages"}:
            column = list(self.spec.series).index(self._moved())
        if "recent" in self.inputs:
            found.append(
                features.recent_samples(series, first, steps, column=column, k=self.recent)
            )
        if "averages" in self.inputs:
            constants = self.constants
            found.append(
                features.averages(series, first, steps, column=column, constants=constants)
            )
        if self.statics:
            columns = [list(self.spec.columns).index(name) for name in self.statics]
            users = np.asarray(arrays["users"])[:, columns]
            found.append(users[np.asarray(arrays["window_user"])[windows]])
        return np.hstack(found).astype(np.float32)

    def _moved(self) -> str:
        """The series that "recent" and "averages" are of."""
        return next(name for name in self.movement if name in self.spec.series)

    def _problem(self) -> str | None:
        """What these data lack, in a line."""
        spec = self.spec
        for name in self.statics:
            if name not in spec.columns:
                known = ", ".join(spec.columns) or "nothing"
                return f"model.statics: these data do not have {name}, they know {known} of users"
        if set(self.inputs) & {"recent", "averages"}:
            if not set(self.movement) & set(spec.series):
                return f"model.movement: name one of these data's series ({', '.join(spec.series)})"
            if self.recent > spec.steps:
                return f"model.recent={self.recent}: a window has {spec.steps} steps"
        return None

    # Growing

    def _grown(self, X: NDArray[np.float32], y: Any, choice: Mapping[str, float]) -> Any:
        xgboost = trees.xgboost()
        named = {"eta": choice["learning_rate"], "max_depth": int(choice["depth"])}
        data = xgboost.QuantileDMatrix(X, label=y, feature_names=list(self.names()), nthread=1)
        return xgboost.train(self.options | named, data, int(choice["rounds"]))

    def _searched(
        self, X: NDArray[np.float32], y: NDArray[Any], user: Int
    ) -> tuple[dict[str, float], float]:
        """The choice of the grid with the smallest RMSE, and that; the first of equal ones.

        Fewer rounds are the beginning of more: trees are grown once for all of them.
        """
        folds = list(self._folds(user))
        rounds = sorted(int(count) for count in self.grid["rounds"])
        best: tuple[dict[str, float], float] = ({}, np.inf)
        for depth, rate in product(self.grid["depth"], self.grid["learning_rate"]):
            choice = {"rounds": rounds[-1], "depth": depth, "learning_rate": rate}
            squares = np.zeros(len(rounds))
            for train, held in folds:
                grown = self._grown(X[train], y[train], choice)
                for place, count in enumerate(rounds):
                    found = grown.inplace_predict(X[held], iteration_range=(0, count))
                    squares[place] += np.square(found - y[held].astype(np.float64)).sum()
            place = int(squares.argmin())
            rmse = float(np.sqrt(squares[place] / len(y)))
            if rmse < best[1]:
                best = (choice | {"rounds": rounds[place]}, rmse)
        return best

    def _folds(self, user: Int) -> Iterator[tuple[Int, Int]]:
        """Places of training and of held-out windows; no user is in both."""
        from sklearn.model_selection import GroupKFold

        people = len(np.unique(user))
        if people < 2:
            raise InputError("model.search=true: it takes two training users or more")
        yield from GroupKFold(min(self.search_folds, people)).split(user, groups=user)


def _check_values(name: str, values: Sequence[float]) -> None:
    """Raise InputError unless all are what xgboost takes."""
    for value in values:
        if name == "learning_rate":
            if not 0 < value <= 1:
                raise InputError(f"model.learning_rate={value}: above 0, at most 1")
        elif not (isinstance(value, int) and value >= 1):
            raise InputError(f"model.{name}={value}: a whole number, 1 up")
