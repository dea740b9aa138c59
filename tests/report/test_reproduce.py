"""A paper's table: what its YAML may say, its figures beside the measured ones."""

from __future__ import annotations

import copy
import csv
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fitexp import cli, compose
from fitexp.errors import InputError
from fitexp.report.document import FORMATS
from fitexp.report.paper_table import PaperTable, paper_table
from fitexp.report.reproduce import document
from fitexp.report.reproduce_curves import draw_curves
from fitexp.run import Run
from tests.report.test_compare import WORDS, made

CONF = Path(__file__).parents[2] / "conf"
VALUES: dict[str, Any] = {
    "title": "A made-up paper",
    "source": "Made, Up, 2020, table 3",
    "seeds": 2,
    "quick": {"always": ["trainer.max_epochs=1"], "sim": ["data.users=2"]},
    "sections": [
        {
            "name": "whole",
            "metrics": ["test/mae_bpm", "test/rmse_bpm"],
            "rows": [
                {"row": "small", "experiment": "a", "paper": {"test/mae_bpm": 5.2}},
                {"row": "large", "experiment": "b"},
            ],
        },
        {
            "name": "ahead",
            "metrics": ["test/at_60s/mae_bpm"],
            "rows": [{"row": "small", "experiment": "c"}],
        },
    ],
}


def table(**changes: Any) -> PaperTable:
    return paper_table("made", {**copy.deepcopy(VALUES), **changes})


def two_sections(folder: Path) -> dict[str, list[Run]]:
    horizons, words = {"10s": 1, "60s": 6}, {**WORDS, "regime": "short"}
    return {
        "a": [made(folder / f"a{s}", better=20, seed=s) for s in range(2)],
        "b": [made(folder / f"b{s}", model="other", seed=s) for s in range(2)],
        "c": [made(folder / f"c{s}", seed=s, horizons=horizons, words=words) for s in range(2)],
    }


def test_paper_beside_measured_and_baselines_beneath(tmp_path: Path) -> None:
    runs = two_sections(tmp_path)
    found = document(table(), runs, quick=False)
    rows = {(r["row"], r["metric"]): r for r in found.records}
    first = rows["whole: small", "test/mae_bpm"]
    values = [run.metrics["test/mae_bpm"] for run in runs["a"]]
    measured = first["measured"]
    assert measured["mean"] == pytest.approx(np.mean(values))
    assert measured["sd"] == pytest.approx(np.std(values, ddof=1))
    assert measured["n"] == 2
    assert measured["low"] < measured["mean"] < measured["high"]
    assert (first["paper"], first["source"]) == (5.2, "Made, Up, 2020, table 3")
    assert (first["simulated"], first["quick"], first["table"]) == (True, False, "made")
    assert first["protocol"]["history"] == "previous"
    assert rows["whole: small", "test/rmse_bpm"]["paper"] is None
    assert rows["whole: large", "test/mae_bpm"]["source"] is None
    assert rows["whole: user_mean", "test/mae_bpm"]["kind"] == "baseline"
    assert rows["ahead: user_mean", "test/at_60s/mae_bpm"]["measured"]["n"] == 1
    assert ("whole: small", "test/at_60s/mae_bpm") not in rows
    whole, differences, ahead, *_ = found.sheets(2)
    assert [line[0] for line in whole.lines[1:4]] == ["small", "large", "user_mean"]
    assert whole.lines[1][2] == "5.2"
    assert "user_mean" in differences.title
    assert [line[0] for line in differences.lines] == ["", "small", "large"]
    assert ahead.title.startswith("ahead (b)   SIMULATED DATA")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_quick_and_simulated(tmp_path: Path, name: str) -> None:
    runs = two_sections(tmp_path)
    text = FORMATS[name](document(table(), runs, quick=True)).replace("\\_", "_")
    for word in ("SIMULATED", "QUICK" if name != "json" else '"quick": true', "5.2", "user_mean"):
        assert word in text, word
    assert "Made, Up, 2020, table 3" in text
    if name not in ("json", "csv"):
        assert max(map(len, text.splitlines())) <= 100
    assert "QUICK" not in FORMATS[name](document(table(), runs, quick=False))


def test_json_has_the_agreed_keys_and_csv_its_columns(tmp_path: Path) -> None:
    found = document(table(), two_sections(tmp_path), quick=False)
    rows = json.loads(FORMATS["json"](found))
    keys = ["table", "row", "metric", "measured", "paper", "source", "simulated", "quick"]
    assert list(rows[0])[:9] == [*keys, "protocol"]
    assert list(rows[0]["measured"]) == ["mean", "sd", "n", "low", "high"]
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](found))))
    assert [float(x["mean"]) for x in lines] == [row["measured"]["mean"] for row in rows]
    assert lines[0]["simulated"] == "SIMULATED"


