"""What the daemon answers while its folder moves: one peer ends, and another begins."""

from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from peer.daemon import Control
from peer.database import Database, open_database
from peer.moving import FOLDER_SETTING, ROOT_SETTING, chosen_folder
from peer.peer import Peer
from peer.root import claim_root
from protocol.errors import Problem, Usage
from tests.simulation.disk import SimulatedDisk


class Idle:
    """As much of a peer as the control commands touch; it does nothing until it is cancelled."""

    def __init__(self) -> None:
        self.synchronizer = self
        self.subscription = self
        self.progress = SimpleNamespace(paused=False)
        self.running = trio.Event()

    def pause(self, *, paused: bool) -> None:
        self.progress.paused = paused

    async def run(self) -> None:
        self.running.set()
        await trio.sleep_forever()

    async def catch_up(self) -> None:
        await trio.sleep_forever()


class Daemon:
    """Runs one idle peer after the other, and moves the folder in between."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(count(1).__next__, Random(1))
        self.database: Database = open_database(":memory:")
        root = claim_root(self.disk, "/old", "/home", None, Random(1).randbytes)
        self.database.set_setting(FOLDER_SETTING, b"/old")
        self.database.set_setting(ROOT_SETTING, root.id)
        self.control, self.peers = Control(), list[Idle]()

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            self.peers.append(Idle())
            if len(self.peers) == 1:
                task_status.started()
            move = await self.control.run(cast(Peer, self.peers[-1]))
            move.carry_out(self.disk, self.database, "/home")


async def test_a_move_replaces_the_peer_and_it_stays_paused() -> None:
    daemon = Daemon()
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.run)
        await daemon.peers[0].running.wait()
        await daemon.control.handle("pause", {})
        await daemon.control.handle("move", {"folder": "/new"})
        await trio.testing.wait_all_tasks_blocked()
        assert chosen_folder(daemon.database) == "/new"
        assert [peer.progress.paused for peer in daemon.peers] == [True, True]
        await daemon.control.handle("resume", {})
        assert not daemon.peers[1].progress.paused
        nursery.cancel_scope.cancel()
    daemon.database.close()


async def test_a_move_that_can_not_be_is_told_and_the_peer_begins_again() -> None:
    daemon = Daemon()
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.run)
        await daemon.peers[0].running.wait()
        with pytest.raises(Usage, match="in the folder itself"):
            await daemon.control.handle("move", {"folder": "/old/inside"})
        await trio.testing.wait_all_tasks_blocked()
        assert chosen_folder(daemon.database) == "/old"
        assert daemon.peers[1].running.is_set()
        nursery.cancel_scope.cancel()
    daemon.database.close()


async def test_who_waits_for_something_is_told_to_ask_again() -> None:
    daemon = Daemon()
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.run)
        await daemon.peers[0].running.wait()

        async def wait() -> None:
            with pytest.raises(Problem, match="ask again"):
                await daemon.control.handle("wait", {"what": "synced"})

        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await daemon.control.handle("move", {"folder": "/new"})
        nursery.cancel_scope.cancel()
    daemon.database.close()


async def test_before_there_is_a_peer_nothing_moves() -> None:
    with pytest.raises(Usage, match="starting"):
        await Control().handle("move", {"folder": "/new"})
