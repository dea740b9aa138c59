"""The commands. Nothing heavy is imported before it is needed: no torch, pandas or hydra here."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitexp import runs
from fitexp.errors import InputError
from fitexp.sweep import JobRow, Sweep
from fitexp.usage import HELP, USAGE

if TYPE_CHECKING:
    from fitexp.compose import Job
    from fitexp.data.prepare import Prepared
    from fitexp.report.paper_table import PaperTable
    from fitexp.run import Run

OUTPUTS = "outputs"  # run folders lie in it, under the folder where the command was typed
DATA_VERBS = ("prepare", "describe", "fetch")
FETCHED = ("movielens100k",)  # what `fitexp data fetch` knows
MISTAKE, CRASH, INTERRUPT, PIPE = 2, 1, 130, 141

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
        "predict": functools.partial(_act, "predict"),
        "explain": functools.partial(_act, "explain"),
        "recommend": functools.partial(_act, "recommend"),
        "ask": functools.partial(_act, "ask"),
        "replay": functools.partial(_act, "replay"),
        "transfer": functools.partial(_act, "transfer"),
        "embed": functools.partial(_act, "embed"),
        "rerun": _rerun_command,
        "ls": _ls_command,
        "diff": _diff_command,
        "board": _board_command,
        "compare": _compare_command,
        "reproduce": _reproduce_command,
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
    with _new_sweep() as sweep:
        try:
            return _hydra(words, functools.partial(_train, fresh=fresh), sweep)
        finally:
            if sweep.is_multirun:
                with contextlib.suppress(BrokenPipeError):
                    print(f"\n{sweep.closing_table()}", flush=True)
                    folders = [job.path for job in sweep.jobs if job.run]
                    for last in folders[-1:]:  # the last line is a run's folder, here too
                        print(last, flush=True)


Task = Callable[["Job", JobRow], None]


@contextlib.contextmanager
def _new_sweep() -> Iterator[Sweep]:
    with tempfile.TemporaryDirectory(prefix="fitexp-") as folder:
        yield Sweep(Path(folder))


def _hydra(words: list[str], task: Task, sweep: Sweep | None = None) -> int:
    """Run `task` for every job of Hydra's command line -> exit code, the worst of all jobs."""
    from fitexp import compose

    if sweep is None:
        with _new_sweep() as sweep:
            return _hydra(words, task, sweep)
    with sweep.interruptible():
        compose.run(words, functools.partial(_job, task=task, sweep=sweep))
    codes = [job.code for job in sweep.jobs]
    if None in codes:
        raise KeyboardInterrupt
    return next((code for code in (CRASH, MISTAKE, PIPE) if code in codes), 0)


def _job(job: Job, task: Task, sweep: Sweep) -> None:
    """One job: what it raises is said, and noted in its row, and the next one follows."""
    label = None
    if job.sweep is not None:
        swept = [text for text in job.overrides if text.lstrip("+").partition("=")[0] in job.swept]
        label = " ".join(swept)
    with sweep.job(job.number, label, job.total) as row:
        if label is not None:
            _note(sweep.progress(job.number, job.total))
        try:
            task(job, row)
            row.code = 0
        except BrokenPipeError:
            _discard_output()
            row.code = PIPE
        except Exception as error:
            row.code, text = _say(error), " ".join(str(error).split())
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            row.error = f"{kind}{text}" if text else type(error).__name__


def _nothing(job: Job, row: JobRow) -> None: ...


def _train(job: Job, row: JobRow, fresh: bool) -> None:
    """Train and test one composed config, its run is put into `row`.

    A mistake found before training leaves no folder.
    """
    from fitexp import compose, targets
    from fitexp.run import Run, new_folder, provenance, stamped_folder, sweep_name

    _check_vacant(job.folder)
    parent = job.folder.parent if job.folder else job.sweep or Path(OUTPUTS)
    if parent.exists() and not parent.is_dir():
        raise InputError(f"{parent} is a file: run folders lie in a folder of that name")
    compose.check(job.config, job.known)
    compose.check_pair(job.config, job.choices)
    prepared = _prepare(job.config)
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
            row.path = str(known[0])
            _go_on(row, Run(known[0]), fields)
            return
        path, existed = new_folder(parent, name), False
    else:
        path, existed = stamped_folder(parent, job.choices.get("model", "run")), False
    new = _New(path, existed, missing)
    row.path = str(path)
    new.train(job.config, prepared, fields, targets.ANYTHING)  # he has just named them himself


