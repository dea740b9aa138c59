from __future__ import annotations

from dataclasses import replace

import pytest

from fitexp.data.workouts.protocol import arrays_of
from fitexp.report.describe import counts, describe
from fitexp.report.plots import describe_page
from tests.data.workouts.made import protocol, table


@pytest.mark.parametrize("target", ["heart_rate", "derived_speed"])
def test_describe_counts_by_hand(target: str) -> None:
    made = table(athletes=3, workouts=6)
    prepared = arrays_of(protocol(target=target, min_workouts=2), made)
    text = describe(prepared)
    assert max(map(len, text.splitlines())) <= 100
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["all"][:2] == ["3", str(len(prepared.arrays["part"]))]
    steps = len(prepared.arrays["y"])
    amount = steps / 360 if target == "heart_rate" else steps * 0.05
    assert float(rows["all"][2]) == pytest.approx(amount, abs=0.06)
    observed = prepared.arrays["observed"]
    assert float(rows["all"][5]) == pytest.approx(prepared.arrays["y"][observed].mean(), abs=0.06)
    assert "18  workouts read" in counts(prepared)


def test_rejections_are_listed_by_reason() -> None:
    text = describe(arrays_of(protocol(min_piece_steps=64), table()))
    assert "workouts without a piece of 64 steps" in text


@pytest.mark.parametrize("simulated", [False, True])
def test_the_page_adds_up(simulated: bool) -> None:
    prepared = arrays_of(protocol(), replace(table(athletes=3), simulated=simulated))
    page = describe_page(prepared)
    assert page.get_suptitle().startswith("SIMULATED") == simulated
    hours, workouts, missing, by_part, by_sport, lengths = page.axes
    arrays = prepared.arrays
    total = sum(bar.get_width() for bar in hours.patches)
    assert total == pytest.approx(len(arrays["y"]) / 360)
    assert sum(bar.get_width() for bar in workouts.patches) == len(arrays["part"])
    assert sum(bar.get_height() for bar in lengths.patches) == len(arrays["part"])
    for panel, lines in ((by_part, 3), (by_sport, 2)):
        assert len(panel.patches) == lines
        assert all(line.get_data().values.sum() == pytest.approx(100) for line in panel.patches)
    assert all(0 <= bar.get_width() <= 100 for bar in missing.patches)
