"""Runs of exercises from the command line: train, test again, go on after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fitexp import cli
from fitexp.run import Run

SMALL = ["train", "model=exercise_attn", "data.source.users=9", "trainer.max_epochs=3"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))


def trained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Run, str]:
    assert cli.main([*SMALL, *words]) == 0
    printed = capsys.readouterr().out
    return Run(Path(printed.splitlines()[-1])), printed


def weights(run: Run) -> dict[str, torch.Tensor]:
    found = torch.load(run.file("best.ckpt"), weights_only=True)["state_dict"]
    return dict(found)


@pytest.mark.slow
def test_a_run_of_all_folds(capsys: pytest.CaptureFixture[str]) -> None:
    run, printed = trained(capsys)
    assert "SIMULATED DATA" in printed
    for label in ("exercise_attn", "popularity", "bigram", "trigram", "ceiling of the simulator"):
        assert f"\n{label} " in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert run.spec["fold_names"][-1] == "everyone"
    assert {len(values) for values in weights(run).values()} == {10}  # 9 users and everyone
    table = pd.read_parquet(run.file("predictions.parquet"))
    assert len(table) == 9 * 33
    assert table["fold"].nunique() == 9
    assert table.groupby("fold")["user_id"].nunique().max() == 1
    hits = table["rank_of_target"] == 1
    assert run.metrics["test/top1"] == pytest.approx(100 * hits.mean())
    assert run.metrics["test/mrr"] == pytest.approx((1 / table["rank_of_target"]).mean())
    assert run.metrics["ceiling/bayes/test/top10"] == 100
    np.testing.assert_array_less(table["margin"], table["p_prediction"] + 1e-12)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_evaluate_its_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, _ = trained(capsys)
    two, _ = trained(capsys)
    assert one.metrics == two.metrics
    for name, values in weights(one).items():
        assert torch.equal(values, weights(two)[name]), name
    before = one.file("metrics.json").read_text()
    assert cli.main(["evaluate", str(one.path)]) == 0
    assert json.loads(one.file("metrics.json").read_text()) == json.loads(before)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(capsys: pytest.CaptureFixture[str]) -> None:
    whole, _ = trained(capsys)
    code = """
import os, signal, sys
from fitexp import cli
from fitexp.tasks.ranking import Ranking
step, calls = Ranking.training_step, []
def killed(self, batch, index):
    calls.append(1)
    if len(calls) == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)
Ranking.training_step = killed
cli.main(sys.argv[1:])
"""
    words = [*SMALL, "hydra.sweep.dir=cut", "checkpoint.every_steps=7", "-m"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, env={**os.environ}, check=False
    )
    assert done.returncode == -9
    (cut,) = (Run(path.parent) for path in Path("cut").glob("*/manifest.json"))
    assert cli.main(["resume", str(cut.path)]) == 0
    capsys.readouterr()
    assert cut.metrics == whole.metrics
    for name, values in weights(whole).items():
        assert torch.equal(values, weights(cut)[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gru4rec", "sasrec", "pooling", "cnn", "mixture"])
def test_other_networks_are_stacked(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = trained(capsys, f"model={model}", "data.folds=3", "trainer.max_epochs=1")
    assert {len(values) for values in weights(run).values()} == {4}
    assert 0 <= run.metrics["test/top1"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("split", ["held_out_users", "last_part", "random"])
def test_other_splits_are_validated(split: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, printed = trained(capsys, f"data.split={split}")
    assert "val/top1" in run.metrics
    assert "same_profile" in printed
    curve = pd.read_csv(run.file("learning_curve.csv"))
    assert {"val/loss", "val/top1", "val/mrr"} <= set(curve)


@pytest.mark.slow
def test_two_processes_equal_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data.source.users=6", "trainer.precision=64-true", "model.dropout=0"]
    one, _ = trained(capsys, *words)
    two, _ = trained(capsys, *words, "accelerator=ddp")
    for name, values in weights(one).items():
        torch.testing.assert_close(values, weights(two)[name], rtol=0, atol=1e-12)
