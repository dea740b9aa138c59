"""Update rules: what an expert's answer does to the model of the user it is about. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

MOVES = ("last_layer", "all", "bias", "profile")


@dataclass(frozen=True, kw_only=True)
class Steps:
    """`steps` of an optimizer, begun anew at each answer, on cross-entropy; dropout is off.

    What is minimised is (1 - share) * mean over `rows` training windows, drawn from those of the
    model's own fold, + share * mean over answered windows: the last one, or with memory all so far.
    moves: the parameters of the last layer, all parameters, a bias of the user's own that is added
    to the logits, or an offset of the user's own that is added to his scaled profile.
    adam: Adam, else plain gradient descent.
    """

    moves: str
    lr: float
    steps: int
    rows: int
    share: float
    memory: bool
    adam: bool

    def without_answers(self) -> Steps | None:
        """The control: the same steps on training windows alone; None where there are none."""
        return replace(self, share=0.0) if self.rows else None


@dataclass(frozen=True, kw_only=True)
class Count:
    """p = (1 - w) p_network + w p_counter, w = n / (n + prior), in which the counter has n answers.

    It counts what came behind the same last `order` items, of this user, in answers only. With
    history it counts all of the user's past events, asked or not: no learner from answers, but a
    better model than one that reads a short window.
    """

    order: int
    prior: float
    history: bool = False


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Weigh the users of the training part by how well they foresee this user's answers.

    p_u(x | c) = (c_u(c x) + prior m(x | c)) / (c_u(c) + prior): counts of user u behind the same
    last `order` items c, drawn to m, the same of all training users (itself drawn to 1/N by 1).
    pi_u ~ the product of p_u(answer | its c) over answers, u = 1 .. U. Then
    p(x) ~ p_network(x) sum_u pi_u p_u(x | c) / (1/U sum_u p_u(x | c)): the network's own before
    the first answer. Nothing of the network changes. history: as of `Count`.
    """

    order: int
    prior: float
    history: bool = False


Update = Steps | Count | Alike | None

# The authors' program: a batch of 30 training windows between two copies of the answered one.
LAST_LAYER = Steps(
    moves="last_layer", lr=0.01, steps=2, rows=30, share=2 / 32, memory=False, adam=True
)
BUFFER = replace(LAST_LAYER, moves="all", lr=0.003, share=0.5, memory=True)
BIAS = Steps(moves="bias", lr=0.3, steps=1, rows=0, share=1.0, memory=False, adam=False)
PROFILE = Steps(moves="profile", lr=0.1, steps=2, rows=0, share=1.0, memory=True, adam=True)
COUNTER = Count(order=1, prior=1.0)
ALIKE = Alike(order=3, prior=0.1)  # chosen on even-numbered users of the simulated study

UPDATES: Mapping[str, Update] = {
    "none": None,
    "last_layer": LAST_LAYER,
    "all": replace(LAST_LAYER, moves="all"),
    "rows_only": LAST_LAYER.without_answers(),
    "buffer": BUFFER,
    "bias": BIAS,
    "profile": PROFILE,
    "counter": COUNTER,
    "alike": ALIKE,
    "counter_history": replace(COUNTER, history=True),
    "alike_history": replace(ALIKE, history=True),
}
