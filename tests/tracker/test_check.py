"""`check` finds each kind of damage, and nothing in a tracker that is whole."""

from collections.abc import Callable

import pytest
from sqlalchemy import ColumnElement, Connection, Delete, delete, select, update

from storage.memory import MemoryStorage
from tests.support.tracker import version_of
from tests.tracker.workshop import Workshop
from tracker.checking import Report, check_tracker
from tracker.schema import awaiting, chunks, entries, nodes, objects, runs, states, users, versions, workspaces


async def build_something(shop: Workshop) -> None:
    """A little of everything: a tree, a move, a delete, a durable file, one that is only announced."""
    author = shop.author
    directory = author.create_directory("d")
    a, b = author.create("a", directory.node), author.create("b")
    await shop.commit(directory, a, b)
    await shop.commit(author.move(a.node, a.place.mark, "c"), author.delete(b.node, b.place.mark, version_of(b)))
    for name in ("durable", "announced"):
        node = author.new_node()
        sealed = author.seal(node, shop.account.random_bytes(3000), 1000)
        await shop.commit(author.create(name, content=sealed, node=node), runs=sealed.runs)
        if name == "durable":
            await shop.store(sealed)


async def report_of(shop: Workshop, *, quick: bool = False) -> Report:
    services = shop.tracker.services
    return await check_tracker(services.machine, services.database, services.blocks.storage, quick=quick)


async def test_a_whole_tracker_is_clean(shop: Workshop) -> None:
    await build_something(shop)
    report = await report_of(shop)
    assert (report.clean, report.problems, report.information) == (True, [], [])
    counted = {name: report.counts[name] for name in ("revisions", "operations", "nodes", "versions", "chunks")}
    assert counted == {"revisions": 5, "operations": 7, "nodes": 5, "versions": 4, "chunks": 3}


Damage = Callable[[Connection], object]

DAMAGES: dict[str, tuple[Damage, str]] = {
    "used bytes": (lambda c: c.execute(update(users).values(used_bytes=users.c.used_bytes + 1)), "counted as used"),
    "a chunk row": (lambda c: c.execute(_one(delete(chunks), chunks.c.chunk, c)), "chunks are not held"),
    "an object row": (lambda c: c.execute(delete(objects)), "is not known"),
    "a chunk's offset": (lambda c: c.execute(update(chunks).values(offset=chunks.c.offset + 1)), "what its id says"),
    "a chunk's length": (lambda c: c.execute(update(chunks).values(length=1 << 30)), "past the end"),
    "an awaited chunk": (lambda c: c.execute(_one(delete(awaiting), awaiting.c.chunk, c)), "missing chunks, not"),
    "a counter": (lambda c: c.execute(update(versions).values(missing=versions.c.missing + 1)), "missing chunks, not"),
    "a version's size": (lambda c: c.execute(update(versions).values(size=versions.c.size + 1)), "its size is wrong"),
    "a version's state": (lambda c: c.execute(update(versions).values(state=2)), "it is durable"),
    "an uploader": (lambda c: c.execute(update(versions).values(uploader=None)), "who uploads it does not fit"),
    "an old lease": (lambda c: c.execute(update(versions).values(leased_ms=1)), "who uploads it does not fit"),
    "a run": (lambda c: c.execute(delete(runs)), "a run it names is missing"),
    "a run's body": (lambda c: c.execute(update(runs).values(body=b"\x01")), "not what its id says"),
    "a node": (lambda c: c.execute(_one(delete(nodes), nodes.c.node, c)), "only in one of history and present"),
    "a node's place": (lambda c: c.execute(update(nodes).values(place=bytes(16))), "not what its history leads to"),
    "a node's parent": (lambda c: c.execute(update(nodes).values(parent=b"p" * 16)), "its parent is no living"),
    "a node's size": (lambda c: c.execute(update(nodes).values(size=1)), "of another size"),
    "an operation": (lambda c: c.execute(update(states).values(operation=b"x")), "not those that were signed"),
    "a state": (lambda c: c.execute(delete(states).where(states.c.position == 1)), "not those that were signed"),
    "an entry": (lambda c: c.execute(delete(entries).where(entries.c.revision == 2)), "before it is missing"),
    "a signature": (lambda c: c.execute(update(entries).values(signature=bytes(64))), "signature does not verify"),
    "a chain hash": (lambda c: c.execute(update(entries).values(hash=bytes(32))), "the chain hash is wrong"),
    "a record": (lambda c: c.execute(update(entries).values(record=b"\xa0")), "not what was recorded"),
    "the head": (lambda c: c.execute(update(workspaces).values(revision=9)), "the head is not the last entry"),
}


def _one(statement: Delete, column: ColumnElement[bytes], connection: Connection) -> Delete:
    """The statement, for the first row of the table only."""
    first = connection.scalars(select(column).limit(1)).one()
    return statement.where(column == first)


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_to_the_metadata_is_found(shop: Workshop, name: str) -> None:
    await build_something(shop)
    damage, expected = DAMAGES[name]
    await shop.database.transact(damage)
    report = await report_of(shop)
    assert not report.clean
    assert any(expected in line for line in report.problems), report.problems


def _objects(shop: Workshop) -> dict[str, bytes]:
    storage = shop.blocks.storage
    assert isinstance(storage, MemoryStorage)
    return storage.objects


async def test_one_flipped_byte_in_an_object_is_found_unless_quick(shop: Workshop) -> None:
    await build_something(shop)
    ((key, body),) = _objects(shop).items()
    _objects(shop)[key] = body[:-1] + bytes([body[-1] ^ 1])
    assert (await report_of(shop, quick=True)).clean
    report = await report_of(shop)
    assert [line for line in report.problems if "what its id says" in line] == report.problems
    assert len(report.problems) == 1


@pytest.mark.parametrize("quick", [False, True])
async def test_a_lost_and_a_shortened_object_are_found(shop: Workshop, quick: bool) -> None:
    await build_something(shop)
    ((key, body),) = _objects(shop).items()
    _objects(shop)[key] = body[:-1]
    assert any("bytes, not" in line for line in (await report_of(shop, quick=quick)).problems)
    del _objects(shop)[key]
    assert (await report_of(shop, quick=quick)).problems == [f"object {key}: it is missing, with 3 chunks in it"]


async def test_an_orphan_is_no_problem(shop: Workshop) -> None:
    await build_something(shop)
    await shop.blocks.storage.put("abc/0123456789", b"left by a crash")
    report = await report_of(shop)
    assert report.clean
    assert report.information == ["1 objects with 15 bytes are named by nothing (harmless)"]