class _New:
    """A folder made for a run, which goes again if a mistake shows before training.

    existed: it was there, empty, before; missing: folders above it that were not.
    """

    def __init__(self, path: Path, existed: bool, missing: Sequence[Path] = ()) -> None:
        from fitexp.run import Run

        self.run, self.existed, self.missing = Run(path), existed, missing

    def train(
        self,
        config: Mapping[str, Any],
        prepared: Prepared,
        fields: Mapping[str, Any],
        allow: Sequence[str] | None,
        report: Callable[[], str] | None = None,
    ) -> None:
        path = self.run.path
        try:
            type(self.run).create(path, config, prepared.spec.to_dict(), fields)
        except BaseException:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if it is empty: it may be another process's by now
            raise
        try:
            _finish(self.run, prepared, allow, report)
        except InputError:
            if not (path / "last.ckpt").exists():  # only building the model showed the mistake
                shutil.rmtree(path, ignore_errors=True)
                if self.existed:
                    path.mkdir()
                for folder in self.missing:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            raise


def _finish(
    run: Run,
    prepared: Prepared | None,
    allow: Sequence[str] | None,
    report: Callable[[], str] | None = None,
) -> None:
    """Train and test a created or interrupted run, print its table, `report`, last its folder."""
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
    if report is not None:
        print(f"\n{report()}\n")
    print(run.path, flush=True)


def _go_on(row: JobRow, run: Run, fields: Mapping[str, Any]) -> None:
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
    row.reused = True
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
    model = job.choices.get("model", "run")
    named = bool(swept) and swept[0].startswith(model)  # experiment=fitrec_attn_short
    return [*([] if named else [model]), *swept, *fixed]


def _prepare(config: Mapping[str, Any]) -> Prepared:
    from fitexp import compose, targets

    for place in ("data", "data.source"):
        compose.check_node(config, place)
    anything = targets.ANYTHING
    prepared: Prepared = targets.build(config["data"], anything).prepare(allow=anything)
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


def _rerun_command(words: list[str]) -> int:
    from fitexp import targets
    from fitexp.run import DAMAGED, FINISHED, RUNNING, new_folder, provenance

    fresh = "--fresh" in words
    run, rest, allow = _run_of("rerun", [word for word in words if word != "--fresh"])
    if rest:
        raise InputError(f"fitexp rerun takes one run: what is '{rest[0]}'?")
    run = runs.named(run)
    manifest = run.manifest
    if run.path.resolve().parent.name == "evaluations" and manifest.get("parent"):
        raise InputError(f"{run.path} is an evaluation: rerun {run.path.resolve().parents[1]}")
    if manifest.get("answers"):
        raise InputError(
            f"{run.path} was tuned on answers: rerun the run it is of, then fitexp ask"
        )
    prepared: Prepared = targets.build(run.config["data"], allow).prepare(allow=allow)
    choices = manifest.get("choices")
    fields = provenance(
        run.config,
        prepared.report,
        command=shlex.join(["fitexp", *sys.argv[1:]]),
        choices=choices if isinstance(choices, dict) else {},
        parent=str(run.path),
    )
    before = [] if fresh else [other for other in runs.reruns(run) if other.status != DAMAGED]
    try:
        if before and before[-1].status == RUNNING:
            pid = before[-1].manifest.get("pid")
            raise InputError(f"{before[-1].path} is being trained by process {pid}")
        if before and before[-1].status == FINISHED:
            known = before[-1].manifest
            same = ("version", "git", "packages", "identity", "data_hash")
            if all(known.get(key) == fields[key] for key in same):
                _note(f"{before[-1].path}: trained before (--fresh trains it once more)")
                print(f"{runs.rerun_report(run, before[-1])}\n")
                print(before[-1].path)
                return 0
        elif before and before[-1].manifest.get("data_hash") == fields["data_hash"]:
            other = before[-1]
            _note(f"{other.path}: {other.status}, goes on from where it stopped")
            _finish(other, prepared, allow, lambda: runs.rerun_report(run, other))
            return 0
        new = _New(new_folder(run.path.parent, runs.rerun_name(run)), existed=False)
        report = lambda: runs.rerun_report(run, new.run)  # noqa: E731
        new.train(run.config, prepared, fields, allow, report)
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _say(error)
    return 0


