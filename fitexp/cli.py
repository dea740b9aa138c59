"""The commands. Nothing heavy is imported before it is needed: no torch, pandas or hydra here."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitexp.errors import InputError

if TYPE_CHECKING:
    from fitexp.compose import Job
    from fitexp.data.prepare import Prepared
    from fitexp.run import Run

OUTPUTS = "outputs"  # run folders lie in it, under the folder where the command was typed
WIDTH = 100  # columns of every table
MISTAKE, CRASH, INTERRUPT, PIPE = 2, 1, 130, 141

USAGE = """\
fitexp: experiments on predicting heart rate and speed in workouts

  fitexp train [OVERRIDES] [HYDRA'S OPTIONS]   train and test a model; the last line is its folder
  fitexp resume RUN                            go on with an interrupted run, bit-identical on a CPU
  fitexp evaluate RUN [OVERRIDES]              test once more, also on other data (data.path=...)
  fitexp ls [PATH] [--json]                    runs under PATH (outputs/) with status and test error
  fitexp compare RUNS... [--by KEYS]           runs beside baselines: seeds averaged, paired tests
  fitexp data prepare|describe [OVERRIDES]     prepare the arrays of a config; describe the data

  --help     this text; fitexp train --help lists all groups, choices and keys
  --version  of fitexp
  --debug    show tracebacks of mistakes too

  fitexp train model=fitrec_attn trainer.max_epochs=5 seed=1
  fitexp train data=workout_table data.path=FOLDER -m seed=1,2,3
"""

HELP = {
    "train": """\
fitexp train [OVERRIDES] [OPTIONS]: compose a config, train, test, print a table and its folder

  GROUP=CHOICE KEY=VALUE ~KEY +KEY=VALUE   overrides; every option and override in any order
  -m, --multirun     one run for each combination of KEY=A,B; finished runs are not repeated
  --fresh            of a multirun: train finished runs again, beside the old ones
  --cfg job|hydra|all [--resolve] [--package KEY]   print the config and stop
  --info [WHAT]      how the config is composed
  --config-dir DIR   a folder with further configs
  hydra.run.dir=DIR  the run's folder (default: outputs/DATE_TIME_MODEL)
  -sc install=bash   shell completion (bash, zsh, fish)
""",
    "resume": """\
fitexp resume RUN [--allow PREFIX]: go on with an interrupted run, then test it

  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "evaluate": """\
fitexp evaluate RUN [OVERRIDES] [--allow PREFIX]: test a run's best.ckpt, print the table

  KEY=VALUE        of the run's config.yaml (data.path=FOLDER, accelerator.devices=1, ...)
  --allow PREFIX   build _target_s under this prefix too; may be repeated (or FITEXP_ALLOW=A,B)
""",
    "ls": """\
fitexp ls [PATH] [--json]: the runs in and under PATH (default: outputs/)
""",
    "compare": """\
fitexp compare RUNS... [OPTIONS]: finished runs beside their baselines, under their protocols

  RUNS              run folders, folders of runs, 'patterns*'; unfinished ones are left out
  --by KEYS         groups: model, data, loss, ... or config keys as model.score, between commas
                    (default: model and what else differs, but not the seed, which is averaged)
  --metric NAMES    of metrics.json, as test/at_60s/mae_bpm (default: MAE and RMSE of the test)
  --against GROUP   the reference: a group or a baseline (default: the best baseline, by metric)
  --format FORMAT   table | md | csv | latex | json

  Differences are paired by user (10,000 bootstrap resamples; below 10 users of workouts within
  users), with Holm's correction. Lower is better.
""",
    "data": """\
fitexp data prepare [OVERRIDES]    prepare and cache the arrays of a config, print counts
fitexp data describe [OVERRIDES]   prepare them and describe them

  Overrides and Hydra's options as of `fitexp train`.
""",
}


