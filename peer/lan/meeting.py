"""Meeting other devices: this one advertises itself and listens, looks out for others, dials, and keeps links.

    beacons ──► candidates ──┐
    --lan-peer ──────────────┴─► dial ─┐
    listener ─────────────► answer ────┴─► greet ─► link, until it ends ─► dial again

Of two devices the one with the smaller id dials; the other does so too when nothing has come of that after a while, as
a firewall may let only one of them through. When both did, the connection that the smaller one dialled stays.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from peer.home import Credentials
from peer.lan.candidates import Candidate, Candidates
from peer.lan.channel import Channel, answer_channel, dial_channel
from peer.lan.link import Blame, Link, LinkEnded
from peer.lan.neighbours import Neighbours
from peer.lan.serving import Serving
from peer.members import Members
from peer.ports import Advertisement, Beacons, Lan, LanAddress, LanListener, LanStream
from protocol.errors import BadSignature, CannotOpen, Malformed, Problem, ShoalError, Unreachable, first_of
from protocol.identifiers import DeviceId, WorkspaceId
from protocol.lan import beacon_is_of, beacon_tag, hour_of
from protocol.ports import Machine
from protocol.signing import ExchangeKey

log = logging.getLogger(__name__)
HANDSHAKE_SECONDS = 5.0
"""A connection that isn't established by then is given up."""
HALF_OPEN, HALF_OPEN_EACH = 16, 4
"""Incoming connections that aren't established yet: in all, and from one address. Further ones are hung up on."""
NETWORK_TICK = 5.0
"""Seconds between looks at the interfaces."""
COURTESY = 1.0
"""Seconds that the device with the larger id leaves to the other, to dial."""
MEETING = 6.0
"""Seconds after it begins to look out in which a device meets those that are there already, as a rule."""
SET_ASIDE = {Blame.NOBODY: 0.0, Blame.PATH: 10.0, Blame.DEVICE: 600.0}
"""Seconds for which a device is left alone after its link ended."""
YOUNG = 5.0
"""Seconds for which a link that both dialled may have a twin; an older one has been lost by the other side."""


