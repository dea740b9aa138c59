"""The command line: what it prints, how it ends, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import fitexp
from fitexp import cli, targets
from fitexp.errors import InputError
from fitexp.run import BEST, CONFIG_KEYS, LAST, METRICS, Run, write_json

METRIC = {"test/mae_bpm": 3.25, "test/rmse_bpm": 4.0}
VERBS = (
    "compare",
    "reproduce",
    "train",
    "resume",
    "evaluate",
    "rerun",
    "ls",
    "diff",
    "board",
    "data",
)
Training = Callable[[Run], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command is typed in an empty folder."""
    home = tmp_path / "here"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


class Worker(ModuleType):
    """Stands for fitexp.worker: notes its calls, trains by doing what the test says."""

    def __init__(self, training: Training) -> None:
        super().__init__("fitexp.worker")
        self.OURS = {"accelerator", "devices", "logger", "callbacks", "default_root_dir"}
        self.training = training
        self.calls: list[tuple[Any, ...]] = []

    def train(self, run: Run, prepared: Any = None, allow: Any = None) -> Mapping[str, float]:
        self.calls.append(("train", run, prepared, allow))
        with run.working():
            self.training(run)
        return run.metrics

    def evaluate(
        self,
        run: Run,
        overrides: Sequence[str] = (),
        allow: Any = None,
        chosen: Any = None,
        *,
        again: bool = True,
    ) -> Any:
        assert again
        self.calls.append(("evaluate", run, tuple(overrides), allow))
        return run, run.metrics


def finish(run: Run) -> None:
    write_json(run.file(METRICS), METRIC)
    run.file(BEST).write_bytes(b"weights")


def raising(error: BaseException, *, after: Training = lambda run: None) -> Training:
    def training(run: Run) -> None:
        after(run)
        raise error

    return training


def prepared(config: Any) -> Any:
    report = {"data_hash": "d" * 64, "split_hash": "s", "counts": {"workouts": 12}, "rejected": {}}
    spec = SimpleNamespace(to_dict=lambda: {"kind": "workouts"})
    return SimpleNamespace(spec=spec, report=report, config=config)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """No data are prepared and nothing is trained, the rest is real."""
    stub = Worker(finish)
    table = ModuleType("fitexp.report.table")
    table.closing_table = lambda run: f"the table of {run.path.name}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fitexp.worker", stub)
    monkeypatch.setattr(fitexp, "worker", stub, raising=False)
    monkeypatch.setitem(sys.modules, "fitexp.report.table", table)
    monkeypatch.setattr(cli, "_prepare", prepared)
    return stub


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# What there is


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_usage_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    for name in (*VERBS, "data prepare|describe", "--version"):
        assert f" {name}" in printed
    assert printed.count("fitexp train ") >= 3  # the command and two examples


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    assert f"fitexp {verb}" in capsys.readouterr().out


def test_train_help_lists_groups_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "-h"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^model: .*\bfitrec_attn\b", printed, re.MULTILINE)
    assert re.search(r"^protocol: .*\bleave_one_user_out\b", printed, re.MULTILINE)
    assert "max_epochs: 50" in printed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"fitexp \d+\.\d+\S*\n", capsys.readouterr().out)


# Mistakes: exit code 2, one line with the remedy, nothing left

