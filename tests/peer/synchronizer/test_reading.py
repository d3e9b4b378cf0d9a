"""Files are read as they were when they became quiet."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from trio.testing import MockClock

import peer.synchronizer.reading
from peer.quiet import LONG, SHORT
from peer.synchronizer.reading import Reading
from protocol.hashing import digest
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture(params=["linux", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder(request.param, tmp_path) as opened:
        yield opened


async def test_a_file_that_changed_since_it_was_looked_at_is_looked_at_first(
    folder: SyncFolder, mock_clock: MockClock
) -> None:
    """A further change in the same tick of the kernel's clock would look just like the one that was read."""
    reading = Reading(folder.context)
    folder.hand.write("f", b"first")
    await folder.indexer.scan_everything()
    mock_clock.jump(SHORT)
    folder.hand.write("f", b"other")
    folder.hand.touch("f", 1)
    assert await reading.read([folder.node("f")]) == (False, float("inf"))
    assert (await reading.read([folder.node("f")]))[1] == pytest.approx(LONG)  # no busy loop until then
    assert folder.row("f").content is None
    assert folder.context.to_look_at == {()}
    await folder.indexer.scan([()])
    mock_clock.jump(SHORT)
    assert await reading.read([folder.node("f")]) == (True, float("inf"))
    content = folder.row("f").content
    assert content is not None
    assert content.digest == digest(b"other")


async def test_what_the_disk_could_not_keep_is_not_sent(
    folder: SyncFolder, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is fsynced while it is read, and an error of the disk is told to one fsync only."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(peer.synchronizer.reading, "WINDOW", 1000)
    folder.hand.write("large", bytes(1001))
    await folder.indexer.scan_everything()
    mock_clock.jump(SHORT)
    with monkeypatch.context() as broken:
        broken.setattr(type(folder.disk), "fsync", fails)
        assert (await Reading(folder.context).read([folder.node("large")]))[0] is False
    assert folder.row("large").content is None
    assert folder.problems() == {"large": "it can't be read: input/output error"}
    assert (await Reading(folder.context).read([folder.node("large")]))[0] is True


async def test_what_another_zstd_has_compressed_is_read_again(folder: SyncFolder, mock_clock: MockClock) -> None:
    """It could be announced, but not be made again for who asks for it."""
    versions = folder.context.versions
    versions.unstage_other("zstd 1")
    folder.hand.write("f", b"a line that comes again" * 1000)
    await folder.indexer.scan_everything()
    mock_clock.jump(SHORT)
    await Reading(folder.context).read([folder.node("f")])
    content = folder.row("f").content
    assert content is not None
    for library, there in (("zstd 1", 1), ("zstd 2", 0)):
        versions.unstage_other(library)
        staged = list(versions.staged({folder.node("f"): content}).values())
        assert len(staged) == there
        assert all(ref.saved > 0 for each in staged for ref in each.chunks)
