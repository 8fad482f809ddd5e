"""The names that programs for the old Python bindings of Spread use.

A program changes ``import spread`` to ``from antiphon import spread``, and runs on.

Written from what is publicly documented of those bindings. Certain are the names here and what
they stand for. Where the documentation leaves something open, this is what happens here:

- ``connect()`` without a daemon takes the Unix socket of the default port.
- Bodies are ``bytes`` when they are received. ``str`` may be sent, and goes as UTF-8.
- ``error`` has the arguments ``(code, reason)``, and the code as attribute ``errno`` too.
- A transition has the reason 0, no members and no extra. The leaver's own notice has the reason
  ``CAUSED_BY_LEAVE``, no members and no extra, and a group id of zeros, since the daemon tells none.
- ``extra`` is the member that joined, left or disconnected, or after a network change the members that came
  along with this one.
- ``poll()`` counts bytes, as the C library does: what matters is whether there are any.
- A group name that is not legal, no service level, and more than 100 groups raise ``error``, where the old
  bindings sent them and lost the connection, or the message.
- A request that the daemon refused, which known daemons never do, comes back as a message of one's own.
- A closed mailbox raises ``error`` with ``ILLEGAL_SESSION``.

A mailbox takes one message at a time from its socket, so that ``select`` on ``fileno()`` tells whether there
is another. :func:`antiphon.connect` is faster.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import termios
from collections.abc import Iterator
from typing import TYPE_CHECKING

from antiphon._antiphon import Handshake, Message
from antiphon._connection import Connection, open_session
from antiphon._errors import AntiphonError
from antiphon._transport import CONNECT_TIMEOUT, READ_BYTES, UNIX_DIRECTORY, Place
from antiphon._types import Event, GroupId, Rejected, SelfLeave, Transition, View

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DEFAULT_SPREAD_PORT = 4803
MAX_GROUP_NAME = 32
MAX_PRIVATE_NAME = 10
MAX_PROC_NAME = 20
SPREAD_VERSION = 4 << 24 | 4 << 16

LOW_PRIORITY = 0
MEDIUM_PRIORITY = 1
HIGH_PRIORITY = 2

UNRELIABLE_MESS = 0x01
RELIABLE_MESS = 0x02
FIFO_MESS = 0x04
CAUSAL_MESS = 0x08
AGREED_MESS = 0x10
SAFE_MESS = 0x20
REGULAR_MESS = 0x3F
SELF_DISCARD = 0x40
DROP_RECV = 0x01000000

CAUSED_BY_JOIN = 0x0100
CAUSED_BY_LEAVE = 0x0200
CAUSED_BY_DISCONNECT = 0x0400
CAUSED_BY_NETWORK = 0x0800
REG_MEMB_MESS = 0x1000
TRANSITION_MESS = 0x2000
MEMBERSHIP_MESS = 0x3F00
REJECT_MESS = 0x400000

ACCEPT_SESSION = 1
ILLEGAL_SPREAD = -1
COULD_NOT_CONNECT = -2
REJECT_QUOTA = -3
REJECT_NO_NAME = -4
REJECT_ILLEGAL_NAME = -5
REJECT_NOT_UNIQUE = -6
REJECT_VERSION = -7
CONNECTION_CLOSED = -8
REJECT_AUTH = -9
ILLEGAL_SESSION = -11
ILLEGAL_SERVICE = -12
ILLEGAL_MESSAGE = -13
ILLEGAL_GROUP = -14
BUFFER_TOO_SHORT = -15
GROUPS_TOO_SHORT = -16
MESSAGE_TOO_LONG = -17
NET_ERROR_ON_SESSION = -18


class error(Exception):
    """What goes wrong, with the arguments ``(code, reason)``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.errno = code
        self.strerror = reason


class RegularMsgType:
    """A message that a client sent."""

    def __init__(
        self, groups: tuple[str, ...], message: bytes, msg_type: int, sender: str, endian: int
    ) -> None:
        self.groups = groups
        self.message = message
        self.msg_type = msg_type
        self.sender = sender
        self.endian = endian

    def __repr__(self) -> str:
        return f"<RegularMsg from {self.sender} to {self.groups}: {self.message!r}>"