def test_what_was_not_measured_stays_a_row(tmp_path: Path) -> None:
    runs = {"a": [made(tmp_path / "a")], "b": [], "c": []}
    found = document(table(), runs, quick=False, notes=["b seed=0: a defect"])
    row = next(r for r in found.records if r["row"] == "whole: large")
    assert row["measured"] == {"mean": None, "sd": None, "n": 0, "low": None, "high": None}
    assert row["simulated"] is None
    assert ("note", "b seed=0: a defect") in found.notes
    for write in FORMATS.values():
        write(found)
    with pytest.raises(InputError, match="no finished run"):
        document(table(), {"a": [], "b": [], "c": []}, quick=False)


def test_experiments_that_overrides_made_equal_share_their_runs(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    found = document(table(), {"a": [run], "b": [run], "c": []}, quick=False)
    rows = {(r["row"], r["metric"]): r for r in found.records}
    small, large = (rows[f"whole: {name}", "test/mae_bpm"] for name in ("small", "large"))
    assert small["measured"] == large["measured"]
    assert small["measured"]["n"] == 1


def test_rows_that_are_evaluations_share_what_is_trained() -> None:
    sections = copy.deepcopy(VALUES["sections"])
    words = ["adapt=similar_users"]
    sections[1]["rows"] = [
        {"row": "again", "experiment": "a", "evaluate": words},
        {"row": "once more", "experiment": "a", "evaluate": words},
    ]
    found = table(sections=sections)
    assert found.experiments == found.keys == ["a", "b"]
    assert [(row.label, row.trained, row.key) for row in found.evaluated] == [
        ("once more", "a", "a adapt=similar_users")
    ]


def test_quick_overrides_are_those_of_the_data_that_all_rows_have() -> None:
    assert table().quick_overrides({"sim"}) == ["trainer.max_epochs=1", "data.users=2"]
    assert table().quick_overrides({"sim", "other"}) == ["trainer.max_epochs=1"]
    assert table().experiments == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("titel",), "x", "no key 'titel'; did you mean title?"),
        (("sections",), [], "table/made: sections: a list is expected"),
        (("sections", 0, "metrics"), "x", r"sections\[0\].metrics: a list"),
        (("sections", 0, "rows", 1), {"row": "x"}, r"rows\[1\]: the key experiment is missing"),
        (("sections", 0, "rows", 0, "paper"), {"test/mae": 1}, "mae is no metric of this section"),
        (("source",), None, "figures of a paper need their source"),
        (("cost",), "fitrec", "table/made: cost is one of exercise_attn, not fitrec"),
        (("sections", 0, "rows", 1, "evaluate"), "a=b", r"rows\[1\].evaluate: a list is expected"),
        (("sections", 0, "rows", 1, "evaluate"), ["asked"], "evaluate: 'asked' is no KEY=VALUE"),
    ],
)
def test_mistakes_in_a_table_name_their_place(place: Any, value: Any, said: str) -> None:
    values = copy.deepcopy(VALUES)
    node: Any = values
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    with pytest.raises(InputError, match=said):
        paper_table("made", values)


TABLES = [  # rows are composed one by one
    pytest.param(
        path, marks=pytest.mark.slow if path.stem == "exercises.table3" else (), id=path.stem
    )
    for path in sorted((CONF / "table").glob("*.yaml"))
]


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES)
def test_every_table_s_rows_are_experiments(path: Path) -> None:
    found = paper_table(path.stem, yaml.safe_load(path.read_text()))
    assert compose.table(path.stem, []) == yaml.safe_load(path.read_text())
    for experiment in found.experiments:
        assert (CONF / "experiment" / f"{experiment}.yaml").exists(), experiment
    assert compose.data_choices(found.experiments, found.overrides, [])
    for row in found.evaluated:
        cli._chosen(row.evaluate)


def test_tables_of_exercises_have_the_same_networks_in_every_section() -> None:
    """And the paper's figures only where its split and its loss are."""
    (study,), films = (
        paper_table(name, yaml.safe_load((CONF / "table" / f"{name}.yaml").read_text())).sections
        for name in ("exercises.table2", "exercises.table3")
    )
    splits = []
    for section in (study, *films):
        networks = [
            row.experiment.split("_", 3 if section in films else 1)[-1] for row in section.rows
        ]
        splits.append(networks)
        for row in section.rows:
            known = "adaptive_hinge" not in row.experiment and "whole" not in row.experiment
            assert bool(row.paper) == (known and section in (study, films[0])), row.label
    assert splits[0] == splits[1] == splits[2] == splits[3]
    assert len(set(splits[0])) == 10


# The command


