"""The watcher: events say only where to look (design §7); the disk says what is.

Gathers events into sets of directories, gives a directory that turned out to be new a second look, and looks at
everything from time to time, as events can be lost.
"""

import logging
from collections.abc import Iterable

import trio

from peer.ports import FolderEvents
from peer.root import Names
from peer.synchronizer.context import Context
from protocol.errors import Problem, WatchLimit

log = logging.getLogger(__name__)
SECOND_LOOK = 1.0
"""Seconds after which a directory that was new is looked at once more: files made in it before it was watched."""
EVERYTHING = 600.0
"""Seconds between looks at the whole folder."""
SHUT = 60.0
"""Seconds after which a directory that couldn't be listed is tried again."""
CHEAP, REST = 0.02, 4.0
"""A look that took longer than CHEAP seconds is not repeated before REST times as long, however much is going on in the
folder: a large one would be listed all over again for each few files that come."""
RETRY = 5.0
"""Seconds until a folder that can't be watched is tried again."""


class Watcher:
    """Turns events into directories to look at, in the context."""

    def __init__(self, context: Context, events: FolderEvents) -> None:
        """Watch the context's folder."""
        self._context = context
        self._events = events
        self._new: dict[Names, float] = {}
        self._rests: dict[Names, float] = {}
        self.held: dict[Names, float] = {}
        """Directories in which something has changed, and when they may be looked at again."""
        self.limit: str | None = None
        """Why the folder can't be watched, when the kernel's limits are reached; it is still scanned from time to
        time."""

    async def run(self) -> None:
        """Watch until cancelled, through folders that vanish and come back."""
        told = ""
        while True:
            try:
                async with self._events.watch(self._context.root.path) as changes:
                    self.limit, told = None, ""
                    self.look_at_everything()
                    async for paths in changes:
                        self._note(paths)
            except WatchLimit as error:
                if self.limit is None:
                    log.error("%s", error)
                self.limit = str(error)
            except (OSError, Problem) as error:
                if told != str(error):
                    log.warning("the folder can't be watched: %s", error)
                told = str(error)
            await trio.sleep(RETRY)

    async def look_regularly(self) -> None:
        """Look at everything from time to time."""
        while True:
            await trio.sleep(RETRY if self.limit is not None else EVERYTHING)
            self.look_at_everything()

    def look_at_everything(self) -> None:
        """Scan the whole folder next."""
        self._context.look_at_all = True
        self._context.wake.set()

    def _note(self, paths: set[str]) -> None:
        for path in paths:
            if path == "":
                self.look_at_everything()
            else:
                self._note_directory(tuple(path.split("/")[:-1]))

    def _note_directory(self, names: Names) -> None:
        due = self._rests.get(names, 0.0)
        if due <= trio.current_time():
            self._context.look_again(names)
        elif names not in self.held:
            self.held[names] = due
            self._context.wake.set()

    def looked(self, directories: Iterable[Names], seconds: float) -> None:
        """These were looked at together, which took so long."""
        now = trio.current_time()
        self._rests = {names: due for names, due in self._rests.items() if due > now}
        if seconds > CHEAP:
            self._rests |= dict.fromkeys(directories, now + REST * seconds)

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
        for waiting in (self._new, self.held):
            for names in [names for names, due in waiting.items() if due <= now]:
                del waiting[names]
                self._context.look_again(names)
        return min([*self._new.values(), *self.held.values()], default=float("inf")) - now
