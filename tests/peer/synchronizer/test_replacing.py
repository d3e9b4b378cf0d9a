"""Putting in place and taking away, with somebody writing at every possible moment (design §7; laws 1, 14, 15)."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from peer.root import Folder
from peer.synchronizer.replacing import (
    Changed,
    Outgoing,
    Placed,
    Target,
    move,
    put_in_place,
    same_file,
    send_out,
    set_attributes,
    take_away,
)
from peer.system.disk import LinuxDisk
from peer.trees import Content, Fingerprint, fingerprint
from tests.peer.folders import SimulatedHand, SyncFolder, sync_folder

NEW, OLD, MINE = b"what the tracker has", b"what both agreed on", b"what somebody saved just now"
COPY = "f (conflicted copy)"
LATER = 7_000_000_000
DRESS = Content(b"", LATER, executable=True, private=True)


@pytest.fixture(params=["linux", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def prepare(folder: SyncFolder, *, old: bool = True) -> Target:
    """d/f as both agreed on, unless it is to be new, and its new version in `.shoal/temp/t`."""
    folder.hand.mkdir("d")
    if old:
        folder.hand.write("d/f", OLD)
        folder.hand.touch("d/f", 1_000_000_000)
    folder.hand.write(".shoal/temp/t", NEW)
    folder.hand.touch(".shoal/temp/t", LATER)
    return Target(("d",), "f", look(folder, "d", "f") if old else None)


def look(folder: SyncFolder, *path: str) -> Fingerprint:
    with folder.opened() as opened:
        return fingerprint(folder.disk.stat(opened.directory(path[:-1]), path[-1]))


def outgoing(folder: SyncFolder) -> list[str]:
    return folder.hand.names(".shoal/outgoing")


def put(opened: Folder, target: Target) -> Placed:
    """Bring what is in `.shoal/temp` into place."""
    before = fingerprint(opened.disk.stat(opened.temp, "t"))
    return put_in_place(opened, "t", before, target, COPY)


# Put in place --------------------


def test_a_new_file(folder: SyncFolder) -> None:
    target = prepare(folder, old=False)
    with folder.opened() as opened:
        placed = put(opened, target)
    assert placed == Placed(look(folder, "d", "f"))
    assert folder.hand.read("d/f") == NEW
    assert folder.hand.names(".shoal/temp") == outgoing(folder) == []


def test_a_replacement(folder: SyncFolder) -> None:
    target = prepare(folder)
    with folder.opened() as opened:
        placed = put(opened, target)
    assert folder.hand.read("d/f") == NEW
    assert placed.print == look(folder, "d", "f")
    assert placed.kept is None
    assert placed.outgoing is not None
    assert outgoing(folder) == [placed.outgoing.name]
    assert folder.hand.read(f".shoal/outgoing/{placed.outgoing.name}") == OLD
    assert placed.outgoing.print == look(folder, ".shoal", "outgoing", placed.outgoing.name)
    assert folder.hand.names(".shoal/temp") == []
    assert folder.hand.names("d") == ["f"]


def test_a_symlink_is_replaced_as_one(folder: SyncFolder) -> None:
    folder.hand.write("outside of it", OLD)
    folder.hand.mkdir("d")
    folder.hand.link_to("../outside of it", "d/f")
    folder.hand.write(".shoal/temp/t", NEW)
    with folder.opened() as opened:
        put(opened, Target(("d",), "f", look(folder, "d", "f")))
    assert folder.hand.read("d/f") == NEW
    assert folder.hand.read("outside of it") == OLD


@pytest.mark.parametrize("change", ["write", "save", "chmod", "touch", "remove", "directory"])
def test_what_changed_before_is_left_alone(folder: SyncFolder, change: str) -> None:
    target = prepare(folder)
    if change in ("write", "save"):
        getattr(folder.hand, change)("d/f", MINE)
    elif change == "chmod":
        folder.hand.chmod("d/f", 0o600)
    elif change == "touch":
        folder.hand.touch("d/f", 5)
    else:
        folder.hand.remove("d/f")
        if change == "directory":
            folder.hand.mkdir("d/f")
    with folder.opened() as opened, pytest.raises(Changed):
        put(opened, target)
    assert folder.hand.read(".shoal/temp/t") == NEW
    assert outgoing(folder) == []
    if change in ("write", "save"):
        assert folder.hand.read("d/f") == MINE


def test_a_name_that_is_taken_by_now(folder: SyncFolder) -> None:
    target = prepare(folder, old=False)
    folder.hand.write("d/f", MINE)
    with folder.opened() as opened, pytest.raises(Changed):
        put(opened, target)
    assert folder.hand.read("d/f") == MINE


def test_a_folder_that_is_gone_by_now(folder: SyncFolder) -> None:
    target = prepare(folder)
    folder.hand.remove("d")
    with folder.opened() as opened, pytest.raises((Changed, FileNotFoundError)):
        put(opened, target)
    assert folder.hand.read(".shoal/temp/t") == NEW


# Somebody at the keyboard --------------------

Action: TypeAlias = Callable[[SimulatedHand], None]


def _write(hand: SimulatedHand) -> None:
    hand.write("d/f", MINE)


def _save(hand: SimulatedHand) -> None:
    hand.save("d/f", MINE)


def _append(hand: SimulatedHand) -> None:
    hand.append("d/f", MINE)


def _remove(hand: SimulatedHand) -> None:
    hand.remove("d/f")


def _replace(hand: SimulatedHand) -> None:
    hand.remove("d/f")
    hand.write("d/f", MINE)


def _rename(hand: SimulatedHand) -> None:
    hand.write("d/f", MINE)
    hand.move("d/f", "d/elsewhere")


def _take_both_names(hand: SimulatedHand) -> None:
    """The one for the conflict copy, too."""
    hand.write("d/f", MINE)
    hand.write(f"d/{COPY}", b"in the way")


def _make_directory(hand: SimulatedHand) -> None:
    hand.remove("d/f")
    hand.mkdir("d/f")
    hand.write("d/f/inside", MINE)


ACTIONS = [_write, _save, _append, _remove, _replace, _rename, _take_both_names, _make_directory]


@dataclass
class Run:
    """What came of a piece of work with somebody acting before its `moment`-th system call."""

    result: object
    acted: bool
    contents: list[bytes]  # of all files in the folder and waiting in `.shoal/outgoing` to come back


def run(
    simulated: SyncFolder, work: Callable[[Folder], object], moment: int, action: Action, *, exchanges: bool = True
) -> Run:
    disk, hand = simulated.simulated, simulated.hand
    assert isinstance(hand, SimulatedHand)
    acted = False
    with simulated.opened() as opened:
        opened.directory(("d",))  # so that the moments are those of the work itself
        assert opened.temp
        assert opened.outgoing
        calls = count()

        def before(method: str, arguments: tuple[Any, ...]) -> None:
            nonlocal acted
            if next(calls) == moment:
                acted = True
                try:
                    action(hand)
                except Refusal:
                    raise
                except OSError:
                    acted = False
            if method == "exchange" and not exchanges:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        disk.before_call = before
        try:
            result: object = work(opened)
        except (Changed, OSError) as error:
            result = error
        finally:
            disk.before_call = None
    return Run(result, acted, reachable(simulated, result))


def reachable(folder: SyncFolder, result: object) -> list[bytes]:
    """What a person can get at, or will when `.shoal/outgoing` is next swept: what was edited, or nobody knows of."""
    waits = result if isinstance(result, Outgoing) else getattr(result, "outgoing", None)
    out = []
    for path, entry in folder.simulated.user.tree("folder").items():
        if entry[0] != "file" or path.startswith((".shoal/root", ".shoal/temp")):
            continue
        if waits is not None and path == f".shoal/outgoing/{waits.name}":
            with folder.opened() as opened:
                if same_file(folder.disk.stat(opened.outgoing, waits.name), waits.print):
                    continue  # it would be let go
        out.append(entry[1])
    return out


MOMENTS = range(12)
"""More than any of the works below has system calls; `test_there_are_enough_moments` sees to that."""


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_edit_at_any_moment_of_a_replacement_is_kept(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated)
    done = run(
        simulated,
        lambda opened: put(opened, target),
        moment,
        action,
    )
    if not done.acted:
        return
    assert action is _remove or any(MINE in content for content in done.contents)
    if isinstance(done.result, Placed):
        check_print(simulated, done.result.print)
    else:
        assert isinstance(done.result, Changed), done.result


IN_TURN = range(17)
"""The same of a replacement where the file system can't exchange."""


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("moment", IN_TURN)
def test_an_edit_at_any_moment_of_a_replacement_without_an_exchange_is_kept(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated)
    done = run(
        simulated,
        lambda opened: put(opened, target),
        moment,
        action,
        exchanges=False,
    )
    if not done.acted:
        return
    assert moment < IN_TURN[-1]
    assert action is _remove or any(MINE in content for content in done.contents)
    if isinstance(done.result, Placed):
        check_print(simulated, done.result.print)
    else:
        assert isinstance(done.result, Changed), done.result


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("moment", IN_TURN)
def test_a_disk_without_an_exchange_that_refuses_at_any_moment_loses_nothing(
    simulated: SyncFolder, moment: int, code: int
) -> None:
    """As below; only an error right after the old file has gone out leaves its name empty until it is fetched again."""
    target = prepare(simulated)

    def refuse(_: SimulatedHand) -> None:
        raise Refusal(code, os.strerror(code))

    with suppress(Refusal):
        run(
            simulated,
            lambda opened: put(opened, target),
            moment,
            refuse,
            exchanges=False,
        )
    contents = [
        *([simulated.hand.read("d/f")] if "f" in simulated.hand.names("d") else []),
        *(simulated.hand.read(f".shoal/outgoing/{name}") for name in outgoing(simulated)),
    ]
    assert OLD in contents


