"""A bidirectional GRU whose training step on a CPU is faster than nn.GRU's where it is narrow.

For each direction, with h' the state before (zero at first) and x the input of the step

    r = sigmoid(W_ir x + b_ir + W_hr h' + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h' + b_hz)
    q = W_hn h' + b_hn
    n = tanh(W_in x + b_in + r q)
    h = (1 - z) n + z h'

Source: documentation of nn.GRU, which has no name for q. It stands alone because r multiplies it.

Three things make it fast. Both directions take their k-th step together, in one product of
matrices: forwards that is step k, backwards step T - 1 - k. The rows of a step are q, r, z, n, so
that W_h writes the first three of the four and W_i the last three, in place. The steps are taken
in chunks: the inputs' part of a chunk is one product, and a chunk is small enough to stay in the
processor's cache from that product to the gates. The wider the states and the more windows at once,
the more of the time goes into products, and the less is gained.

Shapes: x (T, F, B); W_i (2, 3 D, F), rows r, z, n; W_h (2, 3 D, D), rows q, r, z; bias (2, 4 D),
rows q, r, z, n; gates (T, 2, 4 D, B) in the order in which the steps are taken; states
(T + 2, 2 D, B) in the order of time, between two zero states. Directions: forwards, backwards.
Windows come last, so that a gate of one direction is one block of memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 8  # steps


class BiGRU(nn.GRU):
    """nn.GRU(bidirectional=True, batch_first=True) from a zero state: same parameters and numbers.

    A state_dict fits either. Other devices, and autocast, get nn.GRU's own loop.

    Not twice differentiable on a CPU, and torch.func cannot take it apart.
    Shape: x (B, T, F) -> states (B, T, 2 D) of the last layer, last states (2 layers, B, D).
    """

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__(inputs, hidden, num_layers=layers, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            states, last = super().forward(x)
            return states, last
        D, ends = self.hidden_size, []
        x = x.permute(1, 2, 0).contiguous()
        for layer in range(self.num_layers):
            x = both_ways(x, *self._weights(layer))
            ends += [x[-1, :D], x[0, D:]]
        return x.permute(2, 0, 1), torch.stack(ends).transpose(1, 2)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """W_i, W_h, bias: of both directions, rows in this file's order."""

        def both(name: str) -> Tensor:
            ways = (f"{name}_l{layer}", f"{name}_l{layer}_reverse")
            return torch.stack([self.get_parameter(way) for way in ways])

        rows = 2 * self.hidden_size  # of r and z, before those of n
        w_h, b_i, b_h = both("weight_hh"), both("bias_ih"), both("bias_hh")
        bias = [b_h[:, rows:], b_i[:, :rows] + b_h[:, :rows], b_i[:, rows:]]
        return both("weight_ih"), torch.cat([w_h[:, rows:], w_h[:, :rows]], 1), torch.cat(bias, 1)


def both_ways(x: Tensor, w_i: Tensor, w_h: Tensor, bias: Tensor) -> Tensor:
    """One layer: x (T, F, B) -> states (T, 2 D, B). Without autograd no gates are kept."""
    if torch.is_grad_enabled():
        states: Tensor = BothWays.apply(x, w_i, w_h, bias)  # type: ignore[no-untyped-call]
        return states
    return run(x, w_i, w_h, bias, keep=False)[0][1:-1]


