"""The package as others get it: configs inside, found from wheel and sdist, from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fitexp.run import version

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml"))


def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))


def test_every_folder_of_the_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "fitexp").rglob("*.py")
    }
    listed = set(project()["tool"]["setuptools"]["packages"])
    assert listed == found | {"fitexp.conf"}


def test_every_folder_of_the_package_has_an_init() -> None:
    for path in (ROOT / "fitexp").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path.parent
    assert (ROOT / "conf" / "__init__.py").is_file()  # Hydra looks for it


def test_the_version_is_said_once() -> None:
    assert version() == project()["project"]["version"]


def test_lightning_stands_under_one_name_only() -> None:
    words = project()["project"]["dependencies"]
    extras = project()["project"]["optional-dependencies"]
    names = {
        re.split(r"[<>=!~;\[ ]", word)[0] for group in [words, *extras.values()] for word in group
    }
    assert "pytorch-lightning" in names
    assert "lightning" not in names


def test_outputs_are_ignored_and_data_are_not(tmp_path: Path) -> None:
    def ignored(path: str) -> bool:
        done = subprocess.run(
            ["git", "-C", str(tmp_path), "check-ignore", "-q", "--no-index", path], check=False
        )
        return done.returncode == 0

    if shutil.which("git") is None:
        pytest.skip("no git")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    assert ignored("outputs/2026-01-01_00-00-00_fitrec_attn/best.ckpt")
    assert ignored(".venv-check/bin/python")
    for path in ("outputs/README.md", "fitexp/data/splits.py", "conf/data/x.yaml", "tests/data/x"):
        assert not ignored(path), path


def build(source: Path, out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("build")
    source, out = folder / "source", folder / "dist"
    source.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("fitexp", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    build(source, out)
    return out


@pytest.mark.slow
def test_the_wheel_holds_configs_and_licence(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    inside = sorted(
        name.removeprefix("fitexp/conf/")
        for name in names
        if name.startswith("fitexp/conf/") and name.endswith(".yaml")
    )
    assert inside == CONFIGS
    assert any(name.endswith("/LICENSE") for name in names)
    assert not any(name.startswith(("conf/", "tests/", "scripts/")) for name in names)
    modules = {n for n in names if n.startswith("fitexp/") and n.endswith(".py")}
    expected = {str(p.relative_to(ROOT)) for p in (ROOT / "fitexp").rglob("*.py")}
    assert modules == expected | {"fitexp/conf/__init__.py"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_composes_from_any_folder(built: Path, tmp_path: Path, kind: str) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "wheel":
        (wheel,) = built.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(site)
    else:
        (sdist,) = built.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path, filter="data")
        (unpacked,) = tmp_path.glob("fitexp-*")
        build(unpacked, tmp_path / "again", "--wheel")
        (wheel,) = (tmp_path / "again").glob("*.whl")
        zipfile.ZipFile(wheel).extractall(site)
    script = (
        "import sys, fitexp.cli, fitexp.conf\n"
        "assert all(m.__file__.startswith(sys.argv[1]) for m in (fitexp.cli, fitexp.conf))\n"
        "sys.exit(fitexp.cli.main(['train', 'data.regime=short', '--cfg', 'job']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(site)],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "regime: short" in done.stdout
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
def test_an_editable_install_finds_the_configs_of_the_checkout() -> None:
    import fitexp.conf

    file = fitexp.conf.__file__
    assert file is not None
    if not Path(fitexp.__file__ or "").is_relative_to(ROOT):
        pytest.skip("fitexp is not installed from this checkout")
    assert Path(file) == ROOT / "conf" / "__init__.py"
