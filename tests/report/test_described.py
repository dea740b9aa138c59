"""What a network says of itself, from `described.json` to the closing table and the picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitexp.errors import InputError
from fitexp.report import plots
from fitexp.report.table import _shown, described
from fitexp.run import DESCRIBED, Run, write_json
from tests.models.networks import spec_of


def test_numbers_are_sorted_and_rounded_and_words_kept(tmp_path: Path) -> None:
    write_json(tmp_path / DESCRIBED, {"tau (s)": [1234.56, 0.01234, float("nan")], "note": "b, a"})
    found = described(Run(tmp_path))
    assert found == {"tau (s)": [1234.56, 0.01234], "note": "b, a"}  # what is no number is left out
    assert [_shown(values) for values in found.values()] == ["0.0123, 1235", "b, a"]


def test_most_networks_say_nothing(tmp_path: Path) -> None:
    assert described(Run(tmp_path)) == {}


@pytest.mark.parametrize("text", ["junk", "[1]", '{"tau (s)": 3}'])
def test_a_damaged_file_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / DESCRIBED).write_text(text)
    with pytest.raises(InputError, match=f"{DESCRIBED} is damaged"):
        described(Run(tmp_path))


def test_the_axis_holds_every_time_constant() -> None:
    constants = {"a (s)": [0.2, 30.0], "b (s)": [50_000.0]}
    (axis,) = plots.time_constants(constants, spec_of("grade"), "x").axes
    low, high = axis.get_xlim()
    assert axis.get_xscale() == "log"
    assert low <= 0.2
    assert high >= 50_000.0
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
