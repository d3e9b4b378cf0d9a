"""Unix sockets for the control channel: made so that nobody else on the machine can connect, not even for a moment."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from protocol.errors import Problem, Usage, reason_of

MAX_PATH_BYTES = 107
"""What sockaddr_un holds, without its closing NUL (unix(7))."""
_BACKLOG = 16


def checked(path: str) -> str:
    """`path`, if a socket can be there; `Problem` when it is too long."""
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise Problem(
            f"{path} is too long for a socket: {length} bytes, at most {MAX_PATH_BYTES}; choose a shorter --home"
        )
    return path


async def connect(path: str) -> trio.SocketStream | None:
    """A connection to the socket at `path`, None when nobody listens there."""
    connection = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await connection.connect(checked(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError as failure:
        connection.close()
        raise Problem(f"can't connect to {path}: {reason_of(failure)}") from failure
    except BaseException:
        connection.close()
        raise
    return trio.SocketStream(connection)


@contextmanager
def listening(path: str) -> Iterator[trio.SocketListener]:
    """Listen at `path` (0600) while the context lasts, in place of a socket that a crashed process left behind.

    `Usage` when another process listens there, `Problem` for a path that is too long or taken by something else.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Linux makes the file with the mode that the socket has before it is bound.
        os.fchmod(listener.fileno(), 0o600)
        try:
            _bind(listener, checked(path))
            listener.listen(_BACKLOG)
        except OSError as failure:
            raise Problem(f"can't listen at {path}: {reason_of(failure)}") from failure
        made = os.stat(path)
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        finally:
            _remove(path, made)


def _bind(listener: socket.socket, path: str) -> None:
    try:
        listener.bind(path)
    except OSError as failure:
        if failure.errno != errno.EADDRINUSE or not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise
        if _answers(path):
            raise Usage(f"another daemon answers at {path}") from None
        os.unlink(path)
        listener.bind(path)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) != errno.ECONNREFUSED


def _remove(path: str, made: os.stat_result) -> None:
    """Take away our own socket, never one that has taken its place."""
    try:
        if os.path.samestat(os.lstat(path), made):
            os.unlink(path)
    except FileNotFoundError:
        pass