def run(x: Tensor, w_i: Tensor, w_h: Tensor, bias: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
    """-> states, gates. Unless `keep`, the gates are one chunk's buffer, used again and again.

    Autograd cannot follow: it writes in place.
    """
    T, F, B = x.shape
    D = w_h.shape[2]
    gates = x.new_empty(T if keep else min(CHUNK, T), 2, 4 * D, B)
    states = x.new_empty(T + 2, 2 * D, B)
    states[0] = states[-1] = 0
    w_i = w_i.repeat(CHUNK, 1, 1)  # one for each step of a chunk and direction
    h = x.new_zeros(2, D, B)
    fresh = x.new_empty(CHUNK, 2, D, B)  # states of the chunk
    for start, stop in chunks(T):
        count = stop - start
        chunk = gates[start:stop] if keep else gates[:count]
        chunk.copy_(bias[..., None])
        inputs = in_step(x, x, start, stop).view(2 * count, F, B)
        chunk.view(2 * count, 4 * D, B)[:, D:].baddbmm_(w_i[: 2 * count], inputs)
        for gate, out in zip(chunk, fresh[:count], strict=True):
            gate[:, : 3 * D].baddbmm_(w_h, h)
            gate[:, D : 3 * D].sigmoid_()
            q, r, z, n = gate.split(D, dim=1)
            n.addcmul_(r, q).tanh_()
            h = torch.lerp(n, h, z, out=out)
        states[1 + start : 1 + stop, :D] = fresh[:count, 0]
        states[1 + T - stop : 1 + T - start, D:] = fresh[:count, 1].flip(0)
    return states, gates


class BothWays(torch.autograd.Function):
    """`run` with its backward written by hand.

    With g the gradient of h, from above and from the step behind it, the gradients before each
    function (of q: itself) are g times these slopes, which a chunk has at once:

        n: (1 - z) (1 - n^2)      q: slope of n, times r
        z: (h' - n) z (1 - z)     r: slope of n, times q r (1 - r)

    and the step before is handed g z + W_h' [g_q; g_r; g_z].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_i: Tensor, w_h: Tensor, bias: Tensor) -> Tensor:
        states, gates = run(x, w_i, w_h, bias, keep=True)
        ctx.save_for_backward(x, w_i, w_h, states, gates)
        return states[1:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        x, w_i, w_h, states, gates = ctx.saved_tensors
        T, F, B = x.shape
        D = w_h.shape[2]
        x_grad = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        w_i_grad, w_h_grad = torch.zeros_like(w_i), torch.zeros_like(w_h)
        bias_grad = x.new_zeros(2, 4 * D)
        back_i = w_i.transpose(1, 2).repeat(CHUNK, 1, 1)
        back_h = w_h.transpose(1, 2).contiguous()
        handed = x.new_zeros(2, D, B)  # from the step behind
        slopes, gate_grads = x.new_empty(2, CHUNK, 2, 4, D, B)
        for start, stop in reversed(chunks(T)):
            count = stop - start
            q, r, z, n = gates[start:stop].view(count, 2, 4, D, B).unbind(2)
            # The state before lies one step earlier forwards, one later backwards.
            before = in_step(states[:-2, :D], states[2:, D:], start, stop)
            inputs = in_step(x, x, start, stop)
            h_grad = in_step(grad[:, :D], grad[:, D:], start, stop)

            by_q, by_r, by_z, by_n = slopes[:count].unbind(2)
            rest = 1 - z
            torch.addcmul(rest, rest, n * n, value=-1, out=by_n)
            torch.mul(by_n, r, out=by_q)
            torch.mul((1 - r).mul_(q), by_q, out=by_r)
            torch.mul((before - n).mul_(z), rest, out=by_z)

            flat = gate_grads[:count].view(count, 2, 4 * D, B)
            for t in reversed(range(count)):
                g = h_grad[t].add_(handed)
                torch.mul(slopes[t], g[:, None], out=gate_grads[t])
                handed = torch.mul(g, z[t]).baddbmm_(back_h, flat[t, :, : 3 * D])
            for t in range(count):
                w_h_grad.baddbmm_(flat[t, :, : 3 * D], before[t].transpose(1, 2))
                w_i_grad.baddbmm_(flat[t, :, D:], inputs[t].transpose(1, 2))
            bias_grad += flat.sum((0, 3))
            if x_grad is not None:
                through = flat.view(2 * count, 4 * D, B)[:, D:]
                to_x = torch.bmm(back_i[: 2 * count], through).view(count, 2, F, B)
                x_grad[start:stop] += to_x[:, 0]
                x_grad[T - stop : T - start] += to_x[:, 1].flip(0)
        return x_grad, w_i_grad, w_h_grad, bias_grad


def chunks(T: int) -> list[tuple[int, int]]:
    """[start, stop) of each chunk of T steps, in the order in which they are taken."""
    return [(start, min(start + CHUNK, T)) for start in range(0, T, CHUNK)]


def in_step(forwards: Tensor, backwards: Tensor, start: int, stop: int) -> Tensor:
    """A copy of steps [start, stop) as taken, (stop - start, 2, F, B), from two (T, F, B)."""
    T = len(forwards)
    return torch.stack([forwards[start:stop], backwards[T - stop : T - start].flip(0)], dim=1)
