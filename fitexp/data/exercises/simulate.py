"""Simulated DStress study: SIMULATED people, for trying methods and for tests.

The study (Konrad et al., as used by Mahyari, Pirolli and LeBlanc, section II) gave adults
three exercises on each of 12 days under one of three conditions; its records are not public.

FROZEN: written down before any network was trained; no constant below may be tuned to a model.
One number, the share 0.65 of days in canonical order, was calibrated beforehand on the paper's
Table I row 1, which therefore is no evidence. N(m, s) is normal with standard deviation s, U(a, b)
uniform, [a, b] after a value clips it. "Own choice" marks what no source gives.

Exercises: 44, true difficulty b evenly spaced from -2.2 to 2.6 (names, their order of difficulty
and their categories: own choice). Each of three trainers rates 1 + 9 (b + 2.2) / 4.8 + N(0, 0.6),
rounded, [1, 10]; the rating is the mean of the three. Every event carries that of its exercise.

Levels: 15 of three exercises each, from the easiest up: 0, 1, 2; then 3, 4, 5; and so on. That is
45 places for 44 exercises: the two hardest levels share one (own choice).

People: person k is drawn from SeedSequence(seed).spawn(...)[k + 1], the same however many there
are (child 0 draws the ratings), and follows condition k mod 3 of
- adaptive: level 1 at first, then one up if all three exercises of the last day were done, else
  one down;
- easy: level 0 at first, one up every second exercise day;
- difficult: level 3 at first, one up every exercise day;
never below the lowest level or above the highest. No column holds the condition.

Profile (distributions: own choice; rounded values are used everywhere)
- age U(19, 59) whole years; sex 1 with probability 0.5, else 0; BMI N(26, 4) [18, 40] kg/m^2 in
  steps of 0.1; GLTEQ N(24, 14) [0, 98] whole points.
- ability a = -0.02 (age - 39) + 0.25 (sex - 0.5) - 0.06 (BMI - 26) + 0.018 (GLTEQ - 24)
  + N(0, 0.6).
- whole points in the full profile only: PSS 18 - 3 a + N(0, 5) [0, 40], DASS 14 - 4 a + N(0, 8)
  [0, 63], CHIPS 25 - 6 a + N(0, 12) [0, 132], EXSE 60 + 12 a + N(0, 15) [0, 100].

Days 0, 2, 4, 7, 9, 11, 14, 16, 18, 21, 23, 25 of 28. The three exercises of a day come in
canonical order (easiest first) with probability 0.65, else in one of the six orders at random,
the canonical one included. Each is done with probability logistic(1.2 (a + 0.04 day - b) + 0.9).

Ceiling: what the best predictor says who knows these rules, the person's condition and the past
events with their success (those of the same day included). Condition and past give the level of
the day, hence its three exercises; those already seen today give the posterior of the order. So
P(next) = sum of P(order) over orders that begin with today's exercises and go on with the next,
over the sum over orders that begin with today's. Ability, profile and the success of today's
exercises do not matter: the order does not depend on them, the level only on success already
seen. Nor does it matter after a person's first event that the condition is known: the first
levels 1, 0 and 3 have no exercise in common.
The most likely exercise comes with probability 0.65 + 0.35 / 3 = 0.767 (first of a day),
0.825 (second) and 1 (third): top-1 86.4 % on average, top-3 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp.data.exercises.table import EventTable
from fitexp.errors import InputError

Array = NDArray[np.float64]

DAYS = (0, 2, 4, 7, 9, 11, 14, 16, 18, 21, 23, 25)
CONDITIONS = ("adaptive", "easy", "difficult")
CANONICAL = 0.65  # share of days in canonical order: calibrated, see above
ORDERS = {
    order: (1 - CANONICAL) / 6 + CANONICAL * (order == (0, 1, 2))
    for order in permutations(range(3))
}
DEMOGRAPHIC = ("age_y", "sex", "bmi_kg_m2", "glteq")
FULL = (*DEMOGRAPHIC, "pss", "dass", "chips", "exse")
# Exercise, pattern, muscles, alternative group ("" for none), from the easiest up.
EXERCISES = (
    ("wall push-ups", "push", "chest", ""),
    ("standing knee lifts", "cardio", "legs", ""),
    ("shoulder blade squeezes", "pull", "back", ""),
    ("marching in place", "cardio", "legs", ""),
    ("pelvic tilts", "core", "abs/glutes", ""),
    ("chair squats", "squat", "legs", ""),
    ("standing leg lifts", "single-leg", "legs/glutes", ""),
    ("counter push-ups", "push", "chest", ""),
    ("glute bridges", "core", "abs/glutes", ""),
    ("wall angels", "pull", "back", ""),
    ("step touches", "cardio", "legs", ""),
    ("dead bugs", "core", "core/abs", ""),
    ("half squats", "squat", "legs", ""),
    ("single-leg stands", "single-leg", "legs/glutes", ""),
    ("knee push-ups", "push", "chest", ""),
    ("crunches", "core", "core/abs", ""),
    ("towel rows", "pull", "back", ""),
    ("squats", "squat", "legs", "compound"),
    ("reverse lunges", "lunge", "legs/glutes", "compound"),
    ("butt kicks", "cardio", "legs", ""),
    ("bird dogs", "core", "abs/glutes", ""),
    ("supermans", "pull", "back", ""),
    ("static lunges", "lunge", "legs/glutes", "compound"),
    ("front planks", "core", "core/abs", ""),
    ("jumping jacks", "cardio", "legs", "full body"),
    ("sumo squats", "squat", "legs", "compound"),
    ("bicycle crunches", "core", "core/abs", ""),
    ("forward lunges", "lunge", "legs/glutes", "compound"),
    ("push-ups", "push", "chest", "compound"),
    ("high knees", "cardio", "legs", ""),
    ("side planks", "core", "core/abs", ""),
    ("single-leg bridges", "single-leg", "legs/glutes", ""),
    ("inverted rows", "pull", "back", "compound"),
    ("walking lunges", "lunge", "legs/glutes", "compound"),
    ("mountain climbers", "cardio", "core/abs", "full body"),
    ("skater hops", "single-leg", "legs/glutes", "power"),
    ("jump squats", "squat", "legs", "power"),
    ("single-leg deadlifts", "single-leg", "legs/glutes", "compound"),
    ("diamond push-ups", "push", "chest", "compound"),
    ("jumping lunges", "lunge", "legs/glutes", "power"),
    ("plank jacks", "cardio", "core/abs", "full body"),
    ("pull-ups", "pull", "back", "compound"),
    ("pistol squats", "single-leg", "legs/glutes", "power"),
    ("burpees", "cardio", "legs", "full body"),
)
NAMES = tuple(name for name, *_ in EXERCISES)
TRUE_DIFFICULTY = np.linspace(-2.2, 2.6, len(EXERCISES))
LEVELS = tuple(tuple(range(first, first + 3)) for first in (*range(0, 42, 3), 41))


def level_of(condition: str, passed: Sequence[bool]) -> int:
    """Level of the next exercise day; passed: were all three done, for every day so far."""
    day, top = len(passed), len(LEVELS) - 1
    if condition == "easy":
        return min(day // 2, top)
    if condition == "difficult":
        return min(3 + day, top)
    level = 1
    for up in passed:
        level = min(max(level + (1 if up else -1), 0), top)
    return level


def next_exercise(condition: str, items: Sequence[int], success: Sequence[bool]) -> Array:
    """Probability of each exercise (44,) at the next event, given a person's events so far."""
    day, done = divmod(len(items), 3)
    passed = [all(success[3 * d : 3 * d + 3]) for d in range(day)]
    exercises = LEVELS[level_of(condition, passed)]
    chance = np.zeros(len(EXERCISES))
    for order, weight in ORDERS.items():
        planned = [exercises[i] for i in order]
        if planned[:done] == list(items[3 * day :]):
            chance[planned[done]] += weight
    return np.asarray(chance / chance.sum())


