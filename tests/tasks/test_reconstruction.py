"""The task of autoencoders: means over windows, masks, what a network is given."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitexp import losses
from fitexp.tasks.reconstruction import Reconstruction
from tests.models.window_networks import window_batch, window_spec


class Shifted(nn.Module):
    """Gives a window back, `by` higher."""

    kind = "windows"

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert not {"y", "mask", "rows"} & set(batch)
        return batch["x"] + self.by

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.by], "lr": 0.5}]


def task(by: float = 3.0) -> Reconstruction:
    adam = partial(torch.optim.Adam, lr=0.1)
    return Reconstruction(
        model=Shifted(by), loss=losses.squared_error, optimizer=adam, spec=window_spec()
    )


def test_losses_are_of_windows_that_count() -> None:
    batch = window_batch(window_spec(), rows=4)
    total, count = task().summed_loss(batch)
    assert (total.item(), count.item()) == (pytest.approx(4 * 9.0), 4)
    batch["mask"][1] = 0
    total, count = task().summed_loss(batch)
    assert (total.item(), count.item()) == (pytest.approx(3 * 9.0), 3)


def test_validation_is_pooled_over_windows_not_batches() -> None:
    made, logged = task(), dict[str, float]()
    made.log = lambda name, value: logged.update({name: float(value)})  # type: ignore[method-assign, assignment]
    for rows, by in ((3, 1.0), (1, 5.0)):
        made.model.by.data.fill_(by)  # type: ignore[union-attr, operator]
        made.validation_step(window_batch(window_spec(), rows=rows), 0)
    made.on_validation_epoch_end()
    assert logged == {"val/loss": pytest.approx((3 * 1.0 + 1 * 25.0) / 4)}
    made.on_validation_epoch_start()
    made.on_validation_epoch_end()
    assert logged["val/loss"] != logged["val/loss"]  # NaN: nothing was seen since


def test_answers_stand_beside_the_mean_of_each_window() -> None:
    batch = window_batch(window_spec())
    found = task().answer(batch)
    x = batch["x"].numpy()
    assert torch.equal(found["rows"], batch["rows"])
    assert found["error"].tolist() == pytest.approx([9.0] * 3)
    assert found["spread"].tolist() == pytest.approx(x.var(axis=1).mean(axis=1).tolist(), rel=1e-5)


def test_a_network_s_own_groups_of_parameters_are_trained() -> None:
    [group] = task().configure_optimizers().param_groups
    assert group["lr"] == 0.5
