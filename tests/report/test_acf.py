"""The picture of the nominal autocorrelation shows its numbers and the window."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from fitexp.data.exercises.autocorrelation import nominal_acf
from fitexp.report.acf import acf_page


def test_bars_are_the_acf_and_the_title_names_the_peak() -> None:
    rows = [np.array([0, 1, 2, 0, 1, 2, 0, 1, 1])]
    found = nominal_acf(rows, lags=4)
    (axis,) = acf_page(found, title="some study", simulated=True).axes
    bars = [bar for bar in axis.patches if isinstance(bar, Rectangle)]
    assert [bar.get_height() for bar in bars] == pytest.approx(100 * found.acf)
    assert bars[2].get_facecolor() != bars[0].get_facecolor() == bars[1].get_facecolor()
    assert axis.get_title(loc="left") == "SIMULATED  some study: peak at lag 3"


def test_no_window_where_nothing_repeats() -> None:
    (axis,) = acf_page(nominal_acf([np.arange(3)], lags=5), title="a", simulated=False).axes
    assert axis.get_title(loc="left") == "a: no lag above chance"
