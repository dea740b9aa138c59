import dataclasses

import numpy as np
import pytest

from fitexp.data.prepare import Arrays
from fitexp.data.spec import Scale, WorkoutSpec
from fitexp.data.workouts.layout import workout_of
from fitexp.errors import InputError
from fitexp.models.knn import NearestWorkouts, summary
from fitexp.models.means import BalancedMean
from tests.models.test_ridge import PREPARED

WHOLE = PREPARED["whole"]
SPEC: WorkoutSpec = dataclasses.replace(
    WHOLE.spec,
    inputs=("derived_speed",),
    scaling={"derived_speed": Scale(mean=10.0, sd=2.0, factor=5.0)},
    attributes={"user": ("unknown", "a", "b"), "sport": ("unknown", "run", "bike")},
)
# speed, steps, user, sport, part (0 train, 2 test), target: its value + the number of the step
WORKOUTS = [
    (10, 3, 1, 1, 0, 100),
    (12, 3, 1, 1, 0, 120),
    (11, 2, 1, 1, 0, 140),
    (20, 3, 1, 2, 0, 160),
    (11, 3, 2, 1, 0, 180),
    (10.4, 4, 1, 1, 2, 0),  # 5: nearest of the user's runs by speed 0, then 2, then 1
    (20, 3, 2, 2, 2, 0),  # 6: the user has one workout, of another sport
    (20, 3, 0, 2, 2, 0),  # 7: unknown
    (10.4, 3, 1, 2, 2, 0),  # 8: bike: its only bike, then runs
]


def hand_made() -> Arrays:
    length = [w[1] for w in WORKOUTS]
    of = np.repeat(np.arange(len(WORKOUTS)), length)
    step = np.concatenate([np.arange(n) for n in length])
    speed, _, user, sport, part, y = (np.array(c) for c in zip(*WORKOUTS, strict=True))
    return {
        "x": ((speed[of] - 10.0) / 2.0 * 5.0)[:, None].astype(np.float32),
        "y": (y[of] + step).astype(np.float32),
        "observed": np.ones(len(of), bool),
        "offset": np.concatenate([[0], np.cumsum(length)]),
        "attributes": np.column_stack([user, sport]),
        "part": part.astype(np.int8),
    }


def predicted(k: int, workout: int) -> list[float]:
    arrays = hand_made()
    model = NearestWorkouts(spec=SPEC, neighbours=k)
    model.fit(arrays)
    rows = np.arange(*arrays["offset"][workout : workout + 2])
    return [round(v, 3) for v in model.at(arrays, rows, None).tolist()]


def test_the_summary_is_the_mean_speed_and_the_length() -> None:
    found = summary(SPEC, hand_made(), np.array([0, 5]))
    np.testing.assert_allclose(found, [[10, np.log(3)], [10.4, np.log(4)]], rtol=1e-6)


def test_nearest_by_hand() -> None:
    assert predicted(1, 5) == [100, 101, 102, 102]  # behind the end the last value
    assert predicted(3, 5) == [120, 121, 121.667, 121.667]


def test_the_same_sport_comes_first() -> None:
    assert predicted(1, 8) == [160, 161, 162]
    assert predicted(2, 8) == [130, 131, 132]


def test_fewer_than_k_are_those_there_are() -> None:
    assert predicted(3, 6) == [180, 181, 182]


def test_an_unknown_person_gets_the_mean_of_the_sport() -> None:
    assert predicted(3, 7) == [161, 161, 161]
    arrays = dict(WHOLE.arrays)
    arrays["attributes"] = arrays["attributes"] * np.array([0, 1, 1])
    sport = BalancedMean(spec=WHOLE.spec, by=["sport"])
    nearest = NearestWorkouts(spec=WHOLE.spec, neighbours=3)
    for model in (sport, nearest):
        model.fit(WHOLE.arrays)
    rows = np.arange(100)
    np.testing.assert_array_equal(nearest.at(arrays, rows, None), sport.at(arrays, rows, None))


def test_targets_of_the_test_do_not_matter_nor_what_else_is_asked() -> None:
    tested = WHOLE.arrays["part"][workout_of(WHOLE.arrays)] > 0
    y = np.where(tested, WHOLE.arrays["y"] + 50, WHOLE.arrays["y"]).astype(np.float32)
    found = []
    for arrays in (WHOLE.arrays, {**WHOLE.arrays, "y": y}):
        model = NearestWorkouts(spec=WHOLE.spec, neighbours=3)
        model.fit(arrays)
        found.append(model)
    rows = np.flatnonzero(tested)
    first, second = (m.at(WHOLE.arrays, rows, None) for m in found)
    np.testing.assert_array_equal(first, second)
    alone = np.concatenate([found[0].at(WHOLE.arrays, rows[i : i + 1], None) for i in range(20)])
    np.testing.assert_array_equal(alone, first[:20])


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.neighbours=0"):
        NearestWorkouts(spec=SPEC, neighbours=0)
