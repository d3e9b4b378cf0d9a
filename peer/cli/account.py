"""`shoal signup`, `login`, `logout`, `devices` and `account`: what a person does with an account."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import click
import trio

from peer import account as flows
from peer.cli.homes import home_at
from peer.cli.options import option
from peer.cli.render import account_lines, counted, device_lines
from peer.database import open_database
from peer.home import Credentials, Home, TrackerAddress
from peer.system.home_files import absolute, environment, host_name
from peer.system.http import HttpTransport
from peer.system.sockets import checked
from peer.tracker_client import DeviceClient, TrackerClient
from protocol.api import ACCOUNT, AccountReply, Empty
from protocol.errors import Problem, Usage
from protocol.login import normalise_email
from protocol.system import real_machine


def _transport(tracker: TrackerAddress) -> HttpTransport:
    """The way to a tracker, not yet used; `Usage` when there can be none."""
    return HttpTransport(tracker.url, ca_file=tracker.ca_file, insecure_http=tracker.insecure_http)


@asynccontextmanager
async def _client(transport: HttpTransport) -> AsyncIterator[TrackerClient]:
    async with transport:
        yield TrackerClient(transport, real_machine())


def _joining(function: Any) -> Any:
    """The options of the two commands that make a home a device."""
    for decorate in (
        option("--insecure-http", is_flag=True, help="Take plain http beyond this machine (tests only)."),
        option("--device-name", help="What your other devices call this one [default: the host's name]."),
        option("--tracker-ca", type=click.Path(exists=True, dir_okay=False), help="Trust this PEM file only."),
        option("--tracker", required=True, metavar="URL", help="The tracker, https://HOST[:PORT]."),
        click.argument("email"),
    ):
        function = decorate(function)
    return function


@contextmanager
def _fresh_home(path: str | None) -> Iterator[Home]:
    """A home without an account, that nobody else is at work on, and in which a daemon can run."""
    home = home_at(path)
    checked(home.control_socket)
    home.prepare()
    with home.lock():
        if home.has_account():
            raise Usage(f"{home.path} has an account: run shoal logout, or choose another --home")
        yield home


def _address(tracker: str, tracker_ca: str | None, insecure_http: bool) -> TrackerAddress:
    ca_file = None if tracker_ca is None else absolute(tracker_ca)
    return TrackerAddress(url=tracker, ca_file=ca_file, insecure_http=insecure_http)


def _password(*, new: bool) -> str:
    given = environment("SHOAL_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise Usage("no terminal to ask for the password at: set SHOAL_PASSWORD")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=new, err=True)
    return typed


@click.command()
@_joining
@click.pass_obj
def signup(
    home: str | None, email: str, tracker: str, tracker_ca: str | None, device_name: str | None, insecure_http: bool
) -> None:
    """Make an account for EMAIL, with this as its first device."""
    address = _address(tracker, tracker_ca, insecure_http)

    async def sign_up() -> tuple[Credentials, str]:
        async with _client(transport) as client:
            return await flows.sign_up(client, client.machine, normal, password, name, address)

    with _fresh_home(home) as fresh:
        # Say what can't be before anybody types a password.
        normal, name, transport = normalise_email(email), _name(device_name), _transport(address)
        password = _password(new=True)
        credentials, recovery_key = trio.run(sign_up)
        try:
            fresh.save_credentials(credentials)
        finally:
            # The account exists, so whatever becomes of this device: nobody can show this again.
            _show_recovery_key(recovery_key)
    click.echo(f'Signed up as {credentials.email}; this device is "{credentials.device_name}". Next: shoal run')


def _show_recovery_key(recovery_key: str) -> None:
    click.echo("Your recovery key, shown this once and kept nowhere:\n")
    click.echo(f"    {recovery_key}\n")
    click.echo("Write it down and keep it safe: without it, a forgotten password means that your files are lost.\n")


@click.command()
@_joining
@click.pass_obj
def login(
    home: str | None, email: str, tracker: str, tracker_ca: str | None, device_name: str | None, insecure_http: bool
) -> None:
    """Make this a device of the account of EMAIL."""
    address = _address(tracker, tracker_ca, insecure_http)

    async def log_in() -> Credentials:
        async with _client(transport) as client:
            return await flows.log_in(client, client.machine, normal, password, name, address)

    with _fresh_home(home) as fresh:
        normal, name, transport = normalise_email(email), _name(device_name), _transport(address)
        password = _password(new=False)
        credentials = trio.run(log_in)
        fresh.save_credentials(credentials)
    click.echo(f'Logged in as {credentials.email}; this device is "{credentials.device_name}". Next: shoal run')


def _name(given: str | None) -> str:
    return flows.checked_device_name(host_name() if given is None else given)


@click.command()
@option("--force", is_flag=True, help="Also when files of this device are not in the cloud yet.")
@click.pass_obj
def logout(home: str | None, *, force: bool) -> None:
    """Take this device off the account. Files stay; other devices keep theirs."""
    place = home_at(home)
    credentials = place.credentials()

    async def log_out() -> None:
        async with _client(_transport(credentials.tracker)) as client:
            await flows.log_out(client, credentials)

    with place.lock():
        if not force and (count := _only_announced(place, credentials)):
            raise Problem(
                f"{counted(count, 'file')} of this device not in the cloud yet, and other devices may wait for them: "
                "let shoal run until it says that all is in the cloud, or give --force"
            )
        trio.run(log_out)
        place.forget()
    click.echo(f"Logged out: {place.path} is no device of {credentials.email} any more. Your files stay.")


def _only_announced(place: Home, credentials: Credentials) -> int:
    """How many files the other devices were told of, by this one, that are not in the cloud."""
    database = open_database(place.database)
    try:
        sql = """SELECT count(*) FROM remote r JOIN versions v ON v.workspace = r.workspace AND v.version = r.version
                 WHERE v.author = ? AND r.durable IS NOT r.version"""
        return int(database.row(sql, credentials.device)[0])
    finally:
        database.close()


def _ask_account(home: str | None) -> tuple[Credentials, AccountReply]:
    credentials = home_at(home).credentials()

    async def ask() -> AccountReply:
        async with _client(_transport(credentials.tracker)) as client:
            return await DeviceClient(client, credentials).call(ACCOUNT, Empty())

    return credentials, trio.run(ask)


@click.command()
@click.pass_obj
def devices(home: str | None) -> None:
    """List the devices of your account."""
    for line in device_lines(*_ask_account(home)):
        click.echo(line)


@click.command()
@click.pass_obj
def account(home: str | None) -> None:
    """Show your plan and what of it is used."""
    for line in account_lines(_ask_account(home)[1]):
        click.echo(line)
