"""Learned exponential averages beside an LSTM of the same width: time and memory of a step.

The two compute different things, so the rows only report; `agree` holds the layer to the literal
double loop. Memory: a process a side, the peak above the set-up (see fitrec_attn_memory.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benches._harness import Row, Side, cpu_ms

WIDTH, SIZE, SHORT = 32, 16, 8


def layer(side: str) -> Any:
    import torch

    from fitexp.models.averages import ExponentialAverages

    torch.manual_seed(0)
    if side == "ours":
        return ExponentialAverages(channels=WIDTH, longest=300)
    return torch.nn.LSTM(WIDTH, WIDTH, batch_first=True)


def step(network: Any, x: Any) -> None:
    """One forward and backward, of the input as well."""
    network.zero_grad()
    x.grad = None
    answer = network(x)
    answer = answer[0] if isinstance(answer, tuple) else answer
    answer.square().sum().backward()


def series(steps: int) -> Any:
    import torch

    return torch.randn(SIZE, steps, WIDTH).requires_grad_()


def agree() -> None:
    import torch

    from tests.models.averages_oracle import literal

    ours = layer("ours").double()
    x = torch.randn(2, 70, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        apart = float((ours(x) - literal(x, ours.log_tau.exp())).abs().max())
    assert apart <= 1e-12, f"{apart:.1e} apart"


def _time(steps: int) -> tuple[Side, Side]:
    x = series(steps)

    def side(name: str) -> Side:
        network = layer(name)
        return cpu_ms(lambda: step(network, x))

    return side("ours"), side("lstm")


def peak_mib(side: str, steps: int) -> float:
    command = [sys.executable, __file__, side, str(steps)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def _child(side: str, steps: int) -> float:
    import gc
    from pathlib import Path

    from benches.fitrec_attn_memory import _resident_kib

    network = layer(side)
    step(network, series(SHORT))
    x = series(steps)
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # VmHWM := VmRSS
    before = _resident_kib("VmRSS")
    step(network, x)
    return (_resident_kib("VmHWM") - before) / 1024


def rows() -> list[Row]:
    found = []
    for steps in (300, 3000):
        what = f"forward + backward, T = {steps}, B = {SIZE}, {WIDTH} channels; reference: torch's "
        what += f"LSTM({WIDTH}, {WIDTH})"
        found += [
            Row(
                name=f"averages_step_{steps}",
                unit="ms",
                note=what,
                target=None,
                sides=lambda steps=steps: _time(steps),
                agree=agree,
            ),
            Row(
                name=f"averages_memory_{steps}",
                unit="MiB",
                note=f"peak resident memory above the set-up, a process a side; {what}",
                target=None,
                sides=lambda steps=steps: (
                    lambda: peak_mib("ours", steps),
                    lambda: peak_mib("lstm", steps),
                ),
                agree=agree,
                repeats=3,
                warm_up=False,
            ),
        ]
    return found


if __name__ == "__main__":
    print(_child(sys.argv[1], int(sys.argv[2])))
