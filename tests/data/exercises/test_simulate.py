"""Laws of the simulated DStress study, its ceiling, and its freeze."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest

from fitexp.data.exercises.simulate import (
    CONDITIONS,
    DAYS,
    DEMOGRAPHIC,
    FULL,
    LEVELS,
    NAMES,
    TRUE_DIFFICULTY,
    draw_events,
    draw_profile,
    draw_ratings,
    level_of,
    next_exercise,
    simulated_study,
)
from fitexp.data.exercises.table import EventTable
from fitexp.errors import InputError

NUMBER = {name: i for i, name in enumerate(NAMES)}
FROZEN_FIRST = ["chair squats", "marching in place", "pelvic tilts"]
FROZEN_SUMS = {"time": 32400.0, "success": 2121.0, "difficulty": 11530.33}


@pytest.fixture(scope="module")
def study() -> EventTable:
    return simulated_study(path=None, users=72, seed=0)


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray]:
    """Predictions (P, 36, 44) and what came (P, 36), of people of all conditions and abilities."""
    rng = np.random.default_rng(5)
    predicted, came = [], []
    for k in range(300):
        condition = CONDITIONS[k % 3]
        items, success = draw_events(condition, rng.normal(), rng)
        predicted.append([next_exercise(condition, items[:t], success[:t]) for t in range(36)])
        came.append(items)
    return np.array(predicted), np.array(came)


def test_schema(study: EventTable) -> None:
    events, users, items = study.events, study.users, study.items
    assert study.simulated
    assert study.name == "dstress_sim"
    assert study.day_span == 28
    assert list(events) == ["user", "item", "time", "success", "difficulty"]
    assert events.dtypes.astype(str).to_list()[2:] == ["float64", "float32", "float32"]
    assert len(events) == 72 * 36
    assert events["user"].unique().tolist() == users["user"].tolist()
    assert items["item"].tolist() == list(NAMES)
    assert len(set(NAMES)) == 44
    assert list(users) == ["user", *FULL]
    assert study.profiles == {"demographic": DEMOGRAPHIC, "full": FULL}
    assert not users.isna().any(axis=None)
    for table in (users, items):
        assert (table.dtypes.iloc[1:] == np.float32).all()
    for _, one in events.groupby("user"):
        assert one["time"].tolist() == [day for day in DAYS for _ in range(3)]
    assert set(events["success"]) == {0.0, 1.0}
    assert (events.groupby("item")["difficulty"].nunique() == 1).all()


def test_every_exercise_has_one_kind_pattern_and_muscle_and_a_substitute(study: EventTable) -> None:
    items = study.items.set_index("item")
    for name in ("kind", "pattern", "muscle"):
        assert (items.filter(like=f"{name}=").sum(axis=1) == 1).all()
    assert items.filter(like="group=").sum(axis=1).isin([0, 1]).all()
    assert {str(c).partition("=")[2] for c in items if str(c).startswith("group=")} == {
        "full body",
        "compound",
        "power",
    }
    assert set(study.categories) == set(NAMES)
    assert min(Counter(study.categories.values()).values()) >= 2
    for name, category in study.categories.items():
        values = category.split(", ")
        columns = [f"{k}={v}" for k, v in zip(("kind", "pattern", "muscle"), values, strict=True)]
        assert (items.loc[name, columns] == 1).all()


def test_equal_seeds_equal_tables(study: EventTable) -> None:
    again = simulated_study(path=None, users=72, seed=0)
    other = simulated_study(path=None, users=72, seed=1)
    pd.testing.assert_frame_equal(again.events, study.events, check_exact=True)
    pd.testing.assert_frame_equal(again.users, study.users, check_exact=True)
    assert not other.events["item"].equals(study.events["item"])
    assert not other.users["age_y"].equals(study.users["age_y"])


def test_a_person_does_not_depend_on_how_many_are_simulated(study: EventTable) -> None:
    few = simulated_study(path=None, users=4, seed=0)
    pd.testing.assert_frame_equal(few.events, study.events.head(4 * 36))
    pd.testing.assert_frame_equal(few.users, study.users.head(4))
    assert few.ceiling is not None
    assert study.ceiling is not None
    assert np.array_equal(few.ceiling, study.ceiling[: 4 * 36])


def test_frozen(study: EventTable) -> None:
    """Fails when a constant or the order of draws changes: the simulator is frozen.

    (NumPy may change its random streams between releases; then, only then, renew the numbers.)
    """
    assert study.events["item"].head(3).tolist() == FROZEN_FIRST
    sums = study.events[list(FROZEN_SUMS)].astype("float64").sum().to_dict()
    assert sums == pytest.approx(FROZEN_SUMS, abs=0.01)


@pytest.mark.parametrize(
    ("path", "users", "seed", "word"),
    [("a.csv", 72, 0, "a.csv"), (None, 0, 0, "users=0"), (None, 3, -1, "seed=-1")],
)
def test_refused(path: str | None, users: int, seed: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        simulated_study(path=path, users=users, seed=seed)


def test_levels_climb_through_all_exercises_and_the_two_hardest_share_one() -> None:
    assert len(LEVELS) == 15
    assert all(len(set(level)) == 3 for level in LEVELS)
    assert {i for level in LEVELS for i in level} == set(range(44))
    shared = [set(a) & set(b) for a, b in pairwise(LEVELS)]
    assert shared == [set()] * 13 + [{41}]
    assert TRUE_DIFFICULTY[[0, -1]].tolist() == [-2.2, 2.6]
    assert (np.diff(TRUE_DIFFICULTY) > 0).all()


@pytest.mark.parametrize(
    ("condition", "passed", "level"),
    [
        ("adaptive", [], 1),
        ("adaptive", [True, True, False], 2),
        ("adaptive", [False] * 5, 0),
        ("adaptive", [False, False, True], 1),  # kept at 0, not -1
        ("adaptive", [True] * 20, 14),
        ("adaptive", [True] * 20 + [False], 13),
        ("easy", [], 0),
        ("easy", [False], 0),
        ("easy", [False, True], 1),
        ("easy", [True] * 11, 5),
        ("difficult", [], 3),
        ("difficult", [False], 4),
        ("difficult", [True] * 11, 14),
        ("difficult", [True] * 30, 14),
        ("easy", [True] * 40, 14),
    ],
)
def test_rules_of_the_three_conditions(condition: str, passed: list[bool], level: int) -> None:
    assert level_of(condition, passed) == level


def test_every_day_has_the_exercises_of_its_level(study: EventTable) -> None:
    """Levels said a second time, from the table alone."""
    number = study.events["item"].map(NUMBER).to_numpy().reshape(72, 12, 3)
    success = study.events["success"].to_numpy().reshape(72, 12, 3)
    level = np.array([1, 0, 3] * 24)
    for day in range(12):
        low = np.minimum(3 * level, 41)
        assert np.array_equal(np.sort(number[:, day]), low[:, None] + np.arange(3))
        step = np.where(success[:, day].min(1) == 1, 1, -1)
        step[1::3] = day % 2
        step[2::3] = 1
        level = np.clip(level + step, 0, 14)


def oracle(seen: tuple[int, ...]) -> dict[int, Fraction]:
    """Next place of a day by enumerating a coin and six permutations, in exact fractions."""
    coin = Fraction(65, 100)
    outcomes: list[tuple[Fraction, tuple[int, ...]]] = [(coin, (0, 1, 2))]
    outcomes += [((1 - coin) / 6, order) for order in permutations(range(3))]
    fitting = [(weight, order) for weight, order in outcomes if order[: len(seen)] == seen]
    total = sum((weight for weight, _ in fitting), Fraction())
    answer = dict.fromkeys(range(3), Fraction())
    for weight, order in fitting:
        answer[order[len(seen)]] += weight / total
    return answer


@pytest.mark.parametrize("seen", [p[:n] for p in permutations(range(3)) for n in range(3)])
def test_the_ceiling_of_one_day_by_enumeration(seen: tuple[int, ...]) -> None:
    got = next_exercise("difficult", [9 + i for i in seen], [True] * len(seen))
    want = np.zeros(44)
    want[9:12] = [float(p) for p in oracle(seen).values()]  # level 3: exercises 9, 10, 11
    assert got == pytest.approx(want)


def test_the_ceiling_of_one_day_by_hand() -> None:
    """First: 0.65 + 0.35/3. Second after the first: (0.65 + 0.35/6) of that; else even odds."""
    first = next_exercise("easy", [], [])
    assert first[:3] == pytest.approx([0.766667, 0.116667, 0.116667], abs=1e-6)
    assert next_exercise("easy", [0], [True])[1] == pytest.approx(0.923913, abs=1e-6)
    assert next_exercise("easy", [2], [True])[:2] == pytest.approx([0.5, 0.5])
    assert next_exercise("easy", [2, 0], [True, True])[1] == 1


def test_the_ceiling_uses_success_of_past_days_only() -> None:
    day = [3, 4, 5]
    assert np.flatnonzero(next_exercise("adaptive", day, [True] * 3)).tolist() == [6, 7, 8]
    assert np.flatnonzero(next_exercise("adaptive", day, [True, False, True])).tolist() == [0, 1, 2]
    done = next_exercise("adaptive", [*day, 6], [True] * 4)
    missed = next_exercise("adaptive", [*day, 6], [True] * 3 + [False])
    assert np.array_equal(done, missed)


def test_the_first_exercise_tells_the_condition() -> None:
    """Hence knowing it helps the ceiling at a person's first event only."""
    first = np.array([next_exercise(condition, [], []) > 0 for condition in CONDITIONS])
    assert first.sum(1).tolist() == [3, 3, 3]
    assert first.sum(0).max() == 1


