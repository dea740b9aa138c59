from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fitexp.data import splits
from fitexp.data.workouts.module import WorkoutGather
from fitexp.data.workouts.protocol import LEAKS, arrays_of
from fitexp.data.workouts.table import WorkoutTable, read_workout_table
from fitexp.errors import InputError

from .made import protocol, table, write_table

MADE = table()


def changed_samples(made: WorkoutTable, rows: np.ndarray, **by: float) -> WorkoutTable:
    samples = made.samples.copy()
    for column, shift in by.items():
        samples.loc[rows, column] += shift
    return dataclasses.replace(made, samples=samples)


def test_each_first_workout_is_context_only_and_the_rest_split_by_time() -> None:
    arrays = arrays_of(protocol(), MADE).arrays
    for user in np.unique(arrays["user_id"]):
        mine = arrays["part"][arrays["user_id"] == user]
        assert mine.tolist() == [splits.OUT, 0, 0, 0, 0, 0, splits.VAL, splits.TEST]
    assert len(arrays_of(protocol(history="none"), MADE).arrays["train"]) > len(arrays["train"])


def test_test_targets_do_not_reach_the_spec() -> None:
    """Shifting every held-out heart rate by +50 leaves spec.json as it is."""
    for split in ("time", "user", "random"):
        made = protocol(split=split, folds=4)
        before = arrays_of(made, MADE)
        held_out = np.flatnonzero(np.isin(before.arrays["part"], (splits.VAL, splits.TEST)))
        rows = np.isin(MADE.samples["session"], held_out)
        after = arrays_of(made, changed_samples(MADE, rows, heart_rate_bpm=50.0))
        assert before.spec == after.spec
        train = np.isin(before.arrays["part"], (splits.TRAIN,))
        rows = np.isin(MADE.samples["session"], np.flatnonzero(train))
        assert arrays_of(made, changed_samples(MADE, rows, heart_rate_bpm=50.0)).spec != before.spec


def test_training_inputs_have_mean_0_and_sd_of_the_factor() -> None:
    prepared = arrays_of(protocol(), MADE)
    workout = np.repeat(np.arange(len(prepared.arrays["part"])), np.diff(prepared.arrays["offset"]))
    x = prepared.arrays["x"][prepared.arrays["part"][workout] == splits.TRAIN]
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(0), 5, rtol=1e-3)


@pytest.mark.parametrize("history", ["previous", "train_prior", "none"])
@pytest.mark.parametrize("split", ["time", "random"])
def test_context_is_the_named_earlier_workout(history: str, split: str) -> None:
    arrays = arrays_of(protocol(history=history, split=split), MADE).arrays
    for w, previous in enumerate(arrays["previous"]):
        user = np.flatnonzero(arrays["user_id"] == arrays["user_id"][w])
        earlier = [
            v
            for v in user
            if v < w and (history == "previous" or arrays["part"][v] in (splits.TRAIN, splits.OUT))
        ]
        expected = earlier[-1] if earlier and history != "none" else -1
        assert previous == expected


@pytest.mark.parametrize("grid", ["time", "distance"])
def test_inputs_that_give_away_the_speed_are_refused(grid: str) -> None:
    for name in LEAKS["derived_speed", grid]:
        with pytest.raises(InputError, match="gives away the target"):
            protocol(target="derived_speed", grid=grid, inputs=["altitude", name])
    with pytest.raises(InputError, match="gives away"):
        protocol(inputs=["heart_rate"])


def best_linear_fit(features: np.ndarray, y: np.ndarray) -> float:
    """R^2 of least squares."""
    design = np.column_stack([features, np.ones(len(y))])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - residual.var() / y.var()


