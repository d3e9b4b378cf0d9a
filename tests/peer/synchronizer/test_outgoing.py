"""`.shoal/outgoing`: what waits there goes after a minute, unless somebody has written to it (design §7; law 1)."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.root import Folder, open_folder
from peer.synchronizer.holdings import Stored
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.outgoing import KEPT_MS, OutgoingRoom
from peer.synchronizer.replacing import Placed, Target, original_of, put_in_place, send_out, take_away, was_published
from peer.trees import fingerprint
from peer.version_store import Version
from protocol.chunks import seal_chunk
from protocol.hashing import digest
from protocol.identifiers import ContentHash, DeviceId, NodeId, RunId, VersionId
from protocol.manifests import Manifest
from tests.peer.folders import SyncFolder, sync_folder

OLD, NEW, MINE = b"what both agreed on", b"what the tracker has", b"what somebody saved through an old descriptor"


@pytest.fixture(params=["linux", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def room(folder: SyncFolder) -> OutgoingRoom:
    return OutgoingRoom(folder.context, LocalSteps(folder.context))


def waiting(folder: SyncFolder) -> list[str]:
    return folder.hand.names(".shoal/outgoing")


def pass_time(folder: SyncFolder, seconds: float) -> None:
    folder.wall_ns[0] += round(seconds * 1e9)


def put(opened: Folder, target: Target) -> Placed:
    """Bring what is in `.shoal/temp` into place."""
    before = fingerprint(opened.disk.stat(opened.temp, "t"))
    return put_in_place(opened, "t", before, target, "unused")


async def replaced(folder: SyncFolder, spare: VersionId | None = None) -> str:
    """d/f.txt was replaced by Shoal; the name under which the old one waits. `spare` is what it holds, if the cloud
    doesn't have it."""
    folder.hand.mkdir("d")
    folder.hand.write("d/f.txt", OLD)
    folder.hand.write(".shoal/temp/t", NEW)
    await folder.indexer.scan_everything()
    row = folder.row("d/f.txt")
    with folder.opened() as opened:
        placed = put(opened, Target(("d",), "f.txt", row.print))
    assert placed.outgoing is not None
    folder.context.remember_outgoing(placed.outgoing, row, spare)
    return placed.outgoing.name


COPY = "f (conflicted copy, laptop, 2023-11-14).txt"


async def test_it_goes_after_a_minute(folder: SyncFolder) -> None:
    await replaced(folder)
    pass_time(folder, 59.9)
    await room(folder).sweep()
    assert len(waiting(folder)) == 1
    pass_time(folder, 0.1)
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.store.database.rows("SELECT * FROM outgoing") == []
    assert folder.hand.names("d") == ["f.txt"]


@pytest.mark.parametrize("how", ["write", "append"])
async def test_what_was_written_to_comes_back(folder: SyncFolder, how: str) -> None:
    """An editor had it open when it was swapped out."""
    name = await replaced(folder)
    getattr(folder.hand, how)(f".shoal/outgoing/{name}", MINE)
    folder.context.to_look_at.clear()
    await room(folder).sweep()
    assert folder.hand.names("d") == ["f.txt"]  # who has it open may go on writing
    pass_time(folder, 60)
    await room(folder).sweep()
    assert folder.hand.names("d") == [COPY, "f.txt"]
    assert folder.hand.read(f"d/{COPY}").endswith(MINE)
    assert folder.hand.read("d/f.txt") == NEW
    assert waiting(folder) == []
    assert folder.context.to_look_at == {("d",)}


@pytest.mark.parametrize("changed", [False, True])
async def test_a_copy_of_the_folder_has_copies_of_what_waits(folder: SyncFolder, changed: bool) -> None:
    """The folder was moved to another disk, or restored from a backup: every file is another one, with the old time or
    a new one. They came back, all that was deleted or replaced in the minute before."""
    folder.hand.write("f.txt", OLD)
    folder.hand.write(".shoal/temp/t", NEW)
    await folder.indexer.scan_everything()
    folder.now_read()
    row = folder.row("f.txt")
    with folder.opened() as opened:
        outgoing = put(opened, Target((), "f.txt", row.print, digest(OLD))).outgoing
    assert outgoing is not None
    folder.context.remember_outgoing(outgoing, row, None)
    (name,) = waiting(folder)
    folder.hand.write(".shoal/outgoing/copy", OLD[::-1] if changed else OLD)
    folder.hand.remove(f".shoal/outgoing/{name}")
    folder.hand.move(".shoal/outgoing/copy", f".shoal/outgoing/{name}")
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.hand.names() == ([COPY, "f.txt"] if changed else ["f.txt"])


