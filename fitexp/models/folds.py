"""Any single network, trained side by side for L folds of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

SHARED = ("item_profile",)  # what a batch holds once for all folds


class Folds(nn.Module):
    """L networks of one kind: each parameter is one tensor with a leading fold axis.

    build: makes one network, forward(batch without fold axis) -> (B, S, N). It is called L times,
    so that fold l starts as the l-th of L networks built one after the other. Names in
    `state_dict` stay those of the network. With L > 1 the forward pass is functional_call under
    torch.vmap over parameters, buffers and batch, each fold with its own dropout; with L = 1 it is
    a plain call.

    Adam, being elementwise, steps each fold as if it were alone if the loss is the *sum* over folds
    of each fold's loss. Clipping by the norm of all gradients would tie the folds together.

    vmap does not take (torch 2.13): torch's fused nn.RNN, nn.GRU, nn.LSTM, which is why networks
    here step through time by themselves where spec.folds > 1 (`models.recurrent`); branches that
    depend on values of a tensor, .item(), boolean indexing; buffers that are changed in the forward
    pass, as by batch norm.

    Shapes: `batch` with a fold axis, (L, B, T, ..), item_profile without; returns (L, B, S, N).
    """

    def __init__(self, *, build: Callable[[], nn.Module], folds: int) -> None:
        super().__init__()
        networks = [build() for _ in range(folds)]
        one = networks[0]
        for name, _ in [*one.named_parameters()]:
            values = torch.stack([network.get_parameter(name).detach() for network in networks])
            _replace(one, name, nn.Parameter(values))
        for name, _ in [*one.named_buffers()]:
            _replace(one, name, torch.stack([network.get_buffer(name) for network in networks]))
        # What the network holds is this module's own, under the same names; the network itself,
        # whose forward pass is borrowed, is kept in a tuple lest it be registered as well.
        self._parameters, self._buffers, self._modules = one._parameters, one._buffers, one._modules
        self.one, self.folds = (one,), folds

    def train(self, mode: bool = True) -> Folds:
        self.one[0].training = mode  # its children are also this module's
        super().train(mode)
        return self

    def described(self) -> dict[str, str]:
        """What the network says of itself in words; numbers would be those of all folds at once."""
        own: dict[str, Any] = getattr(self.one[0], "described", dict)()
        return {label: said for label, said in own.items() if isinstance(said, str)}

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        shared = {name: values for name, values in batch.items() if name in SHARED}
        own = {name: values for name, values in batch.items() if name not in SHARED}

        def one(state: dict[str, Tensor], own: dict[str, Tensor]) -> Tensor:
            found: Tensor = functional_call(self.one[0], state, ({**own, **shared},))
            return found

        if self.folds == 1:
            return one(_first(state), _first(own))[None]
        stacked: Tensor = vmap(one, randomness="different")(state, own)
        return stacked


def _first(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[0] for name, value in values.items()}


def _replace(network: nn.Module, name: str, value: Tensor) -> None:
    place, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(place), leaf, value)
