"""CPU seconds that the command line takes before any training, against a limit."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile

from benches._harness import Row, Side, limit_row

COMMAND = "import sys; from fitexp.cli import main; sys.exit(main())"  # as the script `fitexp`
COMMANDS = {  # row -> arguments, limit in s, exit code, what it prints, what it is
    "startup_help": (["--help"], 0.4, 0, "train", "fitexp --help"),
    "startup_mistyped_override": (
        ["train", "modle=fitrec_attn"],
        0.7,
        2,
        "model",
        "fitexp train with a mistyped override",
    ),
    "startup_cfg_job": (["train", "--cfg", "job"], 1.0, 0, "optimizer:", "fitexp train --cfg job"),
}


def _run(arguments: list[str], code: int, says: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    output = done.stdout + done.stderr
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {output[-200:]}"
    assert says in output, f"{says!r} is not in what it prints: {output[-200:]}"


def _cpu_s(arguments: list[str], code: int, says: str) -> float:
    """User and system time of the child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(arguments, code, says)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rows() -> list[Row]:
    made = []
    for name, (arguments, limit, code, says, what) in COMMANDS.items():

        def ours(a=arguments, c=code, s=says) -> Side:
            return lambda: _cpu_s(a, c, s)

        def agree(a=arguments, c=code, s=says) -> None:
            _run(a, c, s)

        what = f"{what}: user + system time of the process"
        made.append(limit_row(name, what, "s CPU", limit, ours, agree))
    return made
