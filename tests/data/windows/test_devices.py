"""Files of devices: a made GENEActiv file, and what is said where one cannot be read.

No test reads a file of an Axivity device: none can be made here that stands for a real one.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from fitexp.data.windows.devices import device_chunks
from fitexp.data.windows.signals import Array
from fitexp.errors import InputError
from tests.data.windows.made_device import GAIN, OFFSET, PAGE, RATE_HZ, counts, write_bin
from tests.data.windows.made_raw import START_S, read

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
    with pytest.raises(InputError, match=r"u\.cwa: .*pip install fitexp\[accel\]"):
        list(device_chunks(tmp_path / "u.cwa"))
