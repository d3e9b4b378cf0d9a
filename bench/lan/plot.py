"""The picture of `shoal-bench lan`: time by work and rival."""

from pathlib import Path

from bench.lan.order import to_do
from bench.lan.outcome import Outcome
from bench.lan.report import machine_line, time_text
from bench.plots import Bar, draw_bars, hide_rest, picture

COLUMNS = 2


def draw(outcome: Outcome, file: Path) -> None:
    """A field for each work."""
    summaries = outcome.summaries
    works = list(dict.fromkeys(summary.work for summary in summaries))
    rows = -(-len(works) // COLUMNS)
    what = {work.name: work.what(outcome.plan.sizes) for work, _ in to_do(outcome.plan.works)}
    title = "Saved on one device, until it is on another"
    with picture(file, title, machine_line(outcome.facts), rows, COLUMNS, (10.5, 0.7 + 2.1 * rows)) as made:
        for field, work in zip(made.fields, works, strict=False):
            bars = [Bar(each.rival, each.median, each.least, each.most) for each in summaries if each.work == work]
            draw_bars(field, f"{work}: {what[work]}", bars, time_text)
        hide_rest(made.fields, len(works))
