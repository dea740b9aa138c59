"""A week of raw acceleration at 60 Hz (36.3 M samples): CPU time and memory, against limits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from benches._harness import Row, Side, limit_row
from benches.fitrec_attn_memory import _resident_kib

RATE_HZ = 60.0
WEEK_S = 7 * 86400.0
CHUNK = 1 << 13
LIMIT_CPU_S, LIMIT_MB = 10.0, 250.0
START_S = 1_709_280_000.0
SCRATCH = tempfile.TemporaryDirectory()


def samples(n: int, seed: int = 0) -> Any:
    """(3, n) in g: another pose every 20 s, still for 15 s of it and shaken for 5, to 1 mg."""
    import numpy as np

    rng = np.random.default_rng(seed)
    each = int(20 * RATE_HZ)
    poses = rng.normal(size=(3, n // each + 1))
    a = np.repeat(poses / np.linalg.norm(poses, axis=0), each, axis=1)[:, :n]
    shake = np.where(np.arange(n) % each < 0.75 * each, 0.003, 0.2)
    return np.round(a + shake * rng.normal(size=(3, n)), 3)


def signals_cpu_s() -> Side:
    """CPU seconds in the signals alone; samples are made between the timed parts."""
    import numpy as np

    from fitexp.data.windows.signals import STEP_S, EpochStream

    chunk, steps = samples(CHUNK), np.arange(CHUNK) / RATE_HZ
    total = int(WEEK_S * RATE_HZ)

    def run() -> float:
        stream = EpochStream(rate_hz=RATE_HZ, gap_s=1.0, min_share=0.5)
        spent, epochs = 0.0, 0
        for begin in range(0, total, CHUNK):
            n = min(CHUNK, total - begin)
            time_s, a = START_S + begin / RATE_HZ + steps[:n], np.roll(chunk, begin, axis=1)[:, :n]
            start = time.process_time()
            epochs += len(stream.push(time_s, a))
            spent += time.process_time() - start
        epochs += len(stream.finish())
        assert epochs == WEEK_S / STEP_S, f"{epochs} epochs"
        return spent

    return run


@cache
def study(seconds: float) -> Path:
    """A folder with one user's Parquet file of so many seconds, written in row groups."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(SCRATCH.name) / f"{seconds:.0f}" / "acceleration"
    folder.mkdir(parents=True)
    schema = pa.schema([("time", pa.float64()), *((axis, pa.float32()) for axis in "xyz")])
    total, rows = int(seconds * RATE_HZ), 1 << 20  # what pandas and pyarrow write by default
    with pq.ParquetWriter(folder / "user.parquet", schema) as writer:
        for begin in range(0, total, rows):
            n = min(rows, total - begin)
            columns = [START_S + (begin + np.arange(n)) / RATE_HZ, *samples(n, begin)]
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema))
    return folder.parent


def read(seconds: float) -> tuple[float, float]:
    """Peak resident memory (MB) and CPU s of a process that reads so much to epochs."""
    command = [sys.executable, __file__, str(study(seconds))]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    epochs, peak_mb, cpu_s = done.stdout.split()
    assert int(epochs) == seconds / 15, f"{epochs} epochs"
    return float(peak_mb), float(cpu_s)


def _child(path: str) -> str:
    from fitexp.data.windows.raw import raw_acceleration

    epochs = raw_acceleration(
        path=path,
        utc_offset_h=0.0,
        gap_s=1.0,
        min_epoch_share=0.5,
        calibrated=True,
    )
    (recording,) = epochs.recordings()
    assert "torch" not in sys.modules
    peak_mb = _resident_kib("VmHWM") * 1024 / 1e6
    return f"{len(recording.series)} {peak_mb} {time.process_time()}"


def _agree_signals() -> None:
    import numpy as np

    from tests.data.windows import test_signals

    time_s, a = test_signals.made(60.0)
    found, expected = (f(time_s, a) for f in (test_signals.whole, test_signals.slowly))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def _agree_read() -> None:
    assert min(read(600.0)) > 0.0  # and it gave every epoch


def rows() -> list[Row]:
    week = f"a week at {RATE_HZ:g} Hz (36.3 M samples)"
    process = (
        f"of a process that reads {week} from Parquet, twice, calibrates and makes its epochs of "
        "15 s, interpreter and libraries included"
    )

    def row(name: str, unit: str, what: str, limit: float, which: int) -> Row:
        return Row(
            name=name,
            unit=unit,
            note=f"{what} {process}; reference: the limit",
            target=1.0,
            sides=lambda: (lambda: read(WEEK_S)[which], lambda: limit),
            agree=_agree_read,
            repeats=1,
            warm_up=False,
        )

    memory = row("raw_acceleration_memory", "MB", "peak resident memory", LIMIT_MB, 0)
    cpu = row("raw_acceleration_time", "s CPU", "user + system time", LIMIT_CPU_S, 1)
    signals = limit_row(
        "raw_acceleration_signals",
        f"{week} to ENMO, VM-HPF and axis statistics of 15 s, in chunks of {CHUNK:,} samples, CPU "
        "time without making the samples",
        "s CPU",
        LIMIT_CPU_S,
        signals_cpu_s,
        _agree_signals,
    )
    return [signals, memory, cpu]


if __name__ == "__main__":
    print(_child(sys.argv[1]))
