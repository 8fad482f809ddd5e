"""Connections for threads that may wait."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from antiphon._antiphon import Handshake, Session, TimedLock
from antiphon._errors import ConnectionClosed
from antiphon._transport import (
    CLOSED_BY_DAEMON,
    CONNECT_TIMEOUT,
    ENDED,
    GATHER_BYTES,
    GOODBYE_TIMEOUT,
    HANDSHAKE_READ_BYTES,
    LAST_TIMEOUT,
    LONGEST_WAIT,
    READ_BYTES,
    RETRY_SECONDS,
    SEND_FLAGS,
    SEND_TIMEOUT,
    STALL_TIMEOUT,
    UNIX_DIRECTORY,
    Named,
    Opening,
    Peer,
    Place,
    broken,
    new_socket,
    unless_open,
)
from antiphon._types import SELF_DISCARD, Event, ServiceLevel

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def connect(
    address: str = "",
    name: str = "",
    *,
    membership: bool = True,
    priority: int = 0,
    auth: Iterable[str] = ("NULL",),
    timeout: float | None = CONNECT_TIMEOUT,
    unix_directory: str = UNIX_DIRECTORY,
) -> Connection:
    """Connects to a daemon and waits until the session is open.

    ``address`` is ``4803`` for the Unix socket of that port, ``4803@host`` for TCP over IPv4 or IPv6 (all
    addresses of the host are tried in turn), or empty for the Unix socket of the default port. ``name`` is
    the private name, 1 to 10 characters from ``$`` to ``~``; without one the daemon makes one up.
    ``membership`` says whether views, transitions and self-leaves are wanted. ``timeout`` is in seconds,
    without looking up the host's name; None is for ever.

    Raises AddressError or IllegalNameError, ConnectError when nobody answers, ConnectTimeout, or
    RefusedError with the daemon's reason.
    """
    handshake = Handshake(name, membership, priority, auth)
    return Connection(*open_session(Place.of(address, unix_directory), handshake, timeout))


def open_session(
    place: Place, handshake: Handshake, timeout: float | None, read_bytes: int = HANDSHAKE_READ_BYTES
) -> tuple[Session, socket.socket]:
    """Connects and waits until the session is open, reading ``read_bytes`` at once."""
    deadline = _Deadline(timeout)
    opened = _open(place, deadline)
    with unless_open(opened, place):
        session = _shake_hands(opened, handshake, deadline, read_bytes)
        opened.settimeout(None)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
    return session, opened


class _Deadline:
    """When something must be done; never, if its timeout is None. However often it is renewed, it does not
    come later than ``most`` seconds from the beginning."""

    def __init__(self, timeout: float | None, most: float = math.inf) -> None:
        self._timeout = timeout
        self._last = time.monotonic() + most
        self.renew()

    def renew(self) -> None:
        """Lets the time begin anew."""
        self._at = None if self._timeout is None else min(time.monotonic() + self._timeout, self._last)

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self._at is not None

    def left(self) -> float | None:
        """Seconds that are left, 0 at least; None for ever."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def share(self, attempts: int) -> _Deadline:
        """The deadline for one of so many attempts that are still to be made, so that one that takes all of
        its time leaves some for the others."""
        left = self.left()
        return _Deadline(None if left is None else left / attempts)

    def limit(self, used: socket.socket) -> None:
        """Lets the next operation of the socket take what is left, which must be something."""
        left = self.left()
        if left == 0.0:
            raise TimeoutError
        used.settimeout(None if left is None else min(left, LONGEST_WAIT))


def _open(place: Place, deadline: _Deadline) -> socket.socket:
    last = OSError("the host has no address")
    try:
        targets = _targets(place)
        for index, (family, peer) in enumerate(targets):
            made = new_socket(family)
            try:
                _connect_to(peer, made, deadline.share(len(targets) - index))
            except OSError as error:
                made.close()
                last = error
            except BaseException:
                made.close()
                raise
            else:
                return made
    except OSError as error:
        last = error
    raise place.unreachable(last) from last


def _connect_to(peer: Peer, made: socket.socket, deadline: _Deadline) -> None:
    while True:
        deadline.limit(made)
        try:
            return made.connect(peer)
        except BlockingIOError:
            # A Unix socket whose daemon has many connections to accept: there is nothing to wait for.
            time.sleep(RETRY_SECONDS)


def _targets(place: Place) -> list[tuple[socket.AddressFamily, Peer]]:
    if place.host is None:
        return [(socket.AF_UNIX, place.unix_path)]
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    return [(family, peer) for family, _, _, _, peer in found]