def test_the_ceiling_is_calibrated(many: tuple[np.ndarray, np.ndarray]) -> None:
    """Of the exercises given probability p, a share p came: for each of the seven values of p."""
    predicted, came = many
    hit = np.zeros_like(predicted)
    np.put_along_axis(hit, came[..., None], 1.0, axis=-1)
    values = np.unique(predicted.round(9))
    assert values == pytest.approx([0, 0.076087, 0.116667, 0.5, 0.766667, 0.923913, 1], abs=1e-6)
    for p in values:
        chosen = hit[np.isclose(predicted, p)]
        spread = np.sqrt(p * (1 - p) / len(chosen))
        assert abs(chosen.mean() - p) <= 4 * spread
    of_target = np.take_along_axis(predicted, came[..., None], axis=-1).mean()
    assert of_target == pytest.approx((predicted**2).sum(-1).mean(), abs=0.01)


def test_the_ceiling_is_top_1_of_86_percent(many: tuple[np.ndarray, np.ndarray]) -> None:
    """By place in the day 0.7667, 0.825 and 1; equally likely exercises share a hit."""
    predicted, came = many
    best = predicted == predicted.max(-1, keepdims=True)
    hit = np.take_along_axis(best / best.sum(-1, keepdims=True), came[..., None], axis=-1)
    by_place = hit.reshape(-1, 3).mean(0)
    assert by_place == pytest.approx([0.766667, 0.825, 1], abs=0.025)
    assert predicted.max(-1).mean() == pytest.approx((0.766667 + 0.825 + 1) / 3, abs=0.01)
    assert np.take_along_axis(predicted, came[..., None], axis=-1).min() > 0  # never excluded
    assert ((predicted > 0).sum(-1) <= 3).all()  # hence top-5 100 %


