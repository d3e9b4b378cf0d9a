"""History: devices that look back, restore and rewind, while others edit, are away, or do the same."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from unittest import mock

import pytest
import trio

from peer.excluding import exclude
from peer.history import committing
from peer.history.control import PAST
from protocol.errors import Problem, ShoalError, Unreachable, Usage
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.fence import Crashed
from tests.simulation.stage import Stage, perform, save, visible
from tracker.plans import FREE, PLANS, Plan

FIRST, SECOND, THIRD = b"first", b"second" * 5000, b"third"
SCENES: list[Callable[[Stage], Awaitable[None]]] = []


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


async def command(device: SimulatedDevice, name: str, path: str | None = None, **arguments: Any) -> Any:
    """What a person gives to the daemon."""
    assert device.peer is not None
    given = {} if path is None else {"path": f"{FOLDER}/{path}".rstrip("/")}
    return await PAST[name](device.peer, {**given, **arguments})


def revision(device: SimulatedDevice) -> int:
    assert device.peer is not None
    return device.peer.remote.cursor().revision


def remove(device: SimulatedDevice, name: str) -> None:
    device.disk.user.remove(f"{FOLDER}/{name}")


def folder(device: SimulatedDevice, name: str) -> None:
    device.disk.user.mkdir(f"{FOLDER}/{name}")


async def rewind(device: SimulatedDevice, to: int, path: str | None = None) -> Any:
    return await command(device, "rewind", path, revision=to, apply=True)


def versions(answer: Any) -> list[int]:
    return [row["version"] for row in answer["rows"] if row["version"] is not None]


@scene
async def a_version_is_brought_back_and_the_newer_one_stays_in_history(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    for content in (FIRST, SECOND, THIRD):
        save(laptop, "f", content)
        await stage.all_well(laptop, desktop)
    assert versions(await command(desktop, "history", "f")) == [1, 2, 3]
    done = await command(desktop, "restore", "f", version=2)
    assert (done["path"], done["files"]) == ("f", 1)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"f": SECOND}
    answer = await command(laptop, "history", "f")
    assert versions(answer) == [1, 2, 3, 4]
    assert [row["current"] for row in answer["rows"]] == [False, False, False, True]
    assert [row["device"] for row in answer["rows"]][-1] == desktop.peer.context.device.hex()[:8]  # type: ignore[union-attr]
    assert (await command(laptop, "restore", "f", version=4))["revision"] is None
    with pytest.raises(Usage, match="versions 1 to 4"):
        await command(laptop, "restore", "f", version=5)
    with pytest.raises(Usage, match="is there"):
        await command(laptop, "restore", "f")


@scene
async def a_deleted_file_comes_back(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    save(laptop, "f", SECOND)
    await stage.all_well(laptop, desktop)
    remove(desktop, "f")
    await stage.all_well(laptop, desktop)
    answer = await command(laptop, "history", "f")
    assert not answer["there"]
    assert [row["what"] for row in answer["rows"]] == ["created", "changed", "deleted"]
    assert [row["name"] for row in (await command(laptop, "history", ""))["deleted"]] == ["f"]
    await command(laptop, "restore", "f")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": SECOND}
    remove(desktop, "f")
    await stage.all_well(laptop, desktop)
    await command(desktop, "restore", "f", version=1)
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == {"f": FIRST}
    with pytest.raises(Usage, match="nothing of that name"):
        await command(laptop, "history", "g")


@scene
async def of_what_was_moved_the_old_name_tells_where_it_went(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    folder(laptop, "d")
    save(laptop, "d/old", FIRST)
    save(laptop, "d/second", SECOND)
    save(laptop, "d/stays", THIRD)
    await stage.all_well(laptop, desktop)
    for old, new in (("d/old", "new"), ("d/second", "third"), ("d", "e")):
        laptop.disk.user.move(f"{FOLDER}/{old}", f"{FOLDER}/{new}")
        await stage.all_well(laptop, desktop)
    remove(laptop, "third")
    await stage.all_well(laptop, desktop)
    told = {
        "e/old": "^e/old was moved to new: see shoal history new$",
        "e/second": "^e/second was moved to third, and deleted there: see shoal history third$",
        "d": "^d was moved to e: see shoal history e$",
        "d/old": "^d was moved to e: see shoal history e/old$",
        "e/never": "nothing of that name",
        "never/old": "nothing of that name",
    }
    for path, words in told.items():
        for name in ("history", "restore"):
            with pytest.raises(Usage, match=words):
                await command(desktop, name, path)
    # What is there under the name now is what it is about.
    save(laptop, "e/old", THIRD)
    await stage.all_well(laptop, desktop)
    assert versions(await command(desktop, "history", "e/old")) == [1]
    assert versions(await command(desktop, "history", "new")) == [1]


@scene
async def what_is_restored_and_not_wanted_here_is_said_to_be(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    folder(laptop, "d")
    for name, content in (("d/a.log", FIRST), ("d/b.log", FIRST), ("kept", FIRST)):
        save(laptop, name, content)
        await stage.all_well(laptop, desktop)
    save(laptop, "d/a.log", SECOND)
    remove(laptop, "d/b.log")
    await stage.all_well(laptop, desktop)
    save(laptop, ".shoalignore", b"*.log\n")
    await stage.all_well(laptop, desktop)
    ignored = "it is ignored here, by line 1 of .shoalignore: *.log"
    answer = await command(desktop, "restore", "d/b.log")
    assert (answer["path"], answer["files"], answer["not_here"]) == ("d/b.log", 1, ignored)
    answer = await command(desktop, "restore", "d/a.log", version=1)
    assert (answer["files"], answer["not_here"]) == (1, ignored)
    answer = await command(desktop, "restore", "d/a.log", version=1)
    assert (answer["revision"], answer["not_here"]) == (None, ignored)
    with pytest.raises(Usage, match=r"cloud; it is ignored here, by line 1 of \.shoalignore: \*\.log$"):
        await command(desktop, "restore", "d/c.log")
    assert visible(desktop)["d/a.log"] == SECOND  # what is here stays
    save(laptop, "kept", SECOND)
    await stage.all_well(laptop, desktop)
    assert desktop.peer is not None
    exclude(desktop.peer.context, f"{FOLDER}/kept")
    await stage.pass_time(90)
    answer = await command(desktop, "restore", "kept", version=1)
    assert answer["not_here"] == "it is excluded here; shoal include brings it"
    assert (await command(laptop, "restore", "kept", version=2))["not_here"] is None


@scene
async def a_version_of_a_deleted_file_is_written_over_the_one_that_has_its_name(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    remove(laptop, "f")
    await stage.all_well(laptop, desktop)
    save(desktop, "f", SECOND)
    await stage.all_well(laptop, desktop)
    assert versions(await command(laptop, "history", "f")) == [1, 2]
    await command(laptop, "restore", "f", version=1)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": FIRST}
    await command(laptop, "restore", "f", version=2)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"f": SECOND}


@scene
async def a_file_whose_name_a_folder_has_comes_back_beside_it(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f.txt", FIRST)
    await stage.all_well(laptop, desktop)
    remove(laptop, "f.txt")
    await stage.all_well(laptop, desktop)
    folder(laptop, "f.txt")
    await stage.all_well(laptop, desktop)
    done = await command(laptop, "restore", "f.txt", version=1)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {done["path"]: FIRST}
    assert done["path"].startswith("f (restored, ")


@scene
async def a_folder_in_whose_place_a_file_is_comes_back_beside_it(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    folder(laptop, "d")
    save(laptop, "d/a", FIRST)
    await stage.all_well(laptop, desktop)
    remove(laptop, "d")
    await stage.all_well(laptop, desktop)
    save(laptop, "d", SECOND)
    await stage.all_well(laptop, desktop)
    kinds = [(row["what"], row["kind"]) for row in (await command(laptop, "history", "d"))["rows"]]
    assert kinds == [("created", "folder"), ("deleted", "folder"), ("created", "file")]
    done = await command(laptop, "restore", "d")
    await stage.all_well(laptop, desktop)
    assert done["path"].startswith("d (restored, ")
    assert visible(desktop) == {"d": SECOND, f"{done['path']}/a": FIRST}
    with pytest.raises(Usage, match="say which version you want"):
        await command(laptop, "restore", "d")


@scene
async def a_deleted_folder_comes_back_with_what_was_deleted_along_with_it(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    folder(laptop, "d")
    folder(laptop, "d/sub")
    for name in ("d/a", "d/sub/b", "d/old"):
        save(laptop, name, name.encode())
    await stage.all_well(laptop, desktop)
    remove(laptop, "d/old")
    await stage.all_well(laptop, desktop)
    await stage.pass_time(200)
    for name in ("d/a", "d/sub/b", "d/sub", "d"):
        remove(desktop, name)
    await stage.all_well(laptop, desktop)
    done = await command(laptop, "restore", "d")
    assert done["files"] == 2
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"d/a": b"d/a", "d/sub/b": b"d/sub/b"}
    assert [row["name"] for row in (await command(desktop, "history", "d"))["deleted"]] == ["old"]


@scene
async def a_file_comes_back_in_folders_that_are_deleted_too(stage: Stage) -> None:
    """Without what else was in them; and into a folder that has the path by now."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    folder(laptop, "d")
    folder(laptop, "d/sub")
    for name in ("d/sub/a", "d/sub/b"):
        save(laptop, name, name.encode())
    await stage.all_well(laptop, desktop)
    for name in ("d/sub/a", "d/sub/b", "d/sub", "d"):
        remove(laptop, name)
    await stage.all_well(laptop, desktop)
    await command(laptop, "restore", "d/sub/a")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"d/sub/a": b"d/sub/a"}
    for name in ("d/sub/a", "d/sub", "d"):
        remove(laptop, name)
    await stage.all_well(laptop, desktop)
    folder(desktop, "d")
    await stage.all_well(laptop, desktop)
    await command(laptop, "restore", "d/sub")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"d/sub/a": b"d/sub/a"}
    assert desktop.differences() == []


