"""Files of devices, made by hand, and what is said where one cannot be read."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from fitexp.data.windows.calibration import StillWindows, calibrate
from fitexp.data.windows.devices import device_chunks
from fitexp.data.windows.signals import MG, STEP_S, Array, EpochStream
from fitexp.errors import InputError
from tests.data.windows.made_device import (
    CWA_RATE_HZ,
    GAIN,
    OFFSET,
    PAGE,
    RATE_HZ,
    SECTOR,
    UNIT_G,
    counts,
    write_bin,
    write_cwa,
)
from tests.data.windows.made_raw import START_S, read
from tests.data.windows.test_calibration import RATE_HZ as CALIBRATION_HZ
from tests.data.windows.test_calibration import day, directions

START = datetime(2024, 3, 1, 8)  # START_S


def worn(pages: int) -> Array:
    """(3, n) in g: gravity on z, and some shaking."""
    shake = np.random.default_rng(0).normal(0.0, 0.1, (3, pages * PAGE))
    return shake + np.array([[0.0], [0.0], [1.0]])


@pytest.mark.slow  # importing scikit-digital-health takes 2 s
def test_a_geneactiv_file_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("skdh", reason="the extra accel is not installed")
    a = worn(60)
    write_bin(tmp_path / "u.bin", a, START)
    chunks = list(device_chunks(tmp_path / "u.bin"))
    assert len(chunks) == 2
    time_s, found = (np.concatenate(parts, axis=-1) for parts in zip(*chunks, strict=True))
    np.testing.assert_allclose(time_s, START_S + np.arange(a.shape[1]) / RATE_HZ, atol=1e-3)
    np.testing.assert_allclose(found, (100 * counts(a) - OFFSET) / GAIN, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["u.cwa", "CWA-DATA.CWA"])  # as the device itself names it
def test_an_axivity_file_comes_back(tmp_path: Path, name: str) -> None:
    pytest.importorskip("skdh", reason="the extra accel is not installed")
    a = worn(80)
    write_cwa(tmp_path / name, a, START)
    chunks = list(device_chunks(tmp_path / name))
    time_s, found = (np.concatenate(parts, axis=-1) for parts in zip(*chunks, strict=True))
    np.testing.assert_allclose(time_s, START_S + np.arange(a.shape[1]) / CWA_RATE_HZ, atol=2e-4)
    np.testing.assert_array_equal(found, np.round(a * UNIT_G) / UNIT_G)


@pytest.mark.slow
def test_damaged_sectors_of_an_axivity_file_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("skdh", reason="the extra accel is not installed")
    (tmp_path / "acceleration").mkdir()
    a = worn(80)
    write_cwa(tmp_path / "acceleration" / "u.cwa", a, START, spoiled=(3, 200))
    epochs = read(tmp_path)
    (recording,) = epochs.recordings()
    reason = "samples of 0, 0, 0: a device asleep, or damaged"
    assert epochs.rejected[reason] == 2 * SECTOR
    np.testing.assert_allclose(recording.series[:, 4], 1000.0, atol=10.0)


@pytest.mark.slow
def test_calibration_and_enmo_are_those_of_scikit_digital_health() -> None:
    """Their writing of van Hees et al. 2014 takes 12 h or more, and gives (a + offset) scale."""
    preprocessing = pytest.importorskip("skdh.preprocessing", reason="no extra accel")
    metrics = pytest.importorskip("skdh.activity.metrics", reason="no extra accel")
    time_s, a = day(directions(1500))
    still = StillWindows()
    still.push(time_s, a)
    ours = calibrate(still.means(CALIBRATION_HZ))
    theirs = preprocessing.CalibrateAccelerometer(min_hours=1).predict(
        time=time_s, accel=np.ascontiguousarray(a.T), fs=CALIBRATION_HZ
    )
    np.testing.assert_allclose(ours.gain, theirs["scale"], atol=5e-4)
    np.testing.assert_allclose(ours.offset_g, theirs["offset"] * theirs["scale"], atol=5e-4)
    stream = EpochStream(rate_hz=CALIBRATION_HZ, gap_s=1.0, min_share=0.5)
    epochs = np.concatenate([stream.push(time_s, ours(a)), stream.finish()])
    enmo = metrics.metric_enmo(ours(a).T, wlen=int(CALIBRATION_HZ * STEP_S))
    np.testing.assert_allclose(epochs[:, 6], MG * enmo, atol=1e-9)


@pytest.mark.slow
def test_a_study_of_device_files(tmp_path: Path) -> None:
    pytest.importorskip("skdh", reason="the extra accel is not installed")
    (tmp_path / "acceleration").mkdir()
    write_bin(tmp_path / "acceleration" / "u.bin", worn(10), START)
    (recording,) = read(tmp_path).recordings()
    assert recording.start_s == START_S
    assert recording.series.shape == (4, 10)
    np.testing.assert_allclose(recording.series[:, 4], 1000.0, atol=20.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["u.bin", "u.cwa"])
@pytest.mark.parametrize("content", [b"", b"hello\n" * 2000])
def test_another_file_under_such_a_name_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    pytest.importorskip("skdh", reason="the extra accel is not installed")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"u\.(bin|cwa): "):
        list(device_chunks(tmp_path / name))


def test_without_the_extra_its_name_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skdh", None)
    monkeypatch.setitem(sys.modules, "skdh.io", None)
    with pytest.raises(InputError, match=r"u\.cwa: .*pip install 'fitexp\[accel\]'"):
        list(device_chunks(tmp_path / "u.cwa"))
