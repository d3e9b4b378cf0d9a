"""What is said before a first sync with files on both sides: only what is known."""

from typing import Any
from unittest import mock

from peer.peer import Peer, start_peer
from tests.simulation import device
from tests.simulation.device import FOLDER
from tests.simulation.stage import NOTICED, Stage, perform, save


def test_large_files_are_read_before_they_are_counted() -> None:
    """They are read half a second after they were last written to, and were counted as different until then."""
    lines = list[str]()

    async def telling(*arguments: Any, **options: Any) -> Peer:
        peer = await start_peer(*arguments, **options)
        peer.synchronizer.announce_merge = lambda count: lines.append(str(count))
        return peer

    async def scene(stage: Stage) -> None:
        (laptop,) = await stage.begin("laptop")
        desktop = stage.devices["desktop"]
        desktop.disk.user.mkdir(FOLDER)
        for each in (laptop, desktop):
            save(each, "large", bytes(3 << 20))
            save(each, "small", b"the same")
            save(each, "other", each.name.encode())
        await stage.pass_time(NOTICED)
        stage.start(desktop)
        await stage.all_well(laptop, desktop)

    with mock.patch.object(device, "start_peer", telling):
        perform(scene)
    assert lines == ["first sync of this folder: 2 the same, 1 differ (both are kept), 0 only here, 0 only there"]
