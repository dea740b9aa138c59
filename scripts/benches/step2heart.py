"""A training step of Step2Heart beside its matrix products at their best, and beside nn.GRU."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from benches._harness import Row, Side, cpu_ms

STEPS, SERIES, FILTERS = 512, 10, 32
SIZES = [(32, 32), (32, 256), (128, 32), (128, 256)]  # width, batch
GRU_SIZES = [  # width, batch, target, measured once
    (32, 32, 1.6, 1.9),
    (32, 256, 1.0, 1.2),
    (128, 32, 1.0, 1.3),
]
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


def made(
    width: int, batch: int, steps: int = STEPS, pooling: str = "mean"
) -> tuple[Any, dict[str, Any], Any]:
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
        pooling=pooling,
        dropout=0.0,
        heads=None,
    )
    return network, {"x": torch.rand(batch, steps, SERIES)}, torch.randn(batch)


def with_nn_gru(width: int, batch: int, steps: int = STEPS) -> tuple[Any, dict[str, Any], Any]:
    """`made` with nn.GRU in the place of BiGRU, from the same weights."""
    from torch import nn

    network, inputs, target = made(width, batch, steps)
    theirs = nn.GRU(FILTERS, width, num_layers=2, batch_first=True, bidirectional=True)
    theirs.load_state_dict(network.recurrent.state_dict())
    network.recurrent = theirs
    return network, inputs, target


def training_ms(network: Any, inputs: dict[str, Any], target: Any) -> Side:
    """Milliseconds a window."""
    import torch

    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (network(inputs)[:, 0, 0] - target).square().mean().backward()
        optimizer.step()

    side = cpu_ms(step)
    return lambda: side() / len(target)


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

    network, inputs, _ = with_nn_gru(8, 1, 16)
    with FlopCounterMode(display=False) as counter:
        network(inputs).sum().backward()
    assert counter.get_total_flops() == products(8, 16), counter.get_total_flops()


def agree_with_nn_gru() -> None:
    """Answers and gradients within 1e-12 in float64."""
    found = []
    for build in (made, with_nn_gru):
        network, inputs, _ = build(8, 3, 40)
        answer = network.double()({"x": inputs["x"].double()})
        answer.square().sum().backward()
        found.append([answer.detach(), *(weight.grad for weight in network.parameters())])
    for a, b in zip(*found, strict=True):
        apart = float((a - b).abs().max())
        assert apart <= 1e-12 * max(1.0, float(b.abs().max())), f"{apart:.1e} apart"


def _limit_row(width: int, batch: int) -> Row:
    return Row(
        name=f"step2heart_{width}_batch_{batch}",
        unit="ms",
        note=f"{_step(width, batch)} (windows a second of a core: 1000 / ours); reference: its "
        f"products at the rate of a product of {SIDE} x {SIDE} float32 matrices in the same "
        "process, so that the ratio is the share of that limit",
        target=None,
        sides=lambda: (training_ms(*made(width, batch)), limit_ms(width)),
        agree=agree,
        repeats=3,
    )


def _gru_row(width: int, batch: int, target: float, measured: float) -> Row:
    return Row(
        name=f"step2heart_gru_{width}_batch_{batch}",
        unit="ms",
        note=f"{_step(width, batch)}; reference: the same network with nn.GRU "
        f"({measured} when this was written)",
        target=target,
        sides=lambda: (
            training_ms(*made(width, batch)),
            training_ms(*with_nn_gru(width, batch)),
        ),
        agree=agree_with_nn_gru,
    )


def _flushed_row(width: int, batch: int) -> Row:
    def flushed(side: Side) -> Side:
        from fitexp.trainer import denormals_are_zero

        def run() -> float:
            with denormals_are_zero():
                return side()

        return run

    def sides() -> tuple[Side, Side]:
        one, other = (training_ms(*made(width, batch, pooling="last")) for _ in range(2))
        return flushed(one), other

    def agree_flushed() -> None:
        """Answers and gradients within 1e-6 of the largest in float32."""
        from fitexp.trainer import denormals_are_zero

        found = []
        for context in (denormals_are_zero, nullcontext):
            network, inputs, _ = made(8, 3, 40, "last")
            with context():
                answer = network(inputs)
                answer.square().sum().backward()
            found.append([answer.detach(), *(weight.grad for weight in network.parameters())])
        for a, b in zip(*found, strict=True):
            assert float((a - b).abs().max()) <= 1e-6 * max(1.0, float(b.abs().max()))

    return Row(
        name=f"step2heart_last_{width}_batch_{batch}",
        unit="ms",
        note=f"{_step(width, batch)}, read at its last state with numbers below 1e-38 taken as 0; "
        "reference: without that",
        target=1.5,
        sides=sides,
        agree=agree_flushed,
    )


def _step(width: int, batch: int) -> str:
    return (
        f"a window of a training step (forward, backward, Adam) of Step2Heart A, T {STEPS}, "
        f"{SERIES} series, {FILTERS} filters, width {width}, {batch} windows at once"
    )


def rows() -> list[Row]:
    gru = [_gru_row(*size) for size in GRU_SIZES]
    return [*(_limit_row(*size) for size in SIZES), *gru, _flushed_row(32, 32)]
