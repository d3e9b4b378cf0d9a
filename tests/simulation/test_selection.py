"""Anything at once with ignore rules and exclusions: it ends, comes to rest, and all devices are equal again when
nothing is ignored or excluded any more."""

from contextlib import suppress
from random import Random

import pytest

from peer.excluding import exclude, excluded, include
from protocol.errors import Usage
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import HOUR, Stage, perform, visible

NAMES = ("a", "b", "x.log", "build", "d", "e")
RULES = (b"*.log\n", b"build\n", b"/d\n!x.log\n", b"*\n", b"e/\nb\n", b"\n", b"a/**\n[\n", b"!*.log\nd/build/\n")


def paths(device: SimulatedDevice) -> tuple[list[str], list[str]]:
    """The files and the folders that somebody sees, and the top."""
    tree = {path: entry[0] for path, entry in device.disk.user.tree(FOLDER).items() if not path.startswith(".shoal/")}
    tree.pop(".shoal", None)
    files = [path for path, kind in tree.items() if kind == "file"]
    return files, ["", *(path for path, kind in tree.items() if kind == "directory")]


def act(device: SimulatedDevice, random: Random, number: int) -> None:
    """Somebody does something; what can't be is left."""
    user, (files, folders) = device.disk.user, paths(device)
    place = f"{FOLDER}/{random.choice(folders)}".rstrip("/")
    target = f"{place}/{random.choice(NAMES)}"
    some = random.choice([*files, *folders[1:]] or [""])
    action = random.choice(("save", "save", "edit", "mkdir", "move", "remove", "rules", "rules", "exclude", "include"))
    with suppress(OSError, Usage):
        if action == "save":
            user.save(target, b"%d" % number)
        elif action == "edit" and files:
            user.save(f"{FOLDER}/{random.choice(files)}", b"%d\n" % number)
        elif action == "mkdir":
            user.mkdir(target)
        elif action == "rules":
            user.save(f"{place}/.shoalignore", random.choice(RULES))
        elif action == "move" and some:
            user.move(f"{FOLDER}/{some}", target)
        elif action == "remove" and some and random.random() < 0.5:
            user.remove(f"{FOLDER}/{some}")
        elif device.alive and device.peer is not None and some:
            (exclude if action == "exclude" else include)(device.peer.context, f"{FOLDER}/{some}")


def include_all(device: SimulatedDevice) -> None:
    assert device.peer is not None
    context = device.peer.context
    for line in excluded(context):
        include(context, f"{FOLDER}/{line['path']}")


def follow_all(device: SimulatedDevice) -> bool:
    """Empty all rules on the disk; whether there were any."""
    files = [path for path in paths(device)[0] if path.split("/")[-1].startswith(".shoalignore")]
    ruling = [path for path in files if device.disk.user.read(f"{FOLDER}/{path}").strip()]
    for path in ruling:
        device.disk.user.save(f"{FOLDER}/{path}", b"")
    return bool(ruling)


async def anything(stage: Stage, random: Random) -> None:
    devices = await stage.begin("laptop", "desktop")
    for number in range(60):
        device = random.choice(devices)
        act(device, random, number)
        await stage.pass_time(random.choice((0, 0.05, 0.5, 3, 10)))
        if device.alive and random.random() < 0.05:
            device.crash()
        if random.random() < 0.1:
            stage.cut_off(device, random.choice((frozenset(), frozenset({"/v1/commit"}), frozenset({"/v1/pack"}))))
    for device in devices:
        stage.cut_off(device)
    await rest(stage, devices)
    moved = [device.moved for device in devices]
    await stage.pass_time(620)
    assert [device.moved for device in devices] == moved
    while True:
        for device in devices:
            include_all(device)
        if sum(follow_all(device) for device in devices) == 0:
            break
        await rest(stage, devices)
    await stage.all_well(*devices, seconds=HOUR)
    assert not any(".shoal-" in path for path in visible(devices[0]))


async def rest(stage: Stage, devices: list[SimulatedDevice]) -> None:
    await stage.pass_time(620)  # a look at everything
    await stage.until(lambda: all(device.settled for device in devices), HOUR)


@pytest.mark.parametrize("seed", range(1))
def test_anything_at_once(seed: int) -> None:
    perform(lambda stage: anything(stage, Random(seed)))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 200))
def test_anything_at_once_many_times(seed: int) -> None:
    perform(lambda stage: anything(stage, Random(seed)))
