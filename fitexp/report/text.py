"""Tables as plain text for a terminal of 100 columns."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDTH = 100


def rendered(table: Table) -> str:
    """The table without colours and trailing blanks, at most WIDTH columns wide.

    Words stand as they are: [run] is no markup and :run: no emoji.
    """
    console = Console(
        file=io.StringIO(), width=WIDTH, force_terminal=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def labelled(words: Mapping[str, str]) -> str:
    """A label a line, its words beside it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for label, text in words.items():
        table.add_row(label, text)
    return rendered(table)
