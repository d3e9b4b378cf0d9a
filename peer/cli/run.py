"""`shoal run`: the daemon, in the foreground."""

import dataclasses
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

import click
import trio

from peer.cli.homes import home_at
from peer.cli.options import option
from peer.home import Home
from peer.lan.options import PORT, LanOptions
from peer.logs import LEVELS, logging_to
from peer.ports import LanAddress
from peer.rates import read_rate
from peer.system.home_files import absolute
from peer.traffic import TrafficOptions

STOP_SECONDS = 9
"""How long a stop may take. After that the kernel ends it, which costs no more than any crash."""


def _interface(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A numeric address that an interface can have."""
    if value is None:
        return None
    if not _is_address(value) or ip_address(value).is_unspecified or ip_address(value).is_multicast:
        raise click.BadParameter(f"{value!r} is not the IP address of an interface.")
    return value


def _peers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[LanAddress, ...]:
    return tuple(_peer(value) for value in values)


def _peer(value: str) -> LanAddress:
    """HOST:PORT, HOST a name or an address."""
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 1 << 16):
        raise click.BadParameter(f"{value!r} is not HOST:PORT, with a port from 1 to 65535.")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host or not _is_address(host):
            raise click.BadParameter(f"{host!r} is not an IPv6 address.")
    elif ":" in host:
        raise click.BadParameter(f"{value!r}: an IPv6 address stands in brackets, [ADDRESS]:PORT.")
    elif not _can_be_a_name(host):
        raise click.BadParameter(f"{host!r} is neither an IP address nor a host's name.")
    return LanAddress(host, int(port))


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else read_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _can_be_a_name(host: str) -> bool:
    """Whether it could be in DNS: labels of letters, digits, hyphens and underscores, in any script."""
    labels = host.removesuffix(".").split(".")
    with suppress(UnicodeError):
        host.encode("idna")
        return all(label.replace("-", "").replace("_", "").isalnum() for label in labels)
    return False


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, readable=False))
@option(
    "--lan-interface", callback=_interface, metavar="ADDRESS", help="Use only the network of this address of yours."
)
@option("--no-lan", is_flag=True, help="Exchange nothing with devices on the LAN.")
@option(
    "--lan-peer",
    "lan_peers",
    callback=_peers,
    multiple=True,
    metavar="HOST:PORT",
    help="Look for a device there as well, where there is no multicast (may be repeated; IPv6 in brackets).",
)
@option(
    "--lan-port", type=click.IntRange(1, 65535), help=f"Listen here for devices on the LAN.  [default: {PORT}, if free]"
)
@option(
    "--lan-offline", is_flag=True, help="Serve and ask LAN devices for 24 h, not 1 h, after the tracker was last heard."
)
@option("--upload-limit", callback=_rate, metavar="RATE", help="Send contents to the tracker no faster (500k, 20Mbit).")
@option("--download-limit", callback=_rate, metavar="RATE", help="Take contents from the tracker no faster.")
@option("--pause-on-battery", is_flag=True, help="Let contents wait, save on the LAN, while on battery.")
@option("--pause-on-metered", is_flag=True, help="Let them wait while NetworkManager says the connection is metered.")
@option("--insecure-http", is_flag=True, help="Take plain http beyond this machine (tests only; remembered).")
@option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="How much to log.")
@click.pass_obj
def run(
    home: str | None,
    folder: str | None,
    lan_interface: str | None,
    no_lan: bool,
    lan_peers: tuple[LanAddress, ...],
    lan_offline: bool,
    lan_port: int | None,
    upload_limit: int | None,
    download_limit: int | None,
    pause_on_battery: bool,
    pause_on_metered: bool,
    insecure_http: bool,
    log_level: str,
) -> None:
    """Keep FOLDER in sync until stopped. None given, it is that of the last time, and ~/Shoal the first time."""
    place = home_at(home)
    root = None if folder is None else absolute(folder)
    place.credentials()  # nothing is made for somebody who has not logged in
    from peer.daemon import run_daemon

    lan = LanOptions(lan_interface, not no_lan, lan_peers, lan_offline, lan_port)
    traffic = TrafficOptions(upload_limit, download_limit, pause_on_battery, pause_on_metered)
    place.prepare()
    with place.lock(), logging_to(place.log_folder, log_level):
        if insecure_http:
            _allow_plain_http(place)
        code = trio.run(_until_stopped, lambda: run_daemon(place, root, announce=_announce, lan=lan, traffic=traffic))
    click.get_current_context().exit(code)


def _allow_plain_http(home: Home) -> None:
    credentials = home.credentials()
    if not credentials.tracker.insecure_http:
        tracker = dataclasses.replace(credentials.tracker, insecure_http=True)
        home.save_credentials(dataclasses.replace(credentials, tracker=tracker))


def _announce(line: str) -> None:
    """Say something on stdout; a daemon outlives whoever was listening."""
    with suppress(OSError):
        click.echo(line)


async def _until_stopped(daemon: Callable[[], Awaitable[int | None]]) -> int:
    """Run `daemon` until it ends (its result) or SIGTERM or SIGINT cancels it (0)."""
    code: int | None = 0

    async def stop_on_signal() -> None:
        async for _ in signals:
            signal.alarm(STOP_SECONDS)
            nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal)
            code = await daemon()
            nursery.cancel_scope.cancel()
        signal.alarm(0)
    return code or 0
