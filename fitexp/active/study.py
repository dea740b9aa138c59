"""A run's left-out users, replayed: their timelines, and a copy of a trained network for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from fitexp.active import learners
from fitexp.active.replay import RATED, Replayed, Timelines, policy_of, replay, timelines
from fitexp.active.search import SEARCHED, Tried
from fitexp.active.updates import UPDATES, Steps, Update
from fitexp.data.exercises.module import EventGather
from fitexp.data.prepare import Prepared
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.tasks.ranking import Ranking

Ints = NDArray[np.int64]
PASSES, CLOSE = 12, 0.005  # replays at most until thresholds ask at the wanted rate, so close


def check(config: Mapping[str, Any], wanted_by: str) -> None:
    """Raise InputError for a run whose networks cannot be replayed over people they never saw."""
    split = config["data"].get("split")
    if split != "leave_one_user_out":
        raise InputError(
            f"data.split={split}: {wanted_by} needs a model for each left-out user, "
            "data.split=leave_one_user_out"
        )
    if config["task"].get("mask_seen"):
        raise InputError(f"task.mask_seen=true: {wanted_by} takes runs without it only")


class Study:
    """The timelines of a run, and its networks, a copy for each.

    network: with a fold for each of the data's; personal: with one for each timeline, in their
    order (`newcomers.new_users`). Training rows are those of the timeline's fold either way.
    """

    def __init__(
        self, prepared: Prepared, network: nn.Module, seed: int, *, personal: bool = False
    ) -> None:
        arrays, spec = prepared.arrays, prepared.spec
        assert isinstance(spec, ExerciseSpec)
        user, item = np.asarray(arrays["user"]), np.asarray(arrays["item"])
        self.lines = timelines(np.asarray(arrays["test"]), user, item)
        self.spec, self.seed = spec, seed
        own = np.arange(len(self.lines.user)) if personal else self.lines.fold
        copied = torch.from_numpy(own)
        names = [name for name, _ in network.named_parameters()]
        owner = names[-1].rpartition(".")[0]
        rows = np.asarray(arrays["train"])
        rows = rows[rows[:, 1] < arrays["part"].shape[1]]  # without copies (data.augment)
        trained = {f: rows[rows[:, 0] == f, 1] for f in np.unique(self.lines.fold)}
        self.given = learners.Given(
            scores=Windows(prepared, network, self.lines),
            weights={k: values.detach()[copied] for k, values in network.state_dict().items()},
            parameters=names,
            last_layer=[name for name in names if name.rpartition(".")[0] == owner],
            trained=[trained[f] for f in self.lines.fold],
            user=user,
            item=item,
            begin=np.asarray(arrays["begin"])[user],
            items=len(spec.items),
            profile=len(spec.profile),
            seed=seed,
        )
        never = policy_of("never", None, self.lines, None)
        self.first = replay(self.lines, learners.learner_of(self.given, None), never, keep=True)

    def replayed(
        self, policy: str, update: Update, rate: float | None, keep: bool = False
    ) -> Replayed:
        """Learning moves margins: `margin` and `entropy` begin with thresholds of models that do
        not learn, and are replayed with thresholds from the last replay's margins until they ask
        at the rate. No label plays a part in that, and a user's own margins only through when the
        others were asked."""
        learner, result = learners.learner_of(self.given, update), self.first
        for _ in range(PASSES if update and policy in ("margin", "entropy") else 1):
            asks = policy_of(policy, rate, self.lines, result, self.seed)
            result = replay(self.lines, learner, asks, keep)
            if rate is None or abs(result.asked[result.there].mean() - rate) <= CLOSE:
                break
        return result

    def rows(
        self, policies: Sequence[str], chosen: Sequence[str], rates: Sequence[float]
    ) -> dict[tuple[str, str, float | None], Replayed]:
        """By policy, update and rate; with the row of no question, of each policy without learning,
        and of each learning with questions at random."""
        learns = any(update != "none" for update in chosen)
        asked = [*policies, *(["random"] if learns else [])]
        found: dict[tuple[str, str, float | None], Replayed] = {("never", "none", None): self.first}
        for policy in dict.fromkeys(asked):
            for rate in rates if policy in RATED else [None]:
                for update in dict.fromkeys(["none", *chosen]):
                    if policy == "never" and UPDATES[update] is None:
                        continue
                    found[policy, update, rate] = self.replayed(policy, UPDATES[update], rate)
        return found

    def searched(
        self, policies: Sequence[str], chosen: Sequence[str], rates: Sequence[float]
    ) -> list[Tried]:
        """Of every rule at each policy and rate, the setting that gains most on even users."""
        found = []
        for policy in policies:
            for rate in rates if policy in RATED else [None]:
                for name in chosen:
                    _say(f"{policy}, {name}" + (f", {rate:g}" if rate else ""))
                    found.append(self._best(policy, name, rate))
        return found

    def _best(self, policy: str, name: str, rate: float | None) -> Tried:
        even = self.lines.user % 2 == 0

        def gain(tried: tuple[Update, Replayed]) -> float:
            return float((tried[1].hit - self.first.hit)[even].sum())

        tried = [(rule, self.replayed(policy, rule, rate)) for rule in SEARCHED[name]]
        rule, result = max(tried, key=gain)
        control = rule.without_answers() if isinstance(rule, Steps) else None
        return Tried(
            policy=policy,
            update=name,
            rate=rate,
            rule=rule,
            result=result,
            first=self.first,
            control=self.replayed(policy, control, rate) if control else None,
        )


def _say(text: str) -> None:
    print(f"fitexp: replay {text}", file=sys.stderr)


class Windows:
    """`learners.Scores` of a network with a fold axis: windows gathered as they are in training."""

    def __init__(self, prepared: Prepared, network: nn.Module, lines: Timelines) -> None:
        arrays = prepared.arrays
        self.gather = EventGather(prepared, "test")
        self.network, self.fold = network.eval(), torch.from_numpy(lines.fold)
        self.user = torch.from_numpy(np.array(arrays["user"]))
        self.step = torch.from_numpy(np.array(arrays["step"]))

    def __call__(
        self, weights: Mapping[str, Tensor], line: Ints, event: Ints, offset: Tensor
    ) -> Tensor:
        events = torch.from_numpy(event)
        row = self.user[events] if self.gather.every else events
        batch = self.gather.of(row, self.fold[torch.from_numpy(line)])
        inputs = {
            name: values.to(offset.dtype) if values.is_floating_point() else values
            for name, values in batch.items()
            if name not in Ranking.withheld
        }
        inputs["profile"] = inputs["profile"] + offset[:, None]
        logits: Tensor = functional_call(self.network, dict(weights), (inputs,))
        if not self.gather.every:
            return logits[:, :, 0]
        place = self.step[events][..., None, None].expand(-1, -1, 1, logits.shape[-1])
        return logits.gather(2, place)[:, :, 0]
