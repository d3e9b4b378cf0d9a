"""No plaintext byte, name or key in anything the tracker stores or logs (law 7), and a search that would find one."""

import base64
import os
import re
from pathlib import Path

import pytest

from peer.account import IDENTITY_BY_PASSWORD, open_identity
from peer.system.http import HttpTransport
from peer.tracker_client import SESSION_PURPOSE, TrackerClient
from protocol.api import CHALLENGE, LOGIN, RENEW, SALT, ChallengeRequest, LoginRequest, RenewRequest, SaltRequest
from protocol.hashing import derive_key
from protocol.login import Wrapping, parse_recovery_key, secrets_from_password, secrets_from_recovery_key
from protocol.signing import SigningKey
from protocol.system import real_machine
from tests.support import passthrough
from tests.support.leaks import Needles, device_secrets, found_in, version_secrets, workspace_secrets
from tests.support.processes import PASSWORD, DeviceProgram, Lab, TrackerProgram, contents, settled, write

EMAIL = "sealed@example.org"
MARKER = "the marker that must not be seen"
NAMES = {
    "inline": "a small file's telling name.txt",
    "chunked": "a large file's telling name.bin",
    "folder": "telling-folder",
    "moved": "where it was moved to",
    "link": "the link by its name",
    "target": "what the link's text says",
    "deleted": "deleted but not forgotten",
    "umlaut": "Überraschung für später.odt",
}
DEVICES = ("telling device one", "telling device two")


# The search ----------------------------------------------------------------------------------------------------------


def kept_by(tracker: TrackerProgram) -> dict[str, bytes]:
    """Every byte that the tracker keeps or has said."""
    files = [path for path in tracker.data.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in (*files, tracker.out, tracker.log)}


def test_the_search_finds_every_form(tmp_path: Path) -> None:
    secret = bytes(range(200, 232))
    for shift in range(4):
        hay = b"x" * shift + secret + b"tail"
        for written in (hay, hay.hex().encode(), base64.b64encode(hay), base64.urlsafe_b64encode(hay)):
            assert found_in({"hay": written}, {"secret": secret})
    assert found_in({"hay": "eine Überraschung".encode("utf-16-be")}, {"name": "Überraschung".encode()})
    assert not found_in({"hay": bytes(1000)}, {"secret": secret})


# What must not be found ----------------------------------------------------------------------------------------------


async def account_secrets(tracker: TrackerProgram, device: DeviceProgram, recovery_key: str) -> Needles:
    """What password and recovery key stand for, as a device that logs in learns it."""
    credentials, machine = device.home.credentials(), real_machine()
    async with HttpTransport(tracker.url, ca_file=None, insecure_http=False) as transport:
        client = TrackerClient(transport, machine)
        salt = await client.call(SALT, SaltRequest(email=EMAIL))
        login = secrets_from_password(PASSWORD, EMAIL, salt.salt_part, salt.cost)
        reply = await client.call(LOGIN, LoginRequest(email=EMAIL, auth=login.auth))
        challenge = await client.call(CHALLENGE, ChallengeRequest(device=credentials.device))
        signature = SigningKey(credentials.signing_seed).sign(SESSION_PURPOSE, challenge.nonce)
        renew = RenewRequest(device=credentials.device, nonce=challenge.nonce, signature=signature)
        token = (await client.call(RENEW, renew)).token
    tie = Wrapping(reply.user, IDENTITY_BY_PASSWORD, reply.generation, reply.cost)
    identity = open_identity(login, tie, reply.identity_by_password, reply.identity_key)
    recovery = parse_recovery_key(recovery_key)
    by_recovery = secrets_from_recovery_key(recovery)
    return {
        "password": PASSWORD.encode(),
        "recovery key": recovery_key.encode(),
        "recovery key without dashes": recovery_key.replace("-", "").encode(),
        "recovery key's bytes": recovery,
        "recovery auth secret": by_recovery.auth,
        "recovery wrapping key": by_recovery.wrapping,
        "auth secret": login.auth,
        "wrapping key": login.wrapping,
        "identity seed": identity.seed,
        "key over sealing keys": derive_key("sealing key wrapping", identity.seed),
        "session token": token.encode(),
        "session token's bytes": base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)),
    }


