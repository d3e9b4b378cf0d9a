"""What the simulations have found: each defect as a scene of its own, so that it stays mended."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio

from peer.ports import Response
from peer.root import MARKER
from peer.status import is_settled
from peer.synchronizer.steps import aside_name
from peer.watcher import RETRY
from protocol.hashing import digest
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.inodes import failure
from tests.simulation.stage import HOUR, NOTICED, UPLOADS, Stage, not_durable, once_at, perform, save, visible

CONTENT, NEWER = Random(1).randbytes(60_000), Random(2).randbytes(60_000)
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
async def a_moved_folder_with_a_name_in_it_that_is_not_utf_8_ends_nobody(stage: Stage) -> None:
    """The name was looked up in LOCAL, to tell whether the folder is the one that was moved: the program ended."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    laptop.disk.user.mkdir(f"{FOLDER}/D")
    save(laptop, "D/f", CONTENT)
    await stage.all_well(laptop, desktop)
    save(laptop, "D/a\udcff", NEWER)
    laptop.disk.user.move(f"{FOLDER}/D", f"{FOLDER}/E")
    await stage.until(lambda: visible(desktop) == {"E/f": CONTENT})
    assert laptop.peer is not None
    assert [problem.reason for problem in laptop.peer.context.problems.all()] == ["its name is not valid UTF-8"]


@scene
async def what_can_not_be_synced_is_no_problem_any_more_when_it_has_gone_from_a_large_folder(stage: Stage) -> None:
    """LOCAL has no such thing, and then the disk hadn't either: so it was left to the next look at everything."""
    (laptop,) = await stage.begin("laptop")
    peer = laptop.peer
    assert peer is not None
    laptop.disk.user.mkfifo(f"{FOLDER}/pipe")
    await stage.until(peer.context.problems.any)
    peer.watcher.looked([()], 1.0)
    laptop.disk.user.remove(f"{FOLDER}/pipe")
    await stage.until(lambda: not peer.context.problems.any())


@scene
async def what_was_in_place_before_a_crash_is_not_lost_to_a_power_cut_after_it(stage: Stage) -> None:
    """The next life found it in place and took it for agreed on; but nobody had brought it to the disk for good. When
    the power was cut it was gone again, which counted as a delete."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    after_call, crashed = desktop.disk.after_call, list[bool]()
    assert after_call is not None

    def crash_after_rename(name: str, arguments: tuple[object, ...]) -> None:
        after_call(name, arguments)
        if name == "rename" and "f" in arguments and not crashed:
            crashed.append(True)
            desktop.crash()

    desktop.disk.after_call = crash_after_rename
    save(laptop, "f", CONTENT)
    await stage.until(lambda: crashed and desktop.settled and visible(desktop))
    desktop.switch_off()
    await stage.pass_time(1)
    desktop.disk.volume.restart(Random(1), kept=0.0)
    stage.start(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"f": CONTENT}


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


@scene
async def what_was_read_before_a_power_cut_and_not_sent_is_read_again(stage: Stage) -> None:
    """The new time of a file that was written in place had come to the disk, and its bytes had not. What had been read
    of it before was sent, and the author went on with the old bytes as the only one."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", b"old")
    await stage.all_well(laptop, desktop)
    stage.cut_off(laptop, UPLOADS | {"/v1/commit", "/v1/delta", "/v1/notifications"})
    assert laptop.transport is not None
    laptop.transport.cut(silently=False)
    await stage.pass_time(NOTICED)
    laptop.disk.user.write(f"{FOLDER}/f", b"new")
    await stage.until(lambda: laptop.ledger.has_read(digest(b"new")))
    laptop.switch_off()
    await stage.pass_time(NOTICED)
    laptop.disk.user.find(f"{FOLDER}/f").data[:] = b"old"
    laptop.boot_id = "second"
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == visible(laptop) == {"f": b"old"}


