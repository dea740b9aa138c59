"""Figures of ranks, by hand and against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from fitexp import metrics
from fitexp.data.exercises.protocol import arrays_of
from fitexp.models.counters import NextCounter
from fitexp.report import rankings
from fitexp.report.table import closing_table
from tests.data.exercises.made import made_table, protocol, random_histories
from tests.exercise_run import exercise_run

PREPARED = arrays_of(
    protocol(min_past=1), made_table(random_histories(5, 8, 12, seed=4), ceiling=True)
)


def predictions(seed: int) -> dict[str, np.ndarray]:
    """Probabilities without ties, rows in any order."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(np.asarray(PREPARED.arrays["test"]))
    return {"rows": rows, "probability": draw.dirichlet(np.ones(12), len(rows))}


def test_figures_are_scikit_learns() -> None:
    given = predictions(0)
    table = rankings.predictions_table(PREPARED, given, "test", {})
    found = rankings.score(table, "test")
    target = np.asarray(PREPARED.arrays["item"])[given["rows"][:, 1]]
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(target, given["probability"], k=k, labels=range(12))
        assert found[f"test/top{k}"] == pytest.approx(100 * expected)
    truth = np.eye(12)[target]
    assert found["test/ndcg10"] == pytest.approx(ndcg_score(truth, given["probability"], k=10))
    own = given["probability"][np.arange(len(target)), target]
    rank = (given["probability"] >= own[:, None]).sum(1)
    assert found["test/mrr"] == pytest.approx((1 / rank).mean())
    assert found["test/log_loss"] == pytest.approx(-np.log(own).mean())


def test_rows_are_in_order_of_fold_and_event() -> None:
    table = rankings.predictions_table(PREPARED, predictions(1), "test", {})
    assert table["unit_id"].is_unique
    assert table["unit_id"].tolist() == [f"u{u}:{s}" for u in range(5) for s in range(1, 8)]
    assert table["fold"].tolist() == [u for u in range(5) for _ in range(7)]


def test_the_seen_mask_leaves_out_what_was_had() -> None:
    """abcd: at d (step 3), a, b, c are out; with scores a > b > c > d > e the target is first."""
    prepared = arrays_of(
        protocol(min_past=1), made_table({"ann": "abcd", "bob": "abce", "cid": "aade"})
    )
    rows = np.asarray(prepared.arrays["test"])
    scores = np.tile([0.4, 0.3, 0.15, 0.1, 0.05], (len(rows), 1))
    table = rankings.predictions_table(
        prepared, {"rows": rows, "probability": scores}, "test", {}
    ).set_index("unit_id")
    assert table.loc["ann:3", "rank_of_target"] == 4
    assert table.loc["ann:3", "rank_of_target_seen_mask"] == 1
    assert table.loc["bob:3", "rank_of_target_seen_mask"] == 2
    assert np.isnan(table.loc["cid:1", "rank_of_target_seen_mask"])  # a again
    assert "test/top1_seen_mask" not in rankings.score(table.reset_index(), "test")


def test_ties_are_worth_what_breaking_them_by_lot_gives() -> None:
    draw = np.random.default_rng(3)
    scores = draw.integers(0, 4, (300, 12)).astype(float)
    target = draw.integers(0, 12, 300)
    rank, ties = rankings.ranks(scores, target)
    table = pd.DataFrame({"rank_of_target": rank, "ties_of_target": ties})
    lots = [
        (
            (noisy := scores + draw.uniform(0, 0.5, scores.shape))
            >= noisy[np.arange(300), target][:, None]
        ).sum(1)
        for _ in range(2000)
    ]
    by_lot = np.array(lots)
    for name, expected in (
        ("top1", 100 * (by_lot <= 1).mean(0)),
        ("top5", 100 * (by_lot <= 5).mean(0)),
        ("mrr", (1 / by_lot).mean(0)),
        ("ndcg10", np.where(by_lot <= 10, 1 / np.log2(by_lot + 1), 0).mean(0)),
    ):
        found = rankings.figures_of(table, name)[""]
        scale = 100 if name.startswith("top") else 1
        np.testing.assert_allclose(found / scale, expected / scale, atol=0.05)
        assert found.mean() / scale == pytest.approx(expected.mean() / scale, abs=0.003)


def test_baselines_and_ceiling_stand_beside() -> None:
    model = NextCounter(spec=PREPARED.spec, order=1, prior=1.0)
    model.fit(PREPARED.arrays)
    table = rankings.predictions_table(PREPARED, predictions(0), "test", {"bigram": model})
    found = rankings.score(table, "test")
    own = rankings.predictions_table(PREPARED, model.predict(PREPARED.arrays, "test"), "test", {})
    for name in ("top1", "mrr"):
        assert found[f"baseline/bigram/test/{name}"] == rankings.score(own, "test")[f"test/{name}"]
    assert found["ceiling/bayes/test/top1"] == 100


def test_calibration_error_of_a_hand_worked_case() -> None:
    """Bin 0.8..0.87: mean confidence 0.85, one of two right; bin 0.33..0.4: 0.35, none of one."""
    assert metrics.ece([0.84, 0.86, 0.35], [1, 0, 0]) == pytest.approx((0.7 + 0.35) / 3)
    assert metrics.ece([1.0, 1.0], [1, 1]) == 0


def test_the_closing_table_says_what_the_model_does_not_read(tmp_path: Path) -> None:
    """Beneath what the data offer, before everything else."""
    run = exercise_run(tmp_path / "run", "gru4rec", data__split="held_out_users")
    lines = [line.split("  ")[0] for line in closing_table(run).splitlines()]
    begin = lines.index("data")
    assert lines[begin : begin + 6] == ["data", "task", "reads", "profiles", "not read", "tested"]
    assert "\nnot read   profile of items\n" in closing_table(run)
