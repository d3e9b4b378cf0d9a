"""Devices that meet and give each other files, over real sockets."""

import errno
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from peer.lan import neighbours
from peer.lan.link import REQUESTS
from peer.ports import Space
from peer.synchronizer.temps import Lacking
from peer.system.disk import LinuxDisk
from tests.peer.lan.household import Household, Resident, residents, until

SIZE = 5 << 20
DATA = Random(5).randbytes(SIZE)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[list[Resident]]:
    async with residents(Household(), tmp_path, "laptop", "desktop", "phone") as made:
        laptop, desktop, phone = made
        await laptop.until_linked(desktop, phone)
        await desktop.until_linked(laptop, phone)
        await phone.until_linked(laptop, desktop)
        yield made


async def test_a_file_that_only_its_author_has(home: list[Resident]) -> None:
    laptop, desktop, _ = home
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    job = await desktop.fetch(version)
    assert job.placed
    assert desktop.folder.hand.read("film") == DATA
    assert (job.lan, job.cloud) == (SIZE, 0)
    assert SIZE < desktop.counters["lan_in"] == laptop.counters["lan_out"] < SIZE * 1.01
    assert desktop.folder.store.fetched(version.node) == (0, SIZE, 0, (laptop.device.id,))


async def test_from_one_to_the_next(home: list[Resident]) -> None:
    """The phone asks before the desktop has it, and hears of it once it has; the author is gone by then."""
    laptop, desktop, phone = home
    version = laptop.save("film", DATA)
    runs = laptop.runs_of(version)
    laptop.folder.hand.move("film", "elsewhere")  # what LOCAL knows of it is no longer so
    phone.learn("film", version, runs)
    job = await phone.fetch(version)
    assert isinstance(job.failure, Lacking)
    laptop.folder.hand.move("elsewhere", "film")
    desktop.learn("film", version, runs)
    assert (await desktop.fetch(version)).placed
    await until(lambda: phone.folder.context.neighbours.holders(version.id))
    assert [link.device for link in phone.folder.context.neighbours.holders(version.id)] == [desktop.device.id]
    assert (await phone.fetch(version)).placed
    assert desktop.counters["lan_out"] > SIZE


async def test_a_file_that_was_only_renamed_is_asked_for_again(
    home: list[Resident], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "AGAIN_SECONDS", 0.0)
    laptop, desktop, _ = home
    there = desktop.folder.context.neighbours
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    laptop.folder.hand.move("film", "elsewhere")
    assert isinstance((await desktop.fetch(version)).failure, Lacking)
    assert there.holders(version.id) == []
    assert laptop.folder.context.to_look_at == {()}
    laptop.folder.hand.move("elsewhere", "film")
    assert there.ask_again() == float("inf")
    await until(lambda: there.holders(version.id))
    assert (await desktop.fetch(version)).placed


async def test_what_does_not_fit_on_the_disk_is_not_fetched(
    home: list[Resident], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, desktop, _ = home
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    monkeypatch.setattr(LinuxDisk, "space", lambda *_: Space(free_bytes=SIZE - 1, free_inodes=10))
    job = await desktop.fetch(version)
    assert isinstance(job.failure, OSError)
    assert job.failure.errno == errno.ENOSPC
    assert "lan_in" not in desktop.counters
    monkeypatch.setattr(LinuxDisk, "space", lambda *_: Space(free_bytes=SIZE, free_inodes=10))
    assert (await desktop.fetch(version)).placed


async def test_two_sources_share_the_work(home: list[Resident]) -> None:
    """Of a file that is more than either may be asked for at once."""
    laptop, desktop, phone = home
    length = (REQUESTS + 1) << 20
    version = laptop.save("film", Random(6).randbytes(length))
    runs = laptop.runs_of(version)
    desktop.learn("film", version, runs)
    phone.learn("film", version, runs)
    assert (await desktop.fetch(version)).placed
    before = laptop.counters["lan_out"]
    neighbours = phone.folder.context.neighbours
    neighbours.ask([version.id])
    await until(lambda: len(neighbours.holders(version.id)) == 2)
    assert (await phone.fetch(version)).placed
    assert laptop.counters["lan_out"] > before
    assert desktop.counters["lan_out"] > 0
    assert phone.counters["lan_in"] < length * 1.01


async def test_a_file_that_changes_while_it_is_fetched(home: list[Resident]) -> None:
    """Only its old bytes would do: nothing is put in place."""
    laptop, desktop, _ = home
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    laptop.folder.hand.write("film", DATA[: SIZE // 2] + bytes(SIZE // 2))
    job = await desktop.fetch(version)
    assert isinstance(job.failure, Lacking)
    assert desktop.folder.hand.names() == []
    assert len(desktop.links) == 2


async def test_who_waits_is_known_until_it_has_what_it_waits_for(home: list[Resident]) -> None:
    laptop, desktop, _ = home
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    neighbours = laptop.folder.context.neighbours
    assert not neighbours.is_waited_for(version.id)
    desktop.folder.context.neighbours.ask([version.id])
    await until(lambda: neighbours.is_waited_for(version.id))
    await desktop.fetch(version)
    await until(lambda: not neighbours.is_waited_for(version.id))


async def test_names_are_told(home: list[Resident]) -> None:
    laptop, _, _ = home
    assert {link.channel.name for link in laptop.links} == {"desktop", "phone"}
