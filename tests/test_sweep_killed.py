"""A sweep that is killed or has a failed job ends by its own command as an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fitexp import cli
from fitexp.checkpoints import load_checkpoint
from fitexp.run import (
    BEST,
    CURVE,
    FAILED,
    FINISHED,
    INTERRUPTED,
    LAST,
    METRICS,
    RUNNING,
    Run,
    find_runs,
)
from fitexp.worker import training_ended
from tests.toy_run import CrashError, ToyModel

SMALL = ["data.source.athletes=4", "data.source.workouts=6", "accelerator=cpu"]
SWEEP = [
    *("train", "-m", "seed=0,1,2", "model.hidden=4,8", *SMALL, "model.context_hidden=4"),
    *("data.batch_size=2", "trainer.max_epochs=6", "early_stopping.patience=null"),
    "checkpoint.every_steps=1",
]
JOBS = 6


def runs_of(folder: Path) -> dict[str, Run]:
    return {run.path.name: run for run in find_runs(folder / "outputs")}


def finished(folder: Path) -> dict[str, tuple[str, int]]:
    """When each finished job ended and its best weights were written."""
    return {
        name: (run.manifest["finished"], run.file(BEST).stat().st_mtime_ns)
        for name, run in runs_of(folder).items()
        if run.status == FINISHED
    }


def start(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """`fitexp train -m ...` typed in `folder`, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fitexp.cli", *SWEEP],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_in_mid_training(process: subprocess.Popen[str], folder: Path, jobs_before: int) -> Run:
    """SIGKILL to all of the session within a job's training -> its run.

    jobs_before: that are finished by then; of the next one an epoch is done.
    """
    ends = time.monotonic() + 200
    try:
        while time.monotonic() < ends and process.poll() is None:
            runs = runs_of(folder).values()
            done = [run for run in runs if run.status == FINISHED]
            begun = [run for run in runs if run.status == RUNNING and run.file(CURVE).exists()]
            if len(done) >= jobs_before and begun:
                break
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, printed
    (run,) = (run for run in runs_of(folder).values() if run.status != FINISHED)
    return run


@pytest.mark.slow
def test_a_sweep_killed_twice_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    environment = {"FITEXP_CACHE": str(tmp_path / "cache")}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()

    before: dict[str, tuple[str, int]] = {}
    for jobs_before in (0, 3):
        cut = kill_in_mid_training(start(killed, environment), killed, jobs_before)
        assert cut.status == INTERRUPTED
        assert load_checkpoint(cut.file(LAST))["global_step"] > 0
        assert not training_ended(cut)
        assert not cut.file(METRICS).exists()
        after = finished(killed)
        assert len(after) >= jobs_before
        assert before.items() <= after.items()
        before = after

    printed, _ = (last := start(killed, environment)).communicate(timeout=300)
    assert last.returncode == 0, printed
    assert before.items() <= finished(killed).items()
    table = printed[printed.rindex("\njob ") :].splitlines()[1:]
    rows = [line for line in table if " finished" in line]
    assert len(rows) == JOBS
    reused = [line for line in rows if "finished before" in line]
    assert len(reused) == len(before)
    assert rows[: len(reused)] == reused

    printed, _ = (undisturbed := start(whole, environment)).communicate(timeout=300)
    assert undisturbed.returncode == 0, printed
    expected = runs_of(whole)
    assert len(expected) == JOBS
    assert runs_of(killed).keys() == expected.keys()
    for name, run in runs_of(killed).items():
        assert run.status == FINISHED
        assert run.metrics == expected[name].metrics
        weights = load_checkpoint(run.file(BEST))["state_dict"]
        others = load_checkpoint(expected[name].file(BEST))["state_dict"]
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)


class Fragile(ToyModel):
    """A toy network that fails in training at some widths."""

    fails_at: tuple[int, ...] = ()

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self.training and self.inner.out_features in self.fails_at:
            raise CrashError("too wide")
        return super().forward(batch)


@pytest.mark.slow
def test_a_failed_job_is_one_row_and_is_tried_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "fragile.yaml").write_text(
        "_target_: tests.test_sweep_killed.Fragile\nhidden: 4\ndropout: 0.0\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["train", "-m", "--config-dir", "mine", "model=fragile", "model.hidden=4,5,6", *SMALL]
    words.append("trainer.max_steps=1")

    monkeypatch.setattr(Fragile, "fails_at", (5,))
    assert cli.main(words) == 1
    statuses = {r.config["model"]["hidden"]: r.status for r in runs_of(tmp_path).values()}
    assert statuses == {4: FINISHED, 5: FAILED, 6: FINISHED}
    printed = capsys.readouterr().out
    assert printed.count("job 2: CrashError: too wide") == 1
    before = finished(tmp_path)

    monkeypatch.setattr(Fragile, "fails_at", ())
    assert cli.main(words) == 0
    assert capsys.readouterr().out.count(" finished before ") == 2
    after = finished(tmp_path)
    assert len(after) == 3
    assert before.items() <= after.items()
