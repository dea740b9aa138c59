"""An interrupted run that is resumed ends as if nothing had happened, to the last bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fitexp import worker
from fitexp.checkpoints import load_checkpoint, training_state
from fitexp.run import BEST, LAST, Run
from tests.toy_run import ALLOW, SIGNAL, CrashError, ToyModel, curve, toy_run

pytestmark = pytest.mark.slow  # each trains

EPOCHS = 4
STEPS = 7  # batches of an epoch


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyModel, "crash_at", None)
    monkeypatch.setattr(ToyModel, "calls", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _cache: Any) -> Run:
    """A run that nothing interrupted."""
    run = toy_run(tmp_path_factory.mktemp("runs") / "whole")
    worker.train(run, allow=ALLOW)
    return run


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_run(run: Run, expected: Run) -> None:
    for name in (BEST, LAST):
        one, other = load_checkpoint(run.file(name)), load_checkpoint(expected.file(name))
        for part in ("state_dict", "optimizer_states", "train_sums", "epoch", "global_step"):
            assert same(one[part], other[part]), (name, part)
        for key in one["callbacks"]:
            a, b = dict(one["callbacks"][key]), dict(other["callbacks"][key])
            for state in (a, b):
                state.pop("seconds", None)
                for row in state.get("curve", []):
                    row.pop("seconds")
            assert same(a, b), (name, key)
    assert curve(run) == curve(expected)


def crash(run: Run, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Train until the network fails in its `at`-th training step of this process."""
    monkeypatch.setattr(ToyModel, "calls", 0)
    monkeypatch.setattr(ToyModel, "crash_at", at)
    with pytest.raises(CrashError):
        worker.train(run, allow=ALLOW)
    assert run.status == "failed"
    monkeypatch.setattr(ToyModel, "crash_at", None)


def test_the_toy_is_what_these_tests_think(whole: Run) -> None:
    state = load_checkpoint(whole.file(LAST))
    assert state["global_step"] == EPOCHS * STEPS
    assert whole.status == "finished"
    losses = [row["val/loss"] for row in training_state(state)["curve"]]
    assert len(losses) == EPOCHS
    assert losses.index(min(losses)) != 2
    assert losses[2] > min(losses[:2])  # a resumed run must remember its best
    assert curve(whole)[0] == [
        "epoch",
        "step",
        "train/loss",
        "val/loss",
        "val/mae_bpm",
        "val/rmse_bpm",
        "learning_rate",
    ]


def test_two_runs_of_one_seed_are_identical(tmp_path: Path, whole: Run) -> None:
    run = toy_run(tmp_path / "run")
    worker.train(run, allow=ALLOW)
    assert_same_run(run, whole)
    assert run.metrics == whole.metrics


def test_another_seed_differs(tmp_path: Path, whole: Run) -> None:
    run = toy_run(tmp_path / "run", seed=1)
    worker.fit(run, allow=ALLOW)
    assert curve(run) != curve(whole)


@pytest.mark.parametrize(
    ("every_steps", "crashes"),
    [
        pytest.param(None, [2 * STEPS + 1], id="at an epoch's end"),
        pytest.param(3, [STEPS + 5], id="in mid-epoch"),
        pytest.param(3, [5, STEPS + 1], id="twice"),
        pytest.param(1, [2], id="after the first step"),
        pytest.param(1, [STEPS], id="before the last step of an epoch"),
        pytest.param(None, [3], id="before anything was saved"),
    ],
)
def test_resumed_is_bit_identical(
    tmp_path: Path,
    whole: Run,
    monkeypatch: pytest.MonkeyPatch,
    every_steps: int | None,
    crashes: list[int],
) -> None:
    run = toy_run(tmp_path / "run", checkpoint__every_steps=every_steps)
    for at in crashes:
        crash(run, monkeypatch, at)
    worker.train(run, allow=ALLOW)
    assert_same_run(run, whole)
    assert run.metrics == whole.metrics
    assert run.status == "finished"


def test_events_of_a_resumed_run_have_each_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(tmp_path / "run", checkpoint__every_steps=3, trainer__log_every_n_steps=1)
    crash(run, monkeypatch, at=STEPS + 5)
    worker.fit(run, allow=ALLOW)
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0}).Reload()
    assert [e.step for e in events.Scalars("train/loss_step")] == list(range(EPOCHS * STEPS))
    for name in ("train/loss", "val/loss"):
        assert [e.step for e in events.Scalars(name)] == [
            STEPS * epoch - 1 for epoch in range(1, EPOCHS + 1)
        ]


