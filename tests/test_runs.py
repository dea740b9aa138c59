"""What is told of runs from their folders: filter, sort, tables, differences, progress."""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitexp import runs
from fitexp.errors import InputError
from fitexp.run import BEST, METRICS, Run, find_runs, write_json
from fitexp.runs import Listed, Term, agreement, listed, runs_table, terms


def make(path: Path, config: dict[str, Any], metrics: dict[str, Any], **fields: Any) -> Run:
    fields = {
        "choices": {"model": "fitrec_attn", "data": "workouts_sim", "loss": "mse"},
        "regime": "whole",
        "split": "time",
        "history": "previous",
        "seconds": 61.0,
        **fields,
    }
    run = Run.create(path, config, {"kind": "workouts"}, fields)
    if metrics:
        write_json(run.file(METRICS), metrics)
        run.file(BEST).touch()
        run.update(status="finished")
    return run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    def config(hidden: int, lr: float) -> dict[str, Any]:
        return {"model": {"hidden": hidden, "score": None}, "optimizer": {"lr": lr}}

    make(tmp_path / "a", config(8, 1e-3), {"test/mae_bpm": 9.0, "test/rmse_bpm": 12.0}, seed=1)
    make(tmp_path / "b", config(16, 0.1), {"test/mae_bpm": 7.5, "val/x": math.nan}, seed=2)
    make(tmp_path / "c", config(32, 0.1), {}, seed=3, choices={"model": "fitrec"}, seconds=None)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text("{")
    return tmp_path


def names(found: list[Listed]) -> str:
    return "".join(run.run.path.name for run in found)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "abcd"),
        ("model=fitrec*", "abc"),
        ("model=fitrec* test/mae_bpm<8", "b"),
        ("test/mae_bpm<=9.0", "ab"),
        ("test/mae_bpm>7.5", "a"),
        ("test/mae_bpm>=7.5 seed!=1", "b"),
        ("model!=fitrec_attn", "cd"),
        ("status=damaged", "d"),
        ("status=created", "c"),
        ("run=b", "b"),
        ("run=*/c", "c"),
        ("loss=mse", "ab"),
        ("model.hidden>8", "bc"),
        ("model.hidden=8", "a"),
        ("optimizer.lr=1e-3", "a"),
        ("optimizer.lr==.1", "bc"),
        ("model.score=null seed<3", "ab"),
        ("protocol='whole time previous' seed=[23]", "bc"),
        ("split=time time>60", "ab"),
        ("seconds<1", ""),
        ("val/x<1", ""),
        ("val/x=null", "abcd"),
    ],
)
def test_filter(outputs: Path, text: str, kept: str) -> None:
    found, _ = listed(outputs, [text])
    assert names(found) == kept


def test_filters_add_up(outputs: Path) -> None:
    assert names(listed(outputs, ["seed>1", "seed<3"])[0]) == "b"


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("test/mae_bpm", "bacd"),
        ("-test/mae_bpm", "abcd"),
        ("-seed", "cbad"),
        ("model", "cabd"),
        ("-model", "abcd"),
        ("-model.hidden", "cbad"),
        ("val/x", "abcd"),
    ],
)
def test_sort_puts_missing_values_last(outputs: Path, key: str, order: str) -> None:
    assert names(listed(outputs, [], key)[0]) == order


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("modle", "model"),
        ("test/mae_bp", "test/mae_bpm"),
        ("model.hiden", "model.hidden"),
        ("stauts", "status"),
    ],
)
def test_an_unknown_key_names_the_closest(outputs: Path, key: str, near: str) -> None:
    for filters, sort in (([f"{key}=1"], None), ([], f"-{key}")):
        with pytest.raises(InputError, match=f"'{key}'; did you mean {near}\\?"):
            listed(outputs, filters, sort)
    assert listed(outputs / "none", [f"{key}=1"], key) == ([], [])


