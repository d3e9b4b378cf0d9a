"""All links of this device together: who is there, who holds what, and who waits for what.

Synchronous, as everything here happens between two steps of the event loop; a device that is gone is out of every
answer at once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice

import trio

from peer.lan.link import Link
from protocol.identifiers import ID_LENGTH, DeviceId, VersionId, WorkspaceId
from protocol.lan_messages import MAX_ASK, Ask, Done, Holding, Share

log = logging.getLogger(__name__)
ANSWER_SECONDS = 0.5
"""How long devices are waited for that have not said yet what they hold."""
AGAIN_SECONDS = 2.0
"""When a device is asked once more for what it said it holds and couldn't give: a file that has just been renamed can't
be read until the rename is known."""
WAITING_SECONDS = 2.0
"""A device that asks for nothing for so long is not waiting any more, whatever it has said."""
MOST_SHARED = 24_000
"""Bytes of bitmaps in one message, with two lists of versions beside it at most."""
BUSY_SECONDS = 0.5
"""How long after its last request a device may still be about to ask for more."""


class Neighbours:
    """The devices that are linked now."""

    def __init__(self, workspace: WorkspaceId, wake: Callable[[], None]) -> None:
        """`wake` is called when something may be to be had that wasn't before, or the other way round."""
        self._workspace = workspace
        self._wake = wake
        self._links: dict[DeviceId, Link] = {}
        self._sought: dict[VersionId, None] = {}
        self._expected, self._met_at = 0, float("-inf")
        self._changed = trio.Event()
        self.shared_more = trio.Event()
        """Set, and replaced by another, when somebody has come, has gone, or has more of something than before."""

    @property
    def links(self) -> Sequence[Link]:
        """All links, in the order in which they were made."""
        return list(self._links.values())

    def find(self, device: DeviceId) -> Link | None:
        """The link to a device."""
        return self._links.get(device)

    def add(self, link: Link) -> None:
        """A link begins. The one that the device had before must have been taken out."""
        assert link.device not in self._links
        self._links[link.device] = link
        self._ask(link, list(self._sought))
        self.news()

    def remove(self, link: Link) -> None:
        """A link is over."""
        if self._links.get(link.device) is link:
            del self._links[link.device]
            self.news()

    def news(self) -> None:
        """Somebody came, went, or said what is held."""
        self._changed.set()
        self._changed = trio.Event()
        self.shared()
        self._wake()

    def shared(self) -> None:
        """Somebody said how much is there of what it doesn't hold whole."""
        self.shared_more.set()
        self.shared_more = trio.Event()

    def expect(self, devices: int, seconds: float) -> None:
        """There are so many devices, and those of them that are near will be met within so many seconds."""
        self._expected, self._met_at = devices, trio.current_time() + seconds

    async def meet(self) -> None:
        """Wait until all are linked that may be near, if that is still to be expected: not for long."""
        with trio.move_on_at(self._met_at):
            while len(self._links) < self._expected:
                await self._changed.wait()

    # What others hold

    def offers(self, version: VersionId, author: DeviceId) -> bool:
        """Whether somebody holds a version, or is its author and hasn't said otherwise."""
        if any(version in link.held for link in self._links.values()):
            return True
        link = self._links.get(author)
        return link is not None and version not in link.absent

    def holders(self, version: VersionId) -> list[Link]:
        """Who has said that they hold it."""
        return [link for link in self._links.values() if version in link.held]

    def ask(self, versions: Iterable[VersionId]) -> None:
        """Ask everybody about versions, unless they were asked before. They answer at once, and again when they get
        one later."""
        wanted = list(dict.fromkeys(versions))
        for link in self.links:
            self._ask(link, [version for version in wanted if version not in link.asked])

    @contextmanager
    def seeking(self, versions: Iterable[VersionId]) -> Iterator[None]:
        """These are being fetched: whoever is linked meanwhile is asked about them."""
        sought = dict.fromkeys(versions)
        self._sought.update(sought)
        self.ask(sought)
        try:
            yield
        finally:
            for version in sought:
                self._sought.pop(version, None)

    def _ask(self, link: Link, versions: Sequence[VersionId]) -> None:
        link.asked.add(versions)
        for part in _parts(versions):
            link.post(Ask(workspace=self._workspace, versions=part))

    async def hear(self, versions: Sequence[VersionId]) -> None:
        """Ask about versions, and wait until all have answered, not for long."""
        self.ask(versions)
        with trio.move_on_after(ANSWER_SECONDS):
            while any(self._unheard(link, versions) for link in self._links.values()):
                await self._changed.wait()

    @staticmethod
    def _unheard(link: Link, versions: Iterable[VersionId]) -> bool:
        return any(version not in link.held and version not in link.absent for version in versions)

    def lacks(self, link: Link, versions: Iterable[VersionId]) -> None:
        """A device that said it holds these has turned out not to."""
        gone = list(versions)
        link.held.drop(gone)
        link.absent.add(gone)
        for version in gone:
            link.shares.pop(version, None)
        link.again.update(dict.fromkeys(gone, trio.current_time() + AGAIN_SECONDS))
        self._wake()

    def ask_again(self) -> float:
        """Ask for what is due to be asked for once more; returns the seconds until there is more."""
        now, next_at = trio.current_time(), float("inf")
        for link in self.links:
            due = [version for version, at in link.again.items() if at <= now]
            for version in due:
                del link.again[version]
            link.asked.drop(due)
            self._ask(link, due)
            next_at = min([next_at, *link.again.values()])
        return next_at - now

    async def find_holders(self, version: VersionId) -> list[Link]:
        """Who holds a version now: whoever isn't known to is asked once more."""
        for link in self.links:
            if version not in link.held:
                link.asked.drop([version])
                link.absent.drop([version])
        await self.hear([version])
        return self.holders(version)

    # What this device holds

    def arrived(self, versions: Iterable[VersionId]) -> None:
        """This device holds these from now on: tell who asked for them in vain, and who still thinks it waits."""
        here = list(versions)
        for link in self.links:
            self._pay(link, [version for version in here if version in link.owed])
            self._settle(link, [version for version in here if version in link.asked])

    def _pay(self, link: Link, versions: list[VersionId]) -> None:
        link.owed.drop(versions)
        for part in _parts(versions):
            link.post(Holding(workspace=self._workspace, held=part))

    def _settle(self, link: Link, versions: list[VersionId]) -> None:
        for part in _parts(versions):
            link.post(Done(workspace=self._workspace, versions=part))

    def tell_shares(self, shares: Iterable[Share]) -> None:
        """Tell who wants them too how much of these versions is here."""
        told = list(shares)
        for link in self.links:
            rest = [share for share in told if share[0] in link.waits_for and share[0] not in link.held]
            while rest:
                part = fitting(rest)
                link.post(Holding(workspace=self._workspace, shares=part))
                rest = rest[len(part) :]

    def seekers(self, version: VersionId) -> list[DeviceId]:
        """The devices that are fetching a version, as far as they have said."""
        return [link.device for link in self.links if version in link.waits_for and version not in link.held]

    def is_waited_for(self, version: VersionId) -> bool:
        """Whether a device on the LAN is about to fetch a version from here: then its chunks go there first."""
        now = trio.current_time()
        return any(
            version in link.waits_for and now - link.wanted_at < WAITING_SECONDS for link in self._links.values()
        )

    def are_busy(self) -> bool:
        """Whether a device on the LAN has asked for anything here a moment ago, and may be about to ask for more."""
        return any(trio.current_time() - link.wanted_at < BUSY_SECONDS for link in self._links.values())


def fitting(shares: Sequence[Share]) -> tuple[Share, ...]:
    """The first of these, as many as one message may have."""
    lengths = accumulate(len(bitmap) + ID_LENGTH for _, bitmap in shares)
    return tuple(share for share, length in zip(shares[:MAX_ASK], lengths, strict=False) if length <= MOST_SHARED)


def _parts(versions: Sequence[VersionId]) -> Iterable[tuple[VersionId, ...]]:
    rest = iter(versions)
    while part := tuple(islice(rest, MAX_ASK)):
        yield part
