"""Selective sync on several devices (docs/sync-engine.md, "Excluding"), each rule as a scene."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest

from peer.excluding import exclude, excluded, include
from peer.synchronizer.context import Context
from protocol.errors import Usage
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import HOUR, UPLOADS, Stage, left_behind, perform, save, visible

SCENES: list[Callable[[Stage], Awaitable[None]]] = []
ALL = {"d/e/f": b"f", "d/g": b"g", "h": b"h"}
REST = {"h": b"h"}
EVERYTHING = frozenset({"/v1/commit", "/v1/pack", "/v1/delta", "/v1/notifications"})


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def context_of(device: SimulatedDevice) -> Context:
    assert device.peer is not None
    return device.peer.context


def leave_out(device: SimulatedDevice, name: str) -> None:
    exclude(context_of(device), f"{FOLDER}/{name}")


def have_again(device: SimulatedDevice, name: str) -> None:
    include(context_of(device), f"{FOLDER}/{name}")


def mkdir(device: SimulatedDevice, name: str) -> None:
    device.disk.user.mkdir(f"{FOLDER}/{name}")


def folders(device: SimulatedDevice) -> set[str]:
    tree = device.disk.user.tree(FOLDER)
    return {path for path, entry in tree.items() if entry[0] == "directory" and not path.startswith(".shoal")}


async def settled(stage: Stage, *devices: SimulatedDevice) -> None:
    await stage.pass_time(10)
    await stage.until(lambda: all(device.settled for device in devices))


async def two_devices(stage: Stage) -> tuple[SimulatedDevice, SimulatedDevice]:
    """d/e/f, d/g and h on both."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    for name in ("d", "d/e"):
        mkdir(laptop, name)
    for name, content in ALL.items():
        save(laptop, name, content)
    await settled(stage, laptop, desktop)
    assert visible(desktop) == ALL
    return laptop, desktop


@scene
async def a_power_cut_does_not_make_a_delete_of_an_exclusion(stage: Stage) -> None:
    """The database went back to before it was excluded, and the file was gone: so somebody had deleted it (law 2)."""
    laptop, desktop = await two_devices(stage)
    leave_out(laptop, "h")
    await stage.until(lambda: "h" not in visible(laptop))
    laptop.disk.volume.journal.sync()
    laptop.crash()
    laptop.ledger.go_back(laptop.ledger.transactions)
    await settled(stage, laptop, desktop)
    assert visible(desktop) == ALL
    assert "h" not in visible(laptop)


@scene
async def it_leaves_this_disk_and_no_other_and_comes_back(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    leave_out(desktop, "d")
    await settled(stage, laptop, desktop)
    assert (visible(desktop), folders(desktop)) == (REST, set())
    assert visible(laptop) == ALL
    assert excluded(context_of(desktop)) == [{"path": "d", "here": 0, "files_here": []}]
    await stage.until(lambda: not left_behind(desktop))
    # What others do in it goes on without this device.
    save(laptop, "d/new", b"new")
    save(laptop, "d/g", b"other")
    laptop.disk.user.remove(f"{FOLDER}/d/e/f")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == REST
    # Also after a restart, and when it is renamed there.
    desktop.switch_off()
    laptop.disk.user.move(f"{FOLDER}/d", f"{FOLDER}/renamed")
    await stage.pass_time(20)
    stage.start(desktop)
    await settled(stage, laptop, desktop)
    assert visible(desktop) == REST
    with pytest.raises(Usage, match="not excluded"):
        have_again(desktop, "d")
    have_again(desktop, "renamed")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"h": b"h", "renamed/g": b"other", "renamed/new": b"new"}
    assert excluded(context_of(desktop)) == []


