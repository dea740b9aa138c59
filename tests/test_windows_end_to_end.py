"""Runs of windows from the command line: train, test again, other data, tables, transfer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fitexp import cli
from fitexp.data.spec import Spec, WindowSpec
from fitexp.data.windows import simulate
from fitexp.data.windows.epochs import Epochs
from fitexp.report.text import WIDTH
from fitexp.run import FINISHED, INTERRUPTED, Run
from tests.data.windows.made import made_epochs, recording
from tests.test_configs import composed

CONF = Path(__file__).parents[1] / "conf"
PLAIN = ["~data.baselines.boosting", "~data.baselines.boosting_recent"]
SMALL = ["data.source.users=24", "data.batch_size=16", "trainer.max_steps=2"]
TINY = ["model=step2heart", "model.width=4", "model.filters=4", *SMALL]
KEPT = ["unit_id", "user_id", "fold", "step", "horizon_s", "target", "prediction", "time_s"]
EXPERIMENTS = sorted(
    path.stem
    for kind in ("step2heart", "mmash")
    for path in (CONF / "experiment").glob(f"{kind}_*.yaml")
)
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["FITEXP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of A/R; copy it before changing it."""
    path = tmp_path_factory.mktemp("runs") / "small"
    assert cli.main(["train", *TINY, "model.inputs=A/R", f"hydra.run.dir={path}"]) == 0
    return Run(path)


def trained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Run, str]:
    capsys.readouterr()
    assert cli.main(["train", *words]) == 0
    printed = capsys.readouterr().out
    run = Run(printed.splitlines()[-1])
    assert run.status == FINISHED
    assert max(map(len, printed.splitlines()[:-1])) <= WIDTH
    return run, printed


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(torch.load(run.file("best.ckpt"), weights_only=True)["state_dict"])


def same_weights(one: Run, other: Run, atol: float = 0.0) -> None:
    for name, values in weights(one).items():
        torch.testing.assert_close(weights(other)[name], values, rtol=0, atol=atol)


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command is refused with."""
    capsys.readouterr()
    assert cli.main([*words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("fitexp: ")][-1]


# The run folder


def test_a_run_folder_is_whole(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = {path.name for path in whole.path.iterdir()}
    assert {"config.yaml", "manifest.json", "best.ckpt", "last.ckpt", "baselines.npz"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    pictures = {p.name for p in whole.file("plots").iterdir()}
    assert pictures == {"users.png", "learning_curve.png", "coverage_by_user.png"}
    spec = Spec.from_dict(whole.spec)
    assert isinstance(spec, WindowSpec)
    assert json.loads(json.dumps(spec.to_dict())) == whole.spec
    table, metrics = pd.read_parquet(whole.file("predictions.parquet")), whole.metrics
    assert list(table.columns[: len(KEPT)]) == KEPT
    beside = {"global_mean", "user_mean_oracle", "resting_hr", "boosting", "boosting_recent"}
    others = set(table.columns[len(KEPT) :])
    assert others == {"low", "high"} | {f"baseline_{name}" for name in beside}
    assert len(table) == metrics["count/test/windows"]
    assert (table["horizon_s"] == 15.0).all()
    for name in ("", *beside):
        off = table[f"baseline_{name}" if name else "prediction"] - table["target"]
        prefix = f"baseline/{name}/" if name else ""
        rmse = np.sqrt((off**2).mean())
        assert metrics[f"{prefix}test/rmse_bpm"] == pytest.approx(rmse, rel=1e-12)
        assert metrics[f"{prefix}test/mae_bpm"] == pytest.approx(off.abs().mean(), rel=1e-12)
    curve = pd.read_csv(whole.file("learning_curve.csv"))
    assert {"train/loss", "val/loss", "val/rmse_bpm", "val/mae_bpm"} <= set(curve)


def test_evaluate_gives_the_same_figures_and_keeps_those_of_transfer(
    whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(shutil.copytree(whole.path, folder / "run"))
    added = {"test/transfer/sex/auc_pca90": 60.0, "baseline/x/test/transfer/sex/auc_pca90": 50.0}
    run.file("metrics.json").write_text(json.dumps(whole.metrics | added))
    before = run.file("predictions.parquet").read_bytes()
    assert cli.main(["evaluate", str(run.path)]) == 0
    assert run.metrics == whole.metrics | added
    assert run.file("predictions.parquet").read_bytes() == before


def test_evaluate_on_other_people_has_the_run_s_scaling(
    whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(shutil.copytree(whole.path, folder / "run"))
    words = ["data.source.seed=1", "data.fractions=[0,0,1]"]
    assert cli.main(["evaluate", str(run.path), *words]) == 0
    child = Run(capsys.readouterr().out.splitlines()[-1])
    assert child.path.parent == run.path / "evaluations"
    assert child.spec["scaling"] == run.spec["scaling"]
    assert child.metrics["count/test/users"] == 24
    assert run.metrics == whole.metrics


@pytest.mark.parametrize("word", ["data.fractions=[0.1,0.1,0.8]", "data.source.users=40"])
def test_who_was_trained_on_is_not_tested(
    word: str, whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Person k of a simulation is the same however many there are."""
    run = Run(shutil.copytree(whole.path, folder / "run"))
    assert "of the users to test were trained on" in error(capsys, "evaluate", str(run.path), word)
    assert not (run.path / "evaluations").exists()
    assert cli.main(["evaluate", str(run.path), "data.stride=256"]) == 0


