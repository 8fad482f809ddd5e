"""Connections for asyncio.

    import asyncio
    from antiphon import Message, ServiceLevel, aio

    async def main() -> None:
        async with aio.connect("4803@localhost", "alice") as connection:
            await connection.join("chat")
            await connection.multicast(ServiceLevel.AGREED, "chat", b"hello")
            async for event in connection:
                match event:
                    case Message(sender, body):
                        print(sender, body)

    asyncio.run(main())

Every call can be cancelled, by a timeout for example: a call that sends has then sent nothing, and a call
that receives has lost nothing. Several tasks can use one connection. The event loop must be able to watch
sockets (``add_reader``), as that of Unix systems is, and uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from antiphon._antiphon import Handshake, Session
from antiphon._errors import ConnectionClosed
from antiphon._transport import (
    CLOSED_BY_DAEMON,
    CONNECT_TIMEOUT,
    ENDED,
    GATHER_BYTES,
    GOODBYE_TIMEOUT,
    HANDSHAKE_READ_BYTES,
    LAST_TIMEOUT,
    READ_BYTES,
    RETRY_SECONDS,
    SEND_FLAGS,
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

__all__ = ["Connecting", "Connection", "connect"]


def connect(
    address: str = "",
    name: str = "",
    *,
    membership: bool = True,
    priority: int = 0,
    auth: Iterable[str] = ("NULL",),
    timeout: float | None = CONNECT_TIMEOUT,
    unix_directory: str = UNIX_DIRECTORY,
) -> Connecting:
    """Connects to a daemon: ``await`` it, or use it with ``async with``.

    The arguments and exceptions are those of :func:`antiphon.connect`, but that ``timeout`` covers looking
    up the host's name.
    """
    place = Place.of(address, unix_directory)
    handshake = Handshake(name, membership, priority, auth)
    return Connecting(lambda: _connect(place, handshake, timeout))


class Connecting(Awaitable["Connection"]):
    """A connection that is to be opened, once."""

    def __init__(self, opening: Callable[[], Awaitable[Connection]]) -> None:
        self._opening: Callable[[], Awaitable[Connection]] | None = opening
        self._connection: Connection | None = None

    def __await__(self) -> Generator[object, None, Connection]:
        opening, self._opening = self._opening, None
        if opening is None:
            raise RuntimeError("this was awaited before: call connect() for another connection")
        return opening().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.disconnect()


async def _connect(place: Place, handshake: Handshake, timeout: float | None) -> Connection:
    try:
        async with asyncio.timeout(timeout) as limit:
            opened = await _open(place, limit.when())
            with unless_open(opened, place):
                return Connection(await _shake_hands(opened, handshake), opened)
    except TimeoutError as error:
        raise place.late() from error


async def _open(place: Place, deadline: float | None) -> socket.socket:
    last = OSError("the host has no address")
    try:
        targets = await _targets(place)
        for index, (family, peer) in enumerate(targets):
            made = new_socket(family)
            made.setblocking(False)
            try:
                async with asyncio.timeout_at(_share(deadline, len(targets) - index)):
                    await _connect_to(peer, made)
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


def _share(deadline: float | None, attempts: int) -> float | None:
    """The deadline for one of so many attempts that are still to be made, so that one that takes all of its
    time leaves some for the others."""
    if deadline is None:
        return None
    now = asyncio.get_running_loop().time()
    return now + (deadline - now) / attempts


async def _connect_to(peer: Peer, made: socket.socket) -> None:
    if made.family is not socket.AF_UNIX:
        return await asyncio.get_running_loop().sock_connect(made, peer)
    while True:
        try:
            return made.connect(peer)
        except BlockingIOError:
            # The daemon has many connections to accept: there is nothing to wait for.
            await asyncio.sleep(RETRY_SECONDS)


async def _targets(place: Place) -> list[tuple[socket.AddressFamily, Peer]]:
    if place.host is None:
        return [(socket.AF_UNIX, place.unix_path)]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    return [(family, peer) for family, _, _, _, peer in found]


async def _shake_hands(opened: socket.socket, handshake: Handshake) -> Session:
    loop = asyncio.get_running_loop()
    opening = Opening(handshake)
    while (session := opening.session) is None:
        if (request := opening.to_write) is None:
            opening.read(await loop.sock_recv(opened, HANDSHAKE_READ_BYTES))
        else:
            with contextlib.suppress(ConnectionError):
                await _send_all(opened, request)
            opening.wrote()
    return session


async def _send_all(opened: socket.socket, request: bytes) -> None:
    """As ``sock_sendall``, which has no flags."""
    while request:
        try:
            request = request[opened.send(request, SEND_FLAGS) :]
        except BlockingIOError:
            await asyncio.sleep(RETRY_SECONDS)


class Connection(Named):
    """An open session with a daemon, for the tasks of one event loop.

    Requests that tasks make in one turn of the loop leave together. The calls that send wait while 64 KiB
    are not written: the daemon stops reading from clients that send faster than messages can be ordered.
    Nothing is read while nobody receives.
    """

    def __init__(self, session: Session, opened: socket.socket) -> None:
        super().__init__(session)
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._readable = _Signal(self._loop)
        self._writable = _Signal(self._loop)
        self._watching_reads = False
        self._watching_writes = False
        self._write_planned = False
        self._forgets_events = False
        # Held by the task that ends the session.
        self._ending = asyncio.Lock()
        # Whether the goodbye is among what is to be written.
        self._is_ending = False
        # Why nothing more is sent, and why nothing more comes.
        self._send_end: str | None = None
        self._read_end: str | None = None

    async def join(self, group: str) -> None:
        """Requests to join a group. When that has happened, a :class:`~antiphon.View` says so."""
        await self._room()
        self._session.join(group)
        self._plan_write()

    async def leave(self, group: str) -> None:
        """Requests to leave a group. When that has happened, a :class:`~antiphon.SelfLeave` says so."""
        await self._room()
        self._session.leave(group)
        self._plan_write()

    async def multicast(
        self,
        service: ServiceLevel,
        groups: str | Iterable[str],
        body: ReadableBuffer,
        *,
        message_type: int = 0,
        self_discard: bool = False,
    ) -> None:
        """Sends a message to one group or several; see :meth:`antiphon.Connection.multicast`."""
        await self._room()
        flags = service | SELF_DISCARD if self_discard else service
        self._session.multicast(flags, groups, body, message_type)
        self._plan_write()

    async def flush(self) -> None:
        """Waits until everything that was sent is written to the socket."""
        self._check_open()
        await self._flush()

    async def receive(self) -> Event:
        """Waits for the next event."""
        while (event := self._session.next_event()) is None:
            await self._more()
        return event

    async def receive_many(self, limit: int = 1024) -> list[Event]:
        """Waits for the next event and takes those that came with it, ``limit`` at most. The fastest way
        to receive much."""
        if limit < 1:
            raise ValueError("the limit must be at least 1")
        while not (events := self._session.take_events(limit)):
            await self._more()
        return events

    def receive_ready(self) -> Event | None:
        """Takes an event that was read together with an earlier one; None when the next one would have to
        be waited for."""
        return self._session.next_event()

    async def disconnect(self) -> None:
        """Ends the session in order: everything sent before it is delivered, and the groups learn of the
        disconnect at once. Waits for the daemon to close, unless nothing comes for a second; events that
        were not received are lost. A daemon that takes nothing more, as one that is stopped, is given up
        after three seconds, and any after a minute. Waits for another task that does the same. Does nothing
        when the connection is closed, and in a child of the process that opened it no more than
        :meth:`close`."""
        if self._is_inherited:
            self.close()
            return
        # Who closes while another still waits for the daemon would reset the connection.
        async with self._ending:
            await self._disconnect()

    def close(self) -> None:
        """Closes the socket without a goodbye. Members of its groups see a disconnect, but not when a child
        of the process that opened it does so: the connection goes on in the parent."""
        self._send_end = self._read_end = "this connection was closed"
        if self._is_inherited:
            # What the loop watches, it watches for the parent.
            self._socket.close()
            return
        if self._socket.fileno() >= 0:
            self._watch_reads(False)
            self._watch_writes(False)
            self._socket.close()
        self._readable.wake()
        self._writable.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    def __aiter__(self) -> Self:
        """The events that come. A connection that ends, ends with ConnectionClosed."""
        return self

    async def __anext__(self) -> Event:
        return await self.receive()

    def __repr__(self) -> str:
        state = "closed " if self._socket.fileno() < 0 else ""
        return f"<antiphon.aio.Connection {state}{self.member}>"

    def _check(self) -> None:
        if self._send_end is not None:
            raise ConnectionClosed(self._send_end)

    def _check_open(self) -> None:
        """Whoever sends: nothing may follow the goodbye."""
        self._check()
        if self._is_ending:
            raise ConnectionClosed(ENDED)

    async def _room(self) -> None:
        """Waits until a request may be added. The request itself is added at once after it, so it is
        there whole or not at all."""
        self._check_open()
        while self._session.unsent >= GATHER_BYTES:
            await self._writable.wait()
            self._check_open()

    async def _flush(self) -> None:
        self._check()
        while self._session.unsent:
            self._plan_write()
            await self._writable.wait()
            self._check()

    def _plan_write(self) -> None:
        if not self._write_planned and not self._watching_writes:
            self._write_planned = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._write_planned = False
        if self._send_end is not None:
            return
        try:
            while self._session.send_some(self._socket.send, SEND_FLAGS):
                pass
        except (BlockingIOError, InterruptedError):
            self._watch_writes(True)
        except OSError as error:
            self._send_end = broken(error)
            self._watch_writes(False)
        else:
            self._watch_writes(False)
        if self._send_end is not None or self._session.unsent < GATHER_BYTES:
            self._writable.wake()

    async def _disconnect(self) -> None:
        try:
            if self._send_end is None:
                self._is_ending = True
                self._session.disconnect()
                async with asyncio.timeout(LAST_TIMEOUT):
                    await self._write_last()
                    self._send_end = ENDED
                    self._socket.shutdown(socket.SHUT_WR)
                    await self._drain()
        except OSError:
            # Closed already, which is what was wanted. ConnectionClosed and TimeoutError are OSErrors.
            pass
        finally:
            self.close()

    async def _write_last(self) -> None:
        """Waits until all is written; TimeoutError when the daemon takes nothing for too long."""
        unsent, given_up = self._session.unsent, self._loop.time() + STALL_TIMEOUT
        while True:
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    return await self._flush()
            except TimeoutError:
                self._write()
                if self._session.unsent < unsent:
                    unsent, given_up = self._session.unsent, self._loop.time() + STALL_TIMEOUT
                elif self._loop.time() >= given_up:
                    raise

    async def _more(self) -> None:
        """Waits until more has come. What has come belongs to the session, so a call that is cancelled
        here takes nothing with it."""
        if self._read_end is not None:
            raise ConnectionClosed(self._read_end)
        self._watch_reads(True)
        await self._readable.wait()

    def _on_readable(self) -> None:
        if not self._readable.is_awaited():
            # Whoever does not receive makes the daemon wait, not this process grow.
            self._watch_reads(False)
            return
        try:
            if self._forgets_events:
                more = bool(self._socket.recv(READ_BYTES))
            else:
                more = self._session.receive_some(self._socket.recv, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._read_end = broken(error)
        else:
            if not more:
                self._read_end = CLOSED_BY_DAEMON
        if self._read_end is not None:
            self._watch_reads(False)
        self._readable.wake()

    async def _drain(self) -> None:
        """Reads and forgets until the daemon closes; TimeoutError when nothing comes for too long. A socket
        closed with bytes unread resets the connection, and takes with it what the daemon has not read yet."""
        self._forgets_events = True
        while self._read_end is None:
            async with asyncio.timeout(GOODBYE_TIMEOUT):
                await self._more()

    def _watch_reads(self, wanted: bool) -> None:
        if wanted and not self._watching_reads:
            self._loop.add_reader(self._socket, self._on_readable)
        elif self._watching_reads and not wanted:
            self._loop.remove_reader(self._socket)
        self._watching_reads = wanted

    def _watch_writes(self, wanted: bool) -> None:
        if wanted and not self._watching_writes:
            self._loop.add_writer(self._socket, self._write)
        elif self._watching_writes and not wanted:
            self._loop.remove_writer(self._socket)
        self._watching_writes = wanted


class _Signal:
    """Something that tasks wait for, all of them at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Waits until it happens the next time."""
        future = self._loop.create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def is_awaited(self) -> bool:
        """Whether a task waits that was not woken yet."""
        return any(not future.done() for future in self._waiting)

    def wake(self) -> None:
        """Says that it happened."""
        if self._loop.is_closed():
            # Whoever waited never goes on.
            return
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