@pytest.mark.parametrize("changed", [False, True])
async def test_what_a_power_cut_changed_under_its_old_time_comes_back(folder: SyncFolder, changed: bool) -> None:
    folder.hand.write("f.txt", OLD)
    folder.hand.write(".shoal/temp/t", NEW)
    folder.hand.touch("f.txt", 10**18)
    folder.context.surprises.suspect()
    await folder.indexer.scan_everything()
    folder.now_read()
    row = folder.row("f.txt")
    if changed:
        folder.hand.write("f.txt", OLD[::-1])
        folder.hand.touch("f.txt", 10**18)
        await folder.indexer.scan_everything()
    with folder.opened() as opened:
        outgoing = put(opened, Target((), "f.txt", folder.row("f.txt").print, digest(OLD))).outgoing
    assert outgoing is not None
    folder.context.remember_outgoing(outgoing, row, None)
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.hand.names() == ([COPY, "f.txt"] if changed else ["f.txt"])


async def test_a_folder_that_came_out_in_the_place_of_a_file_comes_back(folder: SyncFolder) -> None:
    """Somebody had swapped the two just then, and a crash came before anybody saw."""
    folder.hand.mkdir(".shoal/outgoing/1-2-0-f.txt")
    folder.hand.write(".shoal/outgoing/1-2-0-f.txt/mine", MINE)
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.hand.read(f"{COPY}/mine") == MINE


async def test_what_comes_back_when_its_folder_is_gone(folder: SyncFolder) -> None:
    name = await replaced(folder)
    folder.hand.write(f".shoal/outgoing/{name}", MINE)
    folder.hand.remove("d")
    await folder.indexer.scan_everything()
    pass_time(folder, 60)
    await room(folder).sweep()
    assert folder.hand.names() == [COPY]
    assert folder.hand.read(COPY) == MINE


async def test_what_was_removed_and_written_to_comes_back(folder: SyncFolder) -> None:
    folder.hand.mkdir("d")
    folder.hand.write("d/f.txt", OLD)
    await folder.indexer.scan_everything()
    row = folder.row("d/f.txt")
    with folder.opened() as opened:
        out = take_away(opened, Target(("d",), "f.txt", row.print))
    folder.context.remember_outgoing(out, row, None)
    folder.store.drop_local(row.node)
    folder.hand.append(f".shoal/outgoing/{out.name}", MINE)
    pass_time(folder, 60)
    await room(folder).sweep()
    assert folder.hand.names("d") == [COPY]
    assert folder.hand.read(f"d/{COPY}") == OLD + MINE


async def test_a_clock_that_jumps_back(folder: SyncFolder) -> None:
    """The minute begins anew: it neither ends early nor lasts for years."""
    await replaced(folder)
    pass_time(folder, -100_000_000)
    await room(folder).sweep()
    assert len(waiting(folder)) == 1
    pass_time(folder, KEPT_MS / 1000 - 1)
    await room(folder).sweep()
    assert len(waiting(folder)) == 1
    pass_time(folder, 1)
    await room(folder).sweep()
    assert waiting(folder) == []


async def test_a_clock_that_jumps_forth(folder: SyncFolder) -> None:
    """It is set, or the machine has slept: whoever holds the file open has not had that time."""
    await replaced(folder)
    same = room(folder)
    await same.sweep()
    pass_time(folder, 300)
    await same.sweep()
    assert len(waiting(folder)) == 1
    pass_time(folder, 3600)
    await room(folder).sweep()
    assert waiting(folder) == []


