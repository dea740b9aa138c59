import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from fitexp.data.prepare import Prepared, cache_folder, cached, digest, fingerprint
from fitexp.data.spec import Scale, WorkoutSpec
from fitexp.errors import InputError

SPEC = WorkoutSpec(
    kind="workouts",
    source="made",
    simulated=True,
    target="heart_rate",
    unit="bpm",
    regime="whole",
    steps=3,
    step=10.0,
    step_unit="s",
    inputs=("altitude",),
    attributes={"user": ("unknown", "a")},
    history="none",
    horizons={"60s": 6},
    scaling={"altitude": Scale(mean=1.0, sd=2.0, factor=5.0)},
    start_by_user={"unknown": 100.0},
    protocol={"split": "by time"},
)


def made() -> Prepared:
    arrays = {"x": np.arange(6.0), "none": np.zeros((0, 2)), "name": np.array(["a", "b"])}
    return Prepared(SPEC, arrays, {"counts": {"workouts": 1}})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))


def same(a: Prepared, b: Prepared) -> bool:
    return (
        a.spec == b.spec
        and a.report == b.report
        and all(np.array_equal(a.arrays[k], b.arrays[k]) for k in {*a.arrays, *b.arrays})
    )


def test_second_time_comes_from_the_cache() -> None:
    calls = []

    def make() -> Prepared:
        calls.append(1)
        return made()

    first, second = cached("k" * 64, make), cached("k" * 64, make)
    assert len(calls) == 1
    assert same(first, second)
    assert same(second, made())
    assert [p.name for p in cache_folder().iterdir()] == ["k" * 32]  # no temporary folder left


@pytest.mark.parametrize("damage", ["truncate", "remove", "json"])
def test_damaged_entry_is_made_again(damage: str) -> None:
    cached("k" * 64, made)
    folder = cache_folder() / ("k" * 32)
    if damage == "truncate":
        (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:90])
    elif damage == "remove":
        (folder / "name.npy").unlink()
    else:
        (folder / "prepared.json").write_text("{", encoding="utf-8")
    assert same(cached("k" * 64, made), made())
    assert same(cached("k" * 64, lambda: pytest.fail("still damaged")), made())


def test_failure_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        cached("k" * 64, lambda: 1 / 0)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


def test_several_may_prepare_at_once() -> None:
    with ThreadPool(6) as pool:
        found = pool.map(lambda _: cached("k" * 64, made), range(12))
    assert all(same(f, made()) for f in found)
    assert len(list(cache_folder().iterdir())) == 1


def test_fingerprint_follows_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "a.csv").write_text("2")
    second = fingerprint(tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert len({digest(f) for f in (first, second, fingerprint(tmp_path))}) == 3
    with pytest.raises(InputError, match="no such file"):
        fingerprint(tmp_path / "absent")


def test_digest_tells_arrays_apart() -> None:
    arrays = [np.zeros(2), np.zeros(3), np.zeros(2, np.float32), np.zeros((2, 1)), np.ones(2)]
    assert len({digest(a) for a in arrays}) == len(arrays)


def test_preparing_needs_no_torch() -> None:
    code = "import sys, fitexp.data.workouts.protocol; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