def _evaluate_command(words: list[str]) -> int:
    run, overrides, allow = _run_of("evaluate", words)
    from fitexp.report.table import closing_table

    tested = _evaluated(run, overrides, allow, again=True)
    print(closing_table(tested))
    print(tested.path)
    return 0


def _evaluated(run: Run, words: Sequence[str], allow: Sequence[str] | None, *, again: bool) -> Run:
    """`worker.evaluate` by the words of a command line."""
    from fitexp import worker

    overrides, chosen = _chosen(words)
    return worker.evaluate(run, overrides, allow, chosen, again=again)[0]


def _chosen(words: Sequence[str]) -> tuple[list[str], dict[str, tuple[str, Any]]]:
    """Keys, and choices of the groups that act in a test: group -> choice and its values."""
    from fitexp import compose

    typed = [word.partition("=") for word in words]
    groups = [parts for parts in typed if parts[0] in compose.OPTIONAL and parts[1]]
    overrides = ["".join(parts) for parts in typed if parts not in groups]
    return overrides, {group: (name, compose.node(group, name)) for group, _, name in groups}


def _act(verb: str, words: list[str]) -> int:
    """A verb that acts on a run by the kind of its data."""
    from fitexp.actions import act
    from fitexp.run import Run

    def run_of(path: str) -> Run:
        run = Run(path)
        run.check()
        if run.status != "finished":
            raise InputError(f"{path} is {run.status}: fitexp {verb} needs a finished run")
        return run

    return act(verb, words, run_of)


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


# runs: ls, diff, board


def _ls_command(words: list[str]) -> int:
    words, flags, values = _options(words, flags=("--json",), values=("--filter", "--sort"))
    if len(words) > 1:
        raise InputError(f"fitexp ls takes one folder: what is '{words[1]}'?")
    if len(values["--sort"]) > 1:
        raise InputError("--sort takes one key")
    folder = _folder(words)
    found, asked = runs.listed(folder, values["--filter"], next(iter(values["--sort"]), None))
    if "--json" in flags:
        print(json.dumps([run.row() for run in found], indent=2))
    elif not found:
        chosen = " for which the filter holds" if values["--filter"] else ""
        _note(f"no runs in {folder}{chosen}")
    else:
        print(runs.runs_table(found, asked))
    return 0


def _folder(words: list[str], needed: bool = False) -> Path:
    """The folder that a command was given, else OUTPUTS, which may be missing unless `needed`."""
    folder = Path(words[0] if words else OUTPUTS)
    if (words or needed) and not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return folder


def _diff_command(words: list[str]) -> int:
    from fitexp.run import Run

    words, flags, _ = _options(words, flags=("--json",))
    if len(words) != 2:
        raise InputError(
            f"fitexp diff takes two run folders, not {len(words)}; fitexp ls lists them"
        )
    old, new = map(Run, words)
    for run in (old, new):
        run.check()
    found = runs.difference(old, new)
    print(json.dumps(found, indent=2) if "--json" in flags else runs.difference_text(found))
    return 0


def _board_command(words: list[str]) -> int:
    """Become TensorBoard."""
    from importlib.util import find_spec

    words, _, values = _options(words, values=("--port",))
    if len(words) > 1:
        raise InputError(f"fitexp board takes one folder: what is '{words[1]}'?")
    folder = _folder(words, needed=True)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    for port in values["--port"][-1:]:
        if not (port.isascii() and port.isdigit() and int(port[:9]) < 2**16):
            raise InputError(f"--port {port}: it takes a whole number, 0 to 65535")
        command += ["--port", port]
    if find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: pip install tensorboard")
    sys.stdout.flush()
    os.execv(sys.executable, command)


# compare


def _compare_command(words: list[str]) -> int:
    options = ("--by", "--metric", "--against", "--format")
    words, _, values = _options(words, values=options)
    if not words:
        raise InputError("fitexp compare needs run folders; fitexp ls lists them")
    form = _format(values["--format"])
    by, metrics = (
        [name.strip() for text in values[option] for name in text.split(",") if name.strip()]
        for option in ("--by", "--metric")
    )
    runs = _named_runs(words)
    from fitexp.report.compare import compare
    from fitexp.report.compare_sheets import document
    from fitexp.report.document import FORMATS

    against = values["--against"][-1] if values["--against"] else None
    comparison, left_out = compare(runs, by=by, metrics=metrics, against=against)
    for line in left_out:
        _note(f"left out: {line}")
    print(FORMATS[form](document(comparison)))
    return 0


