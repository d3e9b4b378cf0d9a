"""Ignore rules on several devices (docs/sync-engine.md, "Ignoring"), each rule as a scene."""

from collections.abc import Awaitable, Callable

import pytest

from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import HOUR, Stage, perform, save, visible

SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def mkdir(device: SimulatedDevice, name: str) -> None:
    device.disk.user.mkdir(f"{FOLDER}/{name}")


def remove(device: SimulatedDevice, name: str) -> None:
    device.disk.user.remove(f"{FOLDER}/{name}")


def folders(device: SimulatedDevice) -> set[str]:
    tree = device.disk.user.tree(FOLDER)
    return {path for path, entry in tree.items() if entry[0] == "directory" and not path.startswith(".shoal")}


def problems(device: SimulatedDevice) -> dict[str, str]:
    assert device.peer is not None
    return {each.path: each.reason for each in device.peer.context.problems.all()}


async def settled(stage: Stage, *devices: SimulatedDevice) -> None:
    await stage.pass_time(10)
    await stage.until(lambda: all(device.settled for device in devices))


async def project(stage: Stage) -> tuple[SimulatedDevice, SimulatedDevice]:
    """A project on two devices, its build ignored by rules of its own."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    mkdir(laptop, "p")
    save(laptop, "p/.shoalignore", b"/build\n")
    await settled(stage, laptop, desktop)
    for device in (laptop, desktop):
        mkdir(device, "p/build")
        save(device, "p/build/out", device.name.encode())
    save(laptop, "p/main.c", b"main")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {"p/.shoalignore": b"/build\n", "p/build/out": b"desktop", "p/main.c": b"main"}
    return laptop, desktop


@scene
async def what_is_ignored_stays_on_its_device(stage: Stage) -> None:
    laptop, desktop = await project(stage)
    await stage.pass_time(HOUR)
    assert visible(laptop)["p/build/out"] == b"laptop"
    assert visible(desktop)["p/build/out"] == b"desktop"


@scene
async def what_was_synced_and_is_ignored_now_stays_everywhere(stage: Stage) -> None:
    """14.1, 14.2."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f.log", b"one")
    save(laptop, "g", b"g")
    await settled(stage, laptop, desktop)
    save(desktop, ".shoalignore", b"*.log\n")
    await settled(stage, laptop, desktop)
    save(laptop, "f.log", b"two")
    remove(desktop, "f.log")
    await settled(stage, laptop, desktop)
    await stage.pass_time(HOUR)
    assert visible(laptop) == {".shoalignore": b"*.log\n", "f.log": b"two", "g": b"g"}
    assert visible(desktop) == {".shoalignore": b"*.log\n", "g": b"g"}
    # A device that comes new doesn't get it: its rules come first.
    phone = stage.devices["phone"]
    phone.disk.user.mkdir(FOLDER)
    stage.start(phone)
    await settled(stage, phone)
    assert visible(phone) == visible(desktop)
    assert not any(" phone " in line and "'f.log'" in line for line in stage.log.lines)
    # No longer ignored: where it is gone it comes again; where it was changed both are kept.
    remove(desktop, ".shoalignore")
    await settled(stage, laptop, desktop, phone)
    await stage.all_well(laptop, desktop, phone)
    files = visible(desktop)
    assert files.pop("f.log") == b"one"
    assert files.pop("g") == b"g"
    assert list(files.values()) == [b"two"]