class Refusal(OSError):
    """Of the disk, told from what somebody couldn't do at that moment."""


@pytest.mark.parametrize("action", [_write, _append, _remove, _replace, _rename, _make_directory])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_edit_at_any_moment_of_a_new_file_coming_is_kept(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated, old=False)
    done = run(
        simulated,
        lambda opened: put(opened, target),
        moment,
        action,
    )
    if not done.acted:
        return
    assert action is _remove or any(MINE in content for content in done.contents)
    if isinstance(done.result, Placed):
        check_print(simulated, done.result.print)
    else:
        assert isinstance(done.result, Changed), done.result


def check_print(folder: SyncFolder, print_: Fingerprint) -> None:
    """LOCAL takes what has this fingerprint for the new version, so nothing else may have it."""
    try:
        now = look(folder, "d", "f")
        content = folder.hand.read("d/f")
    except OSError:
        return
    assert now != print_ or content == NEW


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_disk_that_refuses_at_any_moment_loses_nothing(simulated: SyncFolder, moment: int, code: int) -> None:
    """The error reaches the caller as it is; the file is the old one or the new one; an edit is kept."""
    target = prepare(simulated)

    disk = simulated.simulated
    calls = count()
    with simulated.opened() as opened:
        opened.directory(("d",))
        assert opened.temp
        assert opened.outgoing

        def before(method: str, arguments: tuple[Any, ...]) -> None:
            if next(calls) == moment:
                raise OSError(code, os.strerror(code))

        disk.before_call = before
        failure = None
        try:
            put(opened, target)
        except OSError as error:
            failure = error.errno
        finally:
            disk.before_call = None
    assert failure in (None, code)
    assert simulated.hand.read("d/f") in (OLD, NEW)
    kept = [simulated.hand.read(f".shoal/outgoing/{name}") for name in outgoing(simulated)]
    assert simulated.hand.read("d/f") == OLD or kept == [OLD]


