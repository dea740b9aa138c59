"""Verbs that act on a trained run (`fitexp predict RUN ...`), by the kind of its data.

Imports nothing heavy: what an action does is imported when it is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fitexp.errors import InputError
from fitexp.targets import closest, did_you_mean

if TYPE_CHECKING:
    from fitexp.run import Run

ALIASES = {"--athlete": "--user"}  # one person, whatever a field calls them
COMMON = ("--allow",)  # options of every action, each with a value


@dataclass(frozen=True, kw_only=True)
class Action:
    """What a verb does to runs of one kind.

    does: "module:function", called with (run, words, Options). says: what a person learns by it.
    values: options that take a value; flags: options that take none.
    """

    does: str
    says: str = ""
    values: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Options of an action as they were typed: all values of each, flags that were given."""

    values: Mapping[str, Sequence[str]]
    flags: frozenset[str]

    def last(self, name: str) -> str | None:
        found = self.values.get(name) or ()
        return found[-1] if found else None


# verb -> kind of the run's data -> action
ACTIONS: Mapping[str, Mapping[str, Action]] = {
    "ask": {
        "exercises": Action(
            does="fitexp.ask:command",
            says="what to ask an expert",
            values=("--user", "--queue", "--level", "--answers", "--update"),
        ),
    },
    "embed": {
        "windows": Action(
            does="fitexp.embed:command",
            says="what its network makes of people",
            values=("-o", "--pool", "--users"),
            flags=("--windows",),
        ),
    },
    "explain": {
        "workouts": Action(
            does="fitexp.explain:command", says="which inputs matter", values=("-o", "--user")
        ),
    },
    "predict": {
        "workouts": Action(
            does="fitexp.predict:command",
            says="heart rate of a workout",
            values=("-o", "--user", "--sport", "--given"),
        ),
        "windows": Action(
            does="fitexp.forecast:command",
            says="heart rate over time from people's movement",
            values=("-o", "--user", "--every", "--users"),
        ),
    },
    "recommend": {
        "workouts": Action(
            does="fitexp.recommend:command",
            says="workouts for a heart rate",
            values=("-o", "--user", "--target", "--routes", "--speed", "--sport", "--top"),
            flags=("--evaluate", "--long"),
        ),
        "exercises": Action(
            does="fitexp.recommend_exercises:command",
            says="what comes next for somebody",
            values=("-o", "--user", "--history", "--top", "--level"),
        ),
    },
    "replay": {
        "exercises": Action(
            does="fitexp.replay:command",
            says="what asking an expert would gain",
            values=("-o", "--policy", "--update", "--rate"),
            flags=("--search",),
        ),
    },
    "transfer": {
        "windows": Action(
            does="fitexp.transfer_command:command",
            says="what that tells of them",
            values=("-o", "--outcome", "--pool", "--users", "--beside", "--draws"),
            flags=("--evaluate",),
        ),
    },
}


def act(
    verb: str,
    words: Sequence[str],
    run_of: Callable[[str], Run],
    actions: Mapping[str, Mapping[str, Action]] = ACTIONS,
) -> int:
    """Do `fitexp VERB WORDS` -> exit code. The first word that is no option names the run.

    run_of: path -> a run that can be read. Raises InputError for options that no action of the
    verb has, or that are for runs of another kind.
    """
    kinds = actions[verb]
    others, given = _split(words, kinds.values())
    if not others:
        raise InputError(f"fitexp {verb} needs a run folder; fitexp ls lists them")
    run = run_of(others[0])
    kind = str(run.spec.get("kind"))
    if kind not in kinds:
        able = [f"fitexp {v} ({k[kind].says})" for v, k in actions.items() if kind in k]
        raise InputError(
            f"fitexp {verb} acts on runs of kind {' or '.join(kinds)}; {run.path} is of kind {kind}"
            + (f": use {', '.join(able)}" if able else "")
        )
    action = kinds[kind]
    for option in given:
        if option not in (*action.values, *action.flags, *COMMON):
            able = [name for name, other in kinds.items() if option in other.values + other.flags]
            raise InputError(
                f"{option} of fitexp {verb} is for runs of kind {' or '.join(able)}; "
                f"{run.path} is of kind {kind}"
            )
    values = {name: tuple(v for v in found if v is not None) for name, found in given.items()}
    flags = frozenset(name for name in given if name in action.flags)
    module, _, function = action.does.partition(":")
    does: Any = getattr(importlib.import_module(module), function)
    return int(does(run, others[1:], Options(values, flags)))


def _split(words: Sequence[str], actions: Any) -> tuple[list[str], dict[str, list[str | None]]]:
    """Words that are no options; each option with its values. `-o FILE`, `--user=7`."""
    actions = list(actions)
    takes = {*COMMON, *(name for action in actions for name in action.values)}
    flags = {name for action in actions for name in action.flags}
    others: list[str] = []
    given: dict[str, list[str | None]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = ALIASES.get(name, name)
        if name in takes:
            if not equals and not rest:
                raise InputError(f"{name} needs a value")
            given.setdefault(name, []).append(value if equals else rest.pop(0))
        elif name in flags and not equals:
            given.setdefault(name, []).append(None)
        elif word.startswith("-"):
            near = did_you_mean(closest(name, [*takes, *flags, *ALIASES]))
            raise InputError(f"no option '{word}'{near}")
        else:
            others.append(word)
    return others, given
