"""Batches of windows against the literal loop."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from fitexp.data.windows.module import WindowGather, WindowsData, clock
from tests.data.windows.made import T, made_epochs, prepared, recording


def test_min_max_of_each_window(tmp_path: Path) -> None:
    made = prepared(tmp_path, scaling="window")
    gather = WindowGather(made, "test")
    batch = gather(np.arange(len(gather)))
    series = made.arrays["series"]
    for row, window in enumerate(made.arrays["test"]):
        first = made.arrays["window_first"][window]
        own = series[first : first + T].astype(np.float64)
        wanted = (own - own.min(axis=0)) / np.ptp(own, axis=0)
        assert np.allclose(batch["x"][row].numpy(), wanted, atol=1e-6)
        assert batch["y"][row, 0] == made.arrays["target"][window]


def test_absent_is_zero_before_it_is_scaled(tmp_path: Path) -> None:
    given = [recording(user) for user in range(12)]
    for one in given:
        one.series[3] = np.nan
    epochs = made_epochs(recordings=given)
    made = prepared(tmp_path, epochs, scaling="zscore", max_absent=0.5, log=True)
    batch = WindowGather(made, "train")(np.array([0]))
    assert not batch["valid"][0, 3]
    assert batch["valid"].sum() == T - 1
    for i, name in enumerate(made.spec.inputs):
        scale = made.spec.scaling[name]
        assert batch["x"][0, 3, i] == pytest.approx(-scale.mean / scale.sd, rel=1e-5)


def test_answers_behind_every_epoch(tmp_path: Path) -> None:
    given = [recording(user) for user in range(12)]
    for one in given:
        one.heart_rate[5] = np.nan
    made = prepared(tmp_path, made_epochs(recordings=given), answers="every", from_step=2)
    batch = WindowGather(made, "train")(np.array([0]))
    first = made.arrays["window_first"][made.arrays["train"][0]]
    wanted = made.arrays["heart_rate"][first + 1 : first + T + 1]
    known = np.isfinite(wanted)
    assert np.array_equal(batch["y"][0].numpy()[known], wanted[known])
    assert batch["mask"][0].tolist() == [0, 0, 1, 1, 0, 1, 1, 1]
    tested = WindowGather(made, "test")(np.array([0, 1]))
    assert tested["mask"].tolist() == [[0.0] * (T - 1) + [1.0]] * 2


def test_the_clock() -> None:
    at = datetime(2020, 3, 5, 23, 59, tzinfo=timezone.utc).timestamp()
    turn = 2 * np.pi
    wanted = [np.sin(turn * 3 / 12), np.cos(turn * 3 / 12)]
    wanted += [np.sin(turn * 23 / 24), np.cos(turn * 23 / 24)]
    assert np.allclose(clock(np.array([at, np.nan])), [wanted, [0] * 4], atol=1e-6)


def test_statics_are_scaled_and_missing_ones_in_the_middle(tmp_path: Path) -> None:
    epochs = made_epochs()
    made = prepared(tmp_path, epochs, statics=["resting_hr_bpm"])
    trained = np.unique(made.arrays["window_user"][made.arrays["train"]])
    values = epochs.users["resting_hr_bpm"].to_numpy()
    low, high = values[trained].min(), values[trained].max()
    gather = WindowGather(made, "test")
    batch = gather(np.arange(len(gather)))
    users = batch["rows"][:, 0].numpy()
    assert np.allclose(batch["statics"][:, 0], (values[users] - low) / (high - low), atol=1e-6)
    made.arrays["users"][:, 1] = np.nan
    assert (WindowGather(made, "test")(np.array([0]))["statics"] == 0.5).all()


def test_every_window_of_a_part_comes_once_an_epoch(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    data = WindowsData(prepared=made, batch_size=5, seed=3)
    rows = np.concatenate([batch["rows"].numpy() for batch in data.train_dataloader()])
    wanted = made.arrays["window_first"][made.arrays["train"]]
    assert sorted(rows[:, 1]) == sorted(wanted)


def test_training_reads_dense_windows_and_tests_do_not(tmp_path: Path) -> None:
    made = prepared(tmp_path, train_stride=1)
    data = WindowsData(prepared=made, batch_size=5, seed=3)
    for loader, part in ((data.train_dataloader(), "dense"), (data.tested("train"), "train")):
        rows = np.concatenate([batch["rows"].numpy() for batch in loader])
        wanted = made.arrays["window_first"][made.arrays[part]]
        assert sorted(rows[:, 1]) == sorted(wanted)
