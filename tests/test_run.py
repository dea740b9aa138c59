"""A run folder: what is written and read, identity, status, names."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp import run as run_module
from fitexp.errors import InputError
from fitexp.run import (
    BEST,
    CONFIG,
    CONFIG_KEYS,
    MANIFEST,
    METRICS,
    NAME_LENGTH,
    SPEC,
    Run,
    find_runs,
    identity,
    provenance,
    stamped_folder,
    sweep_name,
    write_json,
    write_text,
)

CONFIG_VALUES: dict[str, Any] = {
    **dict.fromkeys(CONFIG_KEYS),
    "seed": 3,
    "num_threads": 1,
    "data": {"_target_": "fitexp.x", "path": None, "regime": "whole", "target": "heart_rate"},
    "accelerator": {"accelerator": "auto", "devices": 1},
    "optimizer": {"lr": 1e-5},
    "trainer": {"max_epochs": 5},
    "checkpoint": {"every_minutes": 2.0},
}


def make(path: Path, **fields: Any) -> Run:
    return Run.create(path, CONFIG_VALUES, {"kind": "workouts"}, {"seed": 3, **fields})


def test_a_new_run_reads_back_what_was_written(tmp_path: Path) -> None:
    run = make(tmp_path / "a" / "b", version="1")
    assert run.config == CONFIG_VALUES
    assert run.spec == {"kind": "workouts"}
    assert run.manifest["version"] == "1"
    assert run.manifest["created"]
    assert run.status == "created"
    assert run.metrics == {}
    run.check()


def test_a_run_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    make(tmp_path / "run")
    with pytest.raises(InputError, match="not empty"):
        make(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot make the run folder"):
        make(tmp_path / "file")


def test_working_marks_running_then_finished(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with run.working():
        assert run.status == "running"
        assert run.manifest["pid"] == os.getpid()
        write_json(run.file(METRICS), {"test/mae_bpm": 3.0})
        run.file(BEST).write_bytes(b"x")
    manifest = run.manifest
    assert run.status == "finished"
    assert manifest["started"] <= manifest["finished"]
    assert manifest["seconds"] >= 0
    before = manifest["seconds"]
    run.update(seconds=before + 100)
    with run.working():
        pass
    assert run.manifest["seconds"] >= before + 100  # of all parts of a resumed run
    assert run.manifest["started"] == manifest["started"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "interrupted"),
        (RuntimeError("out of luck"), "failed"),
    ],
)
def test_working_marks_how_it_ended(tmp_path: Path, error: BaseException, status: str) -> None:
    run = make(tmp_path / "run")
    with pytest.raises(type(error)), run.working():
        raise error
    assert run.status == status
    assert run.manifest["error"] == ("RuntimeError: out of luck" if status == "failed" else None)


def test_running_of_a_dead_process_reads_interrupted(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    script = (
        "import os, signal, sys; from fitexp.run import Run\n"
        "with Run(sys.argv[1]).working(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(run.path)], check=False)
    assert done.returncode == -9
    assert run.manifest["status"] == "running"
    assert run.status == "interrupted"


def test_a_reused_pid_is_told_from_the_run_s_process(tmp_path: Path) -> None:
    run = make(tmp_path / "run", pid=os.getpid(), host=platform.node())
    run.update(status="running")
    assert run.status == "running"
    if run_module._born(os.getpid()) is not None:
        run.update(pid_born="another:1")
        assert run.status == "interrupted"
    run.update(host="another machine", pid=2**22 + 1, pid_born=None)
    assert run.status == "running"  # cannot be known here


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "odd"}', "\x00\x01", "null"])
def test_a_broken_manifest_reads_damaged(tmp_path: Path, text: str) -> None:
    run = make(tmp_path / "run")
    run.file(MANIFEST).write_text(text)
    assert run.status == "damaged"
    with pytest.raises(InputError, match=r"manifest\.json"):
        run.check()


@pytest.mark.parametrize("name", [CONFIG, SPEC, MANIFEST])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "run")
    run.file(name).unlink()
    assert run.status == "damaged"
    with pytest.raises(InputError, match=f"{name}: missing"):
        run.check()


def test_finished_without_results_is_damaged(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.update(status="finished")
    assert run.status == "damaged"
    with pytest.raises(InputError, match="damaged"):
        run.check()


def test_what_is_no_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run folder"):
        Run(tmp_path / "nowhere").check()
    with pytest.raises(InputError, match="is not a run folder"):
        Run(tmp_path).check()


def test_broken_yaml_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.file(CONFIG).write_text("a: [1\nb: {")
    with pytest.raises(InputError, match=r"config\.yaml"):
        run.check()
    run.file(CONFIG).write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(InputError, match=r"config\.yaml"):
        _ = run.config


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(KeyboardInterrupt):
            write_json(path, {"a": 2})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    script = (
        "import os, signal, sys; from fitexp.run import write_text\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_text(sys.argv[1], 'new')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_json_of_a_run_is_strict_and_keeps_nan(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    metrics = {
        "test/mae_bpm": np.float64(1.5),
        "val/mae_bpm": math.nan,
        "count": np.int64(3),
        "f": np.float32(0.5),
    }
    write_json(run.file(METRICS), metrics)
    assert "NaN" not in run.file(METRICS).read_text()
    read = run.metrics
    assert read["test/mae_bpm"] == 1.5
    assert math.isnan(read["val/mae_bpm"])
    assert (read["count"], read["f"]) == (3, 0.5)


def test_identity_ignores_where_and_how_it_is_computed() -> None:
    same = {
        **CONFIG_VALUES,
        "num_threads": 8,
        "data": {**CONFIG_VALUES["data"], "path": "/elsewhere"},
        "accelerator": {"accelerator": "gpu", "devices": 4},
        "trainer": {"max_epochs": 5, "log_every_n_steps": 3, "enable_progress_bar": False},
        "checkpoint": {"every_minutes": 9.0},
    }
    assert identity(same) == identity(CONFIG_VALUES)
    assert len(identity(same)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"trainer": {"max_epochs": 6}},
        {"optimizer": {"lr": 2e-5}},
        {"data": {**CONFIG_VALUES["data"], "regime": "short"}},
        {"more": 1},
    ],
)
def test_identity_tells_experiments_apart(change: dict[str, Any]) -> None:
    assert identity({**CONFIG_VALUES, **change}) != identity(CONFIG_VALUES)


def test_identity_depends_on_the_data() -> None:
    assert identity(CONFIG_VALUES, "a") != identity(CONFIG_VALUES, "b")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=6), _VALUES, max_size=4))
def test_identity_ignores_order_and_survives_the_file(config: dict[str, Any]) -> None:
    backwards = dict(reversed(list(config.items())))
    with tempfile.TemporaryDirectory() as folder:
        again = Run.create(folder, config, {}, {}).config
    assert again == config
    assert identity(backwards) == identity(config) == identity(again)


def test_five_is_five_point_zero() -> None:
    assert identity({"a": 5}) == identity({"a": 5.0})
    assert identity({"a": True}) != identity({"a": 1})


@given(st.lists(st.text(max_size=40), max_size=12), st.text("0123456789abcdef", min_size=64))
def test_names_of_sweeps_are_safe_and_short(parts: list[str], digits: str) -> None:
    name = sweep_name(parts, digits)
    assert len(name) <= NAME_LENGTH
    assert name.endswith(f"_{digits[:8]}")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.=+-")
    assert not name.startswith((".", "-"))


def test_stamped_folders_are_unique(tmp_path: Path) -> None:
    made = [stamped_folder(tmp_path, "fitrec_attn") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(path.is_dir() and "fitrec_attn" in path.name for path in made)


def test_find_runs_looks_under_folders_but_not_into_runs(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "sweep" / "b")
    make(tmp_path / "a" / "evaluations" / "1")
    (tmp_path / "notes").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / BEST).write_bytes(b"")
    names = [run.path.name for run in find_runs(tmp_path)]
    assert names == ["a", "broken", "b"]
    assert [run.path for run in find_runs(tmp_path / "a")] == [tmp_path / "a"]


def test_provenance_tells_how_a_run_came_to_be() -> None:
    report = {"data_hash": "d", "split_hash": "s"}
    fields = provenance(CONFIG_VALUES, report, command="fitexp train", choices={"model": "m"})
    assert fields["identity"] == identity(CONFIG_VALUES, "d")
    assert fields["packages"]["numpy"] == np.__version__
    expected = {"seed": 3, "regime": "whole", "split_hash": "s", "parent": None}
    assert {key: fields[key] for key in expected} == expected
    json.dumps(fields)


def test_git_revision_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *own, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert run_module._git(tmp_path) is None
    try:
        git("init")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git")
    assert run_module._git(tmp_path) is None  # nothing committed yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a", "--no-verify")
    assert run_module._git(tmp_path) == {"revision": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "a").write_text("2")
    found = run_module._git(tmp_path)
    assert found is not None
    assert found["dirty"] is True


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, fitexp.run, fitexp.targets, fitexp.errors, fitexp.compose, fitexp.cli\n"
        "heavy = {'torch', 'pandas', 'hydra', 'numpy', 'omegaconf', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
