"""Prepared windows as whole batches of tensors."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import torch
from numpy.typing import NDArray

from fitexp.data.batches import Batch, Batches
from fitexp.data.module import PreparedBatches
from fitexp.data.prepare import Prepared

LOW = 1e-12  # a series that does not vary in a window is not divided by its range


class WindowGather:
    """Windows of a part by row gather: row numbers (B,) -> a batch.

    Batch (T steps, F inputs, S answers: 1 for "last", T for "every"): x (B, T, F) scaled, absent
    values 0 before they are scaled; valid (B, T) nothing is absent; time (B, 4) sine and cosine of
    month / 12 and of hour / 24 at the first step, 0 where the time is unknown; statics (B, C)
    scaled, missing: 0 (z-scores) or the middle of the range; rows (B, 2) number of the user and of
    the first row; y (B, S) bpm, mask (B, S) 1 where it counts. With "every", position t answers the
    heart rate of the epoch behind epoch t; only the last counts where a model is validated or
    tested.
    dense: of the training part, the windows that networks are trained on.
    """

    def __init__(self, prepared: Prepared, part: str, *, dense: bool = False) -> None:
        spec, arrays = prepared.spec, prepared.arrays
        self.every = spec.answers == "every"
        self.uncounted = slice(spec.from_step if part == "train" else -1)
        self.steps = np.arange(spec.steps)
        trained = "dense" if dense and part == "train" and "dense" in arrays else part
        self.window = np.asarray(arrays[trained])
        self.first, self.user = arrays["window_first"], np.asarray(arrays["window_user"])
        self.series, self.heart_rate = arrays["series"], arrays["heart_rate"]
        self.target = np.asarray(arrays["target"])
        self.logs = len(spec.inputs) > len(spec.series)
        self.by_window = spec.scaled == "window"
        self.center, self.scale = _of(spec, spec.inputs)
        since = (np.asarray(self.first) - arrays["begin"][self.user]) * spec.step_s
        self.time = clock(arrays["start_s"][self.user] + since)
        center, scale = _of(spec, spec.statics)
        known = arrays["users"][:, [spec.columns.index(name) for name in spec.statics]]
        missing = 0.0 if spec.scaled == "zscore" else 0.5
        self.statics = np.nan_to_num((known - center) / scale, nan=missing).astype(np.float32)

    def __len__(self) -> int:
        return len(self.window)

    def __call__(self, rows: NDArray[np.int64]) -> Batch:
        return self.of(self.window[rows])

    def of(self, window: NDArray[np.int64]) -> Batch:
        """The batch of chosen windows (B,)."""
        row = np.asarray(self.first)[window][:, None] + self.steps
        raw = self.series[row]
        target = self.target[window][:, None]
        if self.every:
            y = np.concatenate([self.heart_rate[row[:, 1:]], target], axis=1)
            counts = np.isfinite(y)
            counts[:, self.uncounted] = False
        else:
            y, counts = target, np.isfinite(target)
        batch = {
            "x": self._scaled(np.nan_to_num(raw)),
            "valid": np.isfinite(raw).all(axis=-1),
            "time": self.time[window],
            "statics": self.statics[self.user[window]],
            "rows": np.stack([self.user[window], row[:, 0]], axis=1),
            "y": np.nan_to_num(y).astype(np.float32),
            "mask": counts.astype(np.float32),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in batch.items()}

    def _scaled(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        x = np.concatenate([raw, np.log1p(raw)], axis=-1) if self.logs else raw
        if self.by_window:
            low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
            return np.asarray((x - low) / np.where(high - low > LOW, high - low, 1.0))
        return ((x - self.center) / self.scale).astype(np.float32)


def clock(seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 4) sin, cos of 2 pi month / 12 and sin, cos of 2 pi hour / 24 (eq. 4, 5); 0: unknown.

    seconds: local time since 1970. month from 1, hour from 0, both whole numbers.
    Departure: divisors are 12 and 24, as in the authors' program; max(hour) = 23 would make 23 h
    midnight.
    """
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    found = np.zeros((len(seconds), 4), np.float32)
    for i, value in enumerate(seconds.tolist()):
        if np.isfinite(value):
            at = epoch + timedelta(seconds=value)
            turns = 2 * np.pi * np.array([at.month / 12, at.hour / 24])
            found[i] = np.stack([np.sin(turns), np.cos(turns)], axis=1).ravel()
    return found


def _of(spec: object, names: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scales = [spec.scaling[name] for name in names]  # type: ignore[attr-defined]
    center, scale = (np.array([getattr(s, k) for s in scales], np.float32) for k in ("mean", "sd"))
    return center, scale


class WindowsData(PreparedBatches):
    """Windows of a part; batch_size counts them."""

    def gather(self, part: str, extra: int) -> WindowGather:
        """No steps follow a window: `extra` is 0."""
        return WindowGather(self.prepared, part, dense=True)

    def tested(self, part: str) -> Batches:
        """Of the training part as well, the windows that are tested and not those trained on."""
        gather = WindowGather(self.prepared, part)
        return Batches(gather, len(gather), batch_size=self.batch_size)
