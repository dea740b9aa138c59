"""The linear probe of embeddings: laws, and scikit-learn's own figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.stats import mannwhitneyu, norm
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fitexp import transfer
from fitexp.data.splits import TEST, TRAIN, VAL
from fitexp.outcomes import Outcome, outcome
from fitexp.transfer import LEVELS, POOLS, Reduction, auc, chance_sd, folds, pooled, probe
from tests.toy_run import CONF

PARTS = np.repeat(np.array([TRAIN, VAL, TEST], dtype=np.int8), (24, 6, 20))
U = len(PARTS)


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two settings instead of twelve."""
    monkeypatch.setattr(transfer, "GRID", ((0.01, "l2"), (1.0, "l1")))


def planted(seed: int = 0, width: int = 8) -> tuple[np.ndarray, Outcome]:
    """Embeddings whose third column follows the outcome, and the outcome."""
    rng = np.random.default_rng(seed)
    value = rng.normal(30, 5, U)
    x = rng.standard_normal((U, width)) * np.arange(1, width + 1)
    x[:, 2] += 2 * (value - 30)
    return x, outcome("vo2max_ml_min_kg", value, PARTS)


# Pooling, and features of the raw series


def test_users_are_pooled_from_their_own_windows() -> None:
    rng = np.random.default_rng(0)
    user = rng.permutation([0] * 3 + [1] + [3] * 5)
    windows = rng.standard_normal((9, 4)).astype(np.float32)
    for how, function in POOLS.items():
        found = pooled(windows, user, how, 5)
        assert np.isnan(found[[2, 4]]).all()  # without windows
        for number in (0, 1, 3):
            own = np.array([w for w, u in zip(windows, user, strict=True) if u == number])
            np.testing.assert_allclose(found[number], function(own.astype(float), axis=0))


def test_moments_leave_absent_values_out() -> None:
    series = np.array([[1, np.nan], [3, np.nan], [np.nan, 2], [5, 2]], dtype=np.float32)
    found = transfer.series_moments(series, np.array([0, 2, 4]))
    np.testing.assert_allclose(found, [[2, np.nan, 1, np.nan], [5, 2, 0, 0]])


# AUC


