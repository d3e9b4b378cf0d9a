"""The database: transactions, its own errors as ours, and the schema that migrations make."""

from collections.abc import AsyncIterator

import pytest
import trio
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, insert, select, text, update

from protocol.api import CommitRefusal, WithdrawRequest
from protocol.codec import decode
from protocol.commits import Commit
from protocol.errors import DatabaseTooNew, Refused, Usage
from protocol.identifiers import GIB, NodeId
from protocol.system import real_machine
from storage.memory import MemoryStorage
from tests.support.databases import Databases
from tests.support.tracker import Sealed, author_of, new_account
from tests.tracker.workshop import Workshop, open_workshop
from tracker.assembly import build
from tracker.checking import check_tracker
from tracker.database import Database
from tracker.metadata.commit import commit, prepare
from tracker.metadata.withdraw import withdraw
from tracker.migrating import _config, migrate, require_newest
from tracker.schema import meta, metadata, nodes, users, versions


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    """One that was never used."""
    async with databases.opened(real_machine(), databases.new_url()) as opened:
        yield opened


def _put(connection: Connection, name: str) -> None:
    connection.execute(insert(meta), [{"name": name, "value": b""}])


def _names(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(meta.c.name)))


async def test_migrations_make_the_schema(database: Database, databases: Databases) -> None:
    await database.transact(migrate)
    await database.transact(migrate)
    await database.read(require_newest)
    difference = await database.read(
        lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
    )
    assert difference == []
    made = await database.read(_described)
    async with databases.opened(real_machine(), databases.new_url()) as declared:
        await declared.transact(metadata.create_all)
        assert made == await declared.read(_described)


def _described(connection: Connection) -> list[str]:
    """Every table and index, but for Alembic's own, as the database describes it."""
    if connection.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
    else:
        query = """
            SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, character_maximum_length)
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace"""
    rows = connection.execute(text(query)).scalars()
    return sorted(" ".join(sql.split()) for sql in rows if "alembic_version" not in sql)


async def test_a_database_of_schema_1_is_brought_up_to_date(database: Database, databases: Databases) -> None:
    """Announced versions are their authors' to upload, as of their commits; a file without any content is deleted."""
    async with open_workshop(databases) as shop:
        durable, announced, lost = [await _announce(shop, name) for name in ("durable", "announced", "lost")]
        await shop.store(durable)
        overtaken, committed = await _announce(shop, "overtaken"), shop.now_ms
        shop.clock.advance(60)
        node = await shop.database.read(_node_of, overtaken)
        await shop.commit(shop.author.write(node, overtaken.content.version))
        request = WithdrawRequest(workspace=shop.author.workspace, versions=(lost.content.version,))
        await shop.database.transact(withdraw, shop.account.user, shop.author.device.id, request, shop.now_ms)
        rows = await shop.database.read(_all_rows)
        author, machine, storage = shop.author.device.id, shop.tracker.services.machine, shop.blocks.storage
    await database.transact(_make_schema_1, rows)
    with pytest.raises(Usage):
        await database.read(require_newest)
    await database.transact(migrate)
    report = await check_tracker(machine, database, storage, quick=False)
    assert report.problems == []
    query = select(versions.c.version, versions.c.uploader, versions.c.leased_ms, versions.c.progress_ms)
    found = await database.read(lambda connection: {row[0]: tuple(row[1:]) for row in connection.execute(query)})
    assert found[announced.content.version] == (author, committed - 60_000, committed - 60_000)
    assert found[overtaken.content.version] == (author, committed, committed)
    assert found[durable.content.version] == found[lost.content.version] == (None, None, None)
    migrated = await database.read(_all_rows)
    assert {name: len(some) for name, some in migrated.items()} == {name: len(some) for name, some in rows.items()}


async def _announce(shop: Workshop, name: str) -> Sealed:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    if name == "overtaken":
        shop.clock.advance(60)
    await shop.commit(shop.author.create(name, content=sealed, node=node), runs=sealed.runs)
    return sealed


def _node_of(connection: Connection, sealed: Sealed) -> NodeId:
    query = select(versions.c.node).where(versions.c.version == sealed.content.version)
    return NodeId(connection.execute(query).scalar_one())


def _all_rows(connection: Connection) -> dict[str, list[dict[str, object]]]:
    """Everything, by table, in an order that foreign keys allow."""
    tables = {table.name: connection.execute(select(table)) for table in metadata.sorted_tables}
    return {name: [dict(row._mapping) for row in rows] for name, rows in tables.items()}


def _make_schema_1(connection: Connection, rows: dict[str, list[dict[str, object]]]) -> None:
    """A database as the first schema's program left it: a file whose only version was withdrawn lived on."""
    command.upgrade(_config(connection), "0001")
    for name, some in rows.items():
        if some:
            table = Table(name, MetaData(), autoload_with=connection)
            connection.execute(insert(table), [{key: row[key] for key in row if key in table.c} for row in some])
    changed = connection.execute(update(nodes).where(nodes.c.version.is_(None)).values(deleted=False))
    assert changed.rowcount == 1


async def test_a_newer_database_is_refused(database: Database) -> None:
    await database.transact(migrate)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await database.transact(lambda connection: connection.execute(newer))
    with pytest.raises(DatabaseTooNew):
        await database.transact(migrate)
    with pytest.raises(DatabaseTooNew):
        await database.read(require_newest)


async def test_an_empty_database_is_no_trackers(database: Database) -> None:
    with pytest.raises(Usage):
        await database.read(require_newest)


async def test_what_raises_leaves_nothing(database: Database) -> None:
    def fail(connection: Connection) -> None:
        _put(connection, "lost")
        raise KeyError

    await database.transact(migrate)
    with pytest.raises(KeyError):
        await database.transact(fail)
    await database.transact(_put, "kept")
    assert await database.read(_names) == ["kept"]


async def test_two_processes_write_at_once(databases: Databases) -> None:
    machine, url = real_machine(), databases.new_url()
    async with databases.opened(machine, url) as database, databases.opened(machine, url) as other:
        await database.transact(migrate)
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(database.transact, _put, f"a{number}")
                nursery.start_soon(other.transact, _put, f"b{number}")
        assert len(await database.read(_names)) == 20


async def test_quota_is_exact_under_concurrent_commits(database: Database) -> None:
    """Ten commits want what there is room for three of; at once."""
    await database.transact(migrate)
    tracker = await build(real_machine(), database, MemoryStorage())
    account = new_account()
    await tracker.services.accounts.sign_up(account.signup())
    author = author_of(account.first)
    sent = [author.commit(author.create(f"{number}")) for number in range(10)]
    cost = len(author.create("x").content.manifest)  # type: ignore[union-attr]
    await database.transact(
        lambda connection: connection.execute(users.update().values(used_bytes=GIB - 3 * cost - cost // 2))
    )
    refusals = []

    async def send(each: Commit) -> None:
        prepared = prepare(each, account.user, account.first.id, account.first.signing.public)
        try:
            await database.transact(commit, prepared, 1)
        except Refused as refusal:
            refusals.append(decode(CommitRefusal, refusal.detail, 1000).operations[0].reason)

    async with trio.open_nursery() as nursery:
        for each in sent:
            nursery.start_soon(send, each)
    assert refusals == ["quota"] * 7
    used = await database.read(lambda connection: connection.execute(select(users.c.used_bytes)).scalar_one())
    assert used == GIB - cost // 2