@scene
async def a_file_under_the_name_of_a_folder_that_stepped_aside_is_not_that_folder(stage: Stage) -> None:
    """It was taken for it, and the planner, which found a file where the tracker has a folder, ended the program."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    laptop.disk.user.mkdir(f"{FOLDER}/d")
    save(laptop, "d/f", CONTENT)
    await stage.all_well(laptop, desktop)
    assert laptop.peer is not None
    folder = laptop.peer.context.store.find(("d",))
    assert folder is not None
    laptop.disk.user.move(f"{FOLDER}/d/f", f"{FOLDER}/f")
    laptop.disk.user.remove(f"{FOLDER}/d")
    await stage.pass_time(1)  # it has been missed, and its delete waits
    save(laptop, aside_name(folder), b"another")
    await stage.all_well(laptop, desktop)
    assert sorted(visible(desktop).values()) == sorted([CONTENT, b"another"])


@scene
async def who_deletes_a_version_that_is_withdrawn_has_not_deleted_the_one_before(stage: Stage) -> None:
    """The desktop deleted the newer content. As that was withdrawn, its delete counted as one of the older content,
    which the laptop had brought back meanwhile: it was taken off the disk everywhere."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    stage.cut_off(laptop, UPLOADS)
    stage.cut_off(desktop, UPLOADS)
    save(laptop, "f", NEWER)
    await stage.until(lambda: visible(desktop) == {"f": NEWER})
    for device in (laptop, desktop):
        stage.cut_off(device, UPLOADS | {"/v1/commit"})
    save(laptop, "f", CONTENT)
    desktop.disk.user.remove(f"{FOLDER}/f")
    await stage.pass_time(5)
    stage.clock.jump(8 * 24 * HOUR)
    stage.host.stop()
    await stage.restart_tracker()
    await stage.until(lambda: any("withdrawn" in line for line in stage.log.lines))
    await stage.until(lambda: not_durable(laptop) == not_durable(desktop) == 0)
    for device in (desktop, laptop):
        stage.cut_off(device)
    await stage.all_well(laptop, desktop, seconds=1000)
    assert visible(desktop) == {"f": CONTENT}


async def have_withdrawn(stage: Stage) -> None:
    """Days pass, and nobody brings what was announced to the cloud."""
    await stage.pass_time(5)
    stage.clock.jump(8 * 24 * HOUR)
    stage.host.stop()
    await stage.restart_tracker()
    await stage.until(lambda: not stage.host.announced())


@scene
async def what_was_withdrawn_before_the_answer_to_its_commit_came_is_an_edit_still(stage: Stage) -> None:
    """The laptop didn't hear that its commit was taken until that was withdrawn again. The delta told of the withdrawal
    alone; the answer to the commit, sent once more, made it agreed on: the older content took its place."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.part_lan()
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    stage.cut_off(laptop, UPLOADS)
    hold_answer(laptop, "/v1/commit")
    save(laptop, "f", NEWER)
    await stage.until(stage.host.announced)
    laptop.switch_off()
    await have_withdrawn(stage)
    save(desktop, "other", b"comes after it")
    await stage.all_well(desktop)
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": NEWER, "other": b"comes after it"}


@scene
async def an_answer_that_comes_after_its_withdrawal_is_asked_for_again(stage: Stage) -> None:
    """The same without a restart: the answer was on its way all the time, and knew nothing of what came later."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.part_lan()
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    stage.cut_off(laptop, UPLOADS | {"/v1/delta"})
    arrive = hold_answer(laptop, "/v1/commit")
    assert laptop.transport is not None
    laptop.transport.cut(silently=True)
    save(laptop, "f", NEWER)
    await stage.until(stage.host.announced)
    await have_withdrawn(stage)
    save(desktop, "other", b"comes after it")
    await stage.all_well(desktop)
    stage.cut_off(laptop, UPLOADS)
    await stage.until(lambda: laptop.revision == stage.host.revision())
    arrive.set()
    stage.cut_off(laptop)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": NEWER, "other": b"comes after it"}


