"""A tracker restored from a backup, and devices that come to it one after the other with the same to keep."""

from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import Stage, perform, save, visible

OLD, NEW = b"as in the backup", b"as saved since" * 5000


async def _restored(stage: Stage) -> tuple[SimulatedDevice, SimulatedDevice]:
    """The desktop was off when the tracker lost what both had; the laptop has brought it back as a conflict copy."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f.txt", OLD)
    await stage.all_well(laptop, desktop)
    backup = stage.host.backup()
    save(laptop, "f.txt", NEW)
    await stage.all_well(laptop, desktop)
    desktop.switch_off()
    stage.host.restore(backup, announced=True)
    await stage.restart_tracker()
    await stage.until(lambda: len(visible(laptop)) == 2)
    await stage.all_well(laptop)
    return laptop, desktop


def _copies(device: SimulatedDevice) -> dict[str, bytes]:
    return {name: content for name, content in visible(device).items() if "conflicted copy" in name}


def test_one_copy_of_what_all_of_them_have_is_enough() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await _restored(stage)
        before = stage.host.revision()
        stage.start(desktop)
        await stage.all_well(laptop, desktop)
        assert visible(desktop)["f.txt"] == OLD
        (name,) = _copies(desktop)
        assert "laptop" in name
        assert _copies(desktop) == {name: NEW}
        assert stage.host.revision() == before  # it had nothing to say

    perform(scene)


def test_what_only_one_of_them_has_is_kept_beside_it() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await _restored(stage)
        save(desktop, "f.txt", b"an edit made meanwhile")
        stage.start(desktop)
        await stage.all_well(laptop, desktop)
        assert sorted(_copies(desktop).values()) == [b"an edit made meanwhile", NEW]

    perform(scene)


def test_a_copy_whose_name_is_taken_here_is_none() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await _restored(stage)
        (name,) = _copies(laptop)
        desktop.disk.user.mkfifo(f"{FOLDER}/{name}")  # nothing that is synced
        stage.start(desktop)
        await stage.until(lambda: len(_copies(desktop)) == 1)
        desktop.disk.user.remove(f"{FOLDER}/{name}")
        await stage.all_well(laptop, desktop)
        assert set(_copies(desktop).values()) == {NEW}
        assert len(_copies(desktop)) == 2

    perform(scene)
