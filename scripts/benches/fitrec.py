"""FitRec's step against the same network in Keras (on torch), where keras is installed."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from benches._harness import Row, Side, cpu_ms

T, F, WIDTH, HIDDEN = 300, 3, 5, 64


def pair(size: int, steps: int) -> tuple[Any, Any, dict[str, Any]]:
    """(ours, theirs, batch): FitRec without the previous workout, and Keras' with its weights."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import torch

    from fitexp.models.fitrec import FitRec
    from tests.models.networks import spec_of

    torch.manual_seed(0)
    spec = spec_of("distance", "altitude", "total_time", steps=steps, history="none")
    names = list(spec.attributes)
    ours = FitRec(
        spec=spec,
        target_scaling="zscore",
        hidden=HIDDEN,
        dropout=0.0,
        attributes=names,
        embedding=WIDTH,
        embedding_decay=dict.fromkeys(names, 0.0),
        context=False,
        context_hidden=1,
        context_width=1,
        context_dropout=0.0,
        context_activation="none",
    )
    x = keras.Input((steps, F))
    attributes = keras.Input((len(names),), dtype="int64")
    tables = [keras.layers.Embedding(len(spec.attributes[n]), WIDTH) for n in names]
    parts = [x]
    for column, table in enumerate(tables):
        row = table(attributes[:, column])
        parts.append(keras.layers.RepeatVector(steps)(row))
    layers = [keras.layers.LSTM(HIDDEN, return_sequences=True) for _ in range(2)]
    h = keras.layers.Concatenate()(parts)
    for layer in layers:
        h = layer(h)
    head = keras.layers.Dense(1, activation="selu")
    theirs = keras.Model([x, attributes], head(h))
    own = ours.state_dict()
    for name, table in zip(names, tables, strict=True):
        table.set_weights([own[f"embeddings.tables.{name}.weight"].numpy()])
    for number, layer in enumerate(layers):
        kernel, recurrent, b_ih, b_hh = (
            own[f"body.{kind}_l{number}"].numpy()
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        layer.set_weights([kernel.T, recurrent.T, b_ih + b_hh])
    head.set_weights([own["head.weight"].numpy().T, own["head.bias"].numpy()])
    generator = torch.Generator().manual_seed(1)
    batch = {
        "x": torch.randn(size, steps, F, generator=generator),
        "attributes": torch.stack(
            [
                torch.randint(1, len(spec.attributes[n]), (size,), generator=generator)
                for n in names
            ],
            dim=1,
        ),
        "valid": torch.ones(size, steps, dtype=torch.bool),
    }
    return ours, theirs, batch


def sides() -> tuple[Side, Side]:
    ours, theirs, batch = pair(16, T)

    def step(predict: Any, weights: Any) -> None:
        for weight in weights:
            weight.grad = None
        predict().square().sum().backward()

    theirs_weights = [v.value for v in theirs.trainable_variables]
    return (
        cpu_ms(lambda: step(lambda: ours(batch), list(ours.parameters()))),
        cpu_ms(
            lambda: step(
                lambda: theirs([batch["x"], batch["attributes"]], training=True), theirs_weights
            )
        ),
    )


def agree() -> None:
    """The same answers from the same weights."""
    ours, theirs, batch = pair(4, 20)
    a = ours(batch)
    b = theirs([batch["x"], batch["attributes"]])[..., 0]
    apart = float((a - b).abs().max())
    assert apart < 1e-5, f"{apart:.1e} apart"


def rows() -> list[Row]:
    if find_spec("keras") is None:
        print("bench: fitrec_step is left out: no keras here", file=sys.stderr)
        return []
    return [
        Row(
            name="fitrec_step",
            unit="ms",
            note="forward + backward of FitRec without the previous workout, T = 300, B = 16; "
            "reference: the same network with the same weights in Keras on its torch backend, "
            "whose LSTM is a loop over steps",
            target=None,
            sides=sides,
            agree=agree,
            repeats=3,
        )
    ]
