"""A model and data of somebody else's, `tests/outside/`: by --config-dir, and as a package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml

from fitexp import cli, targets
from fitexp.data.workouts.table import WorkoutTable, read_workout_table
from fitexp.errors import InputError
from fitexp.run import FINISHED, Run
from tests.data.workouts.made import table, write_table

ROOT = Path(__file__).parents[1]
OUTSIDE = ROOT / "tests" / "outside"
CONF = OUTSIDE / "fitexp_mine" / "conf"
TINY = ["model=mine", "model.width=4", "data=mine"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every command is typed in an empty folder; modules of the test's packages go again."""
    home = tmp_path / "here"
    home.mkdir()
    monkeypatch.chdir(home)
    before = set(sys.modules)
    yield home
    for name in set(sys.modules) - before:
        if name.startswith(("fitexp_mine", "lab_")):
            del sys.modules[name]


def package(site: Path, name: str, configs: dict[str, str], entry: str = "") -> None:
    """Put an installed package NAME with configs (path -> text) into `site`."""
    conf = site / name / "conf"
    for path, text in configs.items():
        (conf / path).parent.mkdir(parents=True, exist_ok=True)
        (conf / path).write_text(text)
    if configs:
        (site / name / "__init__.py").touch()
        (conf / "__init__.py").touch()
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    entry = entry or f"{name} = {name}.conf"
    (info / "entry_points.txt").write_text(f"[{targets.ENTRY_POINTS}]\n{entry}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that packages are found in."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    return path


def composed(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, str], str]:
    """The model that `fitexp train WORDS` composes, and what it says beside it."""
    capsys.readouterr()
    assert cli.main(["train", *words, "--cfg", "job"]) == 0
    printed = capsys.readouterr()
    return yaml.safe_load(printed.out)["model"], printed.err


def mistake(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def write_csv(made: WorkoutTable, path: Path) -> Path:
    """The form of fitexp_mine/data.py, rows in no order."""
    sessions = made.sessions.drop(columns="gender")
    rows = made.samples.join(sessions, on="session").drop(columns="session")
    rows.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


# The README


def test_the_readme_shows_the_example() -> None:
    """Every block of the section stands in the example; code and commands are twenty lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Your own model\n")[1].split("\n## ")[0]
    found = re.findall(r"^(?:    .*\n|\n(?=    ))+", section, re.MULTILINE)
    blocks = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") for block in found]
    code, config, once, package = blocks
    entry, installed = package.split("\n\n")
    model = (OUTSIDE / "fitexp_mine" / "model.py").read_text(encoding="utf-8")
    assert code == model.replace("\n\n\n", "\n\n").strip("\n")
    assert config == (CONF / "model" / "mine.yaml").read_text(encoding="utf-8").strip("\n")
    assert once.split() == [
        *["PYTHONPATH=.", "fitexp", "train", "model=mine", "--config-dir", "fitexp_mine/conf"]
    ]
    assert f"\n{entry}\n" in (OUTSIDE / "pyproject.toml").read_text(encoding="utf-8")
    assert installed.splitlines() == ["pip install .", "fitexp train model=mine"]
    assert sum(1 for block in blocks for line in block.splitlines() if line) <= 20


# The example


def test_the_folder_adds_its_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)
    words = ["model=mine", "data=mine", "data.path=x.csv", "--config-dir", str(CONF)]
    model, said = composed(words, capsys)
    assert (model, said) == ({"_target_": "fitexp_mine.model.Mine", "width": 32}, "")
    assert "did you mean mine?" in mistake(["model=mne", "--config-dir", str(CONF)], capsys)


def test_the_reader_agrees_with_that_of_fitexp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)
    from fitexp_mine.data import read_one_csv

    made = table(athletes=2, workouts=3, minutes=3)
    expected = read_workout_table(path=str(write_table(made, tmp_path / "folder")))
    found = read_one_csv(path=str(write_csv(made, tmp_path / "one.csv")))
    for name in ("sessions", "samples"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        pd.testing.assert_frame_equal(ours[theirs.columns], theirs, check_dtype=name == "samples")
    assert (found.simulated, set(found.rejected.values())) == (False, {0})


@pytest.mark.parametrize(
    ("text", "said"),
    [("workout,athlete\n1,2\n", "heart_rate_bpm"), ("", "No columns"), (None, "No such file")],
)
def test_the_reader_says_what_is_wrong(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)
    from fitexp_mine.data import read_one_csv

    file = tmp_path / "one.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_one_csv(path=str(file))
    assert str(file) in str(error.value)


def test_the_model_follows_the_plan_and_the_athlete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later inputs do not reach back; athletes differ from the first step on."""
    monkeypatch.syspath_prepend(OUTSIDE)
    from fitexp_mine.model import Mine

    known = SimpleNamespace(attributes={"user": ("unknown", "a", "b")}, inputs=("speed", "grade"))
    model = Mine(spec=known, width=4)
    x = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1)
    athletes = torch.tensor([[1, 0], [2, 0]])
    answer = model({"x": x, "attributes": athletes})
    assert answer.shape == (2, 6)
    assert (answer[0] != answer[1]).all()
    changed = x.clone()
    changed[:, 4:] += 1
    other = model({"x": changed, "attributes": athletes})
    assert torch.equal(other[:, :4], answer[:, :4])
    assert (other[:, 4:] != answer[:, 4:]).all()


# Packages that add configs


