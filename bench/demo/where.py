"""Where to look when the demo is left running."""

import os
from collections.abc import Sequence

from bench.demo.scenario import Scenario
from bench.demo.screen import Screen
from bench.machine import program
from bench.programs import Program


def tell_where(screen: Screen, scenario: Scenario, kept: Sequence[Program]) -> None:
    """Folders, logs, some commands to try, and how to end it."""
    first, second = scenario.devices
    shoal, tracker, place = _short("shoal"), _short("shoal-tracker"), scenario.place
    pids = " ".join(str(each.process.pid) for each in kept)
    screen.say(f"\nLeft running in {place}", "bold")
    for title, lines in (
        ("two folders, kept equal", [str(first.folder), str(second.folder)]),
        ("logs, and what the tracker knows", [str(place / "logs"), str(scenario.tracker.data)]),
        (
            "try",
            [
                f"{shoal} --home {first.home} status --watch",
                f"echo hello > {first.folder}/hello.txt",
                f"{shoal} --home {second.home} status --wait-durable",
                f"{shoal} --home {second.home} explain {second.folder}/hello.txt",
                f"{shoal} --home {first.home} devices",
                f"{tracker} stats --data {scenario.tracker.data}",
            ],
        ),
        ("to end it", [f"kill {pids}; rm -r {place}"]),
    ):
        screen.say(f"  {title}")
        for line in lines:
            screen.say(f"      {line}")


def _short(name: str) -> str:
    """A command's path, from here if that is shorter."""
    path = program(name)
    return min(path, os.path.relpath(path), key=len)
