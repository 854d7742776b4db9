"""Tables on standard output."""

import sys

from rich.console import Console
from rich.table import Table

_FILE_WIDTH = 160


def print_wide(table: Table) -> None:
    """Prints a table. A file has no width, so nothing is broken at eighty columns there."""
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)
