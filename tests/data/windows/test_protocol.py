"""The protocol of windows: which are cut, whose they are, how they are scaled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitexp.data.prepare import Prepared, Stored
from fitexp.data.windows.epochs import Recording
from fitexp.data.windows.flat import Growing
from fitexp.data.windows.module import WindowGather
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
    one = replace(one, heart_rate=heart_rate)
    first, target, rejected = windows_of(one, gone, steps=T, stride=stride, max_absent=absent)
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


def test_networks_are_trained_on_denser_windows_of_training_users(tmp_path: Path) -> None:
    plain = prepared(tmp_path)
    made = prepared(tmp_path, train_stride=1)
    for name in ("train", "val", "test"):
        assert np.array_equal(made.arrays[name], plain.arrays[name])
    assert made.spec.scaling == plain.spec.scaling
    user, begin = made.arrays["window_user"], made.arrays["begin"]
    rows = made.arrays["dense"]
    trained = set(user[made.arrays["train"]])
    assert set(user[rows]) == trained
    assert len(rows) == sum(begin[u + 1] - begin[u] - T for u in trained)
    assert "dense" not in plain.arrays


def test_networks_that_answer_everywhere_train_on_sparser_windows_too(tmp_path: Path) -> None:
    given = [recording(user) for user in range(12)]
    for one in given:
        one.series[3] = np.nan
        one.heart_rate[2 * T] = np.nan
    made = prepared(
        tmp_path, made_epochs(recordings=given), answers="every", train_max_absent=0.5, max_absent=0
    )
    first = made.arrays["window_first"] - made.arrays["begin"][made.arrays["window_user"]]
    assert set(first[made.arrays["train"]]) == set(first[made.arrays["test"]]) == {16, 24, 32, 40}
    assert set(first[made.arrays["dense"]]) == {0, 8, 16, 24, 32, 40}
    assert np.isnan(made.arrays["target"][made.arrays["dense"]][1])  # its mask is 0


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
    for key in ("stride", "train_stride"):
        with pytest.raises(InputError, match=f"data.{key}=4: made has windows of its own"):
            prepared(tmp_path, made_epochs(recordings=own), **{key: 4})
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
        ({"train_max_absent": -0.1}, "data.train_max_absent"),
        ({"fractions": [0.5, 0.5]}, "data.fractions"),
        ({"series": ["count"]}, "data.series"),
        ({"statics": ["weight"]}, "data.statics"),
        ({"folds": 40}, "data.folds"),
        (
            {"min_wear_h": 99},
            r"is left \(12 users with less than 99 h of wear\): see data.min_wear_h",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changed: dict[str, object], names: str) -> None:
    with pytest.raises(InputError, match=names):
        arrays_of(protocol(**changed), made_epochs(), tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([recording(0), recording(1), recording(0)], "user u0: he comes twice"),
        (
            [replace(recording(0), series=np.zeros((50, 3), np.float32))],
            "user u0: 3 series, but 2 names .counts, steps.",
        ),
        (
            [replace(recording(0), series=np.full((50, 2), np.inf, np.float32))],
            "user u0: infinite values",
        ),
        (
            [replace(recording(0, 3 * T), first=np.array([0]), target=np.ones(1, np.float32))],
            f"the source's own windows have {3 * T} epochs: give data.steps={3 * T}",
        ),
    ],
)
def test_a_reader_s_mistakes_are_one_line(
    tmp_path: Path, given: list[Recording], said: str
) -> None:
    users = made_epochs(recordings=[recording(0), recording(1)]).users
    epochs = replace(made_epochs(), users=users, recordings=lambda: iter(given))
    with pytest.raises(InputError, match=said) as error:
        arrays_of(protocol(), epochs, tmp_path)
    assert "\n" not in str(error.value)


def test_users_of_whom_nothing_is_known_and_times_that_are_not(tmp_path: Path) -> None:
    """A user without a row, one whose row is empty, and one whose clock was not set."""
    epochs = made_epochs()
    table = epochs.users.drop(index="u3")
    table.loc["u5"] = np.nan
    given = [replace(recording(u, 50 + u), start_s=np.nan if u == 7 else 1.6e9) for u in range(12)]
    epochs = replace(epochs, users=table, recordings=lambda: iter(given))
    for scaling, missing in (("window", 0.5), ("zscore", 0.0)):
        made = prepared(tmp_path, epochs, statics=["age_years"], scaling=scaling)
        user = made.arrays["window_user"]
        for part in ("train", "val", "test"):
            batch = WindowGather(made, part).of(made.arrays[part])
            assert all(bool(torch.isfinite(values).all()) for values in batch.values())
            who = user[made.arrays[part]]
            unknown = np.isin(who, [3, 5])
            assert (batch["statics"].numpy()[unknown] == np.float32(missing)).all()
            no_clock = batch["time"].abs().sum(dim=1).numpy() == 0
            assert np.array_equal(no_clock, who == 7)


def test_order_of_the_stream_is_no_matter(tmp_path: Path) -> None:
    """The same users in the same parts, the same scaling, the same batches."""
    given = [recording(u, 50 + u) for u in range(12)]

    def made(order: list[int], folder: str) -> Prepared:
        (tmp_path / folder).mkdir()
        epochs = replace(made_epochs(), recordings=lambda: iter([given[u] for u in order]))
        return prepared(tmp_path / folder, epochs, scaling="zscore", statics=["age_years"])

    one, other = made(list(range(12)), "a"), made([*range(5, 12), *range(4, -1, -1)], "b")
    assert one.spec == other.spec
    for part in ("train", "val", "test"):
        batches = []
        for found in (one, other):
            window = found.arrays[part]
            batch = WindowGather(found, part).of(window)
            names = found.arrays["user_id"][found.arrays["window_user"][window]]
            batches.append((names.tolist(), batch))
        (names, batch), (others, same) = batches
        assert names == others
        assert all(torch.equal(batch[name], same[name]) for name in set(batch) - {"rows"})


def test_wear_is_the_epochs_that_are_there(tmp_path: Path) -> None:
    """49 of 50 epochs of 15 s are 0.2042 h: absent ones do not count as wear."""
    given = [recording(user) for user in range(12)]
    gone = given[0].series.copy()
    gone[10] = np.nan
    given[0] = replace(given[0], series=gone)
    made = prepared(tmp_path, made_epochs(recordings=given), min_wear_h=50 * 15 / 3600)
    assert "u0" not in made.arrays["user_id"]
    assert made.report["rejected"]["users with less than 0.208333 h of wear"] == 1
    assert made.report["counts"]["users"] == 11
    assert "wear 0.208333 h up" in made.spec.protocol["windows"]


def test_series_are_stored_not_held(tmp_path: Path) -> None:
    made = arrays_of(protocol(), made_epochs(), tmp_path)
    assert isinstance(made.arrays["series"], Stored)
