"""The protocol of exercises: what is trained on, what is read, what is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitexp.data import splits
from fitexp.data.exercises.module import EventGather, ExercisesData
from fitexp.data.exercises.protocol import EVERYONE, arrays_of
from fitexp.data.prepare import digest
from fitexp.errors import InputError
from tests.data.exercises.made import made_table, protocol, random_histories

HISTORIES = {"ann": "abcab", "bob": "bbca", "cid": "cab"}


def test_features_of_a_hand_worked_history() -> None:
    arrays = arrays_of(protocol(min_past=0), made_table(HISTORIES)).arrays
    success, difficulty, lag, uses = np.asarray(arrays["features"]).T
    assert arrays["user"].tolist() == [0] * 5 + [1] * 4 + [2] * 3
    assert arrays["step"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2]
    assert success.tolist() == [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]
    assert difficulty.tolist() == [1, 2, 3, 1, 2, 2, 2, 3, 1, 3, 1, 2]
    days = [1, 1, 1, 3 / 28, 3 / 28, 1, 1 / 28, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(lag, days, rtol=1e-6)
    np.testing.assert_allclose(uses * 12, [0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0], rtol=1e-6)


def test_what_is_unknown_of_an_event_is_the_mean_of_the_folds_training_part() -> None:
    """Neither a failure (success 0) nor done today (normlag 0): both are values of their own."""
    table = made_table(HISTORIES)
    table.events.loc[[0, 6], "success"] = np.nan
    table.events.loc[3:4, "time"] = np.nan
    prepared = arrays_of(protocol(min_past=0, window=6), table)
    batch = EventGather(prepared, "test").of(torch.tensor([[4]] * 4), torch.arange(4))  # ann's last
    success, _, lag, uses = batch["features"][:, 0, -4:].permute(2, 0, 1).numpy()  # (L, 4)
    known = table.events["success"].to_numpy()
    days = np.array([1, 1, 1, np.nan, np.nan, 1, 1 / 28, 1, 1, 1, 1, 1])
    others = [[5, 12], [0, 5, 9, 12], [0, 9], [0, 12]]  # training events of each fold, from, to
    for fold, edges in enumerate(others):
        rows = np.concatenate(
            [np.arange(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        )
        mean = np.nanmean(known[rows])
        np.testing.assert_allclose(success[fold], [mean, 0, 1, 0], rtol=1e-6)
        np.testing.assert_allclose(lag[fold], [1, 1, 1, np.nanmean(days[rows])], rtol=1e-6)
        assert 0 < mean < 1
    np.testing.assert_allclose(uses * 12, [[0, 0, 0, 1]] * 4, rtol=1e-6)


def test_the_mean_of_what_is_unknown_leaves_the_hash_alone() -> None:
    """It follows from the other arrays; runs that were made before it can still be read."""
    prepared = arrays_of(protocol(), made_table(HISTORIES))
    others = {name: values for name, values in prepared.arrays.items() if name != "feature_mean"}
    found = digest(*(others[name] for name in sorted(others)), prepared.spec.to_dict())
    assert prepared.report["data_hash"] == found


def test_each_user_is_left_out_once_and_once_nobody() -> None:
    prepared = arrays_of(protocol(min_past=1, repeats=2), made_table(HISTORIES))
    part, user = np.asarray(prepared.arrays["part"]), np.asarray(prepared.arrays["user"])
    assert prepared.spec.folds == 8
    assert prepared.spec.fold_names == ("ann", "bob", "cid", EVERYONE) * 2
    counted = np.asarray(prepared.arrays["step"]) >= 1
    for fold in range(8):
        tested = (user == fold % 4) & counted
        assert (part[fold] == splits.TEST).tolist() == tested.tolist()
        assert (part[fold] == splits.TRAIN).tolist() == (counted & ~tested).tolist()
    assert len(prepared.arrays["test"]) == 2 * (4 + 3 + 2)


def test_fewer_folds_leave_out_several_users_each() -> None:
    table = made_table(random_histories(10, 6, 4, seed=0))
    prepared = arrays_of(protocol(folds=3), table)
    part, user = np.asarray(prepared.arrays["part"]), np.asarray(prepared.arrays["user"])
    left_out = [set(user[row == splits.TEST]) for row in part]
    assert [len(users) for users in left_out] == [4, 3, 3, 0]
    assert set.union(*left_out) == set(range(10))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["leave_one_user_out", "held_out_users", "last_part", "random"]),
    st.integers(3, 9),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_no_event_is_in_two_parts_and_scaling_is_of_training(
    split: str, users: int, min_past: int, seed: int
) -> None:
    table = made_table(random_histories(users, 8, 5, seed))
    prepared = arrays_of(protocol(split=split, min_past=min_past, split_seed=seed), table)
    arrays = prepared.arrays
    pairs = np.concatenate([arrays[name] for name in splits.NAMES.values()])
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (np.asarray(arrays["step"])[pairs[:, 1]] >= min_past).all()
    if split in ("leave_one_user_out", "held_out_users"):
        for fold in range(prepared.spec.folds):
            owners = [
                set(np.asarray(arrays["user"])[arrays[name][arrays[name][:, 0] == fold][:, 1]])
                for name in splits.NAMES.values()
            ]
            assert not owners[0] & owners[1]
            assert not owners[0] & owners[2]
    trained = np.asarray(arrays["part"]) == splits.TRAIN
    difficulty = np.asarray(arrays["features"])[:, 1]
    for fold, own in enumerate(trained):
        assert arrays["feature_center"][fold, 1] == pytest.approx(difficulty[own].mean(), abs=1e-5)
        assert arrays["feature_center"][fold, 0] == 0  # success stays as it is


def test_what_is_tested_does_not_reach_the_arrays_of_training() -> None:
    """Another test user with other events and another age: the fold's scaling stays."""
    one = arrays_of(protocol(min_past=0), made_table({"ann": "abc", "bob": "bca", "cid": "cab"}))
    two = arrays_of(protocol(min_past=0), made_table({"ann": "ccc", "bob": "bca", "cid": "cab"}))
    for name in ("feature_center", "feature_scale"):
        np.testing.assert_array_equal(one.arrays[name][0], two.arrays[name][0])
    assert not np.array_equal(one.arrays["feature_center"][1], two.arrays["feature_center"][1])


