"""`shoal-tracker user`."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import trio
from sqlalchemy import Connection

from protocol.breaker import Limits
from tracker.administration import change_breaker, list_users, set_plan, set_suspended
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
    for line in found:
        if line.breaker != Limits():
            click.echo(f"breaker of {line.email}: {_unusual(line.breaker)}")


def _state(suspended: bool) -> str:
    return "suspended" if suspended else "active"


_USUAL = asdict(Limits())


def _unusual(limits: Limits) -> str:
    """The limits that are others than those of all users."""
    changed = (f"{_option(name)} {value}" for name, value in asdict(limits).items() if value != _USUAL[name])
    return ", ".join(changed)


def _option(name: str) -> str:
    return name.replace("_", "-")


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


_PERCENT, _FILES = click.IntRange(0, 100), click.IntRange(1, (1 << 32) - 1)


@user.command("set-breaker")
@click.argument("email")
@click.option("--delete-percent", type=_PERCENT)
@click.option("--delete-least", type=_FILES)
@click.option("--delete-most", type=_FILES)
@click.option("--overwrite-percent", type=_PERCENT)
@click.option("--overwrite-least", type=_FILES)
@click.option("--reset", is_flag=True, help="What isn't given becomes as usual.")
@located
@as_json
def set_breaker_(
    email: str, reset: bool, data: Path, database: str | None, storage: str | None, json_: bool, **limits: int | None
) -> None:
    """Say how much of a user's files may be deleted or overwritten within ten minutes without a question: up to PERCENT
    of them, and any number below LEAST. What isn't given stays as it is. Prints what holds then."""
    given = {name: value for name, value in limits.items() if value is not None}
    trio.run(_set_breaker, locations(data, database, storage), json_, email, given, reset)


async def _set_breaker(where: Locations, json_: bool, email: str, given: dict[str, int], reset: bool) -> None:
    async with open_database(where, make=False) as database:
        limits = await database.transact(partial(change_breaker, email=email, given=given, reset=reset))
    if json_:
        print_json({"changed": email, "breaker": asdict(limits)})
        return
    rows = ((_option(name), value, _USUAL[name]) for name, value in asdict(limits).items())
    print_table((f"breaker of {email}", "limit", "usual"), rows)


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
