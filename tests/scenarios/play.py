"""A small language for scenarios: who does what at which device, on the stage of the simulation.

    @scenario
    async def test_edit_beats_delete(play: Play) -> None:
        ann, bob = await play.begin({"a": b"1"})
        async with play.offline(bob):
            ann.remove("a")
            bob.save("a", b"2")
        assert await play.end() == {"a": b"2"}

Everybody is on one LAN and in the tracker's order. Who is away comes back when the block ends, after all others have
settled; so what happens there comes later in the tracker's order.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeAlias

import pytest
import trio

from protocol.api import COMMIT, DELTA, LEASE, NOTIFICATIONS_PATH, RUNS
from protocol.identifiers import NodeId
from protocol.names import RESERVED
from tests.simulation.accounts import DEVICES
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import LONG, NOTICED, UPLOADS, Stage, perform
from tests.simulation.user import Entry

P = ParamSpec("P")
Tree: TypeAlias = dict[str, bytes | str | None]
"""Bytes of files, "-> text" of symlinks and None of directories, by path."""

DOWNLOADS = frozenset({"/v1/chunks"})
EVERYTHING = frozenset({NOTIFICATIONS_PATH, COMMIT.path, DELTA.path, RUNS.path, LEASE.path}) | UPLOADS | DOWNLOADS


class Desk:
    """One device, and somebody who works in its folder; paths are relative to that."""

    def __init__(self, device: SimulatedDevice) -> None:
        self.device = device
        self._user = device.disk.user

    def _full(self, path: str) -> str:
        return f"{FOLDER}/{path}"

    def mkdir(self, path: str) -> None:
        """`mkdir -p`."""
        made = ""
        for name in path.split("/"):
            made = f"{made}/{name}".lstrip("/")
            if not self._user.exists(self._full(made)):
                self._user.mkdir(self._full(made))

    def write(self, path: str, content: bytes) -> None:
        """`> path`, in place; the folders above are made."""
        if "/" in path:
            self.mkdir(path.rpartition("/")[0])
        self._user.write(self._full(path), content)

    def save(self, path: str, content: bytes) -> None:
        """Write beside and rename over."""
        self._user.save(self._full(path), content)

    def append(self, path: str, content: bytes) -> None:
        self._user.append(self._full(path), content)

    def overwrite(self, path: str, content: bytes, offset: int) -> None:
        self._user.overwrite(self._full(path), content, offset)

    def read(self, path: str) -> bytes:
        return self._user.read(self._full(path))

    def remove(self, path: str) -> None:
        """`rm -r`."""
        self._user.remove(self._full(path))

    def move(self, source: str, target: str) -> None:
        """rename(2)."""
        self._user.move(self._full(source), self._full(target))

    def swap(self, one: str, other: str) -> None:
        """Two names change places, by way of a third."""
        self.move(one, f"{one}~swap")
        self.move(other, one)
        self.move(f"{one}~swap", other)

    def copy(self, source: str, target: str) -> None:
        """`cp source target`."""
        self.write(target, self.read(source))

    def symlink(self, text: str, path: str) -> None:
        self._user.link_to(text, self._full(path))

    def hard_link(self, path: str, further: str) -> None:
        self._user.hard_link(self._full(path), self._full(further))

    def chmod(self, path: str, mode: int) -> None:
        self._user.chmod(self._full(path), mode)

    def touch(self, path: str, mtime_ns: int) -> None:
        self._user.touch(self._full(path), mtime_ns)

    def mkfifo(self, path: str) -> None:
        self._user.mkfifo(self._full(path))

    def exists(self, path: str) -> bool:
        return self._user.exists(self._full(path))

    def mode(self, path: str) -> int:
        return self._user.find(self._full(path)).mode

    def mtime_ns(self, path: str) -> int:
        return self._user.find(self._full(path)).mtime_ns

    def inode(self, path: str) -> int:
        return self._user.find(self._full(path)).number

    def entries(self) -> dict[str, Entry]:
        """All that is in the folder but for Shoal's own."""
        tree = self._user.tree(FOLDER)
        return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}

    def tree(self) -> Tree:
        """What is in the folder."""
        return {path: _brief(entry) for path, entry in self.entries().items()}

    def waiting(self) -> list[str]:
        """What is in `.shoal`, but for the rooms themselves."""
        return [path for path in self._user.tree(f"{FOLDER}/{RESERVED}") if path.count("/") == 1]

    def set_clock(self, now: Callable[[], int]) -> None:
        """By which files get their times, in nanoseconds. It never gives one time twice, as a kernel's doesn't."""
        last = 0

        def clock() -> int:
            nonlocal last
            last = max(now(), last + 1000)
            return last

        self.device.disk.volume._now = clock

    def before_next(self, call: str, act: Callable[[], None]) -> None:
        """Do something just before Shoal's next system call of this name (a method of `peer.ports.Disk`)."""
        disk = self.device.disk
        usual = disk.before_call
        assert usual is not None

        def meddle(name: str, arguments: tuple[Any, ...]) -> None:
            if name == call and disk.before_call is meddle:
                disk.before_call = usual
                act()
            usual(name, arguments)

        disk.before_call = meddle

    # What Shoal knows here

    def node(self, path: str) -> NodeId:
        """Which node a path is."""
        assert self.device.peer is not None
        found = self.device.peer.context.store.find(path.split("/"))
        assert found is not None, f"no {path!r}"
        return found

    def counter(self, name: str) -> int:
        """Bytes moved since the start: "lan_in", "lan_out", "cloud_in" or "cloud_out"."""
        assert self.device.peer is not None
        return self.device.peer.context.counters[name]

    def problems(self) -> dict[str, str]:
        """What Shoal says is wrong, by path."""
        assert self.device.peer is not None
        return {problem.path: problem.reason for problem in self.device.peer.context.problems.all()}

    def copy_of(self, path: str, number: int = 1) -> str:
        """What a conflict copy is called that this device makes."""
        above, slash, name = path.rpartition("/")
        stem, dot, suffix = name.rpartition(".")
        if not stem:
            stem, dot, suffix = name, "", ""
        count = "" if number == 1 else f" {number}"
        return f"{above}{slash}{stem} (conflicted copy, {self.device.name}, 2027-01-15{count}){dot}{suffix}"