@scene
async def an_answer_that_a_restored_tracker_has_forgotten_is_not_believed(stage: Stage) -> None:
    """It came when the device had merged with the restored tracker already. So the new file was agreed on, but not at
    the tracker: as one that had been deleted elsewhere it was taken off the disk (law 2)."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", b"first")
    await stage.all_well(laptop, desktop)
    backup, before = stage.host.backup(), stage.host.revision()
    arrive = hold_answer(laptop, "/v1/commit")
    desktop.switch_off()
    save(laptop, "new", CONTENT)
    await stage.until(lambda: stage.host.revision() > before)
    stage.host.restore(backup, announced=True)
    await stage.restart_tracker()
    stage.start(desktop)
    for number in range(3):
        save(desktop, f"{number}", b"%d" % number)
        await stage.until(lambda: stage.host.revision() > before + number)  # noqa: B023
    await stage.until(lambda: laptop.revision == stage.host.revision())
    arrive.set()
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": b"first", "new": CONTENT, "0": b"0", "1": b"1", "2": b"2"}


@scene
async def a_commit_right_after_the_cursor_is_of_another_history_if_its_hash_says_so(stage: Stage) -> None:
    """A tracker that was restored unannounced had come just as far again when the laptop, which hadn't noticed, wrote
    something. The cursor went on from there: the laptop never heard of what the desktop had written meanwhile."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    backup = stage.host.backup()
    desktop.switch_off()
    save(laptop, "laptop's", b"first")
    await stage.until(lambda: laptop.settled and laptop.revision == stage.host.revision() > 0)
    assert laptop.transport is not None
    laptop.transport.cut(silently=True)  # it will take a while to notice
    stage.host.restore(backup, announced=False)
    await stage.restart_tracker()
    stage.part_lan()
    stage.start(desktop)
    save(desktop, "desktop's", b"second")
    await stage.until(lambda: stage.host.revision() == laptop.revision)
    save(laptop, "another", b"third")
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"laptop's": b"first", "desktop's": b"second", "another": b"third"}


@scene
async def what_is_written_just_before_its_time_is_set_is_noticed(stage: Stage) -> None:
    """It was as long as before, and its time that of the version: it was held for what it had replaced."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    written = once_at(desktop, "set_times", lambda: desktop.disk.user.overwrite(f"{FOLDER}/f", NEWER, 0))
    laptop.disk.user.touch(f"{FOLDER}/f", 10**18)
    await stage.until(lambda: written)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"f": NEWER}


@scene
async def what_was_moved_to_where_nobody_has_looked_yet_is_not_gone(stage: Stage) -> None:
    """A newer version was about to take its place. It was taken for deleted, and as that is no reason not to have the
    newer version, it was brought there; where it had been moved to, it was then something new."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    for folder in ("from", "to"):
        laptop.disk.user.mkdir(f"{FOLDER}/{folder}")
    save(laptop, "from/f", CONTENT)
    await stage.all_well(laptop, desktop)
    moved = once_at(desktop, "exchange", lambda: desktop.disk.user.move(f"{FOLDER}/from/f", f"{FOLDER}/to/f"))
    save(laptop, "from/f", NEWER)
    await stage.until(lambda: moved)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"to/f": NEWER}


def crash_once_placed(device: SimulatedDevice, call: str, act: Callable[[], None]) -> list[bool]:
    """The program ends between the first swap by this call and its record, and somebody acts before it starts again."""
    crashed, placed = list[bool](), list[bool]()
    before_call = device.disk.before_call
    assert before_call is not None

    def before(name: str, arguments: tuple[object, ...]) -> None:
        if placed and not crashed:
            crashed.append(True)
            device.crash()
            act()
        if name == call and "f" in arguments:
            placed.append(True)
        before_call(name, arguments)

    device.disk.before_call = before
    return crashed


@scene
async def a_file_that_is_moved_before_it_was_recorded_as_in_place_is_not_copied(stage: Stage) -> None:
    """A crash came between the two: under its new name it was something unknown, and under the old one it came again
    (law 11)."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    crashed = crash_once_placed(desktop, "rename", lambda: desktop.disk.user.move(f"{FOLDER}/f", f"{FOLDER}/g"))
    save(laptop, "f", CONTENT)
    await stage.until(lambda: crashed)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"g": CONTENT}


@scene
async def a_newer_version_that_is_moved_before_it_was_recorded_as_in_place_is_not_copied(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    crashed = crash_once_placed(desktop, "exchange", lambda: desktop.disk.user.move(f"{FOLDER}/f", f"{FOLDER}/g"))
    save(laptop, "f", NEWER)
    await stage.until(lambda: crashed)
    await stage.all_well(laptop, desktop)
    await stage.pass_time(200)
    assert visible(desktop) == {"g": NEWER}


@scene
async def a_version_is_not_forgotten_before_it_is_known_whether_it_is_the_durable_head(stage: Stage) -> None:
    """It had turned durable, which the desktop hadn't heard when it wrote the next one. As that was withdrawn, the head
    was one again of which the desktop knew nothing any more: that ended the program."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.part_lan()
    stage.cut_off(desktop, UPLOADS)
    save(desktop, "f", CONTENT)
    await stage.until(lambda: stage.host.announced() and desktop.revision == stage.host.revision())
    assert desktop.transport is not None
    desktop.transport.cut(silently=True)  # it will take a while to notice
    stage.cut_off(desktop, frozenset({"/v1/delta"}))
    await stage.until(lambda: not stage.host.announced())
    stage.cut_off(desktop, UPLOADS | {"/v1/delta"})
    save(desktop, "f", NEWER)
    await stage.until(lambda: stage.host.announced())
    await stage.pass_time(200)
    stage.clock.jump(8 * 24 * HOUR)
    stage.host.stop()
    await stage.restart_tracker()
    await stage.until(lambda: not stage.host.announced())
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"f": NEWER}


