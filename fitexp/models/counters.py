"""What came next most often: counters of items, with no network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp.data import splits
from fitexp.data.prepare import Arrays
from fitexp.data.spec import ExerciseSpec
from fitexp.models.fitted import Fitted

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class NextCounter(Fitted):
    """P_n(x | the last n items), from counts of training events, backing off to shorter pasts.

    P_0(x) = (c(x) + 1/N) / (c + 1);
    P_k(x | a_k .. a_1) = (c(a_k .. a_1 x) + prior P_(k-1)(x | a_(k-1) .. a_1)) / (c(a_k .. a_1) +
    prior): where a past was never seen this is P_(k-1). A past that begins before the first event
    holds "nothing", an item of its own.

    Of several folds, only the last one's counts are kept. Another fold's are these less the counts
    of the events that it leaves out: exactly what counting anew would give.
    """

    kind: ClassVar[str] = "exercises"

    def __init__(self, *, spec: ExerciseSpec, order: int, prior: float) -> None:
        super().__init__(spec=spec)
        self.order = order
        self.prior = prior

    def described(self) -> dict[str, str]:
        left: dict[str, str] = self.spec.not_read(events=self.order)
        return left

    def fit(self, arrays: Arrays) -> None:
        trained = arrays["part"][-1] == splits.TRAIN
        self.fitted = {f"counts_{k}": self._count(arrays, trained, k) for k in self._orders}

    def predict(self, arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
        """ "rows" (R, 2) fold and event; "probability" (R, N)."""
        rows = np.asarray(arrays[part])
        found = np.zeros((len(rows), len(self.spec.items)))
        last = arrays["part"][-1] == splits.TRAIN
        for fold in np.unique(rows[:, 0]):
            own = arrays["part"][fold] == splits.TRAIN
            counts = [
                self.fitted[f"counts_{k}"]
                + self._count(arrays, own & ~last, k)
                - self._count(arrays, last & ~own, k)
                for k in self._orders
            ]
            here = rows[:, 0] == fold
            found[here] = self._probability(counts, self._keys(arrays, rows[here, 1]))
        return {"rows": rows, "probability": found}

    @property
    def _orders(self) -> range:
        return range(self.order + 1)

    def _keys(self, arrays: Arrays, events: Int) -> list[Int]:
        """Number of the last k items of each event as one number, for each k."""
        past = np.asarray(arrays["past"])[events]
        nothing = len(self.spec.items)
        keys = [np.zeros(len(events), np.int64)]
        for k in range(1, self.order + 1):
            before = past[:, -k] if k <= past.shape[1] else np.full(len(events), -1)
            item = np.where(before >= 0, np.asarray(arrays["item"])[before], nothing)
            keys.append(keys[-1] + item * (nothing + 1) ** (k - 1))
        return keys

    def _count(self, arrays: Arrays, events: NDArray[np.bool_], k: int) -> Float:
        """(pasts of length k, N) counts of the `events`."""
        chosen = np.flatnonzero(events)
        items = len(self.spec.items)
        counts = np.zeros(((items + 1) ** k, items))
        np.add.at(counts, (self._keys(arrays, chosen)[k], arrays["item"][chosen]), 1.0)
        return counts

    def _probability(self, counts: list[Float], keys: list[Int]) -> Float:
        found = (counts[0] + 1.0 / len(self.spec.items)) / (counts[0].sum() + 1.0)
        found = np.repeat(found, len(keys[0]), axis=0)
        for k in range(1, self.order + 1):
            seen = counts[k][keys[k]]
            found = (seen + self.prior * found) / (seen.sum(1, keepdims=True) + self.prior)
        return np.asarray(found)


class SameProfile(NextCounter):
    """What followed the same two items for whoever had the same profile, in any training window.

    Not a model but a leak's sentinel. A training row shows its window as well as its answer, so
    the triples (a, b, x) of neighbours in all training rows are kept, by profile: of the window
    (a, b, c) with answer d both (a, b, c) and (b, c, d). Asked for what comes after (a, b), it
    looks up no more than profile and past, as a model does:
    P(x) = (c(profile, a, b, x) + prior P_bigram(x | b)) / (c(profile, a, b) + prior).
    In a random split of overlapping windows the event after a tested one is mostly trained on, and
    its window holds the answer. By time, windows of training end before the test begins; with
    users held out, hardly anybody has the same profile: there it is about the bigram.
    It stands beside one fold only.
    """

    def stands_beside(self, arrays: Arrays) -> bool:
        return bool(self.spec.folds == 1)

    def described(self) -> dict[str, str]:
        left: dict[str, str] = self.spec.not_read(events=max(self.order, 2), profile=True)
        return left

    def fit(self, arrays: Arrays) -> None:
        super().fit(arrays)
        trained = np.flatnonzero(arrays["part"][-1] == splits.TRAIN)
        inside = np.asarray(arrays["past"])[trained, 2:]  # with the two before them in the window
        shown = np.union1d(trained, inside[inside >= 0])
        keys = np.stack([self._lookup(arrays, shown), arrays["item"][shown]], axis=1)
        known, counts = np.unique(keys, axis=0, return_counts=True)
        self.fitted |= {"lookup": known, "lookup_counts": counts}

    def predict(self, arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
        found = super().predict(arrays, part)
        known, counts = self.fitted["lookup"], self.fitted["lookup_counts"]
        seen = np.zeros_like(found["probability"])
        keys = self._lookup(arrays, found["rows"][:, 1])
        begin, end = np.searchsorted(known[:, 0], keys), np.searchsorted(known[:, 0], keys, "right")
        for row, (a, b) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            seen[row, known[a:b, 1]] = counts[a:b]
        total = seen.sum(1, keepdims=True) + self.prior
        return {**found, "probability": (seen + self.prior * found["probability"]) / total}

    def _lookup(self, arrays: Arrays, events: Int) -> Int:
        """One number for profile and last two items; a user without a profile is his own."""
        profile = np.nan_to_num(np.asarray(arrays["profile"]))
        _, same = np.unique(profile, axis=0, return_inverse=True)
        pasts = (len(self.spec.items) + 1) ** 2
        two = NextCounter(spec=self.spec, order=2, prior=self.prior)._keys(arrays, events)[2]
        return np.asarray(same.ravel()[np.asarray(arrays["user"])[events]] * pasts + two)
