"""Commits and packs, made and signed before any clock starts, the same in each run and for each pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.devices import Account, Author, Device, Sealed, author_of, new_account
from bench.seeded import seeded_bytes
from protocol import api
from protocol.codec import encode
from protocol.commits import Commit
from protocol.identifiers import MAX_COMMIT_OPERATIONS

KIB, MIB = 1 << 10, 1 << 20
TINY = 0.1
"""Below this scale there is too little for all devices."""


@dataclass(frozen=True)
class Sizes:
    """How much is asked for; counts are of all devices together, sizes in bytes."""

    devices: int = 8  # each of an account of its own, in its own workspace
    commits: int = 4000
    content: int = KIB  # of the one file in a commit; it travels inside
    batches: int = 48
    rows: int = MAX_COMMIT_OPERATIONS  # creates in a commit
    row_content: int = 128
    packs: int = 48
    pack: int = 4 * MIB
    chunk: int = 64 * KIB
    notices: int = 100
    watchers: int = 100

    def each(self, count: int) -> int:
        """What of `count` falls to one device."""
        return max(1, count // self.devices)


def scaled(scale: float, watchers: int) -> Sizes:
    """Sizes times `scale`, which is at most 1; what a commit and a pack are stays."""
    full = Sizes(watchers=watchers)
    devices = full.devices if scale >= TINY else 2

    def part(count: int) -> int:
        return max(devices, round(count * scale))

    return Sizes(
        devices=devices,
        commits=part(full.commits),
        batches=part(full.batches),
        packs=part(full.packs),
        notices=max(5, round(full.notices * scale)),
        watchers=watchers,
    )


@dataclass(frozen=True)
class Packs:
    """One device's packs: the commit that announces their chunks, each pack, and the request that gets it back."""

    announcement: bytes
    packs: tuple[bytes, ...]
    requests: tuple[bytes, ...]


def accounts(work: str, run: int, count: int) -> list[Account]:
    """New ones for each work and run, so that every workspace begins empty."""
    return [
        new_account(f"{work}-{run}-{number}@example.org", seeded_bytes(f"bench tracker {work} {run} {number}"))
        for number in range(count)
    ]


def commits(author: Author, count: int, rows: int, content: int) -> list[bytes]:
    """Encoded commits that each create `rows` files in the workspace's root, with `content` bytes inline."""
    return [encode(_commit(author, f"{number}", rows, content)) for number in range(count)]


def _commit(author: Author, name: str, rows: int, content: int) -> Commit:
    creates = []
    for row in range(rows):
        node = author.new_node()
        sealed = author.seal(node, author.random_bytes(content))
        creates.append(author.create(f"{name} {row}", node=node, content=sealed))
    return author.commit(*creates)


def packs(author: Author, count: int, pack: int, chunk: int) -> Packs:
    """`count` files whose chunks make a pack each."""
    sealed: list[Sealed] = []
    creates = []
    for number in range(count):
        node = author.new_node()
        sealed.append(author.seal(node, author.random_bytes(pack), chunk))
        creates.append(author.create(f"{number}", node=node, content=sealed[-1]))
    announcement = author.commit(*creates, runs=tuple(body for each in sealed for body in each.runs))
    return Packs(
        announcement=encode(announcement),
        packs=tuple(author.pack(each) for each in sealed),
        requests=tuple(encode(_request(author, each)) for each in sealed),
    )


def _request(author: Author, sealed: Sealed) -> api.ChunksRequest:
    return api.ChunksRequest(workspace=author.workspace, chunks=tuple(id for id, _ in sealed.chunks))


def authors(made: Sequence[Account]) -> list[Author]:
    """The first device of each account, in its home."""
    return [author_of(account.first) for account in made]


def register(account: Account, device: Device) -> api.RegisterRequest:
    """What makes another device known."""
    return api.RegisterRequest(email=account.email, auth=account.auth, device=device.new())
