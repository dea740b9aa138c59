"""What FitRec and FitRec-Attn know besides the plan: who it is and how the last workout went.

Source: Ni, Muhlstein, McAuley, WWW 2019, sections on attribute and contextual embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError

ACTIVATIONS = ("none", "selu")


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Raise InputError if the config's `key` holds none of `choices`."""
    if value not in choices:
        raise InputError(f"{key}: {value!r} is not one of {', '.join(choices) or '(none)'}")


class AttributeEmbeddings(nn.Module):
    """e_(a_i) = E_(a_i)(a_i), one table per attribute, side by side.

    Entry 0 of every vocabulary (a value not seen in training) is the zero vector and stays it.
    Shape: attributes (B, M) in the order of `spec.attributes` -> (B, len(names) * width).
    Raises InputError for a name that the data does not have, and for one named twice.
    """

    def __init__(self, *, names: Sequence[str], width: int, spec: WorkoutSpec) -> None:
        super().__init__()
        known = list(spec.attributes)
        for name in names:
            check_choice("model.attributes", name, known)
            if list(names).count(name) > 1:
                raise InputError(f"model.attributes: {name!r} is named twice")
        self.columns = [known.index(name) for name in names]
        self.width = len(names) * width
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(len(spec.attributes[name]), width, padding_idx=0) for name in names}
        )

    def forward(self, attributes: Tensor) -> Tensor:
        rows = [
            table(attributes[:, column])
            for table, column in zip(self.tables.values(), self.columns, strict=True)
        ]
        if not rows:
            return torch.zeros(len(attributes), 0, device=attributes.device)
        return torch.cat(rows, dim=-1)

    def decay_groups(self, decay: Mapping[str, float]) -> list[dict[str, object]]:
        """One optimiser group per table with its L2 weight, `decay[name]`."""
        missing = [name for name in self.tables if name not in decay]
        if missing:
            raise InputError(f"model.embedding_decay: no value for {', '.join(missing)}")
        return [
            {"params": list(table.parameters()), "weight_decay": float(decay[name])}
            for name, table in self.tables.items()
        ]

    def groups_of(self, network: nn.Module, decay: Mapping[str, float]) -> list[dict[str, object]]:
        """`decay_groups`, and one group for all else of the network that has these tables."""
        embedded = {id(weight) for weight in self.parameters()}
        rest = [weight for weight in network.parameters() if id(weight) not in embedded]
        return [*self.decay_groups(decay), {"params": rest}]


class ContextEncoder(nn.Module):
    """e_t = act(W_e [h_1,t; h_2,t] + b_e), two LSTMs over the previous workout.

    h_1 reads the previous inputs and the days since then (`since_last`), h_2 the previous target.
    Dropout falls on [h_1; h_2]. The notes have no activation; `selu` is the authors' program.
    Beyond `last`, the previous workout's last step, e_t is held; without one it is 0.

    Shape: context (B, T, F + 1), context_y (B, T), last (B,), has (B,) bool -> (B, T, width).
    """

    def __init__(
        self, *, inputs: int, hidden: int, width: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        self.inputs = nn.LSTM(inputs + 1, hidden, batch_first=True)
        self.target = nn.LSTM(1, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(2 * hidden, width)
        self.activation = nn.SELU() if activation == "selu" else nn.Identity()

    def forward(self, context: Tensor, context_y: Tensor, last: Tensor, has: Tensor) -> Tensor:
        states = torch.cat([self.inputs(context)[0], self.target(context_y[..., None])[0]], dim=-1)
        e: Tensor = self.activation(self.project(self.dropout(states)))
        steps = torch.arange(e.shape[1], device=e.device)
        held = torch.minimum(steps, last.clamp(min=0)[:, None])  # (B, T)
        e = e.gather(1, held[..., None].expand_as(e))
        return e.masked_fill(~has[:, None, None], 0.0)
