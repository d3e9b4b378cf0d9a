"""The picture of `shoal-bench traffic`: bytes by update and rival."""

from pathlib import Path

from bench.lan.report import machine_line
from bench.plots import Bar, draw_bars, hide_rest, picture
from bench.traffic.figures import Traffic, summarise
from bench.traffic.updates import UPDATES, Sizes, Update

COLUMNS = 2


def draw(found: Traffic, file: Path) -> None:
    """A field for each update of which something is expected."""
    summaries = summarise(found.measures)
    measured = {each.update for each in summaries}
    updates = [update for update in UPDATES if update.name in measured and update.limit is not None]
    rows = -(-len(updates) // COLUMNS)
    sizes = Sizes(**{name: found.settings[name] for name in Sizes.__dataclass_fields__})
    title = "Bytes on the wire for one update, at whichever device carries more"
    with picture(file, title, machine_line(found.facts), rows, COLUMNS, (11, 0.7 + 1.9 * rows)) as made:
        for field, update in zip(made.fields, updates, strict=False):
            bars = [
                Bar(each.rival, each.most, each.least_run, each.most_run)
                for each in summaries
                if each.update == update.name
            ]
            draw_bars(field, update.what(sizes), bars, kilobytes, _goal(update, sizes))
        hide_rest(made.fields, len(updates))


def _goal(update: Update, sizes: Sizes) -> float:
    assert update.limit is not None
    return update.limit * update.payload(sizes) if update.per_byte else update.limit


def kilobytes(count: float) -> str:
    """KB of 1,000."""
    return f"{count / 1000:,.1f} KB"
