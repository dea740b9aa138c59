"""The replay of a run: its networks, its files, its mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn

from fitexp import cli
from fitexp import replay as command
from fitexp.actions import Options
from fitexp.active import search
from fitexp.active import study as study_module
from fitexp.active.learners import learner_of
from fitexp.active.replay import Timelines, policy_of, replay
from fitexp.active.study import Study
from fitexp.active.updates import UPDATES, Alike, Count
from fitexp.data.exercises.module import EventGather
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.prepare import Prepared
from fitexp.errors import InputError
from fitexp.models.exercise_attn import ExerciseAttn
from fitexp.models.folds import Folds
from fitexp.models.gru4rec import GRU4Rec
from fitexp.report import replayed as report
from fitexp.report.text import WIDTH
from tests.data.exercises.made import made_table, protocol, random_histories
from tests.toy_run import CONF

HISTORIES = {**random_histories(5, 12, 5, seed=1), "short": "abcde"}


def attention(prepared: Prepared) -> nn.Module:
    torch.manual_seed(0)
    values = yaml.safe_load((CONF / "model" / "exercise_attn.yaml").read_text())["model"]
    del values["_target_"]
    return ExerciseAttn(spec=prepared.spec, **{**values, "rescale": True})


def memory(prepared: Prepared) -> nn.Module:
    torch.manual_seed(0)
    values: dict[str, Any] = {"cell": "gru", "embedding": 6, "hidden": 5, "layers": 1}
    values |= {"dropout": 0.2, "side": True, "tied": False}
    return Folds(build=lambda: GRU4Rec(spec=prepared.spec, **values), folds=prepared.spec.folds)


def study(name: str = "attention", **changed: Any) -> tuple[Study, nn.Module, Prepared]:
    if name == "memory":
        changed |= {"window": None, "answers": "every"}
    prepared = arrays_of(protocol(**changed), made_table(HISTORIES))
    network = (memory if name == "memory" else attention)(prepared)
    return Study(prepared, network, 0), network, prepared


def as_tested(network: nn.Module, prepared: Prepared) -> dict[tuple[int, int], Tensor]:
    """Fold and event -> log-probabilities, as the plain test has them: all windows at once."""
    gather = EventGather(prepared, "test")
    batch = gather(np.arange(len(gather)))
    inputs = {k: v for k, v in batch.items() if k not in ("target", "mask", "event")}
    with torch.no_grad():
        log_p = torch.log_softmax(network.eval()(inputs).double(), dim=-1)
    return {
        (int(f), int(batch["event"][f, b, s])): log_p[f, b, s]
        for f, b, s in torch.nonzero(batch["mask"])
    }


@pytest.mark.parametrize(
    ("name", "changed"),
    [("attention", {}), ("memory", {}), ("attention", {"folds": 2, "repeats": 2})],
)
def test_without_questions_it_is_the_plain_test(name: str, changed: Mapping[str, Any]) -> None:
    found, network, prepared = study(name, **changed)
    expected = as_tested(network, prepared)
    lines, first = found.lines, found.first
    assert first.there.sum() == len(expected)
    learner = learner_of(found.given, None)
    for line, t in np.argwhere(first.there):
        event = lines.event[line, t]
        log_p = expected.pop((int(lines.fold[line]), int(event)))
        hit = float(log_p.argmax() == prepared.arrays["item"][event])
        assert first.hit[line, t] == hit
        again = learner.predict(np.array([line]), np.array([event]))[0]
        np.testing.assert_allclose(again, log_p, atol=2e-6)
    assert not expected


@pytest.mark.parametrize("name", ["attention", "memory"])
def test_no_update_changes_no_prediction_and_each_update_does(name: str) -> None:
    found, _, _ = study(name)
    for update in UPDATES if name == "attention" else ("none", "last_layer", "alike"):
        rule = UPDATES[update]
        result = found.replayed("random", rule, 0.5)
        same = np.array_equal(result.three[result.there], found.first.three[result.there])
        assert same == (update == "none"), update
        if not update.endswith("_history"):
            np.testing.assert_array_equal(result.three[:, 0], found.first.three[:, 0])


def test_a_timeline_is_what_a_loop_over_one_user_gives() -> None:
    """One fold's weights in a network of one fold, asked below a margin, all parameters learn."""
    found, network, prepared = study()
    rule, line = replace(UPDATES["all"], lr=0.05), 3  # type: ignore[type-var]
    policy = policy_of("margin", 0.3, found.lines, found.first)
    middle = np.full(len(found.lines.user), np.median(found.first.margin[line]))
    policy = replace(policy, threshold=middle)
    result = replay(found.lines, learner_of(found.given, rule), policy)

    fold = int(found.lines.fold[line])
    arrays = {
        name: np.asarray(values)[[fold]] if name.endswith(("_center", "_scale")) else values
        for name, values in prepared.arrays.items()
    }
    arrays["part"] = np.asarray(arrays["part"])[[fold]]
    arrays["test"] = np.array([[0, e] for e in found.lines.event[line]])
    one = Prepared(replace(prepared.spec, folds=1), arrays, prepared.report)
    alone = attention(one)
    alone.load_state_dict({k: v[[fold]] for k, v in network.state_dict().items()})
    gather, items = EventGather(one, "test"), torch.from_numpy(np.array(arrays["item"]))
    trained = prepared.arrays["train"]
    trained = trained[trained[:, 0] == fold, 1]
    alone.eval()

    def logits(events: Any) -> Tensor:
        batch = gather.of(torch.as_tensor(np.array([events])), torch.zeros(1, dtype=torch.long))
        out: Tensor = alone(
            {k: v for k, v in batch.items() if k not in ("target", "mask", "event")}
        )
        return out[0, :, 0]

    questions = 0
    for t, event in enumerate(found.lines.event[line]):
        with torch.no_grad():
            p = torch.softmax(logits([event])[0].double(), dim=-1).sort(descending=True).values
        assert float(p[0] - p[1]) == pytest.approx(result.margin[line, t], abs=1e-5)
        asked = bool(p[0] - p[1] < policy.threshold[line])
        assert asked == result.asked[line, t]
        if asked:
            questions += 1
            draw = np.random.default_rng([0, 1, line, event])
            rows = trained[draw.integers(0, len(trained), 30)]
            batch = [event, *rows, event]
            optimizer = torch.optim.Adam(alone.parameters(), lr=0.05)
            for _ in range(2):
                optimizer.zero_grad()
                nn.functional.cross_entropy(logits(batch), items[torch.tensor(batch)]).backward()
                optimizer.step()
    assert 0 < questions < result.there[line].sum()


