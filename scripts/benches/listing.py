"""CPU seconds in which `fitexp ls` lists 1,000 runs, against a limit."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benches._harness import Row, Side, limit_row

RUNS, LIMIT_S = 1000, 2.0
COMMAND = "import sys; from fitexp.cli import main; sys.exit(main())"  # as the script `fitexp`
FILTER = ["--filter", "model=fitrec* test/mae_bpm<8", "--sort", "-test/mae_bpm"]
BY_CONFIG = ["--filter", "model.hidden=64 test/mae_bpm<8", "--sort", "optimizer.lr"]
COMMANDS = {
    "listing": ([], "fitexp ls"),
    "listing_filter": (FILTER, "fitexp ls with a filter and an order"),
    "listing_config": (BY_CONFIG, "fitexp ls with keys of the config: every config.yaml is read"),
}
MODULES = ("data", "model", "loss", "optimizer", "task", "trainer")


def _make(folder: Path, runs: int) -> None:
    """Run folders as large as real ones: a config of 60 keys, 40 metrics."""
    from fitexp.run import BEST, METRICS, PACKAGES, Run, provenance, write_json

    config = {name: {f"key_{n}": 0.1 * n for n in range(10)} for name in MODULES}
    config["model"]["hidden"], config["optimizer"]["lr"] = 64, 0.001
    config["data"] |= {"regime": "whole", "split": "time", "history": "previous"}
    choices = {"model": "fitrec_attn", "data": "workouts_sim"}
    fields = provenance(config, {}, command="fitexp train", choices=choices)
    fields |= {"status": "finished", "seconds": 61.0, "packages": dict.fromkeys(PACKAGES, "1.2.3")}
    baselines = [f"baseline/{name}/test/mae_bpm" for name in "abcdefghijklmnopqrstuvwxyz"]
    for number in range(runs):
        path = folder / f"fitrec_attn_seed={number}_{number:08x}"
        run = Run.create(path, config, {"kind": "workouts"}, {**fields, "seed": number})
        names = ["test/mae_bpm", "test/rmse_bpm", *baselines]
        write_json(run.file(METRICS), dict.fromkeys(names, number % 10 + 0.123456789))
        run.file(BEST).touch()


def _cpu_s(folder: Path, arguments: list[str], lines: int) -> float:
    """User and system time of `fitexp ls`, which must print so many rows."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "ls", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    found = done.stdout.count(" finished ")
    assert found == lines, f"{found} rows, not {lines}"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _kept(arguments: list[str], runs: int) -> int:
    return runs if not arguments else sum(n % 10 + 0.123456789 < 8 for n in range(runs))


def rows() -> list[Row]:
    made = []
    for name, (arguments, what) in COMMANDS.items():

        def ours(a=arguments) -> Side:
            scratch = tempfile.TemporaryDirectory()
            folder = Path(scratch.name)
            _make(folder, RUNS)

            def run(keep=scratch) -> float:
                return _cpu_s(folder, a, _kept(a, RUNS))

            return run

        def agree(a=arguments) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                _make(Path(scratch), 20)
                _cpu_s(Path(scratch), a, _kept(a, 20))

        what = f"{what}, {RUNS} runs: user + system time of the process"
        made.append(limit_row(name, what, "s CPU", LIMIT_S, ours, agree))
    return made
