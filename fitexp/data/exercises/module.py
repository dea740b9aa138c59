"""Prepared events as whole batches of tensors, with an axis of folds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fitexp.data.batches import Batch
from fitexp.data.module import PreparedBatches
from fitexp.data.prepare import Prepared


class EventGather:
    """Rows of a part by row gather: row numbers (B,) -> a batch of B rows in each of L folds.

    A row is an event ("last") or a user's whole history ("every"). Every fold has its own list of
    rows; a shorter list is filled up with rows whose mask is 0.

    Batch (N items; S = 1 for "last", T for "every"): items (L, B, T) past items, oldest first, N
    where there is none; valid (L, B, T) there is one; features (L, B, T, F) and profile (L, B, P)
    scaled, a missing one as the mean of the fold's training part; item_profile (N, Q); target
    (L, B, S) item that came; mask (L, B, S) 1 where it counts; event (L, B, S) its number; had
    (L, B, H) items of all that the user did before, N elsewhere: of the whole past, also where the
    window is shorter; with "every" it is `items`.
    With "every", position t holds event t - 1 and its target is event t.
    """

    def __init__(self, prepared: Prepared, part: str) -> None:
        spec, arrays = prepared.spec, prepared.arrays

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.array(arrays[name]))  # a copy: the cache is read-only

        self.every = spec.answers == "every"
        self.nothing, self.window = len(spec.items), spec.window
        self.user, self.item, self.begin = tensor("user"), tensor("item"), tensor("begin")
        self.past = tensor("past")
        self.longest = int(self.begin.diff().max())
        self.features, self.profile = tensor("features"), tensor("profile")
        self.feature_scaling = [tensor(f"feature_{name}") for name in ("mean", "center", "scale")]
        self.profile_scaling = [tensor(f"profile_{name}") for name in ("center", "center", "scale")]
        self.item_profile = tensor("item_profile")
        self.counts = torch.zeros(spec.folds, len(self.item), dtype=torch.bool)
        self.counts[tuple(tensor(part).T)] = True
        self.rows = self._rows(arrays[part])

    def _rows(self, pairs: np.ndarray) -> Tensor:
        """(L, R) event or user numbers of each fold, -1 behind the end of a list."""
        fold, event = pairs.T
        if self.every:
            pairs = np.unique(np.stack([fold, self.user.numpy()[event]], axis=1), axis=0)
            fold, event = pairs.T
        length = np.bincount(fold, minlength=len(self.counts))
        rows = np.full((len(length), max(length, default=0)), -1)
        place = np.arange(len(fold)) - np.repeat(np.cumsum(length) - length, length)
        rows[fold, place] = event
        return torch.from_numpy(rows)

    def __len__(self) -> int:
        return self.rows.shape[1]

    def __call__(self, rows: np.ndarray) -> Batch:
        return self.of(self.rows[:, torch.from_numpy(rows)], torch.arange(len(self.rows)))

    def of(self, row: Tensor, fold: Tensor) -> Batch:
        """The batch of chosen events or users (L', B), -1 for none, scaled as folds (L',) are."""
        exists, row = row >= 0, row.clamp(min=0)
        if self.every:
            user = row
            step = torch.arange(self.window)
            event = self.begin[user][..., None] + step
            inside = event < self.begin[user + 1][..., None]
            event = torch.minimum(event, self.begin[user + 1][..., None] - 1)
            past = torch.where(inside & (step > 0), event - 1, -1)
        else:
            user, event, past = self.user[row], row[..., None], self.past[row]
            inside = torch.ones_like(event, dtype=torch.bool)
        valid, past = past >= 0, past.clamp(min=0)
        items = torch.where(valid, self.item[past], self.nothing)
        counts = self.counts[fold[:, None, None], event] & inside & exists[..., None]
        return {
            "items": items,
            "valid": valid,
            "features": _scaled(self.features[past], self.feature_scaling, fold) * valid[..., None],
            "profile": _scaled(self.profile[user], self.profile_scaling, fold),
            "item_profile": self.item_profile,
            "target": self.item[event],
            "mask": counts.float(),
            "event": event,
            "had": items if self.every else self._had(user, event),
        }

    def _had(self, user: Tensor, event: Tensor) -> Tensor:
        """(L', B, H) items of users (L', B) before their events (L', B, 1); H: the most of a user.

        It costs a number an event of the longest history: nothing beside a network's step.
        """
        before = self.begin[user][..., None] + torch.arange(self.longest)
        return torch.where(before < event, self.item[torch.minimum(before, event)], self.nothing)


def _scaled(values: Tensor, scaling: list[Tensor], fold: Tensor) -> Tensor:
    """(values (L', ..., F) - center) / scale of folds (L',); what is missing, NaN, is the mean.

    scaling: mean, center, scale, each (L, F). A success of unknown outcome is no failure: success,
    normlag and normfreq are not centred, so that 0 is a value of theirs and the mean is not 0.
    """
    shape = (len(fold), *[1] * (values.ndim - 2), values.shape[-1])
    mean, center, scale = (s[fold].view(shape) for s in scaling)
    return (torch.where(values.isnan(), mean, values) - center) / scale


class ExercisesData(PreparedBatches):
    """Events, or whole histories, of all folds; batch_size counts rows of each fold."""

    def gather(self, part: str, extra: int) -> EventGather:
        """No steps follow an event: `extra` is 0."""
        return EventGather(self.prepared, part)