def test_an_edit_is_kept_though_its_conflict_name_is_refused(simulated: SyncFolder) -> None:
    """It then waits in `.shoal/outgoing` under other looks than its own, and so comes back."""
    target = prepare(simulated)
    disk, hand = simulated.simulated, simulated.hand

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "exchange":
            hand.write("d/f", MINE)
        if method == "rename" and COPY in arguments:
            raise OSError(errno.ENOSPC, "no space")

    with simulated.opened() as opened:
        disk.before_call = before
        placed = put(opened, target)
        disk.before_call = None
        assert placed.outgoing is not None
        assert not same_file(disk.stat(opened.outgoing, placed.outgoing.name), placed.outgoing.print)
    assert hand.read(f".shoal/outgoing/{placed.outgoing.name}") == MINE
    assert hand.read("d/f") == NEW


def test_an_edit_during_the_swap_becomes_a_conflict_copy(simulated: SyncFolder) -> None:
    target = prepare(simulated)
    disk, hand = simulated.simulated, simulated.hand

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "exchange":
            hand.write("d/f", MINE)

    with simulated.opened() as opened:
        disk.before_call = before
        placed = put(opened, target)
        disk.before_call = None
    assert (placed.kept, placed.outgoing) == (COPY, None)
    assert (hand.read("d/f"), hand.read(f"d/{COPY}")) == (NEW, MINE)


