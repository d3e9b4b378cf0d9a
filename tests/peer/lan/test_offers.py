"""A file that is offered while it is read, and what is fetched of it before it is announced; over real sockets."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from peer.chunker import Cut, stage_file
from peer.lan.link import Blame, Link
from peer.ports import Descriptor, Disk, Space
from peer.root import TEMP
from peer.synchronizer import prefetching, reading
from peer.synchronizer.reading import Reading
from peer.system.disk import LinuxDisk
from protocol.chunks import ChunkRef
from protocol.identifiers import ROOT, NodeId, VersionId
from protocol.keys import WorkspaceKeys
from protocol.lan_messages import Offer
from protocol.names import RESERVED
from tests.peer.lan.household import Household, Resident, intruder, residents, until

SIZE = 4 << 20
DATA = Random(7).randbytes(SIZE)
OTHER = Random(8).randbytes(SIZE)
VERSION = VersionId(bytes(range(16)))


@pytest.fixture(autouse=True)
def small_files_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OFFERED_BYTES", SIZE)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[list[Resident]]:
    async with residents(Household(), tmp_path, "laptop", "desktop") as made:
        laptop, desktop = made
        await laptop.until_linked(desktop)
        await desktop.until_linked(laptop)
        yield made


def ahead(resident: Resident) -> dict[VersionId, prefetching.Prefetched]:
    return resident.prefetching._files


def temps(resident: Resident) -> list[str]:
    return sorted(path.name for path in Path(resident.folder.context.root.path, RESERVED, TEMP).iterdir())


async def until_all_is_here(resident: Resident, version: VersionId, chunks: int) -> None:
    await until(lambda: version in ahead(resident) and len(ahead(resident)[version].assembly._written) == chunks)


async def test_a_large_file_is_here_before_it_is_announced(home: list[Resident]) -> None:
    laptop, desktop = home
    node, staged, offered = await laptop.offer("film", DATA)
    await until_all_is_here(desktop, offered, len(staged.chunks))
    assert desktop.folder.hand.names() == []
    version = laptop.announce("film", node, staged, offered)
    desktop.learn("film", version, laptop.runs_of(version))
    job = await desktop.fetch(version)
    assert job.placed
    assert desktop.folder.hand.read("film") == DATA
    assert desktop.counters["lan_in"] < 1.01 * SIZE
    assert desktop.folder.store.fetched(node) == (0, SIZE, 0, (laptop.device.id,))
    assert ahead(desktop) == {}
    assert temps(desktop) == []


async def test_what_is_announced_is_believed_and_not_what_was_offered(home: list[Resident]) -> None:
    laptop, desktop = home
    _, staged, offered = await laptop.offer("film", DATA)
    await until_all_is_here(desktop, offered, len(staged.chunks))
    other, other_staged, _ = await laptop.offer("other", OTHER)
    version = laptop.announce("other", other, other_staged, offered)
    desktop.learn("other", version, laptop.runs_of(version))
    assert (await desktop.fetch(version)).placed
    assert desktop.folder.hand.read("other") == OTHER


async def test_what_is_never_announced_is_thrown_away(home: list[Resident], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetching, "FORSAKEN", 0.05)
    laptop, desktop = home
    _, staged, _ = await laptop.offer("film", DATA)
    await until(lambda: desktop.counters.get("lan_in", 0) >= SIZE and not ahead(desktop))
    assert temps(desktop) == []
    assert len(staged.chunks) > 1


async def test_what_changes_while_it_is_read_is_never_announced_under_that_id(
    home: list[Resident], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetching, "FORSAKEN", 0.05)
    laptop, desktop = home
    stage, offers = stage_file, laptop.folder.context.offers
    offered: list[VersionId] = []

    def stage_what_grows(disk: Disk, descriptor: Descriptor, keys: WorkspaceKeys, cut: Cut | None, tell: Any) -> Any:
        def tell_and_add(refs: Sequence[ChunkRef]) -> None:
            tell(refs)
            offered[:] = offers._offered
            trio.from_thread.run_sync(offers.tell, next(iter(offers._offered.values())))
            trio.from_thread.run(until, lambda: ahead(desktop))
            laptop.folder.hand.write("film", DATA + b"more")

        return stage(disk, descriptor, keys, cut, tell_and_add)

    monkeypatch.setattr(reading, "stage_file", stage_what_grows)
    node = laptop.notice("film", DATA)
    assert not (await Reading(laptop.folder.context).read([node]))[0]
    assert len(offered) == 1
    assert offers.lists(offered) == {}
    await until(lambda: not ahead(desktop))
    assert temps(desktop) == []


async def test_an_id_is_for_one_version(home: list[Resident]) -> None:
    laptop, _ = home
    node, staged, _ = await laptop.offer("film", DATA)
    assert laptop.folder.context.offers.version_of(node, staged) is None


@pytest.mark.parametrize("why", ["paused", "full", "excluded", "enough already"])
async def test_an_offer_may_be_unwelcome(home: list[Resident], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop, desktop = home
    if why == "paused":
        desktop.prefetching.wanted = lambda: False
    elif why == "full":
        monkeypatch.setattr(LinuxDisk, "space", lambda *_: Space(free_bytes=SIZE + 1, free_inodes=1000))
    elif why == "excluded":
        desktop.folder.context.selection.exclude(NodeId(bytes(16)))
    else:
        monkeypatch.setattr(prefetching, "MOST", 0)
    heard = list[Offer]()
    offered_to = desktop.prefetching.offered

    def hear(link: Link, offer: Offer) -> None:
        offered_to(link, offer)
        heard.append(offer)

    monkeypatch.setattr(desktop.prefetching, "offered", hear)
    node, staged, offered = await laptop.offer("film", DATA)
    version = laptop.announce("film", node, staged, offered)
    desktop.learn("film", version, laptop.runs_of(version))
    await until(lambda: heard and not ahead(desktop))
    assert desktop.counters.get("lan_in", 0) == 0
    if why != "full":
        assert (await desktop.fetch(version)).placed


@pytest.mark.parametrize(("length", "saved"), [(1000, 0), (900, 900), (900, 1 << 20)])
async def test_who_offers_what_no_file_has_is_left(tmp_path: Path, length: int, saved: int) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        device = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, device) as channel:
            await until(lambda: laptop.links)
            (link,) = laptop.links
            chunk = (bytes(32), bytes(32), length, saved)
            workspace = laptop.folder.context.keys.workspace
            await channel.say(
                Offer(workspace=workspace, version=VERSION, parent=ROOT, size=1999, first=0, chunks=(chunk, chunk))
            )
            await until(lambda: link.ended)
            assert "what no file has" in str(link.ended)
            await until(lambda: not ahead(laptop))
            assert temps(laptop) == []


async def test_a_key_that_does_not_open_what_was_offered_is_the_devices_fault(
    home: list[Resident], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, desktop = home
    (link,) = desktop.links
    offered_to = desktop.prefetching.offered

    def hear_another_key(link: Link, offer: Offer) -> None:
        chunks = tuple((chunk, bytes(32), length, saved) for chunk, _, length, saved in offer.chunks)
        offered_to(link, replace(offer, chunks=chunks))

    monkeypatch.setattr(desktop.prefetching, "offered", hear_another_key)
    await laptop.offer("film", DATA)
    await until(lambda: link.ended)
    assert link.ended is not None
    assert link.ended.blame is Blame.DEVICE
    assert "key" in str(link.ended)
    await until(lambda: not ahead(desktop))
    assert temps(desktop) == []


async def test_a_chunk_that_is_not_its_id_ends_the_link(home: list[Resident], monkeypatch: pytest.MonkeyPatch) -> None:
    laptop, desktop = home
    (link,) = desktop.links
    sealed = laptop.folder.context.offers.begin

    def begin_otherwise(offered: object) -> None:
        offered.place = type(offered.place)((), "lie")  # type: ignore[attr-defined]
        sealed(offered)  # type: ignore[arg-type]

    laptop.folder.hand.write("lie", OTHER)
    monkeypatch.setattr(laptop.folder.context.offers, "begin", begin_otherwise)
    monkeypatch.setattr("peer.synchronizer.holdings.reseal", lambda *_: True)
    await laptop.offer("film", DATA)
    await until(lambda: link.ended)
    await until(lambda: not ahead(desktop))
    assert temps(desktop) == []
