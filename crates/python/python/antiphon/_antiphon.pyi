"""The native half: the protocol without sockets. The classes of ``antiphon`` drive it."""

import threading
from collections.abc import Callable, Iterable
from typing import final

from _typeshed import ReadableBuffer

from antiphon._types import Event, ServiceLevel

__all__ = ["Handshake", "Message", "Session", "TimedLock", "parse_address"]

def parse_address(text: str) -> tuple[str | None, int]:
    """Reads the address of a daemon: its host, or None for the Unix socket, and its port."""

@final
class Message:
    """A message that a client sent."""

    __match_args__ = ("sender", "body")

    @property
    def sender(self) -> str:
        """Who sent it; also where to send an answer for the sender alone."""

    @property
    def service(self) -> ServiceLevel:
        """How it was sent."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group that it was sent to, in the order of the sender."""

    @property
    def message_type(self) -> int:
        """The application's message type, from -32768 to 32767."""

    @property
    def endian_mismatch(self) -> bool:
        """Whether the sender's host has another byte order than this one. Bodies are never converted."""

    @property
    def flags(self) -> int:
        """All bits of the flag word but the endian mark."""

    @property
    def body(self) -> bytes:
        """What was sent."""

    @property
    def view(self) -> memoryview:
        """What was sent, without a copy if it came in one piece. It keeps in memory what was read at the
        same time: for messages that are kept for long, `body` takes less."""

@final
class Handshake:
    """A connection whose session is not open yet."""

    def __new__(cls, name: str, membership: bool, priority: int, auth: Iterable[str]) -> Handshake: ...
    @property
    def hello(self) -> bytes:
        """What to send first, in one write."""

    def on_bytes(self, bytes: bytes) -> bytes | Session | None:
        """Goes on with the next bytes from the daemon. Returns bytes: send them, and call again without
        any; or None: call again with the next bytes; or the open session."""

@final
class Session:
    """An open session: bytes from the daemon become events, requests become bytes."""

    @property
    def member(self) -> str:
        """The session's name, ``#private#daemon``."""

    @property
    def daemon_version(self) -> tuple[int, int, int]:
        """The version that the daemon reports."""

    @property
    def missing_bytes(self) -> int:
        """Bytes that are missing from the next event, as far as that is known."""

    @property
    def unsent(self) -> int:
        """Bytes that are to be written."""

    def push(self, bytes: bytes) -> None:
        """Adds the next bytes from the daemon, cut anywhere. They are not copied."""

    def next_event(self) -> Event | None:
        """Takes the next event; None when more bytes are needed."""

    def take_events(self, limit: int) -> list[Event]:
        """Takes the events that are there, at most ``limit``."""

    def join(self, group: str) -> None:
        """Adds a request to join a group."""

    def leave(self, group: str) -> None:
        """Adds a request to leave a group."""

    def multicast(
        self, flags: int, groups: str | Iterable[str], body: ReadableBuffer, message_type: int
    ) -> None:
        """Adds a message. The flags name one service level; all other bits that are the application's are
        carried along."""

    def disconnect(self) -> None:
        """Adds the request that ends the session."""

    def send_some(self, send: Callable[[ReadableBuffer, int], int], flags: int) -> bool:
        """Writes some of what is to be written with a socket's ``send``; whether anything is left. That it
        was written is noted before a signal handler may raise, so nothing is written twice."""

    def receive_some(self, recv: Callable[[int], bytes], most: int) -> bool:
        """Adds what a socket's ``recv`` returns for so many bytes at most; false when there is nothing more
        to come. It is added before a signal handler may raise, so nothing is lost."""

@final
class TimedLock:
    """Holds a lock inside ``with``, if it could be had in time. No signal handler leaves it locked."""

    def __new__(cls, lock: threading.Lock, timeout: float | None) -> TimedLock:
        """For one use. The timeout is in seconds, 0 not to wait, None to wait for ever."""

    def __enter__(self) -> bool:
        """Acquires the lock; whether that was possible in time."""

    def __exit__(self, *_raised: object) -> None:
        """Releases the lock if it is held."""
