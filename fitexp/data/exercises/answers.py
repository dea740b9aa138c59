"""An expert's answers in a CSV, and the log that keeps them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fitexp.data.exercises.history import hint, unknown_item
from fitexp.data.exercises.text_tables import read_commas, require
from fitexp.errors import InputError

LOG = "answers.csv"  # in a run folder
COLUMNS = ("question", "user", "item", "answered")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What should come next for a user. question: its id; answered: when it was taken."""

    question: str
    user: str
    item: str
    answered: str = ""


@dataclass(kw_only=True)
class Read:
    """What a file of answers holds.

    new: not in the log; again: answers that the log holds just so; unanswered: rows without an
    item; mistakes: one line each.
    """

    new: list[Answer] = field(default_factory=list)
    again: int = 0
    unanswered: int = 0
    mistakes: list[str] = field(default_factory=list)


def read_answers(
    file: Path, questions: Mapping[str, str], items: Sequence[str], log: Sequence[Answer]
) -> Read:
    """Answers of a CSV with the columns question or user, and item; all mistakes at once.

    questions: user -> id of the question about him. A row whose item is empty is not answered.
    """
    frame = read_commas(file)
    require(frame, file, "item")
    if "question" not in frame.columns:
        require(frame, file, "user")
    of_user = {question: user for user, question in questions.items()}
    known, taken = {answer.question: answer for answer in log}, dict[str, int]()
    found = Read()
    for line, row in frame.iterrows():
        cells = {str(k): v.strip() for k, v in row.items() if isinstance(v, str) and v.strip()}
        if "item" not in cells:
            found.unanswered += 1
            continue
        question, wrong = _question(cells, questions, of_user)
        if cells["item"] not in items:
            wrong.append(f"item: {unknown_item(cells['item'], list(items))}")
        if question in taken:
            wrong.append(f"{question} is answered twice, first in line {taken[question]}; keep one")
        elif question in known and known[question].item != cells["item"]:
            had = known[question].item
            wrong.append(f"{question} was answered before, with {had!r}; leave it out")
        if question:
            taken.setdefault(question, int(str(line)))
        found.mistakes += [f"{file}, line {line}, {what}" for what in wrong]
        if not wrong and question in known:
            found.again += 1
        elif not wrong:
            found.new.append(Answer(question=question, user=of_user[question], item=cells["item"]))
    return found


def _question(
    cells: Mapping[str, str], questions: Mapping[str, str], of_user: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Id of the question that a row answers, "" for none; what is wrong with it."""
    question, user = cells.get("question"), cells.get("user")
    if question is None and user is None:
        return "", ["question: empty; say which question or which user"]
    if question is not None and question not in of_user:
        return "", [f"question: no question {question!r}{hint(question, of_user)}"]
    if user is not None and user not in questions:
        return "", [f"user: the data have no user {user!r}{hint(user, questions)}"]
    if question is None:
        return questions[str(user)], []
    if user is not None and of_user[question] != user:
        return "", [f"user: question {question} is about {of_user[question]}, not {user}"]
    return question, []


def read_log(folder: Path, questions: Mapping[str, str], items: Sequence[str]) -> list[Answer]:
    """All answers that a run has taken, oldest first. Raises InputError for a damaged log."""
    file = folder / LOG
    if not file.is_file():
        return []
    frame = read_commas(file)
    if tuple(frame.columns) != COLUMNS:
        raise InputError(f"{file}, line 1: the log has the columns {', '.join(COLUMNS)}")
    found = read_answers(file, questions, items, [])
    for mistake in found.mistakes[:1]:
        raise InputError(mistake)
    return [
        Answer(**{str(name): str(value) for name, value in row.items()})
        for row in frame.to_dict("records")
    ]


def log_text(answers: Sequence[Answer]) -> str:
    """The log as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([getattr(answer, name) for name in COLUMNS] for answer in answers)
    return text.getvalue()
