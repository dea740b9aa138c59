"""Counters of what came next, against literal counting."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fitexp.data import splits
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.prepare import Prepared
from fitexp.models.counters import NextCounter, SameProfile
from tests.data.exercises.made import made_table, protocol, random_histories

HISTORIES = random_histories(6, 9, 4, seed=5)


def literal(prepared: Prepared, order: int, prior: float) -> np.ndarray:
    """Every fold counted anew from the histories, one event after the other."""
    arrays, items = prepared.arrays, prepared.spec.items
    found = []
    for fold, event in arrays["test"]:
        counts = [Counter[Any]() for _ in range(order + 1)]

        def past(e: int, k: int) -> tuple[int, ...]:
            rows = [e - i for i in range(1, k + 1)]
            first = e - int(arrays["step"][e])
            return tuple(int(arrays["item"][r]) if r >= first else -1 for r in rows)

        for e in np.flatnonzero(arrays["part"][fold] == splits.TRAIN).tolist():
            for k in range(order + 1):
                counts[k][(past(e, k), int(arrays["item"][e]))] += 1
        p = [(counts[0][((), x)] + 1 / len(items)) for x in range(len(items))]
        p = [value / (sum(counts[0].values()) + 1) for value in p]
        for k in range(1, order + 1):
            own = past(int(event), k)
            total = sum(n for (known, _), n in counts[k].items() if known == own)
            p = [(counts[k][(own, x)] + prior * p[x]) / (total + prior) for x in range(len(items))]
        found.append(p)
    return np.array(found)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("changed", [{}, {"repeats": 2, "folds": 3}, {"split": "last_part"}])
def test_probabilities_are_those_of_counting_anew(order: int, changed: dict[str, Any]) -> None:
    prepared = arrays_of(protocol(min_past=1, **changed), made_table(HISTORIES))
    model = NextCounter(spec=prepared.spec, order=order, prior=0.7)
    model.fit(prepared.arrays)
    found = model.predict(prepared.arrays, "test")
    assert found["rows"].tolist() == np.asarray(prepared.arrays["test"]).tolist()
    np.testing.assert_allclose(found["probability"], literal(prepared, order, 0.7), rtol=1e-12)
    np.testing.assert_allclose(found["probability"].sum(1), 1.0, rtol=1e-12)


def test_a_past_that_never_came_is_the_shorter_one() -> None:
    histories = {"ann": "ababab", "bob": "ababab", "cid": "acc"}
    prepared = arrays_of(protocol(min_past=1), made_table(histories))
    models = [NextCounter(spec=prepared.spec, order=k, prior=1.0) for k in (0, 1)]
    for model in models:
        model.fit(prepared.arrays)
    popular, bigram = (m.predict(prepared.arrays, "test")["probability"] for m in models)
    np.testing.assert_allclose(bigram[-1], popular[-1])  # after c, which only cid had


def test_the_sentinel_reads_answers_in_the_windows_of_later_rows() -> None:
    """Everybody has each of 16 items once, in any order: nothing but a leak can tell the next.

    Of a random split a test event whose successor is trained on, its two predecessors in one window
    with it, is known; where users are held out, the sentinel is the bigram.
    """
    draw = np.random.default_rng(1)
    histories = {f"u{u}": "".join(draw.permutation(list("abcdefghijklmnop"))) for u in range(40)}
    hits = {}
    for split in ("random", "held_out_users"):
        changed: dict[str, Any] = {"split": split, "fractions": [0.7, 0.1, 0.2], "min_past": 0}
        prepared = arrays_of(protocol(**changed), made_table(histories))
        events = prepared.arrays["test"][:, 1]
        target = np.asarray(prepared.arrays["item"])[events]
        for name, model in (
            ("sentinel", SameProfile(spec=prepared.spec, order=1, prior=1.0)),
            ("bigram", NextCounter(spec=prepared.spec, order=1, prior=1.0)),
        ):
            model.fit(prepared.arrays)
            found = model.predict(prepared.arrays, "test")["probability"]
            hits[split, name] = found.argmax(1) == target
        if split == "random":
            last = prepared.arrays["step"][events] == 15
            after = prepared.arrays["part"][0, np.minimum(events + 1, 40 * 16 - 1)] == splits.TRAIN
            known = after & ~last
    assert hits["random", "sentinel"][known].all()
    assert hits["random", "sentinel"][~known].mean() < 0.3 > hits["random", "bigram"].mean()
    held_out = hits["held_out_users", "sentinel"]
    assert held_out.tolist() == hits["held_out_users", "bigram"].tolist()


def test_the_sentinel_finds_targets_within_windows_of_training() -> None:
    """Nobody has an item twice, in no order: only the windows of later events tell a target.

    Those are told whose user's next event is trained on.
    """
    draw = np.random.default_rng(1)
    histories = {f"u{u}": "".join(draw.permutation(list("abcdefghij"))) for u in range(40)}
    for split, told in (("random", True), ("last_part", False)):
        changed: dict[str, Any] = {"split": split, "fractions": [0.8, 0.0, 0.2], "min_past": 0}
        prepared = arrays_of(protocol(**changed), made_table(histories))
        arrays = prepared.arrays
        model = SameProfile(spec=prepared.spec, order=1, prior=1.0)
        model.fit(arrays)
        found = model.predict(arrays, "test")["probability"]
        event = arrays["test"][:, 1]
        hit = found.argmax(1) == np.asarray(arrays["item"])[event]
        trained = np.append(arrays["part"][-1] == 0, False)
        known = trained[event + 1] & (arrays["step"][event] < 9)
        assert known.any() == told
        assert hit[known].all()
        assert hit[~known].mean() < 0.3


@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_the_sentinel_by_hand(window: int) -> None:
    """ada: a b c d e f, where c is tested: rows of d (window 3) and of d, e (window 4) show a b c.

    With windows of 2 the row of d shows b c only, without the a before.
    """
    prepared = arrays_of(
        protocol(split="random", window=window, min_past=0), made_table({"ada": "abcdef"})
    )
    part = np.array([[splits.TRAIN, splits.TRAIN, splits.TEST, *[splits.TRAIN] * 3]])
    arrays = {**prepared.arrays, "part": part, "test": np.array([[0, 2]])}
    model = SameProfile(spec=prepared.spec, order=0, prior=1e-9)
    model.fit(arrays)
    chance = model.predict(arrays, "test")["probability"][0]
    if window >= 3:
        assert chance[2] == pytest.approx(1.0)
    else:
        assert chance[2] < 0.1


def test_the_sentinel_stands_beside_one_fold_only() -> None:
    for split, beside in (("random", True), ("leave_one_user_out", False)):
        prepared = arrays_of(protocol(split=split), made_table(HISTORIES))
        model = SameProfile(spec=prepared.spec, order=1, prior=1.0)
        assert model.stands_beside(prepared.arrays) is beside


@pytest.mark.parametrize(
    ("model", "order", "said"),
    [
        (NextCounter, 0, "past events, profile of the user, profile of items"),
        (NextCounter, 1, "past events but the last, WHAT, profile of the user, profile of items"),
        (NextCounter, 2, "past events but the last 2, WHAT, profile of the user, profile of items"),
        (NextCounter, 3, "WHAT, profile of the user, profile of items"),
        (SameProfile, 1, "past events but the last 2, WHAT, profile of items"),
    ],
)
def test_what_a_counter_leaves_is_said(model: type[NextCounter], order: int, said: str) -> None:
    spec = arrays_of(protocol(), made_table(random_histories(4, 7, 5, seed=2))).spec
    found = model(spec=spec, order=order, prior=1.0).described()
    assert found == {"not read": said.replace("WHAT", "what is known of past events")}
