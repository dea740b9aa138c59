"""Two processes on the CPU learn what one does: shares, empty shares, global counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fitexp import targets, worker
from fitexp.checkpoints import load_checkpoint
from fitexp.run import BEST, LAST, Run
from tests.toy_run import ALLOW, curve, toy_config, toy_run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def batch_size_with_empty_share() -> int:
    """One that leaves a single row for the last batch of an epoch, so that rank 1 has none."""
    rows = len(targets.build(toy_config()["data"]).prepare().arrays["train"])
    return next(size for size in range(5, rows) if rows % size == 1)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "model__dropout": 0.0,
        "trainer__max_epochs": 2,
        "trainer__precision": "64-true",
        "data__batch_size": batch_size_with_empty_share(),
    }
    runs: list[Run] = []
    for processes in (1, 2):
        run = toy_run(tmp_path / f"{processes}", accelerator__devices=processes, **changes)
        worker.train(run, allow=ALLOW)
        assert run.status == "finished"
        runs.append(run)
    one, two = runs
    for name in (BEST, LAST):
        a, b = (load_checkpoint(run.file(name))["state_dict"] for run in runs)
        assert max(float((a[key] - b[key]).abs().max()) for key in a) < 1e-12
    for a_row, b_row in zip(curve(one)[1:], curve(two)[1:], strict=True):
        for a_value, b_value in zip(a_row, b_row, strict=True):
            assert float(a_value) == pytest.approx(float(b_value), rel=1e-6)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-9)


def test_two_processes_are_stopped_and_resumed_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"trainer__max_epochs": 2, "accelerator__devices": 2}
    whole = toy_run(tmp_path / "whole", **changes)
    worker.fit(whole, allow=ALLOW)
    run = toy_run(tmp_path / "run", **changes)
    monkeypatch.setenv("TOY_SIGNAL", "SIGTERM:4")  # to each rank, by itself
    with pytest.raises(KeyboardInterrupt):
        worker.train(run, allow=ALLOW)
    assert run.status == "interrupted"
    assert load_checkpoint(run.file(LAST))["global_step"] == 4
    monkeypatch.delenv("TOY_SIGNAL")
    worker.fit(run, allow=ALLOW)
    a, b = (load_checkpoint(r.file(LAST))["state_dict"] for r in (run, whole))
    assert all(a[key].equal(b[key]) for key in a)
    assert curve(run) == curve(whole)


def test_a_signal_reaches_every_rank_through_the_launching_process(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "run", accelerator__devices=2, trainer__max_epochs=10_000)
    command = [sys.executable, "-m", "fitexp.worker", "train", str(run.path)]
    command += [f"--allow={prefix}" for prefix in ALLOW]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("epoch"):
                break
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == 130
    assert "Traceback" not in rest
    assert run.status == "interrupted"
    assert load_checkpoint(run.file(LAST))["global_step"] > 0
