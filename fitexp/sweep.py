"""The jobs of one command as they come, for its progress line, closing table and exit code.

A launcher may run them in several processes, so each job is a small file in one folder.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fitexp.run import FAILED, FINISHED, Run, write_json
from fitexp.runs import (
    WIDTH,
    Listed,
    clipped,
    duration,
    main_header,
    main_metric,
    printable,
    table,
)

STOP = "stop"  # file in the folder: no further job begins
GRACE_S = 60.0  # how long Ctrl-C waits for jobs in other processes to save their runs


@dataclass
class JobRow:
    """One job. label: what is swept, as typed, None if it is the only one.

    total: number of jobs, None where only the sweeper knows. path: the run's folder, None before
    or where it has none. code: the exit code it asks for, None before its end or if interrupted.
    """

    number: int
    label: str | None
    total: int | None
    path: str | None = None
    reused: bool = False
    error: str | None = None
    code: int | None = None
    seconds: float = 0.0
    ended: bool = False
    pid: int = 0

    @property
    def run(self) -> Run | None:
        """Its run, unless that has no folder (any more)."""
        return Run(self.path) if self.path and Path(self.path).exists() else None

    @property
    def status(self) -> str:
        if self.run is None:
            return FAILED if self.error else "not begun"
        if self.reused and not self.error:
            return "finished before"
        status = Listed(self.run).status
        return FAILED if self.error and status == FINISHED else status


@dataclass(frozen=True)
class Sweep:
    """The jobs of one command, in the files of `folder`."""

    folder: Path
    clock: Callable[[], float] = time.monotonic

    @property
    def jobs(self) -> list[JobRow]:
        rows = []
        for file in self.folder.glob("*.json"):
            with suppress(OSError):
                rows.append(JobRow(**json.loads(file.read_text(encoding="utf-8"))))
        return sorted(rows, key=lambda row: row.number)

    @property
    def is_multirun(self) -> bool:
        return any(job.label is not None for job in self.jobs)

    @contextmanager
    def job(self, number: int, label: str | None, total: int | None) -> Iterator[JobRow]:
        """A job's time is taken and its row written, whatever it raises.

        Raises KeyboardInterrupt if another job was interrupted.
        """
        if (self.folder / STOP).exists():
            raise KeyboardInterrupt
        row = JobRow(number, label, total, pid=os.getpid())
        self.write(row)
        begun = self.clock()
        try:
            yield row
        except BaseException:
            self.stop()
            raise
        finally:
            row.seconds, row.ended = self.clock() - begun, True
            self.write(row)

    def write(self, row: JobRow) -> None:
        with suppress(OSError):  # the command was killed, its folder is gone
            write_json(self.folder / f"{row.number}.json", asdict(row))

    def stop(self) -> None:
        with suppress(OSError):
            (self.folder / STOP).touch()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """On Ctrl-C, jobs in other processes have time to save; a second Ctrl-C gives them none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.getsignal(kind) for kind in kinds}

        def wait_for_jobs(*_: Any) -> None:
            for kind in kinds:
                signal.signal(kind, signal.default_int_handler)
            self.stop()
            deadline = time.monotonic() + GRACE_S
            while self._elsewhere() and time.monotonic() < deadline:
                time.sleep(0.1)
            raise KeyboardInterrupt

        for kind in kinds:
            signal.signal(kind, wait_for_jobs)
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _elsewhere(self) -> bool:
        return any(not row.ended and row.pid != os.getpid() for row in self.jobs)

    def progress(self, number: int, total: int | None) -> str:
        """`job 2 of 6, about 3 min left`: by the mean of the jobs that were trained here."""
        if total is None:
            return f"job {number}"
        ended = [row for row in self.jobs if row.ended]
        running = len(self.jobs) - len(ended)
        trained = [row.seconds for row in ended if not row.reused and not row.error]
        left = ""
        if trained:
            work = sum(trained) / len(trained) * (total - len(ended))
            left = f", {about(work / max(running, 1))} left"
        return f"job {number} of {total}{left}"

    def closing_table(self) -> str:
        """One row a job: run, status, time, main metric; below it the errors, one line each."""
        lines = []
        jobs = self.jobs
        figures = [Listed(job.run).metrics if job.run else {} for job in jobs]
        for job, metrics in zip(jobs, figures, strict=True):
            name = str(job.path) if job.run else job.label or ""
            spent = "-" if job.reused else duration(job.seconds)
            first = f"{job.number}  {printable(name)}"
            lines.append([first, job.status, spent, main_metric(metrics)])
        text = table(["job", "status", "time", main_header(figures)], lines)
        rest = [
            clipped(f"job {job.number}: {printable(job.error)}", WIDTH) for job in jobs if job.error
        ]
        total = next((job.total for job in jobs if job.total), len(jobs))
        if len(jobs) < total:
            rest.append(f"{total - len(jobs)} of {total} jobs were not begun")
        return "\n".join([text, *rest])


def about(seconds: float) -> str:
    """`about 40 s`, `about 3 min`, `about 2.5 h`."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
