"""A catalogue of exercises (free-exercise-db's exercises.json) as item profiles.

Format: https://github.com/yuhonas/free-exercise-db, schema.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitexp.data.exercises.profiles import Columns, multi_hot, one_hot, profile_frame
from fitexp.errors import InputError

LEVELS = {"beginner": 0.0, "intermediate": 1.0, "expert": 2.0}
WORDS = ("force", "mechanic", "equipment", "category")
MUSCLES = {"primaryMuscles": "muscle", "secondaryMuscles": "secondary"}
SEPARATOR = "\n"  # in no name of a muscle

# What training logs (the Strong app's names) call an exercise of the catalogue, where neither the
# words nor the words with the equipment are the same. Only where equipment and posture are clear:
# "Chest Fly" may be done with dumbbells, cables or a machine, so it has no row.
ALIASES = {
    "Bench Press (Barbell)": "Barbell Bench Press - Medium Grip",
    "Bent Over One Arm Row (Dumbbell)": "One-Arm Dumbbell Row",
    "Bicep Curl (Barbell)": "Barbell Curl",
    "Bicep Curl (Cable)": "Standing Biceps Cable Curl",
    "Calf Press on Seated Leg Press": "Calf Press On The Leg Press Machine",
    "Chest Fly (Dumbbell)": "Dumbbell Flyes",
    "Chest Press (Machine)": "Leverage Chest Press",
    "Crunch": "Crunches",
    "Dumbell Kickback": "Tricep Dumbbell Kickback",
    "Hyperextensions": "Hyperextensions (Back Extensions)",
    "Incline Bench Press (Barbell)": "Barbell Incline Bench Press - Medium Grip",
    "Incline Bench Press (Dumbbell)": "Incline Dumbbell Press",
    "Incline Chest Press (Machine)": "Leverage Incline Chest Press",
    "Inverted Row (Bodyweight)": "Inverted Row",
    "Lat Pulldown (Cable)": "Wide-Grip Lat Pulldown",
    "Lat Pulldown (Single Arm)": "One Arm Lat Pulldown",
    "Lateral Raise (Dumbbell)": "Side Lateral Raise",
    "Overhead Press (Barbell)": "Standing Military Press",
    "Overhead Press (Dumbbell)": "Standing Dumbbell Press",
    "Overhead Press (Smith Machine)": "Smith Machine Overhead Shoulder Press",
    "Pec Deck (Machine)": "Butterfly",
    "Pull Up": "Pullups",
    "Pull Up (Band)": "Band Assisted Pull-Up",
    "Push Up": "Pushups",
    "Reverse Curl (Dumbbell)": "Standing Dumbbell Reverse Curl",
    "Reverse Fly (Machine)": "Reverse Machine Flyes",
    "Seated Calf Raise (Plate Loaded)": "Seated Calf Raise",
    "Seated Overhead Press (Dumbbell)": "Seated Dumbbell Press",
    "T Bar Row": "T-Bar Row with Handle",
    "Triceps Pushdown (Cable - Straight Bar)": "Triceps Pushdown",
}


@dataclass(frozen=True)
class Catalogue:
    """profiles: item (the catalogue's name), then columns. categories: name -> expert's category.

    Columns: level (0 beginner, 1 intermediate, 2 expert), force=, mechanic=, equipment=,
    category=, muscle= (primary), secondary= (may be several). The category of an exercise is its
    primary muscle and force: "chest/push".
    """

    profiles: pd.DataFrame
    categories: Mapping[str, str]
    names: Mapping[frozenset[str], str]

    def match(self, name: str) -> str | None:
        """The catalogue's name for an exercise; None where there is none.

        Case, punctuation, plurals and the order of words do not count, and the equipment may be
        added: "Lying Leg Curl (Machine)" is "Lying Leg Curls", done on a machine. There is no
        guessing by likeness.
        """
        words = _words(name)
        return self.names.get(_ALIASES.get(words, words))


def read_catalogue(file: Path) -> Catalogue:
    """Read exercises.json. Raises InputError that names the entry and the field."""
    entries = _entries(file)
    names = pd.Series([entry["name"] for entry in entries], dtype="str")
    level = [LEVELS.get(entry.get("level") or "", np.nan) for entry in entries]
    parts: list[Columns] = [{"level": np.array(level, np.float32)}]
    for field in WORDS:
        values = pd.Series([entry.get(field) for entry in entries], dtype="str")
        parts.append(one_hot(field, values))
    for field, ours in MUSCLES.items():
        lists = pd.Series([SEPARATOR.join(entry.get(field, ())) for entry in entries], dtype="str")
        parts.append(multi_hot(ours, lists, SEPARATOR))
    known: dict[frozenset[str], str] = {}
    for entry in entries:
        known.setdefault(_words(entry["name"]), entry["name"])
    for entry in entries:
        known.setdefault(_words(f"{entry['name']} {entry.get('equipment') or ''}"), entry["name"])
    return Catalogue(
        profiles=profile_frame("item", names, parts, file),
        categories={
            entry["name"]: "/".join(words)
            for entry in entries
            if (words := [*entry.get("primaryMuscles", ()), *filter(None, [entry.get("force")])])
        },
        names=known,
    )


def _words(name: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in re.findall(r"\w+", name.casefold()))


_ALIASES = {_words(theirs): _words(ours) for theirs, ours in ALIASES.items()}


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not a JSON file ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{file}: must be a list of exercises, as free-exercise-db's is")
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        where = f"{file}, exercise {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError(f"{where}, name: missing; each exercise needs one")
        if entry["name"] in seen:
            raise InputError(f"{where}, name: {entry['name']!r} is listed twice; keep one")
        seen.add(entry["name"])
        for field in ("level", *WORDS):
            if not isinstance(entry.get(field), str | None):
                raise InputError(f"{where}, {field}: must be a word or null")
        for field in MUSCLES:
            words = entry.get(field, [])
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise InputError(f"{where}, {field}: must be a list of words")
    return entries
