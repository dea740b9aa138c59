"""Verbs that act on a run go by the kind of its data."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from fitexp.actions import ACTIONS, Action, Options, act
from fitexp.errors import InputError

CALLS: list[tuple[Any, list[str], Options]] = []


def does(run: Any, words: Sequence[str], options: Options) -> int:
    CALLS.append((run, list(words), options))
    return 0


HERE = f"{__name__}:does"
VERBS = {
    "sing": {
        "windows": Action(does=HERE, says="a song"),
        "rides": Action(does=HERE, says="a tune"),
    },
    "tell": {
        "workouts": Action(does=HERE, values=("--user", "--given"), flags=("--short",)),
        "windows": Action(does=HERE, values=("--user", "--hour")),
    },
}


def run_of(path: str) -> Any:
    return SimpleNamespace(path=path, spec={"kind": path.partition("/")[0]})


def tell(words: str) -> tuple[Any, list[str], Options]:
    assert act("tell", words.split(), run_of, VERBS) == 0
    return CALLS.pop()


def test_the_kind_of_the_run_chooses_the_action() -> None:
    run, words, options = tell("--given 10min workouts/a x --user=7 y --short --allow mine.")
    assert run.path == "workouts/a"
    assert words == ["x", "y"]
    assert options.last("--user") == "7"
    assert options.values == {
        "--given": ("10min",),
        "--user": ("7",),
        "--short": (),
        "--allow": ("mine.",),
    }
    assert options.flags == {"--short"}
    assert tell("windows/a --hour 3")[2].last("--hour") == "3"
    assert tell("windows/a")[2].last("--hour") is None


@pytest.mark.parametrize("kind", ["workouts", "windows"])
def test_athlete_is_another_word_for_user(kind: str) -> None:
    assert tell(f"{kind}/a --athlete 7")[2].last("--user") == "7"
    assert tell(f"{kind}/a --athlete=7 --user 8")[2].values["--user"] == ("7", "8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "windows/a --given 1",
            "--given of fitexp tell is for runs of kind workouts; wind",
        ),
        ("workouts/a --hour=1", "--hour of fitexp tell is for runs of kind windows; workouts/a is"),
        ("exercises/a", "acts on runs of kind workouts or windows; exercises/a is of kind exerc"),
        (
            "rides/a",
            "runs of kind workouts or windows; rides/a is of kind rides: use fitexp sing (a tune)",
        ),
        ("workouts/a --usr 1", "no option '--usr'; did you mean --user?"),
        ("workouts/a --short=1", "no option '--short=1'"),
        ("workouts/a --user", "--user needs a value"),
        ("--user 1", "fitexp tell needs a run folder"),
    ],
)
def test_options_of_another_kind_and_mistakes(words: str, said: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        act("tell", words.split(), run_of, VERBS)
    assert said in str(error.value)
    assert not CALLS


def test_every_action_can_be_imported_and_has_a_user() -> None:
    """A replay goes over all left-out users, a transfer and a table of embeddings over all."""
    import importlib

    for verb, kinds in ACTIONS.items():
        for action in kinds.values():
            module, _, function = action.does.partition(":")
            assert callable(getattr(importlib.import_module(module), function)), verb
            assert ("--user" in action.values) == (verb not in ("embed", "replay", "transfer"))
