"""What the simulations have found: each defect as a scene of its own, so that it stays mended."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio

from peer.root import MARKER
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.inodes import failure
from tests.simulation.stage import HOUR, UPLOADS, Stage, perform, save, visible

CONTENT = Random(1).randbytes(60_000)
SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def lose_power(device: SimulatedDevice, *, transactions: int = 0) -> None:
    """The machine stops; all that was written is on the disk, but the database lacks its newest transactions."""
    device.disk.volume.journal.sync()
    device.crash()
    device.ledger.go_back(transactions)


@scene
async def a_restored_tracker_takes_a_commit_of_a_device_that_does_not_know_of_the_restoration(stage: Stage) -> None:
    """The answer's revision was one that the device knew already, so REMOTE didn't move, but SYNCED did: the new file
    was taken off the disk as one that had been deleted elsewhere (law 2)."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    backup = stage.host.backup()
    for number in range(5):
        save(laptop, f"{number}", b"%d" % number)
        await stage.all_well(laptop, desktop)
    removed: list[str] = []
    laptop.mischief.removing = lambda _, path: removed.append(path)
    assert laptop.transport is not None
    laptop.transport.cut(silently=True)  # it will take a while to notice
    stage.host.restore(backup, announced=True)
    await stage.restart_tracker()
    save(laptop, "new", CONTENT)
    await stage.all_well(laptop, desktop)
    assert removed == []
    assert visible(laptop) == {"new": CONTENT, **{f"{number}": b"%d" % number for number in range(5)}}


@scene
async def a_marker_is_fsynced_at_the_next_start_if_it_could_not_be_at_the_first(stage: Stage) -> None:
    laptop = stage.devices["laptop"]
    failed = fail_once(laptop, "fsync", after="rename", argument=MARKER)
    await stage.begin("laptop")
    assert failed == [True]
    laptop.switch_off()
    await stage.pass_time(1)
    laptop.disk.volume.restart(Random(1), kept=0.0)
    stage.start(laptop)
    await stage.until(lambda: laptop.settled)
    assert laptop.disk.user.exists(f"{FOLDER}/{RESERVED}/{MARKER}")


def fail_once(device: SimulatedDevice, call: str, *, after: str, argument: str) -> list[bool]:
    """Let the first `call` after another one with this argument fail; the list tells whether it has."""
    failed, seen = list[bool](), list[bool]()
    before_call = device.disk.before_call
    assert before_call is not None

    def before(name: str, arguments: tuple[object, ...]) -> None:
        before_call(name, arguments)
        if name == after and argument in arguments:
            seen.append(True)
        if name == call and seen and not failed:
            failed.append(True)
            raise failure(5)

    device.disk.before_call = before
    return failed


@scene
async def a_version_that_its_author_has_lost_and_forgotten_keeps_nobody_waiting(stage: Stage) -> None:
    """A power cut took the author's memory of having written it, and a later edit its bytes: what was there then waited
    for a version which nobody could bring."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", b"first")
    await stage.all_well(laptop, desktop)
    stage.part_lan()
    stage.cut_off(laptop, UPLOADS)
    marked = laptop.ledger.transactions
    save(laptop, "f", CONTENT)
    await stage.until(lambda: stage.host.announced())
    await stage.until(lambda: laptop.settled or laptop.revision == stage.host.revision())
    lose_power(laptop, transactions=laptop.ledger.transactions - marked)
    save(laptop, "f", b"last")
    stage.cut_off(laptop)
    await stage.all_well(laptop, desktop, seconds=1000)
    assert b"last" in visible(desktop).values()


@scene
async def what_had_stepped_aside_does_not_keep_that_name(stage: Stage) -> None:
    """A power cut had taken the record of it: it was taken for something new, and published under that name."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    laptop.switch_off()
    await stage.pass_time(1)
    laptop.disk.user.mkdir(f"{FOLDER}/.shoal-{bytes(range(16)).hex()}")
    save(laptop, f".shoal-{bytes(range(16)).hex()}/f", CONTENT)
    stage.start(laptop)
    await stage.until(lambda: laptop.settled)
    await stage.all_well(laptop, desktop)
    (path,) = visible(desktop)
    assert path.startswith("recovered (conflicted copy, laptop, ")


@scene
async def what_was_replaced_is_known_for_what_it_is_though_it_was_overtaken_before_it_was_noted(stage: Stage) -> None:
    """The disk failed just after the swap, so what came out had no record. By the time somebody looked, the version
    that it holds was forgotten, and it came back as a conflict copy (law 11)."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    failed = fail_once(desktop, "stat", after="exchange", argument="f")
    save(laptop, "f", CONTENT[::-1])
    await stage.until(lambda: failed == [True])
    save(laptop, "f", CONTENT[1:])
    await stage.all_well(laptop, desktop)
    await stage.pass_time(200)
    assert visible(desktop) == {"f": CONTENT[1:]}


@scene
async def bytes_that_changed_under_old_times_are_found_when_they_are_asked_for(stage: Stage) -> None:
    """A power cut left what somebody had just written in place, but not its time. Nothing that was announced of the
    file could be given to anybody any more, and all waited for it."""
    (laptop,) = await stage.begin("laptop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", CONTENT)
    await stage.until(lambda: stage.host.announced())
    laptop.disk.user.find(f"{FOLDER}/f").data[:1] = b"x"
    stage.cut_off(laptop)
    await stage.until(lambda: laptop.settled)
    desktop = stage.devices["desktop"]
    desktop.disk.user.mkdir(FOLDER)
    stage.start(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == visible(laptop) == {"f": b"x" + CONTENT[1:]}


@pytest.mark.parametrize("act", SCENES)
def test_found(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)


def test_a_challenge_that_has_aged_on_the_way_ends_no_program() -> None:
    """The tracker's clock jumped between the challenge and its answer, while a device started for the first time."""

    async def act(stage: Stage) -> None:
        laptop = stage.devices["laptop"]
        stage.weather.delay = 5.0
        await stage.raise_tracker()
        laptop.disk.user.mkdir(FOLDER)
        stage.start(laptop)
        await stage.until(lambda: any("asks /v1/renew" in line for line in stage.log.lines))
        stage.clock.jump(30 * HOUR)
        await stage.until(lambda: laptop.settled)
        await trio.lowlevel.checkpoint()

    perform(act)
