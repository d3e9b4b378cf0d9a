"""The watcher: events say only where to look (design §7); the disk says what is.

Gathers events into sets of directories, gives a directory that turned out to be new a second look, and looks at
everything from time to time, as events can be lost.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

import trio

from peer.ports import Changes, FolderEvents
from peer.root import Names
from peer.synchronizer.context import Context
from protocol.errors import Problem, WatchLimit, WrongRoot

log = logging.getLogger(__name__)
SECOND_LOOK = 1.0
"""Seconds after which a directory that was new is looked at once more: files made in it before it was watched."""
EVERYTHING = 600.0
"""Seconds between looks at the whole folder."""
SHUT = 60.0
"""Seconds after which a directory that couldn't be listed is tried again."""
CHEAP, REST = 0.02, 4.0
"""A directory that takes longer than CHEAP seconds to look at is large. It is not looked at again before REST times as
long, and then only if one of the names that events have told of is not as known: it would be listed all over again for
each few files that come, most of all while Shoal itself puts them there."""
RETRY = 5.0
"""Seconds until a folder that can't be watched is tried again."""
SHARED = frozenset(
    {"nfs", "cifs", "smb", "fuse", "9p", "ceph", "afs", "coda", "ncp", "ocfs2", "gfs2", "lustre", "vboxsf"}
)
"""File systems that may be changed by other machines, or behind the kernel's back: nobody tells of that."""
OFTEN = 30.0
"""Seconds between looks at the whole folder on one of those."""
LEISURE = 20.0
"""Times as long as it took to look at everything is waited before that is done again."""


class Watcher:
    """Turns events into directories to look at, in the context."""

    def __init__(self, context: Context, events: FolderEvents) -> None:
        """Watch the context's folder."""
        self._context = context
        self._events = events
        self._new: dict[Names, float] = {}
        self._large: dict[Names, float] = {}  # and until when each rests
        self._changed: dict[Names, set[str]] = {}
        self.held: dict[Names, float] = {}
        """Large directories in which something may have changed, and when they may be looked at again."""
        self.shared: str | None = None
        """The file system of the folder, if it is one of SHARED."""
        self._took = 0.0  # to look at everything
        self._pace = trio.Event()  # set when `interval` may have changed
        self.ready = trio.Event()
        """The folder is watched, or can't be for now: what is looked at from here on is not looked at in vain."""
        self.limit: str | None = None
        """Why the folder can't be watched, when the kernel's limits are reached; it is still scanned from time to
        time."""

    async def run(self) -> None:
        """Watch until cancelled, through folders that vanish and come back."""
        told = ""
        while True:
            try:
                await self._find_out()
                async with self._events.watch(self._context.root.path) as changes:
                    self.limit, told = None, ""
                    self._pace.set()
                    self.look_at_everything()
                    self.ready.set()
                    async for news in changes:
                        self._note(news)
            except WatchLimit as error:
                if self.limit is None:
                    log.error("%s", error)
                self.limit = str(error)
                self._pace.set()
            except (OSError, Problem) as error:
                if told != str(error):
                    log.warning("the folder can't be watched: %s", error)
                told = str(error)
                if isinstance(error, WrongRoot):  # it may have come back and gone again meanwhile, with nobody watching
                    self.look_at_everything()
            self.ready.set()
            await trio.sleep(RETRY if self.limit is None else self.interval)

    async def _find_out(self) -> None:
        """What file system the folder is on. `OSError` or `Problem` when it isn't there."""
        context = self._context
        kind = await context.in_folder(lambda folder: context.disk.file_system(folder.directory(())))
        if kind in SHARED and self.shared is None:
            log.warning("the folder is on %s: changes made on other machines are found by scanning", kind)
        self.shared = kind if kind in SHARED else None

    @property
    def interval(self) -> float:
        """Seconds between looks at everything: fewer where events are missing, as long as looking is not most of the
        work."""
        if self.limit is None and self.shared is None:
            return EVERYTHING
        least = OFTEN if self.limit is None else RETRY
        return min(EVERYTHING, max(least, LEISURE * self._took))

    async def look_regularly(self) -> None:
        """Look at everything from time to time."""
        looked = trio.current_time()
        while True:
            pace = self._pace = trio.Event()
            with trio.move_on_at(looked + self.interval) as over:
                await pace.wait()
            if over.cancelled_caught:
                looked = trio.current_time()
                self.look_at_everything()

    def looked_at_everything(self, seconds: float) -> None:
        """That took so long."""
        self._took = seconds
        self._pace.set()

    def look_at_everything(self) -> None:
        """Scan the whole folder next."""
        self._context.look_at_all = True
        self._context.wake.set()

    def _note(self, news: Changes) -> None:
        for path in news.paths:
            if path == "":
                self.look_at_everything()
            else:
                *directory, name = path.split("/")
                if path in news.closed:
                    self._context.quiet.closed(tuple(directory), name)
                self._note_name(tuple(directory), name)

    def _note_name(self, directory: Names, name: str) -> None:
        if directory not in self._large:
            self._context.look_again(directory)
            return
        self._changed.setdefault(directory, set()).add(name)
        if directory not in self.held:
            self.held[directory] = self._large[directory]
            self._context.wake.set()

    async def glance(self, unlike: Callable[[Mapping[Names, set[str]]], Awaitable[set[Names]]]) -> None:
        """Of the large directories that have rested, ask for looks at those in which `unlike` finds one of these names
        not to be as known."""
        now = trio.current_time()
        due = {directory: self._changed.pop(directory, set()) for directory, at in self.held.items() if at <= now}
        wanted: Iterable[Names] = due
        try:
            wanted = await unlike(due) if due else ()
        finally:
            for directory in wanted:
                self._context.look_again(directory)
            for directory in due.keys() - self._changed.keys():
                del self.held[directory]

    def looked(self, directories: Iterable[Names], seconds: float) -> None:
        """These were looked at together, which took so long."""
        for names in directories:
            if seconds > CHEAP:
                self._large[names] = trio.current_time() + REST * seconds
            else:
                self._large.pop(names, None)

    def found_new(self, directories: set[Names]) -> None:
        """These directories had not been seen before."""
        due = trio.current_time() + SECOND_LOOK
        for names in directories:
            self._new[names] = due

    def found_shut(self, directories: Iterable[Names]) -> None:
        """These directories could not be listed. Nobody tells when they can be, unless their permissions change."""
        for names in directories:
            self._new.setdefault(names[:-1], trio.current_time() + SHUT)

    def later_looks(self) -> float:
        """Ask for the looks that are due by now; returns the seconds until the next one."""
        now = trio.current_time()
        for names in [names for names, due in self._new.items() if due <= now]:
            del self._new[names]
            self._context.look_again(names)
        return min([*self._new.values(), *self.held.values()], default=float("inf")) - now
