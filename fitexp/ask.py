"""`fitexp ask RUN`: questions that need an expert, and what his answers make of the run.

Answers go to RUN/answers.csv before anything is done with them; RUN/answered/N is the run tuned on
all of them. Whatever is interrupted after that is done again from the log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.data.exercises.answers import LOG, Answer, log_text, read_answers, read_log
from fitexp.data.exercises.questions import Question, behind
from fitexp.data.prepare import Prepared, digest
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.fine_tuning import BESIDE, RATE, STEPS, UPDATES, check_network, fine_tuned
from fitexp.recommend_exercises import (
    last_items,
    margin_of,
    probabilities,
    threshold_of,
    unknown_user,
)
from fitexp.report.baselines import BASELINES
from fitexp.report.table import training_words
from fitexp.run import (
    BEST,
    CREATED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    Run,
    now,
    provenance,
    write_bytes,
    write_text,
)

ANSWERED = "answered"  # folder in a run with the runs that were tuned on its answers


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp ask RUN --queue FILE [--level 0.05]` or `fitexp ask RUN --answers FILE`."""
    if words:
        raise InputError(f"fitexp ask takes one run: what is '{words[0]}'? (--answers FILE)")
    queue, answers = options.last("--queue"), options.last("--answers")
    if queue is not None and answers is not None:
        raise InputError("--queue writes questions, --answers reads answers: one at a time")
    for name in ("--level", "--user") if queue is None else ("--update",):
        if options.last(name) is not None:
            raise InputError(f"{name} goes with {'--queue' if queue is None else '--answers'}")
    ExerciseSpec.from_dict(run.spec)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    own = worker.own_data(run, allow)
    with only_one(run):
        log = read_log(run.path, question_ids(own), own.spec.items)
        if queue is not None:
            return write_queue(run, own, log, Path(queue), options, allow)
        update = options.last("--update") or UPDATES[0]
        if update not in UPDATES:
            raise InputError(f"--update {update}: it is one of {', '.join(UPDATES)}")
        check_network(run, allow)
        if answers is not None:
            log = taken(run, own, log, Path(answers))
        return tune(run, own, log, update, allow)