MISTAKES = [
    ("trian", "no command 'trian'; did you mean train?"),
    ("train trainer.max_epoch=3", "no key 'trainer.max_epoch'; did you mean trainer.max_epochs?"),
    ("train max_epochs=3", "no key 'max_epochs'; did you mean trainer.max_epochs?"),
    ("train data.source.athlets=3", "did you mean data.source.athletes?"),
    ("train model=fitrec_atn", "no choice 'fitrec_atn' of model; did you mean fitrec_attn?"),
    ("train model=fitrec_atn", "fitrec_attn, global_mean, "),
    ("train -m model=fitrec_attn,fitrec_atn", "did you mean fitrec_attn?"),
    (
        "train protocol=leave_one_user_out",
        "protocol=leave_one_user_out is not for data=workouts_sim (choices: time, user, random)",
    ),
    ("train protocol=users model=exercise_attn", "no choice 'users' of protocol; did you mean"),
    ("train -m model=exercise_attn protocol=random,time", "protocol=time is not for data=dstress"),
    (
        "train -m model=exercise_attn,gru4rec data.repeets=2",
        "model=exercise_attn: no key 'data.repeets'; did you mean data.repeats?",
    ),
    (
        "train -m model=exercise_attn,fitrec_attn data.repeats=2",
        "model=fitrec_attn: no key 'data.repeats'",
    ),
    (
        "train -m model=exercise_attn,gru4rec model.rescale=true",
        "model=gru4rec: no key 'model.rescale'",
    ),
    (
        "train -m model=fitrec_attn,exercise_attn data.split_seed=1,x",
        "data.split_seed=x: it takes a whole number",
    ),
    ("train -m model=exercise_attn,gru4rec data.repeats=x", "data.repeats=x: it takes a whole"),
    ("train -m model=gru4rec,sasrec +data.repeets=2", "did you mean data.repeats?"),
    ("train data=_wrkouts", "no choice '_wrkouts' of data"),
    ("train modle=fitrec_attn", "no key 'modle'; did you mean model?"),
    ("train experiment=nothing", "no choice 'nothing' of experiment"),
    ("train hydra/launcher=nothing", "no choice 'nothing' of hydra/launcher"),
    ("train hydra.run.dri=x", "did you mean hydra.run.dir?"),
    (
        "train data=workout_table",
        "data.path is missing: data=workout_table needs data.path=PATH",
    ),
    ("train seed=[1", "cannot read the override 'seed=[1'"),
    ("train seed", "'seed': an override is KEY=VALUE; did you mean seed=...?"),
    ("train fitrec_attn", "did you mean model=fitrec_attn?"),
    ("train =3", "cannot read '=3'"),
    ("train seed=${nothing}", "seed: Interpolation key 'nothing' not found"),
    ("train seed=${", "cannot read the override"),
    ("train data.regime=shrot", "no choice 'shrot' of data.regime; did you mean short?"),
    ("train data.target=speed", "(choices: heart_rate, derived_speed)"),
    ("train seed=abc", "seed=abc: it takes a whole number"),
    ("train seed=1.5", "it takes a whole number"),
    ("train -m seed=1,x", "seed=x: it takes a whole number"),
    ("train data.inputs=altitude", "it takes a list, as data.inputs=["),
    ("train trainer=3", "it takes keys, as trainer.max_epochs=..."),
    ("train early_stopping=null", "early_stopping=null: it takes keys, as early_stopping.monitor"),
    ("train task.teacher_forcing=maybe", "it takes true or false"),
    ("train optimizer.lr=fast", "it takes a number"),
    ("train seed=1,2", "add -m"),
    ("train ~sede", "no key 'sede' to delete; did you mean seed?"),
    ("train ~seed", "seed is missing"),
    ("train +seed=3", "seed is there already"),
    ("train +sede=3", "no key 'sede'; did you mean seed?"),
    ("train ++sede=3", "no key 'sede'; did you mean seed?"),
    ("train +model.hiden=3", "no key 'model.hiden'"),
    ("train +model.hiden=3", "did you mean model.hidden?"),
    ("train +model.hiden=3 --cfg job", "did you mean model.hidden?"),
    ("train -m +model.hiden=3,4", "did you mean model.hidden?"),
    ("train +model.spec=3", "model.spec is given by fitexp"),
    ("train +data.source.athlets=3", "did you mean data.source.athletes?"),
    ("train +optimizer.betta=3", "no key 'optimizer.betta'"),
    ("train +trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
    ("train +trainer.devices=3", "trainer.devices is given by fitexp"),
    ("train +early_stopping.pateince=3", "did you mean early_stopping.patience?"),
    ("train ++model={hiden:3}", "did you mean model.hidden?"),
    ("train model._target_=fitexp.models.fitrec_attn.FitRecAtn", "did you mean FitRecAttn?"),
    ("train model._target_=nowhere.Net", "there is no module nowhere"),
    ("train --cfgg job", "no option '--cfgg'; did you mean --cfg?"),
    ("train --cfg", "--cfg needs a value"),
    ("train --cfg jobs", "invalid choice: 'jobs'"),
    ("train --cfg job --info", "Only one of"),
    ("train --resolve", "--resolve"),
    ("train --config-dir nowhere", "nowhere: no such folder"),
    ("train --config-name nothing", "no config 'nothing'"),
    ("train --cfg job --package trainr", "did you mean trainer?"),
    ("train --experimental-rerun x", "fitexp resume RUN"),
    ("data", "prepare or describe"),
    ("data prepar", "did you mean prepare?"),
    ("data fetsh", "did you mean fetch?"),
    ("data fetch", "the name of one set (movielens100k)"),
    ("data fetch movielens", "did you mean movielens100k?"),
    ("data fetch movielens100k --form x", "did you mean --from?"),
    ("data fetch movielens100k --from", "--from needs a value"),
    ("data fetch movielens100k --from=", "--from needs a file"),
    ("data fetch movielens100k --from nowhere.zip", "nowhere.zip: cannot be read"),
    ("data describe data=dstress_sim data.window=0", "data.window=0"),
    ("data prepare data.splt=user", "did you mean data.split?"),
    ("resume", "needs a run folder"),
    ("resume nowhere", "nowhere: no such run folder"),
    ("resume .", "not a run folder"),
    ("resume . .", "not a run folder"),
    ("evaluate --alow x", "did you mean --allow?"),
    ("ls nowhere", "nowhere: no such folder"),
    ("ls --jsn", "did you mean --json?"),
    ("compare", "needs run folders"),
    ("compare nowhere", "nowhere: no such run folder"),
    ("compare nowhere*", "nowhere*: no such run folder"),
    ("compare . --form md", "did you mean --format?"),
    ("compare . --format jsn", "no format 'jsn'; did you mean json?"),
    ("compare . --by", "--by needs a value"),
    ("ls --sort", "--sort needs a value"),
    ("ls --sort -", "--sort needs a key"),
    ("ls --sort a --sort b", "--sort takes one key"),
    ("ls --filter model", "cannot read the filter 'model': it takes KEY=GLOB"),
    ("ls --filter test/mae_bpm<low", "< takes a number"),
    ("ls --filter model='x", "No closing quotation"),
    ("diff", "takes two run folders, not 0"),
    ("diff . . .", "takes two run folders, not 3"),
    ("diff nowhere .", "nowhere: no such run folder"),
    ("board", "outputs: no such folder"),
    ("board nowhere", "nowhere: no such folder"),
    ("board . .", "takes one folder"),
    ("board . --port http", "--port http: it takes a whole number"),
    ("board . --port 65536", "0 to 65535"),
    ("rerun", "needs a run folder"),
    ("rerun nowhere", "nowhere: no such run folder"),
]


@pytest.mark.parametrize(("command", "said"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_mistakes(
    command: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(command.split(" "))
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.startswith("fitexp: ")
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert code == 2
    assert left(folder) == []


@pytest.mark.slow
def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--debug", "modle=x"]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert printed.endswith("fitexp: no key 'modle'; did you mean model?\n")
    assert cli.main(["train", "modle=x"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_broken_yaml_of_the_user_names_file_and_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "bad.yaml").write_text("a: 1\nb: [1\n")
    assert cli.main(["train", "--config-dir", str(tmp_path / "mine"), "model=bad"]) == 2
    printed = capsys.readouterr().err
    assert re.search(r"bad\.yaml.*:\d+: ", printed)
    assert printed.count("\n") == 1
    assert left(folder) == []


# Hydra's command line


@pytest.mark.slow
def test_cfg_job_prints_the_config_anywhere(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    assert cli.main(["train", "seed=7", "--cfg", "job"]) == 0
    first = capsys.readouterr().out
    assert yaml.safe_load(first)["seed"] == 7
    assert cli.main(["train", "--cfg=job", "seed=7"]) == 0
    assert cli.main(["train", "-c", "job", "seed=7"]) == 0
    assert capsys.readouterr().out == first * 2
    assert left(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "seed=7 --resolve -p data --cfg job data.regime=short",
        "--cfg job --package=data data.regime=short --resolve seed=7",
        "-c job data.regime=short -p data seed=7 --resolve",
    ],
)
def test_options_may_stand_anywhere(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *words.split()]) == 0
    printed = capsys.readouterr().out
    assert "steps: 10\n" in printed
    assert "trainer" not in printed


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--info", "defaults", "seed=3"]) == 0
    assert "model/fitrec_attn" in capsys.readouterr().out
    assert cli.main(["train", "--info", "searchpath"]) == 0
    assert "fitexp.conf" in capsys.readouterr().out
    assert left(folder) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("fitexp tr", "train"),
        ("fitexp ", "evaluate"),
        ("fitexp data ", "describe"),
        ("fitexp data f", "fetch"),
        ("fitexp data fetch mo", "movielens100k"),
        ("fitexp data fetch movielens100k --f", "--from"),
        ("fitexp train model=", "model=fitrec_attn"),
        ("fitexp train --fresh -m trainer.max_e", "trainer.max_epochs="),
        ("fitexp data prepare data.sp", "data.split="),
        ("fitexp train protocol=leave", "protocol=leave_one_user_out"),
    ],
)
def test_shell_completion(
    line: str,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert cli.main(["-sc", "query=bash"]) == 0
    assert word in capsys.readouterr().out.split()


def test_shell_completion_is_installed_by_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "-sc", "install=bash"]) == 0
    assert "complete -o" in capsys.readouterr().out


@pytest.mark.slow
def test_config_dir_adds_a_model(
    tmp_path: Path,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "mynet.yaml").write_text("_target_: mylab.MyNet\nwidth: 3\n")
    (tmp_path / "mylab.py").write_text(
        "class MyNet:\n    kind = 'workouts'\n    def __init__(self, *, spec, width): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["train", "model=mynet", "--config-dir", str(tmp_path / "mine")]
    assert cli.main(words) == 0
    (_, run, _, allow) = worker.calls[0]
    assert run.config["model"] == {"_target_": "mylab.MyNet", "width": 3}
    assert run.path.name.endswith("_mynet")
    assert targets.locate("mylab.MyNet", allow).__name__ == "MyNet"  # he has just named it
    with pytest.raises(InputError, match="outside what may be built"):
        targets.locate("mylab.MyNet")  # in a config that comes with a run
    assert cli.main([*words, "+model.widht=3"]) == 2
    assert "did you mean model.width?" in capsys.readouterr().err


def test_packages_add_configs_by_entry_point(tmp_path: Path) -> None:
    lab = tmp_path / "site" / "somelab"
    (lab / "conf" / "model").mkdir(parents=True)
    (lab / "__init__.py").touch()
    (lab / "conf" / "__init__.py").touch()
    (lab / "conf" / "model" / "theirs.yaml").write_text("_target_: somelab.Net\nwidth: 77\n")
    info = tmp_path / "site" / "somelab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somelab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fitexp.configs]\nsomelab = somelab.conf\n")
    done = fitexp_process(
        ["train", "model=theirs", "--cfg", "job"], PYTHONPATH=str(tmp_path / "site")
    )
    assert done.returncode == 0, done.stderr
    assert "width: 77" in done.stdout


# train


@pytest.mark.slow
def test_train_prints_the_table_and_last_the_folder(
    folder: Path, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "seed=5", "trainer.max_epochs=1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("the table of ")
    path = Path(printed[-1])
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_fitrec_attn", str(path))
    run = Run(path)
    assert run.status == "finished"
    assert (run.config["seed"], run.config["trainer"]["max_epochs"]) == (5, 1)
    assert run.spec == {"kind": "workouts"}
    manifest = run.manifest
    assert manifest["choices"] == {
        "model": "fitrec_attn",
        "data": "workouts_sim",
        "task": "regression",
        "loss": "mse",
        "optimizer": "adam",
        "accelerator": "auto",
    }
    assert (manifest["seed"], manifest["regime"], manifest["split_hash"]) == (5, "whole", "s")
    assert left(folder) == sorted(
        ["outputs", str(path)] + [f"{path}/{p.name}" for p in path.iterdir()]
    )
    (call,) = worker.calls
    assert call[2].config == run.config


@pytest.mark.slow
def test_train_says_what_data_were_left_out(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def some_rejected(job: Any) -> Any:
        made = prepared(job)
        made.report["rejected"] = {"pieces under 30 steps": 3, "workouts of nobody": 0}
        return made

    monkeypatch.setattr(cli, "_prepare", some_rejected)
    assert cli.main(["train"]) == 0
    assert capsys.readouterr().err == "fitexp: data left out: 3 pieces under 30 steps\n"


@pytest.mark.slow
def test_two_runs_within_a_second_get_two_folders(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert cli.main(["train"]) == 0
    paths = [line for line in capsys.readouterr().out.splitlines() if line.startswith("outputs/")]
    assert len(set(paths)) == 3


@pytest.mark.slow
def test_the_user_names_the_folder(
    folder: Path, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "hydra.run.dir=deep/mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "deep/mine"
    assert Run("deep/mine").status == "finished"
    assert not Path("outputs").exists()
    assert cli.main(["train", "hydra.run.dir=deep/mine"]) == 2
    assert "holds a run already (finished)" in capsys.readouterr().err
    assert cli.main(["train", "hydra.run.dir=deep"]) == 2
    assert "not empty" in capsys.readouterr().err
    assert cli.main(["train", "hydra.run.dir=${seed}_x", "seed=4"]) == 0
    assert Run("4_x").status == "finished"


@pytest.mark.slow
def test_a_mistake_found_by_the_worker_leaves_no_folder(
    folder: Path, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.training = raising(InputError("model X takes data of another kind"))
    for words in (["train"], ["train", "hydra.run.dir=a/b"], ["train", "-m", "seed=1,2"]):
        assert cli.main(words) == 2
        first, *_ = [x for x in capsys.readouterr().err.splitlines() if "fitexp: job" not in x]
        assert first == "fitexp: model X takes data of another kind"
        assert left(folder) == []


@pytest.mark.slow
def test_a_folder_that_another_process_took_meanwhile_is_left_alone(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = trained("mine")
    monkeypatch.setattr(cli, "_check_vacant", lambda folder: None)
    assert cli.main(["train", "hydra.run.dir=mine"]) == 2
    assert "mine is not empty" in capsys.readouterr().err
    assert theirs.status == "finished"


@pytest.mark.slow
def test_a_mistake_after_some_training_keeps_it(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.training = raising(InputError("disk is full"), after=lambda run: run.file(LAST).touch())
    assert cli.main(["train", "hydra.run.dir=mine"]) == 2
    assert Run("mine").status == "failed"


@pytest.mark.slow
def test_a_crash_is_marked_and_ends_with_1(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.training = raising(RuntimeError("a defect"))
    assert cli.main(["train", "hydra.run.dir=mine"]) == 1
    printed = capsys.readouterr().err
    assert "RuntimeError: a defect" in printed
    assert "mine is marked failed" in printed
    assert Run("mine").status == "failed"
    assert Run("mine").manifest["error"] == "RuntimeError: a defect"


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_ctrl_c_says_how_to_go_on(
    error: BaseException, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.training = raising(error)
    assert cli.main(["train", "hydra.run.dir=my run"]) == 130
    printed = capsys.readouterr()
    assert printed.err == "fitexp: interrupted; resume it with: fitexp resume 'my run'\n"
    assert Run("my run").status == "interrupted"


# multirun


@pytest.mark.slow
def test_multirun_with_options_anywhere(
    folder: Path, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "model=fitrec_attn", "-m", "seed=1,2", "optimizer.lr=0.1"]) == 0
    assert [call[1].config["seed"] for call in worker.calls] == [1, 2]
    for call in worker.calls:
        run = call[1]
        digits = run.manifest["identity"][:8]
        seed = run.config["seed"]
        assert run.path.name == f"fitrec_attn_seed={seed}_optimizer.lr=0.1_{digits}"
    assert sorted(p.name for p in folder.iterdir()) == ["outputs"]
    assert len(list(Path("outputs").iterdir())) == 2


@pytest.mark.slow
def test_finished_jobs_of_a_multirun_are_not_repeated(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "-m", "seed=1,2"]) == 0
    first = [line for line in capsys.readouterr().out.splitlines() if line.startswith("outputs")]
    assert cli.main(["train", "-m", "seed=1,2,3"]) == 0
    printed = capsys.readouterr()
    assert [call[1].config["seed"] for call in worker.calls] == [1, 2, 3]
    assert printed.err.count("finished before, not trained again") == 2
    assert set(first) < set(printed.out.splitlines())
    assert cli.main(["train", "--fresh", "-m", "seed=1,2"]) == 0
    assert len(worker.calls) == 5
    assert len(list(Path("outputs").iterdir())) == 5
    Run(first[0]).update(version="0.0.0")
    assert cli.main(["train", "-m", "seed=1"]) == 0
    assert "finished before by other code" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupted_jobs_of_a_multirun_go_on(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.training = raising(KeyboardInterrupt())
    assert cli.main(["train", "-m", "seed=1,2"]) == 130
    assert len(worker.calls) == 1  # the others are not begun
    worker.training = finish
    assert cli.main(["train", "-m", "seed=1,2"]) == 0
    assert "interrupted, goes on" in capsys.readouterr().err
    assert worker.calls[1][1].path == worker.calls[0][1].path
    assert len(list(Path("outputs").iterdir())) == 2


@pytest.mark.slow
def test_one_failed_job_does_not_stop_the_others(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    def training(run: Run) -> None:
        if run.config["seed"] == 1:
            raise RuntimeError("a defect")
        finish(run)

    worker.training = training
    assert cli.main(["train", "-m", "seed=1,2"]) == 1
    assert [call[1].status for call in worker.calls] == ["failed", "finished"]


@pytest.mark.slow
def test_a_multirun_tells_its_progress_and_ends_with_a_table(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    def training(run: Run) -> None:
        if run.config["seed"] == 2:
            raise RuntimeError("a defect\nof two lines")
        finish(run)

    worker.training = training
    assert cli.main(["train", "-m", "seed=1,2", "model.hidden=8,16"]) == 1
    printed = capsys.readouterr()
    jobs = [line for line in printed.err.splitlines() if line.startswith("fitexp: job ")]
    assert jobs[0] == "fitexp: job 1 of 4"
    assert len(jobs) == 4
    for n, line in enumerate(jobs[1:], 2):  # how long it takes is the machine's affair
        assert re.fullmatch(rf"fitexp: job {n} of 4, about \d+ s left", line)
    lines = printed.out.splitlines()
    closing = lines[lines.index(next(x for x in lines if x.startswith("job  "))) :]
    assert re.split(r" {2,}", closing[0]) == ["job", "status", "time", "test mae"]
    statuses = [word for x in closing for word in x.split() if word in ("finished", "failed")]
    assert statuses == ["finished", "finished", "failed", "failed"]
    assert closing[-3:-1] == [f"job {n}: RuntimeError: a defect of two lines" for n in (3, 4)]
    assert Run(closing[-1]).config["seed"] == 2  # the last line is the last run's folder
    assert all(len(line) <= 100 or line[3:].startswith("outputs/") for line in closing)
    worker.training = finish
    assert cli.main(["train", "-m", "seed=1,2,3", "model.hidden=8"]) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if re.match(r"\d  outputs/", line)]
    assert ["finished before" in row for row in rows] == [True, False, False]
    assert all(row.endswith("3.25 bpm") for row in rows)


@pytest.mark.slow
def test_mistakes_in_jobs_are_rows_too(worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    worker.training = raising(InputError("optimizer.lr: too large"))
    assert cli.main(["train", "-m", "seed=1,2", "model.hidden=8"]) == 2
    out = capsys.readouterr().out
    assert re.search(r"^1  seed=1 +failed ", out, re.MULTILINE)
    assert out.endswith("job 1: optimizer.lr: too large\njob 2: optimizer.lr: too large\n")


@pytest.mark.slow
def test_ctrl_c_ends_the_sweep_with_its_table(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    def training(run: Run) -> None:
        if run.config["seed"] == 2:
            raise KeyboardInterrupt
        finish(run)

    worker.training = training
    assert cli.main(["train", "-m", "seed=1,2,3,4"]) == 130
    assert [call[1].status for call in worker.calls] == ["finished", "interrupted"]
    printed = capsys.readouterr()
    *_, remark, last = printed.out.splitlines()
    assert remark == "2 of 4 jobs were not begun"
    assert Run(last).status == "interrupted"
    assert printed.out.count("interrupted") == 1


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        ("seed=1,2,3 model.hidden=8,16", 6),
        ("seed=range(0,4) score=x", 4),
        ("loss=glob(*) seed=0", len([*Path(fitexp.__file__).parents[1].glob("conf/loss/*.yaml")])),
        ("seed=1,2 seed=1,2,3", 3),
        ("seed=0", 1),
        ("seed=interval(0,3)", None),
    ],
)
def test_the_number_of_jobs_is_known_beforehand(words: str, jobs: int | None) -> None:
    from fitexp import compose

    line = words.replace("score=x", "model.score=tanh").split(" ")
    with compose._hydra(compose.parse([*line, "-m"])) as (hydra, _):
        composer = compose.Composer(hydra, compose.CONFIG_NAME)
        settings = composer.compose([]).hydra
        assert composer.count(settings, line) == jobs
        settings.sweeper._target_ = "another.Sweeper"
        assert composer.count(settings, line) is None


@pytest.mark.slow
def test_the_user_names_the_folder_of_a_multirun(worker: Worker) -> None:
    words = ["train", "-m", "seed=1,2", "hydra.sweep.dir=sweep"]
    assert cli.main(words) == 0
    assert {call[1].path.parent for call in worker.calls} == {Path("sweep")}
    assert cli.main([*words, "hydra.sweep.subdir=job${hydra.job.num}"]) == 0
    assert [str(call[1].path) for call in worker.calls[2:]] == ["sweep/job0", "sweep/job1"]
    assert not Path("multirun.yaml").exists()
    assert not Path("sweep/multirun.yaml").exists()


@pytest.mark.slow
def test_names_of_a_large_multirun_s_folders_are_short(worker: Worker) -> None:
    long = [f"data.source.{key}={value}" for key, value in (("athletes", 10), ("workouts", 12))]
    words = [*long, "trainer.max_epochs=3", "trainer.gradient_clip_val=0.5", "optimizer.lr=0.01"]
    assert cli.main(["train", "-m", "seed=1", *words, "model.hidden=16,32"]) == 0
    names = {call[1].path.name for call in worker.calls}
    assert len(names) == 2
    assert all(len(name) <= 120 for name in names)


# resume, evaluate


def trained(path: str, training: Training = finish) -> Run:
    run = Run.create(
        path, {**dict.fromkeys(CONFIG_KEYS), "seed": 1}, {"kind": "workouts"}, {"seed": 1}
    )
    try:
        with run.working():
            training(run)
    except BaseException:
        assert training is not finish
    return run


def test_resume_goes_on_with_an_interrupted_run(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("mine", raising(KeyboardInterrupt()))
    assert cli.main(["resume", "mine"]) == 0
    assert capsys.readouterr().out.splitlines() == ["the table of mine", "mine"]
    assert run.status == "finished"
    assert worker.calls[0][2:] == (None, None)  # prepared by the worker, usual targets only


def test_resume_passes_on_what_the_user_allows(worker: Worker) -> None:
    trained("mine", raising(KeyboardInterrupt()))
    assert cli.main(["resume", "--allow", "mylab.", "mine", "--allow=other."]) == 0
    assert worker.calls[0][3] == (*targets.DEFAULT_ALLOW, "mylab.", "other.")


def test_resume_refuses_finished_running_and_damaged(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("mine")
    for change, said in [
        (lambda: None, "already finished"),
        (lambda: run.update(status="running"), f"is being trained by process {os.getpid()}"),
        (lambda: run.file("spec.json").unlink(), "damaged: spec.json: missing"),
        (lambda: run.file("config.yaml").write_text("a: ["), "damaged: config.yaml"),
        (lambda: run.file("manifest.json").write_text("{"), "damaged: manifest.json: line 1"),
    ]:
        change()
        assert cli.main(["resume", "mine"]) == 2
        printed = capsys.readouterr().err
        assert said in printed
        assert printed.count("\n") == 1
    assert worker.calls == []


def test_evaluate_passes_overrides_and_prints_the_table(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("mine")
    assert cli.main(["evaluate", "mine", "data.path=x", "--allow=mylab.", "num_threads=2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["the table of mine", "mine"]
    verb, run, overrides, allow = worker.calls[0]
    assert (verb, run.path, overrides) == (
        "evaluate",
        Path("mine"),
        ("data.path=x", "num_threads=2"),
    )
    assert allow[-1] == "mylab."


# ls


@pytest.mark.slow
def test_ls_lists_runs_and_survives_damage(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ls"]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["train", "-m", "seed=1,2", "hydra.sweep.subdir=run${seed}"]) == 0
    for number, text in enumerate(["", "[]", "{", '{"status": 3}', '{"status": "finished"}']):
        damaged = Path("outputs") / f"damaged{number}"
        damaged.mkdir()
        (damaged / "manifest.json").write_text(text)
        (damaged / "metrics.json").write_bytes(b"\xff{")
    (Path("outputs") / "damaged0" / "manifest.json").unlink()
    capsys.readouterr()
    assert cli.main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.split(r" {2,}", lines[0])[-3:] == ["seed", "time", "test mae"]
    assert len(lines) == 1 + 2 + 5
    assert sum("damaged " in line for line in lines) == 5
    finished = [line for line in lines if " finished " in line]
    assert len(finished) == 2
    assert all("fitrec_attn" in line and line.endswith("3.25 bpm") for line in finished)
    assert cli.main(["ls", "--json", "outputs/run1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["run"] == "outputs/run1"
    assert (row["status"], row["seed"], row["metrics"]) == ("finished", 1, METRIC)


def test_ls_json_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


# rerun, diff, board


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """What preparing the data of a run's folder gives: its report, to be changed."""
    made = prepared(None)
    protocol = SimpleNamespace(prepare=lambda allow: made)
    monkeypatch.setattr(targets, "build", lambda node, allow=None: protocol)
    report: dict[str, Any] = made.report
    return report


@pytest.mark.slow
def test_rerun_trains_again_beside_and_says_whether_figures_agree(
    worker: Worker, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "hydra.run.dir=runs/mine"]) == 0
    capsys.readouterr()
    assert cli.main(["rerun", "runs/mine"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "runs/mine_rerun"
    assert "differs from the first run: nothing" in out
    assert "figures: all 2 agree exactly" in out
    again, first = Run("runs/mine_rerun"), Run("runs/mine")
    assert (again.config, again.spec) == (first.config, first.spec)
    assert again.manifest["parent"] == "runs/mine"
    assert again.manifest["choices"] == first.manifest["choices"]
    assert again.manifest["identity"] == first.manifest["identity"]
    assert worker.calls[1][3] is None  # usual targets only
    # finished by the same code: only compared, also from within the folder
    os.chdir("runs/mine")
    assert cli.main(["rerun", "."]) == 0
    os.chdir("../..")
    assert "trained before" in capsys.readouterr().err
    assert len(worker.calls) == 2
    # fresh, other code and other data train once more

    def other(run: Run) -> None:
        finish(run)
        write_json(run.file(METRICS), {**METRIC, "test/mae_bpm": 3.5})

    worker.training = other
    Run("runs/mine_rerun").update(version="0.0.0")
    assert cli.main(["rerun", "runs/mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs/mine_rerun_2"
    data["data_hash"] = "e" * 64
    assert cli.main(["rerun", "--fresh", "runs/mine", "--allow", "mylab."]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "runs/mine_rerun_3"
    assert worker.calls[-1][3] == (*targets.DEFAULT_ALLOW, "mylab.")
    assert re.search(r"^data hash +d{12}  e{12}$", printed.out, re.MULTILINE)
    said = "figures: 1 of 2 differ; the largest relative difference is 0.071: test/mae_bpm 3.25, "
    assert f"{said}now 3.5" in printed.out


@pytest.mark.slow
def test_an_interrupted_rerun_goes_on(
    worker: Worker, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "hydra.run.dir=mine"]) == 0
    worker.training = raising(KeyboardInterrupt(), after=lambda run: run.file(LAST).touch())
    assert cli.main(["rerun", "mine"]) == 130
    worker.training = finish
    assert cli.main(["rerun", "mine"]) == 0
    printed = capsys.readouterr()
    assert "mine_rerun: interrupted, goes on" in printed.err
    assert printed.out.splitlines()[-1] == "mine_rerun"
    assert sorted(p.name for p in Path().iterdir()) == ["mine", "mine_rerun"]


@pytest.mark.slow
def test_a_rerun_that_cannot_be_leaves_no_folder(
    worker: Worker, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "hydra.run.dir=mine"]) == 0
    worker.training = raising(InputError("optimizer: no such"))
    assert cli.main(["rerun", "mine"]) == 2
    worker.training = raising(RuntimeError("a defect"))
    assert cli.main(["rerun", "mine"]) == 1
    assert sorted(p.name for p in Path().iterdir()) == ["mine", "mine_rerun"]
    assert Run("mine_rerun").status == "failed"
    child = Run.create("mine/evaluations/1", Run("mine").config, {}, {"parent": "mine"})
    child.update(status="interrupted")
    assert cli.main(["rerun", str(child.path)]) == 2
    assert "is an evaluation: rerun " in capsys.readouterr().err


@pytest.mark.slow
def test_rerun_says_in_one_line_that_data_are_gone(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    assert cli.main(["train", "data=workout_table", "data.path=gone", "hydra.run.dir=mine"]) == 0
    config = Run("mine").config
    capsys.readouterr()
    assert cli.main(["rerun", "mine"]) == 2
    printed = capsys.readouterr().err
    assert "gone: no such" in printed
    assert printed.count("\n") == 1
    config["data"]["source"]["_target_"] = "os.system"
    Run("mine").file("config.yaml").write_text(yaml.safe_dump(config))
    assert cli.main(["rerun", "mine"]) == 2
    assert not Path("mine_rerun").exists()


@pytest.mark.slow
def test_diff_prints_what_differs(worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "hydra.run.dir=a"]) == 0
    assert cli.main(["train", "hydra.run.dir=b", "model.hidden=8", "optimizer.lr=0.1"]) == 0
    capsys.readouterr()
    assert cli.main(["diff", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^model\.hidden +64 +8$", out, re.MULTILINE)
    assert re.search(r"^test/mae_bpm +3\.25 +3\.25 +0$", out, re.MULTILINE)
    assert cli.main(["diff", "--json", "a", "b"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {*found["config"]} == {"model.hidden", "optimizer.lr"}
    assert found["made"] == {}
    assert found["metrics"]["test/mae_bpm"] == {"old": 3.25, "new": 3.25, "difference": 0.0}
    Run("a").file("config.yaml").write_text("a: [")
    assert cli.main(["diff", "a", "b"]) == 2


def test_board_becomes_tensorboard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    called: list[list[str]] = []

    def execv(program: str, words: list[str]) -> None:
        called.append([program, *words])
        raise SystemExit  # it does not come back

    monkeypatch.setattr(os, "execv", execv)
    Path("outputs").mkdir()
    for words in (["board"], ["board", ".", "--port", "7001"]):
        with pytest.raises(SystemExit):
            cli.main(words)
    start = [sys.executable, sys.executable, "-m", "tensorboard.main", "--logdir"]
    assert called == [[*start, "outputs"], [*start, ".", "--port", "7001"]]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["board"]) == 2
    assert "TensorBoard is not installed" in capsys.readouterr().err


# data


@pytest.mark.slow
def test_data_commands_on_simulated_workouts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data.source.athletes=3", "data.source.workouts=6"]
    assert cli.main(["data", "prepare", *words]) == 0
    assert "18  workouts read" in capsys.readouterr().out
    assert left(folder) == []
    assert cli.main(["data", "describe", *words]) == 0
    *text, page = capsys.readouterr().out.splitlines()
    assert "SIMULATED" in text[0]
    assert Path(page).read_bytes().startswith(b"\x89PNG")
    assert left(folder) == ["outputs", "outputs/describe", page]


@pytest.mark.slow
def test_data_commands_on_simulated_exercises(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default model, of workouts, need not fit the data that are described."""
    words = ["data=dstress_sim", "data.source.users=6"]
    assert cli.main(["data", "prepare", *words]) == 0
    assert "216  events" in capsys.readouterr().out
    assert cli.main(["data", "describe", *words]) == 0
    *text, page = capsys.readouterr().out.splitlines()
    assert "SIMULATED" in text[0]
    assert any("window by the ACF" in line for line in text)
    assert Path(page).read_bytes().startswith(b"\x89PNG")
    assert left(folder) == ["outputs", "outputs/describe", page]


def test_data_fetch_prints_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fetched(source: str | None, folder: Path) -> Path:
        asked.append(source)
        return folder

    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path))
    monkeypatch.setattr("fitexp.data.exercises.fetch.fetch_movielens100k", fetched)
    assert cli.main(["data", "fetch", "movielens100k"]) == 0
    assert cli.main(["data", "fetch", "movielens100k", "--from", "a.whl"]) == 0
    assert asked == [None, "a.whl"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "movielens100k")] * 2


# Processes


def fitexp_process(words: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fitexp.cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["--version"],
        ["ls"],
        ["ls", "--filter", "seed=1", "--sort", "time"],
        ["diff", "nowhere", "nowhere"],
        ["board"],
        ["rerun", "nowhere"],
        ["trian"],
        ["train", "trainer.max_epoch=3"],
        ["train", "model=fitrec_atn"],
        ["train", "data.regime=shrot"],
        ["train", "seed=abc"],
        ["train", "--cfg", "job"],
        ["train", "model=fitrec_attn", "seed=3", "--cfg", "job", "--resolve"],
        ["resume", "nowhere"],
        ["compare", "nowhere"],
    ],
    ids=" ".join,
)
def test_light_commands_import_neither_torch_nor_pandas(words: list[str]) -> None:
    script = (
        "import sys\nfrom fitexp.cli import main\ncode = main(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pytorch_lightning', 'matplotlib'} & {*sys.modules}\n"
        "hydra = 'hydra' in sys.modules\n"
        "assert not heavy, heavy\n"
        "assert hydra == (sys.argv[1:2] == ['train']), hydra\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--cfg", "job"], ["train", "--info"], ["train", "--help"]]
)
def test_a_closed_pipe_gives_no_traceback(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fitexp.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    printed = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert printed == ""


@pytest.mark.slow
def test_a_real_run_end_to_end(folder: Path) -> None:
    words = ["data.source.athletes=4", "data.source.workouts=6", "trainer.max_epochs=1"]
    done = fitexp_process(["train", *words, "model.hidden=8", "accelerator=cpu"])
    assert done.returncode == 0, done.stderr
    run = Run(done.stdout.splitlines()[-1])
    assert run.status == "finished"
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    metrics = run.metrics
    assert metrics["test/mae_bpm"] > 0
    done = fitexp_process(["evaluate", str(run.path)])
    assert done.returncode == 0, done.stderr
    assert run.metrics == metrics
    listed = json.loads(fitexp_process(["ls", "--json"]).stdout)
    assert [row["run"] for row in listed] == [str(run.path)]


@pytest.mark.slow
def test_ctrl_c_once_ends_a_real_sweep_and_the_same_command_ends_it(folder: Path) -> None:
    words = ["data.source.athletes=4", "data.source.workouts=6", "trainer.max_epochs=25"]
    words += ["train", "-m", "seed=1,2,3", "model.hidden=8", "accelerator=cpu"]
    words += ["early_stopping.patience=null"]
    words = sorted(words, key=lambda word: word != "train")
    process = subprocess.Popen(
        [sys.executable, "-m", "fitexp.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    begun = 0
    for line in process.stderr:
        begun += line.startswith("fitexp: job ")
        if begun == 2 and line.startswith("epoch  3/25"):
            process.send_signal(signal.SIGINT)
            break
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out.splitlines()[-2] == "1 of 3 jobs were not begun"
    statuses = {Run(path).config["seed"]: Run(path).status for path in Path("outputs").iterdir()}
    assert statuses == {1: "finished", 2: "interrupted"}
    done = fitexp_process(words)
    assert done.returncode == 0, done.stderr
    assert "interrupted, goes on" in done.stderr
    assert [Run(path).status for path in Path("outputs").iterdir()] == ["finished"] * 3
    run = next(path for path in Path("outputs").iterdir() if "seed=2" in path.name)
    again = fitexp_process(["rerun", str(run)])
    assert again.returncode == 0, again.stderr
    assert re.search(r"figures: all \d+ agree exactly", again.stdout), again.stdout


@pytest.mark.slow
def test_a_foreign_target_of_a_run_is_refused(folder: Path) -> None:
    import yaml

    words = ["data.source.athletes=4", "data.source.workouts=6", "trainer.max_epochs=1"]
    done = fitexp_process(["train", *words, "model.hidden=8", "hydra.run.dir=mine"])
    assert done.returncode == 0, done.stderr
    run = Run("mine")
    config = run.config
    config["loss"] = {"_target_": "os.system", "command": "touch harmed"}
    run.file("config.yaml").write_text(yaml.safe_dump(config))
    for verb in ("evaluate", "resume"):
        run.update(status="interrupted")
        done = fitexp_process([verb, "mine"])
        assert done.returncode == 2, done.stderr
        assert "os.system is outside what may be built" in done.stderr
    assert not Path("harmed").exists()
