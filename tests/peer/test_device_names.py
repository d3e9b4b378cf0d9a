"""Names of devices, heard and remembered."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from peer.account import seal_device_name
from peer.database import Database, open_database
from peer.device_names import PATIENCE, DeviceNames
from peer.tracker_client import DeviceClient
from protocol.api import AccountReply, DeviceInfo
from protocol.errors import Unreachable
from protocol.identifiers import DeviceId
from tests.support.tracker import credentials_of, new_account

OTHER, STRANGER = DeviceId(b"o" * 16), DeviceId(b"s" * 16)


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database(":memory:")
    yield opened
    opened.close()


class Tracker:
    """Tells the account's devices, or doesn't answer."""

    def __init__(self) -> None:
        account = new_account()
        self.credentials = credentials_of(account.first, "laptop")
        self.asked = 0
        self.failure: Exception | None = None
        self.silent = False

    async def call(self, *_: object) -> AccountReply:
        self.asked += 1
        if self.silent:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        sealed = seal_device_name(self.credentials, OTHER, "desktop")
        devices = tuple(DeviceInfo(device=device, name=sealed, added_ms=0, seen_ms=0) for device in (OTHER, STRANGER))
        return AccountReply(email="ann@example.org", plan="free", quota_bytes=1, used_bytes=0, devices=devices)


def asking(tracker: Tracker) -> DeviceClient:
    return cast(DeviceClient, SimpleNamespace(call=tracker.call, credentials=tracker.credentials))


def test_what_was_heard_is_remembered(database: Database) -> None:
    DeviceNames(database).heard(OTHER, "desktop")
    names = DeviceNames(database)
    assert names.get(OTHER) == "desktop"
    assert names.get(STRANGER) is None
    names.heard(OTHER, "")
    assert names.get(OTHER) == "desktop", "a device that doesn't give its name has not lost it"
    names.heard(OTHER, "tower")
    assert DeviceNames(database).get(OTHER) == "tower"


async def test_the_tracker_is_asked_for_what_was_never_heard(database: Database) -> None:
    names, tracker = DeviceNames(database), Tracker()
    await names.learn([OTHER], asking(tracker))
    assert names.get(OTHER) == "desktop"
    assert names.get(STRANGER) is None, "its name was sealed for another"
    await names.learn([OTHER], asking(tracker))
    assert tracker.asked == 1


@pytest.mark.parametrize("failure", [Unreachable("away"), None])
async def test_without_an_answer_there_is_no_name(
    database: Database, autojump_clock: trio.testing.MockClock, failure: Exception | None
) -> None:
    names, tracker = DeviceNames(database), Tracker()
    tracker.failure, tracker.silent = failure, failure is None
    began = trio.current_time()
    await names.learn([OTHER], asking(tracker))
    assert names.get(OTHER) is None
    assert trio.current_time() - began <= PATIENCE
