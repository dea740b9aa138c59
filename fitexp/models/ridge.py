"""Ridge regression on causal features, with terms of the sport and of the person that shrink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitexp.data.prepare import Arrays, scored
from fitexp.data.spec import WorkoutSpec
from fitexp.data.workouts.features import blocks
from fitexp.data.workouts.layout import training_pairs, training_rows, workout_of
from fitexp.errors import InputError
from fitexp.models.fitted import FittedSeries, Float, Int

PENALTIES = ("slope", "sport", "sport_slope", "person", "person_slope")


class Ridge(FittedSeries):
    """y = z'(b + s_sport + p_person), z the features of a step (z-scores) and a leading 1.

    Minimises sum_t w (y - z'(b + s + p))^2 + the penalties times the squares of their terms:
    `slope` of b, `sport` and `person` of the intercepts in s and p, `sport_slope` and
    `person_slope` of their slopes; b's intercept is free. A penalty counts in training steps. An
    unknown person or sport has no terms of its own, so that the others are the population's.

    person_weight: e; a step of a person with n training steps weighs n^-e (their mean is 1). 0:
    steps count alike, 1: people do; between them for people not seen in training.
    Short regime: one fit a horizon, of the change since the last known target; features then are
    also the past (`memory` values) and the plan's change. An unknown feature counts as its mean
    (z = 0). scales: of the averages, in steps.
    """

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        scales: Sequence[float],
        memory: int,
        person_weight: float,
        penalty: Mapping[str, float],
    ) -> None:
        super().__init__(spec=spec)
        check_features(scales, memory)
        if set(penalty) != set(PENALTIES) or not all(value > 0 for value in penalty.values()):
            raise InputError(f"model.penalty: {', '.join(PENALTIES)}, each a number above 0")
        self.scales, self.memory = tuple(scales), memory
        self.person_weight, self.penalty = person_weight, dict(penalty)

    def fit(self, arrays: Arrays) -> None:
        self.fitted = {}
        for label, rows, origins in training_sets(self.spec, arrays):
            learned = fit_terms(*self._moments(arrays, rows, origins), self.penalty)
            self.fitted |= {f"{label}/{name}": values for name, values in learned.items()}

    def at(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        out = np.empty(len(rows))
        user, sport = people_and_sports(self.spec, arrays, rows)
        for label, chosen in by_horizon(self.spec, rows, origins):
            own = {n: self.fitted[f"{label}/{n}"] for n in ("centre", "sd", "b", "s", "p")}
            origin = None if origins is None else origins[chosen]
            for places, x in self._blocks(arrays, rows[chosen], origin):
                place = chosen[places]
                terms = own["b"] + own["s"][sport[place]] + own["p"][user[place]]
                z = np.nan_to_num((x - own["centre"]) / own["sd"])
                z = np.column_stack([np.ones(len(x)), z])
                out[place] = (z * terms).sum(axis=1)
        if origins is not None:
            out += np.asarray(arrays["y"])[origins]
        return out

    def _blocks(self, arrays: Arrays, rows: Int, origins: Int | None) -> Any:
        return blocks(self.spec, arrays, rows, origins, scales=self.scales, memory=self.memory)

    def _moments(self, arrays: Arrays, rows: Int, origins: Int | None) -> tuple[Float, Float]:
        """(U, S, C+2, C+2) sums of v v' by user and sport, v = (1, features, y), and weights."""
        y = scored(arrays)[rows].astype(np.float64)
        if origins is not None:
            y -= np.asarray(arrays["y"])[origins]
        user, sport = people_and_sports(self.spec, arrays, rows)
        users, sports = (len(self.spec.attributes[name]) for name in ("user", "sport"))
        mean = self._means(arrays, rows, origins)
        moments: Any = 0.0
        for places, x in self._blocks(arrays, rows, origins):
            known = np.where(np.isnan(x), mean, x)
            v = np.column_stack([np.ones(len(x)), known, y[places]])
            if isinstance(moments, float):
                moments = np.zeros((users, sports, v.shape[1], v.shape[1]))
            group = user[places] * sports + sport[places]
            for g in np.unique(group):
                own = v[group == g]
                moments[g // sports, g % sports] += own.T @ own
        return moments, self._weights(user)

    def _means(self, arrays: Arrays, rows: Int, origins: Int | None) -> Float:
        """(C,) means of the features where they are known; 0 of what nobody knows."""
        total: Any = 0.0
        count: Any = 0
        for _, x in self._blocks(arrays, rows, origins):
            total, count = total + np.nansum(x, axis=0), count + np.isfinite(x).sum(axis=0)
        return np.asarray(total / np.maximum(count, 1))

    def _weights(self, user: Int) -> Float:
        """(U,) what a step of each person weighs; `user` (n,) is who the training steps are of."""
        count = np.bincount(user, minlength=len(self.spec.attributes["user"])).astype(np.float64)
        weight = np.where(count > 0, count, 1.0) ** -self.person_weight
        return np.asarray(weight * count.sum() / (weight * count).sum())


def fit_terms(
    moments: Float, weight: Float, penalty: Mapping[str, float]
) -> dict[str, NDArray[Any]]:
    """centre, sd (C,) of the features; b (C+1,), s (S, C+1), p (U, C+1), as `Ridge` has them.

    The terms of each person meet only b and s in the normal equations: they are eliminated one
    person at a time, and what is left is solved for b and s.
    """
    users, sports, width, _ = moments.shape
    total = moments.sum(axis=(0, 1))
    centre = total[0, 1:-1] / total[0, 0]
    variance = np.diag(total)[1:-1] / total[0, 0] - centre**2
    sd = np.sqrt(np.where(variance > 1e-12 * (1 + centre**2), variance, 1.0))
    scaled = np.eye(width)  # (1, x, y) -> (1, z, y)
    scaled[0, 1:-1], scaled[range(1, width - 1), range(1, width - 1)] = -centre / sd, 1 / sd
    moments = scaled.T @ (moments * weight[:, None, None, None]) @ scaled

    D = width - 1
    own = np.diag([penalty["person"], *[penalty["person_slope"]] * (D - 1)])
    shared = [0.0, *[penalty["slope"]] * (D - 1)]
    of_sport = [penalty["sport"], *[penalty["sport_slope"]] * (D - 1)]
    A = np.diag([*shared, *of_sport * (sports - 1)])
    right = np.zeros(sports * D)
    eliminated = []
    for u in range(users):
        cross, gram, product = _of_person(moments[u])
        A += gram
        right += product
        if u == 0:  # unknown: no terms
            continue
        small = own + cross[:D]
        half = np.linalg.solve(small, np.column_stack([cross.T, product[:D]]))
        A -= cross @ half[:, :-1]
        right -= cross @ half[:, -1]
        eliminated.append(half)
    found = np.linalg.solve(A, right)
    terms = found.reshape(sports, D)
    people = [np.zeros(D), *(half[:, -1] - half[:, :-1] @ found for half in eliminated)]
    s = np.vstack([np.zeros(D), terms[1:]])
    return {"centre": centre, "sd": sd, "b": terms[0], "s": s, "p": np.array(people)}


def _of_person(moments: Float) -> tuple[Float, Float, Float]:
    """A person's moments (S, D+1, D+1) in the equations of (b, s_1, .., s_(S-1)).

    -> (S D, D) these terms with the person's, (S D, S D) with one another, (S D,) with y.
    """
    sports, D = len(moments), moments.shape[1] - 1
    blocks = moments.copy()
    blocks[0] = moments.sum(axis=0)  # b takes part in every sport
    cross = blocks[:, :D, :D].reshape(sports * D, D)
    gram = np.zeros((sports, D, sports, D))
    for s in range(sports):
        gram[s, :, s] = blocks[s, :D, :D]
        gram[0, :, s] = gram[s, :, 0] = blocks[s, :D, :D]
    return cross, gram.reshape(sports * D, sports * D), blocks[:, :D, D].reshape(-1)


# What models on these features share


def check_features(scales: Sequence[float], memory: int) -> None:
    """Raise InputError for what no features can be made of."""
    if not all(scale > 0 for scale in scales):
        raise InputError(f"model.scales={list(scales)}: numbers of steps, above 0")
    if not (isinstance(memory, int) and memory >= 1):
        raise InputError(f"model.memory={memory}: a whole number of values, 1 up")


def people_and_sports(spec: WorkoutSpec, arrays: Arrays, rows: Int) -> tuple[Int, Int]:
    """(n,) numbers of the user and of the sport of each row, 0 unknown."""
    names = list(spec.attributes)
    found = np.asarray(arrays["attributes"])[workout_of(arrays)[rows]]
    return found[:, names.index("user")], found[:, names.index("sport")]


def training_sets(spec: WorkoutSpec, arrays: Arrays) -> list[tuple[str, Int, Int | None]]:
    """What there is to fit: a label, training steps and (short regime) their last known steps."""
    if spec.regime == "whole":
        return [("whole", training_rows(arrays), None)]
    return [
        (label, *training_pairs(arrays, spec.steps, ahead))
        for label, ahead in spec.horizons.items()
    ]


def by_horizon(spec: WorkoutSpec, rows: Int, origins: Int | None) -> list[tuple[str, Int]]:
    """The label of the fit that answers, and which rows; between horizons the next longer one."""
    if origins is None:
        return [("whole", np.arange(len(rows)))]
    labels = sorted(spec.horizons, key=lambda label: spec.horizons[label])
    ahead = np.searchsorted([spec.horizons[label] for label in labels], rows - origins)
    ahead = np.minimum(ahead, len(labels) - 1)
    return [(label, np.flatnonzero(ahead == k)) for k, label in enumerate(labels)]
