"""An expert in the test of a run: a policy says when he is asked, an update what is learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fitexp import targets
from fitexp.active import thresholds
from fitexp.active.replay import POLICIES, RATED, Replayed
from fitexp.active.study import Study
from fitexp.active.updates import UPDATES
from fitexp.errors import InputError

Predictions = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Consulted:
    """Replay the left-out users' events (`active.replay`) and ask an expert about some of them.

    policy: one of `replay.POLICIES`; rate: the share of events that a policy aims at, None where
    it aims at none; update: one of `updates.UPDATES`. Source: Mahyari, Pirolli, LeBlanc, section
    IV; their program asks below margin 0.18 and moves the last layer.
    Departure: accuracy is that of all predictions, made before asking; the program's, of those
    that nobody was asked about, is `top1_answered`.
    """

    policy: str
    rate: float | None
    update: str

    kind: ClassVar[str] = "exercises"

    def __post_init__(self) -> None:
        for key, known in (("policy", POLICIES), ("update", UPDATES)):
            value = getattr(self, key)
            if value not in known:
                near = targets.did_you_mean(targets.closest(str(value), known))
                raise InputError(f"expert.{key}={value}: it is one of {', '.join(known)}{near}")
        if self.policy not in RATED:
            if self.rate is not None:
                raise InputError(f"expert.policy={self.policy} takes no rate: expert.rate=null")
            return
        number = isinstance(self.rate, int | float) and not isinstance(self.rate, bool)
        if self.rate is None or not number or not 0 < self.rate < 1:
            given = "null" if self.rate is None else self.rate
            raise InputError(
                f"expert.rate={given}: policy {self.policy} takes the share of events to ask "
                "about, between 0 and 1, as expert.rate=0.1"
            )

    def consult(
        self, study: Study, plain: Predictions
    ) -> tuple[Predictions, dict[str, Predictions], str]:
        """Predictions made before each question, with "asked"; the controls; what is printed.

        plain: of the same networks where nobody is asked. Controls: no expert (`plain`); where the
        update learns, also selection alone (the policy without update) and learning alone (as many
        questions at random, with the update).
        """
        update = UPDATES[self.update]
        own = study.replayed(self.policy, update, self.rate, keep=True)
        share = float(own.asked[own.there].mean())
        controls = {"no_expert": plain}
        if update is not None:
            alone = study.replayed(self.policy, None, self.rate, keep=True)
            controls["selection_alone"] = _with_asked(study, plain, alone)
            lots = study.replayed("random", update, share, keep=True)
            controls["learning_alone"] = _with_asked(study, plain, lots)
        return _with_asked(study, plain, own), controls, self._words(share)

    def _words(self, share: float) -> str:
        margin = f" (margin {thresholds.PRINTED})" if self.policy == "printed" else ""
        wanted = "" if self.rate is None else f" at {100 * self.rate:g} %"
        return (
            f"policy {self.policy}{margin}{wanted} asked about {100 * share:.1f} % of windows; "
            f"update {self.update}"
        )


def _with_asked(study: Study, plain: Predictions, result: Replayed) -> dict[str, NDArray[Any]]:
    """Predictions of a replay. Where nothing was learned yet they are `plain`, to the last digit:
    there a replay, which has other windows in a batch, differs by rounding alone."""
    rows, there = study.lines.rows, result.there
    assert result.log_p is not None
    assert study.first.log_p is not None
    log_p = result.log_p[there]
    learned = (log_p != study.first.log_p[there]).any(axis=1, keepdims=True)
    order, same = (np.lexsort(r.T[::-1]) for r in (rows, np.asarray(plain["rows"])))
    if not np.array_equal(rows[order], plain["rows"][same]):
        raise ValueError("the replay has other events than the test")
    before = np.asarray(plain["probability"], np.float64)[same]
    return {
        "rows": rows[order],
        "probability": np.where(learned[order], np.exp(log_p[order]), before),
        "asked": result.asked[there][order],
    }
