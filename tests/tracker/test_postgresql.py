"""What only PostgreSQL can get wrong: its settings, its collisions, and the ways in which it is lost."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
import trio
from sqlalchemy import Connection, event, func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from protocol import api
from protocol.codec import encode
from protocol.errors import Refused
from protocol.identifiers import TrackerEpoch
from protocol.system import real_machine
from tests.support.databases import PostgresDatabases, postgres_databases
from tests.support.postgres import postgres_server
from tests.support.relay import Relay, free_port
from tests.support.tracker import Client, client_of, running_tracker
from tests.tracker.served import open_served
from tests.tracker.workshop import open_workshop
from tracker.database import Database, Unavailable
from tracker.http.envelope import RETRY_S
from tracker.identity import Identity, settle_identity
from tracker.metadata.commit import commit, prepare
from tracker.migrating import migrate
from tracker.schema import meta
from tracker.system import loop as system_loop
from tracker.system import postgresql
from tracker.system.loop import Job, LoopThread, open_loop
from tracker.system.postgresql import ATTEMPTS, WRITERS, PostgresqlDatabase

AT_ONCE_S = 20
"""For what takes some milliseconds, and would take forever or until a time-out of ours if it went wrong."""
SLEEP = text("SELECT pg_sleep(60)")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PAUSE_S", 0)


@pytest.fixture
async def database(postgres: PostgresDatabases) -> AsyncIterator[PostgresqlDatabase]:
    """The session's, with our tables."""
    async with postgres.migrated(real_machine()) as opened:
        assert isinstance(opened, PostgresqlDatabase)
        yield opened


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresDatabases]:
    """A server to kill. It asks the role `guarded` for a password."""
    with postgres_databases() as databases:
        server = databases.server
        server.psql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all guarded all scram-sha-256\n{rules.read_text()}")
        server.kill()
        server.start()
        yield databases


def _put(connection: Connection, name: str) -> None:
    connection.execute(insert(meta), [{"name": name, "value": b""}])


def _change(connection: Connection, name: str) -> None:
    assert connection.execute(update(meta).where(meta.c.name == name).values(value=b"changed")).rowcount == 1


def _names(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(meta.c.name)))


def _backend(connection: Connection) -> int:
    return int(connection.execute(select(func.pg_backend_pid())).scalar_one())


def _show(connection: Connection, *names: str) -> list[str]:
    return [str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names]


def _fail(connection: Connection, state: str) -> None:
    connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")


@asynccontextmanager
async def holding(database: Database, loop: LoopThread, name: str) -> AsyncIterator[None]:
    """While another transaction has changed this row, and has not ended."""
    token, has, done = trio.lowlevel.current_trio_token(), trio.Event(), asyncio.Event()

    def hold(connection: Connection) -> None:
        _change(connection, name)
        token.run_sync_soon(has.set)
        await_only(done.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.transact, hold)
        await has.wait()
        yield
        loop.soon(done.set)


# Settings ------------------------------------------------------------------------------------------------------------


async def test_settings_hold_on_every_connection(postgres: PostgresDatabases) -> None:
    """Of readers and writers in turn, on the same connections."""
    limits = ["30s", "10s", "1min", "on", "off"]
    names = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "synchronous_commit", "jit"
    for_transactions = "transaction_isolation", "transaction_read_only"
    async with postgres.opened(real_machine(), postgres.server.url()) as database:
        for run, expected in [
            (database.transact, ["read committed", "off"]),
            (database.read, ["repeatable read", "on"]),
            (database.transact, ["read committed", "off"]),
        ]:
            backends, together = set[int](), asyncio.Barrier(WRITERS)

            def look(
                connection: Connection,
                expected: list[str] = expected,
                backends: set[int] = backends,
                together: asyncio.Barrier = together,
            ) -> None:
                await_only(together.wait())
                assert _show(connection, *for_transactions, *names) == [*expected, *limits]
                backends.add(_backend(connection))

            async with trio.open_nursery() as nursery:
                for _ in range(WRITERS):
                    nursery.start_soon(run, look)
            assert len(backends) == WRITERS