def draw_ratings(rng: np.random.Generator) -> Array:
    """Mean of three trainers' ratings of every exercise, 1 to 10 -> (44,)."""
    low, high = TRUE_DIFFICULTY[[0, -1]]
    felt = 1 + 9 * (TRUE_DIFFICULTY - low) / (high - low)
    given = np.clip(np.round(felt + rng.normal(0, 0.6, (3, len(felt)))), 1, 10)
    return np.asarray(given.mean(0))


def draw_profile(rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """A person's full profile and ability."""
    age = float(rng.integers(19, 59, endpoint=True))
    sex = float(rng.random() < 0.5)
    bmi = round(float(np.clip(rng.normal(26, 4), 18, 40)), 1)
    glteq = round(float(np.clip(rng.normal(24, 14), 0, 98)))
    ability = -0.02 * (age - 39) + 0.25 * (sex - 0.5) - 0.06 * (bmi - 26) + 0.018 * (glteq - 24)
    ability += rng.normal(0, 0.6)

    def scale(mean: float, slope: float, sd: float, top: int) -> float:
        return round(float(np.clip(mean + slope * ability + rng.normal(0, sd), 0, top)))

    answers = [scale(18, -3, 5, 40), scale(14, -4, 8, 63), scale(25, -6, 12, 132)]
    answers.append(scale(60, 12, 15, 100))
    return dict(zip(FULL, [age, sex, bmi, glteq, *answers], strict=True)), ability


def draw_events(
    condition: str, ability: float, rng: np.random.Generator
) -> tuple[list[int], list[bool]]:
    """A person's 36 exercises (indices) in order, and whether each was done."""
    items: list[int] = []
    success: list[bool] = []
    passed: list[bool] = []
    for day in DAYS:
        today = np.array(LEVELS[level_of(condition, passed)])
        if rng.random() >= CANONICAL:
            today = rng.permutation(today)
        margin = 1.2 * (ability + 0.04 * day - TRUE_DIFFICULTY[today]) + 0.9
        done = rng.random(3) < 1 / (1 + np.exp(-margin))
        items += today.tolist()
        success += done.tolist()
        passed.append(bool(done.all()))
    return items, success


def _expert() -> tuple[pd.DataFrame, dict[str, str]]:
    """Items, a column a value the expert gave; and the leaf of the card sorting of each."""
    table = pd.DataFrame(EXERCISES, columns=["item", "pattern", "muscle", "group"])
    table.insert(1, "kind", np.where(table["pattern"] == "cardio", "metabolic", "resistance"))
    leaf = table["kind"] + ", " + table["pattern"] + ", " + table["muscle"]
    named = table.assign(group=table["group"].mask(table["group"] == ""))  # no column for none
    items = pd.get_dummies(named, columns=list(table.columns[1:]), prefix_sep="=", dtype=np.float32)
    return items, dict(zip(table["item"], leaf, strict=True))


def simulated_study(*, path: str | None, users: int, seed: int) -> EventTable:
    """Simulate the study with `users` people, 36 events each; equal seeds, equal tables.

    Raises InputError for a path (nothing is read), for no users, a negative seed.
    """
    if path is not None:
        raise InputError(f"data.path={path}: this study is simulated and reads no files; drop it")
    if users < 1 or seed < 0:
        raise InputError(
            f"data.source: users={users}, seed={seed}: users must be at least 1, seed at least 0"
        )
    for_ratings, *for_people = np.random.SeedSequence(seed).spawn(users + 1)
    rating = draw_ratings(np.random.default_rng(for_ratings))
    profiles, items, success, ceiling = [], [], [], []
    for k, stream in enumerate(for_people):
        rng = np.random.default_rng(stream)
        condition = CONDITIONS[k % 3]
        profile, ability = draw_profile(rng)
        chosen, done = draw_events(condition, ability, rng)
        profiles.append(profile)
        items += chosen
        success += done
        ceiling += [next_exercise(condition, chosen[:t], done[:t]) for t in range(len(chosen))]
    exercises, categories = _expert()
    names = [f"person_{k:03d}" for k in range(users)]
    people = pd.DataFrame(profiles, columns=list(FULL), dtype=np.float32)
    people.insert(0, "user", names)
    events = pd.DataFrame(
        {
            "user": np.repeat(names, 3 * len(DAYS)),
            "item": np.array(NAMES)[items],
            "time": np.tile(np.repeat(np.array(DAYS, dtype=np.float64), 3), users),
            "success": np.array(success, dtype=np.float32),
            "difficulty": rating[items].astype(np.float32),
        }
    )
    return EventTable(
        events=events,
        users=people,
        items=exercises,
        profiles={"demographic": DEMOGRAPHIC, "full": FULL},
        categories=categories,
        ceiling=np.array(ceiling, dtype=np.float32),
        day_span=28.0,
        simulated=True,
        name="dstress_sim",
        rejected={},
    )