_debug = False  # --debug: tracebacks of mistakes too


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command -> exit code: 0, 1 defect, 2 the user's mistake, 130 interrupted."""
    global _debug
    words = list(sys.argv[1:] if argv is None else argv)
    _debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    before = None
    if (
        threading.current_thread() is threading.main_thread()
    ):  # SIGTERM as Ctrl-C: nothing half done
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _command(words)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _say(error)
    except BrokenPipeError:
        _discard_output()
        return PIPE
    except KeyboardInterrupt:
        return INTERRUPT
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _say(error: Exception) -> int:
    """Print a mistake as one line, a defect with its traceback -> exit code."""
    mistake = isinstance(error, InputError)
    if _debug or not mistake:
        import traceback

        traceback.print_exception(error)
    if mistake:
        print(f"fitexp: {' '.join(str(error).split())}", file=sys.stderr)
    return MISTAKE if mistake else CRASH


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if words[0] == "--version":
        return _version()
    verb, *rest = words
    if verb in ("-sc", "--shell-completion"):
        return _completion(rest)
    verbs: dict[str, Callable[[list[str]], int]] = {
        "train": _train_command,
        "resume": _resume_command,
        "evaluate": _evaluate_command,
        "ls": _ls_command,
        "compare": _compare_command,
        "data": _data_command,
    }
    if verb not in verbs:
        raise InputError(f"no command '{verb}'{_near(verb, [*verbs, '--help', '--version'])}")
    if any(word in ("-h", "--help") for word in rest):
        print(HELP[verb])
        if verb == "train":
            return _hydra(rest, _nothing)
        return 0
    if "--version" in rest:
        return _version()
    return verbs[verb](rest)


def _version() -> int:
    from fitexp.run import version

    print(f"fitexp {version()}")
    return 0


def _near(word: str, known: Iterable[str]) -> str:
    from fitexp.targets import closest, did_you_mean

    return did_you_mean(closest(word, known)) or "; fitexp --help lists what there is"


def _options(
    words: list[str], flags: Iterable[str] = (), values: Iterable[str] = ()
) -> tuple[list[str], set[str], dict[str, list[str]]]:
    """Split a command's words -> (the others, flags given, values of options that take one)."""
    others: list[str] = []
    given: set[str] = set()
    found: dict[str, list[str]] = {name: [] for name in values}
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in flags:
            given.add(word)
        elif name in found:
            if not equals and not words:
                raise InputError(f"{name} needs a value")
            found[name].append(value if equals else words.pop(0))
        elif word.startswith("-"):
            raise InputError(f"no option '{word}'{_near(word, [*flags, *found])}")
        else:
            others.append(word)
    return others, given, found


# train and resume


def _train_command(words: list[str]) -> int:
    fresh = "--fresh" in words
    words = [word for word in words if word != "--fresh"]
    return _hydra(words, lambda job: _train(job, fresh))


def _hydra(words: list[str], task: Callable[[Job], None]) -> int:
    """Run `task` for every job of Hydra's command line -> exit code, the worst of all jobs."""
    from fitexp import compose

    codes: list[int] = []

    def failed(error: Exception) -> None:
        if isinstance(error, BrokenPipeError):
            _discard_output()
            codes.append(PIPE)
        else:
            codes.append(_say(error))

    compose.run(words, task, failed)
    return next((code for code in (CRASH, MISTAKE, PIPE) if code in codes), 0)


def _nothing(job: Job) -> None: ...