def test_auc_is_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(0)
    for n in (4, 30, 200):
        score = rng.integers(0, n // 2, n) / n
        high = rng.permutation(np.arange(n) < n // 3 + 1)
        assert auc(score, high) == pytest.approx(roc_auc_score(high, score), abs=1e-12)


def test_the_spread_of_chance_is_mann_whitneys() -> None:
    """sd of U / (p n); and that of 2,000 random scores, whose standard error is 1.6 %."""
    rng = np.random.default_rng(0)
    p, n = 12, 20
    aucs = [auc(rng.standard_normal(p + n), np.arange(p + n) < p) for _ in range(2000)]
    assert chance_sd(p, n) == pytest.approx(np.std(aucs), rel=0.06)
    u = mannwhitneyu(np.arange(p) + 0.5, np.arange(n), method="asymptotic", use_continuity=False)
    z = (u.statistic / (p * n) - 0.5) / chance_sd(p, n)
    assert u.pvalue == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)


def test_table_5_says_the_spread_of_chance_at_its_numbers_of_users() -> None:
    """Halves of 200 users, of 174 with a lab visit, of 26 by --quick."""
    text = yaml.safe_load((CONF / "table" / "step2heart.table5.yaml").read_text())["note"]
    spread = {users: 100 * chance_sd(users // 2, users // 2) for users in (200, 174, 26)}
    assert f"{spread[200]:.1f} points at 200 test users, {spread[174]:.1f} at the 174" in text
    assert f"{spread[26]:.0f} or more at the 26" in text


# The probe


def test_reduction_is_scikit_learns_at_every_level() -> None:
    rows = planted()[0]
    reduction = Reduction(rows)
    for level, k in zip(LEVELS, reduction.components, strict=True):
        oracle = make_pipeline(StandardScaler(), PCA(n_components=level)).fit(rows)
        assert k == oracle[-1].n_components_
        np.testing.assert_allclose(reduction(rows)[:, :k], oracle.transform(rows), atol=1e-10)


def test_a_probe_is_what_cross_validation_of_a_pipeline_gives(small_grid: None) -> None:
    """Scaling and PCA of every fold are of its own users; the best setting is fitted on all."""
    x, one = planted()
    high = one.high(one.train)
    found = probe(x, one, seed=3)
    splits = list(folds(one, 3))
    for level in found.levels:
        aucs = {}
        for C, penalty in transfer.GRID:
            steps = (StandardScaler(), PCA(level.level), transfer._logistic(C, penalty))
            model = make_pipeline(*steps)
            aucs[C, penalty] = cross_val_score(
                model, x[one.train], high, cv=splits, scoring="roc_auc"
            ).mean()
        best = max(aucs, key=lambda setting: aucs[setting])
        assert (level.C, level.penalty) == best
        assert level.cv_auc == pytest.approx(aucs[best], abs=1e-12)
        model = make_pipeline(StandardScaler(), PCA(level.level), transfer._logistic(*best))
        expected = model.fit(x[one.train], high).predict_proba(x[one.test])[:, 1]
        np.testing.assert_allclose(level.score, expected, atol=1e-3)  # liblinear stops early
    assert found.best.cv_auc == max(level.cv_auc for level in found.levels)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_are_what_they_are_called(penalty: str) -> None:
    """L1 leaves coefficients at 0, L2 none; at the optimum of sum of losses x C + penalty."""
    x, one = planted(width=12)
    rows, high = Reduction(x)(x)[one.train], one.high(one.train)
    model = transfer._logistic(0.05, penalty).fit(rows, high)
    assert isinstance(model, LogisticRegression)
    assert ((model.coef_ == 0).any()) == (penalty == "l1")
    sign = np.where(high, 1.0, -1.0)

    def cost(coef: np.ndarray) -> float:
        margin = sign * (rows @ coef + model.intercept_)
        size = np.abs(coef).sum() if penalty == "l1" else 0.5 * (coef**2).sum()
        return float(0.05 * np.log1p(np.exp(-margin)).sum() + size)

    least = cost(model.coef_[0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert cost(model.coef_[0] + 0.01 * rng.standard_normal(12)) > least


def test_a_planted_outcome_is_found_and_a_random_one_is_not(small_grid: None) -> None:
    x, one = planted()
    best = probe(x, one).best
    assert auc(best.score, one.high(one.test)) > 0.85
    assert best.cv_auc > 0.8
    shuffled = outcome("a", np.random.default_rng(1).permutation(one.value), PARTS)
    lost = probe(x, shuffled).best
    far = abs(auc(lost.score, shuffled.high(shuffled.test)) - 0.5)
    assert far < 3 * chance_sd(10, 10)


def test_test_users_play_no_part_in_the_probe(small_grid: None) -> None:
    """Their outcomes move nothing; their embeddings move only their own score."""
    x, one = planted()
    before = probe(x, one)
    value = one.value.copy()
    value[one.test] = value[one.test[::-1]]
    moved = x.copy()
    moved[one.test[1:]] = 1e6
    for values, changed in ((x, replace(one, value=value)), (moved, one)):
        after = probe(values, changed)
        for a, b in zip(before.levels, after.levels, strict=True):
            assert replace(a, score=0) == replace(b, score=0)
            assert a.score[0] == b.score[0]


def test_validation_users_train_and_users_of_no_part_do_not(small_grid: None) -> None:
    x, one = planted()
    assert set(one.train) == set(np.flatnonzero(PARTS != TEST))
    before, moved = probe(x, one).best, x.copy()
    moved[PARTS == VAL] = -x[PARTS == VAL]
    assert not np.array_equal(probe(moved, one).best.score, before.score)


def test_folds_hold_users_apart_and_both_classes() -> None:
    _, one = planted()
    high, held = one.high(one.train), []
    for fit, out in folds(one, 0):
        assert not set(fit) & set(out)
        assert len(fit) + len(out) == len(one.train)
        assert 0 < high[out].sum() < len(out)
        held.extend(out)
    assert sorted(held) == list(range(len(one.train)))


def test_unknown_values_are_filled_from_training_users(small_grid: None) -> None:
    x, one = planted()
    filled = x.copy()
    gaps = np.array([one.train[2], one.test[4]])
    filled[gaps, 5] = np.delete(x[one.train, 5], 2).mean()
    x[gaps, 5] = np.nan
    reduced = Reduction(x[one.train])
    np.testing.assert_allclose(
        reduced(x[one.test]), Reduction(filled[one.train])(filled[one.test]), atol=1e-9
    )


@pytest.mark.filterwarnings("error")
def test_a_representation_without_variance_knows_nothing(small_grid: None) -> None:
    _, one = planted()
    for values in (np.ones((U, 2)), np.full((U, 1), np.nan)):
        found = probe(values, one)
        assert [level.components for level in found.levels] == [1] * 4
        assert auc(found.best.score, one.high(one.test)) == 0.5


def test_models_without_a_coefficient_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strong L1 gives a constant, whose AUC of 0.5 beats what is worse by luck."""
    monkeypatch.setattr(transfer, "GRID", ((1e-6, "l1"), (1.0, "l2")))
    rng = np.random.default_rng(0)
    _, one = planted()
    for _ in range(3):
        found = probe(rng.standard_normal((U, 3)), one)
        assert {level.penalty for level in found.levels} == {"l2"}


def test_noise_depends_on_its_arguments_alone(small_grid: None) -> None:
    _, one = planted()
    first = transfer.noise_aucs(one, 4, 2)
    np.testing.assert_array_equal(first[:1], transfer.noise_aucs(one, 4, 1))
    assert first[0] != first[1]


@pytest.mark.slow
def test_noise_scatters_as_theory_says(small_grid: None) -> None:
    """A probe of noise is a score that knows nothing of the test users: mean 50 %, sd of chance.
    150 draws: the mean is within 3.5 standard errors, the sd within 20 % (3.5 of its own)."""
    _, one = planted()
    aucs = transfer.noise_aucs(one, 5, 150)
    p = int(one.high(one.test).sum())
    sd = chance_sd(p, len(one.test) - p)
    assert np.mean(aucs) == pytest.approx(0.5, abs=3.5 * sd / np.sqrt(150))
    assert np.std(aucs, ddof=1) == pytest.approx(sd, rel=0.2)
