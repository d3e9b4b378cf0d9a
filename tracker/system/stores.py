"""From the command line's address of a storage to one that is ready, with everything around it that it needs."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from protocol.errors import Problem, Usage
from protocol.ports import Machine
from protocol.system import offload_and_leave
from storage.errors import StorageError
from storage.filesystem import FilesystemStorage
from storage.interface import Storage
from storage.limited import LimitedStorage
from storage.measured import MeasuredStorage
from storage.retrying import RetryingStorage

FORMS = "file:///DIRECTORY or s3://BUCKET[/PREFIX][?endpoint=URL]"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PATH = re.compile(r"(?:/(?!\.)[A-Za-z0-9._-]+)*/?", re.ASCII)
"""Names between slashes; none begins with a dot, as `..` does, which clients and proxies resolve."""
MOST_PREFIX = 512

_log = logging.getLogger("shoal.tracker.storage")


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects as files."""

    path: Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects in S3. `prefix` has no slash at its ends; without `endpoint` it is Amazon's, or what boto3 finds."""

    name: str
    prefix: str = ""
    endpoint: str | None = None


def parse_storage(url: str) -> Folder | Bucket:
    """What an address means; `Usage` for any other, and for S3 without boto3. Touches nothing."""
    try:
        parts = urlsplit(url)
        place = _parse_folder(parts) if parts.scheme == "file" else _parse_bucket(parts)
    except ValueError:
        raise Usage(f"that is no storage: {FORMS}") from None  # not shown: people put secrets there
    if isinstance(place, Bucket):
        _require_boto3()
    return place


def _parse_folder(parts: SplitResult) -> Folder:
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError
    return Folder(Path(unquote(parts.path)))


def _parse_bucket(parts: SplitResult) -> Bucket:
    if parts.scheme != "s3" or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise ValueError
    if not _PATH.fullmatch(parts.path) or len(parts.path) > MOST_PREFIX:
        raise ValueError
    options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    if [name for name, _ in options] not in ([], ["endpoint"]):
        raise ValueError
    return Bucket(parts.netloc, parts.path.strip("/"), _parse_endpoint(options[0][1]) if options else None)


def _parse_endpoint(url: str) -> str:
    parts = urlsplit(url)
    rest = (parts.path.removesuffix("/"), parts.query, parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or any(rest):
        raise ValueError
    _ = parts.port  # it checks it
    return f"{parts.scheme}://{parts.netloc}"


def _require_boto3() -> None:
    try:
        import storage.s3  # noqa: F401 boto3 takes long to import, and is in an extra
    except ModuleNotFoundError as error:
        raise Usage(f"S3 needs {error.name}: pip install 'shoal[s3]'") from None


@asynccontextmanager
async def open_storage(machine: Machine, place: Folder | Bucket, *, serving: bool = False) -> AsyncIterator[Storage]:
    """The storage there. `serving` is for the one process that puts: what crashes left is removed first.

    `Problem` when it can't be reached.
    """
    if isinstance(place, Bucket):
        async with _open_bucket(machine, place) as storage:
            yield storage
        return
    folder = FilesystemStorage(machine, place.path)
    if serving:
        await folder.sweep()
    measured = MeasuredStorage(folder)
    yield measured
    _log.info("the storage was asked: %s", measured.figures)


@asynccontextmanager
async def _open_bucket(machine: Machine, place: Bucket) -> AsyncIterator[Storage]:
    from storage.s3 import CALLS, S3Storage, connect

    logging.getLogger("botocore").setLevel(logging.WARNING)  # it would log headers, session tokens among them
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    try:
        client = connect(place.endpoint)
    except StorageError as error:
        raise Problem(str(error)) from None
    try:
        bucket = S3Storage(machine, client, place.name, place.prefix, leave=offload_and_leave)
        try:
            await bucket.verify()
        except StorageError as error:
            raise Problem(f"the storage can't be used: {error}") from None
        measured = MeasuredStorage(RetryingStorage(machine, LimitedStorage(bucket, CALLS)))
        yield measured
        _log.info("the storage was asked: %s", measured.figures)
    finally:
        client.close()
