"""What is measured of exercise_attn: the networks, their operations, a document that fits."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fitexp import cost
from fitexp.models.exercise_attn import ExerciseAttn
from fitexp.report.document import FOR_PEOPLE, FORMATS, Document, as_csv

ROOT = Path(__file__).parents[1]


def by_hand(own: cost.Widths) -> int:
    """Twice the multiplications of (1)-(7), map by map; the one-hot part of (1) is a look-up."""
    N, K, w, D = own.items, own.width, own.window, own.hidden
    F, P, Q, K_e = cost.FEATURES, cost.PROFILE, cost.ITEM_PROFILE, 3
    of_an_event = F * own.exercise + own.exercise * K + Q * K_e + K * w + K_e * w + K * D + D * D
    of_a_row = P * own.user + own.user * K + D * own.output + own.output * N
    return 2 * cost.BATCH * own.folds * (w * of_an_event + of_a_row)


@pytest.mark.parametrize("own", [*itertools.islice(cost.networks(True), 3, None, 9)])
def test_operations_are_those_of_the_equations(own: tuple[str, str, cost.Widths]) -> None:
    assert cost._operations(own[2]) == by_hand(own[2])


def test_the_network_is_the_config_s_and_the_paper_s_sizes() -> None:
    config = yaml.safe_load((ROOT / "conf" / "model" / "exercise_attn.yaml").read_text())["model"]
    network = cost.network(next(own for case, _, own in cost.networks(True) if case == "mHealth"))
    for name in inspect.signature(ExerciseAttn).parameters:
        if hasattr(network, name) and isinstance(getattr(network, name), str | int | bool):
            assert getattr(network, name) == config[name], name
    assert network.dropout.p == config["dropout"]
    for map_name, key in (("W_x", "exercise"), ("W_u", "user"), ("W_e", "profile")):
        assert getattr(network, map_name).weight.shape[2] == config[key]
    assert network.W_o is not None
    assert network.W_o.weight.shape[2] == config["output"]
    assert (network.W_x.bias is not None) == config["bias"]


def test_every_point_has_the_same_changes_and_grids_cross_all_sizes() -> None:
    for quick, levels in ((False, cost.LEVELS), (True, cost.QUICK_LEVELS)):
        rows = list(cost.networks(quick))
        for case in cost.GRIDS:
            sizes = [(own.items, own.width, own.window) for name, _, own in rows if name == case]
            assert sizes == list(itertools.product(*levels))
        points: dict[str, list[cost.Widths]] = {}
        for case, _, own in rows:
            if case not in cost.GRIDS:
                points.setdefault(case, []).append(own)
        for base, items, width, window, all_widths in points.values():
            assert items.items == 2 * base.items
            assert (width.width, width.hidden) == (2 * base.width, base.hidden)
            assert window.window == 2 * base.window
            assert (all_widths.width, all_widths.hidden) == (2 * base.width, 2 * base.hidden)


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "QUICK_LEVELS", ((5, 50), (2, 8), (2, 4)))
    monkeypatch.setattr(cost, "AT_LEAST_S", 1e-9)
    monkeypatch.setattr(cost, "QUICK_TURNS", 1)


@pytest.mark.slow
def test_the_document_fits_100_columns_and_holds_every_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few(monkeypatch)
    found = cost.document(quick=True)
    rows = list(cost.networks(True))
    assert len(as_csv(found).splitlines()) == 1 + len(rows)
    assert [r["operations"] for r in found.records] == [by_hand(own) for *_, own in rows]
    assert min(min(r["forward_ms"], r["step_ms"]) for r in found.records) > 0
    for form in FOR_PEOPLE:
        text = FORMATS[form](found)
        assert max(map(len, text.splitlines())) <= 100
        assert "QUICK" in text


def test_the_script_says_where_it_cannot_write(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "cost.py"), "--quick"]
    made = subprocess.run(
        [*script, "--csv", str(tmp_path / "no" / "x.csv")], capture_output=True, text=True
    )
    assert made.returncode == 2
    assert "there is no folder" in made.stderr


@pytest.mark.slow
def test_a_table_prints_what_its_network_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from fitexp import cli

    (tmp_path / "mine" / "table").mkdir(parents=True)
    row = {"row": "linear", "experiment": "fitrec_attn_heart_rate_whole"}
    values: dict[str, Any] = {
        "title": "Small",
        "cost": "exercise_attn",
        "sections": [{"name": "whole", "metrics": ["test/mae_bpm"], "rows": [row]}],
    }
    (tmp_path / "mine" / "table" / "small.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITEXP_CACHE", str(tmp_path / "cache"))
    asked = []

    def measured(quick: bool) -> Document:
        asked.append(quick)
        return Document(sheets=lambda gap: [], notes=[("cost", "as much as a meal")], records=[])

    monkeypatch.setattr(cost, "document", measured)
    words = ["reproduce", "small", "--config-dir=mine", "--quick", "trainer.max_epochs=1"]
    words += ["data.source.athletes=4", "data.source.workouts=6", "model.hidden=4"]
    assert cli.main(words) == 0
    assert "as much as a meal" in capfd.readouterr().out
    assert asked == [True]
    assert cli.main([*words, "--format=json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["table"] == "small"
    assert asked == [True]
