"""Packs of chunks, up and down."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache, partial

from bench.devices import Account
from bench.tracker import prepared
from bench.tracker.connection import message
from bench.tracker.pairs import Stand
from bench.tracker.prepared import Packs, Sizes
from bench.tracker.works.base import TRACKER, Task, Work, connect, drive, floor_task
from bench.tracker.works.commits import sign_up
from bench.words import sized
from protocol import api

MB = 10**6


@lru_cache(maxsize=1)  # the next pair is asked the same
def _packs(run: int, sizes: Sizes) -> tuple[list[Account], list[Packs]]:
    accounts = prepared.accounts("chunks", run, sizes.devices)
    each = sizes.each(sizes.packs)
    return accounts, [prepared.packs(author, each, sizes.pack, sizes.chunk) for author in prepared.authors(accounts)]


def _tasks(stand: Stand, run: int, sizes: Sizes) -> Iterator[Task]:
    accounts, packs = _packs(run, sizes)
    whole = [pack for each in packs for pack in each.packs]
    amount = sum(map(len, whole)) / MB
    with ExitStack() as stack:
        connections = connect(stack, stand, len(accounts))
        tokens = sign_up(connections, accounts)
        for connection, token, each in zip(connections, tokens, packs, strict=True):
            connection.exchange(message(api.COMMIT.path, each.announcement, token))
        up = [
            [message(api.PACK_PATH, pack, token) for pack in each.packs]
            for token, each in zip(tokens, packs, strict=True)
        ]
        yield Task("up", TRACKER, "MB/s", amount, partial(drive, connections, up))
        del up
        down = [
            [message(api.CHUNKS_PATH, request, token) for request in each.requests]
            for token, each in zip(tokens, packs, strict=True)
        ]
        yield Task("down", TRACKER, "MB/s", amount, partial(drive, connections, down))
    with stand.storage.floor.puts(whole, len(accounts)) as put:
        yield floor_task("up", "MB/s", amount, put)
    with stand.storage.floor.gets(whole, len(accounts)) as get:
        yield floor_task("down", "MB/s", amount, get)


CHUNKS = Work(
    "chunks",
    lambda sizes: (
        f"{sizes.packs} packs of {sized(sizes.pack)} in chunks of {sized(sizes.chunk)} up, "
        f"and down again, by {sizes.devices} devices"
    ),
    _tasks,
)
