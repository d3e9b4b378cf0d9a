"""Objects in a bucket of S3, or of what speaks its protocol, through boto3. Needs the extra `s3`.

boto3 blocks, so each call runs in a thread, with its body read there. An object is one key, `PREFIX/FOLDER/NAME`, made
by a put that succeeds only where nothing is (`If-None-Match: *`), and only if the bytes that arrive have the SHA-256
that was sent along. Whether to ask again is a decorator's business (`storage/retrying.py`): boto3 asks once.
"""

import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import trio
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from protocol.ports import Machine, Offload
from storage.errors import AlreadyThere, Missing, StorageDown, TryAgain
from storage.interface import PAGE, Stored, check_key, check_range, is_key
from storage.s3_errors import FOREIGN, from_foreign, is_missing, status_of

T = TypeVar("T")

CALLS = 16
"""Threads, and connections: S3 answers in tens of milliseconds, and a pack is on its way for longer than that."""
CONNECT_S = 5.0
READ_S = 20.0
"""How long S3 may say nothing. A contended conditional put took SeaweedFS 12 s."""
BODY_S = 120.0
"""How long a body may take, however steadily it comes: a thread and a connection are not held for ever."""
PIECE = 1 << 20
MOST_KEYS = 1000
"""S3 lists no more than these in one answer."""
REGION = "us-east-1"
"""For servers that have none: it only has to be the same on both sides."""


def connect(endpoint: str | None = None, *, read_s: float = READ_S) -> Any:
    """A boto3 client, which all threads may use. Contacts nothing but, maybe, what gives credentials.

    Credentials and region come from where boto3 always looks: the environment, profiles, the machine's role. Raises
    `StorageDown` when what stands there can't be used.
    """
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=read_s,
        max_pool_connections=CALLS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Buckets as host names need a DNS that few servers but Amazon's have.
        s3={"addressing_style": "path" if endpoint else "auto"},
        request_checksum_calculation="when_required",  # put gives its own
        response_checksum_validation="when_supported",
        tcp_keepalive=True,
    )
    try:
        session = Session()
        return session.client("s3", endpoint_url=endpoint, region_name=session.region_name or REGION, config=config)
    except FOREIGN as error:
        raise StorageDown(f"the settings for S3 can't be used: {error}") from error