async def test_a_reader_sees_one_moment_and_a_writer_each_statements(
    database: Database, postgres: PostgresDatabases
) -> None:
    def look_twice(connection: Connection, name: str) -> tuple[list[str], list[str]]:
        before = _names(connection)
        postgres.server.psql(f"INSERT INTO meta VALUES ('{name}', '')")
        return before, _names(connection)

    assert await database.read(look_twice, "a") == ([], [])
    assert await database.transact(look_twice, "b") == (["a"], ["a", "b"])


# Collisions ----------------------------------------------------------------------------------------------------------


async def test_of_a_deadlock_one_is_run_again_and_both_end_well(database: Database) -> None:
    for name in "ab":
        await database.transact(_put, name)
    both, attempts = asyncio.Barrier(2), Counter[str]()

    def cross(connection: Connection, first: str, second: str) -> None:
        attempts[first] += 1
        connection.exec_driver_sql("SET LOCAL deadlock_timeout = '20ms'")
        _change(connection, first)
        if attempts[first] == 1:
            await_only(both.wait())
        _change(connection, second)
        _put(connection, f"{first}{second}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.transact, cross, "a", "b")
        nursery.start_soon(database.transact, cross, "b", "a")
    assert await database.read(_names) == ["a", "ab", "b", "ba"]
    assert attempts.total() == 3


async def test_a_serialization_failure_is_run_again(database: Database, postgres: PostgresDatabases) -> None:
    await database.transact(_put, "a")
    seen = []

    def change(connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen.append(connection.execute(select(meta.c.value)).scalar_one())
        if len(seen) == 1:
            postgres.server.psql("UPDATE meta SET value = 'between'")
        _change(connection, "a")

    await database.transact(change)
    assert seen == [b"", b"between"]


@pytest.mark.parametrize("state", ["40001", "40P01", "57P01", "08006"])
async def test_attempts_are_bounded(database: Database, state: str) -> None:
    attempts = []

    def fail(connection: Connection) -> None:
        attempts.append(state)
        _fail(connection, state)

    with pytest.raises(Unavailable):
        await database.transact(fail)
    assert len(attempts) == ATTEMPTS


@pytest.mark.parametrize(("state", "attempts"), [("42601", 1), ("22000", 1), ("23503", 1), ("23505", ATTEMPTS)])
async def test_a_wrong_statement_stays_what_it_is(database: Database, state: str, attempts: int) -> None:
    """A unique violation may be a collision, and is one until it has been tried often enough."""
    made = []

    def fail(connection: Connection) -> None:
        made.append(state)
        _fail(connection, state)

    with pytest.raises(DBAPIError):
        await database.transact(fail)
    assert len(made) == attempts


# Limits --------------------------------------------------------------------------------------------------------------


async def test_a_statement_that_takes_too_long_leaves_the_connection_usable(database: Database) -> None:
    def linger(connection: Connection) -> None:
        _put(connection, "lost")
        connection.exec_driver_sql("SET LOCAL statement_timeout = '20ms'")
        connection.execute(SLEEP)

    before = await database.transact(_backend)
    with pytest.raises(Unavailable) as caught:
        await database.transact(linger)
    assert "statement timeout" in caught.value.reason
    assert await database.transact(_backend) == before
    assert await database.transact(_show, "statement_timeout") == ["30s"]
    assert await database.read(_names) == []


async def test_a_lock_that_is_not_got_in_time_leaves_the_connection_usable(
    database: Database, postgres: PostgresDatabases
) -> None:
    def want(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '20ms'")
        _change(connection, "a")

    await database.transact(_put, "a")
    async with postgres.opened(real_machine(), postgres.server.url()) as other:
        before = await other.transact(_backend)
        async with holding(database, postgres.loop, "a"):
            with pytest.raises(Unavailable) as caught:
                await other.transact(want)
            assert "lock timeout" in caught.value.reason
            assert await other.transact(_backend) == before
        await other.transact(_change, "a")


async def test_too_many_connections_are_no_hang(own: PostgresDatabases) -> None:
    own.server.psql("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    url = make_url(own.server.url()).set(username="few").render_as_string()
    async with own.opened(real_machine(), url) as one, own.opened(real_machine(), url) as other:
        await one.transact(_backend)
        with trio.fail_after(AT_ONCE_S), pytest.raises(Unavailable, match="not available"):
            await other.transact(_backend)
        await one.transact(_backend)
        own.server.psql("ALTER ROLE few CONNECTION LIMIT 2")
        await other.transact(_backend)


# Losses --------------------------------------------------------------------------------------------------------------


async def test_what_a_lost_backend_was_doing_is_done_once_by_another(
    database: Database, postgres: PostgresDatabases
) -> None:
    backends = []

    def put(connection: Connection) -> None:
        _put(connection, "a")
        backends.append(_backend(connection))
        if len(backends) == 1:
            _end(postgres, backends[0])
        _put(connection, "b")

    await database.transact(put)
    assert await database.read(_names) == ["a", "b"]
    assert len(set(backends)) == len(backends) == 2


async def test_idle_connections_may_be_lost(database: Database, postgres: PostgresDatabases) -> None:
    _end(postgres, await database.transact(_backend))
    await database.transact(_put, "a")
    _end(postgres, await database.transact(_backend))
    assert await database.read(_names) == ["a"]


def _end(databases: PostgresDatabases, backend: int) -> None:
    assert databases.server.psql(f"SELECT pg_terminate_backend({backend}, {AT_ONCE_S * 1000})") == "t"


async def test_a_killed_server_is_unavailable_until_it_is_there_again(own: PostgresDatabases) -> None:
    async with own.migrated(real_machine()) as database:
        await database.transact(_put, "a")
        own.server.kill()
        with trio.fail_after(AT_ONCE_S), pytest.raises(Unavailable):
            while True:  # its other processes end a moment later
                await database.read(_names)
        with trio.fail_after(AT_ONCE_S), pytest.raises(Unavailable):
            await database.transact(_put, "lost")
        own.server.start()
        await database.transact(_put, "b")
        assert await database.read(_names) == ["a", "b"]


@asynccontextmanager
async def relayed(databases: PostgresDatabases) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server, and its address."""
    relay = Relay(databases.server.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield relay, make_url(databases.server.url()).set(port=relay.port).render_as_string()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("happened", [False, True])
async def test_a_commit_lost_on_its_way_is_sent_again_and_happens_once(
    postgres: PostgresDatabases, happened: bool
) -> None:
    async with open_workshop(postgres) as shop, relayed(postgres) as (relay, url):
        async with postgres.opened(real_machine(), url) as database:
            device = shop.author.device
            sent = shop.author.commit(shop.author.create("a"), shop.author.create_directory("b"))
            prepared = prepare(sent, shop.account.user, device.id, device.signing.public)
            relay.cut, relay.cut_behind = b"COMMIT;", happened
            with trio.fail_after(AT_ONCE_S), pytest.raises(Unavailable, match="ask again"):
                await database.transact(commit, prepared, shop.now_ms)
            assert relay.cuts == 1
            relay.cut = None
            again = await database.transact(commit, prepared, shop.now_ms)
        assert (again.fresh, again.reply.revision) == (not happened, 1)
        assert await shop.head() == 1
        await shop.check()


@pytest.mark.slow  # two seconds each, for a connection to be closed politely
@pytest.mark.parametrize("at", [b"SELECT", b"INSERT", b"COMMIT;"])
async def test_a_stalled_network_is_given_up_in_time(
    database: Database, postgres: PostgresDatabases, at: bytes
) -> None:
    def write(connection: Connection, name: str) -> None:
        _names(connection)
        _put(connection, name)

    async with relayed(postgres) as (relay, url):
        stalled = PostgresqlDatabase(real_machine(), postgres.loop, make_url(url), patience=0.2)
        relay.stall = at
        with trio.fail_after(AT_ONCE_S):
            with pytest.raises(Unavailable):
                await stalled.transact(write, "lost")
            relay.stall = None
            await stalled.transact(write, "kept")
            await stalled.close()
    assert await database.read(_names) == ["kept"]


# Cancellation --------------------------------------------------------------------------------------------------------


async def test_cancelled_in_a_statement_it_rolls_back_and_frees_the_connection(
    database: PostgresqlDatabase, postgres: PostgresDatabases
) -> None:
    def linger(connection: Connection) -> None:
        _put(connection, "a")
        connection.execute(SLEEP)

    def is_asleep(connection: Connection) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return bool(connection.execute(text(query)).scalar_one())

    with trio.fail_after(AT_ONCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.transact, linger)
            while not await database.read(is_asleep):
                pass
            nursery.cancel_scope.cancel()
        await database.transact(_put, "a")  # which would wait for the other's
        while await database.read(is_asleep):
            pass
    assert database._engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_cancelled_while_it_commits_it_returns_what_happened(
    database: PostgresqlDatabase, postgres: PostgresDatabases
) -> None:
    token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()

    def cancel_here(_: Connection) -> None:
        passed_on = asyncio.Event()

        def cancel() -> None:
            scope.cancel()
            postgres.loop.soon(passed_on.set)

        token.run_sync_soon(cancel)
        await_only(passed_on.wait())

    def put(connection: Connection) -> str:
        _put(connection, "a")
        return "done"

    event.listen(database._engine.sync_engine, "commit", cancel_here, once=True)
    with scope:
        assert await database.transact(put) == "done"
    assert scope.cancel_called
    assert not scope.cancelled_caught
    assert await database.read(_names) == ["a"]


# Several at once -----------------------------------------------------------------------------------------------------


async def test_several_new_trackers_agree(postgres: PostgresDatabases) -> None:
    """Each has seen that there is no identity before any of them writes its own."""
    number, url, settled = 6, postgres.new_url(), set[Identity]()
    together = asyncio.Barrier(number)

    async def begin(mine: int) -> None:
        async with postgres.opened(real_machine(), url) as database:
            assert isinstance(database, PostgresqlDatabase)
            await database.transact(migrate)
            _meet_before_inserting(database, together)
            fresh = Identity(TrackerEpoch(bytes([mine]) * 16), bytes([mine]) * 32)
            settled.add(await database.transact(settle_identity, fresh))

    with trio.fail_after(AT_ONCE_S):
        async with trio.open_nursery() as nursery:
            for mine in range(number):
                nursery.start_soon(begin, mine)
    assert len(settled) == 1
    async with postgres.opened(real_machine(), url) as database:
        versions = text("SELECT count(*) FROM alembic_version")
        assert await database.read(lambda connection: connection.execute(versions).scalar_one()) == 1
        assert len(await database.read(_names)) == 2


def _meet_before_inserting(database: PostgresqlDatabase, together: asyncio.Barrier) -> None:
    """The first time."""
    inserted: list[str] = []

    def meet(_: Connection, _cursor: object, statement: str, *_others: object) -> None:
        if statement.startswith("INSERT") and not inserted:
            inserted.append(statement)
            await_only(together.wait())

    event.listen(database._engine.sync_engine, "before_cursor_execute", meet)


# At the command line -------------------------------------------------------------------------------------------------

PASSWORD = "not-the-one"
UNUSABLE = {
    "a wrong password": ("{port}/postgres", "password authentication failed"),
    "an unknown database": ("{port}/nowhere", "does not exist"),
    "an unreachable server": ("{nobody}/postgres", "Connect call failed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_one_clear_line_and_exit_1(own: PostgresDatabases, tmp_path: Path, name: str) -> None:
    where, why = UNUSABLE[name]
    password = "right" if name == "an unknown database" else PASSWORD
    at = where.format(port=own.server.port, nobody=free_port())
    url = f"postgresql+asyncpg://guarded:{password}@127.0.0.1:{at}"
    done = subprocess.run(
        [sys.executable, "-m", "tracker", "serve", "--data", str(tmp_path), "--database", url],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (1, "")
    shown = url.replace(password, "***")
    assert done.stderr.startswith(f"shoal-tracker: the database {shown} can't be used: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert password not in done.stderr


# The loop by itself --------------------------------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with open_loop() as opened:
        yield opened


async def test_results_and_errors_come_back(loop: LoopThread) -> None:
    async def double(job: Job[int], number: int) -> int:
        await asyncio.sleep(0)
        if number < 0:
            raise KeyError(number)
        return 2 * number

    assert await loop.run(partial(double, number=2)) == 4
    with pytest.raises(KeyError):
        await loop.run(partial(double, number=-1))
    assert await loop.run(partial(double, number=3)) == 6


async def test_many_tasks_use_it_at_once(loop: LoopThread) -> None:
    together, done = asyncio.Barrier(10), []

    async def meet(_: Job[None]) -> None:
        await together.wait()

    async def go() -> None:
        await loop.run(meet)
        done.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(go)
    assert len(done) == 10


async def cancelled(loop: LoopThread, *, must_finish: bool = False, instead: BaseException | None = None) -> str:
    """What a job returns that is cancelled while it waits; `instead` is what it raises when it is."""
    token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()

    async def work(job: Job[str]) -> str:
        job.must_finish = must_finish
        passed_on = asyncio.Event()

        def cancel() -> None:
            scope.cancel()
            loop.soon(passed_on.set)

        token.run_sync_soon(cancel)
        try:
            await passed_on.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if instead is not None:
                raise instead from None
            raise
        return "finished"

    with scope:
        return await loop.run(work)
    assert scope.cancelled_caught
    return "cancelled"


async def test_a_cancellation_is_passed_on(loop: LoopThread) -> None:
    assert await cancelled(loop) == "cancelled"
    assert await cancelled(loop, must_finish=True) == "finished"
    with pytest.raises(KeyError):
        await cancelled(loop, instead=KeyError())


async def test_what_must_finish_and_does_not_is_cancelled_in_the_end(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that a database which stands still doesn't answer."""
    monkeypatch.setattr(system_loop, "LAST_S", 0.01)

    async def work(job: Job[None]) -> None:
        job.must_finish = True
        await asyncio.Event().wait()

    with trio.move_on_after(0.01) as scope:
        await loop.run(work)
    assert scope.cancelled_caught


async def test_a_cancellation_of_its_own_is_an_error(loop: LoopThread) -> None:
    async def give_up(_: Job[None]) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await loop.run(give_up)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
async def test_a_tracker_stops_in_time_while_the_database_says_nothing(tmp_path: Path, workers: str) -> None:
    """Its processes stand still, with a request under way: a disk that hangs, a machine that is paused."""
    with postgres_server() as server:
        url = server.url()
        with running_tracker(tmp_path / "data", "--database", url, "--workers", workers) as running:
            assert server.process is not None
            first = psutil.Process(server.process.pid)
            frozen = [first, *first.children(recursive=True)]
            for process in frozen:
                process.suspend()
            try:
                async with client_of(running.url) as client, trio.open_nursery() as nursery:
                    nursery.start_soon(_ask_in_vain, client)
                    await trio.testing.wait_all_tasks_blocked(0.3)
                    began = time.monotonic()
                    running.process.terminate()
                    assert await trio.to_thread.run_sync(lambda: running.process.wait(timeout=15)) == 0
                    assert time.monotonic() - began < 10
                    nursery.cancel_scope.cancel()
            finally:
                for process in frozen:
                    process.resume()


async def _ask_in_vain(client: Client) -> None:
    with suppress(httpx.TransportError, Refused):
        await client.call(api.SALT, api.SaltRequest(email="ann@example.org"))


async def test_a_device_is_told_when_to_ask_again_and_then_gets_its_answer(tmp_path: Path) -> None:
    """The tracker serves through the database's end and its return."""
    with postgres_server() as server:
        async with open_served(tmp_path / "data", server.url()) as served:
            server.kill()
            sent = served.author.commit(served.author.create("a"))
            refused = await served.client.post(api.COMMIT.path, encode(sent))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, str(RETRY_S))
            await served.alive()
            await trio.to_thread.run_sync(server.start)
            assert (await served.client.call(api.COMMIT, sent)).revision == 1
