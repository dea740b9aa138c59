from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fitexp.data.workouts.module import WorkoutGather, WorkoutsData
from fitexp.data.workouts.protocol import arrays_of
from fitexp.data.workouts.series import SERIES

from .made import protocol, table

MADE = table()


@pytest.mark.parametrize("regime", ["whole", "short"])
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_batches_equal_the_literal_gather(regime: str, part: str) -> None:
    """Each window by hand, one step at a time, from the flat arrays."""
    steps = {"whole": 40, "short": 10}[regime]
    made = protocol(regime=regime, steps=steps, max_steps=None, inputs=["altitude", "distance"])
    prepared = arrays_of(made, MADE)
    a = prepared.arrays
    rows = np.random.default_rng(0).permutation(len(a[part]))[:50]
    batch = WorkoutGather(prepared, part)(rows)
    for b, (w, first) in enumerate(a[part][rows]):
        n = a["offset"][w + 1] - a["offset"][w]
        previous, before = a["previous"][w], a["start"][w]
        if first:
            before = a["y"][a["offset"][w] + first - 1]
        assert batch["y0"][b] == before
        ends = a["offset"][previous + 1] - a["offset"][previous] - 1 - first
        assert batch["context_last"][b] == (min(ends, steps - 1) if ends >= 0 else steps - 1)
        for t in range(steps):
            exists = first + t < n
            assert batch["valid"][b, t] == exists
            counts = exists and (regime == "whole" or part == "train" or t == steps - 1)
            row = a["offset"][w] + min(first + t, n - 1)
            assert batch["mask"][b, t] == float(counts and a["observed"][row])
            expected = a["x"][row] if exists else np.zeros(2)
            assert batch["x"][b, t].tolist() == expected.tolist()
            if exists:
                assert batch["y"][b, t] == a["y"][row]
                assert batch["y_previous"][b, t] == (before if t == 0 else a["y"][row - 1])
            earlier = min(a["offset"][previous] + first + t, a["offset"][previous + 1] - 1)
            assert batch["context"][b, t, :2].tolist() == a["x"][earlier].tolist()
            assert batch["context"][b, t, 2] == a["since_last"][w]
            assert batch["context_y"][b, t] == a["y"][earlier]


def test_future_targets_do_not_reach_a_short_window() -> None:
    """What a model is given (mask and y aside) does not change with later heart rates."""
    prepared = arrays_of(protocol(regime="short"), MADE)
    before = WorkoutGather(prepared, "test")
    rows = np.arange(0, len(before), 7)
    one = before(rows)
    changed = dict(prepared.arrays)
    workout, first = changed["test"][3 * 7]
    cut = changed["offset"][workout] + first + prepared.spec.steps - 1  # the step to predict
    end = changed["offset"][workout + 1]
    changed["y"] = np.array(changed["y"])
    changed["y"][cut:end] += 50
    other = WorkoutGather(dataclasses.replace(prepared, arrays=changed), "test")(rows)
    for name in ("x", "y0", "y_previous", "context", "context_y"):
        assert torch.equal(one[name][3], other[name][3]), name


def test_without_history_there_is_no_context() -> None:
    prepared = arrays_of(protocol(history="none"), MADE)
    assert not {"context", "context_y", "has_context"} & set(
        WorkoutGather(prepared, "train")(np.arange(3))
    )


def test_rollout_batches_hold_the_windows_that_follow() -> None:
    prepared = arrays_of(protocol(regime="short", horizons=[1, 4]), MADE)
    data = WorkoutsData(prepared=prepared, batch_size=64, seed=0)
    longer = next(iter(data.test_dataloader()))
    plain = WorkoutGather(prepared, "test")
    assert longer["x"].shape[1] == prepared.spec.steps + 3
    index = {tuple(w): i for i, w in enumerate(prepared.arrays["test"].tolist())}
    for b in range(20):
        w, first = int(longer["workout"][b]), int(longer["first"][b])
        later = plain(np.array([index[w, first + 3]]))
        assert torch.equal(longer["x"][b, 3:], later["x"][0])
        assert torch.equal(longer["y_previous"][b, 3:], later["y_previous"][0])
        assert torch.equal(longer["context"][b, 3:], later["context"][0])


def test_every_series_can_be_an_input() -> None:
    for name in set(SERIES) - {"heart_rate"}:
        prepared = arrays_of(protocol(inputs=[name]), MADE)
        assert np.isfinite(prepared.arrays["x"]).all()
