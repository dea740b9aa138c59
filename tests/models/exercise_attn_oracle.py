"""Equations (1) to (7) of the exercise recommender, one fold, one row and one event at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fitexp.models.exercise_attn import ExerciseAttn, FoldLinear
from tests.models.exercises import Batch


def literal(model: ExerciseAttn, batch: Batch) -> Tensor:
    """(L, B, 1, N), with the parameters of `model` and its dropout off."""
    folds = [_fold(model, batch, fold) for fold in range(len(batch["items"]))]
    return torch.stack(folds)[:, :, None]


def _fold(model: ExerciseAttn, batch: Batch, fold: int) -> Tensor:
    def W(layer: FoldLinear, x: Tensor) -> Tensor:
        y = layer.weight[fold].T @ x
        return y if layer.bias is None else y + layer.bias[fold, 0]

    def circled_plus(a: Tensor, b: Tensor) -> Tensor:
        return {"sum": torch.add, "product": torch.mul}[model.combine](a, b)

    def softmax(x: Tensor) -> Tensor:
        return x.exp() / x.exp().sum()

    relu = torch.relu
    B, w = batch["items"].shape[1:]
    N, K = model.items, model.width
    phi, exists = [], []
    for b in range(B):
        H_u = relu(W(model.W_u, batch["profile"][fold, b]))
        psi, p = [], []
        for t in range(w):
            item, there = int(batch["items"][fold, b, t]), bool(batch["valid"][fold, b, t])
            one_hot = torch.zeros(N, dtype=torch.float64)
            E = torch.zeros_like(batch["item_profile"][0])
            if there:
                one_hot[item] = 1.0
                E = batch["item_profile"][item]
            H_x = relu(W(model.W_x, torch.cat([one_hot, batch["features"][fold, b, t]])))
            p_u = softmax(circled_plus(W(model.W_1, H_x), W(model.W_2, H_u)))
            psi.append(p_u * W(model.W_1, H_x) * (K if model.rescale else 1))
            H_e = relu(W(model.W_e, E))
            p.append(softmax(circled_plus(W(model.W_3, psi[t]), W(model.W_4, H_e))))
            exists.append(there)
        for t in range(w):
            weight = p[t][t] if model.attention_over == "own" else p[w - 1][t]
            phi.append(weight * psi[t] * (w if model.rescale else 1))
    series = torch.stack(phi).view(B, w, K)
    there = torch.tensor(exists).view(B, w)
    if model.recurrence == "batch":
        assert there.all()
        states = list(_cell(model, fold, series)[:, -1])  # rows are steps
    else:
        states = [_last(model, fold, series[b][there[b]]) for b in range(B)]
    if model.W_o is not None:
        states = [relu(W(model.W_o, h)) for h in states]
    return torch.stack([W(model.W_y, h) for h in states])


def _last(model: ExerciseAttn, fold: int, events: Tensor) -> Tensor:
    if not len(events):
        return events.new_zeros(model.hidden)
    return _cell(model, fold, events[:, None])[-1, 0]


def _cell(model: ExerciseAttn, fold: int, series: Tensor) -> Tensor:
    """torch's own RNN, GRU or LSTM over the first axis, with one fold's parameters."""
    bias = model.W_phi.bias is not None
    made = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.cell]
    more = {"nonlinearity": "relu"} if model.cell == "rnn" else {}
    network = made(model.width, model.hidden, bias=bias, dtype=torch.float64, **more)
    state = {
        "weight_ih_l0": model.W_phi.weight[fold].T,
        "weight_hh_l0": model.W_h.weight[fold].T,
    }
    if model.W_phi.bias is not None and model.W_h.bias is not None:
        state |= {"bias_ih_l0": model.W_phi.bias[fold, 0], "bias_hh_l0": model.W_h.bias[fold, 0]}
    states: Tensor = torch.func.functional_call(network, state, (series,))[0]
    return states
