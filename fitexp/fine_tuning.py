"""A run's network, tuned on the answers of an expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fitexp import targets, worker
from fitexp.checkpoints import load_checkpoint
from fitexp.data import splits
from fitexp.data.exercises.module import EventGather
from fitexp.data.exercises.questions import Question, answering, asked, at
from fitexp.data.prepare import Prepared
from fitexp.errors import InputError
from fitexp.models.fitted import Fitted
from fitexp.run import BEST, Run
from fitexp.tasks.ranking import Ranking

STEPS, BESIDE, RATE = 2, 30, 0.01  # of the paper's authors' program: steps, training rows, Adam's
UPDATES = ("last_layer", "all")


def check_network(run: Run, allow: Sequence[str]) -> None:
    """Raise InputError for a run that has no network to tune."""
    model = targets.locate(run.config["model"][targets.TARGET], allow)
    if isinstance(model, type) and issubclass(model, Fitted):
        raise InputError(f"{run.path} has no network to tune on answers ({model.__name__})")
    if run.config["task"].get("mask_seen"):
        raise InputError(f"{run.path} has task.mask_seen=true: answers tune runs without it only")


def fine_tuned(
    run: Run, own: Prepared, answered: Sequence[Question], update: str, allow: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """best.ckpt of a run after STEPS steps on `answered` and BESIDE training rows; what was tuned.

    The loss is the run's, its mean over all these rows; Adam's rate RATE; dropout as in training.
    Only the fold that answers people has rows: Adam moves no weight whose gradient was always 0,
    so the others keep theirs. Rows and dropout are drawn by the run's seed and the number of
    answers. update: one of UPDATES.
    """
    seed = [int(run.config["seed"]), len(answered)]
    trained = np.flatnonzero(np.asarray(own.arrays["part"])[answering(own.spec)] == splits.TRAIN)
    draw = np.random.default_rng(seed)
    beside = draw.choice(trained, min(BESIDE, len(trained)), replace=False)
    questions = [*answered, *(at(own, int(event)) for event in beside)]
    prepared = asked(own, questions, "train")
    network = worker.network(run, prepared, allow)
    assert network is not None  # `check_network`
    loss = targets.partial(run.config["loss"], allow, later=("prediction", "target"))
    weights = last_layer(network) if update == "last_layer" else dict(network.named_parameters())
    first = next(network.parameters())
    gather = EventGather(prepared, "train")
    batch = {
        name: values.to(first.device, first.dtype if values.is_floating_point() else None)
        for name, values in gather(np.arange(len(gather))).items()
    }
    inputs = {name: values for name, values in batch.items() if name not in Ranking.withheld}
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)
    with torch.random.fork_rng():
        torch.manual_seed(int(draw.integers(2**31)))
        network.train()
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = loss(network(inputs).flatten(0, 2), batch["target"].flatten())
            mask = batch["mask"].flatten()
            ((losses * mask).sum() / mask.sum()).backward()
            optimizer.step()
    checkpoint = load_checkpoint(run.file(BEST))
    tuned = {f"model.{name}": value.detach().cpu() for name, value in weights.items()}
    return {**checkpoint, "state_dict": {**checkpoint["state_dict"], **tuned}}, [*weights]


def last_layer(network: nn.Module) -> Mapping[str, nn.Parameter]:
    """Parameters of the last of a network's modules that has any: from its last state to scores.

    Where scores are products with the items' own vectors, that is the items' biases.
    """
    found = [(name, child) for name, child in network.named_children() if list(child.parameters())]
    name, child = found[-1]
    return {f"{name}.{own}": values for own, values in child.named_parameters()}
