"""A daemon that breaks the protocol makes exceptions, and never a hang or a crash."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from conftest import LIMIT

import antiphon
from antiphon import ServiceLevel, _connection, aio, spread
from antiphon._antiphon import Handshake, Session

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MARK = 0x80000080
HELLO = b"\x05NULL \x01\x04\x04\x00\x0c#me#nowhere1"
"""What a daemon says in a handshake, both parts."""


def frame(flags: int, name: bytes, groups: list[bytes], body: bytes, extra: bytes = b"") -> bytes:
    """A frame as daemons send it."""
    header = struct.pack("<I32sIII", flags | MARK, name, len(groups), MARK | 0x700, len(body))
    return header + extra + b"".join(group.ljust(32, b"\0") for group in groups) + body


def vs_set(*members: bytes) -> bytes:
    """A virtual synchrony set as it stands in a view."""
    return struct.pack("<I", len(members)) + b"".join(member.ljust(32, b"\0") for member in members)


MEMBERS = [b"#me#nowhere1", b"#you#nowhere1"]
GROUP_ID = struct.pack("<III", 0x7F000001, 5, 1)
SETS = vs_set(MEMBERS[0]) + vs_set(MEMBERS[1])
STREAM = b"".join(
    (
        frame(0x1100, b"group", MEMBERS, GROUP_ID + struct.pack("<II", 1, 0) + vs_set(MEMBERS[0])),
        frame(0x10, MEMBERS[1], [b"group", b"\xff\xfe"], b"agreed"),
        frame(0x2000, b"group", [], GROUP_ID),
        frame(0x1800, b"group", MEMBERS, GROUP_ID + struct.pack("<II", 2, 36) + SETS),
        frame(0x400000, b"#me#nowhere1", [b"group"], b"refused", struct.pack("<I", 0x10)),
        frame(0x200, b"group", [], b""),
        frame(0x20, MEMBERS[0], [b"group"], bytes(5000)),
    )
)


def mutated(seed: int, stream: bytes) -> bytes:
    """The stream with some bytes changed, left out, repeated or cut off."""
    generator = random.Random(seed)
    bytes_of = bytearray(stream)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(bytes_of))
        match generator.randrange(5):
            case 0:
                bytes_of[at] = generator.randrange(256)
            case 1:
                bytes_of[at : at + 4] = generator.choice((b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80"))
            case 2:
                del bytes_of[at : at + generator.randint(1, 40)]
            case 3:
                bytes_of[at:at] = bytes_of[at : at + generator.randint(1, 40)]
            case _:
                del bytes_of[max(at, 1) :]
        if not bytes_of:
            break
    return bytes(bytes_of)


def session() -> Session:
    """An open session without a socket."""
    handshake = Handshake("me", True, 0, ["NULL"])
    assert isinstance(handshake.on_bytes(HELLO), bytes)
    opened = handshake.on_bytes(b"")
    assert isinstance(opened, Session)
    return opened


@contextlib.contextmanager
def hostile(answer: bytes) -> Iterator[str]:
    """A daemon at this address that says this to the next client, whatever that says, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)

        def serve() -> None:
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    peer.sendall(answer)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(4096):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{server.getsockname()[1]}@127.0.0.1"
        finally:
            thread.join(LIMIT)
            assert not thread.is_alive()


def test_the_stream_itself_is_good() -> None:
    opened = session()
    opened.push(STREAM)
    events = opened.take_events(100)
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["View", "Message", "Transition", "View", "Rejected", "SelfLeave", "Message"]
    message = events[1]
    assert isinstance(message, antiphon.Message)
    assert message.groups == ("group", "\udcff\udcfe") and bytes(message.view) == b"agreed"


