"""A run tested once more, with networks for new users or an expert: a child of the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from fitexp import cli, compose, targets, worker
from fitexp.errors import InputError
from fitexp.report import rankings
from fitexp.report.compare import compare
from fitexp.report.compare_sheets import better
from fitexp.report.compare_sheets import document as compare_document
from fitexp.report.document import FORMATS
from fitexp.report.paper_table import paper_table
from fitexp.report.reproduce import document
from fitexp.report.statistics import interval
from fitexp.report.table import closing_table
from fitexp.report.text import WIDTH
from fitexp.report.unit_errors import _of_ranks
from fitexp.run import Run
from tests.exercise_run import exercise_config, exercise_run
from tests.toy_run import ALLOW, CONF

ASKED = {"_target_": "fitexp.active.consulted.Consulted"}
ASKED |= {"policy": "random", "rate": 0.4, "update": "last_layer"}
SIMILAR = yaml.safe_load((CONF / "adapt" / "similar_users.yaml").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain; never: the same run with an expert who is never asked."""
    folder = tmp_path_factory.mktemp("runs")
    exercise_run(folder / "plain")
    exercise_run(folder / "never", expert={**ASKED, "policy": "never", "rate": None})
    return folder


@pytest.fixture
def plain(runs: Path, tmp_path: Path) -> Run:
    return Run(shutil.copytree(runs / "plain", tmp_path / "plain"))


def evaluated(run: Run, *overrides: str, again: bool = True, **chosen: Any) -> Run:
    groups = {name: (name, values) for name, values in chosen.items()}
    return worker.evaluate(run, overrides, ALLOW, groups, again=again)[0]


def test_an_expert_who_is_never_asked_is_the_plain_test_to_the_last_digit(runs: Path) -> None:
    one, other = (
        pd.read_parquet(runs / name / "predictions.parquet") for name in ("plain", "never")
    )
    assert not other["asked"].any()
    pd.testing.assert_frame_equal(one, other[one.columns], check_exact=True)
    metrics, own = Run(runs / "plain").metrics, Run(runs / "never").metrics
    assert own.items() >= metrics.items()
    assert own["test/asked"] == 0
    assert own["test/top1_answered"] == own["test/top1_system"] == metrics["test/top1"]
    assert "test/top1_asked" not in own


def test_a_child_holds_the_results_and_the_run_stays_as_it_was(plain: Run) -> None:
    before = {p.name: p.read_bytes() for p in plain.path.iterdir() if p.is_file()}
    child = evaluated(plain, "expert.rate=0.5", expert=ASKED)
    assert child.path == plain.path / "evaluations" / "1"
    assert child.status == "finished"
    assert child.config["expert"] == {**ASKED, "rate": 0.5}
    assert child.manifest["choices"]["expert"] == "expert"
    assert {p.name: p.read_bytes() for p in plain.path.iterdir() if p.is_file()} == before
    again = evaluated(child)  # in place
    assert again.path == child.path
    assert again.metrics == child.metrics
    text = closing_table(child)
    assert max(map(len, text.splitlines())) <= WIDTH
    for words in ("learning alone", "selection alone", "no expert", "policy random at 50 %"):
        assert words in text


def test_networks_of_new_users_with_an_expert(plain: Run) -> None:
    """Never asked: those of adapt, to the last digit; with questions: from theirs on."""
    adapted = evaluated(plain, "adapt.lr=0.1", adapt=SIMILAR)
    never = {**ASKED, "policy": "never", "rate": None}
    both = evaluated(plain, "adapt.lr=0.1", adapt=SIMILAR, expert=never)
    asked = evaluated(plain, "adapt.lr=0.1", adapt=SIMILAR, expert=ASKED)
    one, other, third = (
        pd.read_parquet(run.file("predictions.parquet")) for run in (adapted, both, asked)
    )
    pd.testing.assert_frame_equal(one, other[one.columns], check_exact=True)
    assert (third["p_target"] != one["p_target"]).any()
    rank = third["baseline_no_expert_rank"]
    np.testing.assert_array_equal(rank, one["rank_of_target"])
    assert asked.metrics["before_adapting/test/mrr"] == plain.metrics["test/mrr"]


def test_a_finished_child_of_the_same_config_is_not_made_twice(plain: Run) -> None:
    one = evaluated(plain, expert=ASKED)
    assert evaluated(plain, expert=ASKED, again=False).path == one.path
    assert evaluated(plain, "expert.rate=0.3", expert=ASKED, again=False).path.name == "2"
    assert evaluated(plain, expert=ASKED).path.name == "3"


