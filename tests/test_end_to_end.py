"""`fitexp train` as people type it, from an unrelated folder, on small and on real data."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitexp import cli
from fitexp.run import FINISHED, Run
from tests.data.exercises.made_files import write_films
from tests.data.workouts.made import table, write_table
from tests.test_configs import composed

CONF = Path(__file__).parents[1] / "conf"
DEBUGS = sorted(p.stem for p in (CONF / "debug").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
KINDS = ("exercises_", "movielens_", "study_")
OF_EXERCISES = [name for name in EXPERIMENTS if name.startswith(KINDS)]
OF_WINDOWS = [name for name in EXPERIMENTS if name.startswith(("mmash_", "step2heart_"))]
TINY = [
    "data.source.athletes=3",
    "data.source.workouts=5",
    "model.hidden=8",
    "model.context_hidden=8",
    "trainer.max_steps=2",
]
MEANS = ("global_mean", "user_mean", "user_sport_mean")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two steps; copy it before changing it."""
    path = tmp_path_factory.mktemp("runs") / "small"
    assert cli.main(["train", *TINY, f"hydra.run.dir={path}"]) == 0
    return Run(path)


def trained(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[Run, str]:
    """The finished run that `fitexp train WORDS` names in its last line, and what it printed."""
    assert cli.main(["train", *words]) == 0
    printed = capsys.readouterr().out
    run = Run(printed.splitlines()[-1])
    assert run.status == FINISHED
    return run, printed


def check_run(run: Run, printed: str) -> dict[str, float]:
    """Every file is there and they agree with each other."""
    spec, metrics = run.spec, run.metrics
    names = {p.name for p in run.path.iterdir()}
    assert {"config.yaml", "manifest.json", "best.ckpt"} <= names
    pictures = {p.name for p in run.file("plots").iterdir()}
    usual = {"workouts.png", "error_by_minute.png"}
    if not run.manifest.get("training"):  # with epochs
        assert {"last.ckpt", "learning_curve.csv"} <= names
        usual.add("learning_curve.png")
    assert pictures - {"time_constants.png"} == usual
    table = pd.read_parquet(run.file("predictions.parquet"))
    schema = ["unit_id", "user_id", "fold", "step", "horizon_s", "target", "prediction"]
    assert list(table.columns[:7]) == schema
    first = table[table["steps_ahead"] == 1] if spec["horizons"] else table
    unit = spec["unit"]
    errors = {"model": "prediction", **{name: f"baseline_{name}" for name in MEANS}}
    for name, column in errors.items():
        key = f"test/mae_{unit}" if name == "model" else f"baseline/{name}/test/mae_{unit}"
        again = (first[column] - first["target"]).abs().mean()
        assert metrics[key] == pytest.approx(again, rel=1e-9)
        assert f"{metrics[key]:.2f}" in printed
    assert max(map(len, printed.splitlines())) <= 100
    return metrics


FEW = ["data.source.users=4", "trainer.max_steps=2"]


@pytest.mark.slow
def test_networks_of_new_users_start_from_the_run_s_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, _ = trained(["experiment=exercises_demographic", *FEW], capsys)
    run, printed = trained(["experiment=exercises_new_user", "adapt.lr=0.1", *FEW], capsys)
    for figure in ("top1", "top5", "top10", "mrr"):
        before = run.metrics[f"before_adapting/test/{figure}"]
        assert before == plain.metrics[f"test/{figure}"]
    assert run.metrics["test/mrr"] != plain.metrics["test/mrr"]
    assert run.metrics["cost/adapt_s_per_user"] > 0
    assert "before adapting" in printed
    assert "1 epoch more at rate 0.1 on the 3 training users" in " ".join(printed.split())
    kept = [run.file(name).read_bytes() for name in ("best.ckpt", "predictions.parquet")]
    assert cli.main(["evaluate", str(run.path)]) == 0
    again = [run.file(name).read_bytes() for name in ("best.ckpt", "predictions.parquet")]
    assert again == kept


@pytest.mark.slow
@pytest.mark.parametrize("experiment", sorted({*EXPERIMENTS} - {*OF_EXERCISES} - {*OF_WINDOWS}))
def test_every_experiment_runs_two_steps(
    experiment: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = composed(f"experiment={experiment}")["model"]
    tiny = [x for x in TINY if x[:6] != "model." or x[6:].partition("=")[0] in taken]
    run, printed = trained([f"experiment={experiment}", *tiny], capsys)
    check_run(run, printed)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", OF_EXERCISES)
def test_every_experiment_of_exercises_runs_two_steps(
    experiment: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if experiment.endswith("rules"):
        pytest.importorskip("mlxtend")
    tiny = ["data.source.users=6", "data.folds=3"]
    if "movielens" in experiment:
        write_films(folder / "films", users=10, events=12, films=20)
        tiny = ["data.path=films", "data.source.most_rated=20"]
    run, printed = trained([f"experiment={experiment}", *tiny, "trainer.max_steps=2"], capsys)
    table, metrics = pd.read_parquet(run.file("predictions.parquet")), run.metrics
    assert metrics["test/log_loss"] == pytest.approx(-np.log(table["p_target"]).mean())
    assert f"{metrics['test/top5']:.1f}" in printed
    augmented = experiment.endswith(("expert", "rules", "duplicate"))
    assert ("augmentation" in printed) == augmented
    simulated = "movielens" not in experiment
    assert ("SIMULATED" in printed) == simulated
    beside = {name.split("/")[1] for name in metrics if name.startswith("baseline/")}
    assert {"popularity", "bigram", "trigram"} <= beside
    assert ("same_profile" in beside) != simulated
    assert ("test/top1_seen_mask" in metrics) != simulated


@pytest.mark.slow
@pytest.mark.parametrize("debug", DEBUGS)
def test_every_debug_choice_runs(
    debug: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, printed = trained([f"debug={debug}", *TINY], capsys)
    check_run(run, printed)
    assert "SIMULATED" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["data.split=user", "data.folds=3"],
        ["data.split=random", "data.history=none"],
        ["data.history=train_prior", "data.start_value=measured"],
        ["data.max_steps=null", "data.steps=100"],
        ["data.target=derived_speed", "data.regime=short"],
        ["task.teacher_forcing=true", "task.reduction=sum", "loss=mae"],
        ["model.score=tanh", "data.steps=40", "data.max_steps=40"],
        ["data.source.athletes=5", "data.fractions=[0.6,0.2,0.2]", "task.target_scaling=none"],
    ],
    ids=" ".join,
)
def test_protocols_run(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, printed = trained([*TINY, *words], capsys)
    check_run(run, printed)


@pytest.mark.slow
def test_evaluate_and_ls_after_training(
    small_run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(shutil.copytree(small_run.path, folder / "outputs" / "run"))
    before = run.file("metrics.json").read_bytes()
    assert cli.main(["evaluate", str(run.path)]) == 0
    assert run.file("metrics.json").read_bytes() == before
    capsys.readouterr()
    assert cli.main(["ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == FINISHED


@pytest.mark.slow
def test_evaluate_on_another_folder_reads_that_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Heart rates 30 bpm higher, the same plans: predictions stay, errors grow by about 30."""
    made = table()
    higher = made.samples.assign(heart_rate_bpm=made.samples["heart_rate_bpm"] + 30)
    write_table(made, folder / "a")
    write_table(dataclasses.replace(made, samples=higher), folder / "b")
    run, _ = trained(["data=workout_table", "data.path=a", "data.history=none", *TINY[2:]], capsys)
    assert cli.main(["evaluate", str(run.path), "data.path=b"]) == 0
    child = Run(capsys.readouterr().out.splitlines()[-1])
    errors = []
    for one in (run, child):
        found = pd.read_parquet(one.file("predictions.parquet"))
        errors.append((found["target"] - found["prediction"]).mean())
    assert errors[1] - errors[0] == pytest.approx(30, abs=3)  # y_0 is the training's in both
    assert cli.main(["evaluate", str(run.path), "data.fractions=[0.1,0.1,0.8]"]) == 2
    assert "were trained on" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.hidden=-3", "model: hidden_size must be greater than zero"),
        ("model.context_dropout=2", "model: dropout probability"),
        ("optimizer.lr=-1", "optimizer: Invalid learning rate"),
        ("seed=-1", "seed=-1: it takes a whole number"),
        ("num_threads=0", "num_threads=0: it takes a whole number"),
        ("checkpoint.every_steps=abc", "checkpoint.every_steps=abc: it takes a whole number"),
        ("data.batch_size=null", "data.batch_size=null: it takes a whole number"),
        ("data.fractions=[-1,1,1]", "data.fractions=[-1, 1, 1]: three shares"),
        ("data.horizons=[a]", "data.horizons=['a']: whole numbers"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: it takes a whole number above 0"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0: it takes a number above 0"),
        ("accelerator.devices=[0,1]", "accelerator.devices=[0, 1]"),
        ("early_stopping.patience=-1", "early_stopping.patience=-1"),
    ],
    ids=lambda value: value if "=" in str(value) else "",
)
def test_values_that_cannot_be_leave_one_line_and_no_folder(
    word: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [w for w in TINY if w.split("=")[0] != word.split("=")[0]]
    assert cli.main(["train", *words, word]) == 2
    printed = capsys.readouterr().err.splitlines()
    said = [line for line in printed if line.startswith("fitexp: ")]
    assert message in said[-1]
    assert not any("Traceback" in line for line in printed)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("best.ckpt", "junk"),
        ("baselines.npz", "junk"),
        ("spec.json", "{}"),
        ("config.yaml", "seed: 0"),
        ("metrics.json", "["),
    ],
)
def test_damaged_runs_are_one_line(
    file: str, text: str, small_run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(shutil.copytree(small_run.path, folder / "run"))
    run.file(file).write_text(text)
    assert cli.main(["evaluate", str(run.path)]) == 2
    printed = capsys.readouterr().err
    assert f"damaged: {file}" in printed or f"{file} is damaged" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_folder_with_spaces_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(table(), folder / "my rides \u00fc")
    words = ["data=workout_table", "data.path=my rides \u00fc"]
    assert cli.main(["data", "prepare", *words]) == 0
    assert "32  workouts read" in capsys.readouterr().out


@pytest.mark.slow
def test_one_identity_one_run_however_it_is_typed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", *TINY, "-m", "seed=1,2"]) == 0
    names = sorted(p.name for p in (folder / "outputs").iterdir())
    assert [name.split("_")[2] for name in names] == ["seed=1", "seed=2"]  # what is swept first
    capsys.readouterr()
    assert cli.main(["train", *TINY, "data.split=time", "-m", "seed=1"]) == 0
    assert "not trained again" in capsys.readouterr().err
    assert sorted(p.name for p in (folder / "outputs").iterdir()) == names
    assert cli.main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 or " " not in line for line in lines)  # a long name stands alone


@pytest.mark.slow
def test_real_workouts(real_data: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small version of the README's command on recorded workouts."""
    words = ["data=workout_table", f"data.path={real_data / 'open-workouts'}"]
    run, printed = trained([*words, "trainer.max_epochs=8", "model.hidden=32"], capsys)
    metrics = check_run(run, printed)
    assert "SIMULATED" not in printed
    assert metrics["count/test/workouts"] == 13
    assert metrics["test/mae_bpm"] < metrics["baseline/global_mean/test/mae_bpm"]


@pytest.mark.slow
def test_whole_workouts_beat_every_mean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default run, cut at 12 epochs."""
    metrics = check_run(*trained(["trainer.max_epochs=12", "~data.baselines.boosting"], capsys))
    for name in MEANS:
        assert metrics["test/mae_bpm"] < metrics[f"baseline/{name}/test/mae_bpm"]
        assert metrics["test/rmse_bpm"] < metrics[f"baseline/{name}/test/rmse_bpm"]
    assert metrics["ceiling/noise_floor/test/mae_bpm"] < metrics["test/mae_bpm"]


@pytest.mark.slow
def test_short_term_beats_last_value_at_60_s(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data.regime=short", "~data.baselines.boosting"]
    metrics = check_run(*trained([*words, "trainer.max_epochs=8"], capsys))
    last = metrics["baseline/last_value/test/at_60s/mae_bpm"]
    assert metrics["test/at_60s/mae_bpm"] < last
