"""Models that learn from an expert's answers, a copy for each of S timelines.

(S timelines, n of them in a call, B windows of each, N items, P columns of the profile)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Adam

from fitexp.active.updates import Alike, Count, Steps, Update

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BIAS, PROFILE = "bias of the user", "offset of the profile"  # no names of parameters


class Scores(Protocol):
    """Logits (n, B, N) of the items of events (n, B), each from the events before it.

    weights: name -> (n, ..), of the timelines line (n,); offset (n, P) is added to the profile.
    """

    def __call__(
        self, weights: Mapping[str, Tensor], line: Ints, event: Ints, offset: Tensor
    ) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Given:
    """What learners start from.

    weights: name -> (S, ..), where every copy starts; parameters: names of those that training
    moved, last_layer: of the last layer. trained: by timeline, the events that its network was
    trained on. user, item, begin (E,): of an event, and the first event of its user. items N,
    profile P.
    """

    scores: Scores
    weights: Mapping[str, Tensor]
    parameters: Sequence[str]
    last_layer: Sequence[str]
    trained: Sequence[Ints]
    user: Ints
    item: Ints
    begin: Ints
    items: int
    profile: int
    seed: int


class Networks:
    """A network for each timeline, which answers leave as it is."""

    def __init__(self, given: Given) -> None:
        first = next(iter(given.weights.values()))
        own = {
            BIAS: first.new_zeros(len(first), 1, given.items),
            PROFILE: first.new_zeros(len(first), given.profile),
        }
        self.given = given
        self.initial = {**given.weights, **own}
        self.start()

    def start(self) -> None:
        self.weights = {name: values.detach().clone() for name, values in self.initial.items()}

    def predict(self, line: Ints, event: Ints) -> Floats:
        with torch.no_grad():
            logits = self._logits(self._of(line), line, event[:, None])[:, 0]
        return np.asarray(torch.log_softmax(logits.double(), dim=-1).numpy())

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None: ...

    def _of(self, line: Ints) -> dict[str, Tensor]:
        chosen = torch.from_numpy(line)
        return {name: values[chosen] for name, values in self.weights.items()}

    def _logits(self, weights: Mapping[str, Tensor], line: Ints, event: Ints) -> Tensor:
        network = {k: v for k, v in weights.items() if k not in (BIAS, PROFILE)}
        return self.given.scores(network, line, event, weights[PROFILE]) + weights[BIAS]


class Stepping(Networks):
    """`updates.Steps` after each answer, of the timelines that asked and of no other.

    Which training windows are drawn depends on timeline and event alone.
    """

    def __init__(self, given: Given, rule: Steps) -> None:
        moves = {
            "last_layer": given.last_layer,
            "all": given.parameters,
            "bias": [BIAS],
            "profile": [PROFILE],
        }
        self.rule, self.moved = rule, tuple(moves[rule.moves])
        super().__init__(given)

    def start(self) -> None:
        super().start()
        self.answers: list[list[tuple[int, int]]] = [[] for _ in self.given.trained]

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None:
        for one, *known in zip(line.tolist(), event.tolist(), answer.tolist(), strict=True):
            self.answers[one] = (self.answers[one] if self.rule.memory else []) + [tuple(known)]
        events, targets, weight = self._batch(line, event)
        own = self._of(line)
        moved = {name: own[name].requires_grad_() for name in self.moved}
        optimizer = (Adam if self.rule.adam else SGD)(moved.values(), lr=self.rule.lr)
        for _ in range(self.rule.steps):
            logits = self._logits({**own, **moved}, line, events)
            losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            optimizer.zero_grad()
            (losses * weight.to(losses).flatten()).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        chosen = torch.from_numpy(line)
        for name, values in moved.items():
            self.weights[name][chosen] = values.detach()

    def _batch(self, line: Ints, event: Ints) -> tuple[Ints, Tensor, Tensor]:
        """Events, their items and their weights in the loss, each (n, answers + rows).

        A timeline with fewer answers than another has windows of weight 0.
        """
        rows, share, trained = self.rule.rows, self.rule.share, self.given.trained
        most = max(len(self.answers[one]) for one in line)
        events = np.repeat(event[:, None], most + rows, axis=1)
        targets, weight = np.zeros_like(events), np.zeros(events.shape)
        for i, one in enumerate(line):
            known = np.array(self.answers[one])
            events[i, : len(known)], targets[i, : len(known)] = known.T
            weight[i, : len(known)] = share / len(known)
            if rows:
                draw = np.random.default_rng([self.given.seed, 1, one, event[i]])
                drawn = trained[one][draw.integers(0, len(trained[one]), rows)]
                events[i, most:], targets[i, most:] = drawn, self.given.item[drawn]
                weight[i, most:] = (1 - share) / rows
        return events, torch.from_numpy(targets), torch.from_numpy(weight)


class Counting(Networks):
    """`updates.Count` beside networks that stay as they are."""

    def __init__(self, given: Given, rule: Count) -> None:
        self.rule = rule
        self.context = contexts(given.item, given.begin, rule.order, given.items)
        super().__init__(given)

    def start(self) -> None:
        super().start()
        self.answers: list[list[tuple[int, int]]] = [[] for _ in self.given.trained]

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None:
        for one, *known in zip(line.tolist(), event.tolist(), answer.tolist(), strict=True):
            self.answers[one] += [tuple(known)]

    def predict(self, line: Ints, event: Ints) -> Floats:
        p = np.exp(super().predict(line, event))
        counts = np.zeros_like(p)
        for i, (one, now) in enumerate(zip(line, event, strict=True)):
            for before, item in self._known(one, now):
                counts[i, item] += self.context[before] == self.context[now]
        total = counts.sum(axis=1, keepdims=True) + self.rule.prior
        return np.asarray(np.log((counts + self.rule.prior * p) / total))

    def _known(self, line: int, now: int) -> list[tuple[int, int]]:
        if self.rule.history:
            past = range(self.given.begin[now], now)
            return [(event, int(self.given.item[event])) for event in past]
        return self.answers[line]


class Neighbours(Networks):
    """`updates.Alike` beside networks that stay as they are."""

    def __init__(self, given: Given, rule: Alike) -> None:
        self.rule = rule
        self.context = contexts(given.item, given.begin, rule.order, given.items)
        self.people = [np.unique(given.user[events]) for events in given.trained]
        super().__init__(given)

    def start(self) -> None:
        super().start()
        self.log_weight = [np.zeros(len(people)) for people in self.people]
        self.read = [0] * len(self.people)  # with history: events that were weighed

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None:
        if not self.rule.history:
            for one, now, item in zip(line, event, answer, strict=True):
                self._weigh(one, now, item)

    def _weigh(self, line: int, event: int, item: int) -> None:
        self.log_weight[line] += np.log(self._foreseen(line, event)[:, item])

    def predict(self, line: Ints, event: Ints) -> Floats:
        log_p = super().predict(line, event)
        for i, (one, now) in enumerate(zip(line, event, strict=True)):
            if self.rule.history:
                for past in range(max(self.read[one], self.given.begin[now]), now):
                    self._weigh(one, past, self.given.item[past])
                self.read[one] = now
            if self.log_weight[one].any():
                p = self._foreseen(one, now)
                weight = np.exp(self.log_weight[one] - self.log_weight[one].max())
                log_p[i] += np.log(weight @ p / weight.sum() / p.mean(axis=0))
                log_p[i] -= np.log(np.exp(log_p[i]).sum())
        return log_p

    def _foreseen(self, line: int, now: int) -> Floats:
        """(U, N) p_u(x | c) of the training users of a timeline behind what came before `now`."""
        events = self.given.trained[line]
        same = events[self.context[events] == self.context[now]]
        counts = np.zeros((len(self.people[line]), self.given.items))
        own = np.searchsorted(self.people[line], self.given.user[same])
        np.add.at(counts, (own, self.given.item[same]), 1.0)
        mean = (counts.sum(axis=0) + 1 / self.given.items) / (len(same) + 1)
        prior = self.rule.prior
        return np.asarray((counts + prior * mean) / (counts.sum(axis=1, keepdims=True) + prior))


def contexts(item: Ints, begin: Ints, order: int, items: int) -> Ints:
    """(E,) one number for the last `order` items of its user before each event, N for nothing."""
    found = np.zeros(len(item), np.int64)
    event = np.arange(len(item))
    for back in range(1, order + 1):
        before = np.where(event - back >= begin, item[event - back], items)
        found = found * (items + 1) + before
    return found


def learner_of(given: Given, rule: Update) -> Networks:
    """The learner that follows a rule."""
    if isinstance(rule, Steps):
        return Stepping(given, rule)
    if isinstance(rule, Alike):
        return Neighbours(given, rule)
    return Networks(given) if rule is None else Counting(given, rule)