def test_compare_takes_children_beside_runs(plain: Run) -> None:
    child = evaluated(plain, expert=ASKED)
    plain.update(split_hash=child.manifest["split_hash"])  # as a trained run has it
    metrics = ["test/top1", "test/top1_answered", "test/asked"]
    found, left_out = compare([plain, child], metrics=metrics, resamples=200)
    assert not left_out
    groups = [row for row in found.rows if row.kind == "group"]
    assert len({row.mark for row in groups}) == 1  # one protocol
    [own] = [row for row in groups if "test/asked" in row.cells]
    assert own.cells["test/asked"].mean == child.metrics["test/asked"]
    controls = [row for row in found.rows if row.belongs_to(own)]
    assert [row.name.rpartition(": ")[2] for row in controls] == [
        "selection alone",
        "learning alone",
        "no expert",
    ]
    cell = own.cells["test/top1_answered"]
    assert cell.against == "its own selection alone"
    alone = controls[0].cells["test/top1_answered"].mean
    assert cell.difference == pytest.approx(cell.mean - alone)
    figures, differences, *_ = compare_document(found).sheets(2)
    place = [line[0] for line in figures.lines].index(own.label)
    shown = [line[0] for line in figures.lines[place + 1 : place + 4]]
    assert shown == ["- selection alone", "- learning alone", "- no expert"]
    assert not any(line[0].startswith("- ") for line in differences.lines)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data__split": "held_out_users"}, "data.split=held_out_users: expert needs a model for"),
        ({"task__mask_seen": True}, "task.mask_seen=true: expert takes runs without it only"),
        ({"model": "trigram"}, "expert changes a network of exercises, and NextCounter on"),
    ],
)
def test_refused_before_anything_is_trained(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    config = exercise_config(**{"model": "exercise_attn", "expert": ASKED, **changed})
    prepared = targets.build(config["data"], ALLOW).prepare(allow=ALLOW)
    run = Run.create(tmp_path / "run", config, prepared.spec.to_dict(), {})
    with pytest.raises(InputError, match=f"^{said}"):
        worker.fit(run, prepared, ALLOW)
    assert not run.file("last.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["expert.update=none"], "expert.update: the run has no expert; choose one before"),
        (["optimizer.lr=1"], "only data can change, and what its test does"),
        (["data.window=4"], "is tested on its own data only"),
    ],
)
def test_evaluate_refuses_and_leaves_no_child(plain: Run, words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        worker.evaluate(plain, words, ALLOW)
    assert not plain.file("evaluations").exists()


def test_words_of_a_command_line_are_choices_or_keys() -> None:
    keys, chosen = cli._chosen(["adapt=null", "expert=asked", "expert.update=none", "data.a=1"])
    assert keys == ["expert.update=none", "data.a=1"]
    assert chosen["adapt"] == ("null", None)
    name, values = chosen["expert"]
    assert name == "asked"
    assert values == yaml.safe_load((CONF / "expert" / "asked.yaml").read_text())
    with pytest.raises(InputError, match="no choice 'askd' of expert; did you mean asked"):
        compose.node("expert", "askd")


def test_rows_of_a_table_that_are_evaluations(
    plain: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made once; a mistake is said and the others stay."""
    words = ["expert=asked", "expert.policy=random", "expert.rate=0.4"]
    rows = [
        {"row": "1", "experiment": "a"},
        {"row": "2", "experiment": "a", "evaluate": words},
        {"row": "3", "experiment": "a", "evaluate": ["expert=asked", "expert.rate=0.4"]},
    ]
    sections = [{"name": "s", "metrics": ["test/top1"], "rows": rows}]
    table = paper_table("made", {"title": "t", "sections": sections})
    assert table.experiments == ["a"]
    assert [row.key for row in table.evaluated] == [
        "a " + " ".join(r["evaluate"]) for r in rows[1:]
    ]
    for _ in range(2):
        trained = {"a": [plain]}
        [failed] = cli._evaluations(table, trained)
        assert "left out: 3: expert.policy=printed takes no rate" in failed
        [own] = trained["a " + " ".join(words)]
        assert own.path == plain.path / "evaluations" / "1"
        assert own.metrics["test/asked"] > 0
    assert not plain.file("evaluations/2").exists()


def test_a_table_shows_controls_beneath_their_row(plain: Run) -> None:
    child = evaluated(plain, expert=ASKED)
    plain.update(split_hash=child.manifest["split_hash"])
    metrics = ["test/top1", "test/top1_answered", "test/asked"]
    rows = [{"row": "one", "experiment": "a"}]
    rows += [{"row": "two", "experiment": "a", "evaluate": ["expert=asked"]}]
    sections = [{"name": "s", "metrics": metrics, "rows": rows}]
    table = paper_table("made", {"title": "t", "sections": sections})
    found = document(table, {"a": [plain], "a expert=asked": [child]}, quick=False)
    records = {(r["row"], r["metric"]): r["measured"]["mean"] for r in found.records}
    metrics_of = child.metrics
    assert records["s: two", "test/asked"] == metrics_of["test/asked"]
    for name in ("selection alone", "learning alone"):
        prefix = f"baseline/{name.replace(' ', '_')}/"
        own = records[f"s: two: {name}", "test/top1_answered"]
        assert own == metrics_of[f"{prefix}test/top1_answered"]
    text = FORMATS["table"](found)
    labels = [line[:17].strip() for line in text.splitlines()]
    first = labels.index("two")
    assert labels[first + 1 : first + 4] == ["- selection alone", "- learning alone", "- no expert"]
    assert "test/top1_answered: -" not in text
    assert "difference to its own selection alone" in " ".join(text.split())


# Figures


def test_figures_of_answered_and_asked_windows_by_hand() -> None:
    """Four windows of ranks 1, 3, 7, 1; the second and the last were asked about."""
    table = pd.DataFrame({"rank_of_target": [1.0, 3, 7, 1], "ties_of_target": [1.0] * 4})
    table["asked"] = [False, True, False, True]
    table["baseline_other_rank"], table["baseline_other_ties"] = [2.0] * 4, [1.0] * 4
    expected = {
        "asked": 50,
        "top1_answered": 50,
        "top5_answered": 50,
        "top10_answered": 100,
        "top1_asked": 50,
        "top5_asked": 100,
        "top1_system": 75,
        "top5_system": 75,
    }
    for name, value in expected.items():
        found = rankings.figures_of(table, name)
        assert [*found] == [""]  # nobody asked where the baseline answers
        assert np.nanmean(found[""]) == value, name
    assert [*rankings.figures_of(table, "top1")] == ["", "baseline/other/"]


def test_windows_that_do_not_count_are_in_no_user_s_mean() -> None:
    """Two answers to each of three events: sums and counts of those not asked about."""
    table = pd.DataFrame({"rank_of_target": [1.0, 2, 1, 1, 3, 1], "ties_of_target": [1.0] * 6})
    table["asked"] = [False, True, False, False, True, True]
    table["user_id"] = ["u", "u", "u", "u", "v", "v"]
    table["unit_id"] = ["u:0", "u:0", "u:1", "u:1", "v:0", "v:0"]
    table["target"] = "a"
    [errors] = _of_ranks(table, "test/top1_answered").values()
    assert errors.total.tolist() == [100, 200, 0]
    assert errors.count.tolist() == [1, 2, 0]
    every = _of_ranks(table, "test/top1")["", "test/top1"]
    assert errors.tested == every.tested  # the same windows, of which some count


def test_an_interval_is_of_the_resamples_that_have_a_value() -> None:
    samples = np.array([np.nan, *range(101), np.nan])
    assert interval(samples) == interval(samples[1:-1]) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_fewer_questions_are_neither_better_nor_worse() -> None:
    assert better(["test/asked"]) == "neither side is better"
    assert better(["test/asked", "test/top1"]) == "higher is better, of test/top1"


def test_answered_and_asked_part_all_windows(plain: Run) -> None:
    metrics = evaluated(plain, expert=ASKED).metrics
    for prefix in ("", "baseline/selection_alone/", "baseline/learning_alone/"):
        share = metrics[f"{prefix}test/asked"] / 100
        for top in ("top1", "top5", "top10"):
            every, answered, asked, system = (
                metrics[f"{prefix}test/{top}{which}"]
                for which in ("", "_answered", "_asked", "_system")
            )
            assert every == pytest.approx((1 - share) * answered + share * asked)
            assert system == pytest.approx((1 - share) * answered + share * 100)