def test_the_table_carries_the_ceiling_of_its_events(study: EventTable) -> None:
    assert study.ceiling is not None
    assert study.ceiling.dtype == np.float32
    assert study.ceiling.shape == (72 * 36, 44)
    assert study.ceiling.sum(1) == pytest.approx(1, abs=1e-6)
    number = study.events["item"].map(NUMBER).to_numpy()
    success = study.events["success"].to_numpy() == 1
    for user, t in ((0, 0), (0, 35), (31, 20), (71, 4)):
        past = slice(36 * user, 36 * user + t)
        want = next_exercise(CONDITIONS[user % 3], number[past].tolist(), success[past].tolist())
        assert study.ceiling[36 * user + t] == pytest.approx(want, abs=1e-6)


def test_success_follows_the_logistic() -> None:
    """Difficult, ability 0.5, seventh exercise day (day 14): level 9, exercises 27 to 29."""
    rng = np.random.default_rng(2)
    drawn = [draw_events("difficult", 0.5, rng) for _ in range(1500)]
    items, success = (np.array([one[i] for one in drawn])[:, 18:21] for i in (0, 1))
    for i in (27, 28, 29):
        difficulty = -2.2 + 4.8 * i / 43
        chance = 1 / (1 + np.exp(-(1.2 * (0.5 + 0.04 * 14 - difficulty) + 0.9)))
        assert success[items == i].mean() == pytest.approx(chance, abs=0.045)


def test_ratings_are_means_of_three_whole_numbers() -> None:
    drawn = np.array([draw_ratings(np.random.default_rng(k)) for k in range(300)])
    assert drawn.min() >= 1
    assert drawn.max() <= 10
    assert np.allclose(3 * drawn, np.round(3 * drawn))
    inner = slice(12, 32)  # where clipping is out of reach
    assert drawn[:, inner].mean(0) == pytest.approx(1 + 9 * np.arange(44)[inner] / 43, abs=0.12)
    noise = np.sqrt((0.6**2 + 1 / 12) / 3)  # of the trainer and of rounding, three times
    assert drawn[:, inner].std(0).mean() == pytest.approx(noise, rel=0.05)


def test_ability_and_questionnaires_follow_their_formulas() -> None:
    rng = np.random.default_rng(3)
    profiles, abilities = zip(*(draw_profile(rng) for _ in range(2000)), strict=True)
    people, ability = pd.DataFrame(list(profiles)), np.array(abilities)
    assert list(people) == list(FULL)
    assert people["age_y"].between(19, 59).all()
    assert people["age_y"].mean() == pytest.approx(39, abs=1)
    assert people["sex"].mean() == pytest.approx(0.5, abs=0.05)
    assert people["bmi_kg_m2"].between(18, 40).all()
    columns = np.column_stack([np.ones(2000), people[list(DEMOGRAPHIC)] - [39, 0.5, 26, 24]])
    weights, *_ = np.linalg.lstsq(columns, ability, rcond=None)
    assert weights[0] == pytest.approx(0, abs=0.06)
    assert weights[1] == pytest.approx(-0.02, abs=0.005)
    assert weights[2] == pytest.approx(0.25, abs=0.11)
    assert weights[3] == pytest.approx(-0.06, abs=0.015)
    assert weights[4] == pytest.approx(0.018, abs=0.005)
    assert (ability - columns @ weights).std() == pytest.approx(0.6, abs=0.04)
    for name, slope in (("pss", -3), ("dass", -4), ("chips", -6), ("exse", 12)):
        found = np.polyfit(ability, people[name], 1)[0]
        assert found == pytest.approx(slope, rel=0.25)