def _train(job: Job, fresh: bool = False) -> None:
    """Train and test one composed config. A mistake found before training leaves no folder."""
    from fitexp import compose, targets
    from fitexp.run import Run, new_folder, provenance, stamped_folder, sweep_name

    _check_vacant(job.folder)
    parent = job.folder.parent if job.folder else job.sweep or Path(OUTPUTS)
    if parent.exists() and not parent.is_dir():
        raise InputError(f"{parent} is a file: run folders lie in a folder of that name")
    compose.check(job.config, job.known)
    prepared = _prepare(job)
    rejected = (prepared.report.get("rejected") or {}).items()
    if any(number for _, number in rejected):
        left_out = ", ".join(f"{number} {reason}" for reason, number in rejected if number)
        _note(f"data left out: {left_out}")
    fields = provenance(
        job.config,
        prepared.report,
        command=shlex.join(["fitexp", *sys.argv[1:]]),
        choices=job.choices,
    )
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    if job.folder is not None:
        path, existed = job.folder, job.folder.exists()
    elif job.sweep is not None:
        name = sweep_name(_name_parts(job), fields["identity"])
        known = sorted(parent.glob(f"*_{name[-8:]}"))  # the identity, however it was typed
        if known and not fresh:
            _go_on(Run(known[0]), fields)
            return
        path, existed = new_folder(parent, name), False
    else:
        path, existed = stamped_folder(parent, job.choices.get("model", "run")), False
    try:
        run = Run.create(path, job.config, prepared.spec.to_dict(), fields)
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()  # only if it is empty: it may be another process's by now
        raise
    try:
        _finish(run, prepared, targets.ANYTHING)  # the user has just named them himself
    except InputError:
        if not (path / "last.ckpt").exists():  # only building the model showed the mistake
            shutil.rmtree(path, ignore_errors=True)
            if existed:
                path.mkdir()
            for folder in missing:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise


def _finish(run: Run, prepared: Prepared | None, allow: Sequence[str] | None) -> None:
    """Train and test a created or interrupted run, print its table and, last, its folder."""
    from fitexp import worker
    from fitexp.report.table import closing_table

    try:
        worker.train(run, prepared=prepared, allow=allow)
    except (KeyboardInterrupt, SystemExit) as error:
        _note(f"interrupted; resume it with: fitexp resume {_quoted(run.path)}")
        raise KeyboardInterrupt from error
    except InputError:
        raise
    except Exception:
        _note(f"{run.path} is marked failed")
        raise
    print(closing_table(run))
    print(run.path, flush=True)


def _go_on(run: Run, fields: Mapping[str, Any]) -> None:
    """A multirun's job whose folder is there: finished is reused, interrupted is resumed."""
    from fitexp import targets
    from fitexp.run import FINISHED, RUNNING

    run.check()
    if run.status == RUNNING:
        raise InputError(f"{run.path} is being trained by process {run.manifest.get('pid')}")
    if run.status != FINISHED:
        _note(f"{run.path}: {run.status}, goes on from where it stopped")
        _finish(run, None, targets.ANYTHING)
        return
    manifest = run.manifest
    same = all(manifest.get(key) == fields.get(key) for key in ("version", "git"))
    code = "" if same else " by other code"
    _note(f"{run.path}: finished before{code}, not trained again (--fresh trains it again)")
    print(run.path, flush=True)


def _check_vacant(folder: Path | None) -> None:
    """Refuse a run folder the user named (hydra.run.dir) that holds anything."""
    from fitexp.run import FINISHED, MANIFEST, Run

    if folder is None or not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"hydra.run.dir={folder} is a file")
    if (folder / MANIFEST).exists():
        status = Run(folder).status
        resume = "" if status == FINISHED else f" or go on with it: fitexp resume {_quoted(folder)}"
        raise InputError(
            f"{folder} holds a run already ({status}): choose another hydra.run.dir{resume}"
        )
    if next(folder.iterdir(), None) is not None:
        raise InputError(f"hydra.run.dir={folder} is not empty: a run needs a folder of its own")


def _name_parts(job: Job) -> list[str]:
    """What a multirun's folder is called after: model, then what is swept, then the rest."""
    swept: list[str] = []
    fixed: list[str] = []
    for override in job.overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key != "model":
            part = value if key in job.choices else override
            (swept if key in job.swept else fixed).append(part)
    return [job.choices.get("model", "run"), *swept, *fixed]