@given(st.text() | st.text(alphabet="ab<>=!*[]'\" \\0.-"))
def test_any_text_is_a_filter_or_a_mistake(text: str) -> None:
    try:
        found = terms(text)
    except InputError:
        return
    for term in found:
        assert term.sign in ("=", "!=", "<", "<=", ">", ">=")
        for value in (None, True, 3, 2.5, math.inf, math.nan, 10**400, "a", [1], {"a": 1}):
            equal = Term(term.key, "=", term.value).holds(value)
            assert Term(term.key, "!=", term.value).holds(value) is not equal
            assert isinstance(term.holds(value), bool)


@pytest.mark.slow
def test_rows_of_strange_folders(tmp_path: Path) -> None:
    """Whatever lies in a folder: a row, never an exception."""
    contents = [
        "",
        "null",
        "3",
        "{",
        "[" * 100_000,
        '{"status": 3}',
        '{"status": ["finished"]}',
        '{"status": "finished"}',
        '{"status": "running", "pid": ' + "9" * 30 + "}",
        '{"status": "created", "seconds": 1e999, "seed": ' + "9" * 5000 + "}",
        '{"status": "created", "seconds": NaN, "choices": 3, "regime": {"a": [1]}}',
        '{"status": "created", "seconds": "x", "choices": {"model": ["\\u001b[31m\\n"]}}',
        '{"status": "created", "seed": {"x": null}, "created": 3, "seconds": -1}',
    ]
    for number, text in enumerate(contents):
        folder = tmp_path / f"run{number:02}"
        folder.mkdir()
        (folder / "manifest.json").write_text(text)
        (folder / "metrics.json").write_text(text)
        (folder / "config.yaml").write_text("[" * 2000)
        (folder / "spec.json").touch()
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "manifest.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "folders" / "manifest.json").mkdir(parents=True)
    (tmp_path / "half").mkdir()  # killed while its first file was written
    (tmp_path / "half" / ".config.yaml.0123abcd.tmp").touch()
    (tmp_path / "no_run" / "deep").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    found = [run for run in find_runs(tmp_path) if "loop" not in run.path.parts]
    assert len(found) == len(contents) + 3
    rows = [Listed(run) for run in found]
    assert {row.status for row in rows} <= {"damaged", "created", "running"}
    assert sum(row.status == "damaged" for row in rows) == len(contents) + 3 - 4
    for key in ("seed", "seconds", "created", "model", "regime"):
        kept, asked = listed(tmp_path, [f"{key}!=1"], f"-{key}")
        assert json.dumps([run.row() for run in kept], allow_nan=False)
        assert "\x1b" not in runs_table(kept, asked)
    text = runs_table(rows, ["x"])
    assert "\x1b" not in text
    assert len(text.splitlines()) >= 1 + len(rows)


def test_tables_are_100_columns_wide(tmp_path: Path) -> None:
    long = "a_model_of_somebody_who_likes_long_names_" * 3
    make(tmp_path / "x" / ("n" * 200), {}, {"test/mae_bpm": 3.0}, choices={"model": long})
    make(
        tmp_path / "y",
        {},
        {f"test/at_{n}s/mae_km_h": float(n) for n in (10, 60, 300)},
        error="e" * 300,
    )
    found, _ = listed(tmp_path)
    text = runs_table(found, ["error", "test/rmse_bpm", "a.b.c", "created", "parent"])
    assert all(len(x) <= 100 or x.endswith("n" * 200) for x in text.splitlines())
    alone = runs_table(found[1:])
    assert "10.00 60.00 300.00 km/h" in alone
    assert "whole time previous" in alone


def test_older_manifests_take_the_protocol_from_the_config(tmp_path: Path) -> None:
    run = make(tmp_path / "x", {"data": {"regime": "short", "split": "user"}}, {})
    write_json(run.file("manifest.json"), {"status": "created", "regime": "short"})
    assert Listed(run).fields["protocol"] == "short user"


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({}, "-"),
        ({"test/mae_bpm": 3.256}, "3.26 bpm"),
        ({"test/mae_bpm": None}, "-"),
        ({"test/mae_bpm": 1.0, "test/at_10s/mae_bpm": 1.0, "test/at_60s/mae_bpm": None},
         "1.00 - bpm"),
        ({"val/x": 1.0, "test/hit_at_10": 0.25}, "0.25 hit_at_10"),
        ({"test/top5": 92.2, "test/top1": 61.742, "baseline/bigram/test/top1": 70.0},
         "top1 61.7 %"),
        ({"test/top1": None}, "-"),
    ],
)  # fmt: skip
def test_main_metric(metrics: dict[str, float | None], shown: str) -> None:
    assert runs.main_metric(metrics) == shown


