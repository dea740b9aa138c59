"""Augmentation: what is replaced, and that copies are trained on and nothing else."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data import splits
from fitexp.data.exercises import augment
from fitexp.data.exercises.module import EventGather
from fitexp.data.exercises.protocol import SPLITS, arrays_of
from fitexp.data.exercises.simulate import simulated_study
from fitexp.data.prepare import Prepared
from fitexp.errors import InputError
from fitexp.models.counters import NextCounter, SameProfile
from tests.data.exercises.made import made_table, protocol, random_histories

STUDY = simulated_study(path=None, users=6, seed=0)
EVENTS = 6 * 36


def origins(prepared: Prepared) -> np.ndarray:
    """The event that each copied one is a copy of, by its user's name and its step."""
    arrays = prepared.arrays
    events = arrays["part"].shape[1]
    names, step = np.asarray(arrays["user_id"])[arrays["user"]], arrays["step"]
    number = {(names[e], step[e]): e for e in range(events)}
    return np.array([number[names[e], step[e]] for e in range(events, len(names))])


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SPLITS),
    st.sampled_from(["expert", "rules", "duplicate"]),
    st.booleans(),
    st.integers(0, 2),
    st.integers(1, 2),
    st.integers(0, 99),
)
def test_a_copy_is_trained_on_where_its_origin_is_and_nowhere_else(
    split: str, method: str, every: bool, min_past: int, copies: int, seed: int
) -> None:
    changed: dict[str, Any] = {"split": split, "split_seed": seed, "min_past": min_past}
    changed |= {"augment": method, "augment_copies": copies, "rule_confidence": 0.001}
    changed |= {"answers": "every", "window": None} if every else {}
    changed |= {"repeats": 2, "folds": 3} if split == "leave_one_user_out" else {}
    table = made_table(random_histories(5, 8, 6, seed), session=3)
    prepared = arrays_of(protocol(**changed), table)
    arrays, events = prepared.arrays, 5 * 8
    origin, part = origins(prepared), np.asarray(arrays["part"])
    pairs = arrays["train"][arrays["train"][:, 1] >= events]
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    found = Counter(zip(pairs[:, 0].tolist(), origin[pairs[:, 1] - events].tolist(), strict=True))
    assert found == dict.fromkeys(map(tuple, np.argwhere(part == splits.TRAIN).tolist()), copies)
    for name in ("val", "test"):
        assert (np.asarray(arrays[name])[:, 1] < events).all()
        assert (np.asarray(arrays["past"])[arrays[name][:, 1]] < events).all()
    gather = EventGather(prepared, "train")
    batch = gather(np.arange(len(gather)))
    fold, *rest = torch.nonzero(batch["mask"] > 0, as_tuple=True)
    counted = torch.stack([fold, batch["event"][(fold, *rest)]], dim=1)
    assert sorted(counted.tolist()) == sorted(arrays["train"].tolist())


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("method", ["expert", "rules", "duplicate"])
def test_scaling_parts_and_baselines_are_those_without_copies(split: str, method: str) -> None:
    plain, copied = (
        arrays_of(protocol(split=split, augment=name, split_seed=1), STUDY)
        for name in ("none", method)
    )
    for name in ("part", "val", "test", "item_profile", "item_id", "ceiling"):
        np.testing.assert_array_equal(plain.arrays[name], copied.arrays[name])
    for name in plain.arrays:
        if name.endswith(("_center", "_scale")):
            np.testing.assert_array_equal(plain.arrays[name], copied.arrays[name])
    for name in ("user", "item", "past", "features"):
        np.testing.assert_array_equal(plain.arrays[name], copied.arrays[name][:EVENTS])
    assert plain.report["split_hash"] == copied.report["split_hash"]
    for kind in (NextCounter, SameProfile):
        said = []
        for prepared in (plain, copied):
            model = kind(spec=prepared.spec, order=1, prior=1.0)
            model.fit(prepared.arrays)
            said.append(model.predict(prepared.arrays, "test")["probability"])
        np.testing.assert_array_equal(*said)