def _prepare(job: Job) -> Prepared:
    from fitexp import compose, targets

    for place in ("data", "data.source"):
        compose.check_node(job.config, place)
    prepared: Prepared = targets.build(job.config["data"], targets.ANYTHING).prepare()
    return prepared


def _resume_command(words: list[str]) -> int:
    from fitexp.run import FINISHED, RUNNING

    run, rest, allow = _run_of("resume", words)
    if rest:
        raise InputError(f"fitexp resume takes one run: what is '{rest[0]}'?")
    if run.status == FINISHED:
        raise InputError(
            f"{run.path} is already finished; to test it again: fitexp evaluate {_quoted(run.path)}"
        )
    if run.status == RUNNING:
        raise InputError(f"{run.path} is being trained by process {run.manifest.get('pid')}")
    try:
        _finish(run, None, allow)
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _say(error)
    return 0


def _evaluate_command(words: list[str]) -> int:
    run, overrides, allow = _run_of("evaluate", words)
    from fitexp import worker
    from fitexp.report.table import closing_table

    tested, _ = worker.evaluate(run, overrides, allow)
    print(closing_table(tested))
    print(tested.path)
    return 0


def _run_of(verb: str, words: list[str]) -> tuple[Run, list[str], Sequence[str] | None]:
    """The run a command names, the other words, and the prefixes to allow (None: usual ones)."""
    from fitexp.run import Run
    from fitexp.targets import allowed

    words, _, values = _options(words, values=("--allow",))
    if not words:
        raise InputError(f"fitexp {verb} needs a run folder; fitexp ls lists them")
    run = Run(words[0])
    run.check()
    added = values["--allow"]
    return run, words[1:], (*allowed(), *added) if added else None


# ls


def _ls_command(words: list[str]) -> int:
    from fitexp.run import find_runs

    words, flags, _ = _options(words, flags=("--json",))
    if len(words) > 1:
        raise InputError(f"fitexp ls takes one folder: what is '{words[1]}'?")
    folder = Path(words[0] if words else OUTPUTS)
    if words and not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    rows = [_row(run) for run in find_runs(folder)]
    if "--json" in flags:
        print(json.dumps(rows, indent=2))
    elif not rows:
        _note(f"no runs in {folder}")
    else:
        print(_ls_table(rows))
    return 0


def _row(run: Run) -> dict[str, Any]:
    """What `ls` tells of a run; of a damaged one what can be read. Never raises InputError."""
    manifest: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    with contextlib.suppress(InputError):
        manifest = run.manifest
    status = run.status
    with contextlib.suppress(InputError):
        metrics = run.metrics
    choices = manifest.get("choices")
    choices = choices if isinstance(choices, dict) else {}
    numbers = {
        name: value if math.isfinite(value) else None
        for name, value in metrics.items()
        if isinstance(value, int | float)
    }
    return {
        "run": str(run.path),
        "status": status,
        "model": choices.get("model"),
        "data": choices.get("data"),
        "regime": manifest.get("regime"),
        "seed": manifest.get("seed"),
        "created": manifest.get("created"),
        "seconds": manifest.get("seconds"),
        "metrics": numbers,
    }