def test_packages_add_configs_and_are_trusted(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert targets.allowed() == targets.DEFAULT_ALLOW
    package(site, "lab_a", {"model/a.yaml": "_target_: lab_a.Net\n"})
    package(site, "lab_b", {"model/b.yaml": "_target_: lab_b.Net\n"})
    (site / "lab_a" / "__init__.py").write_text("class Net: ...\n")
    monkeypatch.setenv("FITEXP_ALLOW", "other.")
    assert targets.allowed() == (*targets.DEFAULT_ALLOW, "lab_a.", "lab_b.", "other.")
    assert targets.locate("lab_a.Net").__module__ == "lab_a"
    for name in ("a", "b"):
        assert composed([f"model={name}"], capsys)[0] == {"_target_": f"lab_{name}.Net"}
    with pytest.raises(InputError, match="outside what may be built"):
        targets.locate("lab_abc.Net")


def test_a_package_that_is_gone_is_left_out_with_a_note(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(site, "lab_gone", {})
    package(site, "lab_here", {"model/here.yaml": "_target_: lab_here.Net\n"})
    package(site, "lab_wrong", {"x.yaml": ""})
    (site / "lab_wrong" / "__init__.py").write_text("raise RuntimeError('no\\nluck')\n")
    model, said = composed(["model=here"], capsys)
    assert model == {"_target_": "lab_here.Net"}
    assert said.splitlines() == [
        "fitexp: left out the configs of lab_gone: lab_gone.conf cannot be imported (No module "
        "named 'lab_gone'); install lab_gone again or uninstall it",
        "fitexp: left out the configs of lab_wrong: lab_wrong.conf cannot be imported (no luck); "
        "install lab_wrong again or uninstall it",
    ]
    shutil.rmtree(site / "lab_gone-1.0.dist-info")
    shutil.rmtree(site / "lab_wrong-1.0.dist-info")
    assert composed(["model=here"], capsys) == (model, "")


def test_a_choice_in_two_places_is_refused(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"model/same.yaml": "a: 1\n", "loss/mae.yaml": "a: 1\n", "data/_workouts.yaml": "a: 1\n"}
    package(site, "lab_a", own)
    package(site, "lab_b", {"model/same.yaml": "b: 1\n"})
    said = (
        "fitexp: model=same is in lab_a.conf and in lab_b.conf: rename yours, uninstall its package"
    )
    assert mistake(["model=same", "--cfg", "job"], capsys).startswith(said)
    assert mistake(["-m", "model=fitrec_attn,same"], capsys).startswith(said)
    assert "loss=mae is in fitexp.conf and in lab_a.conf" in mistake(["loss=mae"], capsys)
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer" / "adam.yaml").write_text("lr: 1.0\n")
    words = ["--config-dir", str(tmp_path / "mine")]
    said = f"optimizer=adam is in fitexp.conf and in {tmp_path / 'mine'}: rename yours"
    assert said in mistake(words, capsys)
    attn = "fitexp.models.fitrec_attn.FitRecAttn"  # what nobody chose may be there twice
    assert composed([], capsys)[0]["_target_"] == attn


# Trained


def fitexp(*words: str, path: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`fitexp WORDS` where `path` is on the path and nothing else."""
    env = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "fitexp.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def trained(*words: str, path: Path) -> tuple[Run, str]:
    printed = fitexp("train", *TINY, *words, path=path).stdout
    run = Run(printed.splitlines()[-1])
    assert run.status == FINISHED
    return run, printed


def content(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def half_done(run: Run) -> None:
    """As if it had been interrupted after its last step, before the test."""
    run.update(status="interrupted")
    for name in ("metrics.json", "predictions.parquet"):
        run.file(name).unlink()


@pytest.mark.slow
def test_train_with_a_folder_of_configs(tmp_path: Path) -> None:
    before = content(ROOT / "fitexp"), content(OUTSIDE)
    file = write_csv(table(athletes=2, workouts=6), tmp_path / "one.csv")
    words = [f"data.path={file}", "trainer.max_steps=2", "--config-dir", str(CONF)]
    run, printed = trained(*words, path=OUTSIDE)
    assert printed.splitlines()[0] == "test error in bpm"
    assert re.search(r"^mine( +\d+\.\d\d){4}$", printed, re.MULTILINE)
    assert run.path.name.endswith("_mine")
    assert (content(ROOT / "fitexp"), content(OUTSIDE)) == before
    half_done(run)
    for verb in ("resume", "evaluate", "rerun"):
        said = fitexp(verb, str(run.path), path=OUTSIDE, code=2).stderr
        assert "--allow fitexp_mine." in said
        assert said.count("\n") == 1
    fitexp("resume", str(run.path), "--allow", "fitexp_mine.", path=OUTSIDE)
    assert run.status == FINISHED
    again = fitexp("rerun", str(run.path), "--allow", "fitexp_mine.", path=OUTSIDE)
    assert re.search(r"figures: all \d+ agree exactly", again.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/outside as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(
        OUTSIDE, folder / "source", ignore=shutil.ignore_patterns("__pycache__")
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.mark.slow
def test_an_installed_package_is_as_one_of_fitexp(installed: Path, tmp_path: Path) -> None:
    listed = fitexp("train", "--help", path=installed).stdout
    assert re.search(r"^model: .*\bmine\b", listed, re.MULTILINE)
    assert re.search(r"^data: .*\bmine\b", listed, re.MULTILINE)
    said = fitexp("train", "model=mne", path=installed, code=2).stderr
    assert said.startswith("fitexp: no choice 'mne' of model; did you mean mine?")
    file = write_csv(table(athletes=2, workouts=6), tmp_path / "one.csv")
    run, printed = trained(f"data.path={file}", "trainer.max_steps=2", path=installed)
    assert re.search(r"^mine( +\d+\.\d\d){4}$", printed, re.MULTILINE)
    metrics = run.metrics
    half_done(run)
    fitexp("resume", str(run.path), path=installed)
    assert run.metrics == metrics
    fitexp("evaluate", str(run.path), path=installed)
    assert run.metrics == metrics