def test_none_takes_no_heed_of_the_other_keys() -> None:
    one = arrays_of(protocol(), STUDY)
    two = arrays_of(protocol(augment_share=0.5, augment_copies=3, augment_seed=9), STUDY)
    assert one.report == two.report
    assert one.spec == two.spec
    assert "augmentation" not in one.spec.protocol
    assert len(one.arrays["item"]) == one.arrays["part"].shape[1] == EVENTS


def test_one_exercise_in_ten_becomes_another_of_its_category() -> None:
    prepared = arrays_of(protocol(augment="expert", augment_copies=2), STUDY)
    item = np.asarray(prepared.arrays["item"])
    old, new = item[:EVENTS].reshape(6, 36), item[EVENTS:].reshape(6, 2, 36)
    category = np.array(prepared.spec.categories)
    assert ((new != old[:, None]).sum(-1) == 4).all()  # round(3.6)
    np.testing.assert_array_equal(category[new], np.repeat(category[old][:, None], 2, axis=1))
    assert not np.array_equal(new[:, 0], new[:, 1])
    other = arrays_of(protocol(augment="expert", augment_copies=2, augment_seed=1), STUDY)
    assert not np.array_equal(item, other.arrays["item"])
    assert prepared.spec.protocol["augmentation"] == (
        "2 copies of each history that is trained on, "
        "10% of its items replaced by others of the expert's category"
    )


def test_a_duplicate_is_its_origin() -> None:
    prepared = arrays_of(protocol(augment="duplicate"), STUDY)
    arrays, origin = prepared.arrays, origins(prepared)
    for name in ("item", "step", "features"):
        np.testing.assert_array_equal(arrays[name][EVENTS:], arrays[name][origin])
    past = arrays["past"][EVENTS:]
    shift = (np.arange(EVENTS, 2 * EVENTS) - origin)[:, None]
    expected = arrays["past"][origin]
    np.testing.assert_array_equal(past, np.where(expected >= 0, expected + shift, -1))
    np.testing.assert_array_equal(arrays["profile"][6:], arrays["profile"][:6])


def test_features_of_a_copy_are_those_of_its_own_items() -> None:
    """As if the copied histories were the table; consonants have no category and stay."""
    histories = {"all": "abcdeiou", "ann": "abaeaabe", "bob": "cdcacecb"}
    made = protocol(augment="expert", augment_share=1.0, min_past=0)
    prepared = arrays_of(made, made_table(histories))
    arrays, letters = prepared.arrays, np.array(prepared.spec.items)
    found = ["".join(row) for row in letters[arrays["item"][24:]].reshape(3, 8)]
    for old, new in zip(histories.values(), found, strict=True):
        for a, b in zip(old, new, strict=True):
            assert (b in "aeiou" and b != a) if a in "aeiou" else b == a
    # a first user who has all letters keeps their numbers the same
    again = made_table({"all": "abcdeiou", **dict(zip(("x", "y", "z"), found, strict=True))})
    expected = arrays_of(protocol(min_past=0), again).arrays["features"][8:]
    np.testing.assert_allclose(arrays["features"][24:], expected, rtol=1e-6)


def test_items_without_a_partner_stay() -> None:
    assert augment.of_same_category(["a", "", "b", "a", "", "a"]) == [
        [3, 5],
        [],
        [],
        [0, 5],
        [],
        [0, 3],
    ]
    draw = np.random.default_rng(0)
    history = np.array([0, 1, 1, 1, 1, 1, 2, 1])
    found = augment.replaced(history, [[7], *[[]] * 5, [8], []], 0.9, draw)
    assert found.tolist() == [7, 1, 1, 1, 1, 1, 8, 1]  # 7 were wanted, 2 can be


