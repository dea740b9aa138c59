"""The replay's loop and its policies, with a learner that answers from a table."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fitexp.active.marginal import cdf
from fitexp.active.replay import (
    Replayed,
    Timelines,
    policy_of,
    replay,
    timelines,
)
from fitexp.errors import InputError

Ints = NDArray[np.int64]


class Written:
    """Log-probabilities of events are written down; what it is taught is noted."""

    def __init__(self, log_p: NDArray[np.float64]) -> None:
        self.log_p = log_p
        self.taught: list[tuple[int, int, int]] = []

    def start(self) -> None:
        self.taught = []

    def predict(self, line: Ints, event: Ints) -> NDArray[np.float64]:
        return self.log_p[event]

    def learn(self, line: Ints, event: Ints, answer: Ints) -> None:
        self.taught += zip(line.tolist(), event.tolist(), answer.tolist(), strict=True)


def made(users: int, steps: int, items: int = 6, seed: int = 0) -> tuple[Timelines, Written]:
    """Timelines of equal length, probabilities independent from event to event."""
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), steps)
    item = draw.integers(0, items, len(user))
    test = np.stack([user, np.arange(len(user))], axis=1)
    p = draw.dirichlet(np.full(items, 0.3), len(user)).clip(1e-9)
    return timelines(test, user, item), Written(np.log(p / p.sum(axis=1, keepdims=True)))


def first_of(lines: Timelines, learner: Written) -> Replayed:
    return replay(lines, learner, policy_of("never", None, lines, None))


def test_timelines_are_a_left_out_user_each_in_order() -> None:
    user = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    test = np.array([[1, 4], [0, 2], [0, 1], [1, 3], [0, 7], [3, 2], [3, 1], [3, 7]])
    lines = timelines(test, user, np.arange(8))
    assert lines.fold.tolist() == [0, 0, 1, 3, 3]
    assert lines.user.tolist() == [0, 2, 1, 0, 2]
    assert lines.event.tolist() == [[1, 2], [7, -1], [3, 4], [1, 2], [7, -1]]


def test_only_what_was_asked_about_is_taught_and_before_the_next_event() -> None:
    lines, learner = made(5, 7)
    result = replay(lines, learner, policy_of("random", 0.4, lines, None, seed=3))
    asked = [
        (line, int(lines.event[line, t]), int(lines.item[lines.event[line, t]]))
        for t in range(7)
        for line in range(5)
        if result.asked[line, t]
    ]
    assert 5 < len(asked) < 30
    assert learner.taught == asked


def test_an_answer_counts_from_the_next_event_on() -> None:
    class Told(Written):
        def predict(self, line: Ints, event: Ints) -> NDArray[np.float64]:
            known = {item for _, _, item in self.taught}
            p = np.full((len(line), 6), 1e-3)
            p[:, 0] = 1
            for item in known:
                p[:, item] = 2
            return np.log(p / p.sum(axis=1, keepdims=True))

    lines = timelines(np.array([[0, 0], [0, 1], [0, 2]]), np.zeros(3, int), np.array([4, 4, 4]))
    result = replay(lines, Told(np.zeros((3, 6))), policy_of("always", None, lines, None))
    assert result.hit.tolist() == [[0, 1, 1]]


def test_ends_of_timelines_are_never_asked_nor_predicted() -> None:
    lines = timelines(np.array([[0, 0], [0, 1], [1, 2]]), np.array([0, 0, 1]), np.array([1, 2, 3]))
    learner = Written(np.log(np.full((3, 4), 0.25)))
    result = replay(lines, learner, policy_of("always", None, lines, None))
    assert result.there.tolist() == [[True, True], [True, False]]
    assert result.asked.tolist() == result.there.tolist()
    assert [event for _, event, _ in learner.taught] == [0, 2, 1]
    assert result.hit[result.there].tolist() == [0.25] * 3  # a tie of four


def test_never_and_always() -> None:
    lines, learner = made(4, 5)
    assert not first_of(lines, learner).asked.any()
    assert replay(lines, learner, policy_of("always", None, lines, None)).asked.all()


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("name", ["margin", "entropy", "random"])
def test_what_is_wanted_is_asked_of_exchangeable_users(name: str, rate: float) -> None:
    lines, learner = made(60, 40)
    first = first_of(lines, learner)
    result = replay(lines, learner, policy_of(name, rate, lines, first))
    assert abs(result.asked.mean() - rate) < (0.012 if name == "random" else 0.002)


def test_a_threshold_holds_nothing_of_its_own_user() -> None:
    """Also not of the user's other timeline, by another model that leaves him out."""
    lines, learner = made(6, 30)
    user = np.array([0, 0, 1, 2, 3, 4])
    lines = Timelines(user=user, fold=lines.fold, event=lines.event, item=lines.item)
    first = first_of(lines, learner)
    moved = first.three.copy()
    moved[:2] = np.log([0.9, 0.06, 0.04])
    changed = Replayed(
        there=first.there, asked=first.asked, hit=first.hit, three=moved, certainty=first.certainty
    )
    for name in ("margin", "dirichlet"):
        before, after = (policy_of(name, 0.1, lines, known).threshold for known in (first, changed))
        np.testing.assert_array_equal(before[:2], after[:2])
        assert np.all(before[2:] < after[2:])


def test_the_law_s_threshold_has_the_level_in_the_law_of_the_others() -> None:
    from fitexp.active import dirichlet

    lines, learner = made(5, 30)
    first = first_of(lines, learner)
    policy = policy_of("dirichlet", 0.1, lines, first)
    alpha = dirichlet.fit(first.three[1:].reshape(-1, 3))
    assert float(cdf(policy.threshold[0], alpha)) == pytest.approx(0.1, abs=1e-9)
    assert set(policy_of("printed", None, lines, None).threshold) == {0.18}


@pytest.mark.parametrize(("name", "rate"), [("margin", None), ("never", 0.1), ("mine", 0.1)])
def test_mistakes(name: str, rate: float | None) -> None:
    lines, learner = made(3, 5)
    with pytest.raises(InputError, match=name):
        policy_of(name, rate, lines, first_of(lines, learner))
