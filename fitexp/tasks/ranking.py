"""The one task for what comes next: any network that maps a batch of events to scores of items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fitexp.data.batches import Batch
from fitexp.data.spec import ExerciseSpec
from fitexp.errors import InputError
from fitexp.tasks.task import Task, over_ranks


class Ranking(Task):
    """Train, validate and ask a network that scores all items as the next one, in L folds at once.

    The loss of a fold is the mean over its own rows of a batch (those with mask 1); what is
    minimised is the sum over folds, so that a fold takes the steps it would take alone on its share
    of the same batches (an optimizer that works element by element; clipping by the norm would
    couple them and is refused). Shorter lists of rows are spread over as many batches as the
    longest: in the default study 149 an epoch where a fold alone would have 147. Logged: train/loss
    and val/loss, means over folds; val/top1 (%) and val/mrr over all rows of all folds.

    model: batch of `EventGather` without the answers -> logits (L, B, S, N). loss: logits (M, N),
    targets (M,) -> (M,). optimizer: parameters -> Optimizer. spec: of the data.
    mask_seen: what somebody has had, within the window or before it, cannot come again: its logit
    is -inf in training and in every answer (`without_seen`), so that no weight is spent on learning
    it. For data where nobody has an item twice, as with ratings of films; raises InputError where
    somebody has.
    """

    kind = "exercises"
    withheld = ("target", "mask", "event", "had")

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterable[Any]], Optimizer],
        spec: ExerciseSpec,
        mask_seen: bool,
    ) -> None:
        super().__init__(model=model, loss=loss, optimizer=optimizer, figures=4, folds=spec.folds)
        self.mask_seen = mask_seen
        self.spec = spec

    @staticmethod
    def sample() -> tuple[Tensor, Tensor, torch.Size]:
        return torch.zeros(2, 3), torch.tensor([0, 2]), torch.Size([2])

    def logits(self, batch: Batch) -> Tensor:
        """(L, B, S, N)"""
        logits = cast(Tensor, self.model(self.inputs(batch)))
        return without_seen(logits, batch["had"]) if self.mask_seen else logits

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Of every row with mask 1: "rows" fold and event, "probability" (n, N) of all items."""
        fold, *rest = torch.nonzero(batch["mask"] > 0, as_tuple=True)
        event = batch["event"][(fold, *rest)]
        with torch.no_grad():
            logits = self.logits(batch)[(fold, *rest)]
        return {
            "rows": torch.stack([fold, event], dim=1),
            "probability": torch.softmax(logits.double(), dim=-1),
        }

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits, and the losses (L, B, S), 0 where the mask is."""
        logits, mask = self.logits(batch), batch["mask"]
        if self.mask_seen:
            _check_new(logits, batch)
        losses = self.loss(logits.flatten(0, 2), batch["target"].flatten())
        return logits, torch.where(mask > 0, losses.view(mask.shape), 0.0)

    def summed_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of each fold (L,): the sum of the losses over its own rows, and how many these are."""
        _, losses = self._step(batch)
        return losses.sum(dim=(1, 2)), batch["mask"].sum(dim=(1, 2))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits, losses = self._step(batch)
        mask = batch["mask"]
        rank = ranks(logits, batch["target"])
        parts = [losses, mask, (rank == 1) * mask, mask / rank]
        self.add_to_validation(*(part.sum(dim=(1, 2)) for part in parts))

    def on_validation_epoch_end(self) -> None:
        loss, rows, hits, reciprocal = over_ranks(self.val_sums).sum(dim=0).tolist()
        rows = rows or float("nan")
        self.log("val/loss", loss / rows)
        self.log("val/top1", 100.0 * hits / rows)
        self.log("val/mrr", reciprocal / rows)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val and self.spec.folds > 1 and gradient_clip_algorithm != "value":
            raise InputError(
                "trainer.gradient_clip_val: the norm is taken over all folds, which would couple "
                "them; use +trainer.gradient_clip_algorithm=value or null"
            )
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def without_seen(logits: Tensor, had: Tensor) -> Tensor:
    """Logits with -inf for every item that was had by then.

    Shapes: logits (L, B, S, N), behind the last S of H events; had (L, B, H) the items of these, N
    where there is none.
    """
    S, N = logits.shape[-2:]
    seen = F.one_hot(had, N + 1)[..., :N].cumsum(dim=-2) > 0
    return logits.masked_fill(seen[..., -S:, :], float("-inf"))


def _check_new(logits: Tensor, batch: Batch) -> None:
    own = logits.gather(-1, batch["target"][..., None])[..., 0]
    if bool(((own == float("-inf")) & (batch["mask"] > 0)).any()):
        raise InputError(
            "task.mask_seen=true, but somebody here has an item a second time: task.mask_seen=false"
        )


def ranks(scores: Tensor, target: Tensor) -> Tensor:
    """Rank, from 1, of the target among all items; of ties, the mean rank.

    Shapes: scores (..., N), target (...) -> (...).
    """
    own = scores.gather(-1, target[..., None])
    return (scores > own).sum(-1) + 0.5 * ((scores == own).sum(-1) + 1)
