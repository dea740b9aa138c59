"""Windows to batches: one row gather against a Dataset that makes one window at a time."""

from __future__ import annotations

from typing import Any

from benches._harness import Row, Side, cpu_ms

BATCH = 1024


def windows(athletes: int, workouts: int) -> Any:
    from fitexp.data.workouts.protocol import arrays_of
    from tests.data.workouts.made import protocol, table

    made = protocol(regime="short", stride=1, batch_size=BATCH)
    return arrays_of(made, table(athletes=athletes, workouts=workouts, minutes=30.0))


def gathered(prepared: Any, batches: int) -> list[dict[str, Any]]:
    from fitexp.data.workouts.module import WorkoutsData

    data = WorkoutsData(prepared=prepared, batch_size=BATCH, seed=0)
    loader = data.batches("train")
    loader.shuffle = False
    return [batch for _, batch in zip(range(batches), loader, strict=False)]


def plain(prepared: Any) -> Any:
    """A Dataset as a reader of the protocol would write it: slices of one window."""
    import numpy as np
    import torch
    from torch.utils.data import Dataset

    arrays, T = {k: np.array(v) for k, v in prepared.arrays.items()}, prepared.spec.steps

    class Windows(Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(arrays["train"])

        def __getitem__(self, index: int) -> dict[str, Any]:
            workout, first = arrays["train"][index]
            begin, previous = arrays["offset"][workout], arrays["previous"][workout]
            rows = slice(begin + first, begin + first + T)
            y = arrays["y"][rows]
            y0 = arrays["y"][begin + first - 1]
            end = arrays["offset"][previous + 1] - 1
            earlier = np.minimum(arrays["offset"][previous] + first + np.arange(T), end)
            within = end - arrays["offset"][previous] - first
            since = np.full((T, 1), arrays["since_last"][workout])
            return {
                "x": torch.from_numpy(arrays["x"][rows]),
                "valid": torch.ones(T, dtype=torch.bool),
                "attributes": torch.from_numpy(arrays["attributes"][workout]),
                "y": torch.from_numpy(y),
                "mask": torch.from_numpy(arrays["observed"][rows]).float(),
                "y0": torch.tensor(y0),
                "y_previous": torch.from_numpy(np.concatenate([[y0], y[:-1]])),
                "context": torch.from_numpy(np.hstack([arrays["x"][earlier], since])),
                "context_y": torch.from_numpy(arrays["y"][earlier]),
                "context_last": torch.tensor(min(within, T - 1) if within >= 0 else T - 1),
                "has_context": torch.tensor(bool(previous >= 0)),
                "workout": torch.tensor(workout),
                "first": torch.tensor(first),
            }

    return Windows()


def one_by_one(dataset: Any, batches: int) -> list[dict[str, Any]]:
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset, batch_size=BATCH)
    return [batch for _, batch in zip(range(batches), loader, strict=False)]


def sides() -> tuple[Side, Side]:
    prepared = windows(20, 10)
    dataset = plain(prepared)
    return cpu_ms(lambda: gathered(prepared, 4)), cpu_ms(lambda: one_by_one(dataset, 4))


def agree() -> None:
    import torch

    prepared = windows(3, 4)
    for ours, theirs in zip(gathered(prepared, 1), one_by_one(plain(prepared), 1), strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert torch.equal(values, theirs[name].to(values.dtype)), name


def rows() -> list[Row]:
    return [
        Row(
            name="windows_to_batches",
            unit="ms",
            note=f"4 batches of {BATCH:,} windows of 10 steps with context; reference: a Dataset "
            "that slices one window at a time in a DataLoader, same tensors",
            target=30.0,
            sides=sides,
            agree=agree,
        )
    ]
