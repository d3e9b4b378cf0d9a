"""The picture of `shoal-bench uplink`: on the peer and in the cloud over time, and what the limit costs."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lan.report import machine_line, time_text
from bench.plots import INK, Bar, draw_bars, picture, seconds_grid
from bench.uplink.figures import FREE, LIMITED, TIMES, Turn, Uplink

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIMITED_COLOUR, CLOUD_COLOUR = "#0b7a75", "#e08e45"


def draw(found: Uplink, file: Path) -> None:
    """The newest turn with the limit over time; the times of all turns."""
    limited = found.of(LIMITED)[-1]
    title = f"{limited.size / 10**6:g} MB while the uplink carries {found.settings['uplink']:g} Mbit/s"
    with picture(file, title, machine_line(found.facts), 1, 2, (11.5, 4.2)) as made:
        over_time, times = made.fields
        _draw_progress(over_time, limited)
        bars = [_bar(LIMITED, found.of(LIMITED)), _bar(FREE, found.of(FREE))]
        draw_bars(times, "Until the file is on the other device", bars, time_text, goal=TIMES * bars[1].value)


def _draw_progress(field: "Axes", turn: Turn) -> None:
    curves = (("on_peer", "on the other device", LIMITED_COLOUR), ("in_cloud", "in the cloud", CLOUD_COLOUR))
    moments = [moment for moment in turn.moments if moment.seconds >= 0]
    for name, label, colour in curves:
        seconds = [0.0, *(moment.seconds for moment in moments)]
        heights = [0.0, *(getattr(moment, name) / 10**6 for moment in moments)]
        field.plot(seconds, heights, color=colour, linewidth=2.4, label=label)
    seconds_grid(field, "MB")
    field.set_title("One file on its two ways", loc="left", fontsize=10.5, color=INK)
    field.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)


def _bar(name: str, turns: Sequence[Turn]) -> Bar:
    times = [turn.seconds for turn in turns]
    return Bar(name, statistics.median(times), min(times), max(times))