# Taken away --------------------


def test_taken_away(folder: SyncFolder) -> None:
    target = prepare(folder)
    with folder.opened() as opened:
        out = take_away(opened, target)
    assert folder.hand.names("d") == []
    assert folder.hand.read(f".shoal/outgoing/{out.name}") == OLD
    assert out.print == look(folder, ".shoal", "outgoing", out.name)


@pytest.mark.parametrize("change", ["write", "save", "remove"])
def test_what_changed_before_is_not_taken_away(folder: SyncFolder, change: str) -> None:
    target = prepare(folder)
    getattr(folder.hand, change)(*(("d/f",) if change == "remove" else ("d/f", MINE)))
    with folder.opened() as opened, pytest.raises(Changed):
        take_away(opened, target)
    assert outgoing(folder) == []
    assert folder.hand.names("d") == ([] if change == "remove" else ["f"])


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_edit_at_any_moment_of_a_removal_is_kept(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated)
    done = run(simulated, lambda opened: take_away(opened, target), moment, action)
    if done.acted:
        assert action is _remove or any(MINE in content for content in done.contents)
        assert isinstance(done.result, Outgoing | Changed | FileExistsError), done.result


def test_two_with_one_name_wait_side_by_side(folder: SyncFolder) -> None:
    """A name in `.shoal/outgoing` may be taken by what waits there from before."""
    folder.hand.mkdir("d")
    folder.hand.write("d/f", OLD)
    with folder.opened() as opened:
        out = send_out(opened, opened.directory(("d",)), "f", Target(("d",), "f", None))
    folder.hand.move(f".shoal/outgoing/{out.name}", "d/f")
    stat = look(folder, "d", "f")
    folder.hand.write(f".shoal/outgoing/{stat.inode:x}-{stat.ctime_ns:x}-0", MINE)
    with folder.opened() as opened:
        second = send_out(opened, opened.directory(("d",)), "f", Target(("d",), "f", None))
    assert len(outgoing(folder)) == 2
    assert folder.hand.read(f".shoal/outgoing/{second.name}") == OLD


# Moved --------------------


def test_moved(folder: SyncFolder) -> None:
    target = prepare(folder)
    folder.hand.mkdir("e")
    with folder.opened() as opened:
        print_ = move(opened, target, ("e",), "g")
    assert folder.hand.read("e/g") == OLD
    assert print_ == look(folder, "e", "g")


def test_a_moved_directory_is_found_under_its_new_name(folder: SyncFolder) -> None:
    """Though its descriptor, and one below, were open under the old one."""
    folder.hand.mkdir("d")
    folder.hand.mkdir("d/inside")
    with folder.opened() as opened:
        opened.directory(("d", "inside"))
        move(opened, Target((), "d", look(folder, "d")), (), "e")
        assert opened.directory(("e", "inside"))
        with pytest.raises(FileNotFoundError):
            opened.directory(("d", "inside"))


@pytest.mark.parametrize("change", ["taken", "gone", "another"])
def test_not_moved(folder: SyncFolder, change: str) -> None:
    target = prepare(folder)
    if change == "taken":
        folder.hand.write("g", MINE)
    elif change == "gone":
        folder.hand.remove("d/f")
    else:
        folder.hand.save("d/f", MINE)
    with folder.opened() as opened, pytest.raises(Changed):
        move(opened, target, (), "g")
    assert folder.hand.names() == (["d", "g"] if change == "taken" else ["d"])


def test_an_edited_file_is_moved_with_its_edit(folder: SyncFolder) -> None:
    """Only the name is Shoal's matter; the new looks are told."""
    target = prepare(folder)
    folder.hand.write("d/f", MINE)
    with folder.opened() as opened:
        print_ = move(opened, target, (), "g")
    assert folder.hand.read("g") == MINE
    assert print_ == look(folder, "g")


def test_a_directory_is_not_moved_into_itself(folder: SyncFolder) -> None:
    folder.hand.mkdir("d")
    folder.hand.mkdir("d/inside")
    with folder.opened() as opened, pytest.raises(OSError, match=r".") as caught:
        move(opened, Target((), "d", look(folder, "d")), ("d", "inside"), "d")
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_edit_at_any_moment_of_a_move_is_kept(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated)
    done = run(simulated, lambda opened: move(opened, target, (), "g"), moment, action)
    if done.acted:
        assert action is _remove or any(MINE in content for content in done.contents)
        assert isinstance(done.result, Fingerprint | Changed), done.result