class MembershipMsgType:
    """Who is in a group now, or that the promises of its view end, or that this client is out of it."""

    def __init__(
        self, group: str, group_id: GroupId, members: tuple[str, ...], reason: int, extra: tuple[str, ...]
    ) -> None:
        self.group = group
        self.group_id = group_id
        self.members = members
        self.reason = reason
        self.extra = extra

    def __repr__(self) -> str:
        return f"<MembershipMsg of {self.group}, reason {self.reason:#x}: {self.members}>"


class MailboxType:
    """A session with a daemon; :func:`connect` makes one."""

    def __init__(self, connection: _OneByOne) -> None:
        self._connection = connection
        self.private_group = connection.member

    def fileno(self) -> int:
        """The socket, for ``select``."""
        return self._opened().fileno()

    def join(self, group: str) -> None:
        """Requests to join a group."""
        with _old_errors():
            self._opened().join(group)

    def leave(self, group: str) -> None:
        """Requests to leave a group."""
        with _old_errors():
            self._opened().leave(group)

    def multicast(
        self, service_type: int, group: str, message: ReadableBuffer | str, mess_type: int = 0
    ) -> int:
        """Sends a message to a group; returns the number of bytes of its body."""
        return self.multigroup_multicast(service_type, (group,), message, mess_type)

    def multigroup_multicast(
        self, service_type: int, groups: tuple[str, ...], message: ReadableBuffer | str, mess_type: int = 0
    ) -> int:
        """Sends a message to several groups; returns the number of bytes of its body."""
        body = message.encode() if isinstance(message, str) else memoryview(message).tobytes()
        with _old_errors():
            self._opened().send(service_type, groups, body, mess_type)
        return len(body)

    def receive(self) -> RegularMsgType | MembershipMsgType:
        """Waits for the next message."""
        with _old_errors():
            return _old_message(self._opened().receive(), self.private_group)

    def poll(self) -> int:
        """How many bytes are there to be received."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self.fileno(), termios.FIONREAD, waiting)
        return waiting[0]

    def disconnect(self) -> None:
        """Ends the session."""
        self._opened().disconnect()

    def _opened(self) -> _OneByOne:
        if self._connection.fileno() < 0:
            raise error(ILLEGAL_SESSION, "the mailbox is closed")
        return self._connection


def connect(
    daemon: str = "", name: str = "", priority: int = LOW_PRIORITY, membership: int = 1
) -> MailboxType:
    """Connects to a daemon and waits until the session is open.

    A name that is too long is cut, as the C library does.
    """
    with _old_errors():
        handshake = Handshake(name[:MAX_PRIVATE_NAME], bool(membership), int(priority > 0), ("NULL",))
        place = Place.of(daemon, UNIX_DIRECTORY)
        # Byte by byte, so that what follows the handshake stays in the socket.
        return MailboxType(_OneByOne(*open_session(place, handshake, CONNECT_TIMEOUT, read_bytes=1)))


def version() -> tuple[int, int, int]:
    """The version of the C library whose protocol this speaks."""
    return SPREAD_VERSION >> 24, SPREAD_VERSION >> 16 & 0xFF, SPREAD_VERSION & 0xFF


class _OneByOne(Connection):
    """A connection that reads one event at a time."""

    def send(self, flags: int, groups: tuple[str, ...], body: bytes, message_type: int) -> None:
        """Sends a message with all bits of its flag word."""
        self._send(flags, groups, body, message_type)

    def _wanted_bytes(self) -> int:
        return min(self._session.missing_bytes, READ_BYTES)


@contextlib.contextmanager
def _old_errors() -> Iterator[None]:
    try:
        yield
    except AntiphonError as caught:
        raise error(caught.code, str(caught)) from caught


def _old_message(event: Event, private_group: str) -> RegularMsgType | MembershipMsgType:
    match event:
        case Message():
            return RegularMsgType(
                event.groups, event.body, event.message_type, event.sender, int(event.endian_mismatch)
            )
        case View(group, group_id, cause, changed_member, members, _, vs_sets, my_vs_set):
            extra = (changed_member,) if changed_member is not None else vs_sets[my_vs_set]
            return MembershipMsgType(group, group_id, members, int(cause), extra)
        case Transition(group, group_id):
            return MembershipMsgType(group, group_id, (), 0, ())
        case SelfLeave(group):
            return MembershipMsgType(group, GroupId(0, 0, 0), (), CAUSED_BY_LEAVE, ())
        case Rejected(_, groups, message_type, body):
            return RegularMsgType(groups, body, message_type, private_group, 0)