class Meeting:
    """Keeps links to the devices that are to be found."""

    def __init__(
        self,
        *,
        machine: Machine,
        lan: Lan,
        credentials: Credentials,
        workspace: WorkspaceId,
        members: Members,
        neighbours: Neighbours,
        serving: Serving,
        peers: tuple[LanAddress, ...] = (),
    ) -> None:
        """`peers` are dialled whether they are found or not."""
        self._machine = machine
        self._lan = lan
        self._name = credentials.device_name
        self._own = credentials.device
        self._user = credentials.user
        self._key = ExchangeKey(credentials.exchange_private)
        self._workspace = workspace
        self._members = members
        self._neighbours = neighbours
        self._serving = serving
        self._candidates = Candidates(peers)
        self._set_aside: dict[DeviceId, float] = {}
        self._half_open = Counter[str]()
        self._network = trio.CancelScope()
        self.problem: str | None = None
        """Why devices can't be found, in one line."""
        self.unreachable: dict[LanAddress, str] = {}
        """Of the `peers`, those where nobody answered last time, and why."""
        self.dropped = Counter[str]()
        """Links that ended by somebody's fault, by reason."""

    async def run(self) -> None:
        """Meet until cancelled."""
        self._expect_others()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery)
            nursery.start_soon(self._dial_regularly, nursery)
            nursery.start_soon(self._end_forbidden)

    def renew(self) -> None:
        """The machine slept, or is on another network: nothing that was known of the LAN holds."""
        for link in self._neighbours.links:
            link.end("the network may be another")
        self._candidates.renew()
        self._network.cancel()

    async def _end_forbidden(self) -> None:
        """End links to devices that may not be met any more, as soon as that is known."""
        while True:
            changed = self._members.changed
            with trio.move_on_after(NETWORK_TICK):
                await changed.wait()
            known = self._members.others()
            for link in self._neighbours.links:
                if link.device not in known:
                    link.end("it is no member's device any more, as far as is known")

    # Being found, and finding

    async def _listen(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                async with self._lan.listen() as listener, trio.open_nursery() as inner:
                    inner.start_soon(self._accept, listener, nursery)
                    inner.start_soon(self._discover, listener.port)
            except* (Problem, Unreachable) as group:
                self._trouble(group)
            await trio.sleep(NETWORK_TICK)

    def _trouble(self, group: BaseExceptionGroup[ShoalError]) -> None:
        text = str(first_of(group))
        if text != self.problem:
            log.warning("LAN: %s", text)
        self.problem = text

    async def _discover(self, port: int) -> None:
        """Advertise and look out, on the interfaces of now, again and again."""
        while True:
            interfaces = await self._lan.interfaces()
            with trio.CancelScope() as self._network:
                try:
                    async with self._lan.beacons() as beacons, trio.open_nursery() as nursery:
                        self.problem = None
                        self._expect_others()
                        nursery.start_soon(self._advertise, beacons, port)
                        nursery.start_soon(self._look_out, beacons)
                        await self._until_other_than(interfaces)
                        self.renew()
                except* Problem as group:
                    self._trouble(group)
                    await trio.sleep(NETWORK_TICK)

    def _expect_others(self) -> None:
        self._neighbours.expect(len(self._members.listed()), MEETING)

    async def _until_other_than(self, interfaces: frozenset[str]) -> None:
        while True:
            await trio.sleep(NETWORK_TICK)
            if await self._lan.interfaces() != interfaces:
                break
        log.info("the network interfaces have changed")

    async def _advertise(self, beacons: Beacons, port: int) -> None:
        """Under another name each hour, so that nobody can follow a device by it."""
        while True:
            now = self._machine.now()
            name, hour = self._machine.random_bytes(16).hex(), hour_of(now)
            await beacons.announce(name, beacon_tag(self._key.public, name, hour), port)
            await self._until_other_hour(hour)

    async def _until_other_hour(self, hour: int) -> None:
        while True:
            await trio.sleep(60.0)
            if hour_of(self._machine.now()) != hour:
                return

    async def _look_out(self, beacons: Beacons) -> None:
        while True:
            seen = await beacons.receive()
            if seen.addresses:
                self._note(seen)
            else:
                self._candidates.gone(seen.name)

    def _note(self, seen: Advertisement) -> None:
        now = self._machine.now()
        for device, known in self._members.others().items():
            if beacon_is_of(seen.tag, seen.name, known.exchange_key, now):
                self._candidates.note(seen.name, device, seen.addresses, 0.0 if self._own < device else COURTESY)

    # Dialling

    async def _dial_regularly(self, nursery: trio.Nursery) -> None:
        """Dial whoever is due, then sleep until somebody else is."""
        while True:
            changed = self._candidates.changed = trio.Event()
            now, later = trio.current_time(), float("inf")
            for candidate in self._candidates.idle():
                due = self._due(candidate)
                if due > now:
                    later = min(later, due - now)
                else:
                    candidate.attempts.dialling = True
                    nursery.start_soon(self._dial, candidate)
            with trio.move_on_after(later):
                await changed.wait()

    def _due(self, candidate: Candidate) -> float:
        """When it is to be dialled; never as long as there is a link with it."""
        if candidate.device is None:
            return candidate.attempts.due
        if self._neighbours.find(candidate.device) is not None:
            return float("inf")
        return max(candidate.attempts.due, self._set_aside.get(candidate.device, 0.0))

    async def _dial(self, candidate: Candidate) -> None:
        """Try one address after the other; stay until the link that comes of it ends."""
        attempts = candidate.attempts
        try:
            for address in candidate.addresses:
                if await self._dial_one(address, configured=candidate.device is None):
                    attempts.went_well()
                    return
            attempts.failed()
        finally:
            attempts.dialling = False
            self._candidates.changed.set()

    async def _dial_one(self, address: LanAddress, *, configured: bool) -> bool:
        known = {id: each.exchange_key for id, each in self._members.others().items() if self._wants(id)}
        if not known:
            return False
        try:
            stream = await self._connect(address, configured=configured)
            with trio.fail_after(HANDSHAKE_SECONDS), _closing(stream):
                channel = await dial_channel(stream, self._key, known, self._machine.random_bytes)
                await channel.greet(self._name_for(channel.device))
        except (trio.TooSlowError, Unreachable, BadSignature, Malformed, CannotOpen) as error:
            log.debug("no link to %s:%d: %s", address.host, address.port, error)
            return False
        return await self._keep(channel)

    async def _connect(self, address: LanAddress, *, configured: bool) -> LanStream:
        """Dial; where a person said that there is a device, it is said when there is none."""
        try:
            stream = await self._lan.dial(address, configured=configured)
        except Unreachable as error:
            if configured and address not in self.unreachable:
                log.warning("LAN: %s; it is tried again", error)
            if configured:
                self.unreachable[address] = str(error)
            raise
        self.unreachable.pop(address, None)
        return stream

    def _wants(self, device: DeviceId) -> bool:
        return not self._is_set_aside(device) and self._neighbours.find(device) is None

    def _is_set_aside(self, device: DeviceId) -> bool:
        return self._set_aside.get(device, 0.0) > trio.current_time()

    # Answering

    async def _accept(self, listener: LanListener, nursery: trio.Nursery) -> None:
        while True:
            stream = await listener.accept()
            host = stream.remote.host
            if self._half_open.total() >= HALF_OPEN or self._half_open[host] >= HALF_OPEN_EACH:
                stream.close()
                continue
            self._half_open[host] += 1
            nursery.start_soon(self._answer, stream, host)

    async def _answer(self, stream: LanStream, host: str) -> None:
        try:
            with trio.fail_after(HANDSHAKE_SECONDS), _closing(stream):
                channel = await answer_channel(stream, self._key, self._caller, self._machine.random_bytes)
                await channel.greet(self._name_for(channel.device))
        except (trio.TooSlowError, Unreachable, BadSignature, Malformed, CannotOpen) as error:
            log.debug("no link from %s: %s", host, error)
            return
        finally:
            self._half_open[host] -= 1
            if not self._half_open[host]:
                del self._half_open[host]
        await self._keep(channel)

    def _caller(self, exchange_key: bytes) -> DeviceId | None:
        device = self._members.by_exchange_key(exchange_key)
        if device is None:
            self._members.doubt()  # it may be a device that the list here doesn't have yet
        return None if device is None or self._is_set_aside(device) else device

    # Links

    async def _keep(self, channel: Channel) -> bool:
        """Make a link of a channel and stay until it ends; False if it was one too many."""
        link = Link(channel, self._workspace, self._serving)
        old = self._neighbours.find(link.device)
        if old is not None:
            if not self._goes_before(link, old):
                channel.close()
                return False
            old.end("another connection took its place")
            self._neighbours.remove(old)
        self._neighbours.add(link)
        log.info("linked with %s at %s", self._called(channel), channel.address.host)
        try:
            ended = await link.run()
            self._ended(link, ended)
        finally:
            self._neighbours.remove(link)
            self._candidates.changed.set()
        return True

    def _goes_before(self, new: Link, old: Link) -> bool:
        by_smaller = new.channel.dialled == (self._own < new.device)
        return by_smaller or trio.current_time() - old.opened_at > YOUNG

    def _ended(self, link: Link, ended: LinkEnded) -> None:
        self._set_aside[link.device] = trio.current_time() + SET_ASIDE[ended.blame]
        if ended.blame is Blame.NOBODY:
            log.info("the link with %s is over: %s", self._called(link.channel), ended)
        else:
            self.dropped[str(ended).partition(":")[0]] += 1  # what follows may be anything
            log.warning("the link with %s was cut: %s", self._called(link.channel), ended)

    def _name_for(self, device: DeviceId) -> str:
        """This device's name is for the user's own devices only."""
        known = self._members.find(device)
        return self._name if known is not None and known.user == self._user else ""

    def _called(self, channel: Channel) -> str:
        return channel.name or channel.device.hex()


@contextmanager
def _closing(stream: LanStream) -> Iterator[None]:
    """Close a stream of which nothing has come."""
    try:
        yield
    except BaseException:
        stream.close()
        raise
