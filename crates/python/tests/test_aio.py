"""Connections for asyncio."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from conftest import LIMIT, Daemon, stopped

import antiphon
from antiphon import Message, SelfLeave, ServiceLevel, View, aio

Story: TypeAlias = Callable[[Daemon], Awaitable[None]]


def story(told: Story) -> Callable[[Daemon], None]:
    """A test that runs in an event loop of its own, and not for ever."""

    async def limited(daemon: Daemon) -> None:
        async with asyncio.timeout(LIMIT):
            await told(daemon)

    def run(daemon: Daemon) -> None:
        asyncio.run(limited(daemon))

    run.__name__ = getattr(told, "__name__", "story")
    return run


async def message(connection: aio.Connection) -> Message:
    """The next event, which is a message."""
    event = await connection.receive()
    assert isinstance(event, Message), event
    return event


@story
async def test_a_group_is_joined_used_and_left(daemon: Daemon) -> None:
    async with aio.connect(daemon.address, "ann") as ann, aio.connect(daemon.address, "ben") as ben:
        await ann.join("garden")
        assert isinstance(await ann.receive(), View)
        await ben.multicast(ServiceLevel.SAFE, ["garden", "elsewhere"], bytearray(b"text"), message_type=-5)
        got = await message(ann)
        assert (got.sender, got.service, got.groups) == (
            ben.member,
            ServiceLevel.SAFE,
            ("garden", "elsewhere"),
        )
        assert (got.message_type, got.body) == (-5, b"text")
        await ann.leave("garden")
        assert await ann.receive() == SelfLeave("garden")
        await ann.multicast(ServiceLevel.FIFO, ann.member, b"unheard", self_discard=True)
        await ann.multicast(ServiceLevel.FIFO, ann.member, b"heard")
        assert (await message(ann)).body == b"heard"


@story
async def test_all_addresses_serve(daemon: Daemon) -> None:
    for address in (str(daemon.port), daemon.address, f"{daemon.port}@::1", f"{daemon.port}@localhost"):
        async with aio.connect(address, "one", unix_directory=daemon.unix_directory) as connection:
            assert (connection.member, connection.daemon_version) == ("#one#localhost", (4, 4, 0))


@story
async def test_connections_fail_with_their_reasons(daemon: Daemon) -> None:
    with pytest.raises(antiphon.ConnectError):
        await aio.connect("1@127.0.0.1")
    with pytest.raises(antiphon.AddressError):
        aio.connect("localhost:4803")
    connection = await aio.connect(daemon.address, "taken")
    with pytest.raises(antiphon.NameInUseError):
        await aio.connect(daemon.address, "taken")
    await connection.disconnect()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(antiphon.ConnectTimeout):
            await aio.connect(f"{silent.getsockname()[1]}@127.0.0.1", timeout=0.1)


@story
async def test_a_receive_that_is_cancelled_loses_nothing(daemon: Daemon) -> None:
    count = 2000
    async with aio.connect(daemon.address) as alone:

        async def send() -> None:
            for number in range(count):
                await alone.multicast(ServiceLevel.FIFO, alone.member, str(number).encode())
                if number % 7 == 0:
                    await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        bodies: list[bytes] = []
        tries = 0
        while len(bodies) < count:
            receiving = asyncio.create_task(alone.receive())
            # Sometimes before the event is there, sometimes in the same turn of the loop.
            tries += 1
            for _ in range(tries % 5):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                event = receiving.result()
                assert isinstance(event, Message)
                bodies.append(event.body)
        await sending
        assert bodies == [str(number).encode() for number in range(count)]


@story
async def test_a_timeout_ends_a_wait(daemon: Daemon) -> None:
    async with aio.connect(daemon.address) as alone:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await alone.receive()
        assert alone.receive_ready() is None


@story
async def test_events_are_iterated_and_other_tasks_run(daemon: Daemon) -> None:
    async with aio.connect(daemon.address, "ann") as ann, aio.connect(daemon.address, "ben") as ben:

        async def echo() -> None:
            async for event in ben:
                assert isinstance(event, Message)
                await ben.multicast(ServiceLevel.FIFO, event.sender, event.view)

        async with asyncio.TaskGroup() as tasks:
            echoing = tasks.create_task(echo())
            for number in range(200):
                await ann.multicast(ServiceLevel.FIFO, ben.member, str(number).encode())
                assert (await message(ann)).body == str(number).encode()
            echoing.cancel()


@story
async def test_several_tasks_share_a_connection(daemon: Daemon) -> None:
    async with aio.connect(daemon.address) as shared:
        receiving = [asyncio.create_task(message(shared)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for number in range(20):
            await shared.multicast(ServiceLevel.FIFO, shared.member, str(number).encode())
        got = {(await task).body for task in receiving}
        assert got == {str(number).encode() for number in range(20)}


@story
async def test_a_sender_waits_while_the_daemon_takes_no_more(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        loop = asyncio.get_running_loop()
        opening = asyncio.ensure_future(aio.connect(f"{server.getsockname()[1]}@127.0.0.1"))
        server.setblocking(False)
        peer, _ = await loop.sock_accept(server)
        with peer:
            await loop.sock_recv(peer, 1024)
            await loop.sock_sendall(peer, b"\x05NULL ")
            await loop.sock_recv(peer, 1024)
            await loop.sock_sendall(peer, b"\x01\x04\x04\x00\x04#a#d")
            connection = await opening
            sent = 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    while True:
                        await connection.multicast(ServiceLevel.FIFO, "g", bytes(1000))
                        sent += 1
            # What the two sockets hold, and 64 KiB here.
            assert sent < 20_000
            received = 0
            flushing = asyncio.create_task(connection.flush())
            while received < sent * 1080:
                received += len(await loop.sock_recv(peer, 1 << 20))
            await flushing
            assert received == sent * 1080
            connection.close()


@story
async def test_nothing_is_read_while_nobody_receives(daemon: Daemon) -> None:
    async with aio.connect(daemon.address, "lazy") as lazy, aio.connect(daemon.address) as busy:
        for _ in range(1000):
            await busy.multicast(ServiceLevel.FIFO, lazy.member, bytes(1000))
        assert (await message(lazy)).body == bytes(1000)
        await asyncio.sleep(0.05)
        waiting = 0
        while lazy.receive_ready() is not None:
            waiting += 1
        assert waiting < 200
        for _ in range(999 - waiting):
            await lazy.receive()


@story
async def test_closing_wakes_the_tasks_that_wait(daemon: Daemon) -> None:
    connection = await aio.connect(daemon.address)
    waiting = asyncio.create_task(connection.receive())
    await asyncio.sleep(0.01)
    connection.close()
    with pytest.raises(antiphon.ConnectionClosed, match="this connection was closed"):
        await waiting
    with pytest.raises(antiphon.ConnectionClosed):
        await connection.join("group")
    await connection.disconnect()
    assert repr(connection).startswith("<antiphon.aio.Connection closed")


def test_a_stopped_daemon_does_not_delay_the_end(two_daemons: tuple[Daemon, Daemon]) -> None:
    async def end() -> None:
        connection = await aio.connect(two_daemons[0].address)
        with stopped(two_daemons[0], connection._socket.fileno()):
            async with asyncio.timeout(LIMIT):
                await connection.disconnect()
        assert repr(connection).startswith("<antiphon.aio.Connection closed")

    asyncio.run(end())


@story
async def test_what_was_sent_before_a_disconnect_is_delivered(daemon: Daemon) -> None:
    async with aio.connect(daemon.address, "ben") as ben:
        async with aio.connect(daemon.address) as ann:
            for number in range(1000):
                await ann.multicast(ServiceLevel.AGREED, ben.member, str(number).encode())
        got = [await message(ben) for _ in range(1000)]
        assert [one.body for one in got] == [str(number).encode() for number in range(1000)]


def test_two_tasks_that_disconnect_lose_nothing(two_daemons: tuple[Daemon, Daemon]) -> None:
    process = two_daemons[0].process

    async def end() -> None:
        async with asyncio.timeout(LIMIT), aio.connect(two_daemons[0].address, "ben") as ben:
            ann = await aio.connect(two_daemons[0].address)
            await ann.multicast(ServiceLevel.AGREED, ann.member, b"is not received")
            await ann.multicast(ServiceLevel.AGREED, ben.member, b"it has come")
            await message(ben)
            process.send_signal(signal.SIGSTOP)
            try:
                for _ in range(700):
                    await ann.multicast(ServiceLevel.AGREED, ben.member, bytes(500))
                asyncio.get_running_loop().call_later(0.5, process.send_signal, signal.SIGCONT)
                await asyncio.gather(ann.disconnect(), ann.disconnect())
            finally:
                process.send_signal(signal.SIGCONT)
            for _ in range(700):
                await message(ben)

    asyncio.run(end())


def test_a_connection_is_closed_after_its_loop(daemon: Daemon) -> None:
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(aio.connect(daemon.address))
    receiving = loop.create_task(connection.receive())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    connection.close()
    assert repr(connection).startswith("<antiphon.aio.Connection closed")
    # Nothing else ends a task without a loop in silence.
    receiving._log_destroy_pending = False  # type: ignore[attr-defined]


@story
async def test_who_opens_a_second_time_is_told(daemon: Daemon) -> None:
    opening = aio.connect(daemon.address)
    async with opening:
        with pytest.raises(RuntimeError, match="awaited before"):
            await opening


@story
async def test_nothing_is_taken_after_the_goodbye(daemon: Daemon) -> None:
    taken = 0

    async def talk(connection: aio.Connection, listener: str) -> None:
        nonlocal taken
        while True:
            await connection.multicast(ServiceLevel.AGREED, listener, bytes(10_000))
            taken += 1
            await asyncio.sleep(0)

    async with aio.connect(daemon.address, "ben") as ben:
        ann = await aio.connect(daemon.address)
        talking = asyncio.create_task(talk(ann, ben.member))
        await asyncio.sleep(0.05)
        await ann.disconnect()
        with pytest.raises(antiphon.ConnectionClosed):
            await talking
        for _ in range(taken):
            await message(ben)


@story
async def test_much_is_received_at_once(daemon: Daemon) -> None:
    async with aio.connect(daemon.address) as alone:
        for _ in range(500):
            await alone.multicast(ServiceLevel.FIFO, alone.member, b"text")
        received = 0
        while received < 500:
            events = await alone.receive_many(limit=100)
            assert 0 < len(events) <= 100
            received += len(events)
        with pytest.raises(ValueError, match="limit"):
            await alone.receive_many(limit=0)


@story
async def test_a_flood_leaves_other_tasks_their_turn(daemon: Daemon) -> None:
    async with aio.connect(daemon.address) as alone:
        turns: list[float] = []

        async def take_turns() -> None:
            while True:
                turns.append(time.monotonic())
                await asyncio.sleep(0)

        taking = asyncio.create_task(take_turns())
        for _ in range(5000):
            await alone.multicast(ServiceLevel.FIFO, alone.member, bytes(100))
        for _ in range(5000):
            await alone.receive()
        taking.cancel()
        assert len(turns) > 10
