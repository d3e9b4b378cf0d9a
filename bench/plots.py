"""Pictures of what was measured: PNGs, drawn with matplotlib, which is imported only here and by those who draw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from bench.failures import BenchFailed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, GRID, GOAL = "#22303c", "#66727c", "#dde3e8", "#c0392b"
COLOURS = {
    "shoal": "#0b7a75",
    "syncthing": "#e08e45",
    "rsync": "#8f9aa3",
    "unison": "#b3a3c7",
    "cp": "#cfd6dc",
    "limited": "#0b7a75",
    "no limit": "#7cc4b8",
}
_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
DOTS = 130
"""An inch."""
TITLE = 58
"""Characters in a line over a field."""


def check_plots() -> None:
    """`BenchFailed`, in one line, when nothing can be drawn."""
    if find_spec("matplotlib") is None:
        raise BenchFailed("--plot needs matplotlib, which is not installed: pip install matplotlib")


@contextmanager
def picture(
    file: Path, title: str, below: str, rows: int, columns: int, size: tuple[float, float]
) -> Iterator["Fields"]:
    """Fields to draw in, row by row; written to `file` when the block ends well. `size` in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    figure.supxlabel(below, x=0.01, ha="left", fontsize=7.5, color=PALE)
    fields = list(figure.subplots(rows, columns, squeeze=False).flat)
    for field in fields:
        _plain(field)
    yield Fields(figure, fields)
    figure.savefig(file, format="png")


@dataclass(frozen=True)
class Fields:
    """A figure with its fields."""

    figure: "Figure"
    fields: Sequence["Axes"]


def _plain(field: "Axes") -> None:
    for side in ("top", "right"):
        field.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        field.spines[side].set_color(GRID)
    field.tick_params(colors=PALE, labelsize=9, length=0)
    field.set_axisbelow(True)
    field.title.set_color(INK)


@dataclass(frozen=True)
class Bar:
    """One bar: the median, and the least and the most of all runs."""

    name: str
    value: float
    least: float
    most: float


def draw_bars(
    field: "Axes", title: str, bars: Sequence[Bar], told: Callable[[float], str], goal: float | None = None
) -> None:
    """Horizontal bars, the first on top, each with its figure; `goal` is a line that shoal's should not pass."""
    widest = max([bar.most for bar in bars] + ([goal] if goal is not None else []))
    for place, bar in enumerate(bars):
        field.barh(place, bar.value, height=0.66, color=COLOURS.get(bar.name, PALE))
        if bar.most > bar.least:
            field.plot([bar.least, bar.most], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
        right = bar.most + widest * 0.02
        field.text(right, place, told(bar.value), va="center", fontsize=9, color=INK, bbox=_BEHIND, zorder=3)
    if goal is not None:
        field.axvline(goal, color=GOAL, linewidth=1.2, linestyle=(0, (4, 3)))
        field.text(goal + widest * 0.01, -0.5, f"goal {told(goal)}", fontsize=8, color=GOAL, va="bottom")
    field.set_yticks(range(len(bars)), [bar.name for bar in bars])
    for label in field.get_yticklabels():
        label.set_color(INK)
    field.set_ylim(len(bars) - 0.4, -0.85)
    field.set_xlim(0, widest * 1.25)
    field.set_xticks([])
    field.spines["bottom"].set_visible(False)
    field.set_title(fill(title, TITLE), loc="left", fontsize=10.5, color=INK)


def hide_rest(fields: Sequence["Axes"], used: int) -> None:
    """Those for which there is nothing."""
    for field in fields[used:]:
        field.set_visible(False)


def seconds_grid(field: "Axes", unit: str) -> None:
    """For curves over time."""
    field.grid(color=GRID, linewidth=0.8)
    field.set_xlabel("seconds since the file was saved", fontsize=9, color=PALE)
    field.set_ylabel(unit, fontsize=9, color=PALE)
    field.set_xlim(left=0)
    field.set_ylim(bottom=0)
