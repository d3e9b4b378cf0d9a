"""Commits: of one file each, and of many files at once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial

from bench.devices import Account
from bench.tracker import prepared
from bench.tracker.connection import Connection, message
from bench.tracker.pairs import Stand
from bench.tracker.prepared import Sizes
from bench.tracker.works.base import TRACKER, Task, Unit, Work, connect, drive, floor_task
from bench.words import sized
from protocol import api

Bodies = tuple[list[Account], list[list[bytes]]]
"""Accounts, and of each the commits of its device."""


@lru_cache(maxsize=1)  # the next pair is asked the same
def _bodies(work: str, run: int, devices: int, each: int, rows: int, content: int) -> Bodies:
    accounts = prepared.accounts(work, run, devices)
    return accounts, [prepared.commits(author, each, rows, content) for author in prepared.authors(accounts)]


def sign_up(connections: Sequence[Connection], accounts: Sequence[Account]) -> list[str]:
    """The token of each account's first device."""
    return [
        connection.call(api.SIGNUP, account.signup()).token
        for connection, account in zip(connections, accounts, strict=True)
    ]


def _tasks(work: str, unit: Unit, stand: Stand, bodies: Bodies, rows: int) -> Iterator[Task]:
    accounts, bodies_of_each = bodies
    transactions = sum(map(len, bodies_of_each))
    with ExitStack() as stack:
        connections = connect(stack, stand, len(accounts))
        tokens = sign_up(connections, accounts)
        requests = [
            [message(api.COMMIT.path, body, token) for body in own]
            for own, token in zip(bodies_of_each, tokens, strict=True)
        ]
        yield Task(work, TRACKER, unit, transactions * rows, partial(drive, connections, requests))
    with stand.database.floor.inserts(transactions, rows, len(accounts)) as run:
        yield floor_task(work, unit, transactions * rows, run)


def _commits(stand: Stand, run: int, sizes: Sizes) -> Iterator[Task]:
    bodies = _bodies("commits", run, sizes.devices, sizes.each(sizes.commits), 1, sizes.content)
    return _tasks("commits", "commits/s", stand, bodies, 1)


def _rows(stand: Stand, run: int, sizes: Sizes) -> Iterator[Task]:
    bodies = _bodies("rows", run, sizes.devices, sizes.each(sizes.batches), sizes.rows, sizes.row_content)
    return _tasks("rows", "rows/s", stand, bodies, sizes.rows)


COMMITS = Work(
    "commits",
    lambda sizes: f"{sizes.commits:,} commits of one new file of {sized(sizes.content)}, by {sizes.devices} devices",
    _commits,
)
ROWS = Work(
    "rows",
    lambda sizes: (
        f"{sizes.batches} commits of {sizes.rows:,} new files of {sized(sizes.row_content)} each, "
        f"by {sizes.devices} devices"
    ),
    _rows,
)
