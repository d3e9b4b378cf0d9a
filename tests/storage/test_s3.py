"""What only a store in S3 can get wrong: what happens on the way, what the service says, and what it may not show."""

from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from protocol.system import real_machine
from storage import s3
from storage.errors import AlreadyThere, Full, Missing, SlowDown, StorageDown, StorageError, TryAgain
from storage.interface import Storage, Stored, listing
from storage.retrying import RetryingStorage
from storage.s3 import MOST_KEYS, S3Storage, connect
from tests.storage.buckets import new_bucket
from tests.support.relay import free_port
from tests.support.s3_relay import (
    Answer,
    Fault,
    Passing,
    Relay,
    cut_body,
    damage_down,
    damage_up,
    lose_answer,
    lose_request,
    pass_on,
    refuse,
    running_relay,
    without,
)
from tests.support.seaweed import BUCKET, SeaweedServer

KEY = "abc/0123456789"
DATA = bytes(range(256)) * 40

Call = Callable[[Storage], Awaitable[object]]
CALLS: dict[str, Call] = {
    "put": lambda storage: storage.put(KEY, DATA),
    "get": lambda storage: storage.get(KEY),
    "part": lambda storage: storage.get(KEY, 3, 4),
    "size": lambda storage: storage.size(KEY),
    "delete": lambda storage: storage.delete(KEY),
    "page": lambda storage: storage.page(),
}


@pytest.fixture(scope="module")
def line(seaweed: SeaweedServer) -> Iterator[tuple[Relay, Any]]:
    with running_relay(seaweed.ports["s3"]) as relay, pytest.MonkeyPatch.context() as patched:
        for name, value in seaweed.environment.items():
            patched.setenv(name, value)
        with closing(connect(relay.url, read_s=0.5)) as client:
            yield relay, client


@pytest.fixture
def relay(line: tuple[Relay, Any]) -> Iterator[Relay]:
    relay, _ = line
    relay.seen.clear()
    yield relay
    assert relay.faults == []


@pytest.fixture
def bucket(line: tuple[Relay, Any]) -> S3Storage:
    relay, client = line
    relay.only = uuid4().hex
    return new_bucket(client, f"tests/{relay.only}")


# On the way --------------------