def _brief(entry: Entry) -> bytes | str | None:
    if entry[0] == "file":
        return entry[1]
    return f"-> {entry[1]}" if entry[0] == "symlink" else None


def _synced_part(entry: Entry) -> object:
    """What devices have in common: also the time, and whether the owner may execute it, and others read it."""
    return (*entry[:3], entry[3] & 0o100, entry[3] & 0o077 == 0) if entry[0] == "file" else entry


class Play:
    """The tracker, and devices with people at them: ann's laptop, bob's desktop, cid's phone."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.desks: list[Desk] = []
        self.how = "offline"
        """What `away` means."""
        self._away: set[Desk] = set()

    async def all_begin(self, files: Mapping[str, bytes | None] | None = None) -> tuple[Desk, Desk, Desk]:
        """Three devices."""
        ann, bob, cid = await self._begin(files or {}, 3)
        return ann, bob, cid

    async def begin(self, files: Mapping[str, bytes | None] | None = None) -> tuple[Desk, Desk]:
        """Two devices. They have these files (None: a folder)."""
        ann, bob = await self._begin(files or {}, 2)
        return ann, bob

    async def _begin(self, files: Mapping[str, bytes | None], count: int) -> list[Desk]:
        self.desks = [Desk(device) for device in await self.stage.begin(*DEVICES[:count])]
        for path, content in files.items():
            if content is None:
                self.desks[0].mkdir(path)
            else:
                self.desks[0].write(path, content)
        await self.settled()
        return self.desks

    def arrives(self, name: str) -> Desk:
        """A further device, which is still to be started."""
        desk = Desk(self.stage.devices[name])
        desk.device.disk.user.mkdir(FOLDER)
        self.desks.append(desk)
        return desk

    async def settled(self) -> None:
        """Until everybody who is there says that nothing is left to do, and they are equal."""
        await trio.sleep(NOTICED)
        there = [desk for desk in self.desks if desk not in self._away]
        await self.stage.until(lambda: all(desk.device.settled for desk in there) and _equal(there), LONG)

    async def sent(self, desk: Desk) -> None:
        """Until one device has told the tracker all that changed there."""
        await trio.sleep(NOTICED)
        await self.until(lambda: desk.device.settled)

    async def said(self, error: str) -> None:
        """Until this error, and no other, has been logged."""
        errors = self.stage.log.errors
        await self.until(lambda: errors)
        assert all(error in each for each in errors), errors
        errors.clear()

    async def until(self, condition: Callable[[], object]) -> None:
        """Until something is true."""
        await self.stage.until(condition, LONG)

    async def end(self) -> Tree:
        """What everybody has in the end. Nothing waits or is left behind then, and looking again finds nothing new."""
        await self.settled()
        await self.until(lambda: not any(desk.waiting() for desk in self.desks))
        before = self._moved()
        for desk in self.desks:
            assert desk.device.differences() == []
            assert desk.device.peer is not None
            desk.device.peer.watcher.look_at_everything()
        await self.settled()
        assert self._moved() == before, "something moved though nothing changed"
        assert await self.stage.host.check() == []
        assert not self.stage.log.errors
        return self.desks[0].tree()

    def _moved(self) -> list[int]:
        return [desk.device.moved for desk in self.desks]

    @asynccontextmanager
    async def offline(self, *desks: Desk) -> AsyncIterator[None]:
        """Without the tracker. They come back one after the other."""
        for desk in desks:
            self.stage.cut_off(desk.device, EVERYTHING)
            assert desk.device.transport is not None
            desk.device.transport.cut(silently=False)
        async with self._without(desks, lambda desk: self.stage.cut_off(desk.device)):
            yield

    @asynccontextmanager
    async def switched_off(self, *desks: Desk) -> AsyncIterator[None]:
        """Not running. They come back one after the other, and find what has changed by looking."""
        for desk in desks:
            desk.device.switch_off()
        await trio.sleep(1)
        async with self._without(desks, lambda desk: self.stage.start(desk.device)):
            yield

    def away(self, *desks: Desk) -> AbstractAsyncContextManager[None]:
        """One of the two."""
        return self.offline(*desks) if self.how == "offline" else self.switched_off(*desks)

    @asynccontextmanager
    async def _without(self, desks: tuple[Desk, ...], come_back: Callable[[Desk], None]) -> AsyncIterator[None]:
        self._away.update(desks)
        yield
        await self.settled()
        for desk in desks:
            come_back(desk)
            self._away.discard(desk)
            await self.settled()

    def unplug_lan(self) -> None:
        """Nobody reaches anybody but the tracker."""
        self.stage.part_lan()

    def cut_off(self, desk: Desk, paths: frozenset[str] = frozenset()) -> None:
        """These paths to the tracker can't be reached from there, and no others."""
        self.stage.cut_off(desk.device, paths)


