"""Tables for a person, the same in every report."""

from collections.abc import Sequence

from rich import box
from rich.table import Table


def empty_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """One with columns that are flush left, then such as are flush right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
