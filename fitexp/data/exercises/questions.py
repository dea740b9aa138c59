"""What is asked of a model of events: which item follows somebody's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitexp.data import splits
from fitexp.data.prepare import Prepared
from fitexp.data.spec import ExerciseSpec

Float = NDArray[np.float32]
Int = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which item follows n events of a person?

    items (n,): numbers, oldest first; features (n, F), profile (P,): unscaled, NaN missing.
    answer: number of the item that followed, or that an expert gave; 0 where nobody knows.
    """

    items: Int
    features: Float
    profile: Float
    answer: int = 0


def answering(spec: ExerciseSpec) -> int:
    """Number of the fold that answers people: the last one, which leaves nobody out."""
    return spec.folds - 1


def reads(spec: ExerciseSpec) -> int:
    """The most events of a history that a model of these data reads.

    With answers=every the last of T positions answers behind T - 1 events: no more were ever read.
    """
    return spec.window - 1 if spec.answers == "every" else spec.window


def behind(prepared: Prepared, user: int, answer: int = 0) -> Question:
    """What follows the whole recorded history of a user (his number)."""
    begin = np.asarray(prepared.arrays["begin"])
    return _question(prepared, user, int(begin[user + 1]), answer)


def at(prepared: Prepared, event: int) -> Question:
    """What a recorded event was, from those before it."""
    user, item = (int(prepared.arrays[name][event]) for name in ("user", "item"))
    return _question(prepared, user, event, item)


def _question(prepared: Prepared, user: int, end: int, answer: int) -> Question:
    arrays = prepared.arrays
    rows = slice(int(arrays["begin"][user]), end)
    return Question(
        items=np.asarray(arrays["item"][rows]),
        features=np.asarray(arrays["features"][rows]),
        profile=np.asarray(arrays["profile"][user]),
        answer=answer,
    )


def asked(own: Prepared, questions: Sequence[Question], part: str) -> Prepared:
    """Arrays in which each question is a user of its own: his last event is the one asked for.

    own: the run's data, whose scaling holds; part: "train", "val" or "test", in which fold
    `answering` has all questions, in their order, and the others have none.
    """
    spec = own.spec
    cut = [max(0, len(question.items) - reads(spec)) for question in questions]
    length = np.array([len(q.items) - c + 1 for q, c in zip(questions, cut, strict=True)], int)
    begin = np.concatenate([[0], np.cumsum(length)])
    user = np.repeat(np.arange(len(questions)), length)
    step = np.arange(len(user)) - begin[user]
    past = step[:, None] - np.arange(spec.window, 0, -1)
    unknown = np.full((1, len(spec.features)), np.nan, np.float32)
    items = [[*q.items[c:], q.answer] for q, c in zip(questions, cut, strict=True)]
    features = [[q.features[c:], unknown] for q, c in zip(questions, cut, strict=True)]
    kept = ["item_profile", "feature_mean"]
    kept += [f"{of}_{what}" for of in ("feature", "profile") for what in ("center", "scale")]
    parts = np.full((spec.folds, len(user)), splits.OUT, np.int8)
    fold, events = answering(spec), begin[1:] - 1
    parts[fold, events] = {name: number for number, name in splits.NAMES.items()}[part]
    none = np.zeros((0, 2), np.int64)
    arrays = {
        **{name: own.arrays[name] for name in (*kept, "item_id")},
        **dict.fromkeys(splits.NAMES.values(), none),
        part: np.stack([np.full(len(events), fold), events], axis=1),
        "user": user,
        "item": np.concatenate(items).astype(np.int64),
        "step": step,
        "begin": begin,
        "past": np.where(past >= 0, begin[user][:, None] + past, -1),
        "features": np.concatenate([row for pair in features for row in pair]),
        "profile": np.stack([question.profile for question in questions]),
        "part": parts,
        "user_id": np.arange(len(questions)).astype(str),
    }
    return Prepared(spec, arrays, own.report)
