"""How long a request's body may take."""

from collections.abc import AsyncIterator
from typing import cast

import pytest
import trio
from quart import Request

from protocol.errors import Refused
from tracker.http.envelope import read_body


class Slow:
    """A request whose body comes in parts, with pauses between them, in seconds."""

    content_length = None

    def __init__(self, part: bytes, count: int, pause: float) -> None:
        self.part, self.count, self.pause = part, count, pause

    @property
    async def body(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            await trio.sleep(self.pause)
            yield self.part


async def read(slow: Slow) -> bytes:
    return await read_body(cast(Request, slow), 8 << 20)


async def test_a_slow_uplink_gets_through(autojump_clock: object) -> None:
    assert len(await read(Slow(bytes(100_000), 40, 20.0))) == 4_000_000


@pytest.mark.parametrize("size", [0, 1, 40_000])
async def test_next_to_nothing_does_not(size: int, autojump_clock: object) -> None:
    with pytest.raises(Refused, match="too slowly"):
        await read(Slow(bytes(size), 100, 20.0))
