"""`fitexp replay RUN`: active learning replayed over the left-out users of a ranking."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from fitexp import targets, worker
from fitexp.actions import Options
from fitexp.active import learners
from fitexp.active.replay import (
    POLICIES,
    RATED,
    Replayed,
    Timelines,
    policy_of,
    replay,
    timelines,
)
from fitexp.active.search import SEARCHED, Tried
from fitexp.active.updates import UPDATES, Steps, Update
from fitexp.data.exercises.module import EventGather
from fitexp.data.prepare import Prepared
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.run import Run

Ints = NDArray[np.int64]
PASSES, CLOSE = 12, 0.005  # replays at most until thresholds ask at the wanted rate, so close
RATES, SEARCH_RATES = "0.01,0.05,0.1", "0.1,0.15"
ANSWERS = ("target", "mask", "event")  # never handed to a network


def command(run: Run, words: Sequence[str], options: Options) -> int:
    """`fitexp replay RUN [--policy P,..] [--update U,..] [--rate R,..] [--search] [-o DIR]`."""
    from fitexp.report import replayed as report

    if words:
        raise InputError(f"fitexp replay takes one run: what is '{words[0]}'?")
    search = "--search" in options.flags
    learning = SEARCHED if search else UPDATES
    policies = _names(options, "--policy", "margin,random" if search else "margin", POLICIES)
    chosen = _names(
        options, "--update", ",".join(SEARCHED) if search else "last_layer,alike", learning
    )
    rates = _rates(options.last("--rate") or (SEARCH_RATES if search else RATES))
    allow = (*targets.allowed(), *options.values.get("--allow", ()))
    if run.config["data"].get("split") != "leave_one_user_out":
        raise InputError(
            f"{run.path} has data.split={run.config['data'].get('split')}: fitexp replay needs a "
            "model for each left-out user, data.split=leave_one_user_out"
        )
    for key, wanted in (("adapt", None), ("task.mask_seen", False)):
        node, _, name = key.rpartition(".")
        if (run.config[node] if node else run.config).get(name) not in (None, wanted):
            raise InputError(f"{run.path} has {key}: fitexp replay takes runs without it")
    prepared = worker.own_data(run, allow)
    network = worker.network(run, prepared, allow)
    if network is None:
        raise InputError(f"{run.path} is no network: a model of counts has nothing to update")
    study = Study(prepared, network.cpu(), int(run.config["seed"]))
    folder = Path(options.last("-o") or run.path)
    if search:
        found = report.search_figures(study.searched(policies, chosen, rates), study.lines)
        report.write_search(folder, found)
        print(report.search_table(found, study.spec))
    else:
        rows = study.rows(policies, chosen, rates)
        print(report.write(folder, run, study.spec, study.lines, rows))
    print(folder)
    return 0


def _names(options: Options, name: str, default: str, known: Any) -> list[str]:
    found = (options.last(name) or default).split(",")
    for word in found:
        if word not in known:
            near = targets.did_you_mean(targets.closest(word, known))
            raise InputError(f"{name} {word}: choose from {', '.join(known)}{near}")
    return list(dict.fromkeys(found))


def _rates(text: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = [0.0]
    if not all(0 < rate < 1 for rate in found):
        raise InputError(f"--rate {text}: shares of events between 0 and 1, as 0.01,0.05")
    return list(dict.fromkeys(found))


class Study:
    """The timelines of a run, and its networks, a copy for each."""

    def __init__(self, prepared: Prepared, network: nn.Module, seed: int) -> None:
        arrays, spec = prepared.arrays, prepared.spec
        assert isinstance(spec, ExerciseSpec)
        user, item = np.asarray(arrays["user"]), np.asarray(arrays["item"])
        self.lines = timelines(np.asarray(arrays["test"]), user, item)
        self.spec, self.seed = spec, seed
        fold = torch.from_numpy(self.lines.fold)
        names = [name for name, _ in network.named_parameters()]
        owner = names[-1].rpartition(".")[0]
        rows = np.asarray(arrays["train"])
        rows = rows[rows[:, 1] < arrays["part"].shape[1]]  # without copies (data.augment)
        trained = {f: rows[rows[:, 0] == f, 1] for f in np.unique(self.lines.fold)}
        self.given = learners.Given(
            scores=Windows(prepared, network, self.lines),
            weights={name: values.detach()[fold] for name, values in network.state_dict().items()},
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
        self.first = replay(self.lines, learners.learner_of(self.given, None), never)

    def replayed(self, policy: str, update: Update, rate: float | None) -> Replayed:
        """Learning moves margins: `margin` and `entropy` begin with thresholds of models that do
        not learn, and are replayed with thresholds from the last replay's margins until they ask
        at the rate. No label plays a part in that, and a user's own margins only through when the
        others were asked."""
        learner, result = learners.learner_of(self.given, update), self.first
        for _ in range(PASSES if update and policy in ("margin", "entropy") else 1):
            asks = policy_of(policy, rate, self.lines, result, self.seed)
            result = replay(self.lines, learner, asks)
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
            if name not in ANSWERS
        }
        inputs["profile"] = inputs["profile"] + offset[:, None]
        logits: Tensor = functional_call(self.network, dict(weights), (inputs,))
        if not self.gather.every:
            return logits[:, :, 0]
        place = self.step[events][..., None, None].expand(-1, -1, 1, logits.shape[-1])
        return logits.gather(2, place)[:, :, 0]
