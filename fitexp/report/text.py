"""Tables as plain text for a terminal of 100 columns."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

WIDTH = 100


def rendered(table: Table) -> str:
    """The table without colours and trailing blanks, at most WIDTH columns wide."""
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
