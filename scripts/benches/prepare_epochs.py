"""What `fitexp data prepare` takes to cut five million epochs of a Parquet file into windows."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from benches._harness import Row, Side, limit_row

USERS, EPOCHS, SERIES = 250, 20_000, 10
MOST_MB, MOST_S = 250.0, 15.0
COMMAND = """
import resource, sys
from fitexp.cli import main
code = main(sys.argv[1:])
if "torch" in sys.modules:
    sys.exit("torch was imported")
if code:
    sys.exit(code)
used = resource.getrusage(resource.RUSAGE_SELF)
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print("USED", peak / 1e6, used.ru_utime + used.ru_stime)
"""


def write(file: Path, users: int, epochs: int) -> None:
    """A row group a user, of random numbers."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    draw = np.random.default_rng(0)

    def table(user: int) -> Any:
        columns: dict[str, Any] = {
            "user": np.repeat(f"u{user}", epochs),
            "time": 1e9 + 15.0 * np.arange(epochs),
            "heart_rate": draw.integers(50, 150, epochs).astype(np.float32),
        }
        series = {f"s{i}": draw.random(epochs, dtype=np.float32) for i in range(SERIES)}
        return pa.table(columns | series)

    first = table(0)
    with parquet.ParquetWriter(file, first.schema) as writer:
        for user in range(users):
            writer.write_table(table(user) if user else first, row_group_size=epochs)


def prepare(file: Path) -> tuple[str, float, float]:
    """(What it prints, peak MB, CPU s) of a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory() as cache_folder:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "data", "prepare", "data=epochs", f"data.path={file}"],
            env=os.environ | {"FITEXP_CACHE": cache_folder},
            cwd=cache_folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, (done.stdout + done.stderr)[-300:]
    said, _, used = done.stdout.rpartition("USED")
    peak_mb, cpu_s = map(float, used.split())
    return said, peak_mb, cpu_s


@cache
def large() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """The file, in a folder that goes with this process."""
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "epochs.parquet"
    write(file, USERS, EPOCHS)
    return folder, file


def agree() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "epochs.parquet"
        write(file, 5, EPOCHS)
        said, _, _ = prepare(file)
    for what in ("100,000  epochs", "195  windows"):
        assert what in said, said


def rows() -> list[Row]:
    def side(which: int) -> Side:
        _, file = large()
        return lambda: float(prepare(file)[which])  # type: ignore[arg-type]

    what = (
        f"fitexp data prepare data=epochs: {USERS * EPOCHS:,} epochs of {SERIES} series, a Parquet "
        "row group a user (made beforehand), an empty cache, no torch in the process: "
    )
    return [
        limit_row(
            "prepare_epochs_memory",
            f"{what}peak resident memory",
            "MB",
            MOST_MB,
            lambda: side(1),
            agree,
        ),
        limit_row(
            "prepare_epochs_time",
            f"{what}user + system time",
            "s CPU",
            MOST_S,
            lambda: side(2),
            agree,
        ),
    ]
