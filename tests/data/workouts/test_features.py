import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp.data.prepare import Arrays, Prepared
from fitexp.data.workouts.features import averages, blocks, of_steps, past
from fitexp.data.workouts.layout import ahead_rows, training_pairs, workout_of
from fitexp.data.workouts.protocol import arrays_of
from fitexp.data.workouts.table import WorkoutTable
from tests.data.workouts.made import protocol, table

SCALES = (2.0, 18.0)


def with_gap() -> WorkoutTable:
    """Workouts that stand in their third minute and stop for 200 s after their fifth."""
    made = table(athletes=2)
    time, covered = made.samples["time_s"], made.samples["distance_km"]
    stood = covered.mask((time > 120) & (time < 180)).groupby(made.samples["session"]).ffill()
    samples = made.samples.assign(time_s=time + 200.0 * (time > 300), distance_km=stood)
    return dataclasses.replace(made, samples=samples)


def prepared(**changed: object) -> Prepared:
    return arrays_of(protocol(max_steps=60, min_piece_steps=5, **changed), with_gap())


TIME = prepared(steps=30)
SHORT = prepared(regime="short", horizons=[1, 3])
DISTANCE = prepared(steps=30, target="derived_speed")


def everything(made: Prepared, arrays: Arrays | None = None) -> np.ndarray:
    arrays = made.arrays if arrays is None else arrays
    return of_steps(made.spec, arrays, np.arange(len(made.arrays["part"])), SCALES)[1]


def literal(made: Prepared, workout: int) -> np.ndarray:
    """The features of one workout, step by step, as the docstrings have them."""
    spec, arrays = made.spec, made.arrays
    begin, end = (int(v) for v in arrays["offset"][workout : workout + 2])
    inputs = {
        name: arrays["x"][:, k].astype(float) / spec.scaling[name].factor * spec.scaling[name].sd
        + spec.scaling[name].mean
        for k, name in enumerate(spec.inputs)
    }
    timed, elapsed = spec.step_unit == "s", arrays["elapsed_s"].astype(float)
    rows, means = [], np.zeros((3 if timed else 2, len(SCALES)))
    piece_begin = begin
    for row in range(begin, end):
        if row > begin and arrays["piece_end"][row] != arrays["piece_end"][row - 1]:
            piece_begin = row
        if timed:
            back = max(row - 3, piece_begin)
            rise = inputs["altitude"][row] - inputs["altitude"][back]
            climb = rise / (10.0 * (row - back)) if row > back else 0.0
            now = [inputs["derived_speed"][row], min(max(climb, -1.5), 1.5)]
        else:
            now = [inputs["grade"][row]]
        steps = 1.0
        if timed and row > begin:
            steps = max(1.0, (elapsed[row] - elapsed[row - 1]) / 10.0)  # stored in float32
        for r, value in enumerate([*now, 1.0]):
            for k, scale in enumerate(SCALES):
                a = np.exp(-1 / scale)
                means[r, k] = a**steps * means[r, k] + (1 - a) * value
        others = [] if timed else [inputs["distance"][row]]
        rows.append([*now, *others, row - begin, *means.ravel()])
    return np.array(rows)


@pytest.mark.parametrize("made", [TIME, DISTANCE], ids=["time", "distance"])
def test_features_equal_the_literal_loop(made: Prepared) -> None:
    found = everything(made)
    expected = [literal(made, w) for w in range(len(made.arrays["part"]))]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-9)


def test_a_speed_that_never_was_recorded_is_unknown() -> None:
    """Workouts that stand from their first step: from the 19th on, until they move."""
    spec, step = (
        TIME.spec,
        np.arange(len(TIME.arrays["y"])) - TIME.arrays["offset"][workout_of(TIME.arrays)],
    )
    scale = spec.scaling["derived_speed"]
    x = TIME.arrays["x"].copy()
    x[step < 30, 0] = -scale.mean / scale.sd * scale.factor
    found = everything(TIME, {**TIME.arrays, "x": x})
    unknown = (step >= 18) & (step < 30)
    own = [0, 3, 4]  # the speed and its averages
    assert np.isnan(found[unknown][:, own]).all()
    assert np.isfinite(found[~unknown]).all()
    assert np.isfinite(np.delete(found, own, axis=1)).all()
    assert np.isfinite(everything(TIME)).all()  # who stands later was measured