def test_speed_cannot_be_computed_from_its_inputs_by_differencing() -> None:
    """All allowed inputs, their differences, quotients and inverses tell nothing of the speed.

    The control: with the refused time_elapsed the inverse difference is the speed.
    """
    made = protocol(target="derived_speed", inputs=["altitude", "grade", "distance", "total_time"])
    prepared = arrays_of(made, MADE)
    x, y = prepared.arrays["x"].astype(float), prepared.arrays["y"].astype(float)
    raw = np.column_stack(
        [
            x[:, i] / 5 * prepared.spec.scaling[n].sd + prepared.spec.scaling[n].mean
            for i, n in enumerate(prepared.spec.inputs)
        ]
    )
    inside = np.zeros(len(y), bool)
    for a, b in zip(prepared.arrays["offset"][:-1], prepared.arrays["offset"][1:], strict=True):
        inside[a + 1 : b] = True
    diff = np.diff(raw, axis=0, prepend=raw[:1])
    safe = np.where(np.abs(diff) > 1e-6, diff, np.inf)
    quotient = (diff[:, :, None] / safe[:, None, :]).reshape(len(y), -1)
    features = np.column_stack([diff, 1 / safe, quotient.clip(-1e3, 1e3)])[inside]
    within = y - np.repeat(
        [
            y[a:b].mean()
            for a, b in zip(
                prepared.arrays["offset"][:-1], prepared.arrays["offset"][1:], strict=True
            )
        ],
        np.diff(prepared.arrays["offset"]),
    )
    assert best_linear_fit(features, within[inside]) < 0.2
    elapsed = prepared.arrays["elapsed_s"].astype(float)
    step_s = np.diff(elapsed, prepend=0)
    leak = 3.6 * made.step / np.where(step_s > 0, step_s, np.inf)
    assert best_linear_fit(leak[inside][:, None], y[inside]) > 0.99


def test_whole_blocks_cover_every_step_once_in_block_order() -> None:
    prepared = arrays_of(protocol(max_steps=None, steps=40), MADE)
    arrays = prepared.arrays
    for part, number in (("train", 0), ("val", 1), ("test", 2)):
        seen = [
            (w, s)
            for w, first in arrays[part]
            for s in range(first, min(first + 40, arrays["offset"][w + 1] - arrays["offset"][w]))
        ]
        expected = [
            (w, s)
            for w in np.flatnonzero(arrays["part"] == number)
            for s in range(arrays["offset"][w + 1] - arrays["offset"][w])
        ]
        assert sorted(seen) == expected
        assert (np.diff(arrays[part][:, 1]) >= 0).all()  # first blocks before second ones


def test_short_windows_lie_within_a_piece_and_follow_a_measured_step() -> None:
    samples = MADE.samples
    gap = (samples["time_s"] > 300) & (samples["time_s"] < 420)
    made = dataclasses.replace(MADE, samples=samples[~gap].reset_index(drop=True))
    prepared = arrays_of(protocol(regime="short", min_piece_steps=12), made)
    arrays = prepared.arrays
    assert len(arrays["test"])
    for part in ("train", "val", "test"):
        for w, first in arrays[part]:
            begin = arrays["offset"][w]
            assert first >= 1
            rows = np.arange(begin + first - 1, begin + first + prepared.spec.steps)
            assert rows[-1] < arrays["offset"][w + 1]
            times = arrays["elapsed_s"][rows]
            np.testing.assert_allclose(np.diff(times), 10, atol=1e-3)
    last = arrays["test"][:, 1] + arrays["offset"][arrays["test"][:, 0]] + prepared.spec.steps - 1
    assert len(np.unique(last)) == len(last)  # each test step once


def test_start_value_is_the_mean_first_training_value() -> None:
    prepared = arrays_of(protocol(), MADE)
    arrays = prepared.arrays
    for user, value in prepared.spec.start_by_user.items():
        rows = np.flatnonzero((arrays["part"] == 0) & (arrays["user_id"] == user))
        if user != "unknown":
            assert value == pytest.approx(arrays["y"][arrays["offset"][rows]].mean(), rel=1e-5)
    people = [v for k, v in prepared.spec.start_by_user.items() if k != "unknown"]
    assert prepared.spec.start_by_user["unknown"] == pytest.approx(np.mean(people))


def test_other_data_under_a_given_spec_keep_its_scaling_and_vocabularies() -> None:
    spec = arrays_of(protocol(), MADE).spec
    other = table(athletes=5, seed=1)
    prepared = arrays_of(protocol(), other, spec)
    assert prepared.spec.scaling == spec.scaling
    codes = prepared.arrays["attributes"][:, 0]
    assert codes[prepared.arrays["user_id"] == "athlete4"].tolist() == [0] * 8  # not known
    assert (codes[prepared.arrays["user_id"] != "athlete4"] > 0).all()