@pytest.mark.parametrize("update", ["last_layer", "buffer", "counter", "alike", "profile"])
def test_nothing_of_an_unanswered_event_reaches_an_update(update: str) -> None:
    """Other items as the answers that nobody asked for: no prediction differs."""
    found, _, _ = study()
    policy = policy_of("random", 0.3, found.lines, None)
    learner = learner_of(found.given, UPDATES[update])
    result = replay(found.lines, learner, policy)
    item = found.lines.item.copy()
    unasked = found.lines.event[result.there & ~result.asked]
    item[unasked] = (item[unasked] + 1) % 5
    poisoned = Timelines(
        user=found.lines.user, fold=found.lines.fold, event=found.lines.event, item=item
    )
    again = replay(poisoned, learner, policy)
    np.testing.assert_array_equal(result.three, again.three)
    assert (result.hit != again.hit).any()


def test_questions_stay_at_the_wanted_rate_while_models_learn() -> None:
    """Thresholds of a model that does not learn would ask too rarely of one that does."""
    found, _, _ = study()
    rule = replace(UPDATES["bias"], lr=0.1)  # type: ignore[type-var]
    policy = policy_of("margin", 0.3, found.lines, found.first)
    windows = found.first.there.sum()
    before = replay(found.lines, learner_of(found.given, rule), policy).asked.sum() / windows
    after = found.replayed("margin", rule, 0.3).asked.sum() / windows
    assert abs(after - 0.3) < 0.06 < abs(before - 0.3)


def test_rows_hold_selection_alone_and_learning_alone() -> None:
    found, _, _ = study()
    rows = found.rows(["margin", "printed", "never"], ["alike"], [0.1, 0.3])
    assert [*rows] == [
        ("never", "none", None),
        *(("margin", u, r) for r in (0.1, 0.3) for u in ("none", "alike")),
        ("printed", "none", None),
        ("printed", "alike", None),
        ("never", "alike", None),
        *(("random", u, r) for r in (0.1, 0.3) for u in ("none", "alike")),
    ]
    figures = report.figures(rows, found.lines)
    first = figures[0]["all"]
    assert all(row["all"] == first for row in figures if row["update"] == "none")
    always = found.rows(["always"], ["none"], [0.1])["always", "none", None]
    system = report.figures({("always", "none", None): always}, found.lines)[0]
    assert system["system"] == system["rate"] == 100
    assert np.isnan(system["answered"])


FEW = {
    "counter": [Count(order=k, prior=1.0) for k in (0, 1)],
    "bias": [UPDATES["bias"], UPDATES["profile"]],
    "alike": [Alike(order=k, prior=0.1) for k in (1, 2, 3)],
}


