"""No plaintext byte, name or key in anything that goes over the LAN (law 7), nor whose it is; and a search that would
find it."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from zeroconf import (  # type: ignore[attr-defined]  # not in __all__
    DNSAddress,
    DNSIncoming,
    DNSRecord,
    DNSService,
    DNSText,
)

from peer.system.sightings import SERVICE
from tests.support import passthrough
from tests.support.leaks import Needles, device_secrets, found_in, identities, version_secrets, workspace_secrets
from tests.support.processes import (
    PASSWORD,
    PATIENCE,
    DeviceProgram,
    Lab,
    TrackerProgram,
    contents,
    replace,
    settled,
    write,
)
from tests.support.relay import Relay, free_port

MARKER = "the marker that must not be seen"
NAMES = ("a large file's telling name", "a small file's telling name", "telling-folder", "Überraschung für später")
LARGE, SMALL, FOLDER, LATER = NAMES
DEVICES = ("telling-device-one", "telling-device-two")


def telling(times: int, word: str) -> bytes:
    """The marker again and again, and so much that can't be compressed between that it stands there as it is."""
    return b"".join(f"{MARKER}, {word} {number} ".encode() + os.urandom(1000) for number in range(times))


# Between two devices -------------------------------------------------------------------------------------------------


class Wire:
    """Two devices that are linked by way of a relay, which keeps all that goes over it."""

    def __init__(self, relay: Relay, one: DeviceProgram, two: DeviceProgram) -> None:
        self.relay = relay
        self.devices = (one, two)

    def heard(self) -> dict[str, bytes]:
        return {f"stream {number}": bytes(stream) for number, stream in enumerate(self.relay.streams)}


async def linked(lab: Lab, tracker: TrackerProgram, nursery: trio.Nursery, *module: str) -> Wire:
    """Devices that know of each other only that the relay leads from the second to the first."""
    one, two = await lab.devices(tracker, *DEVICES, module=("-m", "tests.support.silent", *module, "peer"))
    relay = Relay(free_port())
    await nursery.start(relay.run)
    await one.start("--lan-port", str(relay.target), lan=True)
    await two.start("--lan-peer", f"127.0.0.1:{relay.port}", lan=True)
    await one.until_met(two)
    await two.until_met(one)
    return Wire(relay, one, two)


async def work(wire: Wire) -> None:
    """All kinds of changes, with large contents both ways over the LAN, all of which has to have gone by the relay."""
    one, two = wire.devices
    write(one.folder / FOLDER / LARGE, telling(400, "first"))
    write(one.folder / FOLDER / SMALL, telling(3, "first"))
    await settled(one, two)
    replace(two.folder / FOLDER / LARGE, telling(400, "second"))
    (two.folder / FOLDER / SMALL).rename(two.folder / LATER)
    await settled(one, two)
    (one.folder / LATER).unlink()
    await settled(one, two)
    assert list(contents(two.folder)) == [f"{FOLDER}/{LARGE}"]
    moved = [await device.moved() for device in wire.devices]
    assert all(each["lan_in"] > 250_000 for each in moved)
    assert sum(map(len, wire.relay.streams)) >= sum(each["lan_in"] for each in moved), "it went another way"


