"""Tiny events to test networks for exercises on, and laws that such a network must keep."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from fitexp.data.spec import ExerciseSpec
from fitexp.losses import cross_entropy

Batch = dict[str, Tensor]


def spec_of(**changes: Any) -> ExerciseSpec:
    """Seven items, two features, three columns of a profile, two of an item's."""
    items = tuple("abcdefg")
    tiny = ExerciseSpec(
        kind="exercises",
        source="toy",
        simulated=True,
        items=items,
        features=("success", "normlag"),
        profile=("age", "sex", "bmi"),
        item_profile=("difficulty", "core"),
        window=3,
        answers="last",
        folds=1,
        fold_names=("all",),
        categories=("",) * len(items),
        protocol={},
    )
    return dataclasses.replace(tiny, **changes)


def batch_of(spec: ExerciseSpec, *, size: int = 5, steps: int = 0, full: bool = False) -> Batch:
    """Random events in float64 with a fold axis; rows of 0, 1, 2, .. events unless `full`."""
    L, B, T, N = spec.folds, size, steps or spec.window, len(spec.items)
    draw = torch.Generator().manual_seed(5)
    events = torch.full((B,), T) if full else torch.arange(B).clamp(max=T)
    valid = (torch.arange(T) >= T - events[:, None]).expand(L, B, T).clone()
    items = torch.randint(N, (L, B, T), generator=draw).masked_fill(~valid, N)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return {
        "items": items,
        "valid": valid,
        "features": randn(L, B, T, len(spec.features)).masked_fill(~valid[..., None], 0.0),
        "profile": randn(L, B, len(spec.profile)),
        "item_profile": randn(N, len(spec.item_profile)),
    }


def fold(batch: Batch, index: int) -> Batch:
    """One fold's part of a batch, without the fold axis."""
    return {k: v if k == "item_profile" else v[index] for k, v in batch.items()}


def padding_does_not_matter(model: nn.Module, batch: Batch) -> None:
    """What stands in a step without an event changes no answer that counts."""
    valid = batch["valid"]
    assert not valid.all()
    other = {**batch, "features": batch["features"].clone()}
    other["features"][~valid] = float("nan")
    before, after = model(batch), model(other)
    if before.shape[-2] > 1:
        before, after = before[valid], after[valid]
    assert torch.equal(before, after)


def trained(
    model: nn.Module, batches: list[Batch], targets: list[Tensor], steps: int, lr: float = 0.01
) -> Tensor:
    """Loss of each step (steps, L) of Adam on the sum over folds of the mean loss of a fold."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        batch, target = batches[step % len(batches)], targets[step % len(batches)]
        optimizer.zero_grad()
        logits = model(batch)
        each = cross_entropy(logits.flatten(0, -2), target.flatten()).view(target.shape)
        by_fold = each.flatten(1).mean(dim=1)
        by_fold.sum().backward()
        optimizer.step()
        losses.append(by_fold.detach())
    return torch.stack(losses)
