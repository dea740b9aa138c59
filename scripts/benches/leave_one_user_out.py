"""Leave one user out: all folds as one stacked model, beside one fold after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benches._harness import Row, Side, limit_row

USERS, EPOCHS, LIMIT_S = 72, 30, 60.0
SIZES = {"exercise": 20, "user": 15, "profile": 3, "width": 10, "hidden": 10, "output": 20}
READING = {"combine": "sum", "rescale": False, "attention_over": "own", "cell": "rnn"}


def _prepared(users: int) -> Any:
    from fitexp.data.exercises.protocol import Exercises, arrays_of
    from fitexp.data.exercises.simulate import simulated_study

    protocol = Exercises(
        path=None,
        source={},
        window=3,
        answers="last",
        min_past=3,
        features=["success", "difficulty", "normlag", "normfreq"],
        profile="demographic",
        item_profile=True,
        split="leave_one_user_out",
        fractions=[0.8, 0.1, 0.1],
        folds=None,
        repeats=1,
        split_seed=0,
        augment="none",
        augment_share=0.1,
        augment_copies=1,
        augment_seed=0,
        rule_support=0.01,
        rule_confidence=0.5,
        baselines={},
        batch_size=16,
    )
    return arrays_of(protocol, simulated_study(path=None, users=users, seed=0))


def _trainer(spec: Any, dropout: float) -> tuple[Any, Callable[[Any], None]]:
    """A network and one step of Adam on a batch with a fold axis."""
    import torch
    from torch.nn.functional import cross_entropy

    from fitexp.models.exercise_attn import ExerciseAttn

    network = ExerciseAttn(
        spec=spec, **READING, **SIZES, recurrence="window", bias=True, dropout=dropout
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        logits, mask = network(batch), batch["mask"]
        losses = cross_entropy(logits.flatten(0, 2), batch["target"].flatten(), reduction="none")
        losses = (losses.view(mask.shape) * mask).sum((1, 2))
        (losses / mask.sum((1, 2)).clamp(min=1)).sum().backward()
        optimizer.step()

    return network, step


def stacked_epoch(users: int = USERS) -> Callable[[], float]:
    """CPU seconds of an epoch of all folds (and of the one that leaves nobody out)."""
    import torch

    from fitexp.data.exercises.module import ExercisesData

    torch.set_num_threads(1)
    prepared = _prepared(users)
    _, step = _trainer(prepared.spec, dropout=0.2)
    loader = ExercisesData(prepared=prepared, batch_size=16, seed=0).train_dataloader()

    def epoch() -> float:
        start = time.process_time()
        for batch in loader:
            step(batch)
        return time.process_time() - start

    return epoch


def single_epoch(users: int = USERS) -> Callable[[], float]:
    """CPU seconds of an epoch of one fold: a Dataset of single windows, a DataLoader."""
    import dataclasses

    import numpy as np
    import torch
    from torch.utils.data import DataLoader, Dataset

    from fitexp.data.exercises.module import EventGather

    torch.set_num_threads(1)
    prepared = _prepared(users)
    gather = EventGather(prepared, "train")
    rows = gather(np.arange(int((gather.rows[0] >= 0).sum())))
    own = {name: v[0] for name, v in rows.items() if name != "item_profile"}

    class Windows(Dataset[Any]):
        def __len__(self) -> int:
            return len(own["target"])

        def __getitem__(self, row: int) -> Any:
            return {name: values[row] for name, values in own.items()}

    _, step = _trainer(dataclasses.replace(prepared.spec, folds=1), dropout=0.2)
    loader = DataLoader(Windows(), batch_size=16, shuffle=True)

    def epoch() -> float:
        start = time.process_time()
        for batch in loader:
            with_fold = {name: values[None] for name, values in batch.items()}
            step({**with_fold, "item_profile": rows["item_profile"]})
        return time.process_time() - start

    return epoch


def sides() -> tuple[Side, Side]:
    stacked, single = stacked_epoch(), single_epoch()
    return (lambda: EPOCHS * stacked()), (lambda: EPOCHS * USERS * single())


def agree() -> None:
    """A fold of the stack, and alone, after the same four steps."""
    import dataclasses

    import numpy as np
    import torch

    from fitexp.data.exercises.module import EventGather

    prepared = _prepared(6)
    gather = EventGather(prepared, "train")
    stack, step = _trainer(prepared.spec, dropout=0.0)
    alone, step_alone = _trainer(dataclasses.replace(prepared.spec, folds=1), dropout=0.0)
    fold = 2
    with torch.no_grad():
        for own, values in zip(alone.parameters(), stack.parameters(), strict=True):
            own.copy_(values[fold : fold + 1])
    for start in range(4):
        batch = gather(np.arange(start, start + 16))
        step(batch)
        only = {n: v if n == "item_profile" else v[fold : fold + 1] for n, v in batch.items()}
        step_alone(only)
    for own, values in zip(alone.parameters(), stack.parameters(), strict=True):
        torch.testing.assert_close(own, values[fold : fold + 1], rtol=1e-4, atol=1e-5)


def rows() -> list[Row]:
    what = f"{USERS} folds x {EPOCHS} epochs of exercise_attn, CPU time (one epoch is measured)"
    return [
        Row(
            name="leave_one_user_out",
            unit="s",
            note=f"{what}; reference: the same network, fold after fold, with a torch DataLoader",
            target=20.0,
            sides=sides,
            agree=agree,
            repeats=3,
        ),
        limit_row(
            "leave_one_user_out_limit",
            what,
            "s",
            LIMIT_S,
            lambda: sides()[0],
            agree,
        ),
    ]
