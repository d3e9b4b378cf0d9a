"""Compressed chunks on their way: all goes on as ever, also when zstd compresses otherwise than it did before."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest
from zstandard import ZstdCompressor

from protocol import compression
from protocol.compression import LEVEL
from tests.simulation.device import SimulatedDevice
from tests.simulation.stage import HOUR, UPLOADS, Stage, not_durable, perform, save, visible

SCENES: list[Callable[[Stage], Awaitable[None]]] = []
WORDS = [Random(word).randbytes(6).hex().encode() for word in range(200)]


def scene(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    SCENES.append(act)
    return act


def text(seed: int, length: int = 60_000) -> bytes:
    """Something that compresses well."""
    random = Random(seed)
    return b" ".join(random.choices(WORDS, k=length))[:length]


@contextmanager
def another_zstd() -> Iterator[None]:
    """All devices compress in another way, which they can all still open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression._contexts, "compressor", ZstdCompressor(level=LEVEL, write_checksum=True))
        patch.setattr("peer.peer.LIBRARY", "another")
        yield


def reads(stage: Stage, device: SimulatedDevice, name: str = "f") -> int:
    """How often a device has opened a file of its folder."""
    return sum(f" {device.name} " in line and "open_file(" in line and f"'{name}')" in line for line in stage.log.lines)


@scene
async def text_takes_less(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    save(laptop, "f", text(1))
    await stage.all_well(laptop, desktop)
    assert 0 < desktop.lan_bytes < 40_000
    assert 0 < stage.host.stored_bytes() < 40_000
    stage.part_lan()
    phone = stage.devices["phone"]
    phone.disk.user.mkdir("/Shoal")
    stage.start(phone)
    await stage.all_well(laptop, desktop, phone)
    save(phone, "f", text(1)[:30_000] + b"an edit" + text(1)[30_000:])
    await stage.all_well(laptop, desktop, phone)
    assert visible(laptop) == {"f": text(1)[:30_000] + b"an edit" + text(1)[30_000:]}


@scene
async def what_was_announced_before_an_upgrade_is_sent_anew(stage: Stage) -> None:
    """The laptop is upgraded between its commit and its upload: what it announced can't be made any more."""
    (laptop,) = await stage.begin("laptop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", text(1))
    save(laptop, "g", Random(1).randbytes(60_000))
    await stage.until(lambda: not_durable(laptop) == 2)
    with another_zstd():
        laptop.switch_off()
        await stage.pass_time(1)
        stage.start(laptop)
        before = reads(stage, laptop)
        stage.cut_off(laptop)
        await stage.all_well(laptop, seconds=100)
        assert any("asks /v1/withdraw" in line for line in stage.log.lines)
        assert reads(stage, laptop) - before < 20
        await stage.pass_time(HOUR)
        assert not not_durable(laptop)
    assert set(visible(laptop)) == {"f", "g"}
    assert stage.host.stored_bytes() < 110_000


@scene
async def who_compresses_otherwise_is_not_taken_for_damaged(stage: Stage) -> None:
    """The desktop holds what only the laptop can bring to the cloud, and the phone asks for it in vain."""
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", text(1))
    await stage.until(lambda: visible(desktop) == {"f": text(1)})
    laptop.switch_off()
    with another_zstd():
        phone = stage.devices["phone"]
        phone.disk.user.mkdir("/Shoal")
        stage.start(phone)
        await stage.pass_time(HOUR)
        assert desktop.peer is not None
        assert len(desktop.peer.context.doubted) == 1
        before = reads(stage, desktop)
        await stage.pass_time(HOUR)
        assert reads(stage, desktop) == before < 20
        assert visible(phone) == {}
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop, phone)


@scene
async def who_holds_it_and_compresses_as_its_author_did_brings_it_to_the_cloud(stage: Stage) -> None:
    laptop, desktop = await stage.begin("laptop", "desktop")
    stage.cut_off(laptop, UPLOADS)
    save(laptop, "f", text(1))
    await stage.until(lambda: visible(desktop) == {"f": text(1)})
    laptop.switch_off()
    await stage.until(lambda: desktop.settled and not_durable(desktop) == 0)
    stage.cut_off(laptop)
    stage.start(laptop)
    await stage.all_well(laptop, desktop)


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
def test_scene(act: Callable[[Stage], Awaitable[None]]) -> None:
    perform(act)
