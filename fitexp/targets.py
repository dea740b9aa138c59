"""Objects that a config names by `_target_`: which may be built, and with which keys.

Imports nothing heavy; what a target needs is imported when it is located.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitexp.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TARGET = "_target_"
ENTRY_POINTS = "fitexp.configs"  # packages add configs: NAME = "their.package.of.yaml"
DEFAULT_ALLOW = ("fitexp.", "torch.optim.", "torch.nn.")
ANYTHING = ("",)  # for a config that the user has just composed himself
# Parts of fitexp that act on files and processes: never built for a config of unknown origin.
NEVER = tuple(
    f"fitexp.{name}"
    for name in (
        "actions",
        "ask",
        "checkpoints",
        "cli",
        "compose",
        "data.prepare",
        "embed",
        "explain",
        "fine_tuning",
        "predict",
        "recommend",
        "recommend_exercises",
        "report",
        "retrieval",
        "run",
        "runs",
        "sweep",
        "targets",
        "transfer_command",
        "worker",
    )
)

# Values whose type in YAML says nothing about the types they may have; values that may be null.
ANY_TYPE = frozenset({"accelerator.devices"})
NULLABLE = frozenset(
    {
        "checkpoint.every_minutes",
        "checkpoint.every_steps",
        "data.max_steps",
        "data.own_workouts",
        "data.path",
        "data.folds",
        "data.series",
        "data.stride",
        "data.train_max_absent",
        "data.train_stride",
        "data.window",
        "early_stopping.patience",
        "trainer.gradient_clip_val",
        "trainer.max_epochs",
    }
)

_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


def config_packages() -> list[EntryPoint]:
    """What installed packages say in the group ENTRY_POINTS, by name."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value))


def allowed() -> tuple[str, ...]:
    """DEFAULT_ALLOW, installed packages that add configs, and what FITEXP_ALLOW adds.

    Of an entry point `mine = "mylab.conf"` all of `mylab.` may be built: whoever installed the
    package trusts it as he trusts fitexp. FITEXP_ALLOW: prefixes or whole names, between commas.
    """
    packages = dict.fromkeys(f"{entry.value.partition('.')[0]}." for entry in config_packages())
    added = os.environ.get("FITEXP_ALLOW", "").split(",")
    named = (prefix.strip() for prefix in added if prefix.strip())
    return (*DEFAULT_ALLOW, *packages, *named)


