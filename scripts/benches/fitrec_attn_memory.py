"""Peak memory of a training step of FitRec-Attn with tanh scores over long sequences.

Each side is a process of its own: a warm-up on a short sequence loads code and kernels, then the
resident set's peak over one forward and backward is read, above what was resident before it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benches._harness import Row, Side

STEPS, SIZE, SHORT = 300, 16, 8


def peak_mib(side: str, steps: int = STEPS) -> float:
    command = [sys.executable, __file__, side, str(steps)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def _resident_kib(field: str) -> int:
    """VmRSS or VmHWM of this process; where there is no /proc, its peak for both."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[field].split()[0])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def _child(side: str, steps: int) -> float:
    import gc

    from benches.fitrec_attn import pair, step

    from fitexp.models import additive

    additive.RECOMPUTE_FROM = 10**9 if side == "loop" else 1

    def prepare(T: int) -> tuple[object, object]:
        ours, reference, batch = pair(
            size=SIZE, steps=T, teacher=True, score="tanh", history="previous", small=False
        )
        return (reference if side == "reference" else ours), batch

    step(*prepare(SHORT))
    network, batch = prepare(steps)
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # VmHWM := VmRSS
    before = _resident_kib("VmRSS")
    step(network, batch)
    return (_resident_kib("VmHWM") - before) / 1024


def _sides(reference: str) -> tuple[Side, Side]:
    return lambda: peak_mib("ours"), lambda: peak_mib(reference)


def _agree(side: str) -> None:
    from benches.fitrec_attn import agree

    agree(backward=True, size=5, steps=40, teacher=True, score="tanh", history="previous")
    assert peak_mib(side, SHORT) >= 0.0


def rows() -> list[Row]:
    how = (
        f"peak resident memory of forward + backward above the set-up, T = {STEPS}, B = {SIZE}, "
        "tanh scores, teacher forced, a process a side; "
    )
    return [
        Row(
            name=name,
            unit="MiB",
            note=how + against,
            target=2.0,
            sides=lambda side=side: _sides(side),
            agree=lambda side=side: _agree(side),
            repeats=3,
            warm_up=False,
        )
        for name, side, against in (
            ("fitrec_attn_tanh_memory", "reference", "reference: the notes' loop over steps"),
            (
                "fitrec_attn_tanh_memory_loop",
                "loop",
                "reference: our own loop (keys computed once) through autograd",
            ),
        )
    ]


if __name__ == "__main__":
    print(_child(sys.argv[1], int(sys.argv[2])))
