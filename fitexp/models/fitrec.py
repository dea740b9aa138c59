"""FitRec (Ni, Muhlstein, McAuley, WWW 2019): a whole workout from its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fitexp.data.spec import Scale, WorkoutSpec
from fitexp.errors import InputError
from fitexp.models.context import ACTIVATIONS, AttributeEmbeddings, ContextEncoder, check_choice

SELU_SLOPE = 1.0507009873554805  # SELU(z) = SELU_SLOPE z for z > 0
SELU_FLOOR = -1.7580993408473766


class FitRec(nn.Module):
    """y_1..y_T from the plan x, the person and the previous workout; its own past is not seen.

        u_t = [x_t; e_a1; ..; e_am; e_t]         0 where the step does not exist
        h   = dropout(LSTM_2(dropout(LSTM_1(u))))
        y_t = SELU(w . h_t + b)

    e_t: the previous workout read by two LSTMs (`fitexp.models.context`); without a history in
    the data, or with `context` false, it is left out.

    SELU is never below -1.758, in the units of the network's target. In bpm or km/h
    (`target_scaling` none) that floor is out of the way; z-scored it cuts off what is more
    than 1.758 standard deviations below the mean.

    Departures from the paper: with `target_scaling` none the head's bias starts where SELU(b) is
    the training mean, else hundreds of steps go into reaching it, and the context's LSTM reads
    the previous target as a z-score, else it saturates; unknown people and sports have a zero
    embedding; an even grid instead of the first 450 of 500 irregular points.

    Shapes: all of `batch` as WorkoutsData yields it; returns (B, T). Any T. Raises InputError for
    a key it cannot take, and for the short regime.
    """

    kind = "workouts"

    def __init__(
        self,
        *,
        spec: WorkoutSpec,
        target_scaling: str,
        hidden: int,
        dropout: float,
        attributes: Sequence[str],
        embedding: int,
        embedding_decay: Mapping[str, float],
        context: bool,
        context_hidden: int,
        context_width: int,
        context_dropout: float,
        context_activation: str,
    ) -> None:
        super().__init__()
        if spec.regime != "whole":
            raise InputError(
                "FitRec predicts whole workouts only: use data.regime=whole, "
                "or model=fitrec_attn for the short regime"
            )
        check_choice("model.context_activation", context_activation, ACTIVATIONS)
        self.embeddings = AttributeEmbeddings(names=attributes, width=embedding, spec=spec)
        self.embedding_decay = dict(embedding_decay)
        self.embeddings.decay_groups(embedding_decay)  # a missing value is said now
        raw = target_scaling == "none"
        self.target_scale = spec.scaling[spec.target] if raw else Scale(mean=0.0, sd=1.0)
        width = len(spec.inputs) + self.embeddings.width
        self.context = None
        if context and spec.history != "none":
            self.context = ContextEncoder(
                inputs=len(spec.inputs),
                hidden=context_hidden,
                width=context_width,
                dropout=context_dropout,
                activation=context_activation,
            )
            width += context_width
        self.body = nn.LSTM(width, hidden, num_layers=2, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)  # after the second layer; torch's own is between them
        self.head = nn.Linear(hidden, 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = batch["x"]
        parts = [x, self.embeddings(batch["attributes"])[:, None].expand(-1, x.shape[1], -1)]
        if self.context is not None:
            earlier = (batch["context_y"] - self.target_scale.mean) / self.target_scale.sd
            about = (batch[name] for name in ("context_last", "has_context"))
            parts.append(self.context(batch["context"], earlier, *about))
        u = torch.cat(parts, dim=-1).masked_fill(~batch["valid"][..., None], 0.0)
        h, _ = self.body(u)
        return nn.functional.selu(self.head(self.dropout(h))[..., 0])

    def start_at(self, value: float) -> None:
        """Begin with answers around `value` > 0: for a target that is not scaled."""
        with torch.no_grad():
            self.head.bias.fill_(value / SELU_SLOPE)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Each embedding with its L2 weight; all else under the optimiser's own setting."""
        return self.embeddings.groups_of(self, self.embedding_decay)
