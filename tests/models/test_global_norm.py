"""Batch normalisation of rows that several processes share, beside torch's of one."""

from __future__ import annotations

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from fitexp.models.global_norm import GlobalNorm

C = 3


def rows(count: int, seed: int = 0) -> Tensor:
    made = torch.rand(count, C, generator=torch.Generator().manual_seed(seed))
    return made.double() * 5 + 40


def ours() -> GlobalNorm:
    return GlobalNorm(C, eps=1e-3, momentum=0.01).double()


def test_it_is_torch_s_in_one_process() -> None:
    norm, oracle = ours(), nn.BatchNorm1d(C, eps=1e-3, momentum=0.01).double()
    assert set(norm.state_dict()) == set(oracle.state_dict())
    for seed in range(3):
        x = rows(7, seed)
        y, z = norm(x), oracle(x)
        torch.testing.assert_close(y, z, rtol=0, atol=1e-12)
        (y.pow(3).sum() + y.mean()).backward()
        (z.pow(3).sum() + z.mean()).backward()
    for own, theirs in zip(norm.parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(own.grad, theirs.grad, rtol=0, atol=1e-9)
    for name, values in oracle.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], values, rtol=0, atol=1e-12)
    norm.eval()
    oracle.eval()
    torch.testing.assert_close(norm(rows(2, 9)), oracle(rows(2, 9)), rtol=0, atol=1e-12)


def test_one_row_is_its_own_mean() -> None:
    norm = ours()
    x = rows(1)
    torch.testing.assert_close(norm(x), torch.zeros(1, C, dtype=torch.float64))
    torch.testing.assert_close(norm.running_mean, 0.01 * x[0])
    torch.testing.assert_close(norm.running_var, torch.ones(C, dtype=torch.float64))


def test_rows_that_are_not_there_do_not_count() -> None:
    norm, other = ours(), ours()
    x = rows(5)
    there = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(norm(x, there)[there], other(x[there]))
    torch.testing.assert_close(norm.running_var, other.running_var)


def _rank(rank: int, file: str, results: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=2)
    norm = ours()
    x = rows(5)
    norm(x[rank::2])
    there = torch.tensor([rank == 0])  # the second has an empty share
    norm(rows(1, seed=1), there)
    torch.save(norm.state_dict(), f"{results}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_keep_the_statistics_of_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(_rank, args=(f"file://{folder}/meet", str(folder)), nprocs=2)
    norm = ours()
    norm(rows(5))
    norm(rows(1, seed=1))
    for rank in range(2):
        found = torch.load(folder / f"{rank}.pt", weights_only=True)
        for name, values in norm.state_dict().items():
            torch.testing.assert_close(found[name], values, rtol=0, atol=1e-12)