async def test_what_is_gone_by_itself(folder: SyncFolder) -> None:
    name = await replaced(folder)
    folder.hand.remove(f".shoal/outgoing/{name}")
    pass_time(folder, 60)
    await room(folder).sweep()
    assert folder.store.database.rows("SELECT * FROM outgoing") == []


def publish(folder: SyncFolder, content: bytes) -> None:
    """A version with this content is known."""
    manifest = Manifest(size=len(content), mtime_ns=1, inline=content)
    node = NodeId(bytes(16))
    folder.context.versions.put(Version(VersionId(b"v" * 16), node, DeviceId(bytes(16)), manifest, ()))


async def test_what_a_crash_left_waits_its_minute_from_now(folder: SyncFolder) -> None:
    publish(folder, OLD)
    folder.hand.write(".shoal/outgoing/left", OLD)
    await room(folder).sweep()
    pass_time(folder, 59)
    await room(folder).sweep()
    assert waiting(folder) == ["left"]
    pass_time(folder, 1)
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.hand.names() == []


async def test_what_a_crash_left_and_nobody_knows_comes_back(folder: SyncFolder) -> None:
    """It was edited between the last check and the swap, and then the power went."""
    publish(folder, OLD)
    folder.hand.write(".shoal/outgoing/left", MINE)
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    (copy,) = folder.hand.names()
    assert "conflicted copy" in copy
    assert folder.hand.read(copy) == MINE
    assert waiting(folder) == []


async def test_what_nobody_knows_comes_back_under_the_name_it_had(folder: SyncFolder) -> None:
    """A power cut cost the database the record of it."""
    publish(folder, OLD)
    folder.hand.write("letter - draft.txt", MINE)
    with open_folder(folder.context.disk, folder.context.root) as opened:
        send_out(opened, opened.directory(()), "letter - draft.txt", Target((), "letter - draft.txt", None))
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    (copy,) = folder.hand.names()
    assert copy.startswith("letter - draft (conflicted copy, ")
    assert copy.endswith(").txt")


@pytest.mark.parametrize("how", ["removed", "replaced", "replaced in turn"])
@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize(("name", "told"), [("f.txt", True), ("n" * 215, False), ("n" * 255, True)])
async def test_what_was_in_the_cloud_is_known_for_that_without_a_database(
    simulated: SyncFolder, how: str, edited: bool, name: str, told: bool
) -> None:
    """Its name here says what it holds. Where a long name leaves no room for that, and after an edit, it comes back."""

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "exchange" and how == "replaced in turn":
            raise OSError(errno.EINVAL, "invalid argument")

    simulated.hand.write(name, OLD)
    simulated.hand.write(".shoal/temp/t", NEW)
    await simulated.indexer.scan_everything()
    target = Target((), name, simulated.row(name).print, digest(OLD))
    simulated.simulated.before_call = before
    with simulated.opened() as opened:
        out = take_away(opened, target) if how == "removed" else put(opened, target).outgoing
    assert out is not None
    if edited:
        simulated.hand.append(f".shoal/outgoing/{out.name}", MINE)
    await room(simulated).sweep(unknown=False)
    pass_time(simulated, 59)
    await room(simulated).sweep()
    assert waiting(simulated) == [out.name]
    pass_time(simulated, 61)
    await room(simulated).sweep()
    assert waiting(simulated) == []
    copies = [simulated.hand.read(each) for each in simulated.hand.names() if "conflicted" in each]
    assert copies == ([OLD + MINE] if edited else [] if told else [OLD])


def test_what_a_name_in_outgoing_tells() -> None:
    assert not was_published("5-6-0-f.txt", digest(OLD))
    assert not was_published(f"5-6-0-x.{digest(OLD)[:16].hex()}", digest(OLD))  # a person's own name for a file
    assert was_published(f"5-6-0.{digest(OLD)[:16].hex()}-f-g.txt", digest(OLD))
    assert not was_published(f"5-6-0.{digest(OLD)[:16].hex()}-f-g.txt", digest(NEW))
    assert original_of(f"5-6-0.{digest(OLD)[:16].hex()}-f-g.txt") == "f-g.txt"
    assert not was_published("left", digest(OLD))


