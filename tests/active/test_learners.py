"""Update rules, against a network of one fold that is fine-tuned alone, and brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from fitexp.active.learners import BIAS, PROFILE, Given, Networks, contexts, learner_of
from fitexp.active.updates import ALIKE, COUNTER, LAST_LAYER, UPDATES, Alike, Count, Steps

Ints = NDArray[np.int64]
S, N, P, LENGTH = 5, 4, 2, 9
DRAW = np.random.default_rng(0)
USER = np.repeat(np.arange(S), LENGTH)
ITEM = DRAW.integers(0, N, S * LENGTH)
BEGIN = USER * LENGTH
WINDOW = torch.randn(len(ITEM), 3, generator=torch.Generator().manual_seed(0))


def given() -> Given:
    draw = torch.Generator().manual_seed(1)
    shapes = {"W1": (S, 3, 6), "W3": (S, 1, P, 6), "W2": (S, 6, N), "b": (S, 1, N)}
    weights = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    weights["W3"] = weights["W3"][:, 0]
    return Given(
        scores=lambda w, line, event, offset: _scores(w, event, offset),
        weights=weights,
        parameters=["W1", "W3", "W2", "b"],
        last_layer=["W2", "b"],
        trained=[np.flatnonzero(one != USER) for one in range(S)],
        user=USER,
        item=ITEM,
        begin=BEGIN,
        items=N,
        profile=P,
        seed=0,
    )


def _scores(weights: Mapping[str, Tensor], event: Ints, offset: Tensor) -> Tensor:
    """tanh(window W1 + (1 + offset) W3) W2 + b: two layers that read a profile."""
    inner = WINDOW[torch.from_numpy(event)] @ weights["W1"]
    inner = inner + (1 + offset[:, None]) @ weights["W3"]
    return torch.tanh(inner) @ weights["W2"] + weights["b"]


def taught(learner: Networks, line: int, events: list[int]) -> None:
    for event in events:
        learner.learn(np.array([line]), np.array([event]), ITEM[[event]])


STEPS = {name: rule for name, rule in UPDATES.items() if isinstance(rule, Steps)}


@pytest.mark.parametrize("name", STEPS)
def test_who_did_not_ask_does_not_move(name: str) -> None:
    """Not by a bit, in this question and in the next, after having asked himself."""
    learner = learner_of(given(), STEPS[name])
    start = {k: v.clone() for k, v in learner.weights.items()}
    learner.learn(np.array([1, 3]), np.array([10, 30]), ITEM[[10, 30]])
    once = {k: v.clone() for k, v in learner.weights.items()}
    learner.learn(np.array([0, 3]), np.array([2, 31]), ITEM[[2, 31]])
    moved = set(learner.moved)  # type: ignore[attr-defined]
    for key in start:
        for rows, before, after in (
            ([0, 2, 4], start, once),
            ([1, 2, 4], once, learner.weights),
        ):
            assert torch.equal(before[key][rows], after[key][rows])
        changed = not torch.equal(start[key][3], once[key][3])
        assert changed == (key in moved)
    learner.start()
    assert all(torch.equal(learner.weights[k], v) for k, v in start.items())


@pytest.mark.parametrize("name", STEPS)
def test_timelines_side_by_side_learn_as_each_would_alone(name: str) -> None:
    questions = [([0, 1, 3], [1, 9, 27]), ([1, 4], [11, 37]), ([0, 1], [4, 12])]
    together, alone = (learner_of(given(), STEPS[name]) for _ in range(2))
    for line, event in questions:
        together.learn(np.array(line), np.array(event), ITEM[event])
    for one in range(S):
        taught(
            alone, one, [e for ls, es in questions for i, e in zip(ls, es, strict=True) if i == one]
        )
    for key, values in together.weights.items():
        torch.testing.assert_close(values, alone.weights[key], rtol=0, atol=2e-6)


def test_the_release_s_update_written_out() -> None:
    """Two steps of a new Adam on one answered window, 30 of training, the answered one again."""
    line, event = 2, 20
    learner = learner_of(given(), LAST_LAYER)
    taught(learner, line, [event])
    start = {name: values[line] for name, values in given().weights.items()}
    head, b = (start[name].clone().requires_grad_() for name in ("W2", "b"))
    draw = np.random.default_rng([0, 1, line, event])
    trained = np.flatnonzero(line != USER)
    rows = trained[draw.integers(0, len(trained), 30)]
    batch = np.concatenate([[event], rows, [event]])
    optimizer = torch.optim.Adam([head, b], lr=0.01)
    for _ in range(2):
        hidden = torch.tanh(WINDOW[torch.from_numpy(batch)] @ start["W1"] + start["W3"].sum(dim=0))
        optimizer.zero_grad()
        cross_entropy(hidden @ head + b, torch.from_numpy(ITEM[batch])).backward()
        optimizer.step()
    torch.testing.assert_close(learner.weights["W2"][line], head.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(learner.weights["b"][line], b.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("memory", [False, True])
def test_a_step_of_plain_descent_on_answers(memory: bool) -> None:
    """bias - lr * mean over the answers that count of (p - 1[answer])."""
    rule = Steps(moves="bias", lr=0.5, steps=1, rows=0, share=1.0, memory=memory, adam=False)
    learner = learner_of(given(), rule)
    bias = np.zeros(N)
    own = [18, 21, 22]
    for count in range(1, 4):
        taught(learner, 2, own[count - 1 : count])
        counted = own[:count] if memory else own[count - 1 : count]
        slopes = []
        for event in counted:
            plain = learner_of(given(), None).predict(np.array([2]), np.array([event]))[0]
            p = np.exp(plain + bias) / np.exp(plain + bias).sum()
            slopes.append(p - np.eye(N)[ITEM[event]])
        bias -= 0.5 * np.mean(slopes, axis=0)
    np.testing.assert_allclose(learner.weights[BIAS][2, 0], bias, atol=1e-6)


def test_a_profile_moves_towards_its_answer() -> None:
    learner = learner_of(given(), STEPS["profile"])
    before = learner.predict(np.array([1]), np.array([9]))[0, ITEM[9]]
    taught(learner, 1, [9])
    assert learner.predict(np.array([1]), np.array([9]))[0, ITEM[9]] > before
    assert learner.weights[PROFILE][1].abs().sum() > 0


def test_without_answers_an_update_does_not_know_them() -> None:
    """Answers that differ, one and the same model behind them."""
    models = []
    for shift in (0, 1):
        learner = learner_of(given(), STEPS["rows_only"])
        learner.learn(np.array([1]), np.array([9]), (ITEM[[9]] + shift) % N)
        models.append(learner.weights["W2"])
    assert torch.equal(*models)
    assert not torch.equal(models[0], given().weights["W2"])
    assert STEPS["bias"].without_answers() is None


def test_contexts_are_the_last_items_of_the_user() -> None:
    for order in range(4):
        found = contexts(ITEM, BEGIN, order, N)
        pasts = [
            tuple(ITEM[e - k] if e - k >= BEGIN[e] else -1 for k in range(1, order + 1))
            for e in range(len(ITEM))
        ]
        same = [[a == b for b in pasts] for a in pasts]
        np.testing.assert_array_equal(found[:, None] == found, same)


@pytest.mark.parametrize("rule", [COUNTER, Count(order=0, prior=2.0)])
def test_a_counter_counts_answers_and_history_counts_all(rule: Count) -> None:
    learner = learner_of(given(), rule)
    line, now, answered = 1, 16, [9, 11, 12]
    network = np.exp(learner.predict(np.array([line]), np.array([now])))[0]
    plain = learner_of(given(), None).predict(np.array([line]), np.array([now]))
    np.testing.assert_allclose(network, np.exp(plain[0]))
    taught(learner, line, answered)
    history = learner_of(given(), replace(rule, history=True))
    for one, counted in ((learner, answered), (history, range(9, now))):
        past = contexts(ITEM, BEGIN, rule.order, N)
        counts = Counter(int(ITEM[e]) for e in counted if past[e] == past[now])
        n = sum(counts.values())
        expected = [(counts[i] + rule.prior * network[i]) / (n + rule.prior) for i in range(N)]
        found = np.exp(one.predict(np.array([line]), np.array([now])))[0]
        np.testing.assert_allclose(found, expected)


def test_training_users_are_weighed_by_how_they_foresee_the_answers() -> None:
    rule, line, now, answered = Alike(order=1, prior=0.5), 2, 25, [19, 22]
    past = [int(ITEM[e - 1]) if e > BEGIN[e] else N for e in range(len(ITEM))]
    others = [u for u in range(S) if u != line]

    def foreseen(event: int) -> NDArray[np.float64]:
        """(U, N), by loops."""
        rows = []
        pooled = np.zeros(N)
        for user in others:
            counts = np.zeros(N)
            for e in range(user * LENGTH, (user + 1) * LENGTH):
                counts[ITEM[e]] += past[e] == past[event]
            rows.append(counts)
            pooled += counts
        mean = (pooled + 1 / N) / (pooled.sum() + 1)
        return np.array([(c + 0.5 * mean) / (c.sum() + 0.5) for c in rows])

    def expected(known: list[int]) -> NDArray[np.float64]:
        weight = np.ones(S - 1)
        for event in known:
            weight *= foreseen(event)[:, ITEM[event]]
        p = np.exp(learner_of(given(), None).predict(np.array([line]), np.array([now])))[0]
        p = p * (weight @ foreseen(now) / weight.sum()) / foreseen(now).mean(axis=0)
        return np.asarray(p / p.sum())

    learner = learner_of(given(), rule)
    history = learner_of(given(), replace(rule, history=True))
    found = learner.predict(np.array([line]), np.array([now]))
    np.testing.assert_array_equal(
        found, learner_of(given(), None).predict(np.array([line]), np.array([now]))
    )
    taught(learner, line, answered)
    for one, known in ((learner, answered), (history, [*range(18, now)])):
        one.predict(np.array([line]), np.array([20]))  # reads on from there
        found = np.exp(one.predict(np.array([line]), np.array([now])))[0]
        np.testing.assert_allclose(found, expected(known))
    assert replace(ALIKE, history=True) == UPDATES["alike_history"]