def _format(given: Sequence[str]) -> str:
    formats = ("table", "md", "csv", "latex", "json")
    form = given[-1] if given else formats[0]
    if form not in formats:
        raise InputError(f"no format '{form}'{_near(form, formats)} ({', '.join(formats)})")
    return form


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


# reproduce


def _reproduce_command(words: list[str]) -> int:
    from fitexp import compose
    from fitexp.report.paper_table import paper_table

    flags, values = ("--list", "--quick", "--fresh"), ("--seeds", "--format", "--config-dir")
    words, given, typed = _options(words, flags, values)
    form = _format(typed["--format"])
    options = [f"--config-dir={folder}" for folder in typed["--config-dir"][-1:]]
    names = compose.tables(options)
    if "--list" in given:
        tables = [paper_table(name, compose.table(name, options)) for name in names]
        print(runs.table(["table", "rows", "seeds", "title"], [t.listed() for t in tables]))
        return 0
    if not words or "=" in words[0]:
        raise InputError(f"fitexp reproduce needs a table ({', '.join(names)})")
    name, *overrides = words
    if name not in names:
        raise InputError(f"no table '{name}'{_near(name, names)} (there are {', '.join(names)})")
    table = paper_table(name, compose.table(name, options))
    _check_after(table)
    for row in table.evaluated:
        _chosen(row.evaluate)
    quick = "--quick" in given
    seeds = 1 if quick else table.seeds
    for text in typed["--seeds"][-1:]:
        if quick or not (text.isascii() and text.isdigit() and int(text) > 0):
            raise InputError(f"--seeds {text}: a whole number above 0, and not with --quick")
        seeds = int(text)
    overrides = [*table.overrides, *overrides]
    choices = compose.data_choices(table.experiments, overrides, options)
    line = ["-m", *table.multirun(seeds)]
    line += [*(table.quick_overrides(choices) if quick else ()), *overrides, *options]
    with _new_sweep() as sweep:
        try:
            code = _hydra(line, functools.partial(_train_aside, fresh="--fresh" in given), sweep)
        finally:
            print(f"\n{sweep.closing_table()}\n", file=sys.stderr, flush=True)
        jobs = sweep.jobs
    from fitexp.report.document import FOR_PEOPLE, FORMATS, beneath
    from fitexp.report.reproduce import document
    from fitexp.report.reproduce_curves import draw_curves
    from fitexp.run import Run

    trained: dict[str, list[Run]] = {}
    for job in jobs:
        own = trained.setdefault(table.key_of(job.number, seeds), [])
        own.extend([Run(job.path)] if job.path else [])
    failed = [f"{job.label}: {job.error}" for job in jobs if job.error]
    failed += _after(table, [run for own in trained.values() for run in own])
    failed += _evaluations(table, trained)
    code = code or int(bool(failed))
    found = document(table, trained, quick=quick, notes=failed)
    if table.cost is not None and form in FOR_PEOPLE:
        from fitexp.cost import document as cost

        _note(f"measuring what {table.cost} costs")
        found = beneath(found, cost(quick))
    print(FORMATS[form](found))
    if table.sweep is not None:
        picture = Path(OUTPUTS) / "tables" / f"{name}{'_quick' * quick}.png"
        draw_curves(table, found.records, picture)
        _note(f"curves: {picture}")
    return code


def _check_after(table: PaperTable) -> None:
    from fitexp.actions import ACTIONS

    able = [
        v for v, kinds in ACTIONS.items() if any("--evaluate" in a.flags for a in kinds.values())
    ]
    if table.after is not None and table.after not in able:
        raise InputError(
            f"table/{table.name}: after is one of {', '.join(able)}, not {table.after}"
        )