@scene
async def an_edit_made_meanwhile_is_not_lost(stage: Stage) -> None:
    """A restore and a rewind while another device, offline, edits the same file."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    start = revision(laptop)
    save(laptop, "f", SECOND)
    save(laptop, "g", SECOND)
    await stage.all_well(laptop, desktop)
    desktop.switch_off()
    save(desktop, "f", b"edited offline")
    save(desktop, "g", b"edited offline, too")
    await rewind(laptop, start)
    await stage.all_well(laptop)
    assert visible(laptop) == {"f": FIRST}
    stage.start(desktop)
    await stage.all_well(laptop, desktop)
    assert sorted(visible(laptop).values()) == [b"edited offline", b"edited offline, too", FIRST]


async def _a_busy_day(stage: Stage, laptop: SimulatedDevice, desktop: SimulatedDevice) -> tuple[int, dict[str, bytes]]:
    """A tree, its revision, and after that all sorts of changes."""
    folder(laptop, "d")
    folder(laptop, "e")
    for name in ("d/a", "d/b", "e/c", "top"):
        save(laptop, name, name.encode())
    await stage.all_well(laptop, desktop)
    then, tree = revision(laptop), visible(laptop)
    user = desktop.disk.user
    user.move(f"{FOLDER}/d/a", f"{FOLDER}/e/moved")
    user.move(f"{FOLDER}/d", f"{FOLDER}/renamed")
    save(desktop, "renamed/b", SECOND)
    save(desktop, "top", THIRD)
    await stage.all_well(laptop, desktop)
    remove(laptop, "e/c")
    folder(laptop, "new")
    save(laptop, "new/file", FIRST)
    laptop.disk.user.move(f"{FOLDER}/e/moved", f"{FOLDER}/new/moved")
    await stage.all_well(laptop, desktop)
    remove(desktop, "e")
    await stage.all_well(laptop, desktop)
    return then, tree


@scene
async def everything_is_rewound_in_one_step_and_that_is_undone(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    then, tree = await _a_busy_day(stage, laptop, desktop)
    later, before = visible(laptop), revision(laptop)
    preview = await command(desktop, "rewind", revision=then)
    assert preview["counts"] == {"restored": 2, "changed": 2, "moved": 2, "deleted": 2}
    assert not preview["done"]
    assert revision(desktop) == before
    done = await rewind(desktop, then)
    assert done["done"]
    await stage.all_well(laptop, desktop)
    assert visible(laptop) == tree
    assert not (await rewind(laptop, then))["done"], "there is nothing left to change"
    await rewind(laptop, int(done["undo"][1:]))
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == later
    assert not any("from a full snapshot" in line for line in stage.log.lines), "a delta has to tell all of it"


@scene
async def a_single_folder_is_rewound(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    then, _ = await _a_busy_day(stage, laptop, desktop)
    await rewind(laptop, then, "renamed")
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {"renamed/a": b"d/a", "renamed/b": b"d/b", "top": THIRD, "new/file": FIRST}
    await rewind(laptop, then, "e")
    await stage.all_well(laptop, desktop)
    assert visible(desktop)["e/c"] == b"e/c"
    with pytest.raises(Usage, match="wasn't there yet"):
        await rewind(laptop, then, "new")
    with pytest.raises(Usage, match="no folder"):
        await rewind(laptop, then, "top")
    with pytest.raises(Usage, match="nothing yet"):
        await rewind(laptop, 0)


@scene
async def what_was_agreed_to_is_what_is_done(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    then = revision(laptop)
    save(laptop, "f", SECOND)
    await stage.all_well(laptop, desktop)
    preview = await command(desktop, "rewind", revision=then)
    save(laptop, "g", THIRD)
    await stage.all_well(laptop, desktop)
    with pytest.raises(Problem, match="changed meanwhile"):
        await command(desktop, "rewind", revision=then, apply=True, agreed=preview["plan"])
    assert visible(laptop) == {"f": SECOND, "g": THIRD}


@scene
async def of_two_rewinds_at_once_one_is_done_and_the_other_has_nothing_left_to_do(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    then, tree = await _a_busy_day(stage, laptop, desktop)
    done: list[bool] = []

    async def one(device: SimulatedDevice) -> None:
        done.append((await rewind(device, then))["done"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, laptop)
        nursery.start_soon(one, desktop)
    await stage.all_well(laptop, desktop)
    assert sorted(done) == [False, True]
    assert visible(laptop) == tree


async def _many(stage: Stage, device: SimulatedDevice, others: tuple[SimulatedDevice, ...]) -> int:
    """Files, deleted by now, and the revision at which they were there."""
    for number in range(30):
        save(device, f"{number}", str(number).encode())
    await stage.all_well(device, *others)
    then = revision(device)
    for number in range(30):
        remove(device, f"{number}")
    await stage.all_well(device, *others)
    assert visible(device) == {}
    return then


WHOLE = {str(number): str(number).encode() for number in range(30)}


@scene
async def a_commit_in_parts_is_seen_whole_or_not_at_all(stage: Stage) -> None:
    """The tracker is restarted between two parts, and the phone looks all the time."""
    laptop, desktop, phone = await stage.begin("laptop", "desktop", "phone")
    then = await _many(stage, laptop, (desktop, phone))
    assert phone.peer is not None
    store, seen = phone.peer.context.store, set[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_look, lambda: seen.add(len(store.remote_children(bytes(16)))))  # type: ignore[arg-type]
        nursery.start_soon(_restart_after, stage, "asks /v1/stage", 3)
        done = await rewind(laptop, then)
        await stage.all_well(laptop, desktop, phone)
        nursery.cancel_scope.cancel()
    assert done["done"]
    assert done["at"] - int(done["undo"][1:]) == 6, "ten operations a part"
    assert visible(desktop) == WHOLE
    assert seen == {0, 30}


async def _look(look: Callable[[], object]) -> None:
    while True:
        look()
        await trio.sleep(0.01)


async def _restart_after(stage: Stage, line: str, times: int) -> None:
    await stage.until(lambda: sum(line in each for each in stage.log.lines) >= times, every=0.01)
    stage.host.stop()
    await trio.sleep(3)
    await stage.restart_tracker()


@scene
async def a_crash_between_parts_leaves_all_as_it_was(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    then = await _many(stage, laptop, (desktop,))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_die_at_rewinding, laptop, then)
        await stage.until(lambda: any("asks /v1/stage" in line for line in stage.log.lines), every=0.001)
        laptop.crash()
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == {}
    await rewind(laptop, then)
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == WHOLE


async def _die_at_rewinding(device: SimulatedDevice, then: int) -> None:
    """A command whose daemon ends before it is done."""
    with pytest.raises(Crashed):
        await rewind(device, then)


@scene
async def an_answer_that_is_lost_is_asked_for_again(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    then = await _many(stage, laptop, (desktop,))
    stage.weather.lost = 0.4
    for _ in range(5):
        try:
            await rewind(laptop, then)
            break
        except Unreachable:
            continue
    stage.weather.lost = 0.0
    await stage.all_well(laptop, desktop)
    assert visible(desktop) == WHOLE
    rows = (await command(laptop, "history", "7"))["rows"]
    assert [row["what"] for row in rows] == ["created", "deleted", "restored"]


@scene
async def a_file_that_never_reached_the_cloud_is_no_version(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, frozenset({"/v1/pack"}))
    save(laptop, "f", SECOND)
    await stage.until(lambda: visible(desktop) == {"f": SECOND})
    stage.cut_off(desktop, frozenset({"/v1/pack"}))
    then = revision(laptop)
    (row,) = (await command(laptop, "history", "f"))["rows"]
    assert not row["in_the_cloud"]
    with pytest.raises(Problem, match="not in the cloud"):
        await command(laptop, "restore", "f", version=1)
    save(laptop, "f", FIRST)
    await stage.until(lambda: visible(desktop) == {"f": FIRST})
    plan = await command(laptop, "rewind", revision=then)
    assert (plan["left"], any(plan["counts"].values())) == (1, False)
    stage.cut_off(laptop)
    stage.cut_off(desktop)
    await stage.all_well(laptop, desktop)


@scene
async def links_times_and_permissions_come_back(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    user = laptop.disk.user
    user.link_to("where", f"{FOLDER}/link")
    save(laptop, "tool", FIRST)
    user.chmod(f"{FOLDER}/tool", 0o700)
    user.touch(f"{FOLDER}/tool", 1_234_567_890_123_456_789)
    await stage.all_well(laptop, desktop)
    before, then = desktop.disk.user.tree(FOLDER), revision(laptop)
    user.remove(f"{FOLDER}/link")
    user.link_to("elsewhere", f"{FOLDER}/link")
    remove(laptop, "tool")
    await stage.all_well(laptop, desktop)
    await command(desktop, "restore", "tool")
    await rewind(desktop, then)
    await stage.all_well(laptop, desktop)
    assert desktop.disk.user.tree(FOLDER) == before


@scene
async def what_has_no_room_is_not_restored(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", Random(2).randbytes(5000))
    await stage.all_well(laptop, desktop)
    then = revision(laptop)
    remove(laptop, "f")
    await stage.all_well(laptop, desktop)
    with mock.patch.dict(PLANS, {FREE.name: Plan(FREE.name, quota=1000)}):
        with pytest.raises(Problem, match="storage is full"):
            await command(laptop, "restore", "f")
        with pytest.raises(Problem, match="storage is full"):
            await rewind(laptop, then)
    assert visible(laptop) == {}
    await command(laptop, "restore", "f")
    await stage.all_well(laptop, desktop)


@scene
async def of_two_who_restore_the_same_one_is_told_that_it_is_there(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    remove(laptop, "f")
    await stage.all_well(laptop, desktop)
    told: list[str] = []

    async def one(device: SimulatedDevice) -> None:
        try:
            await command(device, "restore", "f")
            told.append("restored")
        except Usage as refusal:
            told.append(str(refusal))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, laptop)
        nursery.start_soon(one, desktop)
    await stage.all_well(laptop, desktop)
    assert sorted(told) == ["f is there: say which version you want; shoal history lists them", "restored"]
    assert visible(desktop) == {"f": FIRST}


@scene
async def nothing_is_done_without_the_tracker_or_while_paused(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", FIRST)
    await stage.all_well(laptop, desktop)
    assert laptop.peer is not None
    laptop.peer.synchronizer.pause(paused=True)
    with pytest.raises(Usage, match="paused"):
        await command(laptop, "restore", "f", version=1)
    laptop.peer.synchronizer.pause(paused=False)
    stage.host.stop()
    for name in ("history", "restore"):
        with pytest.raises(ShoalError, match="reach"):
            await command(laptop, name, "f")
    await stage.restart_tracker()
    await stage.all_well(laptop, desktop)


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "MAX_COMMIT_OPERATIONS", 10)
    perform(act)