def test_nothing_left_names_the_key() -> None:
    with pytest.raises(InputError, match=r"data\.min_workouts=20"):
        arrays_of(protocol(min_workouts=20), MADE)
    with pytest.raises(InputError, match="5 folds for 4 users"):
        arrays_of(protocol(split="user"), MADE)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("split", "tmie", "choose one of time, user, random"),
        ("inputs", ["altitud"], "no series 'altitud'"),
        ("inputs", [], "is empty"),
        ("fractions", [0.5, 0.5, 0.5], "add up to 1"),
        ("horizons", [6, 30], "1 among them"),
        ("max_steps", -5, "1 up"),
        ("max_gap_s", None, "a number above 0"),
        ("input_factor", 0, "a number above 0"),
        ("inputs", ["altitude", "altitude"], "named twice"),
        ("split_seed", -1, "0 up"),
        ("steps", 0, "1 up"),
    ],
)
def test_bad_values_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        protocol(**{key: value})


def test_batch_size_is_no_part_of_the_cache_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    calls = []
    monkeypatch.setattr(
        "fitexp.data.sources.targets.build", lambda *_, **__: calls.append(1) or MADE
    )
    for changed in ({}, {"batch_size": 3}, {"split": "random"}):
        protocol(**changed).prepare()
    assert len(calls) == 2


def test_real_workouts_give_the_protocol_files_counts(real_data: Path) -> None:
    """164 of 165 sessions and 39,258 steps (first 300 of each) on a 10 s grid."""
    recorded = read_workout_table(path=str(real_data / "open-workouts"))
    prepared = arrays_of(protocol(min_workouts=1), recorded)
    assert len(recorded.sessions) == 165
    assert len(prepared.arrays["workout_id"]) == 164
    assert len(prepared.arrays["y"]) == 39_258
    assert prepared.report["rejected"]["workouts without a piece of 30 steps"] == 1


def test_later_heart_rates_do_not_reach_measured_steps() -> None:
    """A hole is not bridged from its far side: steps before it stay, steps in it are missing."""
    samples = MADE.samples
    hole = (samples["time_s"] > 200) & (samples["time_s"] < 255)
    samples = samples.copy()
    samples.loc[hole, "heart_rate_bpm"] = np.nan
    holed = dataclasses.replace(MADE, samples=samples)
    later = (samples["time_s"] >= 255).to_numpy()
    shifted = changed_samples(holed, later, heart_rate_bpm=40.0)
    one, other = (arrays_of(protocol(regime="short"), t).arrays for t in (holed, shifted))
    early = one["elapsed_s"] < 250
    np.testing.assert_array_equal(one["y"][early], other["y"][early])
    inside = (one["elapsed_s"] > 206) & (one["elapsed_s"] < 250)
    assert not one["observed"][inside].any()
    assert one["observed"][one["elapsed_s"] < 190].all()


def test_unknown_starts_do_not_mix_athletes() -> None:
    """An athlete's first row without a start stays his first, whatever the row above is."""
    sessions = MADE.sessions.copy()
    sessions.loc[sessions["athlete"] == "athlete0", "start"] += 3.2e7
    first = sessions.index[sessions["athlete"] == "athlete1"][0]
    sessions.loc[first, "start"] = np.nan
    arrays = arrays_of(protocol(), dataclasses.replace(MADE, sessions=sessions)).arrays
    mine = arrays["user_id"] == "athlete1"
    assert arrays["part"][mine].tolist() == [splits.OUT, 0, 0, 0, 0, 0, splits.VAL, splits.TEST]


def test_a_second_recording_of_a_workout_is_no_context() -> None:
    sessions, samples = MADE.sessions, MADE.samples
    last = len(sessions) - 1
    for shift, left in ((0.0, 0), (7.0, 1)):  # the same second; another device, 7 s later
        twin = sessions.iloc[[last]].assign(
            workout="twin", start=sessions["start"].iloc[-1] + shift
        )
        copy = samples[samples["session"] == last].assign(session=np.int32(last + 1))
        made = dataclasses.replace(
            MADE,
            sessions=pd.concat([sessions, twin], ignore_index=True),
            samples=pd.concat([samples, copy], ignore_index=True),
        )
        prepared = arrays_of(protocol(), made)
        ids = prepared.arrays["workout_id"].tolist()
        assert ids.count("twin") == left
        for workout in ("twin", sessions["workout"].iloc[-1])[1 - left :]:
            previous = prepared.arrays["previous"][ids.index(workout)]
            assert ids[previous] == sessions["workout"].iloc[-2]
        said = "workouts that start with another of the athlete"
        assert prepared.report["rejected"].get(said, 0) == 1 - left


