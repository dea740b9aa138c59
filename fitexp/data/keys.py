"""What keys of a data config may be: each check raises InputError naming key, value and remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from fitexp.errors import InputError


def is_number(value: object) -> bool:
    """A number; NaN is none, though infinity is one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def is_whole(value: object, low: int) -> bool:
    """A whole number, `low` up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def check_choices(config: object, **choices: Collection[str]) -> None:
    """Each key's value is one of its choices."""
    for key, words in choices.items():
        if (value := getattr(config, key)) not in words:
            raise InputError(f"data.{key}={value}: choose one of {', '.join(words)}")


def check_whole(config: object, *, null: bool = False, **lowest: int) -> None:
    """Each key's value is a whole number, its lowest up; or None, where `null`."""
    for key, low in lowest.items():
        value = getattr(config, key)
        if not is_whole(value, low) and not (null and value is None):
            shown = "null" if value is None else value
            raise InputError(
                f"data.{key}={shown}: it takes a whole number, {low} up{', or null' * null}"
            )


def check_fractions(fractions: Iterable[Any]) -> None:
    """Shares of training, validation and test."""
    shares = list(fractions)
    numbers = len(shares) == 3 and all(map(is_number, shares))
    if not numbers or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"data.fractions={shares}: three shares (train, val, test), 0 or more, that add up to 1"
        )
