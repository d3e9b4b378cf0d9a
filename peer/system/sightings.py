"""What is heard on the LAN: advertisements, read from what zeroconf takes in.

Everything heard is a stranger's word: what isn't formed as Shoal's is passed over in silence, and nothing that waits is
without bound. So zeroconf does all but browsing. Its ServiceBrowser queues without bound, keeps a plan for every name
that it ever heard, and took a second for one packet with 150 addresses of a host that 4,000 services had been put on.
"""

import asyncio
import logging
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import trio
import zeroconf
from zeroconf import DNSOutgoing, DNSPointer, DNSQuestion, DNSRecord  # type: ignore[attr-defined]  # not in __all__

from peer.ports import Advertisement, LanAddress
from peer.system.interfaces import Neighbourhood, read_address

SERVICE = "_shoal._tcp.local."
MAX_WAITING = 256
"""Names whose newest word waits to be taken. While a flood fills them further names are lost, so that nobody pushes out
what is there. Who is lost is found under its next name, within the hour, or finds us first."""
MAX_ADDRESSES = 16
"""Of one device, announced and heard."""
MAX_RECORDS = 64
"""Under one name in zeroconf's cache: reading more would take time that grows with their square."""
_FIRST_QUERY_SECONDS = (0.02, 0.12)
_NEXT_QUERY_SECONDS, _LAST_QUERY_SECONDS = 1.0, 3600.0
"""RFC 6762, 5.2: the first query waits a moment at random, the next a second, each more at least twice as long, up to
an hour. The later ones are for announcements that the air has swallowed."""
_MAX_KNOWN = 24  # known answers, as many as fit into one packet
_PTR, _IN, _QUERY = 12, 1, 0
_NAME = re.compile(rf"([0-9a-f]{{32}})\.{re.escape(SERVICE)}")
_NAME_OR_SERVER = re.compile(rf"([0-9a-f]{{32}})\.(?:{re.escape(SERVICE)}|local\.)")
_TAG = re.compile(rb"[0-9a-f]{32}")

log = logging.getLogger(__name__)


