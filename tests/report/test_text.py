"""Tables of text say what they were given."""

from __future__ import annotations

import pytest
from rich.table import Table

from fitexp.report.text import WIDTH, labelled, rendered

NAMES = ["run [long]", "[/run]", "[bold]", ":running_shoe:", "[nan, nan]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_neither_markup_nor_emoji(name: str) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column(name)
    table.add_row(name)
    assert rendered(table).splitlines() == [name, name]
    assert labelled({name: name}) == f"{name}  {name}"


def test_long_words_are_wrapped_beside_their_label() -> None:
    first, *rest = labelled({"inputs": "speed " * 40, "unit": "bpm"}).splitlines()
    assert first.startswith("inputs  speed")
    assert all(line.startswith(" " * len("inputs  ") + "speed") for line in rest[:-1])
    assert rest[-1] == "unit    bpm"
    assert max(map(len, [first, *rest])) <= WIDTH
