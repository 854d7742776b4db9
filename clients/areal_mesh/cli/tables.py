"""Tables on standard output."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_FILE_WIDTH = 160


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a plain table of words."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_wide(table)


def print_wide(table: Table) -> None:
    """Prints a table. A file has no width, so nothing is broken at eighty columns there."""
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)