async def test_two_of_one_name_come_back_in_one_sweep(folder: SyncFolder) -> None:
    for number in range(2):
        folder.hand.write(f".shoal/outgoing/{number}-5-0-f.txt", MINE)
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    assert folder.hand.names() == ["f (conflicted copy, laptop, 2023-11-14 2).txt", COPY]


async def test_a_symlink_that_nobody_knows_comes_back(folder: SyncFolder) -> None:
    folder.hand.link_to("nowhere at all", ".shoal/outgoing/left")
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == []
    await folder.indexer.scan_everything()
    assert len(folder.paths()) == 1


async def test_one_that_can_not_be_dealt_with_stops_only_itself(simulated: SyncFolder) -> None:
    """Law 15."""
    publish(simulated, OLD)
    for name in ("a", "b", "c"):
        simulated.hand.write(f".shoal/outgoing/{name}", OLD)
    await room(simulated).sweep()
    pass_time(simulated, 60)

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "unlink" and arguments[1] == "a":
            raise OSError(errno.EIO, "input/output error")

    simulated.simulated.before_call = before
    await room(simulated).sweep()
    assert waiting(simulated) == ["a"]
    simulated.simulated.before_call = None
    await room(simulated).sweep()
    assert waiting(simulated) == []


async def test_a_conflict_name_that_was_taken_on_the_disk_meanwhile(folder: SyncFolder) -> None:
    """LOCAL doesn't know of it yet; the next sweep does, after a look."""
    name = await replaced(folder)
    folder.hand.write(f".shoal/outgoing/{name}", MINE)
    folder.hand.write(f"d/{COPY}", b"in the way")
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == [name]
    await folder.indexer.scan_everything()
    await room(folder).sweep()
    assert folder.hand.read("d/f (conflicted copy, laptop, 2023-11-14 2).txt") == MINE
    assert folder.hand.read(f"d/{COPY}") == b"in the way"


# The spool ------------------------------------------------------------------------------------------------------------


VERSION = VersionId(b"v" * 16)


async def test_what_is_not_in_the_cloud_stays_until_it_is(folder: SyncFolder) -> None:
    name = await replaced(folder, VERSION)
    pass_time(folder, 7 * 24 * 3600)
    await room(folder).sweep()
    assert waiting(folder) == [name]
    assert folder.context.versions.spooled() == [VERSION]
    folder.context.versions.put_durable([VERSION])
    assert folder.context.versions.spooled() == []
    await room(folder).sweep()
    assert waiting(folder) == []
    assert folder.hand.names("d") == ["f.txt"]


async def test_an_edit_of_what_is_spooled_comes_back_in_the_end(folder: SyncFolder) -> None:
    name = await replaced(folder, VERSION)
    folder.hand.write(f".shoal/outgoing/{name}", MINE)
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == [name]
    folder.context.versions.put_durable([VERSION])
    await room(folder).sweep()
    assert folder.hand.read(f"d/{COPY}") == MINE


async def test_what_a_crash_left_is_spooled_too(folder: SyncFolder) -> None:
    """Its record was lost with the crash; what it holds tells."""
    manifest = Manifest(size=len(OLD), mtime_ns=1, content_hash=ContentHash(digest(OLD)), run_keys=(bytes(32),))
    folder.context.versions.put(Version(VERSION, NodeId(bytes(16)), DeviceId(bytes(16)), manifest, (RunId(bytes(32)),)))
    folder.hand.write(".shoal/outgoing/left", OLD)
    await room(folder).sweep()
    pass_time(folder, 60)
    await room(folder).sweep()
    assert waiting(folder) == ["left"]
    assert folder.context.versions.spooled() == [VERSION]


async def test_what_is_spooled_is_held(folder: SyncFolder) -> None:
    """Uploads and devices on the LAN find it there."""
    name = await replaced(folder, VERSION)
    place = folder.context.holdings.places([VERSION])[VERSION]
    assert (place.parent, place.name) == ((".shoal", "outgoing"), name)
    ref, sealed = seal_chunk(folder.context.keys.newest.convergence, OLD)
    assert folder.context.holdings.read([Stored(ref, place, 0)]) == ([bytearray(sealed)], set())
