"""What the machine says of its power and its connection."""

from pathlib import Path

import pytest

from peer.ports import Conditions
from peer.system.conditions import LinuxConditions


def supply(power: Path, name: str, **attributes: str) -> None:
    (power / name).mkdir(parents=True)
    for attribute, value in attributes.items():
        (power / name / attribute).write_text(value + "\n")


MAINS_IN = ("AC", {"type": "Mains", "online": "1"})
MAINS_OUT = ("AC", {"type": "Mains", "online": "0"})
CHARGER = ("ucsi", {"type": "USB", "online": "1"})
DRAINING = ("BAT0", {"type": "Battery", "status": "Discharging"})
FULL = ("BAT0", {"type": "Battery", "status": "Full"})
MOUSE = ("hid", {"type": "Battery", "status": "Discharging", "scope": "Device"})
ODD = ("odd", {"status": "Discharging"})


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ((), False),
        ((MAINS_OUT, DRAINING), True),
        ((DRAINING,), True),
        ((MAINS_IN, DRAINING), False),
        ((MAINS_OUT, CHARGER, DRAINING), False),
        ((MAINS_IN, FULL), False),
        ((MAINS_OUT, FULL), False),
        ((MOUSE, ODD), False),
        ((MAINS_OUT, MOUSE, DRAINING), True),
    ],
)
async def test_power(tmp_path: Path, supplies: tuple[tuple[str, dict[str, str]], ...], on_battery: bool) -> None:
    for name, attributes in supplies:
        supply(tmp_path, name, **attributes)
    conditions: Conditions = LinuxConditions(power=tmp_path)
    assert await conditions.on_battery() is on_battery


async def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    conditions = LinuxConditions(power=tmp_path / "nothing", metered=(str(tmp_path / "no-such-program"),))
    assert not await conditions.on_battery()
    assert not await conditions.is_metered()


@pytest.mark.parametrize(
    ("answer", "metered"), [("u 1", True), ("u 3", True), ("u 0", False), ("u 2", False), ("u 4", False), ("", False)]
)
async def test_the_connection(answer: str, metered: bool) -> None:
    assert await LinuxConditions(metered=("echo", answer)).is_metered() is metered


async def test_a_question_that_fails() -> None:
    assert not await LinuxConditions(metered=("false",)).is_metered()