def test_rerun_ls_and_diff(whole: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(shutil.copytree(whole.path, folder / "outputs" / "run"))
    assert cli.main(["rerun", str(run.path)]) == 0
    capsys.readouterr()
    assert cli.main(["ls", "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == [FINISHED, FINISHED]
    other = next(Run(path) for path in Path("outputs").iterdir() if path.name != "run")
    assert other.metrics == run.metrics
    same_weights(run, other)
    assert cli.main(["diff", str(run.path), str(other.path)]) == 0


def test_a_multirun_over_models_and_folds_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    models = "model=step2heart,window_averages,window_boosting"
    words = ["train", "-m", models, *SMALL, *PLAIN, "data.folds=2", "data.fold=0,1"]
    assert cli.main(words) == 0
    runs = [Run(path) for path in sorted(Path("outputs").iterdir())]
    assert [run.status for run in runs] == [FINISHED] * 6
    tested = [
        set(pd.read_parquet(run.file("predictions.parquet"))["user_id"])
        for run in runs
        if "window_boosting" in run.path.name
    ]
    assert not tested[0] & tested[1]
    assert len(tested[0] | tested[1]) == 24
    capsys.readouterr()
    assert cli.main(["compare", "outputs", "--metric", "test/rmse_bpm"]) == 0
    printed = capsys.readouterr().out
    for name in ("step2heart", "window_averages", "window_boosting", "global_mean"):
        assert name in printed
    assert "resamples of 24 users" in " ".join(printed.split())


def test_a_table_with_folds_is_reproduced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = """
title: Small
source: made up
seeds: 1
folds: 2
sections:
  - name: people
    metrics: [test/rmse_bpm, test/mae_bpm]
    rows:
      - {row: mean, experiment: step2heart_global_mean, paper: {test/rmse_bpm: 15.84}}
      - {row: line, experiment: step2heart_resting_hr}
"""
    (folder / "mine" / "table").mkdir(parents=True)
    (folder / "mine" / "table" / "small.yaml").write_text(table)
    words = ["reproduce", "small", "--config-dir", str(folder / "mine"), "data.source.users=24"]
    assert cli.main([*words, "data.folds=2"]) == 0
    printed = capsys.readouterr().out
    assert "15.84" in printed
    assert "24 users" in printed
    assert "2 folds pooled" in printed
    assert max(map(len, printed.splitlines())) <= WIDTH


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_of_windows_runs_two_steps(
    experiment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"experiment={experiment}", "trainer.max_steps=2"]
    if experiment.startswith("mmash"):
        monkeypatch.setattr("fitexp.data.windows.mmash.mmash", mmash)
        words += ["data.path=.", "trainer.limit_train_batches=1.0"]
    else:
        words += ["data.source.users=24"]
    taken = composed(f"experiment={experiment}", *(words[2:] if "mmash" in experiment else []))
    tiny = {"width": 4, "filters": 4, "rounds": 2}
    words += [f"model.{name}={n}" for name, n in tiny.items() if name in taken["model"]]
    words += ["model.search=false"] * ("search" in taken["model"])
    run, printed = trained(capsys, *words, *PLAIN)
    given_back = "autoencoder" in experiment
    figure = "test/reconstruction_mse" if given_back else "test/rmse_bpm"
    assert np.isfinite(run.metrics[figure])
    assert ("SIMULATED" in printed) == experiment.startswith("step2heart")


def mmash(*, path: str | None, min_hr_seconds: int, heart_rate_bpm: list[float]) -> Epochs:
    """Eight men of a quarter of an hour more than a window."""
    given = [recording(user, 600) for user in range(8)]
    made = made_epochs(recordings=given)
    return replace(made, series=("counts", "vm_mean"), users=made.users.assign(bmi=22.0))


# Going on


@pytest.mark.parametrize("model", ["window_averages", "step2heart"])
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In mid-epoch, with the schedule of one cycle, dropout and batch norm."""
    words = [f"model={model}", *SMALL[:2], *PLAIN, "trainer.max_epochs=2"]
    if model == "step2heart":
        words += ["model.inputs=A/R/T", "model.width=4", "model.filters=4", "task.one_cycle=true"]
    whole, _ = trained(capsys, *words)
    code = """
import os, signal, sys
from fitexp import cli
from fitexp.tasks.forecast import Forecast
step, calls = Forecast.training_step, []
def killed(self, batch, index):
    calls.append(1)
    if len(calls) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)
Forecast.training_step = killed
cli.main(sys.argv[2:])
"""
    steps = torch.load(whole.file("last.ckpt"), weights_only=True)["global_step"]
    assert steps >= 6
    words = ["train", *words, "hydra.sweep.dir=cut", "checkpoint.every_steps=1", "-m"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(steps // 2 + 3), *words], capture_output=True, check=False
    )
    assert done.returncode == -9
    (cut,) = (Run(path.parent) for path in Path("cut").glob("*/manifest.json"))
    assert cut.status in (INTERRUPTED, "running")
    assert cli.main(["resume", str(cut.path)]) == 0
    assert cut.metrics == whole.metrics
    same_weights(whole, cut)


@pytest.mark.parametrize(
    "words",
    [
        ["model=step2heart", "model.inputs=A/R/T", "model.width=4", "model.filters=4"],
        ["model=window_averages"],
        ["model=step2heart_autoencoder", "model.filters=4"],
    ],
    ids=lambda words: words[0],
)
def test_two_processes_equal_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """130 training windows by 43 leave one for the last batch: the second process has none."""
    words = [*words, *PLAIN, SMALL[0], "data.batch_size=43", "trainer.max_epochs=1"]
    words += ["trainer.precision=64-true", "trainer.limit_train_batches=1.0"]
    words += [] if "autoencoder" in words[0] else ["model.dropout=0"]
    if "averages" in words[0]:
        words += ["data.answers=last", "data.train_stride=512", "data.train_max_absent=0.05"]
    one, _ = trained(capsys, *words)
    two, _ = trained(capsys, *words, "accelerator=ddp")
    same_weights(one, two, atol=1e-12)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-9)


def test_a_last_batch_of_one_window_trains(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model.inputs=A/R/T", "data.batch_size=129", "trainer.max_steps=2", *PLAIN]
    run, _ = trained(capsys, *TINY, *words)
    assert np.isfinite(run.metrics["test/rmse_bpm"])


# Laws


def test_test_users_teach_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Heart rates of all test users 50 bpm higher: spec.json and weights stay, errors move."""
    before, _ = trained(capsys, *TINY, *PLAIN)
    tested = set(pd.read_parquet(before.file("predictions.parquet"))["user_id"])
    plain = simulate.simulated_fenland

    def higher(*, path: str | None, users: int, days: int, seed: int) -> Epochs:
        epochs = plain(path=path, users=users, days=days, seed=seed)

        def stream():  # type: ignore[no-untyped-def]
            for one in epochs.recordings():
                more = np.float32(50 if one.user in tested else 0)
                yield replace(one, heart_rate=one.heart_rate + more)

        return replace(epochs, recordings=stream)

    monkeypatch.setattr(simulate, "simulated_fenland", higher)
    monkeypatch.setenv("FITEXP_CACHE", "other-cache")
    after, _ = trained(capsys, *TINY, *PLAIN)
    assert after.file("spec.json").read_bytes() == before.file("spec.json").read_bytes()
    same_weights(before, after)
    tables = [pd.read_parquet(run.file("predictions.parquet")) for run in (before, after)]
    assert np.allclose(tables[1]["target"] - tables[0]["target"], 50, atol=1e-4)
    assert tables[1]["prediction"].equals(tables[0]["prediction"])
    assert tables[1]["baseline_resting_hr"].equals(tables[0]["baseline_resting_hr"])


def test_order_of_the_stream_is_no_matter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = trained(capsys, *TINY, *PLAIN)
    plain = simulate.simulated_fenland

    def turned(*, path: str | None, users: int, days: int, seed: int) -> Epochs:
        epochs = plain(path=path, users=users, days=days, seed=seed)
        return replace(epochs, recordings=lambda: iter([*epochs.recordings()][::-1]))

    monkeypatch.setattr(simulate, "simulated_fenland", turned)
    monkeypatch.setenv("FITEXP_CACHE", "other-cache")
    after, _ = trained(capsys, *TINY, *PLAIN)
    same_weights(before, after)
    tables = [pd.read_parquet(run.file("predictions.parquet")) for run in (before, after)]
    one, other = (table.sort_values("unit_id").reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(one, other)


# Transfer


def test_transfer_and_embed(
    whole: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fitexp.transfer.GRID", ((0.1, "l2"),))
    run = Run(shutil.copytree(whole.path, folder / "run"))
    beside, _ = trained(capsys, "model=step2heart_autoencoder", "model.filters=4", *SMALL, *PLAIN)
    words = ["--outcome", "sex,resting_hr_bpm", "--draws", "0", "--beside", str(beside.path)]
    assert cli.main(["transfer", str(run.path), *words]) == 0
    printed = capsys.readouterr().out
    assert "SIMULATED" in printed
    found = json.loads(run.file("transfer.json").read_text())["rows"]
    rows = {(row["outcome"], row["representation"]): row for row in found}
    assert rows["resting_hr_bpm", "step2heart A/R"]["reads_outcome"]
    assert 0 <= rows["resting_hr_bpm", "step2heart_autoencoder"]["auc"] <= 100
    assert 0 <= rows["sex", "step2heart A/R"]["auc"] <= 100
    assert cli.main(["transfer", str(run.path), "--evaluate"]) == 0
    with_figures = run.metrics
    assert "test/transfer/sex/auc_pca99_9" in with_figures
    assert not any(name.startswith("test/transfer/resting_hr_bpm") for name in with_figures)
    assert cli.main(["evaluate", str(run.path)]) == 0
    assert run.metrics == with_figures
    assert cli.main(["embed", str(run.path), "-o", "who.parquet"]) == 0
    table = pd.read_parquet("who.parquet")
    assert len(table) == 24
    assert set(table["part"]) == {"train", "val", "test"}
    assert sum(name.startswith("e_") for name in table) == 2 * 4 + 128


# Mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=window_averages", "trainer.max_epochs=-1"], "task.one_cycle=true"),
        (["model=step2heart", "model.inputs=A/R", "data.statics=[]"], "data.statics has it not"),
        (["model=step2heart", "data.answers=every"], "use data.answers=last"),
        (["model=step2heart", "data.fractions=[0.9,0.1,0]"], "none to test"),
        (["model=step2heart_autoencoder", "loss=joint_heads"], "is not for Reconstruction"),
        (["model=step2heart_autoencoder", "data.scaling=zscore"], "data.scaling=window or train"),
    ],
)
def test_pairs_that_cannot_be_are_one_line(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in error(capsys, "train", *words, SMALL[0], *PLAIN)
    assert not (folder / "outputs").exists()
