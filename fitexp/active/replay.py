"""Active learning on recorded data: each left-out user's events once more, in their order.

At every event the user's own model predicts. From that prediction, made before anything is asked, a
policy decides whether the expert is asked; his answer is the item that truly came. Only an answer
may change the model, and the change counts from the user's next event on.

The item of an event that was not asked about becomes known all the same, as it does in the plain
test: later windows hold it as past. It is never handed to `Learner.learn`.

S timelines (a left-out user each, once for every model that leaves him out), T events of the
longest, N items. All timelines step together and do not touch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fitexp.active import dirichlet, marginal, thresholds
from fitexp.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

POLICIES = ("margin", "dirichlet", "printed", "entropy", "random", "never", "always")
HELD_OUT = ("margin", "dirichlet", "entropy")  # thresholds from other left-out users
RATED = (*HELD_OUT, "random")  # those that aim at a rate of asking


@dataclass(frozen=True, kw_only=True)
class Timelines:
    """user (S,) and fold (S,): who, and the model that leaves him out; event (S, T): numbers of his
    events in order, -1 behind the last; item (E,) of every event."""

    user: Ints
    fold: Ints
    event: Ints
    item: Ints

    @property
    def rows(self) -> Ints:
        """Fold and event (R, 2) of every event, timeline by timeline."""
        line, step = np.nonzero(self.event >= 0)
        return np.stack([self.fold[line], self.event[line, step]], axis=1)


def timelines(test: Ints, user: Ints, item: Ints) -> Timelines:
    """From fold and event (R, 2) of a test part and user (E,), item (E,) of all events."""
    rows = np.asarray(test)
    rows = rows[np.lexsort((rows[:, 1], user[rows[:, 1]], rows[:, 0]))]
    pairs = np.stack([rows[:, 0], user[rows[:, 1]]], axis=1)
    found, line = np.unique(pairs, axis=0, return_inverse=True)
    length = np.bincount(line.ravel())
    step = np.arange(len(rows)) - np.repeat(np.cumsum(length) - length, length)
    event = np.full((len(length), length.max()), -1)
    event[line.ravel(), step] = rows[:, 1]
    return Timelines(user=found[:, 1], fold=found[:, 0], event=event, item=np.asarray(item))


class Learner(Protocol):
    """A model of its own for every timeline. line: numbers (n,) of timelines, each at most once."""

    def start(self) -> None:
        """Forget every answer."""

    def predict(self, line: Ints, event: Ints) -> Floats:
        """log-probabilities (n, N) of the item of `event` (n,), from what came before it."""

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None:
        """The expert's answers (n,) to the events (n,); other timelines stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Asks where a score is below the timeline's threshold (S,). rate: what it aims at, or None.

    score: (numbers of timelines (n,), step t, log-probabilities (n, N)) -> (n,), low where unsure.
    """

    name: str
    rate: float | None
    threshold: Floats
    score: Callable[[Ints, int, Floats], Floats]

    def asks(self, line: Ints, t: int, log_p: Floats) -> Bools:
        return np.asarray(self.score(line, t, log_p) < self.threshold[line])


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What happened at each event, (S, T); where `there` is not, the other arrays mean nothing.

    hit: 1 where the prediction, before asking, was right (one of k equally likely items: 1/k);
    three (S, T, 3): `dirichlet.top_two_and_rest`; certainty: minus the entropy (nats);
    log_p (S, T, N): the predictions, where they were to be kept.
    """

    there: Bools
    asked: Bools
    hit: Floats
    three: Floats
    certainty: Floats
    log_p: Floats | None = None

    @property
    def margin(self) -> Floats:
        return dirichlet.margins(self.three.reshape(-1, 3)).reshape(self.there.shape)


def replay(lines: Timelines, learner: Learner, policy: Policy, keep: bool = False) -> Replayed:
    """Every timeline from its first event to its last, all at the same step. keep: predictions."""
    there = lines.event >= 0
    asked, hit, certainty = (np.zeros(there.shape) for _ in range(3))
    three = np.tile(np.log([0.5, 0.25, 0.25]), (*there.shape, 1))
    kept: Floats | None = None
    learner.start()
    for t in range(there.shape[1]):
        here = np.flatnonzero(there[:, t])
        event = lines.event[here, t]
        log_p = learner.predict(here, event)
        asks = policy.asks(here, t, log_p)
        asked[here, t] = asks
        best = log_p == log_p.max(axis=1, keepdims=True)
        hit[here, t] = best[np.arange(len(here)), lines.item[event]] / best.sum(axis=1)
        three[here, t] = dirichlet.top_two_and_rest(log_p)
        certainty[here, t] = -thresholds.entropy(np.exp(log_p))
        if keep:
            kept = np.zeros((*there.shape, log_p.shape[1])) if kept is None else kept
            kept[here, t] = log_p
        if asks.any():
            learner.learn(here[asks], event[asks], lines.item[event[asks]])
    return Replayed(
        there=there, asked=asked > 0, hit=hit, three=three, certainty=certainty, log_p=kept
    )


def policy_of(
    name: str, rate: float | None, lines: Timelines, first: Replayed | None, seed: int = 0
) -> Policy:
    """first: the replay of the policy `never` without learning, which thresholds are made from.

    margin, entropy: `thresholds.empirical` at `rate` of the margins (of minus the entropies) of all
    *other* left-out users, each as predicted by the models that leave him out: nothing of the
    user's own. dirichlet: the same level of the law fitted to those margins. printed: the paper's
    0.18. random: a number drawn for each event, the same at all rates. Raises InputError.
    """
    if name not in POLICIES:
        raise InputError(f"no policy {name}: choose from {', '.join(POLICIES)}")
    if (rate is None) == (name in RATED):
        raise InputError(f"the policy {name} takes {'a' if name in RATED else 'no'} rate")
    count = len(lines.user)
    if name == "random":
        drawn = np.random.default_rng([seed, 0]).random(lines.event.shape)
        return Policy(
            name=name,
            rate=rate,
            threshold=np.full(count, rate),
            score=lambda line, t, log_p: drawn[line, t],
        )
    fixed = {"never": -np.inf, "always": np.inf, "printed": thresholds.PRINTED}
    if name in fixed:
        threshold = np.full(count, fixed[name])
    else:
        assert first is not None
        assert rate is not None
        threshold = _held_out(name, rate, lines, first)
    score = _certainty if name == "entropy" else _margin
    return Policy(name=name, rate=rate, threshold=threshold, score=score)


def _held_out(name: str, rate: float, lines: Timelines, first: Replayed) -> Floats:
    """(S,) threshold of each timeline from those of other users."""
    values = first.certainty if name == "entropy" else first.margin
    found = {}
    for user in np.unique(lines.user):
        others = first.there & (lines.user != user)[:, None]
        if name == "dirichlet":
            alpha = dirichlet.fit(first.three[others])
            found[user] = float(marginal.quantile(rate, alpha))
        else:
            found[user] = thresholds.empirical(values[others], rate)
    return np.array([found[user] for user in lines.user])


def _margin(line: Ints, t: int, log_p: Floats) -> Floats:
    return dirichlet.margins(dirichlet.top_two_and_rest(log_p))


def _certainty(line: Ints, t: int, log_p: Floats) -> Floats:
    return -thresholds.entropy(np.exp(log_p))