def _ls_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """At most 100 columns: a run's name that leaves too little room gets a line of its own."""
    header = ("run", "status", "model", "data", "regime", "seed", "time", "test mae")
    lines: list[tuple[str, ...]] = [header]
    for row in rows:
        error = next((n for n in row["metrics"] if n.startswith("test/mae_")), "")
        value = row["metrics"].get(error)
        unit = error.removeprefix("test/mae_").removeprefix("sequence_").replace("_", "/")
        words = [row[key] for key in ("run", "status", "model", "data", "regime", "seed")]
        lines.append(
            (
                *("-" if word is None else str(word) for word in words),
                _duration(row["seconds"]),
                "-" if value is None else f"{value:.2f} {unit}",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(1, len(header))]
    room = WIDTH - sum(widths) - 2 * len(widths)
    room = min(room, max(len(line[0]) for line in lines))
    out = []
    for name, *rest in lines:
        figures = "  ".join(word.ljust(width) for word, width in zip(rest, widths, strict=True))
        if len(name) > room:
            out.append(name)
            name = ""
        out.append(f"{name.ljust(room)}  {figures}".rstrip())
    return "\n".join(out)


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


# compare


def _compare_command(words: list[str]) -> int:
    options = ("--by", "--metric", "--against", "--format")
    words, _, values = _options(words, values=options)
    if not words:
        raise InputError("fitexp compare needs run folders; fitexp ls lists them")
    formats = ("table", "md", "csv", "latex", "json")
    form = (values["--format"] or ["table"])[-1]
    if form not in formats:
        raise InputError(f"no format '{form}'{_near(form, formats)} ({', '.join(formats)})")
    by, metrics = (
        [name.strip() for text in values[option] for name in text.split(",") if name.strip()]
        for option in ("--by", "--metric")
    )
    runs = _named_runs(words)
    from fitexp.report.compare import compare
    from fitexp.report.compare_formats import FORMATS

    against = values["--against"][-1] if values["--against"] else None
    comparison, left_out = compare(runs, by=by, metrics=metrics, against=against)
    for line in left_out:
        _note(f"left out: {line}")
    print(FORMATS[form](comparison))
    return 0


def _named_runs(words: Sequence[str]) -> list[Run]:
    """Runs in and under folders and shell patterns, each once."""
    import glob

    from fitexp.run import find_runs

    found: dict[Path, Run] = {}
    for word in words:
        paths = [Path(word)] if Path(word).exists() else list(map(Path, sorted(glob.glob(word))))
        if not paths:
            raise InputError(f"{word}: no such run folder")
        runs = [run for path in paths if path.is_dir() for run in find_runs(path)]
        if not runs:
            _note(f"left out: {word}: no run")
        for run in runs:
            found.setdefault(run.path.resolve(), run)
    if not found:
        raise InputError(f"no run in {', '.join(words)}; fitexp ls lists them")
    return list(found.values())


# data


def _data_command(words: list[str]) -> int:
    verbs = {"prepare": _data_prepare, "describe": _data_describe}
    if not words:
        raise InputError("fitexp data needs prepare or describe")
    verb, *rest = words
    if verb not in verbs:
        raise InputError(f"no command 'data {verb}'{_near(verb, verbs)}")
    return _hydra(rest, verbs[verb])


def _data_prepare(job: Job) -> None:
    prepared = _prepare(job)
    from fitexp.report.describe import counts

    print(counts(prepared))


def _data_describe(job: Job) -> None:
    prepared = _prepare(job)
    from fitexp.report.describe import describe

    print(describe(prepared))


# shell completion


def _completion(words: list[str]) -> int:
    """`fitexp -sc query=SHELL` as Hydra's completion scripts call it, COMP_LINE being the line."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] + ([""] if line.endswith(" ") else [])
    if words and words[0].startswith("query="):
        verbs = 2 if typed[:1] == ["data"] else 1
        if len(typed) <= verbs:
            known = ("prepare", "describe") if verbs == 2 else tuple(HELP)
            print("\n".join(name for name in known if name.startswith(typed[-1] if typed else "")))
            return 0
        if typed[0] not in ("train", "data"):
            return 0
        rest = [word for word in typed[verbs:] if word not in ("--fresh", "--debug")]
        os.environ["COMP_LINE"] = " ".join([line.split()[0], *rest])
    return _hydra(["--shell-completion", *words], _nothing)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _note(text: str) -> None:
    print(f"fitexp: {text}", file=sys.stderr, flush=True)


def _discard_output() -> None:
    """Whoever read our output has gone: no traceback for it, nor at Python's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