def test_rankings_are_listed_by_top_1(tmp_path: Path) -> None:
    for name, top1 in (("a", 61.74), ("b", 73.0), ("c", 8.0)):
        make(tmp_path / name, {}, {"test/top1": top1, "test/top5": 90.0})
    found, asked = listed(tmp_path, [], "-test/top1")
    lines = runs_table(found, asked).splitlines()
    assert lines[0].split()[-2:] == ["time", "test"]  # the figure stands in the cell, once
    text = "\n".join(lines)
    assert re.findall(r"top1 .*", text) == ["top1 73.0 %", "top1 61.7 %", "top1 8.0 %"]
    make(tmp_path / "d", {}, {"test/mae_bpm": 3.0})
    make(tmp_path / "e", {}, {"test/mae_bpm": 4.0})
    assert runs_table(listed(tmp_path)[0]).splitlines()[0].endswith("time   test")
    alone, _ = listed(tmp_path, ["test/mae_bpm>0"])
    assert runs_table(alone).splitlines()[0].endswith("test mae")


def test_difference_of_two_runs(tmp_path: Path) -> None:
    same = {"packages": {"torch": "1"}, "git": {"revision": "a" * 40, "dirty": True}}
    a = make(tmp_path / "a", {"x": {"y": 1, "z": []}, "w": 1}, {"test/m": 2.0, "l": 1.0}, **same)
    b = make(
        tmp_path / "b",
        {"x": {"y": 1.5, "z": []}, "v": None},
        {"test/m": 3.0, "n": math.nan},
        packages={"torch": "2"},
        git=None,
    )
    found = runs.difference(a, b)
    assert found["config"] == {"x.y": {"old": 1, "new": 1.5}, "w": {"old": 1}, "v": {"new": None}}
    assert found["made"] == {
        "code": {"old": "a" * 40},
        "code dirty": {"old": "true"},
        "torch": {"old": "1", "new": "2"},
    }
    assert found["metrics"]["test/m"] == {"old": 2.0, "new": 3.0, "difference": 1.0}
    assert found["metrics"]["n"] == {"old": None, "new": None, "difference": None}
    text = runs.difference_text(found)
    assert all(len(line) <= 100 for line in text.splitlines() if str(tmp_path) not in line)
    assert "config: no difference" in runs.difference_text(runs.difference(a, a))


def test_agreement() -> None:
    assert agreement({"a": 1.0, "b": math.nan}, {"a": 1.0, "b": math.nan}).endswith("exactly")
    assert "largest relative difference is 0.5: a 2, now 1" in agreement({"a": 2.0}, {"a": 1.0})
    assert "is inf" in agreement({"a": 2.0}, {"a": math.nan})
    assert "2 are in one run only" in agreement({"a": 2.0, "b": 1.0}, {"a": 2.0, "c": 1.0})
    assert "nothing to compare" in agreement({"a": 1.0}, {})


def test_a_thousand_runs_are_listed_fast(tmp_path: Path) -> None:
    """300 here, within a generous limit; scripts/bench listing measures 1,000."""
    config = {"model": {"hidden": 8}, "data": {"regime": "whole"}}
    template = make(tmp_path / "000", config, {"test/mae_bpm": 3.0}, seed=0)
    for number in range(1, 300):
        folder = tmp_path / f"{number:03}"
        folder.mkdir()
        for file in template.path.iterdir():
            os.link(file, folder / file.name)
    begun = time.process_time()
    found, _ = listed(tmp_path, ["test/mae_bpm<8 model.hidden=8"], "-test/mae_bpm")
    runs_table(found)
    assert time.process_time() - begun < 2
    assert len(found) == 300
