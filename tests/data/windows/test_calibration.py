"""Auto-calibration: a made device's gain and offset come back."""

from __future__ import annotations

import numpy as np
import pytest

from fitexp.data.windows.calibration import StillWindows, calibrate, error_mg
from fitexp.data.windows.signals import Array

GAIN = np.array([1.05, 0.96, 1.02])
OFFSET_G = np.array([0.04, -0.05, 0.03])
RATE_HZ = 25.0


def directions(number: int, seed: int = 0) -> Array:
    points = np.random.default_rng(seed).normal(size=(number, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def recorded(truth: Array) -> Array:
    """What the made device says: gain x recorded + offset is the truth."""
    return (truth - OFFSET_G) / GAIN


def day(poses: Array, noise_g: float = 0.003, seed: int = 1) -> tuple[Array, Array]:
    """20 s in each pose, then 10 s of shaking; times (n,), recorded acceleration (3, n)."""
    rng = np.random.default_rng(seed)
    n = int(30 * RATE_HZ)
    a = np.repeat(poses, n, axis=0) + rng.normal(0.0, noise_g, (n * len(poses), 3))
    shaken = np.arange(len(a)) % n >= 20 * RATE_HZ
    a[shaken] += rng.normal(0.0, 0.3, (shaken.sum(), 3))
    return np.arange(len(a)) / RATE_HZ, recorded(a).T


def windows(time_s: Array, a: Array, size: int) -> Array:
    still = StillWindows()
    for begin in range(0, len(time_s), size):
        still.push(time_s[begin : begin + size], a[:, begin : begin + size])
    return still.means(RATE_HZ)


def test_gain_and_offset_come_back() -> None:
    time_s, a = day(directions(150))
    means = windows(time_s, a, 4096)
    assert len(means) == 300  # and none of the shaken 150
    found = calibrate(means)
    assert not found.reason
    np.testing.assert_allclose(found.gain, GAIN, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.offset_g, OFFSET_G, rtol=0, atol=1e-3)
    assert found.windows == 300
    assert found.before_mg == pytest.approx(error_mg(means))
    assert found.before_mg > 20.0
    assert found.after_mg < 1.0
    np.testing.assert_allclose(np.linalg.norm(found(means.T), axis=0), 1.0, atol=5e-3)


def test_without_noise_the_fit_is_exact_and_a_true_device_stays_as_it_is() -> None:
    found = calibrate(recorded(directions(40)))
    np.testing.assert_allclose(found.gain, GAIN, atol=1e-7)
    np.testing.assert_allclose(found.offset_g, OFFSET_G, atol=1e-7)
    true = calibrate(directions(40) * (1.0 + 1e-6))
    np.testing.assert_allclose(true.gain, 1.0, atol=1e-5)


def test_a_few_windows_that_were_not_gravity_weigh_little() -> None:
    """Weights are 1 / distance: 4 % of outliers of 0.2 g move gain and offset by a few mg."""
    means = recorded(directions(200) * np.where(np.arange(200) % 25 == 0, 1.2, 1.0)[:, None])
    found = calibrate(means)
    np.testing.assert_allclose(found.gain, GAIN, atol=5e-3)
    np.testing.assert_allclose(found.offset_g, OFFSET_G, atol=5e-3)


@pytest.mark.parametrize("size", [7, 250, 1000])
def test_chunks_do_not_matter(size: int) -> None:
    time_s, a = day(directions(6))
    np.testing.assert_allclose(windows(time_s, a, size), windows(time_s, a, 10**6), atol=1e-13)


def test_still_windows_need_half_of_their_samples() -> None:
    time_s, a = day(directions(4))
    few = (time_s % 10.0 < 4.0) | (time_s < 10.0)  # 4 s of 10, but for the first window
    assert len(windows(time_s, a, 10**6)) == 8
    assert len(windows(time_s[few], a[:, few], 10**6)) == 1


@pytest.mark.parametrize(
    ("poses", "reason"),
    [
        (directions(9), "fewer than 10 still windows"),
        (np.abs(directions(50)), "not beyond"),  # never upside down
        (directions(50) * [1.0, 1.0, 0.2], "not beyond"),
    ],
)
def test_too_little_leaves_the_device_uncalibrated_and_says_why(poses: Array, reason: str) -> None:
    found = calibrate(poses)
    assert reason in found.reason
    a = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(found(a), a)
    assert found.after_mg == found.before_mg


def test_no_still_window_at_all() -> None:
    found = calibrate(StillWindows().means(RATE_HZ))
    assert found.reason
    assert np.isnan(found.before_mg)