@scene
async def what_is_not_sent_yet_stays_until_it_is(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    stage.cut_off(desktop, EVERYTHING)
    save(desktop, "d/g", b"edited")
    save(desktop, "d/new", b"new")
    await stage.pass_time(5)
    leave_out(desktop, "d")
    await stage.pass_time(HOUR)
    assert visible(desktop) == {"d/g": b"edited", "d/new": b"new", "h": b"h"}
    (line,) = excluded(context_of(desktop))
    assert line["files_here"] == ["d/g", "d/new"]
    stage.cut_off(desktop)
    await settled(stage, laptop, desktop)
    assert (visible(desktop), folders(desktop)) == (REST, set())
    assert visible(laptop) == {"d/e/f": b"f", "d/g": b"edited", "d/new": b"new", "h": b"h"}


@scene
async def what_is_not_in_the_cloud_yet_is_not_thrown_away(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    stage.part_lan()
    stage.cut_off(desktop, UPLOADS)
    content = Random(3).randbytes(60_000)
    save(desktop, "d/large", content)
    await stage.pass_time(20)
    leave_out(desktop, "d")
    await stage.until(lambda: visible(desktop) == REST)
    await stage.pass_time(HOUR)
    assert left_behind(desktop)
    stage.cut_off(desktop)
    await settled(stage, laptop, desktop)
    assert visible(laptop) == {**ALL, "d/large": content}
    await stage.until(lambda: not left_behind(desktop))


@scene
async def something_new_under_its_name_gets_another(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    leave_out(desktop, "d")
    await settled(stage, desktop)
    mkdir(desktop, "d")
    save(desktop, "d/mine", b"mine")
    await settled(stage, laptop, desktop)
    assert sorted(visible(desktop).values()) == [b"h", b"mine"]
    (kept,) = (path for path, content in visible(desktop).items() if content == b"mine")
    assert kept.startswith("d (conflicted copy, desktop")
    assert visible(laptop) == {**ALL, kept: b"mine"}


@scene
async def what_is_moved_into_it_elsewhere_leaves_and_comes_back_when_it_is_moved_out(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    mkdir(laptop, "x")
    save(laptop, "x/y", b"y")
    await settled(stage, laptop, desktop)
    leave_out(desktop, "d")
    await settled(stage, desktop)
    laptop.disk.user.move(f"{FOLDER}/x", f"{FOLDER}/d/x")
    await settled(stage, laptop, desktop)
    assert (visible(desktop), folders(desktop)) == (REST, set())
    laptop.disk.user.move(f"{FOLDER}/d/x", f"{FOLDER}/z")
    laptop.disk.user.move(f"{FOLDER}/d/e", f"{FOLDER}/e")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {"h": b"h", "z/y": b"y", "e/f": b"f"}


@scene
async def a_folder_above_that_is_deleted_here_comes_back_without_it(stage: Stage) -> None:
    """It can't be deleted there, as nobody here has seen what is in it."""
    laptop, desktop = await two_devices(stage)
    leave_out(desktop, "d/e")
    await settled(stage, desktop)
    desktop.disk.user.remove(f"{FOLDER}/d")
    await settled(stage, laptop, desktop)
    assert visible(laptop) == {"d/e/f": b"f", "h": b"h"}
    assert (visible(desktop), folders(desktop)) == (REST, {"d"})


@scene
async def a_folder_above_that_is_deleted_there_goes(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    leave_out(desktop, "d/e")
    await settled(stage, desktop)
    laptop.disk.user.remove(f"{FOLDER}/d")
    await settled(stage, laptop, desktop)
    assert (visible(laptop), folders(desktop)) == (REST, set())
    assert excluded(context_of(desktop)) == []


@scene
async def a_lost_database_brings_everything_back_and_deletes_nothing(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    leave_out(desktop, "d")
    await settled(stage, desktop)
    desktop.switch_off()
    await stage.pass_time(10)
    desktop.ledger.lose()
    stage.start(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == ALL


@scene
async def crashes_on_the_way_there_and_back_lose_nothing(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    for number in range(12):
        save(laptop, f"d/{number}", Random(number).randbytes(3000))
    await settled(stage, laptop, desktop)
    before = visible(laptop)
    crashed = 0
    for chance in (0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.2, 0.3):
        leave_out(desktop, "d")
        desktop.trouble.crash_chance, desktop.trouble.crashes = chance, 3
        await stage.until(lambda: desktop.peer is not None and visible(desktop) == REST)
        crashed += 3 - desktop.trouble.crashes
        desktop.trouble.crashes = 0
        await settled(stage, laptop, desktop)
        have_again(desktop, "d")
        desktop.trouble.crashes = 3
        await stage.until(lambda: visible(desktop) == before)
        crashed += 3 - desktop.trouble.crashes
        desktop.trouble.crashes = 0
        await settled(stage, laptop, desktop)
        assert visible(laptop) == visible(desktop) == before
    assert crashed > 20


@scene
async def a_disk_that_is_smaller_than_the_workspace_becomes_usable(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    desktop.disk.volume.capacity = 100_000
    mkdir(laptop, "large")
    for number in range(4):
        save(laptop, f"large/{number}", Random(number).randbytes(60_000))
    await stage.until(lambda: len(context_of(desktop).problems.all()) >= 3)
    leave_out(desktop, "large")
    await settled(stage, laptop, desktop)
    await stage.until(lambda: not left_behind(desktop))
    assert not context_of(desktop).problems.all()
    assert visible(desktop) == ALL
    save(laptop, "small", Random(9).randbytes(60_000))
    await settled(stage, laptop, desktop)
    assert len(visible(desktop)["small"]) == 60_000


@scene
async def what_is_ignored_in_it_stays(stage: Stage) -> None:
    laptop, desktop = await two_devices(stage)
    save(laptop, "d/.shoalignore", b"cache\n")
    await settled(stage, laptop, desktop)
    mkdir(desktop, "d/cache")
    save(desktop, "d/cache/x", b"x")
    await settled(stage, laptop, desktop)
    leave_out(desktop, "d")
    await settled(stage, laptop, desktop)
    before = desktop.moved
    await stage.pass_time(HOUR)
    assert desktop.moved == before
    assert visible(desktop) == {**REST, "d/cache/x": b"x"}
    assert visible(laptop) == {**ALL, "d/.shoalignore": b"cache\n"}
    have_again(desktop, "d")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {**ALL, "d/.shoalignore": b"cache\n", "d/cache/x": b"x"}
    assert visible(laptop) == {**ALL, "d/.shoalignore": b"cache\n"}


@scene
async def rules_that_are_excluded_hold_nothing_up(stage: Stage) -> None:
    """Found by doing anything at once: what else was new in their folder waited for them."""
    laptop, desktop = await two_devices(stage)
    save(laptop, "d/.shoalignore", b"x\n")
    await settled(stage, laptop, desktop)
    leave_out(desktop, "d/.shoalignore")
    await settled(stage, laptop, desktop)
    save(laptop, "d/new", b"new")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {**ALL, "d/new": b"new"}


@scene
async def what_can_not_be_excluded_is_told(stage: Stage) -> None:
    _, desktop = await two_devices(stage)
    with pytest.raises(Usage, match="as a whole"):
        exclude(context_of(desktop), FOLDER)
    with pytest.raises(Usage, match="not in the folder"):
        exclude(context_of(desktop), "/elsewhere/d")
    with pytest.raises(Usage, match="not known"):
        leave_out(desktop, "nothing")
    leave_out(desktop, "d")
    with pytest.raises(Usage, match="excluded already"):
        leave_out(desktop, "d/e")
    with pytest.raises(Usage, match="include that"):
        have_again(desktop, "d/e")
    with pytest.raises(Usage, match="not excluded"):
        have_again(desktop, "h")


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)
