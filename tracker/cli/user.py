"""`shoal-tracker user`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import trio
from sqlalchemy import Connection

from protocol.breaker import Limits
from tracker.administration import list_users, set_breaker, set_plan, set_suspended
from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json, print_table, sized
from tracker.system.opening import Locations, open_database


@click.group()
def user() -> None:
    """List users and change what they may."""


async def _list(where: Locations, json_: bool) -> None:
    async with open_database(where, make=False) as database:
        found = await database.read(list_users)
    if json_:
        print_json({"users": [asdict(line) for line in found]})
        return
    rows = (
        (line.email, line.plan, sized(line.used_bytes), sized(line.quota_bytes), line.devices, _state(line.suspended))
        for line in found
    )
    print_table(("address", "plan", "used", "quota", "devices", "state"), rows)


def _state(suspended: bool) -> str:
    return "suspended" if suspended else "active"


async def _change(where: Locations, json_: bool, email: str, change: Callable[[Connection], None]) -> None:
    async with open_database(where, make=False) as database:
        await database.transact(change)
    if json_:
        print_json({"changed": email})


@user.command("list")
@located
@as_json
def list_(data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """All users with plan, use and state."""
    trio.run(_list, locations(data, database, storage), json_)


@user.command("set-plan")
@click.argument("email")
@click.argument("plan")
@located
@as_json
def set_plan_(email: str, plan: str, data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """Give a user another plan."""
    where = locations(data, database, storage)
    trio.run(_change, where, json_, email, lambda connection: set_plan(connection, email, plan))


_PERCENT, _FILES, _USUAL = click.IntRange(0, 100), click.IntRange(1, (1 << 32) - 1), Limits()


@user.command("set-breaker")
@click.argument("email")
@click.option("--delete-percent", type=_PERCENT, default=_USUAL.delete_percent, show_default=True)
@click.option("--delete-least", type=_FILES, default=_USUAL.delete_least, show_default=True)
@click.option("--delete-most", type=_FILES, default=_USUAL.delete_most, show_default=True)
@click.option("--overwrite-percent", type=_PERCENT, default=_USUAL.overwrite_percent, show_default=True)
@click.option("--overwrite-least", type=_FILES, default=_USUAL.overwrite_least, show_default=True)
@located
@as_json
def set_breaker_(email: str, data: Path, database: str | None, storage: str | None, json_: bool, **limits: int) -> None:
    """Say how much of a user's files may be deleted or overwritten within ten minutes without a question: up to PERCENT
    of them, and any number below LEAST. What isn't given is as usual."""
    where = locations(data, database, storage)
    trio.run(_change, where, json_, email, lambda connection: set_breaker(connection, email, Limits(**limits)))


@user.command()
@click.argument("email")
@located
@as_json
def suspend(email: str, data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """Refuse a user's devices everything until resumed; nothing is deleted."""
    where = locations(data, database, storage)
    trio.run(_change, where, json_, email, lambda connection: set_suspended(connection, email, True))


@user.command()
@click.argument("email")
@located
@as_json
def resume(email: str, data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """Let a suspended user go on."""
    where = locations(data, database, storage)
    trio.run(_change, where, json_, email, lambda connection: set_suspended(connection, email, False))
