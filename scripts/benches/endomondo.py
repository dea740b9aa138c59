"""The raw Endomondo file: CPU time per MB against literal_eval and plain loops, and peak memory.

Ours is one reading with one process into a fresh cache, columns on disk included, of 2,048 made
workouts of 500 points (68 MB).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benches._harness import Row, Side

USERS, WORKOUTS, REFERENCE = 32, 64, 64  # reference: so many workouts, slow as it is
SMALL, LARGE = 512, 2048  # workouts, for memory
SIZES = {"part_bytes": 1 << 22, "max_line_bytes": 1 << 20}  # conf/data/endomondo.yaml
SCRATCH = tempfile.TemporaryDirectory()


@cache
def made(workouts: int) -> Path:
    """A file with so many workouts of 500 points, written once a run."""
    from tests.data.workouts.endomondo_made import write

    path = Path(SCRATCH.name) / f"{workouts}.json"
    return write(path, users=min(USERS, workouts), workouts=max(1, workouts // USERS))


def read(path: Path, parser: str) -> Any:
    """Our reader, from nothing, in one process."""
    from fitexp.data.workouts.endomondo import read_endomondo

    folder = tempfile.mkdtemp(dir=SCRATCH.name)
    with patch.dict(os.environ, FITEXP_CACHE=folder):
        return read_endomondo(path=str(path), workers=1, parser=parser, **SIZES)


def _ms_per_mb(path: Path, work: Any) -> Side:
    def run() -> float:
        start = time.process_time()
        work()
        return (time.process_time() - start) * 1e3 / (path.stat().st_size / 1e6)

    return run


def sides(parser: str) -> tuple[Side, Side]:
    from tests.data.workouts.endomondo_made import read_plainly

    ours, reference = made(USERS * WORKOUTS), made(REFERENCE)
    return (
        _ms_per_mb(ours, lambda: read(ours, parser)),
        _ms_per_mb(reference, lambda: read_plainly(reference)),
    )


def agree(parser: str) -> None:
    import pandas as pd

    from tests.data.workouts.endomondo_made import read_plainly

    ours, reference = read(made(4), parser), read_plainly(made(4))
    assert len(reference.samples) == 4 * 500
    pd.testing.assert_frame_equal(ours.sessions, reference.sessions)
    samples = ours.samples[list(reference.samples)]
    pd.testing.assert_frame_equal(samples, reference.samples, rtol=1e-6, atol=1e-7)


def peak_mib(workouts: int) -> float:
    """Peak resident memory of a process that reads so many workouts."""
    command = [sys.executable, __file__, str(made(workouts))]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    sessions, peak = done.stdout.split()
    assert int(sessions) == workouts, f"{sessions} workouts, not {workouts}"
    return float(peak)


def _child(path: Path) -> str:
    from benches.fitrec_attn_memory import _resident_kib

    sessions = len(read(path, "orjson").sessions)
    return f"{sessions} {_resident_kib('VmHWM') / 1024}"


def _agree_memory() -> None:
    assert peak_mib(8) > 0.0  # and it read all of them


def rows() -> list[Row]:
    what = (
        f"{USERS * WORKOUTS:,} workouts of 500 points read by one process into a fresh cache, CPU "
        f"time per MB of text (1000 / figure = MB/s), {{}}; reference: ast.literal_eval a line, "
        f"plain loops over points, {REFERENCE} workouts, the same table"
    )
    parsers = {"orjson": 20.0, "simdjson": 40.0}
    if find_spec("simdjson") is None:
        del parsers["simdjson"]
        print("bench: endomondo_simdjson is left out: no pysimdjson here", file=sys.stderr)
    timed = [
        Row(
            name=f"endomondo_{parser}",
            unit="ms/MB",
            note=what.format(parser),
            target=target,
            sides=lambda p=parser: sides(p),
            agree=lambda p=parser: agree(p),
            repeats=5,
        )
        for parser, target in parsers.items()
    ]
    memory = Row(
        name="endomondo_memory",
        unit="MiB",
        note=f"peak resident memory of a process that reads {LARGE:,} workouts (68 MB of text, 25 "
        f"MB of columns); reference: {SMALL} workouts, so 1 means that memory does not grow with "
        "the file",
        target=0.9,
        sides=lambda: (lambda: peak_mib(LARGE), lambda: peak_mib(SMALL)),
        agree=_agree_memory,
        repeats=3,
        warm_up=False,
    )
    return [*timed, memory]


if __name__ == "__main__":
    print(_child(Path(sys.argv[1])))
