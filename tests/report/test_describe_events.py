"""What is told of prepared events, against counts by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fitexp.data.exercises.layout import TIES, TIMED
from fitexp.data.exercises.protocol import arrays_of
from fitexp.data.exercises.simulate import simulated_study
from fitexp.data.exercises.table import EventTable
from fitexp.report.describe_events import describe, describe_page
from tests.data.exercises.made import made_table, protocol

HISTORIES = {"ann": "abab", "bob": "aacaa", "cyd": "cc"}


def table(*times: float) -> EventTable:
    """Of 11 events at these times (days), else one a day."""
    made = made_table(HISTORIES)
    return replace(made, events=made.events.assign(time=list(times))) if times else made


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_parts_by_hand() -> None:
    found = rows(describe(arrays_of(protocol(min_past=0, split="last_part"), table())))
    assert found["all"] == ["-", "3", "11", "3", "3.7", "2", "5"]
    parts = [found[name] for name in ("train", "val", "test") if name in found]
    assert all(row[0] == "1" for row in parts)
    assert sum(int(row[2]) for row in parts) == 11


def test_a_fold_s_parts_are_means_over_the_folds_but_everyone() -> None:
    """Each of three users left out: 7, 6, 9 events to train on, of a, b and c all but once."""
    found = rows(describe(arrays_of(protocol(min_past=0), table())))
    assert found["train"] == ["3", "2", "7.3", "2.7", "3.7", "2", "5"]
    assert found["test"] == ["3", "1", "3.7", "1.7", "3.7", "2", "5"]


def test_ties_and_the_autocorrelation_by_hand() -> None:
    """Lag 1 repeats in aa, aa and cc, 3 of 8 pairs; lag 2 in aba, bab and aca, 3 of 5."""
    times = (0, 0, 1, 1, 0, 1, 1, 1, 2, 5, 6)  # ties: 2 of ann's 3, 2 of bob's 4
    text = describe(arrays_of(protocol(min_past=0), table(*times)))
    assert "50.0 % of the events that follow another" in text
    found = rows(text)
    assert found["1"][:3] == ["8", "37.5", "%"]
    assert found["2"][:3] == ["5", "60.0", "%"]
    assert found["3"][:3] == ["3", "66.7", "%"]
    assert found["4"][:3] == ["1", "100.0", "%"]
    chance = 100 * (6 / 11 * 6 / 11 + 2 / 11 * 2 / 11 + 3 / 11 * 3 / 11)
    assert found["1"][-2] == f"{chance:.1f}"
    assert "4 events: the lag at which most events repeat an item (data.window=4)" in " ".join(
        text.split()
    )


def test_unknown_times_are_no_ties() -> None:
    nan = float("nan")
    prepared = arrays_of(protocol(min_past=0), table(*[nan] * 11))
    assert (prepared.report["counts"][TIMED], prepared.report["counts"][TIES]) == (0, 0)
    assert "unknown: the data have no times" in describe(prepared)
    mixed = arrays_of(protocol(min_past=0), table(0, nan, nan, 3, 0, 0, 1, 2, nan, 0, nan))
    assert (mixed.report["counts"][TIMED], mixed.report["counts"][TIES]) == (3, 1)


def test_nothing_that_comes_again_gives_no_window() -> None:
    made = made_table({"ann": "abc", "bob": "cab"})
    text = describe(arrays_of(protocol(min_past=0), made))
    assert "none: no lag is above chance" in text


def test_rejections_and_simulated_data_are_said() -> None:
    made = replace(table(), rejected={"events without an item": 1234}, simulated=True)
    text = describe(arrays_of(protocol(min_past=0), made))
    assert text.startswith("SIMULATED   made: events kept")
    assert "1,234  events without an item" in text


def test_the_simulated_study_reads_back_three_events() -> None:
    text = describe(arrays_of(protocol(), simulated_study(path=None, users=24, seed=0)))
    assert "3 events: the lag" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("simulated", [False, True])
def test_the_page_adds_up(simulated: bool) -> None:
    prepared = arrays_of(protocol(min_past=0), replace(table(), simulated=simulated))
    page = describe_page(prepared)
    assert page.get_suptitle().startswith("SIMULATED") == simulated
    acf, items, users = page.axes
    assert [bar.get_height() for bar in acf.patches] == pytest.approx([37.5, 60, 200 / 3, 100])
    shares = [bar.get_height() for bar in items.patches]
    assert shares == pytest.approx(100 * np.array([6, 3, 2]) / 11)
    assert sum(bar.get_height() for bar in users.patches) == 3
