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
from typing import Concatenate, ParamSpec

import pytest
import trio

from protocol.api import COMMIT, DELTA, LEASE, NOTIFICATIONS_PATH, RUNS
from tests.scenarios.desk import Desk, Tree, synced_part
from tests.simulation.accounts import DEVICES
from tests.simulation.device import FOLDER
from tests.simulation.stage import LONG, NOTICED, UPLOADS, Stage, perform

P = ParamSpec("P")
DOWNLOADS = frozenset({"/v1/chunks"})
EVERYTHING = frozenset({NOTIFICATIONS_PATH, COMMIT.path, DELTA.path, RUNS.path, LEASE.path}) | UPLOADS | DOWNLOADS


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
    trees = [{path: synced_part(entry) for path, entry in desk.entries().items()} for desk in desks]
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
    """Two tests of a scenario: who is `away` is offline in the one, switched off in the other. That is for the soak."""
    scenes = {how: _register(act, how) for how in ("offline", "switched off")}

    def test(how: str) -> None:
        scenes[how](1)

    ways = ["offline", pytest.param("switched off", marks=pytest.mark.soak)]
    return pytest.mark.parametrize("how", ways)(_named(test, act))


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
