"""Tables for a person, the same in every report."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from bench.verdicts import Verdict


def empty_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """One with columns that are flush left, then such as are flush right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def expectations(title: str, verdicts: Iterable[Verdict]) -> Table:
    """What was expected, and what was seen of it; what was missed in red."""
    table = empty_table(title, ("",), ("limit", "measured", ""))
    for verdict in verdicts:
        limit, value = (f"{_figure(figure)} {verdict.unit}" for figure in (verdict.limit, verdict.value))
        table.add_row(verdict.what, limit, value, verdict.word, style="bold red" if verdict.word == "RED" else "")
    return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
