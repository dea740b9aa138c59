"""The checks of conf/debug/: what each promises, on the toy network. See also test_end_to_end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fitexp import targets, worker
from fitexp.data.batches import Batch, Batches
from fitexp.report.table import training_words
from fitexp.run import Run
from tests.toy_run import ALLOW, curve, toy_config, toy_run

LEARNER: dict[str, Any] = {
    "model__hidden": 32,
    "model__dropout": 0.0,
    "data__batch_size": 2,
    "optimizer__lr": 0.02,
    "early_stopping__patience": None,
}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def data_of(**changed: Any) -> Any:
    config = toy_config(**changed)
    return worker.build_data(config, targets.build(config["data"]).prepare(), ALLOW)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("regime", ["whole", "short"])
def test_overfit_gives_the_same_batches_in_every_epoch_and_to_validate(regime: str) -> None:
    changed: dict[str, Any] = {
        "data__regime": regime,
        "data__steps": {"whole": 30, "short": 5}[regime],
    }
    ordinary, overfit = data_of(**changed), data_of(trainer__overfit_batches=2, **changed)
    every: Batches = ordinary.train_dataloader()
    first = list(every)
    assert len(first) > 2
    assert not same(list(every)[:2], first[:2])  # else the next lines say nothing
    train = overfit.train_dataloader()
    assert len(train) == 2
    for epoch in (0, 1, 7):
        train.set_epoch(epoch)
        assert same(list(train), first[:2])
    assert same(list(overfit.val_dataloader()), first[:2])
    assert same(list(overfit.test_dataloader()), list(ordinary.test_dataloader()))
    more = data_of(trainer__overfit_batches=1000, **changed)
    assert same(list(more.train_dataloader()), first)


def test_overfit_shares_its_batches_among_ranks() -> None:
    config = toy_config(trainer__overfit_batches=1)
    prepared = targets.build(config["data"]).prepare()
    whole, *shares = (
        list(worker.build_data(config, prepared, ALLOW, rank=r, world=w).train_dataloader())
        for r, w in ((0, 1), (0, 2), (1, 2))
    )
    for rank, share in enumerate(shares):
        assert torch.equal(share[0]["y"], whole[0]["y"][rank::2])


def losses(run: Run) -> list[float]:
    worker.fit(run, allow=ALLOW)
    rows = curve(run)
    return [float(row[rows[0].index("train/loss")]) for row in rows[1:]]


@pytest.mark.slow
def test_one_batch_is_learned_by_heart(tmp_path: Path) -> None:
    """Far below where it began, and below an ordinary run of as many steps."""
    by_heart = toy_run(
        tmp_path / "one", trainer__overfit_batches=1, trainer__max_epochs=150, **LEARNER
    )
    found = losses(by_heart)
    assert len(found) == 150
    assert found[-1] < 0.1 * found[0]
    ordinary = toy_run(tmp_path / "all", trainer__max_steps=150, trainer__max_epochs=-1, **LEARNER)
    assert found[-1] < 0.5 * losses(ordinary)[-1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"trainer__overfit_batches": 1}, "OVERFIT: trained on 1 batch only, validated on it"),
        ({"trainer__overfit_batches": 3}, "OVERFIT: trained on 3 batches only, validated on them"),
        ({"trainer__limit_train_batches": 2}, "limit_train_batches 2"),
    ],
)
def test_the_closing_table_says_that_training_was_cut(changed: dict[str, Any], words: str) -> None:
    assert words in training_words(toy_config(**changed))
    assert not {"OVERFIT", "limit_train_batches"} & set(training_words(toy_config()).split())
    assert "OVERFIT" not in training_words(toy_config(trainer__overfit_batches=0))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("simple", "training_step"),
        ("advanced", "training_step"),
        pytest.param("pytorch", "aten::", marks=pytest.mark.slow),
    ],
)
def test_the_profile_lies_in_the_run_folder_and_is_named(
    kind: str, names: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = toy_run(tmp_path / "run", trainer__max_epochs=1, trainer__profiler=kind)
    capfd.readouterr()
    worker.fit(run, allow=ALLOW)
    out, err = capfd.readouterr()
    file = run.file("fit-profile.txt")
    torchs_own = ("profiler_start", "profiler_stop", "Optimizer.step")  # printed from C++
    lines = [line for line in err.splitlines() if not any(word in line for word in torchs_own)]
    assert out == ""
    assert lines[0] == f"fitexp: training is timed into {file}"
    assert [line[:9] for line in lines[1:]] == ["epoch 1/1"]
    assert names in file.read_text()
