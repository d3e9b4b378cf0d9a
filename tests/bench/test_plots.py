"""The pictures: each is drawn from what was measured, and a measurement that can't draw doesn't begin."""

import struct
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import cli, plots
from bench.lan import facts
from bench.lan.command import measure
from bench.lan.report import Printer
from bench.lan.rivals.cp import CP
from bench.lan.session import Plan
from bench.lan.works import scaled
from bench.measuring import Found
from bench.network.machine import Carried
from bench.swarm.figures import Moment, Received, Round, Swarm
from bench.traffic.figures import Measure, Traffic
from bench.traffic.updates import UPDATES, Sizes
from bench.uplink import figures as uplink

PNG = b"\x89PNG\r\n\x1a\n"


def dimensions(file: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = file.read_bytes()
    assert data.startswith(PNG)
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def colours_of(file: Path) -> int:
    """How many it has: an empty field has few."""
    from matplotlib.image import imread

    pixels = imread(file)
    return len({tuple(pixel) for row in pixels[::4, ::4].tolist() for pixel in row})


def a_swarm() -> Found:
    moments = tuple(Moment(second / 2, second * 100, second * 50, second * 10, 0) for second in range(-1, 10))

    def round_(*seconds: float) -> Round:
        received = tuple(Received(f"receiver-{number}", 1000, 0) for number in range(len(seconds)))
        return Round(1, 1000, 0.1, seconds, 1000, 1100, 0, received, moments)

    return Swarm(3, True, {"rate": 200.0, "uplink": 20.0}, [round_(2.0), round_(2.5, 3.0, 4.5)])


def an_uplink() -> Found:
    moments = tuple(uplink.Moment(float(second), 1000, second * 100) for second in range(10))
    turns = [
        uplink.Turn(run, name, 1000, 0.1, seconds + run / 10, (0.1,), (0.2,), True, 9.0, 1000, 0, moments)
        for run in (1, 2)
        for name, seconds in ((uplink.LIMITED, 1.4), (uplink.FREE, 1.2))
    ]
    return uplink.Uplink(True, {"uplink": 20.0}, turns)


def some_traffic() -> Found:
    measures = [
        Measure(update.name, rival, run, 1000, 1.0, Carried(run * 1000, 500), Carried(300, 400))
        for run in (1, 2)
        for rival in ("shoal", "rsync")
        for update in UPDATES
    ]
    return Traffic(True, asdict(Sizes()), {}, {}, measures)


@pytest.mark.parametrize("found", [a_swarm(), an_uplink(), some_traffic()], ids=["swarm", "uplink", "traffic"])
def test_what_was_measured_is_drawn(found: Found, tmp_path: Path) -> None:
    found.facts = facts.look(tmp_path)
    file = tmp_path / "picture.png"
    found.draw(file)
    width, height = dimensions(file)
    assert width > height > 400
    assert colours_of(file) > 10


async def test_lan_is_drawn(place: Path, tmp_path: Path) -> None:
    plan = Plan((CP,), 1, ("latency", "small"), scaled(0.001))
    assert await measure(plan, {}, Printer(Console(width=140)), None, tmp_path / "picture.png") == 0
    assert colours_of(tmp_path / "picture.png") > 10


REFUSED = "the measurement can't begin: --plot needs matplotlib, which is not installed: pip install matplotlib\n"


def none(*_: object) -> None:
    pass


@pytest.mark.parametrize("command", [("lan", "--rival", "cp"), ("swarm",)], ids=["lan", "swarm"])
def test_without_matplotlib_nothing_begins(command: list[str], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", none)
    monkeypatch.setattr("bench.swarm.command.check_office", none)
    result = CliRunner().invoke(cli.main, [*command, "--plot", str(place / "out.png")])
    assert (result.exit_code, result.output) == (1, REFUSED)
    assert list(place.iterdir()) == []
