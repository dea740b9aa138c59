"""The one task for predicted series: any network that maps a batch to (B, T) values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fitexp.data.batches import Batch
from fitexp.data.spec import WorkoutSpec
from fitexp.errors import InputError
from fitexp.tasks.scaler import target_scaler
from fitexp.tasks.task import Task, of_all_ranks, over_ranks

SERIES = ("x", "valid", "y", "mask", "y_previous", "context", "context_y")  # (B, T, ...)


class Regression(Task):
    """Train, validate and ask a network that predicts one physical series step by step.

    A batch is in physical units (bpm, km/h), the network in scaled ones; `scaler` stands between.
    The network sees the batch without y and mask, with y0 and context_y scaled, and with a scaled
    y_previous where it may be teacher forced: always in the short regime, in the whole regime only
    while training with `teacher_forcing`. Without y_previous it runs free from y0.

    reduction "mean": sum of the masked losses / masked steps; "sum" (the notes): the same sum /
    sequences that have a masked step, both in scaled units. Logged too: val/mae_<unit>,
    val/rmse_<unit> pooled over steps.

    Whole regime, workouts of several windows: in training y_0 of a later window is the batch's
    (measured); otherwise it is the last prediction of the window before (`first` - T), which the
    loader must give in the same batch or an earlier one.

    spec: of the data; optimizer: parameters (or groups) -> Optimizer. A network may have
    `parameter_groups()` and, for target_scaling "none", `start_at(value)` which is told the
    training mean of the target.
    """

    kind = "workouts"
    withheld = ("y", "mask", "y_previous")

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterable[Any]], Optimizer],
        spec: WorkoutSpec,
        target_scaling: str,
        teacher_forcing: bool,
        reduction: str,
    ) -> None:
        super().__init__(model=model, loss=loss, optimizer=optimizer, figures=5)
        if reduction not in ("mean", "sum"):
            raise InputError(f"task.reduction={reduction}: it is mean or sum")
        self.spec = spec
        self.teacher_forcing = teacher_forcing
        self.reduction = reduction
        self.scaler = target_scaler(target_scaling, spec.scaling[spec.target], model)
        self.carry: dict[tuple[int, int], float] = {}  # (workout, first) -> y_0 of that window

    @staticmethod
    def sample() -> tuple[Tensor, Tensor, torch.Size]:
        return torch.zeros(2, 3), torch.zeros(2, 3), torch.Size([2, 3])

    # The network in physical units

    def predict_scaled(self, batch: Batch) -> Tensor:
        """What the network answers to a batch: (B, T) in scaled units."""
        return cast(Tensor, self.model(self.inputs(batch)))

    def attention(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the network's own `attention` answers to a batch."""
        return cast(tuple[Tensor, Tensor], self.model.attention(self.inputs(batch)))  # type: ignore[operator]

    def inputs(self, batch: Batch) -> Batch:
        inputs = super().inputs(batch)
        for name in ("y0", "context_y"):
            if name in inputs:
                inputs[name] = self.scaler(inputs[name])
        if self.spec.regime == "short" or (self.training and self.teacher_forcing):
            inputs["y_previous"] = self.scaler(batch["y_previous"])
        return inputs

    def _predict_windows(self, batch: Batch) -> Tensor:
        """`predict_scaled` in evaluation: windows of one workout in order, each from the last."""
        if self.spec.regime != "whole":
            return self.predict_scaled(batch)
        first, workout = batch["first"].tolist(), batch["workout"].tolist()
        answer: Tensor | None = None
        for start in of_all_ranks(sorted(set(first))):
            rows = [row for row, value in enumerate(first) if value == start]
            ends: dict[tuple[int, int], float] = {}
            if rows:
                part = batch if len(rows) == len(first) else _rows(batch, rows)
                y0 = part["y0"].clone()
                for place, row in enumerate(rows):
                    y0[place] = self.carry.get((workout[row], start), y0[place])
                scaled = self.predict_scaled({**part, "y0": y0})
                last = self.scaler.inverse(scaled[:, -1]).tolist()
                following = start + self.spec.steps
                ends = {
                    (workout[row], following): value for row, value in zip(rows, last, strict=True)
                }
                if answer is None:
                    answer = scaled.new_zeros(len(first), *scaled.shape[1:])
                answer[rows] = scaled
            for key, value in of_all_ranks(sorted(ends.items())):
                self.carry[key] = value
        if answer is None:
            raise ValueError("a batch has no rows")
        return answer

    def predict_batch(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions in physical units, by label.

        Whole regime: {"whole": (B, T)}; call it over a loader in order, after `start_over`.
        Short regime: one (B,) for each label of spec.horizons that the batch is long enough for
        (T + max horizon - 1 steps for all): the window is moved on step by step, its y_previous
        measured up to the origin (step T - 2 of the batch, the last that the first window is told)
        and predicted after it.
        """
        with torch.no_grad():
            if self.spec.regime == "whole":
                return {"whole": self.scaler.inverse(self._predict_windows(batch))}
            return self._roll_out(batch)

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """`predict_batch` of windows; "rows" are workout and first step."""
        rows = torch.stack([batch["workout"], batch["first"]], dim=1)
        return {"rows": rows, **self.predict_batch(batch)}

    def _roll_out(self, batch: Batch) -> dict[str, Tensor]:
        T = self.spec.steps
        extra = batch["x"].shape[1] - T
        horizons = {label: h for label, h in self.spec.horizons.items() if h - 1 <= extra}
        if not horizons:
            return {}
        y_previous = batch["y_previous"].clone()
        reached: dict[int, Tensor] = {}
        for ahead in range(1, max(horizons.values()) + 1):
            window = _window({**batch, "y_previous": y_previous}, ahead - 1, T)
            now = self.scaler.inverse(self.predict_scaled(window)[:, -1])
            if ahead <= extra:
                y_previous[:, T + ahead - 1] = now
            reached[ahead] = now
        return {label: reached[h] for label, h in horizons.items()}

    def start_over(self) -> None:
        """Forget the windows predicted so far: a new pass over a loader begins."""
        self.carry.clear()

    # Training and validation

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions (scaled), sum of the masked losses and what it is divided by (this rank)."""
        scaled = self.predict_scaled(batch) if self.training else self._predict_windows(batch)
        mask = batch["mask"]
        total = (self.loss(scaled, self.scaler(batch["y"])) * mask).sum()
        counted = mask if self.reduction == "mean" else mask.any(dim=1)
        return scaled, total, counted.sum()

    def summed_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        _, total, count = self._step(batch)
        return total, count

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        scaled, total, count = self._step(batch)
        mask = batch["mask"]
        error = self.scaler.inverse(scaled) - batch["y"]
        absolute, square = (error.abs() * mask).sum(), (error.square() * mask).sum()
        self.add_to_validation(total, count, absolute, square, mask.sum())

    def on_validation_epoch_end(self) -> None:
        loss, count, absolute, square, steps = over_ranks(self.val_sums).tolist()
        nan = float("nan")
        self.log("val/loss", loss / count if count else nan)
        self.log(f"val/mae_{self.spec.unit}", absolute / steps if steps else nan)
        self.log(f"val/rmse_{self.spec.unit}", (square / steps) ** 0.5 if steps else nan)


def _rows(batch: Batch, rows: list[int]) -> Batch:
    return {name: values[rows] for name, values in batch.items()}


def _window(batch: Batch, start: int, steps: int) -> Batch:
    """The sub-windows of `steps` steps from `start`, as the loader would have given them."""
    window = {
        name: values[:, start : start + steps] if name in SERIES else values
        for name, values in batch.items()
    }
    if start:
        window["y0"] = batch["y_previous"][:, start]
        window["first"] = batch["first"] + start
    if "context_last" in batch:  # a context that ended before the window is all held
        last = batch["context_last"] - start
        window["context_last"] = torch.where(last < 0, steps - 1, last.clamp(max=steps - 1))
    return window