# Attributes --------------------


def test_attributes(folder: SyncFolder) -> None:
    target = prepare(folder)
    with folder.opened() as opened:
        print_ = set_attributes(opened, target, DRESS, symlink=False)
    assert print_ == look(folder, "d", "f")
    assert (print_.mtime_ns, print_.mode) == (LATER, 0o700)
    assert folder.hand.read("d/f") == OLD


def test_permissions_that_say_the_right_thing_stay(folder: SyncFolder) -> None:
    prepare(folder)
    folder.hand.chmod("d/f", 0o664)
    target = Target(("d",), "f", look(folder, "d", "f"))
    with folder.opened() as opened:
        assert set_attributes(opened, target, Content(b"", LATER), symlink=False).mode == 0o664


def test_the_time_of_a_symlink(folder: SyncFolder) -> None:
    """Not of what it points to."""
    prepare(folder)
    folder.hand.link_to("d/f", "link")
    before = look(folder, "d", "f")
    with folder.opened() as opened:
        target = Target((), "link", look(folder, "link"))
        print_ = set_attributes(opened, target, Content(b"", LATER), symlink=True)
    assert print_.mtime_ns == LATER
    assert look(folder, "d", "f") == before


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_edit_at_any_moment_of_setting_attributes_is_seen(
    simulated: SyncFolder, moment: int, action: Callable[[SimulatedHand], None]
) -> None:
    target = prepare(simulated)
    done = run(simulated, lambda opened: set_attributes(opened, target, DRESS, symlink=False), moment, action)
    if not done.acted:
        return
    assert action is _remove or any(MINE in content for content in done.contents)
    if isinstance(done.result, Fingerprint) and simulated.hand.names("d") == ["f"]:
        assert done.result != look(simulated, "d", "f") or simulated.hand.read("d/f") == OLD


# Nothing leads outside --------------------


class Swapping(LinuxDisk):
    """Puts a symlink to `outside` in the place of `folder/d` before the `moment`-th system call."""

    def __init__(self, folder: Path, outside: Path, moment: int) -> None:
        self._folder = folder
        self._outside = outside
        self._left = moment

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("_") and callable(found):
            left = super().__getattribute__("_left")
            self._left = left - 1
            if left == 0:
                folder: Path = super().__getattribute__("_folder")
                (folder / "d").rename(folder / "moved away")
                (folder / "d").symlink_to(super().__getattribute__("_outside"))
        return found


WORKS: dict[str, Callable[[Folder, Target], object]] = {
    "put": lambda opened, target: put(opened, target),
    "take": take_away,
    "move": lambda opened, target: move(opened, target, (), "g"),
    "dress": lambda opened, target: set_attributes(opened, target, DRESS, symlink=False),
}


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("moment", range(18))
def test_a_symlink_in_the_way_never_leads_outside(tmp_path: Path, work: str, moment: int) -> None:
    """Law 14, also when it comes between two steps of the same piece of work."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(OLD)
    os.utime(outside / "f", ns=(1_000_000_000, 1_000_000_000))
    before = os.lstat(outside / "f")
    with sync_folder("linux", tmp_path) as folder:
        target = prepare(folder)
        expected = target.expected
        assert expected is not None
        swapping = replace(folder.context, disk=Swapping(tmp_path / "folder", outside, moment))
        with SyncFolder(swapping, folder.indexer, folder.hand, folder.wall_ns).opened() as opened:
            with suppress(Changed, NotADirectoryError):
                WORKS[work](opened, target)
    assert os.listdir(outside) == ["f"]
    now = os.lstat(outside / "f")
    assert (now.st_ino, now.st_mtime_ns, now.st_ctime_ns, now.st_mode) == (
        *(before.st_ino, before.st_mtime_ns, before.st_ctime_ns, before.st_mode),
    )
    assert (outside / "f").read_bytes() == OLD


@pytest.mark.parametrize("work", WORKS)
def test_there_are_enough_moments(simulated: SyncFolder, work: str) -> None:
    target = prepare(simulated)
    done = run(simulated, lambda opened: WORKS[work](opened, target), MOMENTS[-1], _remove)
    assert not isinstance(done.result, Exception)
    assert not done.acted
