"""`shoal-tracker serve`."""

import logging
from functools import partial
from pathlib import Path

import click
import trio

from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json
from tracker.system.listening import INHERITED, RELIEVES, Listen, parse_listen

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@located
@click.option("--listen", envvar="SHOAL_LISTEN", default="127.0.0.1:7440", show_default=True, metavar="HOST:PORT")
@click.option(
    "--workers",
    envvar="SHOAL_WORKERS",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes that serve; more than one need PostgreSQL.",
)
@click.option("--tls-cert", type=_FILE, envvar="SHOAL_TLS_CERT", help="A certificate chain in PEM.")
@click.option("--tls-key", type=_FILE, envvar="SHOAL_TLS_KEY", help="Its private key in PEM.")
@click.option("--insecure-http", is_flag=True, envvar="SHOAL_INSECURE_HTTP", help="Plain http beyond loopback, too.")
@click.option(
    "--log-level",
    envvar="SHOAL_LOG_LEVEL",
    default="warning",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
)
@click.option("--inherited-socket", envvar=INHERITED, type=int, hidden=True)
@click.option("--relieves", envvar=RELIEVES, is_flag=True, hidden=True)
@as_json
def serve(
    data: Path,
    database: str | None,
    storage: str | None,
    listen: str,
    workers: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure_http: bool,
    log_level: str,
    inherited_socket: int | None,
    relieves: bool,
    json_: bool,
) -> None:
    """Serve until SIGTERM or SIGINT, in the foreground. Prints one line when ready.

    With --workers SIGHUP replaces them one after the other, and no request fails by it.
    """
    from tracker.system.serving import serve_alone, serve_as_worker, serve_with_workers  # slow to import

    worker = "" if inherited_socket is None else "[%(process)d]"
    logging.basicConfig(level=log_level.upper(), format=f"%(asctime)s %(levelname)s %(name)s{worker}: %(message)s")
    where = locations(data, database, storage)
    host, port = parse_listen(listen)
    there = Listen(host, port, tls_cert, tls_key, insecure_http, inherited_socket)
    ready = partial(_say, json_)
    if inherited_socket is not None:
        trio.run(partial(serve_as_worker, where, there, ready, relieves=relieves))
    elif workers > 1:
        options = {
            "SHOAL_DATA": data,
            "SHOAL_DATABASE": database,
            "SHOAL_STORAGE": storage,
            "SHOAL_LISTEN": listen,
            "SHOAL_TLS_CERT": tls_cert,
            "SHOAL_TLS_KEY": tls_key,
            "SHOAL_INSECURE_HTTP": int(insecure_http),
            "SHOAL_LOG_LEVEL": log_level,
        }
        environment = {name: str(value) for name, value in options.items() if value is not None}
        trio.run(serve_with_workers, where, there, workers, environment, ready)
    else:
        trio.run(serve_alone, where, there, ready)


def _say(as_json: bool, address: str) -> None:
    if as_json:
        print_json({"listening": address})
    else:
        click.echo(f"listening on {address}")