def sealed_chunks(tracker: TrackerProgram) -> Needles:
    """Parts of what the tracker keeps: also the sealed bytes are sealed again, so that who has both can't compare."""
    largest = max((path.read_bytes() for path in tracker.objects()), key=len)
    return {f"sealed chunk at {part}/4": largest[(at := len(largest) * part // 4) : at + 32] for part in (1, 2, 3)}


def needles_of(*devices: DeviceProgram) -> Needles:
    needles: Needles = {f"name: {name}": name.encode() for name in NAMES}
    needles |= {"marker": MARKER.encode(), "password": PASSWORD.encode()}
    for device in devices:
        needles |= identities(device) | device_secrets(device.home.credentials()) | workspace_secrets(device)
    return needles


async def test_nobody_on_the_lan_sees_what_devices_give_each_other(
    lab: Lab, tracker: TrackerProgram, nursery: trio.Nursery
) -> None:
    wire = await linked(lab, tracker, nursery)
    await work(wire)
    needles = needles_of(*wire.devices) | sealed_chunks(tracker)
    for device in wire.devices:
        await device.stop()
        needles |= version_secrets(device)
    assert sum(what.startswith("chunk key") for what in needles) > 2
    assert all(len(secret) >= 8 for secret in needles.values())
    assert found_in(wire.heard(), needles) == {}


@pytest.mark.soak
async def test_without_sealing_the_same_search_finds_it(
    lab: Lab, tracker: TrackerProgram, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, instead in passthrough.KEPT:
        monkeypatch.setattr(module, name, instead)
    wire = await linked(lab, tracker, nursery, "tests.support.passthrough")
    await work(wire)
    found = found_in(wire.heard(), needles_of(*wire.devices)).keys()
    # Names of files and keys are in the metadata, which don't go over the LAN.
    assert found == {
        "marker",
        "workspace",
        f"public exchange key of {DEVICES[1]}",
        *(f"name of {name}" for name in DEVICES),
    }
    assert found_in(wire.heard(), sealed_chunks(tracker))


# Advertisements ------------------------------------------------------------------------------------------------------


@contextmanager
def mdns() -> Iterator[trio.socket.SocketType]:
    """Hears all mDNS on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("224.0.0.251", 5353))
        group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        yield trio.socket.from_stdlib_socket(listener)


def records_of(packet: bytes) -> list[DNSRecord]:
    """The records of an answer; none of what is no DNS message, or a question."""
    message = DNSIncoming(packet)
    return message.answers() if message.valid and message.is_response() else []


async def advertisements(wire: trio.socket.SocketType, ports: set[int]) -> dict[int, tuple[str, list[bytes]]]:
    """For each port the instance that is said to listen there, and all packets with a word on it, up to the moment when
    each has had one."""
    found: dict[int, tuple[str, list[bytes]]] = {}
    with trio.fail_after(PATIENCE):
        while found.keys() != ports:
            packet = await wire.recv(9000)
            for record in records_of(packet):
                if isinstance(record, DNSService) and record.name.endswith(SERVICE) and record.port in ports:
                    found.setdefault(record.port, (record.name, []))[1].append(packet)
    return found


async def test_an_advertisement_tells_nobody_whose_it_is(lab: Lab, shared_tracker: TrackerProgram) -> None:
    one, two = await lab.devices(shared_tracker, *DEVICES)
    ports = {free_port(): one, free_port(): two}
    with mdns() as wire:
        for port, device in ports.items():
            await device.start("--lan-port", str(port), lan=True)
        found = await advertisements(wire, set(ports))
    needles = {**identities(one), **identities(two), "password": PASSWORD.encode()}
    for device in ports.values():
        needles |= device_secrets(device.home.credentials()) | workspace_secrets(device)
        needles[f"folder of {device.name}"] = str(device.folder).encode()
    assert all(len(secret) >= 8 for secret in needles.values())
    for instance, packets in found.values():
        assert found_in({f"packet {n}": packet for n, packet in enumerate(packets)}, needles) == {}
        # Where everything has a fixed form, there is no room for a host's name either, however short.
        random = instance.removesuffix(f".{SERVICE}")
        assert re.fullmatch("[0-9a-f]{32}", random)
        said = {record for packet in packets for record in records_of(packet) if record.name != SERVICE}
        said = {record for record in said if random in record.name}
        assert {record.name for record in said} == {instance, f"{random}.local."}
        assert {record.server for record in said if isinstance(record, DNSService)} == {f"{random}.local."}
        (text,) = (record.text for record in said if isinstance(record, DNSText))
        assert re.fullmatch(rb"\x22t=[0-9a-f]{32}", text)
        assert {record.address for record in said if isinstance(record, DNSAddress)} == {b"\x7f\0\0\1"}