def hold_answer(device: SimulatedDevice, path: str) -> trio.Event:
    """Let the next answer to a request of `path` arrive once the event is set."""
    transport, arrive, held = device.transport, trio.Event(), list[str]()
    assert transport is not None
    request = transport.request

    async def held_back(asked: str, *arguments: Any, **options: Any) -> Response:
        response = await request(asked, *arguments, **options)
        if asked == path and not held:
            held.append(asked)
            await arrive.wait()
        return response

    vars(transport)["request"] = held_back
    return arrive


@scene
async def a_folder_that_comes_back_for_a_moment_is_missed_again(stage: Stage) -> None:
    """It was there long enough to be looked at, and not to be watched again: from then on nobody looked, and all was
    said to be synced without a folder (law 9)."""
    (laptop,) = await stage.begin("laptop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop)
    assert laptop.peer is not None
    progress = laptop.peer.synchronizer.progress
    for part in range(1, 5):  # of the pause between two attempts to watch it
        laptop.unmount("/nowhere")
        await stage.until(lambda: progress.error)
        await stage.pass_time(part * RETRY / 5)
        laptop.mount()
        laptop.peer.synchronizer.look_at_everything()
        await stage.until(lambda: not progress.error, every=0.01)
        laptop.unmount("/nowhere")
        await stage.until(lambda: progress.error, seconds=NOTICED + RETRY)
        laptop.mount()
    stage.log.errors.clear()
    await stage.all_well(laptop)
    assert visible(laptop) == {"f": CONTENT}


@scene
async def a_device_that_is_looking_at_its_folder_does_not_say_that_all_is_synced(stage: Stage) -> None:
    """What was to be looked at was crossed off when the look began, and until that was over nothing seemed left to do
    (law 9)."""
    (laptop,) = await stage.begin("laptop")
    before_call, said = laptop.disk.before_call, list[bool]()
    assert before_call is not None

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        before_call(name, arguments)
        if name == "scan" and laptop.peer is not None and laptop.disk.path(arguments[0]) == FOLDER.strip("/"):
            said.append(is_settled(laptop.peer))

    laptop.disk.before_call = before
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop)
    assert said
    assert not any(said)


@scene
async def what_the_rules_of_a_folder_kept_out_comes_when_the_folder_is_removed(stage: Stage) -> None:
    """The folder came back for what was new in it, without its `.shoalignore`. With it the rules were forgotten,
    but not that they had kept something out: it was said to be synced, and stood at the tracker only."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    for device in (laptop, desktop):
        device.disk.user.mkdir(f"{FOLDER}/D")
        device.disk.user.mkdir(f"{FOLDER}/D/E")
    await stage.all_well(laptop, desktop)
    save(laptop, "D/.shoalignore", b"x")
    save(desktop, "D/E/x", b"kept out")  # neither has heard of what the other does
    await stage.pass_time(10)
    assert visible(laptop) == {"D/.shoalignore": b"x"}
    laptop.disk.user.remove(f"{FOLDER}/D")
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"D/E/x": b"kept out"}


@scene
async def what_can_not_be_synced_is_not_looked_at_without_end(stage: Stage) -> None:
    """A file in sync got a time that can't be sent, and a newer version was to take its place. It wasn't as LOCAL said,
    a look didn't change that, and so on at full speed."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", CONTENT)
    await stage.all_well(laptop, desktop)
    laptop.disk.user.touch(f"{FOLDER}/f", -(1 << 63))
    await stage.pass_time(5)
    before_call, looks = laptop.disk.before_call, list[float]()
    assert before_call is not None

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        before_call(name, arguments)
        if name == "scan":
            looks.append(trio.current_time())
            assert len(looks) < 100

    laptop.disk.before_call = before
    save(desktop, "f", NEWER)
    await stage.pass_time(100)
    assert looks
    laptop.disk.user.touch(f"{FOLDER}/f", laptop.clock())
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": NEWER}


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
