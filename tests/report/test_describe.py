from __future__ import annotations

import pytest

from fitexp.data.workouts.protocol import arrays_of
from fitexp.report.describe import counts, describe
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
