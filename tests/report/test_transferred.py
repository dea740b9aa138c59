"""The tables and pictures of a transfer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fitexp.data.splits import TEST, TRAIN
from fitexp.outcomes import outcome
from fitexp.report import transfer_plots as pictures
from fitexp.report import transferred as report
from fitexp.report.statistics import interval, resampled_weights
from fitexp.report.text import WIDTH
from fitexp.transfer import FEATURE_MEANS, LEVELS, RESTING_HR, Level, Probe, chance_sd

RUN: Any = SimpleNamespace(
    path=Path("outputs/a"), spec={"simulated": True, "protocol": {"windows": "made up"}}
)
PART = np.repeat(np.array([TRAIN, TEST], dtype=np.int8), (20, 30))


def made(score: np.ndarray) -> Probe:
    levels = [
        Level(level=level, components=k + 2, C=0.1, penalty="l1", cv_auc=0.6, score=score + 0.1 * k)
        for k, level in enumerate(LEVELS)
    ]
    return Probe(levels=tuple(levels), best=levels[2])


@pytest.fixture
def study() -> report.Study:
    rng = np.random.default_rng(0)
    vo2max, rest = 40 + 5 * rng.standard_normal(50), 60 + 5 * rng.standard_normal(50)
    rest[25] = rest[3] = np.nan
    outcomes = [
        outcome("vo2max_ml_min_kg", vo2max, PART),
        outcome("resting_hr_bpm", rest, PART),
    ]
    names = ["step2heart", "autoencoder", RESTING_HR, FEATURE_MEANS]
    probes: dict[tuple[str, str], Probe | None] = {}
    for one in outcomes:
        for k, name in enumerate(names):
            score = one.value[one.test] + (k + 1) * 4 * rng.standard_normal(len(one.test))
            probes[one.name, name] = made(score)
    probes["resting_hr_bpm", "step2heart"] = probes["resting_hr_bpm", RESTING_HR] = None
    return report.Study(
        run=RUN,
        outcomes=outcomes,
        representations=names,
        probes=probes,
        noise={one.name: np.array([0.45, 0.55]) for one in outcomes},
        width=16,
        pool="mean",
        notes=["left out: outcome bmi: no training user has it", "word " * 40],
    )


def test_resampled_aucs_are_scikit_learns_of_weighted_users() -> None:
    rng = np.random.default_rng(0)
    high = np.arange(12) < 5
    scores = [rng.integers(0, 6, 12).astype(float), rng.standard_normal(12)]
    found = report.resampled_auc(scores, high, resamples=40, seed=3)
    [weights] = resampled_weights(12, 40, np.random.default_rng(3))
    for row, weight in zip(found, weights, strict=True):
        drawn = np.repeat(np.arange(12), weight.astype(int))
        for value, score in zip(row, scores, strict=True):
            assert value == pytest.approx(100 * roc_auc_score(high[drawn], score[drawn]))
    np.testing.assert_array_equal(found, report.resampled_auc(scores, high, resamples=40, seed=3))


def test_figures_are_of_the_chosen_level_and_differences_are_paired(study: report.Study) -> None:
    rows = {(row["outcome"], row["representation"]): row for row in report.figures(study)}
    one = study.outcomes[0]
    high = one.high(one.test)

    def best(name: str) -> np.ndarray:
        probe = study.probes[one.name, name]
        assert probe is not None
        return probe.best.score

    row = rows[one.name, "step2heart"]
    assert (row["pca"], row["components"]) == (99, 4)
    assert row["auc"] == pytest.approx(100 * roc_auc_score(high, best("step2heart")))
    assert row["low"] < row["auc"] < row["high"]
    other = 100 * roc_auc_score(high, best(RESTING_HR))
    assert row["less_resting_hr"] == pytest.approx(row["auc"] - other)
    both = report.resampled_auc([best("step2heart"), best(RESTING_HR)], high)
    low, top = interval(both[:, 0] - both[:, 1])
    assert (row["less_resting_hr_low"], row["less_resting_hr_high"]) == pytest.approx((low, top))
    assert len(row["levels"]) == 4
    assert "less_resting_hr" not in rows[one.name, RESTING_HR]
    assert rows["resting_hr_bpm", "step2heart"]["reads_outcome"]
    assert "less_resting_hr" not in rows["resting_hr_bpm", "autoencoder"]
    noise = rows[one.name, "noise"]
    assert noise["auc"] == pytest.approx(50)
    assert noise["sd"] == pytest.approx(100 * np.std([0.45, 0.55], ddof=1))
    upper = int(high.sum())
    assert noise["sd_in_theory"] == 100 * chance_sd(upper, 30 - upper)


def test_metrics_are_of_every_level_without_what_is_read(study: report.Study) -> None:
    found = report.metrics(study)
    fitness, rest = "test/transfer/vo2max_ml_min_kg/", "test/transfer/resting_hr_bpm/"
    means, alone = "baseline/feature_means/", "baseline/resting_hr_alone/"
    own = [fitness, means + fitness, alone + fitness, means + rest]  # rest is what they read
    levels = ("90", "95", "99", "99_9")
    assert set(found) == {f"{name}auc_pca{level}" for name in own for level in levels}
    [row] = [r for r in report.figures(study) if r["representation"] == "step2heart"][:1]
    assert found["test/transfer/vo2max_ml_min_kg/auc_pca99"] == row["auc"]


def test_what_is_written_and_said(study: report.Study, tmp_path: Path) -> None:
    embeddings = np.random.default_rng(0).standard_normal((50, 6))
    embeddings[7] = np.nan  # a user without windows
    said = report.write(tmp_path, study, embeddings, PART)
    assert max(map(len, said.splitlines())) <= WIDTH
    assert "SIMULATED" in said.splitlines()[0]
    for words in ("N/A", "50.0 ± 7.1", "VO2max", study.notes[0], "1, 0, 1"):
        assert words in said
    found = json.loads((tmp_path / report.JSON).read_text())
    assert found["simulated"] is True
    assert found["outcomes"][1]["train_unknown"] == 1
    assert len(found["rows"]) == 10
    table = pd.read_csv(tmp_path / report.CSV)
    assert len(table) == 6 * 4 + 2 + 2  # levels of those that are asked for, N/A, noise
    chosen = table[table["chosen"] & (table["representation"] == "step2heart")]
    assert chosen["pca"].tolist()[0] == 99
    assert set(table["pca"].dropna()) == {90, 95, 99, 99.9}
    for name in ("auc", "tsne"):
        assert (tmp_path / f"transfer_{name}.png").stat().st_size > 10_000


def test_the_interval_over_users_covers_the_true_auc() -> None:
    """Scores N(0, 1) and N(0.7, 1): AUC = Phi(0.7 / sqrt 2) = 0.69. 400 studies of 60 users: 95 %
    within 3.5 of its standard errors, less 2 points for percentile intervals of few users."""
    rng = np.random.default_rng(0)
    high, inside = np.arange(60) < 30, 0
    for seed in range(400):
        score = rng.standard_normal(60) + 0.7 * high
        low, top = interval(report.resampled_auc([score], high, 500, seed)[:, 0])
        inside += low <= 68.968 <= top
    assert 0.95 - 0.02 - 3.5 * 0.011 <= inside / 400 <= 0.95 + 3.5 * 0.011


def test_the_map_of_users_says_what_its_colours_are() -> None:
    """White with its unit at the threshold; two values are two colours, by their names."""
    rng = np.random.default_rng(0)
    sex = np.arange(50) % 2.0
    outcomes = [outcome("bmi", rng.normal(26, 4, 50), PART), outcome("sex", sex, PART)]
    figure = pictures.tsne_figure(rng.standard_normal((50, 3)), outcomes, PART, "a", True)
    assert figure is not None
    assert figure.get_suptitle().startswith("SIMULATED  a: 50 users")
    bmi, of_sex, _, bar = figure.axes
    assert bmi.get_title() == f"BMI\nwhite: {outcomes[0].threshold:.3g} kg/m²"
    assert of_sex.get_title() == "sex"
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0 female", "1 male"]
    colours = np.concatenate([points.get_facecolors() for points in of_sex.collections])
    assert len(np.unique(colours, axis=0)) == 2
    plt.close(figure)
