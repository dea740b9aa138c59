"""`fitexp recommend RUN --user ID`: what comes next, and whether an expert should be asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.active import thresholds
from fitexp.data.exercises.history import COMPUTED, hint, read_history
from fitexp.data.exercises.protocol import Exercises
from fitexp.data.exercises.questions import Question, asked, behind, reads
from fitexp.data.exercises.table import EventTable
from fitexp.data.prepare import Prepared
from fitexp.data.spec import UNKNOWN, ExerciseSpec
from fitexp.errors import InputError
from fitexp.models.counters import NextCounter, SameProfile
from fitexp.run import PREDICTIONS, Run

Float = NDArray[np.float64]
LEVEL = "0.05"
TESTED = {  # data.split -> whose margins the run's test holds
    "leave_one_user_out": "users left out of training",
    "held_out_users": "held-out test users",
    "last_part": "the last events of the users trained on",
    "random": "random events of the users trained on",
}


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The margin below which an expert is asked. words: where it comes from."""

    margin: float
    words: str

    def verdict(self, margin: float) -> str:
        ask = margin < self.margin
        return (
            f"{'yes' if ask else 'no'}, because the margin {margin:.4g} is "
            f"{'' if ask else 'not '}below {self.margin:.4g}\n({self.words})"
        )


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp recommend RUN --user ID [--history FILE] [--top 5] [--level 0.05] [-o DIR]`."""
    from fitexp.report import next_items as report

    if words:
        raise InputError(f"fitexp recommend takes one run: what is '{words[0]}'? (--user ID)")
    spec = ExerciseSpec.from_dict(run.spec)
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    top, user = _whole(options.last("--top") or "5"), options.last("--user")
    threshold = threshold_of(run, options.last("--level"))
    own = worker.own_data(run, allow)
    question, notes = _question(run, own, user, options.last("--history"), allow)
    for note in notes:
        print(f"fitexp: {note}", file=sys.stderr)
    (probability,) = probabilities(run, own, [question], allow)
    out = Path(options.last("-o") or Path("outputs") / "recommendations" / run.path.name)
    report.write(out, spec, probability)
    past, events = last_items(spec, question), len(question.items)
    print(report.summary(spec, user or UNKNOWN, past, events, probability, top, threshold))
    print(out)
    return 0


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"--top {text}: a whole number above 0")
    return int(text)


def threshold_of(run: Run, level: str | None) -> Threshold:
    """The `level` quantile of the margins of a run's test."""
    text = LEVEL if level is None else level
    try:
        share = float(text)
    except ValueError as error:
        raise InputError(f"--level {text}: a share between 0 and 1, as --level 0.05") from error
    if not 0 < share < 1:
        raise InputError(f"--level {text}: a share between 0 and 1, as --level 0.05")
    for name in ("adapt", "expert"):
        if run.config.get(name):
            raise InputError(
                f"{run.path} was tested with networks of each new user's own ({name}): their "
                "margins tell nothing of the model that answers here; use a run without it"
            )
    margins = pd.read_parquet(run.file(PREDICTIONS), columns=["margin"])["margin"]
    return Threshold(
        margin=thresholds.empirical(margins, share),
        words=f"empirical {100 * share:g} % quantile of {len(margins):,} margins on "
        f"{TESTED[run.config['data']['split']]}",
    )


def _question(
    run: Run, own: Prepared, user: str | None, history: str | None, allow: Sequence[str]
) -> tuple[Question, list[str]]:
    """What is asked about the user, and what to know of it."""
    spec: ExerciseSpec = own.spec
    users = np.asarray(own.arrays["user_id"]).tolist()
    known = user in users
    if history is None and not known:
        if user is None:
            raise InputError("fitexp recommend needs --user ID, or --history FILE of a new person")
        columns = ", ".join(["item", "time", *(n for n in spec.features if n not in COMPUTED)])
        raise InputError(
            f"{unknown_user(user, users)}; --history FILE (CSV: {columns}) says what a new user did"
        )
    notes = []
    if history is None:
        question = behind(own, users.index(user))
    else:
        profile = np.full(len(spec.profile), np.nan, np.float32)
        if known:
            profile = np.asarray(own.arrays["profile"][users.index(user)])
            notes.append(f"the history of {user} is that of {history}, not the recorded one")
        elif spec.profile:
            who = f"the data do not know user {user}" if user else "no --user"
            columns = ", ".join(spec.profile[:4]) + (", ..." if len(spec.profile) > 4 else "")
            notes.append(f"{who}: the profile ({columns}) is taken as the training mean")
        protocol: Exercises = targets.build(run.config["data"], allow)
        found, more = read_history(Path(history), protocol, table_of(run, allow), profile)
        question, notes = found, notes + more
    least = int(run.config["data"]["min_past"])
    if len(question.items) < least:
        past = len(question.items)
        notes.append(f"{past} past events: the run was trained behind {least} or more")
    return question, notes


def unknown_user(user: str, users: Sequence[str]) -> str:
    """Words for a user that the data have not."""
    some = f" (they have {', '.join(users[:3])}, ...)"
    return f"the data have no user {user}{hint(user, users) or some}"


def table_of(run: Run, allow: Sequence[str]) -> EventTable:
    """The events that a run was trained on, as recorded. Raises InputError if they are gone."""
    data = run.config["data"]
    table: EventTable = targets.build(data["source"], allow, path=data["path"])
    return table


def probabilities(
    run: Run, own: Prepared, questions: Sequence[Question], allow: Sequence[str]
) -> Float:
    """(M, N) of every item, by the model that answers people.

    Under task.mask_seen no item of a question's whole history, also of events before those that
    the model reads. Raises InputError where it holds all items.
    """
    model = targets.locate(run.config["model"][targets.TARGET], allow)
    if model is SameProfile:
        raise InputError(f"{run.path}: SameProfile shows a leak, it answers nobody; choose a model")
    predicted = worker.predict_run(run, asked(own, questions, "test"), "test", allow)
    order = np.argsort(np.asarray(predicted["rows"])[:, 1])
    found: Float = np.asarray(predicted["probability"], np.float64)[order]
    if not run.config["task"].get("mask_seen") or model is NextCounter:
        return found
    for row, question in zip(found, questions, strict=True):
        row[question.items] = 0.0
    left = found.sum(axis=1, keepdims=True)
    if not (left > 0).all():
        raise InputError("somebody has had all items: none is left to come (task.mask_seen=true)")
    return np.asarray(found / left)


def margin_of(probability: Float) -> Float:
    """The highest probability less the second. Shape: (..., N) -> (...)."""
    best = np.sort(probability, axis=-1)
    found: Float = best[..., -1] - best[..., -2]
    return found


def last_items(spec: ExerciseSpec, question: Question, most: int = 3) -> list[str]:
    """Names of the last events that the model reads."""
    read = min(most, reads(spec), len(question.items))
    return [spec.items[item] for item in question.items[len(question.items) - read :]]
