"""The decoder of FitRec-Attn with additive (tanh) attention, which does vary with time.

    beta_t = softmax_i(v' tanh(U_i + W_q d_(t-1))),  c_t = sum_i beta_(t,i) h_i
    z_t = x_t + W_d d_(t-1) + W_c c_t [+ W_p c_(t-1)],  (d_t, s_t) = LSTM cell of gates z_t, s_(t-1)

U = W_h h + b is computed once per sequence. x_t holds what is known beforehand (bias, measured
y_(t-1)); W_p is there in free running only, where y_(t-1) = w_d.d + w_o.c + b_o is fed back.

Source: Bahdanau, Cho, Bengio, ICLR 2015; Ni, Muhlstein, McAuley, WWW 2019 (their
programs' decoder).
Shapes: memory, h (B, T, D); keys, U (B, T, A); valid (B, T) bool; x, z (T, B, 4 D), gates in
torch's order i, f, g, o; W_q (A, D); v (A,); W_d, W_c, W_p (4 D, D); d, c, s (T, B, D);
beta (T, B, T).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fitexp.models.attention import masked_softmax

RECOMPUTE_FROM = 32  # steps from which the hand-written backward is faster as well as smaller


def decode(
    memory: Tensor,
    keys: Tensor,
    valid: Tensor,
    x: Tensor,
    query: Tensor,
    energy: Tensor,
    recur: Tensor,
    read: Tensor,
    feedback: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(memory, U, valid, x, W_q, v, W_d, W_c, W_p or None) -> d, c, beta.

    Long sequences go through `RecomputedDecoder`, else autograd would keep a (B, T, A) tanh for
    each of T steps. Both give the same numbers.
    """
    arguments = (memory, keys, valid, x, query, energy, recur, read, feedback)
    if torch.is_grad_enabled() and len(x) >= RECOMPUTE_FROM:
        d, c, beta = RecomputedDecoder.apply(*arguments)  # type: ignore[no-untyped-call]
        return d, c, beta
    return loop(*arguments)[:3]


def loop(
    memory: Tensor,
    keys: Tensor,
    valid: Tensor,
    x: Tensor,
    query: Tensor,
    energy: Tensor,
    recur: Tensor,
    read: Tensor,
    feedback: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The recurrence as a plain loop, which autograd can follow -> d, c, beta, z, s."""
    d = s = c = memory.new_zeros(memory.shape[0], memory.shape[2])
    # Without autograd one buffer serves all steps; freshly allocated ones leave holes in the heap.
    buffer = None if torch.is_grad_enabled() else torch.empty_like(keys)
    steps = []
    for x_t in x:
        th = torch.add(keys, (d @ query.T)[:, None], out=buffer).tanh_()
        scores = th @ energy
        beta = masked_softmax(scores, valid)
        z = torch.addmm(x_t, d, recur.T)
        if feedback is not None:
            z = torch.addmm(z, c, feedback.T)
        c = torch.bmm(beta[:, None], memory)[:, 0]
        z = torch.addmm(z, c, read.T)
        i, f, g, o = z.chunk(4, dim=-1)
        s = f.sigmoid() * s + i.sigmoid() * g.tanh()
        d = o.sigmoid() * s.tanh()
        steps.append((d, c, beta, z, s))
    d_all, c_all, beta_all, z_all, s_all = (torch.stack(of) for of in zip(*steps, strict=True))
    return d_all, c_all, beta_all, z_all, s_all


class RecomputedDecoder(torch.autograd.Function):
    """`loop` with its backward written by hand.

    tanh is computed again in the backward instead of kept, T (B, T, A) tensors in all, and the
    gradients of the weights are one matrix product over all steps each. Not twice
    differentiable; beta carries no gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        memory, keys, valid, _, query, energy, recur, read, feedback = arguments
        d, c, beta, z, s = loop(*arguments)
        ctx.save_for_backward(
            memory, keys, valid, query, energy, recur, read, feedback, d, c, beta, z, s
        )
        ctx.mark_non_differentiable(beta)
        return d, c, beta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_grad: Tensor, c_grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        memory, keys, valid, query, energy, recur, read, feedback, d, c, beta, z, s = (
            ctx.saved_tensors
        )
        T, B, D = d.shape
        d_before, c_before, s_before = (_delayed(state) for state in (d, c, s))
        queries = d_before @ query.T
        i, f, g, o = z.chunk(4, dim=-1)
        i, f, g, o, s_out = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), s.tanh()
        # Derivatives of s_t by the gates i, f, g, and of d_t by the gate o and by s_t.
        by_state = torch.stack(
            [g * i * (1 - i), s_before * f * (1 - f), i * (1 - g * g)], dim=2
        )  # (T, B, 3, D)
        by_output, s_to_d = s_out * o * (1 - o), o * (1 - s_out * s_out)
        del i, g, o, s_out

        z_grad, q_grad, c_total = torch.empty_like(z), torch.empty_like(queries), c_grad.clone()
        v_grad, score_sum = torch.zeros_like(energy), torch.zeros_like(beta[0])
        squares = torch.zeros_like(keys)  # sum over t of score gradient * tanh^2
        d_back = s_back = c_back = torch.zeros_like(d[0])
        masked, buffer = ~valid, torch.empty_like(keys)
        for t in range(T - 1, -1, -1):
            d_t = d_grad[t] + d_back
            s_t = torch.addcmul(s_back, d_t, s_to_d[t])
            z_t = z_grad[t]
            torch.mul(s_t[:, None], by_state[t], out=z_t[:, : 3 * D].view(B, 3, D))
            torch.mul(d_t, by_output[t], out=z_t[:, 3 * D :])
            c_t = c_total[t].addmm_(z_t, read).add_(c_back)
            beta_t = beta[t]
            weighted = torch.bmm(memory, c_t[:, :, None])[..., 0].mul_(beta_t)
            score = weighted.addcmul_(beta_t, weighted.sum(1, keepdim=True), value=-1)
            score = score.masked_fill_(masked, 0.0)
            th = torch.add(keys, queries[t][:, None], out=buffer).tanh_()
            v_grad += score.reshape(-1) @ th.reshape(-1, th.shape[2])
            th_2 = th.square_()
            through = torch.bmm(score[:, None], th_2)[:, 0]
            torch.sub(score.sum(1, keepdim=True), through, out=q_grad[t]).mul_(energy)
            squares.addcmul_(th_2, score[..., None])
            score_sum += score
            d_back = torch.addmm(z_t @ recur, q_grad[t], query)
            s_back = s_t * f[t]
            if feedback is not None:
                c_back = z_t @ feedback
        flat = z_grad.reshape(T * B, 4 * D).T
        return (
            torch.bmm(beta.permute(1, 2, 0), c_total.transpose(0, 1)),
            squares.neg_().add_(score_sum[..., None]).mul_(energy),
            None,
            z_grad,
            q_grad.reshape(T * B, -1).T @ d_before.reshape(T * B, D),
            v_grad,
            flat @ d_before.reshape(T * B, D),
            flat @ c.reshape(T * B, D),
            None if feedback is None else flat @ c_before.reshape(T * B, D),
        )


def _delayed(states: Tensor) -> Tensor:
    """(T, B, D) -> the same one step later, starting at 0."""
    return torch.cat([torch.zeros_like(states[:1]), states[:-1]])