def _shake_hands(
    opened: socket.socket, handshake: Handshake, deadline: _Deadline, read_bytes: int
) -> Session:
    opening = Opening(handshake)
    while (session := opening.session) is None:
        deadline.limit(opened)
        if (request := opening.to_write) is None:
            opening.read(opened.recv(read_bytes))
        else:
            with contextlib.suppress(ConnectionError):
                opened.sendall(request, SEND_FLAGS)
            opening.wrote()
    return session


class Connection(Named):
    """An open session with a daemon, whose calls wait; other threads run meanwhile.

    One thread may receive while others send. ``with`` says goodbye at its end. The calls that send wait
    while the daemon takes no more: it stops reading from clients that send faster than messages can be
    ordered.
    """

    def __init__(self, session: Session, opened: socket.socket) -> None:
        super().__init__(session)
        self._socket = opened
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._batches: set[object] = set()
        # Why nothing more is sent.
        self._end: str | None = None

    def fileno(self) -> int:
        """The socket, for ``select``; -1 when it is closed.

        Several events are read at once: after the socket was readable, receive with
        ``receive_many(timeout=0)`` or :meth:`receive_ready` until there are none.
        """
        return self._socket.fileno()

    def join(self, group: str) -> None:
        """Requests to join a group. When that has happened, a :class:`View` of the group says so."""
        with self._sending:
            self._check()
            self._session.join(group)
            self._after_request()

    def leave(self, group: str) -> None:
        """Requests to leave a group. When that has happened, a :class:`SelfLeave` says so."""
        with self._sending:
            self._check()
            self._session.leave(group)
            self._after_request()

    def multicast(
        self,
        service: ServiceLevel,
        groups: str | Iterable[str],
        body: ReadableBuffer,
        *,
        message_type: int = 0,
        self_discard: bool = False,
    ) -> None:
        """Sends a message to one group or several; every receiver gets it once.

        A group is a name, or ``#private#daemon`` for one member alone. The sender need not be a member.
        ``body`` is bytes or anything else with the buffer protocol. With ``self_discard`` the sender goes
        without its own copy.
        """
        self._send(service | SELF_DISCARD if self_discard else service, groups, body, message_type)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Gathers the requests made inside ``with``, and writes them when they are many, before waiting
        for events, and at the end. Many small messages go out several times faster."""
        batch = object()
        try:
            self._batches.add(batch)
            yield
        finally:
            # First, as a signal handler may raise while another thread's request is waited for.
            self._batches.discard(batch)
            with self._sending:
                if self._session.unsent:
                    self._check()
                    self._write()

    def flush(self) -> None:
        """Writes what was gathered."""
        with self._sending:
            self._check()
            self._write()

    def receive(self, timeout: float | None = None) -> Event:
        """Waits for the next event. Raises TimeoutError when none came in ``timeout`` seconds; nothing is
        lost by that."""
        with self._receiving:
            if (event := self._session.next_event()) is not None:
                return event
            deadline = _Deadline(timeout)
            while True:
                self._read(deadline)
                if (event := self._session.next_event()) is not None:
                    return event

    def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[Event]:
        """Waits for the next event and takes those that came with it, ``limit`` at most.

        Raises TimeoutError when none came in ``timeout`` seconds. The fastest way to receive much.
        """
        if limit < 1:
            raise ValueError("the limit must be at least 1")
        with self._receiving:
            if events := self._session.take_events(limit):
                return events
            deadline = _Deadline(timeout)
            while True:
                self._read(deadline)
                if events := self._session.take_events(limit):
                    return events

    def receive_ready(self) -> Event | None:
        """Takes an event that was read together with an earlier one; None when the next one would have to
        be waited for. Makes no system call."""
        with self._receiving:
            return self._session.next_event()

    def disconnect(self) -> None:
        """Ends the session in order: everything sent before it is delivered, and the groups learn of the
        disconnect at once. Waits for the daemon to close, unless nothing comes for a second; events that
        were not received are lost. A thread that is sending is waited for. A daemon that takes nothing more,
        as one that is stopped, is given up after three seconds, and any after a minute. Does nothing when the
        connection is closed, and in a child of the process that opened it no more than :meth:`close`."""
        if self._socket.fileno() < 0:
            return
        if self._is_inherited:
            self.close()
            return
        try:
            self._say_goodbye(_Deadline(STALL_TIMEOUT, LAST_TIMEOUT))
            self._drain(_Deadline(GOODBYE_TIMEOUT, LAST_TIMEOUT))
        except OSError:
            # Closed already, or closed now. ConnectionClosed and TimeoutError are OSErrors.
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Closes the socket without a goodbye. Members of its groups see a disconnect, but not when a child
        of the process that opened it does so: the connection goes on in the parent."""
        self._end = "this connection was closed"
        if not self._is_inherited:
            # Threads that wait for the socket are not woken by closing alone.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def __iter__(self) -> Self:
        """The events that come. A connection that ends, ends with ConnectionClosed."""
        return self

    def __next__(self) -> Event:
        return self.receive()

    def __repr__(self) -> str:
        state = "closed " if self._socket.fileno() < 0 else ""
        return f"<antiphon.Connection {state}{self.member}>"

    def _check(self) -> None:
        if self._end is not None:
            raise ConnectionClosed(self._end)

    def _send(self, flags: int, groups: str | Iterable[str], body: ReadableBuffer, message_type: int) -> None:
        with self._sending:
            self._check()
            self._session.multicast(flags, groups, body, message_type)
            self._after_request()

    def _say_goodbye(self, stalled: _Deadline) -> None:
        """Says goodbye once, after what another thread is sending; TimeoutError when the daemon takes
        nothing until the deadline, which begins anew when it does."""
        # From now on, no request of another thread is taken in before the goodbye.
        is_first, self._end = self._end is None, self._end or ENDED
        unsent = self._session.unsent
        while True:
            with TimedLock(self._sending, RETRY_SECONDS) as is_held:
                if is_held:
                    if is_first:
                        self._session.disconnect()
                        self._write(stalled)
                        self._socket.shutdown(socket.SHUT_WR)
                    return
            before, unsent = unsent, self._session.unsent
            if unsent != before:
                stalled.renew()
            if stalled.left() == 0.0:
                raise TimeoutError("the daemon takes no more")

    def _wanted_bytes(self) -> int:
        """How many bytes to read at most when an event is waited for."""
        return READ_BYTES

    def _after_request(self) -> None:
        if not self._batches or self._session.unsent >= GATHER_BYTES:
            self._write()

    def _write(self, deadline: _Deadline | None = None) -> None:
        """Writes all that is to be written; TimeoutError when the daemon takes nothing until the deadline,
        which begins anew when it does. What an exception leaves is written the next time."""
        flags = SEND_FLAGS if deadline is None else SEND_FLAGS | socket.MSG_DONTWAIT
        while self._session.unsent:
            try:
                self._session.send_some(self._socket.send, flags)
                if deadline is not None:
                    deadline.renew()
                continue
            except BlockingIOError:
                pass
            except OSError as error:
                self._end = self._end or broken(error)
                raise ConnectionClosed(self._end) from error
            if deadline is not None and deadline.left() == 0.0:
                raise TimeoutError("the daemon takes no more")
            time.sleep(RETRY_SECONDS)

    def _read(self, deadline: _Deadline) -> None:
        """Waits for bytes and reads them."""
        self._push()
        try:
            in_time = self._wait_to_read(deadline)
            more = in_time and self._session.receive_some(self._socket.recv, self._wanted_bytes())
        except OSError as error:
            raise ConnectionClosed(self._end or broken(error)) from error
        if not in_time:
            raise TimeoutError("no event came in time")
        if not more:
            raise ConnectionClosed(self._end or CLOSED_BY_DAEMON)

    def _push(self) -> None:
        """Writes what was gathered, as far as the daemon takes it now."""
        if self._end is None and self._session.unsent:
            with TimedLock(self._sending, 0.0) as is_held:
                # Otherwise another thread is writing. That nothing can be written is told to who sends
                # next: events may be there to be read.
                if is_held:
                    with contextlib.suppress(ConnectionClosed, TimeoutError):
                        self._write(_Deadline(0.0))

    def _wait_to_read(self, deadline: _Deadline) -> bool:
        """Waits until there is something to read, unless reading waits as long, and writes meanwhile: the
        daemon may take nothing before more is received. Whether it is in time."""
        while self._end is None and self._session.unsent and (left := deadline.left()) != 0.0:
            if _wait(self._socket, _Deadline(RETRY_SECONDS if left is None else min(left, RETRY_SECONDS))):
                return True
            self._push()
        return not deadline.is_set or _wait(self._socket, deadline)

    def _drain(self, deadline: _Deadline) -> None:
        """Reads and forgets until the daemon closes. A socket closed with bytes unread resets the
        connection, and takes with it what the daemon has not read yet."""
        with TimedLock(self._receiving, deadline.left()) as is_held:
            while is_held and _wait(self._socket, deadline) and self._socket.recv(READ_BYTES):
                deadline.renew()


def _wait(waited: socket.socket, deadline: _Deadline) -> bool:
    """Waits until the socket is readable; whether it is in time."""
    while True:
        if waited.fileno() < 0:
            raise OSError("the socket is closed")
        left = deadline.left()
        poll = select.poll()
        poll.register(waited, select.POLLIN)
        is_ready = bool(poll.poll(None if left is None else min(left, LONGEST_WAIT) * 1000))
        if is_ready or left is None or left <= LONGEST_WAIT:
            return is_ready
