"""Group communication: ordered multicast to named groups, with membership.

A program connects to one daemon, joins groups by name and multicasts messages to groups. All members
of a group receive the messages of one :class:`ServiceLevel` or stronger in the promised order, and
learn from each :class:`View` who the members are.

    import antiphon
    from antiphon import Message, ServiceLevel, View

    with antiphon.connect("4803@localhost", "alice") as connection:
        connection.join("chat")
        connection.multicast(ServiceLevel.AGREED, "chat", b"hello")
        for event in connection:
            match event:
                case Message(sender, body):
                    print(sender, body)
                case View(group=group, members=members):
                    print(group, members)

========================  =====================================================================
:func:`connect`           a :class:`Connection`, whose calls wait
:mod:`antiphon.aio`       the same for asyncio
:mod:`antiphon.spread`    the names that programs for the old Python bindings use
========================  =====================================================================
"""

from antiphon._antiphon import Message
from antiphon._connection import Connection, connect
from antiphon._errors import (
    AddressError,
    AntiphonError,
    AuthenticationError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    GroupCountError,
    IllegalNameError,
    IllegalPrivateNameError,
    MessageTooLong,
    NameInUseError,
    NameRefusedError,
    ProtocolError,
    QuotaError,
    RefusedError,
    ServiceError,
    VersionError,
)
from antiphon._types import Cause, Event, GroupId, Rejected, SelfLeave, ServiceLevel, Transition, View

__all__ = [
    "AddressError",
    "AntiphonError",
    "AuthenticationError",
    "Cause",
    "ConnectError",
    "ConnectTimeout",
    "Connection",
    "ConnectionClosed",
    "Event",
    "GroupCountError",
    "GroupId",
    "IllegalNameError",
    "IllegalPrivateNameError",
    "Message",
    "MessageTooLong",
    "NameInUseError",
    "NameRefusedError",
    "ProtocolError",
    "QuotaError",
    "RefusedError",
    "Rejected",
    "SelfLeave",
    "ServiceError",
    "ServiceLevel",
    "Transition",
    "VersionError",
    "View",
    "connect",
]
