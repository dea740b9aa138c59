"""A training step of Step2Heart beside the time that its matrix products take at their best."""

from __future__ import annotations

from typing import Any

from benches._harness import Row, Side, cpu_ms

STEPS, SERIES, FILTERS = 512, 10, 32
SIZES = [(32, 32), (32, 256), (128, 32), (128, 256)]  # width, batch
SIDE = 1024  # of the square matrices whose product sets the limit


def products(width: int, steps: int = STEPS) -> int:
    """Floating point operations of a window's products in a training step, backwards included.

    Two for each multiplication with its addition; backwards a map costs twice what it costs
    forwards (by its inputs and by its weights); the series and the four first states need no
    gradient.
    """
    first = (steps - 2) * 3 * SERIES * FILTERS
    second = (steps - 4) * 3 * FILTERS * FILTERS
    layers = ((steps - 4) * 2 * 3 * width * (F + width) for F in (FILTERS, 2 * width))
    head, states = 2 * width, 4 * 3 * width**2
    return 2 * (2 * first + 3 * (second + sum(layers) + head) - states)


def made(width: int, batch: int, steps: int = STEPS) -> tuple[Any, dict[str, Any], Any]:
    """(network, batch, targets in z-scores)."""
    import torch

    from fitexp.models.step2heart import Step2Heart
    from tests.models.window_networks import window_spec

    torch.manual_seed(0)
    network = Step2Heart(
        spec=window_spec(SERIES, steps),
        inputs="A",
        person="resting_hr_bpm",
        filters=FILTERS,
        width=width,
        branch=1,
        pooling="mean",
        dropout=0.0,
        heads=None,
    )
    return network, {"x": torch.rand(batch, steps, SERIES)}, torch.randn(batch)


def training_ms(width: int, batch: int) -> Side:
    """Milliseconds a window."""
    import torch

    torch.set_num_threads(1)
    network, inputs, target = made(width, batch)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (network(inputs)[:, 0, 0] - target).square().mean().backward()
        optimizer.step()

    side = cpu_ms(step)
    return lambda: side() / batch


def limit_ms(width: int) -> Side:
    """Milliseconds of a window's products at the rate of a large product."""
    import torch

    a = torch.randn(SIDE, SIDE)
    side = cpu_ms(lambda: a @ a)
    share = products(width) / (2 * SIDE**3)
    return lambda: side() * share


def agree() -> None:
    """The number of operations is the one that torch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    network, inputs, _ = made(8, 1, 16)
    with FlopCounterMode(display=False) as counter:
        network(inputs).sum().backward()
    assert counter.get_total_flops() == products(8, 16), counter.get_total_flops()


def rows() -> list[Row]:
    def sides(width: int, batch: int) -> tuple[Side, Side]:
        return training_ms(width, batch), limit_ms(width)

    return [
        Row(
            name=f"step2heart_{width}_batch_{batch}",
            unit="ms",
            note=f"a window of a training step (forward, backward, Adam) of Step2Heart A, T "
            f"{STEPS}, {SERIES} series, {FILTERS} filters, width {width}, {batch} windows at once "
            f"(windows a second of a core: 1000 / ours); reference: its products at the rate of "
            f"a product of {SIDE} x {SIDE} float32 matrices in the same process, so that the "
            "ratio is the share of that limit",
            target=None,
            sides=lambda w=width, b=batch: sides(w, b),  # type: ignore[misc]
            agree=agree,
            repeats=3,
        )
        for width, batch in SIZES
    ]
