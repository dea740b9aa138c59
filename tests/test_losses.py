from __future__ import annotations

import torch
from torch.nn import functional as F

from fitexp.losses import absolute_error, squared_error


def test_elementwise_as_torch_writes_them() -> None:
    prediction, target = torch.randn(2, 4, 7, dtype=torch.float64)
    assert torch.equal(
        squared_error(prediction, target), F.mse_loss(prediction, target, reduction="none")
    )
    assert torch.equal(
        absolute_error(prediction, target), F.l1_loss(prediction, target, reduction="none")
    )


def test_zero_only_where_equal() -> None:
    value = torch.randn(9)
    for loss in (squared_error, absolute_error):
        assert loss(value, value).abs().max() == 0
        assert (loss(value, value + 1) > 0).all()