def locate(dotted: str, allow: Sequence[str] | None = None) -> Callable[..., Any]:
    """The class or function called `dotted`: its module is imported, then one attribute is read.

    allow: prefixes ("fitexp.models." or "fitexp.models") or whole names; None is `allowed()`.
    The object must be defined under an allowed prefix as well, so that what a module has merely
    imported (`fitexp.cli.os`) is out of reach. Raises InputError.
    """
    prefixes = allowed() if allow is None else tuple(allow)
    if not isinstance(dotted, str) or not _DOTTED.fullmatch(dotted):
        raise InputError(f"{TARGET}: {dotted!r} is not the dotted name of a class or function")
    module_name, _, name = dotted.rpartition(".")
    if not _permits(prefixes, dotted):
        raise InputError(
            f"{TARGET} {dotted} is outside what may be built ({', '.join(prefixes)}); "
            f"if you trust it, allow it: --allow {module_name.partition('.')[0]}."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(f"{TARGET} {dotted}: there is no module {error.name}") from error
        raise InputError(f"{TARGET} {dotted} needs {error.name}: it is not installed") from error
    found = getattr(module, name, None)
    if found is None:
        near = closest(name, [n for n, o in vars(module).items() if callable(o)])
        raise InputError(f"{TARGET} {dotted}: no {name} in {module_name}{did_you_mean(near)}")
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        raise InputError(f"{TARGET} {dotted} is neither a class nor a function")
    home = f"{getattr(found, '__module__', None)}.{name}"
    if dotted not in prefixes and not _permits(prefixes, home):
        raise InputError(f"{TARGET} {dotted} is defined in {home}, outside what may be built")
    result: Callable[..., Any] = found
    return result


def _permits(prefixes: Sequence[str], dotted: str) -> bool:
    if any(dotted == prefix or prefix == "" for prefix in prefixes):
        return True
    if any(dotted.startswith(f"{module}.") for module in NEVER):
        return False
    return any(dotted.startswith(prefix.rstrip(".") + ".") for prefix in prefixes)


def build(node: Mapping[str, Any], allow: Sequence[str] | None = None, **injected: Any) -> Any:
    """Call the node's target with its keys and `injected`. Keys are checked first."""
    return partial(node, allow, **injected)()


def partial(
    node: Mapping[str, Any],
    allow: Sequence[str] | None = None,
    later: Iterable[str] = (),
    **injected: Any,
) -> functools.partial[Any]:
    """The node's target with its keys and `injected` bound; `later` are given when it is called.

    A loss: `partial(config["loss"], later=("prediction", "target"))`; an optimizer:
    `partial(config["optimizer"], later=("params",))`.
    """
    check_keys(node, injected=(*injected, *later), allow=allow)
    found = locate(node[TARGET], allow)
    return functools.partial(found, **{k: v for k, v in node.items() if k != TARGET}, **injected)


def check_keys(
    node: Mapping[str, Any],
    injected: Iterable[str] = (),
    *,
    allow: Sequence[str] | None = None,
    where: str = "",
) -> None:
    """Raise InputError unless the node's keys are what its target takes, `injected` aside.

    The message names the closest key. where: the node's place in the config ("model").
    """
    if not isinstance(node, Mapping) or TARGET not in node:
        raise InputError(f"{where or 'config'}: a {TARGET} is missing")
    dotted = node[TARGET]
    takes = parameters(locate(dotted, allow))
    if takes is None:
        return
    place = f"{where}." if where else ""
    keys = [str(key) for key in node if key != TARGET]
    given = set(injected)
    for key in keys:
        if key in given:
            raise InputError(f"{place}{key} is given by fitexp and cannot be configured")
        if key not in takes:
            free = [name for name in takes if name not in given]
            near = closest(key, free)
            hint = did_you_mean(near and place + near) or f" (it takes {', '.join(free)})"
            raise InputError(f"no key '{place}{key}': {dotted} takes none{hint}")
    lacking = [n for n, needed in takes.items() if needed and n not in given and n not in keys]
    if lacking:
        raise InputError(f"{place}{lacking[0]} is missing: {dotted} needs it")


def parameters(found: Callable[..., Any]) -> dict[str, bool] | None:
    """Names that a callable takes by keyword -> whether it needs them; None if it takes any."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    takes = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            return None
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            takes[name] = parameter.default is parameter.empty
    return takes


def closest(word: str, known: Iterable[str]) -> str | None:
    """The most similar known word, None if none is near. Dotted keys match by their last part."""

    def near(a: str, b: str) -> float:
        return difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()

    def score(other: str) -> float:
        last = near(word.rpartition(".")[2], other.rpartition(".")[2])
        return max(near(word, other), 0.9 * last + 0.1 * near(word, other))

    best = max(known, key=score, default=None)
    return best if best is not None and score(best) >= 0.6 else None


def did_you_mean(near: str | None) -> str:
    return f"; did you mean {near}?" if near else ""


def check_value(key: str, value: Any, default: Any) -> None:
    """Refuse a value whose type cannot stand for that of the YAML files' value."""
    if default is None or key in ANY_TYPE or (value is None and key in NULLABLE):
        return
    if isinstance(value, str) and "${" in value:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, Mapping):
        fits, wanted = isinstance(value, Mapping), f"keys, as {key}.{some_key(default)}=..."
    elif isinstance(default, list):
        fits, wanted = isinstance(value, list), f"a list, as {key}=[{_some_items(default)}]"
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = number and isinstance(value, int), f"a whole number, as {key}={default}"
    elif isinstance(default, float):
        fits, wanted = number, f"a number, as {key}={default}"
    else:
        fits, wanted = number or isinstance(value, str), f"a word, as {key}={default}"
    if not fits:
        raise InputError(f"{key}={'null' if value is None else value}: it takes {wanted}")


def some_key(node: Mapping[Any, Any]) -> str:
    return str(next((k for k in node if k != TARGET), "KEY"))


def _some_items(items: Sequence[Any]) -> str:
    return ",".join(str(item) for item in items[:3]) or "..."
