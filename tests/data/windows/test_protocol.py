"""The protocol of windows: which are cut, whose they are, how they are scaled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.prepare import Stored
from fitexp.data.windows.flat import Growing
from fitexp.data.windows.protocol import arrays_of, windows_of
from fitexp.errors import InputError
from tests.data.windows.made import T, made_epochs, prepared, protocol, recording

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_a_growing_file_is_what_numpy_would_have_written(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1234, 3)).astype(np.float32)
    with Growing(tmp_path / "a.npy", 3) as growing:
        for part in np.array_split(rows, 7):
            growing.append(part)
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows)
    np.save(tmp_path / "b.npy", rows)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@SETTINGS
@given(
    rows=st.integers(1, 60),
    stride=st.integers(1, 12),
    absent=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_windows_are_those_of_the_literal_loop(
    rows: int, stride: int, absent: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    one = recording(0, rows)
    heart_rate = np.where(rng.random(rows) < 0.2, np.nan, one.heart_rate).astype(np.float32)
    gone = rng.random(rows) < 0.1
    own = protocol(max_absent=absent)
    first, target, rejected = windows_of(replace(one, heart_rate=heart_rate), gone, own, stride)
    wanted, sparse, unknown = [], 0, 0
    for begin in range(0, rows, stride):
        if begin + T >= rows:  # no epoch behind it
            break
        if gone[begin : begin + T].sum() > absent * T:
            sparse += 1
        elif np.isnan(heart_rate[begin + T]):
            unknown += 1
        else:
            wanted.append((begin, heart_rate[begin + T]))
    assert first.tolist() == [begin for begin, _ in wanted]
    assert target.tolist() == [float(value) for _, value in wanted]
    assert sorted(rejected.values()) == sorted([sparse, unknown])


def test_no_user_is_in_two_parts_and_folds_test_each_once(tmp_path: Path) -> None:
    tested = []
    for fold in range(4):
        made = prepared(tmp_path, folds=4, fold=fold, fractions=[0.8, 0.2, 0.0])
        user = made.arrays["window_user"]
        parts = {name: set(user[made.arrays[name]]) for name in ("train", "val", "test")}
        assert not parts["train"] & parts["val"]
        assert not (parts["train"] | parts["val"]) & parts["test"]
        tested += sorted(parts["test"])
    assert sorted(tested) == list(range(12))


def test_folds_are_the_protocol_file_s(tmp_path: Path) -> None:
    ids = [1, 2, 4, 5, 6, 8, 9, 10, 11, 13]
    epochs = made_epochs(recordings=[replace(recording(i), user=str(i)) for i in ids[::-1]])
    shuffled = np.random.default_rng(42).permutation(np.array(ids))
    for fold, wanted in enumerate(np.array_split(shuffled, 4)):
        made = prepared(tmp_path, epochs, folds=4, fold=fold, split_seed=42, fractions=[1, 0, 0])
        tested = made.arrays["window_user"][made.arrays["test"]]
        assert set(made.arrays["user_id"][tested]) == set(map(str, wanted))


def test_training_users_alone_have_dense_windows(tmp_path: Path) -> None:
    made = prepared(tmp_path, train_stride=1)
    first, user = made.arrays["window_first"], made.arrays["window_user"]
    begin = made.arrays["begin"]
    for part in ("val", "test"):
        rows = made.arrays[part]
        assert ((first[rows] - begin[user[rows]]) % T == 0).all()
    rows = made.arrays["train"]
    trained = np.unique(user[rows])
    assert len(rows) == sum(begin[u + 1] - begin[u] - T for u in trained)


def test_targets_are_the_epoch_behind_the_window(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    first, user = made.arrays["window_first"], made.arrays["window_user"]
    step = first - made.arrays["begin"][user]
    number = np.array([int(name[1:]) for name in made.arrays["user_id"]])[user]
    assert np.allclose(made.arrays["target"], 60 + number + 0.1 * (step + T), atol=1e-4)
    assert np.array_equal(made.arrays["heart_rate"][first + T], made.arrays["target"])


@pytest.mark.parametrize("scaling", ["train", "zscore"])
def test_scaling_knows_training_users_alone(tmp_path: Path, scaling: str) -> None:
    given = [recording(user) for user in range(12)]
    made = prepared(tmp_path, made_epochs(recordings=given), scaling=scaling, log=True)
    user = made.arrays["window_user"]
    trained = np.unique(user[made.arrays["train"]])
    moved = [
        one if u in trained else replace(one, series=7 * one.series, heart_rate=one.heart_rate + 50)
        for u, one in enumerate(given)
    ]
    again = prepared(tmp_path, made_epochs(recordings=moved), scaling=scaling, log=True)
    assert again.spec == made.spec
    rows = np.concatenate([given[u].series for u in trained]).astype(np.float64)
    rows = np.concatenate([rows, np.log1p(rows)], axis=1)
    for i, name in enumerate(made.spec.inputs):
        scale, x = made.spec.scaling[name], rows[:, i]
        if scaling == "zscore":
            assert (scale.mean, scale.sd) == pytest.approx((x.mean(), x.std()), rel=1e-6)
        else:
            assert (scale.mean, scale.sd) == pytest.approx((x.min(), np.ptp(x)), rel=1e-6)
    assert made.spec.inputs == ("counts", "steps", "log1p_counts", "log1p_steps")


def test_a_source_with_windows_of_its_own_keeps_them(tmp_path: Path) -> None:
    own = [
        replace(
            recording(u, 3 * T),
            first=np.array([0, T, 2 * T]),
            target=np.array([80, 81, 82], np.float32) + u,
        )
        for u in range(12)
    ]
    made = prepared(tmp_path, made_epochs(recordings=own))
    assert len(made.arrays["target"]) == 36
    assert made.arrays["target"][:3].tolist() == [80, 81, 82]


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    given = [recording(user) for user in range(6)]
    given[0] = replace(given[0], series=np.full_like(given[0].series, np.nan))
    given[1] = recording(1, 5)
    made = prepared(tmp_path, made_epochs(recordings=given), min_wear_h=0.01)
    assert made.report["rejected"]["users with less than 0.01 h of wear"] == 1
    assert made.report["rejected"]["users without a window"] == 1
    assert made.report["counts"]["users"] == 4


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"scaling": "minmax"}, "data.scaling"),
        ({"answers": "all"}, "data.answers"),
        ({"steps": 1}, "data.steps"),
        ({"stride": 0}, "data.stride"),
        ({"from_step": T}, "data.from_step"),
        ({"folds": 3, "fold": 3}, "data.fold"),
        ({"max_absent": 1.0}, "data.max_absent"),
        ({"fractions": [0.5, 0.5]}, "data.fractions"),
        ({"series": ["count"]}, "data.series"),
        ({"statics": ["weight"]}, "data.statics"),
        ({"folds": 40}, "data.folds"),
        ({"min_wear_h": 99}, "no window"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changed: dict[str, object], names: str) -> None:
    with pytest.raises(InputError, match=names):
        arrays_of(protocol(**changed), made_epochs(), tmp_path)


def test_series_are_stored_not_held(tmp_path: Path) -> None:
    made = arrays_of(protocol(), made_epochs(), tmp_path)
    assert isinstance(made.arrays["series"], Stored)