def _equal(desks: list[Desk]) -> bool:
    trees = [{path: _synced_part(entry) for path, entry in desk.entries().items()} for desk in desks]
    return all(tree == trees[0] for tree in trees)


SCENES: dict[str, Callable[[int], None]] = {}
"""Every scenario without parameters, to be performed with any seed."""


def scenario(act: Callable[Concatenate[Play, P], Awaitable[None]]) -> Callable[P, None]:
    """A test of a scenario; further parameters are pytest's."""

    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        perform(lambda stage: partial(act, Play(stage))(*args, **kwargs))

    parameters = list(inspect.signature(act).parameters.values())[1:]
    if not parameters:
        _register(act, "offline")
    return _named(test, act, parameters)


def either_way(act: Callable[[Play], Awaitable[None]]) -> Callable[[str], None]:
    """Two tests of a scenario: who is `away` is offline in the one, switched off in the other."""
    scenes = {how: _register(act, how) for how in ("offline", "switched off")}

    def test(how: str) -> None:
        scenes[how](1)

    return pytest.mark.parametrize("how", scenes)(_named(test, act))


def _register(act: Callable[[Play], Awaitable[None]], how: str) -> Callable[[int], None]:
    def with_seed(seed: int) -> None:
        def scene(stage: Stage) -> Awaitable[None]:
            play = Play(stage)
            play.how = how
            return act(play)

        perform(scene, seed=seed)

    SCENES[f"{act.__module__.rpartition('.')[2]}, {act.__name__}, {how}"] = with_seed
    return with_seed


def _named(
    test: Callable[P, None], act: Callable[..., Awaitable[None]], parameters: list[inspect.Parameter] | None = None
) -> Callable[P, None]:
    """Call a test as its scenario is called; `parameters` are those that pytest is to see."""
    test.__name__, test.__doc__, test.__module__ = act.__name__, act.__doc__, act.__module__
    if parameters is not None:
        test.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return test