def test_windows_are_padded_on_the_left() -> None:
    prepared = arrays_of(protocol(min_past=0, window=3), made_table(HISTORIES))
    gather = EventGather(prepared, "test")
    assert len(gather) == 5
    batch = gather(np.arange(5))
    assert batch["items"].shape == (4, 5, 3)
    nothing = len(prepared.spec.items)
    expected = [[3, 3, 3], [3, 3, 0], [3, 0, 1], [0, 1, 2], [1, 2, 0]]
    assert nothing == 3
    assert batch["items"][0].tolist() == expected
    assert batch["target"][0, :, 0].tolist() == [0, 1, 2, 0, 1]
    assert batch["mask"][:, :, 0].sum(1).tolist() == [5, 4, 3, 0]  # everyone's fold tests nobody
    assert torch.equal(batch["valid"], batch["items"] < nothing)
    assert (batch["features"][~batch["valid"]] == 0).all()


def test_every_event_of_a_history_in_one_pass() -> None:
    changed: dict[str, Any] = {"answers": "every", "window": None, "min_past": 1}
    prepared = arrays_of(protocol(**changed), made_table(HISTORIES))
    assert prepared.spec.window == 5
    batch = EventGather(prepared, "train")(np.arange(3))
    assert batch["items"].shape == (4, 3, 5)
    last = batch["items"][3]  # everyone
    assert last.tolist() == [[3, 0, 1, 2, 0], [3, 1, 1, 2, 3], [3, 2, 0, 3, 3]]
    assert batch["target"][3, 0].tolist() == [0, 1, 2, 0, 1]
    assert batch["mask"][3].tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 1, 1, 0, 0]]
    assert batch["mask"][0].sum() == 5  # without ann's four


def test_windows_and_histories_count_the_same_events() -> None:
    table = made_table(random_histories(5, 7, 4, seed=3))
    found = []
    for changed in ({"answers": "every", "window": None}, {"answers": "last", "window": 3}):
        gather = EventGather(arrays_of(protocol(**changed), table), "train")
        batch = gather(np.arange(len(gather)))
        fold, *rest = torch.nonzero(batch["mask"] > 0, as_tuple=True)
        events = torch.stack([fold, batch["event"][(fold, *rest)]], dim=1)
        found.append(sorted(map(tuple, events.tolist())))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": "user"}, "data.split=user"),
        ({"answers": "every"}, "data.window=null"),
        ({"profile": "full"}, "made has demographic, none"),
        ({"features": ["sucess"]}, "data.features: made has no sucess"),
        ({"folds": 4}, "data.folds=4: 2 to 3"),
        ({"split": "random", "repeats": 2}, "data.repeats"),
        ({"min_past": 9}, "data.min_past"),
        ({"window": 0}, "data.window=0"),
        ({"fractions": [0.5, 0.5]}, "data.fractions"),
    ],
)
def test_mistakes_are_one_line(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        arrays_of(protocol(**changed), made_table(HISTORIES))
    assert "\n" not in str(error.value)


def test_without_a_validation_part_nothing_is_validated() -> None:
    prepared = arrays_of(protocol(), made_table(random_histories(4, 6, 4, seed=1)))
    data = ExercisesData(prepared=prepared, batch_size=2, seed=0)
    assert data.val_dataloader() == []
    assert len(data.train_dataloader()) == 6  # 12 rows of everyone, 9 of the other folds
