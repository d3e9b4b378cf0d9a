"""The picture of `shoal-bench swarm`: bytes by source over time, and how long each receiver waits."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.lan.report import machine_line
from bench.plots import GOAL, INK, PALE, picture, seconds_grid
from bench.swarm.figures import TIMES, Round, Swarm
from bench.words import counted, sized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIB = 1 << 20
SOURCES = (("from_origin", "the origin", "#0b7a75"), ("from_receivers", "each other", "#7cc4b8"))
CLOUD = ("from_cloud", "the cloud", "#e08e45")


def draw(found: Swarm, file: Path) -> None:
    """The newest round with all receivers, and the times of all rounds."""
    last = found.rounds[-1]
    title = f"{sized(last.size)} from one device to {counted(last.receivers, 'other')}"
    with picture(file, title, _below(found), 1, 2, (11.5, 4.6)) as made:
        sources, times = made.fields
        _draw_sources(sources, last)
        _draw_times(times, found)


def _below(found: Swarm) -> str:
    links = f"links of {found.settings['rate']:g} Mbit/s, uplink {found.settings['uplink']:g} Mbit/s"
    return f"{links}; {machine_line(found.facts)}"


def _draw_sources(field: "Axes", last: Round) -> None:
    moments = [moment for moment in last.moments if moment.seconds >= 0]
    seconds = [moment.seconds for moment in moments]
    layers = (*SOURCES, CLOUD)
    heights = [[getattr(moment, name) / MIB for moment in moments] for name, _, _ in layers]
    field.stackplot(
        seconds,
        *heights,
        colors=[colour for *_, colour in layers],
        labels=[label for _, label, _ in layers],
        alpha=0.95,
    )
    field.axhline(last.size * last.receivers / MIB, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    sent = max((sum(column) for column in zip(*heights, strict=True)), default=0.0)
    field.set_ylim(top=max(sent, last.size * last.receivers / MIB) * 1.22)
    seconds_grid(field, "MiB sent to the receivers, all together")
    field.set_title("Where the bytes come from", loc="left", fontsize=10.5, color=INK)
    field.legend(loc="upper left", ncols=3, frameon=False, fontsize=9, labelcolor=INK)


def _draw_times(field: "Axes", found: Swarm) -> None:
    """A dot for each receiver, a bar for the last."""
    groups = sorted({round_.receivers for round_ in found.rounds})
    for place, receivers in enumerate(groups):
        rounds = found.of(receivers)
        slowest = sorted(round_.last for round_ in rounds)[len(rounds) // 2]
        field.bar(place, slowest, width=0.55, color="#7cc4b8")
        top = max(round_.last for round_ in rounds)
        field.annotate(
            f"{slowest:.1f} s",
            (place, top),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=10,
            color=INK,
        )
        for round_ in rounds:
            spots = [place + (number + 1) / (receivers + 1) * 0.5 - 0.25 for number in range(receivers)]
            field.plot(spots, sorted(round_.seconds), "o", color="#0b7a75", markersize=4, alpha=0.8)
    alone = sorted(round_.last for round_ in found.of(1))
    goal = TIMES * alone[len(alone) // 2]
    field.axhline(goal, color=GOAL, linewidth=1.2, linestyle=(0, (4, 3)))
    field.text(-0.45, goal, f"goal: {TIMES:g}× one", fontsize=8.5, color=GOAL, va="bottom")
    field.set_xticks(range(len(groups)), [counted(receivers, "receiver") for receivers in groups])
    field.set_xlim(-0.5, len(groups) - 0.5)
    field.set_ylim(bottom=0, top=max(goal, *(round_.last for round_ in found.rounds)) * 1.12)
    field.set_ylabel("seconds until in place and fsynced; the bar: the last", fontsize=9, color=PALE)
    field.set_title("How long each waits", loc="left", fontsize=10.5, color=INK)
