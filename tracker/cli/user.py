"""`shoal-tracker user`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import trio
from sqlalchemy import Connection

from tracker.administration import list_users, set_plan, set_suspended
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
