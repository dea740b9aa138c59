"""Seconds that a job of a multirun takes beside its own training and test, against a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benches._harness import Row, limit_row

JOBS, LIMIT_S = 5, 1.0
COMMAND = "import sys; from fitexp.cli import main; sys.exit(main())"  # as the script `fitexp`
TINY = ("data.source.athletes=4", "data.source.workouts=6", "accelerator=cpu")
SIZES = ("model.hidden=4", "model.context_hidden=4", "trainer.max_epochs=1")


def _overhead_s(jobs: int) -> float:
    """Mean time from one job's end to the next one's, less the seconds of its manifest.

    The first job is left out: it imports torch and prepares the data.
    """
    from fitexp.run import find_runs

    seeds = f"seed={','.join(map(str, range(jobs)))}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "train", "-m", seeds, *TINY, *SIZES],
            cwd=folder,
            env={**os.environ, "FITEXP_CACHE": str(Path(folder) / "cache"), "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        runs = [run.manifest for run in find_runs(Path(folder) / "outputs")]
    ends = {datetime.fromisoformat(run["finished"]): float(run["seconds"]) for run in runs}
    assert len(ends) == jobs, f"{len(ends)} jobs finished, not {jobs}"
    between = [(b - a).total_seconds() - ends[b] for a, b in pairwise(sorted(ends))]
    assert min(between) >= 0, "a job took less than its own seconds"
    return sum(between) / len(between)


def rows() -> list[Row]:
    what = (
        f"fitexp train -m of {JOBS} tiny runs: time a job after the first, less its own training, "
        "test and plots"
    )

    def agree() -> None:
        _overhead_s(2)

    return [limit_row("sweep", what, "s", LIMIT_S, lambda: lambda: _overhead_s(JOBS), agree)]