class Sightings:
    """What was heard and not yet taken: the newest word on each name, at most `MAX_WAITING` of them."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()
        self._waiting: dict[str, Advertisement] = {}
        self._takers = trio.lowlevel.ParkingLot()

    def tell(self, seen: Advertisement) -> None:
        """From any thread."""
        with self._lock:
            if seen.name not in self._waiting and len(self._waiting) >= MAX_WAITING:
                return
            self._waiting[seen.name] = seen
        with suppress(trio.RunFinishedError):
            # However many are told, no more than one call waits in trio's queue, which has no bound.
            self._token.run_sync_soon(self._takers.unpark_all, idempotent=True)

    async def take(self) -> Advertisement:
        """The next. Cancelled, none is lost."""
        await trio.lowlevel.checkpoint()
        while True:
            with self._lock:
                for name in self._waiting:
                    return self._waiting.pop(name)
            await self._takers.park()


class Listener(zeroconf.RecordUpdateListener):
    """Asks who is there and takes in what is heard, on zeroconf's loop. Nothing here waits or asks for more: Shoal's
    answers come complete, and a part that comes later is heard as well. It takes time linear in what was heard."""

    def __init__(
        self, responder: zeroconf.Zeroconf, near: Neighbourhood, tell: Callable[[Advertisement], None]
    ) -> None:
        super().__init__()
        self._zeroconf = responder
        self._near = near
        self._tell = tell
        self._heard: dict[str, bool] = {}

    def start(self) -> None:
        """Begin, and go on until zeroconf ends."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_complain_quietly)
        self._zeroconf.async_add_listener(self, _question())
        loop.call_later(random.uniform(*_FIRST_QUERY_SECONDS), self._ask, _NEXT_QUERY_SECONDS)

    def async_update_records(self, zc: zeroconf.Zeroconf, now: float, records: list[zeroconf.RecordUpdate]) -> None:
        """One packet's records, also those that say nothing new: a sign of life is news to who has given up. Then they
        go into the cache, and the next method is called."""
        for update in records:
            record = update.new
            if instance := _instance(record):
                if not record.is_expired(now):
                    self._heard.setdefault(instance, True)
                elif isinstance(record, DNSPointer):  # a goodbye, or nothing heard for too long
                    self._heard[instance] = False

    def async_update_records_complete(self) -> None:
        """The cache has all of the packet."""
        heard, self._heard = self._heard, {}
        for instance, alive in heard.items():
            seen = self._read(instance) if alive else Advertisement(instance, b"", ())
            if seen is not None:
                self._tell(seen)

    def _ask(self, pause: float) -> None:
        if self._zeroconf.done:
            return
        asyncio.get_running_loop().call_later(pause, self._ask, min(2 * pause, _LAST_QUERY_SECONDS))
        # Asked for answers by multicast: those by unicast go to just one of the programs that share the port.
        query, now = DNSOutgoing(_QUERY), zeroconf.current_time_millis()
        query.add_question(_question())
        for known in islice(self._known(now), _MAX_KNOWN):
            query.add_answer_at_time(known, now)
        self._zeroconf.async_send(query)

    def _known(self, now: float) -> Iterator[DNSRecord]:
        """Those who need not answer (RFC 6762, 7.1). Only well-formed ones: not all that is heard can be sent again."""
        for record in self._zeroconf.cache.async_entries_with_name(SERVICE):
            if isinstance(record, DNSPointer) and _instance(record) and not record.is_stale(now):
                yield record

    def _read(self, instance: str) -> Advertisement | None:
        """What the cache has of an instance; None when that is not all, or not as Shoal says it."""
        if not _is_ours(self._zeroconf.cache, instance):
            return None
        info = zeroconf.ServiceInfo(SERVICE, f"{instance}.{SERVICE}")
        if not info.load_from_cache(self._zeroconf) or not info.port:
            return None
        tag = info.properties.get(b"t")
        if tag is None or not _TAG.fullmatch(tag):
            return None
        addresses = tuple(self._addresses(info.parsed_scoped_addresses(), info.port))[:MAX_ADDRESSES]
        return Advertisement(instance, bytes.fromhex(tag.decode()), addresses) if addresses else None

    def _addresses(self, hosts: list[str], port: int) -> Iterator[LanAddress]:
        """Those next door. A link-local one has no scope when it was heard over IPv4; zeroconf tells of it again."""
        for host in hosts:
            address = read_address(host)
            if address is not None and self._near.includes(address):
                yield LanAddress(str(address), port)


def _question() -> DNSQuestion:
    return DNSQuestion(SERVICE, _PTR, _IN)


def _instance(record: DNSRecord) -> str | None:
    """The instance that a record is about, None when it isn't of Shoal."""
    if not isinstance(record, DNSPointer):
        match = _NAME_OR_SERVER.fullmatch(record.name)
    elif record.name == SERVICE:
        match = _NAME.fullmatch(record.alias)
    else:
        return None
    return match and match[1]


def server_of(instance: str) -> str:
    """What the SRV record of an instance points to: this machine's own name is nobody's business."""
    return f"{instance}.local."


def _is_ours(cache: Any, instance: str) -> bool:
    """Whether there are a sane number of records, and the service isn't said to be elsewhere than on its own name."""
    services, server = cache.entries_with_name(f"{instance}.{SERVICE}"), server_of(instance)
    if max(len(services), len(cache.entries_with_name(server))) > MAX_RECORDS:
        return False
    return all(getattr(record, "server", server) == server for record in services)


def _complain_quietly(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio would log a traceback for each packet that zeroconf stumbles over."""
    log.debug("zeroconf: %s (%r)", context.get("message"), context.get("exception"))