def test_the_search_reports_users_that_did_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hits of even-numbered users decide which setting is taken and nothing else."""
    for module in (study_module, search, report):
        monkeypatch.setattr(module, "SEARCHED", FEW)
    found, _, _ = study()
    tried = found.searched(["random"], ["counter", "bias"], [0.5])
    assert [one.update for one in tried] == ["counter", "bias"]
    assert isinstance(tried[0].rule, Count)
    assert set(tried[0].setting) == {"order"}
    before = report.search_figures(tried, found.lines)
    for one in tried:
        one.result.hit[found.lines.user % 2 == 0] = 0
    after = report.search_figures(tried, found.lines)
    assert [row["gain"] for row in before] == [row["gain"] for row in after]
    odd = found.lines.user % 2 == 1
    there = found.first.there[odd]
    moved = (tried[0].result.hit - found.first.hit)[odd][there]
    assert before[0]["gain"] == pytest.approx(100 * moved.mean())
    table = report.search_table(before, found.spec)
    assert max(map(len, table.splitlines())) <= WIDTH


def test_the_search_takes_what_gains_most_on_even_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "SEARCHED", FEW)
    found, _, _ = study()
    [one] = found.searched(["always"], ["alike"], [0.5])
    even = found.lines.user % 2 == 0
    gains = [found.replayed("always", rule, None).hit[even].sum() for rule in FEW["alike"]]
    assert min(gains) < max(gains)
    assert one.rule == FEW["alike"][int(np.argmax(gains))]


# What is written and said


def run_of(**data: Any) -> Any:
    config = {"data": {"split": "leave_one_user_out", **data}, "seed": 0}
    return SimpleNamespace(path=Path("outputs/a"), config=config)


@pytest.mark.parametrize(
    ("values", "split", "said"),
    [
        ({}, "held_out_users", "data.split=held_out_users: fitexp replay needs a model for each"),
        ({"--policy": ("margin,entrpy",)}, "leave_one_user_out", "did you mean entropy?"),
        ({"--update": ("mine",)}, "leave_one_user_out", "--update mine: choose from none, last"),
        ({"--rate": ("0.1,5",)}, "leave_one_user_out", "--rate 0.1,5: shares of events between 0"),
        ({"--rate": ("a",)}, "leave_one_user_out", "--rate a: shares"),
    ],
)
def test_mistakes_are_one_line(values: dict[str, Any], split: str, said: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        command.command(run_of(split=split), [], Options(values, frozenset()))
    assert said in str(error.value)
    with pytest.raises(InputError, match="takes one run"):
        command.command(run_of(), ["b"], Options({}, frozenset()))


def test_the_area_under_risk_and_coverage_by_hand() -> None:
    wrong = np.array([0.0, 1.0, 0.0, 1.0])  # the most certain first
    found = report.area(wrong, np.array([[1.0, 1, 1, 1], [1, 0, 0, 2], [0, 0, 1, 1]]))
    np.testing.assert_allclose(
        found, [100 * (0 + 1 / 2 + 1 / 3 + 2 / 4) / 4, 100 * (0 + 2 * 2 / 3) / 3, 100 * 0.5 / 2]
    )


def test_figures_pool_windows_and_intervals_are_over_users() -> None:
    found, _, _ = study()
    rows = found.rows(["margin"], ["alike"], [0.3])
    result = rows["margin", "alike", 0.3]
    row = next(r for r in report.figures(rows, found.lines) if r["update"] == "alike")
    there, hit, asked = result.there, result.hit, result.asked
    expected = {
        "rate": asked[there],
        "all": hit[there],
        "answered": hit[there & ~asked],
        "asked": hit[there & asked],
        "system": np.where(asked, 1, hit)[there],
        "gain": (hit - found.first.hit)[there],
    }
    for name, values in expected.items():
        assert row[name] == pytest.approx(100 * values.mean())
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    order = np.argsort(-result.margin[there], kind="stable")
    risk = np.cumsum(1 - hit[there][order]) / np.arange(1, there.sum() + 1)
    assert row["aurc"] == pytest.approx(100 * risk.mean())


@pytest.mark.slow
def test_the_command_on_a_trained_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    words = "model=exercise_attn trainer.max_epochs=1 model.rescale=true data.source.users=12"
    assert cli.main(["train", *words.split(), f"hydra.run.dir={run}"]) == 0
    capsys.readouterr()
    assert cli.main(["replay", str(run), "--rate", "0.1", "--policy", "margin,always"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(run)
    assert "SIMULATED" in out
    assert max(map(len, out.splitlines()[:-1])) <= WIDTH
    found = json.loads((run / "replay.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert found["rows"][0]["all"] == pytest.approx(metrics["test/top1"], abs=0.3)
    assert found["simulated"] is True
    table = pd.read_csv(run / "replay.csv")
    assert len(table) == len(found["rows"])
    for name in ("risk_coverage", "rates", "margins"):
        assert (run / f"replay_{name}.png").stat().st_size > 10_000
