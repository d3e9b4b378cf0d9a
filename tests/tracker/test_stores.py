"""From the address of a storage to one that works."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Problem, Usage
from protocol.system import real_machine
from tests.support.relay import free_port
from tests.support.seaweed import BUCKET, SeaweedServer
from tracker.system.stores import Bucket, Folder, open_storage, parse_storage

GOOD = {
    "file:///srv/a%20b": Folder(Path("/srv/a b")),
    "s3://bucket": Bucket("bucket"),
    "s3://bucket/": Bucket("bucket"),
    "s3://my.bucket-1/a/B_c/d.e/": Bucket("my.bucket-1", "a/B_c/d.e"),
    "s3://bucket?endpoint=http://127.0.0.1:8333": Bucket("bucket", "", "http://127.0.0.1:8333"),
    "s3://bucket/p?endpoint=https://s3.example.org/": Bucket("bucket", "p", "https://s3.example.org"),
    "s3://bucket/p?endpoint=http%3A%2F%2F%5B%3A%3A1%5D%3A8333": Bucket("bucket", "p", "http://[::1]:8333"),
}


@pytest.mark.parametrize("url", GOOD)
def test_an_address(url: str) -> None:
    assert parse_storage(url) == GOOD[url]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "gs://bucket",
        "file://host/srv",
        "file:srv",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://Bucket",
        "s3://bucket_",
        "s3://-bucket",
        "s3://key:secret@bucket",
        "s3://bucket:80",
        "s3://[bucket",
        "s3://bucket//",
        "s3://bucket//p",
        "s3://bucket/p//q",
        "s3://bucket/../p",
        "s3://bucket/p/./q",
        "s3://bucket/.p",
        "s3://bucket/a b",
        "s3://bucket/a%20b",
        "s3://bucket/é",
        f"s3://bucket/{'p' * 600}",
        "s3://bucket#part",
        "s3://bucket?endpoint",
        "s3://bucket?endpoint=",
        "s3://bucket?endpoint=127.0.0.1:8333",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://",
        "s3://bucket?endpoint=http://host:x",
        "s3://bucket?endpoint=http://host/path",
        "s3://bucket?endpoint=http://key:secret@host",
        "s3://bucket?endpoint=http://one&endpoint=http://two",
        "s3://bucket?region=here",
    ],
)
def test_no_address(url: str) -> None:
    with pytest.raises(Usage, match="is no storage: file:///DIRECTORY or s3://BUCKET"):
        parse_storage(url)


def test_without_boto3_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_boto3(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "boto3":
            raise ModuleNotFoundError(name="boto3")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "storage.s3", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_boto3)
    with pytest.raises(Usage, match=r"S3 needs boto3: pip install 'shoal\[s3\]'"):
        parse_storage("s3://bucket")
    assert parse_storage("file:///srv") == Folder(Path("/srv"))


@pytest.fixture
def s3_environment(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("s3_environment")
async def test_a_bucket_that_works(seaweed: SeaweedServer) -> None:
    async with open_storage(real_machine(), parse_storage(seaweed.url("opened")), serving=True) as storage:
        await storage.put("abc/0123", b"bytes")
        assert await storage.get("abc/0123") == b"bytes"


@pytest.mark.slow
@pytest.mark.usefixtures("s3_environment")
@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        (Bucket("nowhere", "", "SERVER"), {}, "there is no such bucket"),
        (Bucket(BUCKET, "", "SERVER"), {"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret access key is wrong"),
        (Bucket(BUCKET, "", "SERVER"), {"AWS_PROFILE": "nobody"}, "settings for S3 can't be used"),
        (Bucket(BUCKET, "", "http://127.0.0.1:NOBODY"), {}, "can't be reached"),
    ],
)
async def test_what_can_not_be_opened_is_a_problem(
    seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch, place: Bucket, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert place.endpoint is not None
    endpoint = seaweed.endpoint if place.endpoint == "SERVER" else place.endpoint.replace("NOBODY", str(free_port()))
    with pytest.raises(Problem, match=said) as caught:
        async with open_storage(real_machine(), Bucket(place.name, place.prefix, endpoint)):
            pass
    assert "wrong'" not in str(caught.value)


async def test_only_who_serves_removes_leftovers(tmp_path: Path) -> None:
    stray = tmp_path / ".temporary" / "stray"
    stray.parent.mkdir()
    stray.write_bytes(b"half")
    async with open_storage(real_machine(), Folder(tmp_path)):
        assert stray.exists()
    async with open_storage(real_machine(), Folder(tmp_path), serving=True):
        assert not stray.exists()
