"""Prepared workouts as whole batches of tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fitexp.data.batches import Batch, Batches
from fitexp.data.module import PreparedBatches
from fitexp.data.prepare import Prepared, scored


class WorkoutGather:
    """Windows of workouts by row gather: row numbers (B,) -> batch of B windows.

    Batch, in physical units where not said otherwise (B windows, T steps, F inputs, M attributes):
    x (B, T, F) scaled; valid (B, T) the step exists; attributes (B, M); y (B, T) scored target,
    filled where it was not measured; mask (B, T) 1, in training the person's weight, where
    a step counts: measured and existing, and outside training in the short regime only the last
    step; y0 (B,) the value before the window; y_previous (B, T) target one step
    earlier; workout, first (B,) which window it is.
    With a history also context (B, T, F+1) scaled inputs of the earlier workout and days since
    the previous one, context_y (B, T), context_last (B,) index of the context's last step in the
    window, has_context (B,).

    Context is the same step of the earlier workout. Behind its end its last step is repeated;
    `context_last` lets a model hold its state there instead. A window that begins behind the end
    sees the last step only.
    `extra` steps follow the window (rollouts of the short regime): T becomes T + extra.
    """

    def __init__(self, prepared: Prepared, part: str, extra: int = 0) -> None:
        spec, arrays = prepared.spec, prepared.arrays

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.array(arrays[name]))  # a copy: the cache is read-only

        self.windows = tensor(part)
        self.steps = spec.steps
        self.length = spec.steps + extra
        self.weight = tensor("weight") if part == "train" else None  # of people; scores have none
        self.last_only = spec.regime == "short" and part != "train"
        self.x, self.y, self.observed = tensor("x"), tensor("y"), tensor("observed")
        self.scored = torch.from_numpy(np.array(scored(arrays)))  # y is what is fed
        self.offset, self.start = tensor("offset"), tensor("start")
        self.attributes = tensor("attributes")
        self.piece_end = tensor("piece_end") if spec.regime == "short" else None
        self.history = spec.history != "none"
        self.previous, self.since_last = tensor("previous"), tensor("since_last")

    def __len__(self) -> int:
        return len(self.windows)

    def __call__(self, rows: np.ndarray) -> Batch:
        workout, first = self.windows[torch.from_numpy(rows)].unbind(1)
        begin = self.offset[workout]
        end = self.offset[workout + 1] - begin  # (B,) steps of the workout
        if self.piece_end is not None:
            end = self.piece_end[begin + first]
        step = first[:, None] + torch.arange(self.length)  # (B, T) step within the workout
        valid = step < end[:, None]
        row = begin[:, None] + torch.minimum(step, end[:, None] - 1)
        mask = (valid & self.observed[row]).float()
        if self.weight is not None:
            mask *= self.weight[workout][:, None]
        if self.last_only:
            mask[:, : self.steps - 1] = 0.0
            mask[:, self.steps :] = 0.0
        y = self.y[row]
        before = (begin + first - 1).clamp(min=0)
        y0 = torch.where(first > 0, self.y[before], self.start[workout])
        batch = {
            "x": self.x[row] * valid[..., None],
            "valid": valid,
            "attributes": self.attributes[workout],
            "y": self.scored[row],
            "mask": mask,
            "y0": y0,
            "y_previous": torch.cat([y0[:, None], y[:, :-1]], dim=1),
            "workout": workout,
            "first": first,
        }
        return {**batch, **self._context(workout, first, step)} if self.history else batch

    def _context(self, workout: Tensor, first: Tensor, step: Tensor) -> Batch:
        earlier = self.previous[workout]
        has_context = earlier >= 0
        earlier = earlier.clamp(min=0)
        begin = self.offset[earlier]
        last = self.offset[earlier + 1] - begin - 1  # (B,)
        row = begin[:, None] + torch.minimum(step, last[:, None])
        since = self.since_last[workout][:, None, None].expand(-1, step.shape[1], 1)
        context = torch.cat([self.x[row], since], dim=2)
        within = last - first  # below 0: the context ended before the window began
        top = step.shape[1] - 1
        return {
            "context": context * has_context[:, None, None],
            "context_y": self.y[row],
            "context_last": torch.where(within < 0, top, within.clamp(max=top)),
            "has_context": has_context,
        }


class WorkoutsData(PreparedBatches):
    """Windows of prepared workouts."""

    def gather(self, part: str, extra: int) -> WorkoutGather:
        return WorkoutGather(self.prepared, part, extra)

    def test_dataloader(self) -> Batches:
        return self.tested("test")

    def tested(self, part: str) -> Batches:
        """Batches of a part as it is tested: long enough for every horizon."""
        horizons = self.prepared.spec.horizons.values()
        return self.batches(part, extra=max(horizons, default=1) - 1)