SMALL = [
    *("data.source.athletes=4", "data.source.workouts=6", "trainer.max_epochs=1"),
    *("model.hidden=4", "model.context_hidden=4", "model.context_width=4"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine" / "table").mkdir(parents=True)
    values = {
        "title": "Small",
        "seeds": 2,
        "quick": {"workouts_sim": ["data.source.athletes=3"]},
        "sections": [
            {
                "name": "whole",
                "metrics": ["test/mae_bpm"],
                "rows": [{"row": "linear", "experiment": "fitrec_attn_heart_rate_whole"}],
            }
        ],
    }
    (tmp_path / "mine" / "table" / "small.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
def test_the_command_prints_the_table_alone_and_reuses_its_runs(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "small", "--config-dir", "mine", *SMALL]
    assert cli.main([*words, "--format", "json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert rows[0]["row"] == "whole: linear"
    assert rows[0]["measured"]["n"] == 2
    assert rows[0]["protocol"]["data"] == "SIMULATED workouts_sim"
    assert "whole: user_sport_mean" in [row["row"] for row in rows]
    assert cli.main([*words, "--seeds=3"]) == 0
    printed = capfd.readouterr()
    assert printed.err.count("finished before, not trained again") == 2
    assert printed.out.startswith("whole   SIMULATED DATA\n")
    assert "QUICK" not in printed.out
    assert cli.main([*words[:4], "--quick", *SMALL[1:]]) == 0
    printed = capfd.readouterr()
    assert "QUICK" in printed.out.splitlines()[0]
    assert len(list((folder / "outputs").iterdir())) == 4
    assert cli.main([*words, "model.score=wrong"]) == 2
    assert "fitexp: no finished run to compare" in capfd.readouterr().err


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "--list", "--config-dir=mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["table", "rows", "seeds", "title"]
    assert {line.split()[0] for line in lines[1:]} >= {"small", "fitrec_attn"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "needs a table (exercises.table1, "),
        ("fitrec_atn", "no table 'fitrec_atn'; did you mean fitrec_attn?"),
        ("fitrec_attn model.score=linear,tanh", "names one value"),
        ("fitrec_attn seed=3", "seeds by --seeds"),
        ("fitrec_attn --seeds 0", "--seeds 0: a whole number above 0"),
        ("fitrec_attn --seeds 2 --quick", "not with --quick"),
        ("fitrec_attn modle=x", "no key 'modle'; did you mean model?"),
        ("fitrec_attn --format=pdf", "no format 'pdf'"),
        ("fitrec_attn --qick", "did you mean --quick?"),
        ("--list --config-dir nowhere", "nowhere: no such folder"),
    ],
)
def test_mistakes(words: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", *words.split()]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (folder / "outputs").exists()


def test_a_table_is_no_part_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "table=fitrec_attn"]) == 2
    assert "fitexp reproduce TABLE" in capsys.readouterr().err


# A sweep


SWEPT = {
    **VALUES,
    "sweep": {"key": "data.own", "values": [0, 5, 1000], "shown": ["none", "5", "all"]},
    "folds": 2,
    "sections": [
        {
            "name": "whole",
            "metrics": ["test/mae_bpm"],
            "baselines": ["user_mean"],
            "rows": [{"row": "small", "experiment": "a"}, {"row": "large", "experiment": "b"}],
        }
    ],
}


def test_jobs_of_a_multirun_are_those_of_the_rows() -> None:
    """By the order of Hydra's own sweeper: the product, the last key fastest."""
    swept = paper_table("made", SWEPT)
    words = swept.multirun(3)
    parts = [word.partition("=")[2].split(",") for word in words]
    jobs = list(itertools.product(*parts))
    assert [word.partition("=")[0] for word in words] == [
        "experiment",
        "data.own",
        "seed",
        "data.fold",
    ]
    for number, (experiment, value, _, _) in enumerate(jobs, 1):
        assert swept.key_of(number, 3) == f"{experiment} {value}"
    assert len(jobs) == len(swept.keys) * 3 * 2
    plain = table()
    assert [plain.key_of(n, 2) for n in range(1, 7)] == ["a", "a", "b", "b", "c", "c"]
    assert plain.multirun(2) == ["experiment=a,b,c", "seed=0,1"]


def test_each_value_of_a_sweep_is_a_row_and_a_point(tmp_path: Path) -> None:
    swept = paper_table("made", SWEPT)
    runs = {}
    for better, key in enumerate(swept.keys):
        own = key.partition(" ")[2]
        words = {**WORDS, "split": f"{own} own workouts"}
        runs[key] = [made(tmp_path / key, model=key[0], better=10 * better, words=words)]
    found = document(swept, runs, quick=False)
    labels = [record["row"] for record in found.records]
    models = ["whole: small: none", "whole: small: 5", "whole: small: all"]
    assert labels[:3] == models
    assert labels[6:] == ["whole: user_mean: 0"]  # of the first value only
    assert [record["value"] for record in found.records[:3]] == ["0", "5", "1000"]
    for record, key in zip(found.records, swept.keys, strict=False):
        assert record["measured"]["mean"] == pytest.approx(runs[key][0].metrics["test/mae_bpm"])
    (sheet,) = found.sheets(2)
    assert len(sheet.lines) == 8
    picture = tmp_path / "curves.png"
    draw_curves(swept, found.records, picture)
    assert picture.stat().st_size > 5000


def test_names_of_a_sweep_s_values_are_as_many_as_those() -> None:
    wrong = {**SWEPT, "sweep": {"key": "x", "values": [1, 2], "shown": ["one"]}}
    with pytest.raises(InputError, match=r"table/made: sweep\.shown: 1 names for 2 values"):
        paper_table("made", wrong)
