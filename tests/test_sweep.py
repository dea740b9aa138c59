"""The jobs of a multirun: progress, closing table, several processes, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fitexp.run import METRICS, Run, find_runs, write_json
from fitexp.sweep import STOP, JobRow, Sweep, about


def test_progress_of_a_sweep(tmp_path: Path) -> None:
    now = [0.0]
    sweep = Sweep(tmp_path, clock=lambda: now[0])

    def job(number: int, seconds: float, reused: bool = False, error: str | None = None) -> str:
        with sweep.job(number, "x", 6) as row:
            said = sweep.progress(number, 6)
            now[0] += seconds
            row.reused, row.error = reused, error
        return said

    assert job(1, 1, reused=True) == "job 1 of 6"
    assert job(2, 60) == "job 2 of 6"
    assert job(3, 30, error="x") == "job 3 of 6, about 4 min left"
    assert job(4, 120) == "job 4 of 6, about 3 min left"
    assert job(5, 0) == "job 5 of 6, about 3 min left"
    assert "1 of 6 jobs were not begun" in sweep.closing_table()
    assert sweep.progress(6, None) == "job 6"
    assert about(7200) == "about 2.0 h"


def test_jobs_side_by_side_share_the_time_left(tmp_path: Path) -> None:
    now = [0.0]
    sweep = Sweep(tmp_path, clock=lambda: now[0])
    with sweep.job(1, "x", 6):
        now[0] += 60
    with sweep.job(2, "x", 6), sweep.job(3, "x", 6):
        assert sweep.progress(3, 6) == "job 3 of 6, about 2 min left"  # 5 jobs of 1 min, 2 at once


def test_status_of_a_job_whose_run_was_damaged(tmp_path: Path) -> None:
    assert JobRow(1, "x", 1).status == "not begun"
    assert JobRow(1, "x", 1, error="e").status == "failed"
    assert JobRow(1, "x", 1, str(tmp_path), error="e").status == "damaged"


@pytest.mark.parametrize(
    ("figures", "header", "cell"),
    [
        ({"test/top1": 61.74}, "test", "top1 61.7 %"),
        ({"test/mae_bpm": 3.0}, "test mae", "3.00 bpm"),
    ],
)
def test_the_closing_table_names_its_figure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: dict[str, float],
    header: str,
    cell: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would wrap
    run = Run.create("run", {}, {}, {})
    write_json(run.file(METRICS), figures)
    sweep = Sweep(tmp_path)
    with sweep.job(1, "x", 1) as row:
        row.path = str(run.path)
    first, line = sweep.closing_table().splitlines()[:2]
    assert first.split("time")[1].strip() == header
    assert line.endswith(cell)


def test_no_job_begins_after_an_interrupt(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    with pytest.raises(KeyboardInterrupt), sweep.job(1, "x", 2):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), sweep.job(2, "x", 2):
        raise AssertionError
    assert [job.number for job in sweep.jobs] == [1]


def test_ctrl_c_waits_for_jobs_in_other_processes(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    job = JobRow(1, "x", 1, pid=os.getpid() + 1)
    sweep.write(job)

    def interrupt_then_end_the_job() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        job.ended = True
        sweep.write(job)

    begun = time.monotonic()
    thread = threading.Thread(target=interrupt_then_end_the_job)
    with sweep.interruptible():
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    thread.join()
    assert 0.5 < time.monotonic() - begun < 5
    assert (tmp_path / STOP).exists()


TINY = [
    *("data.source.athletes=4", "data.source.workouts=6", "trainer.max_epochs=2"),
    *("model.hidden=4", "model.context_hidden=4", "model.context_width=4"),
]


def fitexp(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; from fitexp.cli import main; sys.exit(main())"]
    env = {**os.environ, "FITEXP_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_joblib_s_launcher_runs_jobs_side_by_side(tmp_path: Path) -> None:
    """Rows, errors and the exit code come back from the processes; figures are the same."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs fitexp[sweep]")
    words = ["train", "-m", "seed=0,1", "model.score=linear,wrong", *TINY]
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=parallel"]
    out, err = (process := fitexp(tmp_path, *words, *parallel)).communicate()
    assert process.returncode == 2, err
    assert "fitexp: job 4 of 4" in err
    pids = {run.manifest["pid"] for run in find_runs(tmp_path / "parallel")}
    assert process.pid not in pids
    assert len(pids) == 2
    assert out.count(" finished ") == 2
    assert out.count(" failed ") == 2
    errors = [line for line in out.splitlines() if line.startswith("job ")][-2:]
    assert [line.partition(": ")[0] for line in errors] == ["job 2", "job 4"]
    assert all("wrong" in line for line in errors)
    out, err = (process := fitexp(tmp_path, *words)).communicate()
    assert process.returncode == 2, err
    there, here = (
        {run.path.name: run.metrics for run in find_runs(tmp_path / name)}
        for name in ("parallel", "outputs")
    )
    assert there == here
    assert len(here) == 2


@pytest.mark.slow
def test_ctrl_c_saves_the_runs_of_all_processes(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs fitexp[sweep]")
    words = ["train", "-m", "seed=0,1,2,3", *TINY, "trainer.max_epochs=500"]
    process = fitexp(tmp_path, *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("outputs/*/last.ckpt"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    runs = [Run(path) for path in tmp_path.glob("outputs/*")]
    assert [run.manifest["status"] for run in runs] == ["interrupted"] * 2  # as they wrote it
    assert "2 of 4 jobs were not begun" in out
