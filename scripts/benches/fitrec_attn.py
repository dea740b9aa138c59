"""FitRec-Attn's closed forms against the step-by-step form of the notes."""

from __future__ import annotations

from typing import Any

from benches._harness import Row, Side, cpu_ms


def pair(*, size: int, teacher: bool, score: str, steps: int, history: str, small: bool) -> Any:
    """(model, oracle, batch) with the same weights, in float64 and narrow if `small`."""
    import torch

    from tests.models import fitrec_attn_oracle as oracle

    torch.manual_seed(0)
    spec = oracle.tiny_spec(steps=steps, history=history)
    widths = {"hidden": 6, "context_hidden": 5, "context_width": 4} if small else {}
    arguments = oracle.defaults(score=score, **widths)
    dtype = torch.float64 if small else torch.float32
    reference = oracle.StepByStep(spec=spec, **arguments).to(dtype)
    if small:  # attention far from uniform
        with torch.no_grad():
            for weight in reference.parameters():
                weight *= 2.0
    ours = oracle.FitRecAttn(spec=spec, **arguments).to(dtype)
    oracle.same_weights(ours, reference)
    return ours, reference, oracle.tiny_batch(spec, size=size, teacher=teacher, dtype=dtype)


def step(network: Any, batch: Any) -> Any:
    """One forward and backward."""
    network.zero_grad()
    prediction = network(batch)
    prediction.square().sum().backward()
    return prediction.detach()


def predict(network: Any, batch: Any) -> Any:
    import torch

    with torch.no_grad():
        return network(batch)


def agree(*, backward: bool, size: int, steps: int, **what: Any) -> None:
    """Outputs, and gradients if `backward`, within 1e-12 of the largest."""
    from tests.models.fitrec_attn_oracle import gradients

    ours, reference, batch = pair(size=5, steps=min(steps, 40), small=True, **what)
    run = step if backward else predict
    pairs = {"prediction": (run(ours, batch), run(reference, batch))}
    pairs |= gradients(ours, reference) if backward else {}
    for name, (a, b) in pairs.items():
        apart = float((a - b).abs().max())
        assert apart <= 1e-12 * max(1.0, float(b.abs().max())), f"{name} {apart:.1e} apart"


def _row(name: str, note: str, target: float | None, *, backward: bool = True, **what: Any) -> Row:
    run = step if backward else predict

    def sides() -> tuple[Side, Side]:
        ours, reference, batch = pair(small=False, **what)
        return cpu_ms(lambda: run(ours, batch)), cpu_ms(lambda: run(reference, batch))

    return Row(
        name=name,
        unit="ms",
        note=note,
        target=target,
        sides=sides,
        agree=lambda: agree(backward=backward, **what),
    )


def _long_sides() -> tuple[Side, Side]:
    from fitexp.models import additive

    ours, _, batch = pair(
        size=16, steps=300, teacher=True, score="tanh", history="previous", small=False
    )

    def with_threshold(steps: int) -> Side:
        def run() -> None:
            kept, additive.RECOMPUTE_FROM = additive.RECOMPUTE_FROM, steps
            try:
                step(ours, batch)
            finally:
                additive.RECOMPUTE_FROM = kept

        return cpu_ms(run)

    return with_threshold(1), with_threshold(10**9)


def rows() -> list[Row]:
    linear = {"score": "linear", "steps": 300, "size": 16, "teacher": False}
    tanh = {"score": "tanh", "history": "previous", "teacher": True}
    whole = "the same with the previous workout's two LSTMs, which are fused on both sides"
    return [
        _row(
            "fitrec_attn_linear_step",
            "forward + backward, free running, linear scores in closed form, T = 300, B = 16, "
            "hidden 64, without the previous workout; reference: the notes' loop over steps",
            45.0,
            history="none",
            **linear,
        ),
        _row(
            "fitrec_attn_linear_predict",
            "free-running prediction (no gradient), otherwise as fitrec_attn_linear_step",
            50.0,
            backward=False,
            history="none",
            **linear,
        ),
        _row("fitrec_attn_linear_step_context", whole, None, history="previous", **linear),
        _row(
            "fitrec_attn_linear_predict_context",
            whole,
            None,
            backward=False,
            history="previous",
            **linear,
        ),
        _row(
            "fitrec_attn_tanh_step",
            "forward + backward, teacher forced, tanh scores, T = 10, B = 5120, with the previous "
            "workout; reference: the notes' loop over steps, tanh in the decoder",
            2.0,
            steps=10,
            size=5120,
            **tanh,
        ),
        Row(
            name="fitrec_attn_tanh_long_step",
            unit="ms",
            note="forward + backward, teacher forced, tanh scores, T = 300, B = 16: hand-written "
            "backward; reference: our own loop (keys computed once) through autograd",
            target=1.0,
            sides=_long_sides,
            agree=lambda: agree(backward=True, steps=40, size=5, **tanh),
        ),
    ]