def test_a_measured_start_value_is_not_scored() -> None:
    arrays = arrays_of(protocol(start_value="measured"), MADE).arrays
    first = arrays["offset"][:-1]
    assert not arrays["observed"][first].any()
    np.testing.assert_array_equal(arrays["start"], arrays["y"][first])
    usual = arrays_of(protocol(), MADE).arrays["observed"]
    assert usual.sum() - arrays["observed"].sum() == len(first)


def test_an_athlete_called_unknown_does_not_stand_for_all() -> None:
    sessions = MADE.sessions.replace({"athlete": {"athlete0": "unknown"}})
    prepared = arrays_of(protocol(), dataclasses.replace(MADE, sessions=sessions))
    people = [v for k, v in prepared.spec.start_by_user.items() if k != "unknown"]
    assert len(people) == 3
    assert prepared.spec.start_by_user["unknown"] == pytest.approx(np.mean(people), rel=0.1)


def test_an_input_that_nobody_recorded_is_refused() -> None:
    samples = MADE.samples.assign(altitude_m=np.float32(np.nan))
    with pytest.raises(InputError, match="no training workout has any altitude"):
        arrays_of(protocol(), dataclasses.replace(MADE, samples=samples))


def test_the_folder_that_is_named_is_the_folder_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    for name, made in (("a", MADE), ("b", table(seed=5))):
        write_table(made, tmp_path / name)
    hashes = [protocol(path=str(tmp_path / name)).prepare().report["data_hash"] for name in "aba"]
    assert hashes[0] == hashes[2] != hashes[1]


def test_people_are_weighted_in_training_only() -> None:
    """n^-w by hand; every person weighs the same with w = 1; the mean over training steps is 1."""
    made = table(workouts=12)
    drop = made.sessions.index[(made.sessions["athlete"] == "athlete0")][6:]
    kept = made.samples[~made.samples["session"].isin(drop)]
    uneven = dataclasses.replace(made, samples=kept)
    for power in (0.0, 0.5, 1.0):
        prepared = arrays_of(protocol(steps=60, max_steps=60, person_weight=power), uneven)
        arrays = prepared.arrays
        workout = np.repeat(np.arange(len(arrays["part"])), np.diff(arrays["offset"]))
        training = (arrays["part"][workout] == 0) & arrays["observed"]
        steps = {
            u: int((training & (arrays["user_id"][workout] == u)).sum())
            for u in set(arrays["user_id"])
        }
        raw = np.array([steps[u] ** -power for u in arrays["user_id"]])
        mean = raw[workout][training].mean()
        np.testing.assert_allclose(arrays["weight"], raw / mean, rtol=1e-5)
        gathered = WorkoutGather(prepared, "train")(np.arange(len(arrays["train"])))
        expected = arrays["weight"][gathered["workout"].numpy()][:, None]
        mask = gathered["mask"].numpy()
        np.testing.assert_allclose(mask, np.where(mask > 0, expected, 0.0))
        tested = WorkoutGather(prepared, "test")(np.arange(len(arrays["test"])))["mask"]
        assert set(tested.unique().tolist()) <= {0.0, 1.0}
        assert ("training people" in prepared.spec.protocol) == (power > 0)
    assert len(set(steps.values())) > 1


def test_own_workouts_of_unseen_people() -> None:
    """The tested workouts stay the same; with more own ones the training part grows by them."""
    keys: dict[str, Any] = {"split": "user", "folds": 2, "history": "none", "steps": 60}
    found = {
        own: arrays_of(protocol(**keys, own_workouts=own, max_steps=60), table(workouts=10))
        for own in (0, 2, 5)
    }
    tested = {own: set(p.arrays["workout_id"][p.arrays["part"] == 2]) for own, p in found.items()}
    assert tested[0] == tested[2] == tested[5]
    people = {name.partition("w")[0] for name in tested[0]}
    for own, prepared in found.items():
        ids = prepared.arrays["workout_id"][prepared.arrays["part"] == 0]
        assert sum(name.partition("w")[0] in people for name in ids) == own * len(people)
        assert f"{own} own workouts" in prepared.spec.protocol["split"]
    with pytest.raises(InputError, match=r"data\.own_workouts needs data\.split=user"):
        protocol(own_workouts=3)
