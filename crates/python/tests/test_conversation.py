"""The conversation that every client library goes through, with the log that it must write.

`crates/cli/tests/conversation/README.md` has the script and the form of the log.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest
from conftest import LIMIT, ROOT, Daemon

import antiphon
from antiphon import Event, GroupId, Message, SelfLeave, ServiceLevel, Transition, View, aio

EXPECTED = ROOT / "crates/cli/tests/conversation/expected.log"
TEXT_MAX_BYTES = 40
"""Longer bodies are written as length and checksum."""


class Client(Protocol):
    """One face of the library, as the conversation uses it."""

    @property
    def member(self) -> str: ...
    def join(self, group: str) -> None: ...
    def leave(self, group: str) -> None: ...
    def send(
        self, service: ServiceLevel, kind: int, groups: tuple[str, ...], body: bytes, discard: bool
    ) -> None: ...
    def receive(self) -> Event: ...
    def disconnect(self) -> None: ...


class Waiting:
    """The face whose calls wait."""

    def __init__(self, address: str, name: str, membership: bool) -> None:
        self._connection = antiphon.connect(address, name, membership=membership)
        self.member = self._connection.member
        self.join = self._connection.join
        self.leave = self._connection.leave
        self.disconnect = self._connection.disconnect

    def send(
        self, service: ServiceLevel, kind: int, groups: tuple[str, ...], body: bytes, discard: bool
    ) -> None:
        """Sends a message."""
        self._connection.multicast(service, groups, body, message_type=kind, self_discard=discard)

    def receive(self) -> Event:
        """Waits for the next event."""
        return self._connection.receive(timeout=LIMIT)


class Asynchronous:
    """The face for asyncio. Every call runs the event loop until it is done."""

    def __init__(self, runner: asyncio.Runner, address: str, name: str, membership: bool) -> None:
        async def connect() -> aio.Connection:
            return await aio.connect(address, name, membership=membership)

        self._runner = runner
        self._connection = runner.run(connect())
        self.member = self._connection.member

    def join(self, group: str) -> None:
        """Requests to join a group."""
        self._runner.run(self._connection.join(group))

    def leave(self, group: str) -> None:
        """Requests to leave a group."""
        self._runner.run(self._connection.leave(group))

    def send(
        self, service: ServiceLevel, kind: int, groups: tuple[str, ...], body: bytes, discard: bool
    ) -> None:
        """Sends a message."""

        async def send() -> None:
            await self._connection.multicast(service, groups, body, message_type=kind, self_discard=discard)
            await self._connection.flush()

        self._runner.run(send())

    def receive(self) -> Event:
        """Waits for the next event."""
        return self._runner.run(asyncio.wait_for(self._connection.receive(), LIMIT))

    def disconnect(self) -> None:
        """Ends the session."""
        self._runner.run(self._connection.disconnect())


class Talk:
    """The open sessions, and the log so far."""

    def __init__(self, address: str, connect: Callable[[str, str, bool], Client]) -> None:
        self.address = address
        self.log: list[str] = []
        self._connect = connect
        self._sessions: dict[str, Client] = {}
        self._ids: list[GroupId] = []

    def connect(self, name: str, membership: bool = True) -> None:
        """Opens a session."""
        self._sessions[name] = self._connect(self.address, name, membership)
        self.log.append(f"{name} connected {self._sessions[name].member}")

    def connect_in_vain(self, name: str, address: str) -> None:
        """Tries to open one that cannot be opened."""
        with self.failing(name, "connect"):
            self._connect(address, name, True)

    def session(self, name: str) -> Client:
        """An open session."""
        return self._sessions[name]

    def say(
        self, name: str, service: ServiceLevel, kind: int, to: str, body: bytes | str, discard: bool = False
    ) -> None:
        """Sends a message to groups with commas between them."""
        encoded = body.encode() if isinstance(body, str) else body
        self._sessions[name].send(service, kind, tuple(to.split(",")), encoded, discard)

    def hear(self, *names: str) -> None:
        """Lets each of these sessions wait for its next event."""
        for name in names:
            self.log.append(f"{name} {self._line(self._sessions[name].receive())}")

    def disconnect(self, name: str) -> None:
        """Ends a session."""
        self._sessions.pop(name).disconnect()
        self.log.append(f"{name} disconnected")

    @contextmanager
    def failing(self, name: str, call: str) -> Iterator[None]:
        """Something that fails, by this call."""
        with pytest.raises(antiphon.AntiphonError) as caught:
            yield
        self.log.append(f"{name} failed {call} {caught.value.code}")

    def _line(self, event: Event) -> str:
        match event:
            case Message(sender, body):
                service, groups = event.service.name.lower(), ",".join(event.groups)
                return f"message {service} type {event.message_type} from {sender} to {groups} {_text(body)}"
            case View(group, group_id, cause, changed_member, members, index, sets, own):
                sets = ((changed_member,),) if changed_member is not None else sets
                shown = "".join("{" + ",".join(members) + "}" for members in sets)
                view = f"view {group} {cause.name.lower()} id {self._number(group_id)}"
                return f"{view} members {','.join(members)} index {index} sets {shown} own {own}"
            case Transition(group, group_id):
                return f"transition {group} id {self._number(group_id)}"
            case SelfLeave(group):
                return f"self-leave {group}"
            case _:
                pytest.fail(f"no daemon says this here: {event}")

    def _number(self, group_id: GroupId) -> int:
        if group_id not in self._ids:
            self._ids.append(group_id)
        return self._ids.index(group_id) + 1


def _text(body: bytes) -> str:
    if len(body) > TEXT_MAX_BYTES:
        return f"{len(body)} bytes adler32 {zlib.adler32(body):08x}"
    return f'"{body.decode()}"'


def connect_all(talk: Talk) -> None:
    """Steps 1 to 5."""
    talk.connect("alice")
    talk.connect("bob")
    talk.connect("carol", membership=False)
    talk.connect_in_vain("alice", talk.address)
    talk.connect_in_vain("a#b", talk.address)
    talk.connect_in_vain("dave", "1@127.0.0.1")
    talk.connect_in_vain("dave", "localhost:4803")


def join_and_send(talk: Talk) -> None:
    """Steps 6 to 12."""
    for group in ("red", "blue"):
        talk.session("alice").join(group)
        talk.hear("alice")
    talk.session("bob").join("red")
    talk.hear("alice", "bob")
    for number, service in enumerate(ServiceLevel):
        talk.say("alice", service, number, "red", service.name.lower())
        talk.hear("alice", "bob")
    talk.say("carol", ServiceLevel.AGREED, 100, "red", "open")
    talk.hear("alice", "bob")
    talk.say("bob", ServiceLevel.FIFO, -1, "#alice#localhost", "for alice")
    talk.hear("alice")
    talk.say("alice", ServiceLevel.FIFO, -32768, "#carol#localhost", "for carol")
    talk.hear("carol")


def send_to_three(talk: Talk) -> None:
    """Steps 13 to 19."""
    three = ("alice", "bob", "carol")
    talk.session("carol").join("red")
    talk.hear("alice", "bob")
    talk.say("alice", ServiceLevel.SAFE, 32767, "red", "three")
    talk.hear(*three)
    talk.say("bob", ServiceLevel.CAUSAL, 15, "red,blue,#carol#localhost", "several")
    talk.hear(*three)
    talk.say("alice", ServiceLevel.FIFO, 16, "red", "not to me", discard=True)
    talk.say("alice", ServiceLevel.FIFO, 16, "red", "to all")
    talk.hear("bob", "bob", "carol", "carol", "alice")
    talk.say("alice", ServiceLevel.RELIABLE, 17, "blue", "")
    talk.hear("alice")
    talk.say("bob", ServiceLevel.AGREED, 18, "red", bytes(number % 251 for number in range(100_000)))
    talk.hear(*three)
    for text in ("one", "two", "three"):
        talk.say("alice", ServiceLevel.AGREED, 19, "red", text)
    for name in three:
        talk.hear(name, name, name)


def send_what_can_not_be_sent(talk: Talk) -> None:
    """Steps 20 to 24."""
    with talk.failing("alice", "join"):
        talk.session("alice").join("two words")
    with talk.failing("alice", "leave"):
        talk.session("alice").leave("")
    with talk.failing("alice", "multicast"):
        talk.say("alice", ServiceLevel.AGREED, 22, "red", bytes(150_000))
    with talk.failing("alice", "multicast"):
        talk.say("alice", 0, 23, "red", "none")  # type: ignore[arg-type]
    talk.say("alice", ServiceLevel.AGREED, 24, "red", "still here")
    talk.hear("alice", "bob", "carol")


def leave_and_come_back(talk: Talk) -> None:
    """Steps 25 to 32."""
    talk.session("bob").leave("red")
    talk.hear("bob", "alice")
    talk.say("bob", ServiceLevel.AGREED, 26, "red", "from outside")
    talk.hear("alice", "carol")
    talk.session("carol").leave("red")
    talk.hear("alice")
    talk.say("alice", ServiceLevel.FIFO, 28, "#carol#localhost", "alone")
    talk.hear("carol")
    talk.session("bob").join("red")
    talk.hear("alice", "bob")
    talk.disconnect("bob")
    talk.hear("alice")
    talk.connect("bob")
    talk.session("bob").join("blue")
    talk.hear("alice", "bob")


def end(talk: Talk) -> None:
    """Steps 33 to 37."""
    talk.disconnect("carol")
    talk.session("alice").leave("blue")
    talk.hear("alice", "bob")
    talk.session("alice").leave("red")
    talk.hear("alice")
    talk.disconnect("alice")
    talk.disconnect("bob")


def converse(address: str, connect: Callable[[str, str, bool], Client]) -> str:
    """Goes through the conversation and returns its log."""
    talk = Talk(address, connect)
    parts = (connect_all, join_and_send, send_to_three, send_what_can_not_be_sent, leave_and_come_back, end)
    for part in parts:
        part(talk)
    return "".join(f"{line}\n" for line in talk.log)


def test_calls_that_wait_write_the_expected_log(daemon: Daemon) -> None:
    assert converse(daemon.address, Waiting) == EXPECTED.read_text()


def test_asyncio_writes_the_expected_log(daemon: Daemon) -> None:
    with asyncio.Runner() as runner:

        def connect(address: str, name: str, membership: bool) -> Asynchronous:
            return Asynchronous(runner, address, name, membership)

        assert converse(daemon.address, connect) == EXPECTED.read_text()