def test_a_gap_counts_as_rest() -> None:
    """The made workouts have one: behind it the average of 1 has fallen."""
    gap = np.diff(TIME.arrays["elapsed_s"]) > 100
    assert gap.any()
    ones = everything(TIME)[:, -2]
    assert (ones[1:][gap] < ones[:-1][gap]).all()


@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=9), min_size=1, max_size=5),
    st.floats(0.5, 50),
)
def test_a_workout_is_averaged_as_if_it_were_alone(
    workouts: list[list[float]], scale: float
) -> None:
    x = np.concatenate(workouts)[:, None]
    starts = np.cumsum([0, *map(len, workouts)])
    found = averages(x, starts, np.ones(len(x)), [scale])[:, 0, 0]
    a = np.exp(-1 / scale)
    for begin, values in zip(starts, workouts, strict=False):
        for t in range(len(values)):
            expected = sum((1 - a) * a ** (t - j) * values[j] for j in range(t + 1))
            np.testing.assert_allclose(found[begin + t], expected, atol=1e-12)


@pytest.mark.parametrize("made", [TIME, DISTANCE], ids=["time", "distance"])
def test_later_inputs_do_not_reach_back(made: Prepared) -> None:
    rng = np.random.default_rng(0)
    workout = workout_of(made.arrays)
    cut = made.arrays["offset"][workout] + 25
    later = np.arange(len(workout)) >= cut
    x = np.where(later[:, None], rng.normal(0, 5, made.arrays["x"].shape), made.arrays["x"])
    changed = everything(made, {**made.arrays, "x": x.astype(np.float32)})
    before = everything(made)
    np.testing.assert_array_equal(changed[~later], before[~later])
    assert (changed[later] != before[later]).any()


def test_time_says_nothing_on_a_distance_grid() -> None:
    """There it is the target."""
    elapsed = np.random.default_rng(0).uniform(0, 1e4, DISTANCE.arrays["elapsed_s"].shape)
    changed = everything(DISTANCE, {**DISTANCE.arrays, "elapsed_s": elapsed.astype(np.float32)})
    np.testing.assert_array_equal(changed, everything(DISTANCE))


def test_the_past_is_the_last_value_and_its_differences() -> None:
    arrays = {"offset": np.array([0, 3, 7]), "y": np.array([1, 2, 4, 10, 13, 11, 20.0])}
    found = past(arrays, np.array([5, 3]), 4)
    assert found.tolist() == [[11, -2, 3, 0], [10, 0, 0, 0]]


def test_short_features_know_no_later_target() -> None:
    arrays = SHORT.arrays
    rows, origins, _ = ahead_rows(arrays, arrays["test"], SHORT.spec.steps, 3)
    later = np.setdiff1d(
        np.arange(len(arrays["y"])), np.concatenate([origins - k for k in range(9)])
    )
    y = arrays["y"].copy()
    y[later] += 100

    def found(arrays: Arrays) -> np.ndarray:
        options = {"scales": SCALES, "memory": 9}
        parts = list(blocks(SHORT.spec, arrays, rows, origins, **options))
        out = np.zeros((len(rows), parts[0][1].shape[1]))
        for places, x in parts:
            out[places] = x
        return out

    np.testing.assert_array_equal(found({**arrays, "y": y}), found(arrays))
    at_row, at_origin = everything(SHORT)[rows], everything(SHORT)[origins]
    np.testing.assert_array_equal(found(arrays)[:, 9:], np.hstack([at_row, at_row - at_origin]))


@pytest.mark.parametrize("ahead", [1, 3])
def test_training_pairs_are_the_windows_of_training(ahead: int) -> None:
    """Those of stride 1 whose step was measured."""
    arrays, steps = SHORT.arrays, SHORT.spec.steps
    every = prepared(regime="short", horizons=[1, 3], stride=1).arrays["train"]
    rows, origins, exists = ahead_rows(arrays, every, steps, ahead)
    kept = exists & arrays["observed"][rows]
    expected = sorted(zip(rows[kept].tolist(), origins[kept].tolist(), strict=True))
    found = training_pairs(arrays, steps, ahead)
    assert sorted(zip(*(v.tolist() for v in found), strict=True)) == expected
    assert expected