def literal_rules(baskets: list[set[int]], support: float, confidence: float) -> augment.Rules:
    """Every pair and triple counted."""
    items = sorted(set().union(*baskets))
    best: dict[frozenset[int], tuple[float, float, int]] = {}
    for x in items:
        for z in items:
            first = frozenset({x, z})
            with_first = [basket for basket in baskets if first <= basket]
            for y in set(items) - first:
                both = sum(y in basket for basket in with_first)
                if both and both / len(baskets) >= support and both / len(with_first) >= confidence:
                    sure, often = both / len(with_first), both / len(baskets)
                    rule = (round(sure, 9), round(often, 9), -y)
                    best[first] = max(best.get(first, rule), rule)
    return best


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=11))
def test_rules_are_those_of_counting(baskets: list[set[int]]) -> None:
    pytest.importorskip("mlxtend")
    found = augment.mined(baskets, 0.151, 0.437)
    assert found == literal_rules(baskets, 0.151, 0.437)


def test_rules_speak_within_a_session() -> None:
    """Sessions 0 1 2 and 1 3 of one user; the last event is not known."""
    item, session = np.array([0, 1, 2, 1, 3]), np.array([0, 0, 0, 1, 1])
    rules = {
        frozenset({1}): (0.6, 0.2, -5),
        frozenset({0, 1}): (0.9, 0.1, -4),
        frozenset({2, 3}): (1.0, 0.5, -6),
        frozenset({1, 3}): (1.0, 0.5, -7),
    }
    known = np.array([True, True, True, True, False])
    assert augment.by_rules(item, session, known, rules) == [[4], [4], [], [5], []]
    time = np.array([0.0, 0.0, 0.0, 2.0, np.nan, np.nan, np.nan])
    user = np.array([0, 0, 1, 1, 1, 1, 2])
    assert augment.sessions(user, time).tolist() == [0, 0, 1, 2, 3, 4, 5]


def test_rules_of_a_fold_know_nothing_of_who_is_left_out() -> None:
    pytest.importorskip("mlxtend")
    rest = random_histories(4, 9, 5, seed=3)
    found = []
    for own in ("abcdeabcd", "eeeddcbba"):
        table = made_table({"ann": own, **rest}, session=3)
        made = protocol(augment="rules", rule_support=0.001, rule_confidence=0.1, augment_share=1.0)
        arrays = arrays_of(made, table).arrays
        rows = [
            arrays["train"][(arrays["train"][:, 0] == fold) & (arrays["train"][:, 1] >= 45), 1]
            for fold in (0, 1)
        ]
        found.append([arrays["item"][row].tolist() for row in rows])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_first_events_of_training_users_are_known_others_are_not() -> None:
    user = np.array([0, 0, 0, 1, 1, 1])
    train, val, test, out = splits.TRAIN, splits.VAL, splits.TEST, splits.OUT
    part = np.array([[out, train, train, out, test, test], [out, train, val, out, out, train]])
    known = augment.known_events(user, part.astype(np.int8))
    assert known.astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1]]


def test_without_mlxtend_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.frequent_patterns", None)
    with pytest.raises(InputError, match=r"pip install 'fitexp\[rules\]'"):
        arrays_of(protocol(augment="rules"), STUDY)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"augment": "experts"}, "choose one of none, expert, rules, duplicate"),
        ({"augment": "expert"}, "no two items of one category"),
        ({"augment": "rules"}, "lower data.rule_support"),
        ({"augment_share": 0}, "data.augment_share=0"),
        ({"augment_copies": 0}, "data.augment_copies=0"),
        ({"rule_confidence": 1.5}, "data.rule_confidence=1.5"),
    ],
)
def test_mistakes_are_one_line(changed: dict[str, Any], words: str) -> None:
    if changed.get("augment") == "rules":
        pytest.importorskip("mlxtend")
    histories = {"ann": "bcdbc", "bob": "bbcd", "cid": "cab"}  # an event a day: no baskets
    with pytest.raises(InputError, match=words) as error:
        arrays_of(protocol(**changed), made_table(histories))
    assert "\n" not in str(error.value)