def test_a_socket_that_is_interrupted_again_and_again_neither_loses_nor_doubles_a_byte() -> None:
    opened, undisturbed = session(), session()
    for some in (opened, undisturbed):
        some.join("group")
        some.multicast(ServiceLevel.AGREED, "group", b"text", 1)
    written = bytearray()
    expected = bytearray()
    interrupts = itertools.cycle((True, False))

    def send(chunk: ReadableBuffer, flags: int) -> int:
        if next(interrupts):
            raise KeyboardInterrupt
        piece = memoryview(chunk)[:7]
        written.extend(piece)
        return len(piece)

    def send_all(chunk: ReadableBuffer, flags: int) -> int:
        expected.extend(memoryview(chunk))
        return len(expected)

    def recv(most: int) -> bytes:
        if next(interrupts):
            raise KeyboardInterrupt
        return arriving.read(min(most, 7))

    while opened.unsent:
        with contextlib.suppress(KeyboardInterrupt):
            opened.send_some(send, 0)
    assert not undisturbed.send_some(send_all, 0)
    assert written == expected
    arriving, more = io.BytesIO(STREAM), True
    while more:
        with contextlib.suppress(KeyboardInterrupt):
            more = opened.receive_some(recv, 100)
    undisturbed.push(STREAM)
    both = [[repr(event) for event in some.take_events(100)] for some in (opened, undisturbed)]
    assert both[0] == both[1] and len(both[0]) == 7


def test_bytes_come_in_any_pieces() -> None:
    opened, whole = session(), session()
    whole.push(STREAM)
    expected = [repr(event) for event in whole.take_events(100)]
    shown: list[str] = []
    at = 0
    while at < len(STREAM):
        missing = opened.missing_bytes
        assert missing > 0
        piece = STREAM[at : at + min(missing, 7)]
        opened.push(piece)
        at += len(piece)
        while (event := opened.next_event()) is not None:
            shown.append(repr(event))
            if isinstance(event, antiphon.Message):
                assert event.view == event.body
    assert shown == expected


def test_mutations_end_in_events_or_exceptions() -> None:
    ends: set[str] = set()
    for seed in range(20_000):
        opened = session()
        opened.push(mutated(seed, STREAM))
        try:
            for event in opened.take_events(1000):
                repr(event)
            opened.next_event()
            ends.add("more is needed")
        except antiphon.ProtocolError as error:
            ends.add(type(error).__name__)
    assert ends == {"more is needed", "ProtocolError"}


def test_what_came_before_a_mistake_is_delivered() -> None:
    no_frame, no_event = b"\xff" * 48, frame(0x3, MEMBERS[1], [b"group"], b"of two levels")
    for mistake in (no_frame, no_event):
        opened = session()
        opened.push(STREAM + mistake + STREAM)
        assert len(opened.take_events(100)) == 7
        for _ in range(2):
            with pytest.raises(antiphon.ProtocolError):
                opened.take_events(100)


@pytest.mark.parametrize("seed", range(60))
def test_connections_to_hostile_daemons_end(seed: int) -> None:
    # Early bytes are changed more often: half of the streams are changed in the handshake.
    answer = HELLO + mutated(seed, STREAM) if seed % 2 else mutated(seed, HELLO) + STREAM
    with hostile(answer) as address, pytest.raises((antiphon.ProtocolError, antiphon.ConnectionClosed)):
        _receive_all(address)
    with hostile(answer) as address, pytest.raises((antiphon.ProtocolError, antiphon.ConnectionClosed)):
        asyncio.run(_receive_all_async(address))
    with hostile(answer) as address, pytest.raises(spread.error):
        _receive_all_old(address)


def _receive_all(address: str) -> None:
    try:
        connection = antiphon.connect(address, timeout=LIMIT)
    except antiphon.RefusedError as error:
        raise antiphon.ConnectionClosed from error
    with connection:
        while True:
            connection.receive(timeout=LIMIT)


async def _receive_all_async(address: str) -> None:
    async with asyncio.timeout(LIMIT):
        try:
            connection = await aio.connect(address)
        except antiphon.RefusedError as error:
            raise antiphon.ConnectionClosed from error
        async with connection:
            async for _ in connection:
                pass


def _receive_all_old(address: str) -> None:
    mailbox = spread.connect(address)
    try:
        while True:
            mailbox.receive()
    finally:
        mailbox.disconnect()


