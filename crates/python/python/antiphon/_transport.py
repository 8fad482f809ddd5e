"""Sockets, and what both faces know of them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from antiphon._antiphon import Handshake, Session, parse_address
from antiphon._errors import AntiphonError, ConnectError, ConnectionClosed, ConnectTimeout

UNIX_DIRECTORY = "/tmp"
"""Where daemons put their Unix sockets unless told otherwise."""
CONNECT_TIMEOUT = 30.0
"""How long connecting may take unless told otherwise, in seconds."""
GOODBYE_TIMEOUT = 1.0
"""How long a daemon may stand still after a goodbye before it closes, in seconds. One that still sends events
gets on with what was sent to it."""
STALL_TIMEOUT = 3.0
"""How long a daemon may take nothing of what comes last before it is given up, in seconds. One that is only
slow takes something."""
LAST_TIMEOUT = 60.0
"""How long a daemon may take for what comes last, however it gets on, in seconds."""
LONGEST_WAIT = 1_000_000.0
"""How long one call of the system is let wait, in seconds: it counts milliseconds in 32 bits. Whoever has
longer waits again."""
SEND_TIMEOUT = struct.pack("ll", 0, 500_000)
"""After so long, a write that waits says how much the daemon has taken, and goes on: as a `timeval`, half a
second."""
SEND_FLAGS = socket.MSG_NOSIGNAL
"""A daemon that has gone is an exception, also in programs that let SIGPIPE end them."""
READ_BYTES = 64 * 1024
"""Bytes read at once."""
GATHER_BYTES = 64 * 1024
"""Gathered requests are written when they have this many bytes."""
HANDSHAKE_READ_BYTES = 256
"""The handshake of a daemon has less than 200 bytes."""
RETRY_SECONDS = 0.01
"""When to try a Unix socket again whose queue of connections is full, and to write again to a daemon that
took no more: the system calls a socket writable only when much of it is free."""
BUFFER_BYTES = 128 * 1024
"""Size of a TCP connection's buffers in the system, each way. Left to itself the system lets these grow
to megabytes, and messages wait in them."""
PROBE_AFTER = 10
"""A TCP connection on which nothing came for so many seconds is probed: the other host may have vanished."""
PROBE_INTERVAL = 5
"""The seconds from one probe to the next."""
PROBES = 3
"""A host that does not answer so many probes has vanished."""
UNACKNOWLEDGED = 60_000
"""For how many milliseconds a daemon may leave what was written, or the probes, unacknowledged. No probes are
sent while bytes are on the way. The system counts the time in which a daemon takes nothing and its buffers
are full as well, so this must be longer than any that works stands still."""

CLOSED_BY_DAEMON = "the daemon closed the connection"
"""Why a connection ended whose stream has an end."""

ENDED = "this session has ended"
"""Why nothing is sent after a goodbye."""

Peer: TypeAlias = str | tuple[Any, ...]
"""Where a socket connects to: a path, or what `getaddrinfo` says."""


class Place(NamedTuple):
    """Where a daemon listens, before its host is looked up."""

    text: str
    host: str | None
    port: int
    unix_path: str

    @classmethod
    def of(cls, address: str, unix_directory: str) -> Place:
        """Reads ``PORT`` or ``PORT@HOST``; the empty text is the Unix socket of the default port."""
        host, port = parse_address(address)
        return cls(address or str(port), host, port, f"{unix_directory}/{port}")

    def unreachable(self, error: OSError) -> ConnectError:
        """The exception for the last attempt to connect."""
        if isinstance(error, TimeoutError):
            return self.late()
        path = f" ({self.unix_path})" if self.host is None else ""
        return ConnectError(f"could not connect to a daemon at {self.text}{path}: {error}")

    def late(self) -> ConnectTimeout:
        """The exception for a session that was not open in time."""
        return ConnectTimeout(f"the daemon at {self.text} did not open the session in time")


def new_socket(family: socket.AddressFamily) -> socket.socket:
    """A socket that is not connected yet."""
    made = socket.socket(family, socket.SOCK_STREAM)
    if family is not socket.AF_UNIX:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return made


class Opening:
    """A handshake: what is to be written before more is read, until there is a session."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._step: bytes | Session | None = handshake.hello

    @property
    def session(self) -> Session | None:
        """The session, when it is open."""
        return self._step if isinstance(self._step, Session) else None

    @property
    def to_write(self) -> bytes | None:
        """What to write, in one piece; None when something is to be read.

        That it cannot be written is no error: a daemon at its limit refuses without reading, and its
        answer counts.
        """
        return self._step if isinstance(self._step, bytes) else None

    def wrote(self) -> None:
        """That it was written, or could not be."""
        self._step = self._handshake.on_bytes(b"")

    def read(self, received: bytes) -> None:
        """Goes on with what was read."""
        if not received:
            raise ConnectionClosed(CLOSED_BY_DAEMON)
        self._step = self._handshake.on_bytes(received)


@contextlib.contextmanager
def unless_open(opened: socket.socket, place: Place) -> Iterator[None]:
    """Closes the socket when its session does not open, and says why it does not."""
    try:
        yield
    except BaseException as error:
        opened.close()
        if isinstance(error, TimeoutError):
            raise place.late() from error
        if isinstance(error, OSError) and not isinstance(error, AntiphonError):
            raise ConnectionClosed(broken(error)) from error
        raise


class Named:
    """What both faces know of their session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._process = os.getpid()

    @property
    def member(self) -> str:
        """The session's name, ``#private#daemon``: what others send to for this client alone."""
        return self._session.member

    @property
    def daemon_version(self) -> tuple[int, int, int]:
        """The version that the daemon reports."""
        return self._session.daemon_version

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a child of the process that opened the session, and that one goes on with it."""
        return os.getpid() != self._process


def broken(error: OSError) -> str:
    """Why a connection ended whose socket has an error."""
    return f"the connection to the daemon broke: {error}"