# Two devices at work -------------------------------------------------------------------------------------------------


def telling() -> bytes:
    """The marker again and again, and so much that can't be compressed between that it stands there as it is."""
    return b"".join(MARKER.encode() + os.urandom(1000) for _ in range(600))


async def work(lab: Lab, module: tuple[str, ...]) -> tuple[TrackerProgram, list[DeviceProgram], str]:
    """A tracker and two devices with all kinds of changes behind them; the recovery key."""
    tracker = lab.tracker(module=(*module, "tracker"))
    await tracker.start("--log-level", "debug")
    one, two = (lab.device(name, (*module, "peer")) for name in ("one", "two"))
    joining = (EMAIL, "--tracker", tracker.url, "--device-name")
    signed_up = one.command("signup", *joining, DEVICES[0])
    logged_in = two.command("login", *joining, DEVICES[1])
    assert signed_up.returncode == logged_in.returncode == 0, signed_up.stderr + logged_in.stderr
    recovery = re.search(r"(?m)^ +((?:[A-Z2-7]{4}-){9}[A-Z2-7]{4})$", signed_up.stdout)
    assert recovery is not None
    for device in (one, two):
        await device.start()
    folder = one.folder / NAMES["folder"]
    write(folder / NAMES["inline"], f"short: {MARKER}")
    write(folder / NAMES["chunked"], telling())
    write(folder / NAMES["umlaut"], "for later")
    write(one.folder / NAMES["deleted"], MARKER)
    (folder / NAMES["link"]).symlink_to(NAMES["target"])
    await settled(one, two)
    (two.folder / NAMES["folder"] / NAMES["inline"]).rename(two.folder / NAMES["moved"])
    (two.folder / NAMES["deleted"]).unlink()
    write(two.folder / NAMES["folder"] / NAMES["chunked"], telling())
    await settled(one, two)
    assert contents(one.folder)[NAMES["moved"]] == f"short: {MARKER}".encode()
    return tracker, [one, two], recovery[1]


async def needles_of(tracker: TrackerProgram, devices: list[DeviceProgram], recovery_key: str) -> Needles:
    needles = {f"name: {name}": name.encode() for name in NAMES.values()}
    needles["marker"] = MARKER.encode()
    needles |= await account_secrets(tracker, devices[0], recovery_key)
    needles |= workspace_secrets(devices[0])
    for device in devices:
        needles |= device_secrets(device.home.credentials())
    return needles


async def test_the_tracker_keeps_and_logs_nothing_in_clear(lab: Lab) -> None:
    tracker, devices, recovery_key = await work(lab, ("-m",))
    needles = await needles_of(tracker, devices, recovery_key)
    running = kept_by(tracker)
    assert any(path.endswith("-wal") for path in running)
    assert found_in(running, needles) == {}
    for device in devices:
        await device.stop()
    needles |= version_secrets(devices[0])
    assert sum(what.startswith("chunk key") for what in needles) > 2
    assert all(len(secret) >= 8 for secret in needles.values())
    await tracker.stop()
    stopped = kept_by(tracker)
    assert tracker.objects()
    assert len(stopped[str(tracker.log)]) > 100
    assert found_in(stopped, needles) == {}
    assert found_in(stopped, {"address": EMAIL.encode()}), "the search looks in the wrong place"


@pytest.mark.soak
async def test_without_sealing_the_same_search_finds_them(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, instead in passthrough.KEPT:
        monkeypatch.setattr(module, name, instead)
    tracker, devices, recovery_key = await work(lab, ("-m", "tests.support.passthrough"))
    needles = await needles_of(tracker, devices, recovery_key)
    found = found_in(kept_by(tracker), needles)
    expected = {"marker", "workspace constant", "secret of epoch 1", "sealing key 1", "identity seed"}
    expected |= {f"name: {name}" for name in NAMES.values()} | {f"name of {name}" for name in DEVICES}
    assert expected <= found.keys(), expected - found.keys()
