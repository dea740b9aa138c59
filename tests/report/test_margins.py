"""The picture of margins: what is drawn is what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitexp.active.marginal import sample
from fitexp.report import plots
from fitexp.report.margins import margins_figure

PAPER = (1.59, 0.42, 0.31)


@pytest.mark.parametrize("simulated", [True, False])
def test_thresholds_stand_where_they_are_with_the_share_they_ask(
    simulated: bool, tmp_path: Path
) -> None:
    margins = np.concatenate([sample(PAPER, 900, np.random.default_rng(0)), np.zeros(100)])
    asked = 100 * np.mean(margins < 0.18)
    figure = margins_figure(
        margins, PAPER, {"as printed": 0.18, "high": 0.9}, title="m", simulated=simulated
    )
    (axis,) = figure.axes
    vertical = [line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1]
    assert vertical == [0.18, 0.9]
    assert axis.texts[0].get_text() == f"as printed: z < 0.18 asks {asked:.1f} %"
    assert axis.get_title(loc="left").startswith("SIMULATED" if simulated else "m:")
    plots.save(figure, tmp_path / "margins.png")
    assert (tmp_path / "margins.png").read_bytes()[:4] == b"\x89PNG"
