"""A tracker that no longer knows a device: that is said, nothing here is touched, and it ends when it ends there."""

from collections.abc import Awaitable, Callable

import pytest

from peer.explaining.answer import explain
from peer.status import state_of, wait_for
from protocol.errors import Problem
from tests.simulation.accounts import EMAIL, nobodys
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.stage import NOTICED, Stage, perform, save, visible

SCANNED = 660.0
"""Seconds in which the whole folder has been looked at again."""
Way = Callable[[Stage, SimulatedDevice], Awaitable[None]]


async def _retired(stage: Stage, desktop: SimulatedDevice) -> None:
    stage.host.retire(desktop.credentials.device)


async def _suspended(stage: Stage, desktop: SimulatedDevice) -> None:
    stage.host.suspend(EMAIL, suspended=True)


async def _replaced(stage: Stage, desktop: SimulatedDevice) -> None:
    stage.host.restore(nobodys(), announced=True)
    await stage.restart_tracker()


WAYS: dict[Way, str] = {
    _retired: "the tracker no longer knows this device",
    _replaced: "the tracker no longer knows this device",
    _suspended: "this account is suspended",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_device_that_is_turned_away_says_so_and_keeps_all_it_has(way: Way) -> None:
    async def scene(stage: Stage) -> None:
        stage.part_lan()
        (desktop,) = await stage.begin("desktop")
        save(desktop, "kept", b"by both")
        save(desktop, "edited", b"before")
        await stage.all_well(desktop)
        known, removed = stage.host.backup(), list[str]()
        desktop.mischief.removing = lambda _, path: removed.append(path)
        await way(stage, desktop)
        assert desktop.transport is not None
        desktop.transport.cut(silently=False)
        if way is _replaced:  # it is found out at the start as well
            desktop.crash()
        await stage.until(lambda: desktop.alive and desktop.peer and state_of(desktop.peer)[0] == "error")
        peer = desktop.peer
        assert peer is not None
        assert state_of(peer)[1].startswith(f"{WAYS[way]}; what is here stays as it is: ")
        peer.synchronizer.pause(paused=True)
        assert state_of(peer)[0] == "error"  # it is what has to be dealt with first
        peer.synchronizer.pause(paused=False)
        with pytest.raises(Problem, match=f"error: {WAYS[way]}"):
            await wait_for(peer, "synced")
        save(desktop, "edited", b"after")
        desktop.disk.user.remove(f"{FOLDER}/kept")
        await stage.pass_time(SCANNED)
        assert visible(desktop) == {"edited": b"after"}
        assert (await explain(peer, f"{FOLDER}/edited"))["reasons"][0]["reason"].startswith(WAYS[way])
        assert removed == []
        assert len(stage.log.errors) == 1  # the log says it once
        stage.log.errors.clear()
        # Whoever keeps the tracker puts things right.
        stage.host.restore(known, announced=True)
        await stage.restart_tracker()
        await stage.pass_time(NOTICED)
        await stage.all_well(desktop)
        assert visible(desktop)["edited"] == b"after"
        assert removed == []

    perform(scene)
