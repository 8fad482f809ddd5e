"""What is received, and how messages are sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from antiphon._antiphon import Message

SELF_DISCARD = 0x40
"""The bit of the flag word that says that the sender goes without its own copy."""


class ServiceLevel(IntEnum):
    """How a message is ordered and how surely it is delivered, from weakest to strongest.

    The numbers are the bits of the protocol, so they are those of the old constants: ``SAFE_MESS`` is
    :attr:`SAFE`.
    """

    UNRELIABLE = 0x01
    """May be lost; no order."""
    RELIABLE = 0x02
    """Not lost among daemons that stay together; no order."""
    FIFO = 0x04
    """Reliable, and in the order of its sender."""
    CAUSAL = 0x08
    """FIFO, and after everything that its sender had received before sending it."""
    AGREED = 0x10
    """Causal, and in one order for everyone."""
    SAFE = 0x20
    """Agreed, and delivered only when every daemon of the configuration holds it."""


class Cause(IntEnum):
    """What a view came from."""

    JOIN = 0x100
    """A member joined."""
    LEAVE = 0x200
    """A member left."""
    DISCONNECT = 0x400
    """A member's session ended."""
    NETWORK = 0x800
    """Daemons became unreachable, or reachable again."""


class GroupId(NamedTuple):
    """Identity of a view: the same at all its members, and never used for another."""

    leader: int
    """Identity of the leader of the daemons' configuration."""
    time: int
    """When that configuration formed; the unit is the daemon's."""
    counter: int
    """Changes of the group in that configuration, from 1."""


@dataclass(frozen=True, slots=True)
class View:
    """Who is in a group. All members that are told of the same id are told the same view."""

    group: str
    id: GroupId
    cause: Cause
    changed_member: str | None
    """The member that joined, left or disconnected; None after a network change."""
    members: tuple[str, ...]
    """All members, in the same order at each of them."""
    my_index: int | None
    """Where this client is in :attr:`members`."""
    vs_sets: tuple[tuple[str, ...], ...]
    """The virtual synchrony sets of a network change: the members that came from one view into this one
    together, and so have delivered the same messages before it. None after another change; see
    :attr:`came_along`."""
    my_vs_set: int
    """Which of :attr:`vs_sets` this client came with; 0 if there are none."""

    @property
    def came_along(self) -> tuple[str, ...]:
        """The members that came here together with this client, itself included, in the order of the view.

        They have delivered the same messages in the view before.
        """
        if self.cause is Cause.JOIN:
            me = None if self.my_index is None else self.members[self.my_index]
            joined, is_new = self.changed_member, me == self.changed_member
            return tuple(member for member in self.members if (member == joined) == is_new)
        if self.cause is Cause.NETWORK:
            together = set(self.vs_sets[self.my_vs_set]) if self.my_vs_set < len(self.vs_sets) else set()
            return tuple(member for member in self.members if member in together)
        return self.members

    def new_since(self, previous: View) -> tuple[str, ...]:
        """Members that were not in ``previous``, the view of the same group before this one.

        Compares names only: after a network change, who of the others came along with this client is in
        :attr:`vs_sets`.
        """
        known = set(previous.members)
        return tuple(member for member in self.members if member not in known)

    def gone_since(self, previous: View) -> tuple[str, ...]:
        """Members of ``previous``, the view of the same group before this one, that are not in this one."""
        return previous.new_since(self)


@dataclass(frozen=True, slots=True)
class Transition:
    """The ordinary promises of a view end: what follows until the next :class:`View` of the group was
    possibly not delivered to members that became unreachable."""

    group: str
    id: GroupId
    """Identity of the view that is ending."""


@dataclass(frozen=True, slots=True)
class SelfLeave:
    """This client is out of the group, as it requested."""

    group: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that the daemon refused and sent back. Known daemons never do."""

    flags: int
    """The flag word of the request; a refused join or leave shows as its cause bit."""
    groups: tuple[str, ...]
    """Groups of the request, and this client's private group after them."""
    message_type: int
    body: bytes


Event: TypeAlias = Message | View | Transition | SelfLeave | Rejected
"""Something that the daemon delivers. Views, transitions and self-leaves come only to connections that
asked for membership."""
