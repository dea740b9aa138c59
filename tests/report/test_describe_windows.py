"""What is told of prepared windows, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from fitexp.data.spec import KINDS
from fitexp.data.windows.epochs import Recording
from fitexp.report.describe_windows import describe, describe_page
from fitexp.report.table import DESCRIPTIONS
from fitexp.report.text import WIDTH
from tests.data.windows.made import T, made_epochs, prepared, recording


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_amounts_of_parts_by_hand(tmp_path: Path) -> None:
    """12 users with 50, 51, ... 61 epochs of 15 s, T = 8: 5 to 6 windows, ... each."""
    made = prepared(tmp_path, fractions=[0.5, 0.25, 0.25])
    text = describe(made)
    assert max(map(len, text.splitlines())) <= WIDTH
    found = rows(text)
    epochs = sum(50 + u for u in range(12))
    windows = sum(len(range(0, 50 + u - T, T)) for u in range(12))
    assert found["all"][0] == "12"
    assert found["all"][1] == f"{epochs * 15 / 3600:.0f}"
    assert found["all"][3] == f"{50 * 15 / 3600:.1f}"
    assert found["all"][4] == str(windows)
    assert found["all"][5:7] == ["0.0", "%"]
    target = made.arrays["target"]
    assert float(found["all"][7]) == pytest.approx(target.mean(), abs=0.06)
    for i in (0, 4):
        assert sum(int(found[part][i]) for part in ("train", "val", "test")) == int(found["all"][i])


def test_windows_that_networks_alone_are_trained_on_are_not_described(tmp_path: Path) -> None:
    plain = describe(prepared(tmp_path))
    gone = [recording(user, 50 + user) for user in range(12)]
    made = prepared(tmp_path, made_epochs(recordings=gone), train_stride=1, answers="every")
    assert len(made.arrays["target"]) > len(made.arrays["train"]) + len(made.arrays["dense"])
    assert rows(describe(made))["train"] == rows(plain)["train"]
    assert rows(describe(made))["all"] == rows(plain)["all"]


def gappy() -> list[Recording]:
    found = []
    for user in range(6):
        made = recording(user, 100)
        series, beats = made.series.copy(), made.heart_rate.copy()
        series[:5, 0] = np.nan
        beats[:20] = np.nan
        found.append(Recording(user=made.user, start_s=0.0, series=series, heart_rate=beats))
    return found


def test_missing_shares_and_figures_of_each_series(tmp_path: Path) -> None:
    made = prepared(tmp_path, made_epochs(recordings=gappy()), max_absent=0.9)
    found = rows(describe(made))
    series = np.asarray(made.arrays["series"], np.float64)
    for i, (name, missing) in enumerate((("counts", "5.0"), ("steps", "0.0"))):
        assert found[name][:2] == [missing, "%"]
        values = series[:, i][np.isfinite(series[:, i])]
        expected = [values.mean(), values.std(), values.min(), values.max()]
        np.testing.assert_allclose([float(v) for v in found[name][2:]], expected, rtol=2e-3)
    assert found["all"][5:7] == ["20.0", "%"]


def test_distribution_of_heart_rate(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    line = describe(made).split("quantiles\n")[1].splitlines()[1]
    beats = np.asarray(made.arrays["heart_rate"], np.float64)
    expected = [beats.mean(), beats.std(), beats.min()]
    expected += [*np.percentile(beats, (1, 5, 25, 50, 75, 95, 99)), beats.max()]
    np.testing.assert_allclose([float(v) for v in line.split()], expected, atol=0.051)


def test_rejected_windows_by_reason(tmp_path: Path) -> None:
    text = describe(prepared(tmp_path, made_epochs(recordings=gappy())))
    assert "windows with more than 5 % of their epochs absent" in text
    assert "windows with no heart rate behind them" in text


@pytest.mark.parametrize("start_s", [0.0, float("nan")])
def test_the_page_is_drawn(tmp_path: Path, start_s: float) -> None:
    import dataclasses

    given = [dataclasses.replace(one, start_s=start_s) for one in gappy()]
    figure = describe_page(prepared(tmp_path, made_epochs(recordings=given), max_absent=0.9))
    plt.close(figure)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert any(title.startswith("correlation of counts with heart rate") for title in titles)


def test_the_page_of_movement_that_never_varies(tmp_path: Path) -> None:
    """There is no correlation, and no error."""
    given = [
        Recording(
            user=one.user,
            start_s=0.0,
            series=np.ones_like(one.series),
            heart_rate=one.heart_rate,
        )
        for one in gappy()
    ]
    figure = describe_page(prepared(tmp_path, made_epochs(recordings=given)))
    plt.close(figure)
    assert any(": unknown" in axis.get_title(loc="left") for axis in figure.axes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_data_is_described(kind: str) -> None:
    import importlib

    for name in DESCRIPTIONS[kind]:
        module, function = name.split(":")
        assert callable(getattr(importlib.import_module(module), function))
