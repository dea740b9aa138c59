"""The hand-written bidirectional GRU beside nn.GRU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fitexp.models import both_ways
from fitexp.models.both_ways import CHUNK, BiGRU

F, D = 3, 4


def pair(layers: int = 2, dtype: torch.dtype = torch.float64) -> tuple[BiGRU, nn.GRU]:
    torch.manual_seed(0)
    oracle = nn.GRU(F, D, num_layers=layers, batch_first=True, bidirectional=True).to(dtype)
    ours = BiGRU(F, D, layers).to(dtype)
    with torch.no_grad():
        for weight in oracle.parameters():
            weight *= 2  # gates away from a half
    ours.load_state_dict(oracle.state_dict())
    return ours, oracle


def series(B: int, T: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, T, F, generator=torch.Generator().manual_seed(1), dtype=dtype)


def passed(network: nn.Module, x: Tensor, wants_x: bool = True) -> dict[str, Tensor]:
    """Outputs, and the gradients of an uneven sum of them."""
    x = x.clone().requires_grad_(wants_x)
    states, last = network(x)
    weights = torch.linspace(-1, 2, states.numel(), dtype=x.dtype).view_as(states)
    ((states * weights).sum() + last.square().sum()).backward()
    found = {"states": states, "last": last}
    found |= {name: weight.grad for name, weight in network.named_parameters()}
    return found | ({"x": x.grad} if wants_x and x.grad is not None else {})


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], within: float) -> None:
    assert a.keys() == b.keys()
    for name, wanted in b.items():
        assert a[name].shape == wanted.shape
        apart = float((a[name] - wanted).detach().abs().max())
        assert apart <= within * max(1.0, float(wanted.detach().abs().max())), f"{name} {apart}"


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("T", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
@pytest.mark.parametrize("B", [1, 3])
def test_numbers_and_gradients_of_nn_gru(layers: int, T: int, B: int) -> None:
    ours, oracle = pair(layers)
    assert_same(passed(ours, series(B, T)), passed(oracle, series(B, T)), within=1e-12)


def test_float32_is_close() -> None:
    ours, oracle = pair(dtype=torch.float32)
    x = series(5, 100, torch.float32)
    assert_same(passed(ours, x), passed(oracle, x), within=1e-5)


def test_gradients_by_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both_ways, "CHUNK", 2)
    torch.manual_seed(0)
    T, F, D, B = 3, 2, 2, 2
    shapes = [(T, F, B), (2, 3 * D, F), (2, 3 * D, D), (2, 4 * D)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(both_ways.both_ways, inputs)


def test_a_transposed_input_and_a_gradient_that_is_spread_out() -> None:
    """What Step2Heart hands over, (B, F, T) of a convolution, and what its mean hands back."""
    x, found = series(3, 20).transpose(1, 2).contiguous(), []
    for network in pair():
        states, _ = network(x.transpose(1, 2))
        network.zero_grad()
        states.mean(dim=1).square().sum().backward()
        found.append({name: weight.grad for name, weight in network.named_parameters()})
    assert_same(*found, within=1e-12)


def test_an_input_that_wants_no_gradient() -> None:
    ours, oracle = pair()
    x = series(3, 20)
    assert_same(passed(ours, x, wants_x=False), passed(oracle, x, wants_x=False), within=1e-12)


def test_parameters_are_nn_gru_s_and_fit_either_way() -> None:
    torch.manual_seed(3)
    ours = BiGRU(F, D, 2)
    torch.manual_seed(3)
    oracle = nn.GRU(F, D, num_layers=2, batch_first=True, bidirectional=True)
    assert list(ours.state_dict()) == list(oracle.state_dict())
    for name, weight in oracle.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight)
    oracle.load_state_dict(BiGRU(F, D, 2).state_dict())
    ours.load_state_dict(oracle.state_dict())
    torch.testing.assert_close(ours(series(2, 9).float()), oracle(series(2, 9).float()))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_autograd_the_same_numbers_and_no_gates(
    mode: type[torch.no_grad] | type[torch.inference_mode], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, oracle = pair()
    x = series(3, 2 * CHUNK + 5)
    kept, run = [], both_ways.run

    def watched(*arguments: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        states, gates = run(*arguments, keep=keep)
        kept.append(len(gates))
        return states, gates

    monkeypatch.setattr(both_ways, "run", watched)
    with mode():
        states, last = ours(x)
    assert kept == [CHUNK, CHUNK]  # one buffer a layer
    assert states.grad_fn is None
    wanted, wanted_last = oracle(x)
    torch.testing.assert_close((states, last), (wanted, wanted_last), rtol=0, atol=1e-12)
    ours(x)
    assert kept[2:] == [2 * CHUNK + 5] * 2


def test_autocast_takes_nn_gru_s_own_loop() -> None:
    ours, oracle = pair(dtype=torch.float32)
    x = series(2, 9, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(x)[0], oracle(x)[0])
