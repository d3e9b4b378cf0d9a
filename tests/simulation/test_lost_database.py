"""The client database is lost while `.shoal/outgoing` still has what others replaced and removed."""

from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import Stage, perform, save, visible

FILES = {"removed": b"was here", "replaced": b"old", "large": bytes(range(256)) * 800, "edited": b"before"}


async def _in_outgoing(stage: Stage) -> tuple[SimulatedDevice, SimulatedDevice]:
    """Two devices; the second has just followed the first, and what it had waits. Of a file that was written more than
    once the tracker no longer tells what it held in between."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    for name, content in FILES.items():
        save(laptop, name, content)
    await stage.all_well(laptop, desktop)
    save(laptop, "replaced", b"in between")
    await stage.all_well(laptop, desktop)
    laptop.disk.user.remove(f"{FOLDER}/removed")
    laptop.disk.user.remove(f"{FOLDER}/large")
    save(laptop, "replaced", b"new")
    laptop.disk.user.remove(f"{FOLDER}/edited")
    await stage.until(lambda: visible(desktop) == {"replaced": b"new"})
    return laptop, desktop


def _lose_database(device: SimulatedDevice) -> None:
    device.crash()
    device.ledger.lose()


def test_what_was_published_does_not_come_back_as_conflict_copies() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await _in_outgoing(stage)
        assert len(desktop.disk.user.tree(f"{FOLDER}/.shoal/outgoing")) == 4
        _lose_database(desktop)
        await stage.all_well(laptop, desktop)
        assert visible(laptop) == visible(desktop) == {"replaced": b"new"}

    perform(scene)


def test_what_was_written_to_there_does() -> None:
    """An editor had it open when it was removed, and saves as the database is lost."""

    async def scene(stage: Stage) -> None:
        laptop, desktop = await _in_outgoing(stage)
        room = f"{FOLDER}/.shoal/outgoing"
        (label,) = (name for name in desktop.disk.user.tree(room) if name.endswith("-edited"))
        desktop.disk.user.write(f"{room}/{label}", b"the edit of somebody else")
        _lose_database(desktop)
        await stage.pass_time(90)
        await stage.all_well(laptop, desktop)
        assert sorted(visible(laptop).values()) == [b"new", b"the edit of somebody else"]

    perform(scene)
