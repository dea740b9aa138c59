"""Epochs of raw acceleration: against scipy on the whole and a loop over epochs, in any chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, sosfilt_zi

from fitexp.data.windows.signals import SERIES, STEP_S, Array, EpochStream

RATE_HZ = 20.0


def made(seconds: float, seed: int = 0, start_s: float = 1_700_000_002.0) -> tuple[Array, Array]:
    """Times and acceleration (3, n) in g of an arm that turns and shakes."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    turn, shake = 0.05 * t, 0.3 * np.abs(np.sin(0.2 * t)) * np.sin(12.0 * t)
    a = np.stack([np.cos(turn), np.sin(turn) * 0.8, np.sin(turn) * 0.6])
    return start_s + t, a * (1.0 + shake) + rng.normal(0.0, 0.01, a.shape)


def stream(gap_s: float = 1.0, min_share: float = 0.5) -> EpochStream:
    return EpochStream(rate_hz=RATE_HZ, gap_s=gap_s, min_share=min_share)


def whole(time_s: Array, a: Array, sizes: list[int] | None = None, **options: float) -> Array:
    """All epochs, pushed in chunks of these sizes, the last of which repeats."""
    epochs, parts, begin, turn = stream(**options), [], 0, 0
    sizes = sizes or [len(time_s)]
    while begin < len(time_s):
        end = begin + sizes[min(turn, len(sizes) - 1)]
        parts.append(epochs.push(time_s[begin:end], a[:, begin:end]))
        begin, turn = end, turn + 1
    return np.concatenate([*parts, epochs.finish()])


def slowly(time_s: Array, a: Array, gap_s: float = 1.0, min_share: float = 0.5) -> Array:
    """A second writing: the filter over each stretch at once, then a loop over epochs."""
    norm = np.array([1000.0 * np.linalg.norm(a[:, i]) for i in range(len(time_s))])
    sections = butter(4, 0.2, "highpass", fs=RATE_HZ, output="sos")
    cuts = [i for i in range(1, len(time_s)) if time_s[i] - time_s[i - 1] > gap_s]
    passed = []
    for begin, end in zip([0, *cuts], [*cuts, len(norm)], strict=True):
        zi = sosfilt_zi(sections) * norm[begin]
        passed.append(sosfilt(sections, norm[begin:end], zi=zi)[0])
    vm_hpf = np.abs(np.concatenate(passed))
    numbers = [int(t // 15) for t in time_s]
    rows = []
    for number in range(numbers[0], numbers[-1] + 1):
        inside = np.array([n == number for n in numbers])
        if inside.sum() < min_share * RATE_HZ * 15:
            rows.append([np.nan] * 10)
            continue
        row = []
        for axis in 1000.0 * a[:, inside]:
            row += [axis.mean(), axis.std()]
        enmo = [max(value - 1000.0, 0.0) for value in norm[inside]]
        row += [np.mean(enmo), vm_hpf[inside].mean(), vm_hpf[inside].min(), vm_hpf[inside].max()]
        rows.append(row)
    return np.array(rows)


def test_epochs_equal_a_slow_second_writing() -> None:
    time_s, a = made(100.0)
    found = whole(time_s, a)
    np.testing.assert_allclose(found, slowly(time_s, a), rtol=0, atol=1e-9)
    assert found.shape == (8, len(SERIES))  # 8 s in the first epoch, 2 s in the last
    assert np.isfinite(found[:-1]).all()
    assert np.isnan(found[-1]).all()


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8),
    gap=st.floats(0.0, 40.0),
    at=st.integers(1, 799),
)
def test_chunks_do_not_matter(sizes: list[int], gap: float, at: int) -> None:
    time_s, a = made(40.0)
    time_s[at:] += gap
    at_once = whole(time_s, a)
    np.testing.assert_allclose(whole(time_s, a, sizes), at_once, rtol=0, atol=1e-10)
    np.testing.assert_allclose(at_once, slowly(time_s, a), rtol=0, atol=1e-9)


def test_a_gap_leaves_absent_epochs_on_a_regular_grid() -> None:
    time_s, a = made(60.0, start_s=0.0)
    time_s[600:] += 45.0  # from 30 s on
    found = whole(time_s, a)
    assert len(found) == 7  # 0..105 s
    assert np.isnan(found).all(axis=1).tolist() == [False] * 2 + [True] * 3 + [False] * 2


def test_an_epoch_needs_its_share_of_samples() -> None:
    time_s, a = made(22.0, start_s=0.0)  # the second epoch has 7 s of 15
    assert np.isnan(whole(time_s, a)).all(axis=1).tolist() == [False, True]
    assert np.isfinite(whole(time_s, a, min_share=0.4)).all()


def test_the_filter_starts_settled_and_anew_behind_a_gap() -> None:
    """At rest VM-HPF is 0 from the first sample on, also behind a gap, whatever was before."""
    time_s = np.arange(1200) / RATE_HZ
    a = np.zeros((3, 1200))
    a[2, :600], a[2, 600:] = 1.0, 1.5
    time_s[600:] += 15.0
    enmo, *vm_hpf = whole(time_s, a)[:, 6:].T
    np.testing.assert_allclose(enmo[[0, 1, 3, 4]], [0.0, 0.0, 500.0, 500.0], atol=1e-9)
    np.testing.assert_allclose(np.array(vm_hpf)[:, [0, 1, 3, 4]], 0.0, atol=1e-6)
    going_on = whole(time_s, a, gap_s=60.0)  # the step is in the signal now
    assert going_on[3, 9] > 300.0


def test_turning_the_device_changes_the_axes_only() -> None:
    time_s, a = made(45.0)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0] @ a
    found, other = whole(time_s, a), whole(time_s, turned)
    np.testing.assert_allclose(other[:, 6:], found[:, 6:], atol=1e-8)
    assert not np.allclose(other[:, :6], found[:, :6])


def test_a_fast_shake_passes_and_a_slow_sway_does_not() -> None:
    """Of a sine of 100 mg the mean of |.| is 200 / pi; far below 0.2 Hz nothing is left."""
    time_s = np.arange(int(300 * RATE_HZ)) / RATE_HZ
    for hz, expected in ((2.13, 200.0 / np.pi), (0.02, 0.0)):
        a = np.stack([0 * time_s, 0 * time_s, 1.0 + 0.1 * np.sin(2 * np.pi * hz * time_s)])
        assert whole(time_s, a)[-5:, 7].mean() == pytest.approx(expected, abs=0.5)


def test_the_grid_is_the_clocks() -> None:
    time_s, a = made(60.0, start_s=1_700_000_002.0)
    epochs = stream()
    epochs.push(time_s, a)
    assert epochs.first is not None
    assert epochs.first * STEP_S == 1_699_999_995.0  # a multiple of 15 at or before the start


def test_the_release_has_axes_in_g_and_the_rest_in_milli_g(real_data: Path) -> None:
    """A real window of the study: still epochs read 1 on the axes; VM-HPF and ENMO are in mg."""
    window = np.load(real_data / "step2heart-sample" / "X_windows_one_user_sample.float32.npy")[0]
    axes, std = window[:, 8:14:2], window[:, 9:14:2]
    still = (std < 0.013).all(axis=1)
    assert still.sum() > 20
    np.testing.assert_allclose(np.linalg.norm(axes[still], axis=1), 1.0, atol=0.01)
    assert window[:, 14].max() > 100.0  # ENMO in mg, not g