@pytest.mark.parametrize("length", range(0, len(HELLO)))
def test_a_handshake_that_ends_early_is_told(length: int) -> None:
    with hostile(HELLO[:length]) as address, pytest.raises(antiphon.ConnectionClosed):
        antiphon.connect(address, timeout=LIMIT)


def test_a_daemon_that_goes_away_is_noticed_by_senders() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                # Closing with bytes unread would reset the connection in the handshake.
                peer.recv(4096)
                peer.sendall(HELLO[:6])
                peer.recv(4096)
                peer.sendall(HELLO[6:])

        thread = threading.Thread(target=serve)
        thread.start()
        connection = antiphon.connect(f"{server.getsockname()[1]}@127.0.0.1", timeout=LIMIT)
        thread.join(LIMIT)
        with pytest.raises(antiphon.ConnectionClosed):
            for _ in range(1000):
                connection.multicast(antiphon.ServiceLevel.FIFO, "group", bytes(1000))
        connection.close()


def test_what_a_daemon_said_before_it_went_away_is_received() -> None:
    here, there = socket.socketpair()
    connection = antiphon.Connection(session(), here)
    there.sendall(STREAM)
    there.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(antiphon.ConnectionClosed), connection.batch():
        connection.multicast(antiphon.ServiceLevel.FIFO, "group", b"unsent")
        kinds = [type(connection.receive(timeout=LIMIT)).__name__ for _ in range(7)]
    assert kinds == ["View", "Message", "Transition", "View", "Rejected", "SelfLeave", "Message"]
    with pytest.raises(antiphon.ConnectionClosed, match="broke"):
        connection.join("group")
    with pytest.raises(antiphon.ConnectionClosed):
        connection.receive(timeout=LIMIT)
    connection.close()
    there.close()


def test_a_signal_handler_that_raises_while_events_are_made_takes_none_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = session()
    message = frame(0x10, MEMBERS[1], [b"group"], b"agreed")
    opened.push(message + STREAM)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(antiphon.View, "__init__", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                opened.take_events(100)
    assert isinstance(opened.next_event(), antiphon.Message)
    kinds = [type(event).__name__ for event in opened.take_events(100)]
    assert kinds == ["View", "Message", "Transition", "View", "Rejected", "SelfLeave", "Message"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_disconnect_waits_for_a_daemon_that_still_sends_something(is_async: bool) -> None:
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(HELLO)
                for _ in range(3):
                    time.sleep(0.5)
                    peer.sendall(frame(0x200, b"group", [], b""))
                is_over.set()

        async def end() -> None:
            await (await aio.connect(address)).disconnect()

        daemon = threading.Thread(target=serve)
        daemon.start()
        address = f"{server.getsockname()[1]}@127.0.0.1"
        if is_async:
            asyncio.run(end())
        else:
            antiphon.connect(address, timeout=LIMIT).disconnect()
        assert is_over.is_set(), "the daemon had not closed"
        daemon.join(LIMIT)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_disconnect_does_not_wait_for_ever(is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_connection, aio):
        # As if the daemon always got on a little.
        monkeypatch.setattr(module, "STALL_TIMEOUT", 10 * LIMIT)
        monkeypatch.setattr(module, "LAST_TIMEOUT", 0.1)
    here, there = socket.socketpair()
    message = (ServiceLevel.FIFO, "group", bytes(100_000))

    async def end() -> None:
        here.setblocking(False)
        connection = aio.Connection(session(), here)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                while True:
                    await connection.multicast(*message)
        async with asyncio.timeout(LIMIT):
            await connection.disconnect()

    if is_async:
        asyncio.run(end())
    else:
        connection = antiphon.Connection(session(), here)

        def send() -> None:
            with contextlib.suppress(antiphon.ConnectionClosed):
                while True:
                    connection.multicast(*message)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.1)
        ender = threading.Thread(target=connection.disconnect)
        ender.start()
        ender.join(LIMIT)
        assert not ender.is_alive()
        sender.join(LIMIT)
    there.close()