@scene
async def the_same_content_is_no_conflict_when_it_is_no_longer_ignored(stage: Stage) -> None:
    """14.3."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    mkdir(laptop, "d")
    save(laptop, "d/f.log", b"one")
    await settled(stage, laptop, desktop)
    save(desktop, ".shoalignore", b"d/\n")
    await settled(stage, laptop, desktop)
    save(desktop, ".shoalignore", b"\n")
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {".shoalignore": b"\n", "d/f.log": b"one"}


@scene
async def a_folder_deleted_there_stays_here_with_what_is_ignored_in_it(stage: Stage) -> None:
    """Case 12: nothing is lost, nothing comes back, nothing is tried for ever."""
    laptop, desktop = await project(stage)
    mkdir(laptop, "p/sub")
    save(laptop, "p/sub/.shoalignore", b"cache\n")
    save(laptop, "p/sub/f", b"f")
    await settled(stage, laptop, desktop)
    mkdir(desktop, "p/sub/cache")
    save(desktop, "p/sub/cache/x", b"x")
    await settled(stage, laptop, desktop)
    remove(laptop, "p")
    await settled(stage, laptop, desktop)
    before = desktop.moved
    await stage.pass_time(HOUR)
    assert desktop.moved == before
    assert folders(laptop) == set()
    assert visible(desktop) == {"p/build/out": b"desktop", "p/sub/cache/x": b"x"}
    # After a restart too.
    desktop.switch_off()
    await stage.pass_time(10)
    stage.start(desktop)
    await settled(stage, laptop, desktop)
    assert folders(laptop) == set()
    # Somebody uses it again.
    save(desktop, "p/sub/new", b"new")
    await settled(stage, laptop, desktop)
    assert visible(laptop) == {"p/sub/new": b"new"} | {
        path: data for path, data in visible(laptop).items() if path.endswith(("out", "x"))
    }


@scene
async def a_new_folder_of_that_name_there_takes_it_over(stage: Stage) -> None:
    """Case 12, then 10.1."""
    laptop, desktop = await project(stage)
    remove(laptop, "p")
    await settled(stage, laptop, desktop)
    mkdir(laptop, "p")
    save(laptop, "p/.shoalignore", b"build\n")
    save(laptop, "p/new", b"new")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {"p/.shoalignore": b"build\n", "p/build/out": b"desktop", "p/new": b"new"}
    save(desktop, "p/more", b"more")
    await settled(stage, laptop, desktop)
    assert visible(laptop) == {"p/.shoalignore": b"build\n", "p/more": b"more", "p/new": b"new"}


@scene
async def a_move_of_a_folder_carries_along_what_is_ignored(stage: Stage) -> None:
    laptop, desktop = await project(stage)
    laptop.disk.user.move(f"{FOLDER}/p", f"{FOLDER}/q")
    await settled(stage, laptop, desktop)
    assert visible(desktop) == {"q/.shoalignore": b"/build\n", "q/build/out": b"desktop", "q/main.c": b"main"}
    assert visible(laptop)["q/build/out"] == b"laptop"
    assert folders(laptop) == folders(desktop) == {"q", "q/build"}


@scene
async def a_file_renamed_there_to_a_name_ignored_here_follows_and_is_then_left(stage: Stage) -> None:
    """14.5. The other device has older rules."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", b"one")
    await settled(stage, laptop, desktop)
    laptop.switch_off()
    laptop.disk.user.move(f"{FOLDER}/f", f"{FOLDER}/f.log")
    save(desktop, ".shoalignore", b"*.log\n")
    await settled(stage, desktop)
    stage.start(laptop)
    await settled(stage, laptop, desktop)
    await stage.pass_time(HOUR)
    assert visible(laptop)["f.log"] == b"one"
    assert b"one" in visible(desktop).values()


@scene
async def a_file_that_is_to_come_where_an_ignored_folder_is_is_a_problem_until_it_goes(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, ".shoalignore", b"build/\n")
    await settled(stage, laptop, desktop)
    mkdir(desktop, "build")
    save(laptop, "build", b"a file")
    await stage.until(lambda: "build" in problems(desktop))
    asked = sum(" desktop " in line and "asks /v1" in line for line in stage.log.lines)
    await stage.pass_time(HOUR)
    assert sum(" desktop " in line and "asks /v1" in line for line in stage.log.lines) - asked < 500
    desktop.disk.user.move(f"{FOLDER}/build", f"{FOLDER}/other")
    await settled(stage, laptop, desktop)
    assert visible(desktop)["build"] == b"a file"
    assert not problems(desktop)


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)