@contextlib.contextmanager
def only_one(run: Run) -> Iterator[None]:
    """Wait until no other `fitexp ask` works on the run (where the system has flock)."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder = os.open(run.path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # given back however the process ends
        yield
    finally:
        os.close(folder)


def question_ids(own: Prepared) -> dict[str, str]:
    """User -> id of the question what follows his recorded history: USER:STEP, as a unit_id."""
    users, length = own.arrays["user_id"].tolist(), np.diff(own.arrays["begin"]).tolist()
    found: dict[str, str] = {}
    for user, steps in zip(users, length, strict=True):
        found.setdefault(user, f"{user}:{steps}")  # copies of his history stand behind it
    return found


# Questions


def write_queue(
    run: Run,
    own: Prepared,
    log: Sequence[Answer],
    file: Path,
    options: Options,
    allow: Sequence[str],
) -> int:
    """A CSV of the questions whose margin is below the threshold, the closest first."""
    from fitexp.report import next_items as report

    if file.exists():
        raise InputError(f"{file} is there and may hold answers: give another name")
    threshold = threshold_of(run, options.last("--level"))
    users = own.arrays["user_id"].tolist()
    ids = question_ids(own)
    wanted = list(dict.fromkeys(options.values.get("--user") or ids))
    for user in wanted:
        if user not in ids:
            raise InputError(unknown_user(user, users))
    answered = {answer.question for answer in log}
    asking = [user for user in ids if user in wanted and ids[user] not in answered]
    questions = [behind(own, users.index(user)) for user in asking]
    found = probabilities(run, own, questions, allow) if questions else np.zeros((0, 2))
    margins = margin_of(found)
    below = np.flatnonzero(margins < threshold.margin)
    below = below[np.argsort(margins[below], kind="stable")]
    rows = [
        report.question_row(
            own.spec, ids[asking[q]], asking[q], last_items(own.spec, questions[q]), found[q]
        )
        for q in below.tolist()
    ]
    report.write_questions(file, rows)
    mark = "   MODEL TRAINED ON SIMULATED DATA" if own.spec.simulated else ""
    share = f"{100 * len(below) / len(asking):.1f} %" if asking else "none"
    print(f"{len(below):,} of {len(asking):,} questions need an expert ({share}){mark}")
    print(f"margin below {threshold.margin:.4g} ({threshold.words})")
    print("these events come after all that is recorded: the share may differ from the level")
    if len(asking) < len(wanted):
        print(f"left out, answered before: {len(wanted) - len(asking):,} (in {run.file(LOG)})")
    print("write each answer into the column item; fitexp ask RUN --answers FILE takes them")
    print(file)
    return 0


# Answers


def taken(run: Run, own: Prepared, log: list[Answer], file: Path) -> list[Answer]:
    """The log with the answers of a file, written to the disk. Raises InputError for any mistake.

    An answer that the log holds just so is not taken again: an interrupted command may be repeated.
    """
    found = read_answers(file, question_ids(own), own.spec.items, log)
    if found.mistakes:
        for mistake in found.mistakes:
            print(f"fitexp: {mistake}", file=sys.stderr)
        number = len(found.mistakes)
        raise InputError(f"{file}: {number} mistake{'s' * (number > 1)}; no answer was taken")
    if found.unanswered:
        print(f"fitexp: {file}: {found.unanswered:,} rows without an item", file=sys.stderr)
    if found.again:
        print(f"fitexp: {found.again:,} answers are in {run.file(LOG)} already", file=sys.stderr)
    time = now()
    log = [*log, *(dataclasses.replace(answer, answered=time) for answer in found.new)]
    if found.new:
        write_text(run.file(LOG), log_text(log))
        words = f"{len(found.new):,} answers are kept in {run.file(LOG)}"
        print(f"fitexp: {words}; tuning now", file=sys.stderr, flush=True)
    return log


def tune(run: Run, own: Prepared, log: Sequence[Answer], update: str, allow: Sequence[str]) -> int:
    """Write RUN/answered/N, the run tuned on the answers of its log, unless it is there."""
    known = int(run.manifest.get("answers") or 0)  # those its own weights were tuned on
    if not log:
        raise InputError(f"{run.path} has no answers yet: fitexp ask RUN --queue FILE, --answers")
    if len(log) == known and update != str(run.manifest.get("update")):
        raise InputError(
            f"{run.path} was tuned by {run.manifest.get('update')} on all {known:,} answers: "
            f"for --update {update} ask the run it came from, {run.manifest.get('parent')}"
        )
    if len(log) == known:
        print(f"nothing new: {run.path} was tuned on all {known:,} answers")
        print(run.path)
        return 0
    for child in reversed(children(run)):
        made = child.manifest
        if (made.get("answers"), made.get("update")) == (len(log), update):
            print(f"nothing new: {child.path} was tuned on all {len(log):,} answers ({update})")
            print(child.path)
            return 0
    users = own.arrays["user_id"].tolist()
    answered = [
        behind(own, users.index(answer.user), own.spec.items.index(answer.item))
        for answer in log[known:]
    ]
    child = tuned_run(run, own, log, answered, update, allow)
    print(_summary(run, own, child, answered, allow))
    print(child.path)
    return 0


def children(run: Run) -> list[Run]:
    """Finished runs in RUN/answered, the oldest first; what was cut short is removed."""
    paths = [path for path in (run.path / ANSWERED).glob("*") if path.name.isdigit()]
    found = [Run(path) for path in sorted(paths, key=lambda path: int(path.name))]
    for child in found:
        if child.status in (CREATED, FAILED, INTERRUPTED):  # it is made again from the log
            shutil.rmtree(child.path)
    return [child for child in found if child.status == FINISHED]


def tuned_run(
    run: Run,
    own: Prepared,
    log: Sequence[Answer],
    answered: Sequence[Question],
    update: str,
    allow: Sequence[str],
) -> Run:
    """A run of its own: the weights after the answers, their log, and its test."""
    checkpoint, tuned = fine_tuned(run, own, answered, update, allow)
    fields = provenance(
        run.config,
        own.report,
        command=shlex.join(["fitexp", *sys.argv[1:]]),
        choices=run.manifest.get("choices") or {},
        parent=str(run.path),
    )
    fields["identity"] = digest(
        run.manifest.get("identity"), update, [(a.question, a.item) for a in log]
    )
    before = run.manifest.get("training") or training_words(run.config)
    steps = f"{STEPS} steps of Adam({RATE:g})"
    fields["training"] = (
        f"{before}; then {steps} on {len(answered):,} answers of an expert beside {BESIDE} rows"
    )
    fields |= {"answers": len(log), "update": update, "tuned": tuned}
    fields["tested"] = _tested(run, own, log)
    taken = [int(path.name) for path in (run.path / ANSWERED).glob("*") if path.name.isdigit()]
    path = run.path / ANSWERED / str(max(taken, default=0) + 1)
    child = Run.create(path, run.config, run.spec, fields)
    with child.working():
        packed = io.BytesIO()
        torch.save(checkpoint, packed)
        write_bytes(child.file(BEST), packed.getvalue())
        write_text(child.file(LOG), log_text(log))
        if run.file(BASELINES).is_file():
            shutil.copyfile(run.file(BASELINES), child.file(BASELINES))
        worker.test(child, own, allow)
    return child


def _tested(run: Run, own: Prepared, log: Sequence[Answer]) -> str:
    """What the test figures of a tuned run are of."""
    if run.config["data"]["split"] == "leave_one_user_out":
        return "by the models that leave users out, which answers do not touch: as the parent's"
    users = np.asarray(own.arrays["user"])[np.asarray(own.arrays["test"])[:, 1]]
    tested = set(np.asarray(own.arrays["user_id"])[np.unique(users)].tolist())
    number = sum(answer.user in tested for answer in log)
    return f"by the tuned model; {number:,} of {len(log):,} answers are about users of the test"


def _summary(
    run: Run, own: Prepared, child: Run, answered: Sequence[Question], allow: Sequence[str]
) -> str:
    items = [question.answer for question in answered]
    before, after = (
        probabilities(which, own, answered, allow)[np.arange(len(items)), items].mean()
        for which in (run, child)
    )
    made = child.manifest
    steps = f"{STEPS} steps of Adam({RATE:g})"
    old, new = run.metrics, child.metrics
    figures = f"top-1 {old['test/top1']:.1f} % before, {new['test/top1']:.1f} % after"
    if all(new.get(name) == value for name, value in old.items()):
        figures = "the same to the last digit"
    mark = "   MODEL TRAINED ON SIMULATED DATA" if own.spec.simulated else ""
    return "\n".join(
        [
            f"tuned on {len(answered):,} answers beside {BESIDE} training rows, {steps}{mark}",
            f"weights: {made['update']} ({len(made['tuned'])} tensors, named in manifest.json)",
            f"mean probability of the answers: {before:.3f} before, {after:.3f} after",
            f"tested {made['tested']}",
            f"test figures of parent and tuned run: {figures}",
        ]
    )