def _after(table: PaperTable, trained: Sequence[Run]) -> list[str]:
    """Have the table's verb add its metrics to finished runs that have none. -> what went wrong.

    It adds all that a run can have at once: a run that has some lacks the others for good (resting
    heart rate is no outcome of a network that reads it).
    """
    wanted = {metric for section in table.sections for metric in section.metrics}
    own = {metric for metric in wanted if metric.startswith(f"test/{table.after}/")}
    failed = []
    for run in {str(run.path): run for run in trained if run.status == "finished"}.values():
        if table.after is None or own & set(run.metrics):
            continue
        try:
            with contextlib.redirect_stdout(sys.stderr):
                _act(table.after, [str(run.path), "--evaluate"])
        except InputError as error:
            failed.append(f"{run.path}: {error}")
    return failed


def _evaluations(table: PaperTable, trained: dict[str, list[Run]]) -> list[str]:
    """Evaluate finished runs as rows say; put what comes into `trained`. -> what went wrong."""
    from fitexp import targets

    failed = []
    for row in table.evaluated:
        own = trained.setdefault(row.key, [])
        for run in trained[row.trained]:
            if run.status != "finished":
                continue
            _note(f"{row.label}: {run.path} {' '.join(row.evaluate)}")
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    own.append(_evaluated(run, row.evaluate, targets.ANYTHING, again=False))
            except Exception as error:
                _say(error)
                failed.append(f"left out: {row.label}: {' '.join(str(error).split())}")
    return failed


def _train_aside(job: Job, row: JobRow, fresh: bool) -> None:
    """`_train`, what it prints on standard error: standard output is the table's."""
    with contextlib.redirect_stdout(sys.stderr):
        _train(job, row, fresh)


# data


def _data_command(words: list[str]) -> int:
    verbs = {"prepare": _data_prepare, "describe": _data_describe}
    if not words:
        raise InputError("fitexp data needs fetch, prepare or describe")
    verb, *rest = words
    if verb == "fetch":
        return _data_fetch(rest)
    if verb not in verbs:
        raise InputError(f"no command 'data {verb}'{_near(verb, DATA_VERBS)}")
    return _hydra(rest, verbs[verb])


def _data_fetch(words: list[str]) -> int:
    from fitexp.data.exercises.fetch import fetch_movielens100k, movielens_folder

    words, _, values = _options(words, values=("--from",))
    known = ", ".join(FETCHED)
    if len(words) != 1:
        raise InputError(f"fitexp data fetch takes the name of one set ({known})")
    if words[0] not in FETCHED:
        raise InputError(f"no set '{words[0]}' to fetch{_near(words[0], FETCHED)} ({known})")
    if len(values["--from"]) > 1:
        raise InputError("--from takes one file")
    source = next(iter(values["--from"]), None)
    if source == "":
        raise InputError("--from needs a file")
    print(fetch_movielens100k(source, movielens_folder()))
    return 0


def _data_prepare(job: Job, row: JobRow) -> None:
    prepared = _prepare(job.only_data)
    from fitexp.report.describe import counts

    print(counts(prepared))


def _data_describe(job: Job, row: JobRow) -> None:
    prepared = _prepare(job.only_data)
    from fitexp.report import plots
    from fitexp.report.table import description

    words, figure = description(prepared)
    print(words)
    page = Path(OUTPUTS) / "describe" / f"{prepared.spec.source}.png"
    plots.save(figure, page)
    print(f"\n{page}")


# shell completion


def _completion(words: list[str]) -> int:
    """`fitexp -sc query=SHELL` as Hydra's completion scripts call it, COMP_LINE being the line."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] + ([""] if line.endswith(" ") else [])
    if words and words[0].startswith("query="):
        verbs = 2 if typed[:1] == ["data"] else 1
        if len(typed) <= verbs:
            _complete(DATA_VERBS if verbs == 2 else HELP, typed)
            return 0
        if typed[:2] == ["data", "fetch"]:
            _complete((*FETCHED, "--from"), typed)
            return 0
        if typed[0] not in ("train", "data"):
            return 0
        rest = [word for word in typed[verbs:] if word not in ("--fresh", "--debug")]
        os.environ["COMP_LINE"] = " ".join([line.split()[0], *rest])
    return _hydra(["--shell-completion", *words], _nothing)


def _complete(known: Iterable[str], typed: Sequence[str]) -> None:
    print("\n".join(name for name in known if name.startswith(typed[-1] if typed else "")))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _note(text: str) -> None:
    print(f"fitexp: {text}", file=sys.stderr, flush=True)


def _discard_output() -> None:
    """Whoever read our output has gone: no traceback for it, nor at Python's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
