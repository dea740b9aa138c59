from __future__ import annotations

import pytest
import torch

from fitexp.data.spec import Scale
from fitexp.tasks.scaler import Scaler


def test_there_and_back() -> None:
    value = torch.tensor([60.0, 140.0, 190.0])
    scaler = Scaler(140.0, 20.0)
    assert scaler(value).tolist() == [-4.0, 0.0, 2.5]
    assert torch.equal(scaler.inverse(scaler(value)), value)


def test_none_changes_nothing() -> None:
    value = torch.randn(100) * 150
    scaler = Scaler(0.0, 1.0)
    assert torch.equal(scaler(value), value)
    assert torch.equal(scaler.inverse(value), value)


def test_it_is_the_data_s_scale() -> None:
    scale = Scale(mean=12.0, sd=4.0, factor=5.0)
    value = torch.tensor([8.0, 20.0])
    assert Scaler.of(scale)(value).tolist() == pytest.approx([-5.0, 10.0])


def test_its_numbers_travel_in_the_state() -> None:
    other = Scaler(0.0, 1.0)
    other.load_state_dict(Scaler(140.0, 20.0).state_dict())
    assert other(torch.tensor(160.0)) == 1.0


@pytest.mark.parametrize("sd", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_does_not_vary_is_refused(sd: float) -> None:
    with pytest.raises(ValueError, match="sd must be positive"):
        Scaler(1.0, sd)