def test_resumed_with_fewer_batches_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: dict[str, Any] = {"trainer__limit_train_batches": 3, "checkpoint__every_steps": 2}
    expected = toy_run(tmp_path / "whole", **few)
    worker.fit(expected, allow=ALLOW)
    for at in (4, 6):  # after an epoch's end (3), after a step in mid-epoch (4)
        run = toy_run(tmp_path / f"run{at}", **few)
        crash(run, monkeypatch, at)
        worker.fit(run, allow=ALLOW)
        assert_same_run(run, expected)


def test_resumed_while_learning_two_batches_by_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two: dict[str, Any] = {"trainer__overfit_batches": 2, "checkpoint__every_steps": 1}
    expected = toy_run(tmp_path / "whole", **two)
    worker.fit(expected, allow=ALLOW)
    for at in (4, 5):  # in mid-epoch, after an epoch's end
        run = toy_run(tmp_path / f"run{at}", **two)
        crash(run, monkeypatch, at)
        worker.fit(run, allow=ALLOW)
        assert_same_run(run, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_signals(tmp_path: Path, whole: Run, name: str) -> None:
    run = toy_run(tmp_path / "run", checkpoint__every_steps=4)
    at = STEPS + 6
    done = subprocess.run(
        [sys.executable, "-m", "fitexp.worker", "train", str(run.path)]
        + [f"--allow={prefix}" for prefix in ALLOW],
        env={**os.environ, SIGNAL: f"{name}:{at}", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    step = load_checkpoint(run.file(LAST))["global_step"]
    if name == "SIGKILL":
        assert done.returncode == -signal.SIGKILL
        assert step == STEPS + 5  # the last multiple of 4
    else:
        assert done.returncode == 130
        assert step == at  # the step in hand was finished and saved
        assert "stopping after this batch" in done.stderr
    assert run.status == "interrupted"
    worker.train(run, allow=ALLOW)
    assert_same_run(run, whole)
    assert run.status == "finished"


@pytest.mark.parametrize("at", [STEPS, EPOCHS * STEPS], ids=["first epoch", "last epoch"])
def test_a_stop_at_an_epochs_end_loses_nothing(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Also of the last epoch, where training has ended: else a sweep would go on."""
    run = toy_run(tmp_path / "run")
    monkeypatch.setenv(SIGNAL, f"SIGTERM:{at}")
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        worker.train(run, allow=ALLOW)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert run.status == "interrupted"
    assert load_checkpoint(run.file(LAST))["global_step"] == at
    monkeypatch.delenv(SIGNAL)
    worker.train(run, allow=ALLOW)
    assert_same_run(run, whole)
    assert run.metrics == whole.metrics


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run(tmp_path / "run")
    forward = ToyModel.forward

    def twice(self: ToyModel, batch: Any) -> Any:
        if ToyModel.calls == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, batch)

    monkeypatch.setattr(ToyModel, "forward", twice)
    with pytest.raises(KeyboardInterrupt):
        worker.train(run, allow=ALLOW)
    assert not run.file(LAST).exists()
    assert run.status == "interrupted"


def test_a_run_that_ended_is_only_tested(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.file(LAST).stat().st_mtime_ns
    figures = whole.metrics
    ToyModel.calls = 0
    worker.train(whole, allow=ALLOW)
    assert ToyModel.calls == 0
    assert whole.file(LAST).stat().st_mtime_ns == before
    assert whole.metrics == figures


def test_early_stopping_ends_a_run_for_good(tmp_path: Path) -> None:
    run = toy_run(
        tmp_path / "run", optimizer__lr=0.5, early_stopping__patience=1, trainer__max_epochs=30
    )
    worker.fit(run, allow=ALLOW)
    done = len(curve(run))
    assert done < 30
    assert training_state(load_checkpoint(run.file(LAST)))["stopped_early"]
    ToyModel.calls = 0
    worker.fit(run, allow=ALLOW)
    assert ToyModel.calls == 0
    assert len(curve(run)) == done


def test_max_steps_in_mid_epoch_validates_and_ends(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run", trainer__max_steps=STEPS + 2)
    worker.train(run, allow=ALLOW)
    assert load_checkpoint(run.file(LAST))["global_step"] == STEPS + 2
    assert len(curve(run)) == 3
    ToyModel.calls = 0
    worker.fit(run, allow=ALLOW)
    assert ToyModel.calls == 0


def test_best_is_the_epoch_with_the_lowest_figure(whole: Run) -> None:
    best = load_checkpoint(whole.file(BEST))
    rows = training_state(load_checkpoint(whole.file(LAST)))["curve"]
    lowest = min(rows, key=lambda row: row["val/loss"])
    assert best["global_step"] == lowest["step"]
    assert training_state(best)["best"] == lowest["val/loss"]