class S3Storage:
    """A `Storage` in one bucket, or below one prefix of it. Keys there that can't be ours are passed over."""

    def __init__(
        self, machine: Machine, client: Any, bucket: str, prefix: str = "", *, leave: Offload | None = None
    ) -> None:
        """`client` is one of `connect`, and closed by whoever made it. `prefix` has no slash at its ends.

        `leave` runs everything but `delete` in a thread, and need not wait for its end when cancelled: S3 may say
        nothing for long. A `delete` that came later could take away what was put meanwhile.
        """
        self._machine = machine
        self._client = client
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self._where = f"the bucket {bucket} at {client.meta.endpoint_url}"
        self._leave = leave or machine.offload
        self._limiter = trio.CapacityLimiter(CALLS)

    async def verify(self) -> None:
        """Raise `StorageDown` when the bucket can't be reached or these credentials don't open it."""
        await self._run(partial(self._list, "", None, 1))

    async def put(self, key: str, data: bytes) -> None:
        check_key(key)
        await self._run(partial(self._put, key, data))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        check_key(key)
        return await self._run(partial(self._get, key, offset, length))

    async def size(self, key: str) -> int:
        check_key(key)
        return await self._run(partial(self._size, key))

    async def delete(self, key: str) -> None:
        check_key(key)
        call = partial(self._client.delete_object, **self._object(key))
        await self._machine.offload(partial(self._translated, call), self._limiter)

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        return await self._run(partial(self._page, prefix, after, limit))

    # Everything below runs in threads --------------------

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._leave(partial(self._translated, function), self._limiter)

    def _translated(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except FOREIGN as error:
            raise from_foreign(error, self._where) from error

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._base + key}

    def _put(self, key: str, data: bytes) -> None:
        checksum = b64encode(sha256(data).digest()).decode()
        try:
            self._client.put_object(**self._object(key), Body=data, IfNoneMatch="*", ChecksumSHA256=checksum)
        except ClientError as error:
            if status_of(error) != 412:
                raise
            self._compare(key, data)

    def _compare(self, key: str, data: bytes) -> None:
        """Something is there already: this very put whose answer was lost, or another's."""
        try:
            same = self._whole(key, 0) == data
        except ClientError as error:
            if not is_missing(error):
                raise
            raise TryAgain(f"object {key} was deleted while it was put") from None
        if not same:
            raise AlreadyThere(f"object {key} is there with other bytes")

    def _get(self, key: str, offset: int, length: int | None) -> bytes:
        if length == 0:
            self._require(key, offset)
            return b""
        try:
            return self._whole(key, offset) if length is None else self._part(key, offset, length)
        except ClientError as error:
            if status_of(error) != 416:
                raise
        # Nothing is at this offset (RFC 9110 §15.5.17): all from there on may still be asked for, if it is the end.
        self._require(key, offset + (length or 0))
        return b""

    def _require(self, key: str, end: int) -> None:
        size = self._size(key)
        if end > size:
            raise Missing(f"object {key} has {size} bytes, not {end}")

    def _whole(self, key: str, offset: int) -> bytes:
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._client.get_object(**self._object(key), **ranged)
        return self._body(answer, offset, None)

    def _part(self, key: str, offset: int, length: int) -> bytes:
        answer = self._client.get_object(**self._object(key), Range=f"bytes={offset}-{offset + length - 1}")
        if answer.get("ContentLength", length) < length:
            answer["Body"].close()
            raise Missing(f"object {key} ends before {offset + length}")
        return self._body(answer, offset, length)

    def _body(self, answer: dict[str, Any], offset: int, length: int | None) -> bytes:
        """Exactly the bytes asked for. A body that ends too soon is an error of botocore's, if it says its length."""
        with closing(answer["Body"]) as body:  # its own context gives what it wraps, which checks less
            promised = answer.get("ContentLength")
            ranged = offset > 0 or length is not None
            if ranged and not str(answer.get("ContentRange", "")).startswith(f"bytes {offset}-"):
                raise StorageDown(f"{self._where} gives other ranges than it is asked for")
            if promised is None or (length is not None and promised != length):
                raise StorageDown(f"{self._where} does not say how much it gives")
            return self._gather(body, promised)

    def _gather(self, body: Any, promised: int) -> bytes:
        latest = time.monotonic() + BODY_S
        parts = []
        while part := body.read(PIECE):
            parts.append(part)
            if time.monotonic() > latest:
                raise TryAgain(f"{self._where} is too slow")
        data = b"".join(parts)
        if len(data) != promised:
            raise TryAgain(f"{self._where}: the connection was cut off")
        return data

    def _size(self, key: str) -> int:
        try:
            size: int = self._client.head_object(**self._object(key))["ContentLength"]
        except ClientError as error:
            if is_missing(error):
                self._list("", None, 1)  # an answer without a body doesn't tell a missing bucket from a missing object
            raise
        return size

    def _page(self, prefix: str, after: str, limit: int) -> list[Stored]:
        found: list[Stored] = []
        more: dict[str, str] | None = {"StartAfter": self._base + after} if after else {}
        while more is not None and len(found) < limit:
            answer = self._list(prefix, more, min(limit - len(found), MOST_KEYS))
            for each in answer.get("Contents", ()):
                key = each["Key"].removeprefix(self._base)
                if is_key(key):
                    found.append(Stored(key, each["Size"]))
            token = answer.get("NextContinuationToken")
            more = {"ContinuationToken": token} if answer.get("IsTruncated") and token else None
        return found

    def _list(self, prefix: str, more: dict[str, str] | None, limit: int) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.list_objects_v2(
            Bucket=self._bucket, Prefix=self._base + prefix, MaxKeys=limit, **(more or {})
        )
        return answer
