"""The search for an update rule that gains: settings to try, and what a search found.

A rule's setting is chosen by its gain on even-numbered users and reported on the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fitexp.active.replay import Replayed
from fitexp.active.updates import (
    BIAS,
    BUFFER,
    LAST_LAYER,
    PROFILE,
    Alike,
    Count,
    Steps,
    Update,
)

_FINE = [*itertools.product((0.0003, 0.001, 0.003, 0.01), (2, 8), (2 / 32, 0.5))]


def _fine(rule: Steps) -> list[Update]:
    return [replace(rule, lr=lr, steps=n, share=share) for lr, n, share in _FINE]


def _own(rule: Steps, *rates: float) -> list[Update]:
    tried = itertools.product(rates, (1, 4), (False, True))
    return [replace(rule, lr=lr, steps=n, memory=memory) for lr, n, memory in tried]


SEARCHED: Mapping[str, Sequence[Update]] = {
    "last_layer": _fine(LAST_LAYER),
    "all": _fine(replace(LAST_LAYER, moves="all")),
    "buffer": _fine(BUFFER),
    "bias": _own(BIAS, 0.1, 0.3, 1.0),
    "profile": _own(PROFILE, 0.03, 0.1, 0.3),
    "counter": [Count(order=k, prior=a) for k in range(4) for a in (0.3, 1.0, 3.0, 10.0)],
    "alike": [Alike(order=k, prior=a) for k in (1, 2, 3) for a in (0.03, 0.1, 0.3, 1.0, 3.0)],
}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A rule at a policy and rate, with the setting that gained most on even users.

    first: the same users without learning; control: the rule without answers, where it also takes
    training windows.
    """

    policy: str
    update: str
    rate: float | None
    rule: Update
    result: Replayed
    first: Replayed
    control: Replayed | None

    @property
    def setting(self) -> dict[str, object]:
        """What the settings of the rule differ in, as it was chosen."""
        settings = [vars(rule) for rule in SEARCHED[self.update]]
        varied = [name for name in settings[0] if len({str(s[name]) for s in settings}) > 1]
        return {name: vars(self.rule)[name] for name in varied}
