"""`shoal-tracker serve`."""

import logging
from pathlib import Path

import click
import trio

from protocol.errors import Usage
from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json
from tracker.system.listening import Listen, parse_listen

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@located
@click.option("--listen", envvar="SHOAL_LISTEN", default="127.0.0.1:7440", show_default=True, metavar="HOST:PORT")
@click.option("--workers", envvar="SHOAL_WORKERS", default=1, show_default=True, type=click.IntRange(min=1))
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
    json_: bool,
) -> None:
    """Serve until SIGTERM or SIGINT, in the foreground. Prints one line when ready."""
    from tracker.system.serving import serve_until_signalled  # the server takes most of the time to import

    if workers > 1:
        raise Usage("SQLite has one writer: more than one worker needs a PostgreSQL database")
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    host, port = parse_listen(listen)
    where = Listen(host, port, tls_cert, tls_key, insecure_http)

    def ready(address: str) -> None:
        if json_:
            print_json({"listening": address})
        else:
            click.echo(f"listening on {address}")

    trio.run(serve_until_signalled, locations(data, database, storage), where, ready)
