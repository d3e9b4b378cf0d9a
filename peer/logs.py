"""Where a daemon's log goes: stderr, and HOME/log with rotation.

Standard logging throughout. No key, token or password is ever handed to it; libraries that would log request headers
are kept at warnings, and what zeroconf says of networks and strangers' packets is left out. Names of files may stand in
the log: it lies in the home, which is the user's own.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from logging.handlers import RotatingFileHandler

from protocol.errors import Problem, reason_of

LEVELS = ("debug", "info", "warning", "error")
LOG_FILE = "shoal.log"
MAX_LOG_BYTES = 5 << 20
OLD_LOGS = 4
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_DATE = "%Y-%m-%dT%H:%M:%S%z"
_TALKATIVE = ("asyncio", "h11", "httpcore", "httpx", "trio-websocket", "wsproto")
_SILENT = ("zeroconf",)


class OneLine(logging.Formatter):
    """A message is one line, whatever a file's name contains; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without what a terminal would obey."""
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in super().formatMessage(record))


@contextmanager
def logging_to(folder: str, level: str) -> Iterator[None]:
    """Log at `level` (one of LEVELS) to stderr and into `folder` while the context lasts. `Problem` when it can't."""
    with ExitStack() as undo:
        root = logging.getLogger()
        for handler in (logging.StreamHandler(sys.stderr), _file_handler(folder)):
            handler.setFormatter(OneLine(_FORMAT, _DATE))
            undo.callback(handler.close)
            root.addHandler(handler)
            undo.callback(root.removeHandler, handler)
        _set_level(root, level.upper(), undo)
        for name in _TALKATIVE:
            _set_level(logging.getLogger(name), "WARNING", undo)
        for name in _SILENT:
            _set_level(logging.getLogger(name), "CRITICAL", undo)
        yield


def _file_handler(folder: str) -> logging.Handler:
    path = f"{folder}/{LOG_FILE}"
    try:
        return RotatingFileHandler(
            path, maxBytes=MAX_LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as failure:
        raise Problem(f"can't write the log {path}: {reason_of(failure)}") from failure


def _set_level(logger: logging.Logger, level: str, undo: ExitStack) -> None:
    undo.callback(logger.setLevel, logger.level)
    logger.setLevel(level)