@pytest.mark.parametrize("after", [0, 1, len(DATA) // 2, len(DATA) - 1])
async def test_a_body_that_ends_too_soon_is_never_given(relay: Relay, bucket: S3Storage, after: int) -> None:
    await bucket.put(KEY, DATA)
    for call in (partial(bucket.get, KEY), partial(bucket.get, KEY, 0, len(DATA))):
        relay.faults = [cut_body(after)]
        with pytest.raises(TryAgain, match="cut off"):
            await call()
    assert await bucket.get(KEY) == DATA


async def test_a_body_of_unknown_length_is_not_trusted(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [without("content-length")]
    with pytest.raises(StorageDown, match="how much"):
        await bucket.get(KEY)


async def test_a_server_without_ranges_is_found_out(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [without("content-range")]
    with pytest.raises(StorageDown, match="ranges"):
        await bucket.get(KEY, 3, 4)


async def test_bytes_damaged_on_the_way_up_are_refused(relay: Relay, bucket: S3Storage) -> None:
    relay.faults = [damage_up]
    with pytest.raises(TryAgain, match="damaged on the way"):
        await bucket.put(KEY, DATA)
    assert await bucket.page() == []


async def test_a_put_gives_checksum_and_condition(relay: Relay, bucket: S3Storage) -> None:
    given: dict[str, str] = {}

    def note(request: Passing) -> Answer:
        given.update({name.lower(): value for name, value in request.headers.items()})
        return request.forward()

    relay.faults = [note]
    await bucket.put(KEY, DATA)
    # Without TLS the signature covers the body as well; with it, only this does.
    assert b64decode(given["x-amz-checksum-sha256"]) == sha256(DATA).digest()
    assert given["if-none-match"] == "*"


async def test_bytes_damaged_on_the_way_down_are_noticed(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [damage_down]
    with pytest.raises(TryAgain, match="damaged on the way"):
        await bucket.get(KEY)


@pytest.mark.parametrize("name", CALLS)
async def test_a_lost_connection_may_be_tried_again(relay: Relay, bucket: S3Storage, name: str) -> None:
    await bucket.put(KEY, DATA)
    for fault in (lose_request, lose_answer):
        relay.faults = [fault]
        with pytest.raises(TryAgain):
            await CALLS[name](bucket)


@pytest.mark.parametrize("name", ["get", "put"])
async def test_a_server_that_says_nothing(relay: Relay, bucket: S3Storage, name: str) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [relay.stall]
    with pytest.raises(TryAgain, match="not answer in time"):
        await CALLS[name](bucket)


async def test_who_is_cancelled_does_not_wait_for_s3(relay: Relay, bucket: S3Storage) -> None:
    for name in ("get", "part", "size", "page", "put"):
        relay.faults = [relay.stall]
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(CALLS[name], bucket)
                assert await trio.to_thread.run_sync(relay.stalled.acquire, True, 10)
                scope.cancel()
        assert scope.cancelled_caught  # a call that waits would raise that S3 doesn't answer in time


async def test_a_cancelled_delete_is_over(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bucket.delete, KEY)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(Missing):
        try:
            await bucket.size(KEY)
        except TryAgain:  # the server may close a connection just as it is used again
            await bucket.size(KEY)


async def test_a_body_that_takes_too_long(relay: Relay, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    await bucket.put(KEY, DATA)
    monkeypatch.setattr(s3, "BODY_S", -1.0)
    with pytest.raises(TryAgain, match="too slow"):
        await bucket.get(KEY)


@pytest.mark.parametrize("name", CALLS)
async def test_boto3_asks_once(relay: Relay, bucket: S3Storage, name: str) -> None:
    relay.faults = [refuse(500, "InternalError")]
    with pytest.raises(TryAgain):
        await CALLS[name](bucket)
    assert len(relay.seen) == 1


TROUBLE: dict[str, list[Fault]] = {
    "errors of the service": [refuse(500, "InternalError"), refuse(502, "BadGateway"), refuse(500, "InternalError")],
    "a lost request": [lose_request],
    "a lost answer": [lose_answer],
    "damaged bytes": [damage_up],
    "another put under way": [refuse(409, "ConditionalRequestConflict")],
    "a request that came too slowly": [refuse(400, "RequestTimeout")],
    "too much to do": [refuse(503, "SlowDown", Retry_After="0")],
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_a_put_goes_through_in_the_end(relay: Relay, bucket: S3Storage, name: str) -> None:
    relay.faults = list(TROUBLE[name])
    await RetryingStorage(real_machine(), bucket).put(KEY, DATA)
    assert await bucket.get(KEY) == DATA


async def test_a_get_goes_through_in_the_end(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [cut_body(7), refuse(500, "InternalError"), lose_answer, damage_down]
    assert await RetryingStorage(real_machine(), bucket).get(KEY) == DATA


async def test_what_is_deleted_while_it_is_compared(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    relay.faults = [pass_on, refuse(404, "NoSuchKey")]
    with pytest.raises(TryAgain, match="was deleted"):
        await bucket.put(KEY, DATA)


async def test_an_object_of_anothers_bytes_stays(relay: Relay, bucket: S3Storage) -> None:
    await bucket.put(KEY, DATA)
    with pytest.raises(AlreadyThere):
        await RetryingStorage(real_machine(), bucket).put(KEY, DATA[::-1])
    assert relay.seen == ["PUT", "PUT", "GET"]


# What the service says --------------------

ANSWERS: dict[tuple[int, str], tuple[type[StorageError], str]] = {
    (503, "SlowDown"): (SlowDown, "too much to do"),
    (503, "ServiceUnavailable"): (SlowDown, "too much to do"),
    (429, "TooManyRequests"): (SlowDown, "too much to do"),
    (400, "Throttling"): (SlowDown, "too much to do"),
    (500, "InternalError"): (TryAgain, "failed"),
    (504, "GatewayTimeout"): (TryAgain, "failed"),
    (409, "OperationAborted"): (TryAgain, "failed"),
    (400, "BadDigest"): (TryAgain, "damaged"),
    (507, "InsufficientStorage"): (Full, "is full"),
    (403, "QuotaExceeded"): (Full, "is full"),
    (403, "AccessDenied"): (StorageDown, "may not do that"),
    (403, "RequestTimeTooSkewed"): (StorageDown, "clock is wrong"),
    (403, "SomethingNew"): (StorageDown, "SomethingNew, HTTP status 403"),
    (400, "ExpiredToken"): (StorageDown, "has expired"),
    (404, "NoSuchBucket"): (StorageDown, "no such bucket"),
    (404, "NoSuchKey"): (Missing, "no such object"),
    (501, "NotImplemented"): (TryAgain, "failed"),
}


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
async def test_each_answer_means_something(relay: Relay, bucket: S3Storage, answer: tuple[int, str]) -> None:
    relay.faults = [refuse(*answer)]
    kind, text = ANSWERS[answer]
    with pytest.raises(StorageError, match=text) as caught:
        await bucket.get(KEY)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "meant"), [("7", 7.0), ("0", 0.0), ("-3", None), ("Sun, 06 Nov 1994 08:49:37 GMT", None)]
)
async def test_how_long_it_wants_to_be_left_alone(
    relay: Relay, bucket: S3Storage, said: str, meant: float | None
) -> None:
    relay.faults = [refuse(503, "SlowDown", Retry_After=said)]
    with pytest.raises(SlowDown) as caught:
        await bucket.put(KEY, DATA)
    assert caught.value.seconds == meant


@pytest.mark.parametrize("status", [200, 301, 400, 404, 500])
async def test_what_does_not_speak_s3(relay: Relay, bucket: S3Storage, status: int) -> None:
    await bucket.put(KEY, DATA)
    for call in ("put", "page") if status == 200 else ("put", "get", "part", "page"):
        relay.faults = [lambda _: Answer(status, {"Content-Length": "19"}, b"<html><p>no</html>\n")]
        with pytest.raises(StorageDown):
            await CALLS[call](bucket)


# Who may not, and where nothing is --------------------


async def _trouble_of(storage: S3Storage) -> set[str]:
    """What each call says is wrong; nothing of it may come from a retry being of use."""
    said = set()
    for call in (storage.verify(), *(call(storage) for call in CALLS.values())):
        with pytest.raises(StorageDown) as caught:
            await call
        said.add(str(caught.value))
    return said


@pytest.mark.usefixtures("s3_environment")
async def test_a_wrong_secret(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with closing(connect(seaweed.endpoint)) as client:
        said = await _trouble_of(new_bucket(client))
    where = f"the bucket {BUCKET} at {seaweed.endpoint}"
    assert said == {f"{where}: the secret access key is wrong", f"{where}: the credentials are not accepted"}


@pytest.mark.usefixtures("s3_environment")
async def test_an_unknown_key(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with closing(connect(seaweed.endpoint)) as client:
        with pytest.raises(StorageDown, match="the access key id is not known there"):
            await new_bucket(client).verify()


@pytest.mark.usefixtures("s3_environment")
async def test_no_credentials(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with closing(connect(seaweed.endpoint)) as client:
        with pytest.raises(StorageDown, match="no credentials: set AWS_ACCESS_KEY_ID"):
            await new_bucket(client).verify()


@pytest.mark.usefixtures("s3_environment")
async def test_settings_that_can_not_be_used(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageDown, match="nobody"):
        connect(seaweed.endpoint)


async def test_no_such_bucket(s3_client: Any, seaweed: SeaweedServer) -> None:
    said = await _trouble_of(S3Storage(real_machine(), s3_client, "nowhere"))
    assert said == {f"the bucket nowhere at {seaweed.endpoint}: there is no such bucket"}


@pytest.mark.usefixtures("s3_environment")
async def test_nobody_listens() -> None:
    with closing(connect(f"http://127.0.0.1:{free_port()}")) as client:
        (said,) = await _trouble_of(new_bucket(client))
    assert said.endswith("can't be reached")


# Beside others --------------------


async def test_what_can_not_be_ours_is_passed_over(s3_client: Any) -> None:
    bucket = new_bucket(s3_client)
    base = bucket._base
    foreign = [".x/aaaa", "0/aaa", "0/aaaa.tmp", "0/aaaa/more", "A/aaaa", "b", "c/aaaa-", "z"]
    for name in foreign:
        s3_client.put_object(Bucket=BUCKET, Key=base + name, Body=b"")
    for key in ("0/aaab", "c/aaaa"):
        await bucket.put(key, b"x")
    ours = [Stored("0/aaab", 1), Stored("c/aaaa", 1)]
    assert await bucket.page() == ours
    assert await bucket.page(limit=1) == ours[:1]
    assert await bucket.page(after="0/aaab", limit=1) == ours[1:]
    assert await bucket.page(limit=2) == ours


async def test_more_objects_than_s3_lists_at_once(s3_client: Any) -> None:
    bucket = new_bucket(s3_client)
    keys = [f"many/{number:04x}" for number in range(MOST_KEYS + 5)]
    numbers = iter(keys)

    async def put_some() -> None:
        for key in numbers:
            await bucket.put(key, b"")

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(put_some)
    assert [stored.key async for stored in listing(bucket)] == keys
    assert [stored.key for stored in await bucket.page(limit=MOST_KEYS + 2)] == keys[:-3]


async def test_prefixes_keep_stores_apart(s3_client: Any) -> None:
    one = new_bucket(s3_client)
    inner = new_bucket(s3_client, f"{one._base}inner")
    beside = new_bucket(s3_client, f"{one._base[:-1]}-beside")
    for number, storage in enumerate((one, inner, beside)):
        await storage.put(KEY, bytes([number]))
    for number, storage in enumerate((one, inner, beside)):
        assert await storage.get(KEY) == bytes([number])
        assert await storage.page() == [Stored(KEY, 1)]


async def test_a_whole_bucket(s3_client: Any) -> None:
    s3_client.create_bucket(Bucket="whole")
    bucket = S3Storage(real_machine(), s3_client, "whole")
    await bucket.put(KEY, DATA)
    assert await bucket.page() == [Stored(KEY, len(DATA))]
    assert await bucket.get(KEY, 3, 4) == DATA[3:7]
