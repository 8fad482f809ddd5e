"""Connections whose calls wait."""

from __future__ import annotations

import array
import asyncio
import contextlib
import math
import platform
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from conftest import LIMIT, Daemon, fill, stopped

import antiphon
from antiphon import Cause, Connection, Message, SelfLeave, ServiceLevel, View, aio
from antiphon._antiphon import TimedLock
from antiphon._transport import new_socket


def message(connection: Connection) -> Message:
    """The next event, which is a message."""
    event = connection.receive(timeout=LIMIT)
    assert isinstance(event, Message), event
    return event


def view(connection: Connection) -> View:
    """The next event, which is a view."""
    event = connection.receive(timeout=LIMIT)
    assert isinstance(event, View), event
    return event


def test_a_host_that_vanishes_is_noticed_within_a_minute() -> None:
    with new_socket(socket.AF_INET) as made:
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        after, interval, probes, unacknowledged = (
            made.getsockopt(socket.IPPROTO_TCP, option) for option in options
        )
        assert after + interval * probes <= 60
        assert unacknowledged == 60_000, "with bytes on the way too"


def test_a_group_is_joined_seen_and_left(daemon: Daemon) -> None:
    with daemon.connect("ann") as ann, daemon.connect("ben") as ben:
        assert (ann.member, ann.daemon_version) == ("#ann#localhost", (4, 4, 0))
        ann.join("seen")
        first = view(ann)
        assert (first.group, first.cause, first.members) == ("seen", Cause.JOIN, ("#ann#localhost",))
        ben.join("seen")
        second, same = view(ann), view(ben)
        assert second.id == same.id != first.id
        assert second.members == same.members == ("#ann#localhost", "#ben#localhost")
        assert (second.my_index, same.my_index) == (0, 1)
        assert second.changed_member == "#ben#localhost" and second.new_since(first) == ("#ben#localhost",)
        ben.leave("seen")
        assert ben.receive(timeout=LIMIT) == SelfLeave("seen")
        third = view(ann)
        assert third.cause is Cause.LEAVE and third.gone_since(second) == ("#ben#localhost",)


def test_a_message_says_how_and_where_it_was_sent(daemon: Daemon) -> None:
    with daemon.connect("ann", membership=False) as ann, daemon.connect("ben", membership=False) as ben:
        for service in ServiceLevel:
            groups = ("one", "two", ben.member)
            ann.multicast(service, groups, b"text", message_type=-int(service))
            got = message(ben)
            assert (got.sender, got.service, got.groups) == (ann.member, service, groups)
            assert (got.message_type, got.body, got.endian_mismatch) == (-int(service), b"text", False)
        with pytest.raises(OverflowError):
            ann.multicast(ServiceLevel.FIFO, ben.member, b"", message_type=32768)


def test_a_sender_can_go_without_its_own_copy(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        alone.multicast(ServiceLevel.AGREED, alone.member, b"unheard", self_discard=True)
        alone.multicast(ServiceLevel.AGREED, alone.member, b"heard")
        assert message(alone).body == b"heard"


def test_bodies_are_anything_with_the_buffer_protocol(daemon: Daemon) -> None:
    numbers = array.array("I", range(1000))
    with daemon.connect() as alone:
        for body in (numbers, bytearray(b"text"), memoryview(b"every second byte")[::2]):
            alone.multicast(ServiceLevel.FIFO, alone.member, body)
            got = message(alone)
            assert got.body == memoryview(body).tobytes() and got.view == got.body
        with pytest.raises(TypeError, match="bytes-like"):
            alone.multicast(ServiceLevel.FIFO, alone.member, "text")  # type: ignore[arg-type]


def test_views_of_a_body_share_what_was_read(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        with alone.batch():
            for text in (b"one", b"two"):
                alone.multicast(ServiceLevel.FIFO, alone.member, text)
        views = [message(alone).view for _ in range(2)]
        assert [view.tobytes() for view in views] == [b"one", b"two"]
        assert all(view.readonly for view in views)
        shared = [view.obj for view in views]
        assert all(isinstance(whole, bytes) and len(whole) > 3 for whole in shared)


def test_a_large_body_comes_whole(daemon: Daemon) -> None:
    body = bytes(range(256)) * 560
    with daemon.connect() as alone:
        alone.multicast(ServiceLevel.SAFE, alone.member, body)
        got = message(alone)
        assert got.body == body and got.view == body
        with pytest.raises(antiphon.MessageTooLong):
            alone.multicast(ServiceLevel.SAFE, alone.member, body + bytes(600))


def test_unix_sockets_and_both_versions_of_ip_serve_alike(daemon: Daemon) -> None:
    for address in (str(daemon.port), daemon.address, f"{daemon.port}@::1", f"{daemon.port}@localhost"):
        with antiphon.connect(address, "one", unix_directory=daemon.unix_directory) as connection:
            assert connection.member == "#one#localhost"


def test_the_daemons_reasons_are_exceptions(daemon: Daemon) -> None:
    with daemon.connect("taken"):
        with pytest.raises(antiphon.NameInUseError, match="in use") as caught:
            daemon.connect("taken")
    assert isinstance(caught.value, antiphon.RefusedError) and caught.value.code == -6
    with pytest.raises(antiphon.IllegalPrivateNameError):
        daemon.connect("a#b")
    with pytest.raises(antiphon.AuthenticationError, match="IP"):
        antiphon.connect(daemon.address, auth=["IP"])
    with pytest.raises(ValueError, match="PWORD"):
        antiphon.connect(daemon.address, auth=["PWORD"])
    with pytest.raises(TypeError, match="not one name"):
        antiphon.connect(daemon.address, auth="IP")


def test_a_daemon_that_can_not_be_reached_is_told_from_a_bad_address() -> None:
    with pytest.raises(antiphon.ConnectError) as caught:
        antiphon.connect("1@127.0.0.1")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with pytest.raises(antiphon.AddressError):
        antiphon.connect("localhost:4803")
    with pytest.raises(antiphon.ConnectError, match=r"at 4803 \(/nonexistent/4803\): "):
        antiphon.connect("4803", unix_directory="/nonexistent")


def test_a_daemon_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{silent.getsockname()[1]}@127.0.0.1"
        with pytest.raises(antiphon.ConnectTimeout):
            antiphon.connect(address, timeout=0.1)


def test_a_unix_socket_with_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held, socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "4803"))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                waiting = held.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "4803"))
        with pytest.raises(antiphon.ConnectTimeout):
            antiphon.connect("4803", timeout=0.1, unix_directory=str(tmp_path))
        with pytest.raises(antiphon.ConnectTimeout):
            asyncio.run(_await(aio.connect("4803", timeout=0.1, unix_directory=str(tmp_path))))


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    with full, socket.create_connection(full.getsockname()):
        peers = [full.getsockname(), (daemon.host, daemon.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", peer) for peer in peers]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        antiphon.connect("4803@both", timeout=1.0).disconnect()
        asyncio.run(_use(aio.connect("4803@both", timeout=1.0)))


async def _use(connecting: aio.Connecting) -> None:
    async with connecting:
        pass


async def _await(connecting: aio.Connecting) -> None:
    await connecting


def test_mistakes_are_found_before_anything_is_sent(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        with pytest.raises(antiphon.IllegalNameError):
            alone.join("two words")
        with pytest.raises(antiphon.IllegalNameError):
            alone.leave("")
        with pytest.raises(antiphon.GroupCountError) as none:
            alone.multicast(ServiceLevel.FIFO, [], b"")
        assert none.value.code == -13, "as in C"
        with pytest.raises(antiphon.GroupCountError):
            alone.multicast(ServiceLevel.FIFO, ["group"] * 101, b"")
        for groups in (b"group", [b"group"]):
            with pytest.raises(TypeError, match="a group is a str, and not <class 'bytes'>"):
                alone.multicast(ServiceLevel.FIFO, groups, b"")  # type: ignore[arg-type]
        with pytest.raises(antiphon.ServiceError):
            alone.multicast(0, "group", b"")  # type: ignore[arg-type]
        alone.multicast(ServiceLevel.FIFO, alone.member, b"still here")
        assert message(alone).body == b"still here"


def test_waiting_can_end_without_an_event(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        assert alone.receive_ready() is None
        with pytest.raises(TimeoutError):
            alone.receive(timeout=0.02)
        with pytest.raises(TimeoutError):
            alone.receive_many(timeout=0)
        with pytest.raises(ValueError, match="limit"):
            alone.receive_many(limit=0)


def test_gathered_messages_leave_at_the_end_of_the_batch(daemon: Daemon) -> None:
    with daemon.connect("ann") as ann, daemon.connect("ben") as ben:
        with ann.batch():
            ann.multicast(ServiceLevel.FIFO, ben.member, b"gathered")
            with pytest.raises(TimeoutError):
                ben.receive(timeout=0.05)
            ann.flush()
            assert message(ben).body == b"gathered"
            ann.multicast(ServiceLevel.FIFO, [ann.member, ben.member], b"before waiting")
            assert message(ann).body == b"before waiting"
            ann.multicast(ServiceLevel.FIFO, ben.member, b"at the end")
        assert [message(ben).body for _ in range(2)] == [b"before waiting", b"at the end"]
        with ann.batch():
            ann.multicast(ServiceLevel.FIFO, ben.member, b"with the goodbye")
            ann.disconnect()
        assert message(ben).body == b"with the goodbye"
        with pytest.raises(antiphon.ConnectionClosed), ann.batch():
            ann.multicast(ServiceLevel.FIFO, ben.member, b"too late")


def test_one_thread_receives_while_others_send(daemon: Daemon) -> None:
    count, bodies = 2000, set[bytes]()
    with daemon.connect() as shared:

        def send(prefix: bytes) -> None:
            with shared.batch():
                for number in range(count):
                    shared.multicast(ServiceLevel.FIFO, shared.member, prefix + str(number).encode())

        threads = [threading.Thread(target=send, args=(prefix,)) for prefix in (b"a", b"b")]
        for thread in threads:
            thread.start()
        while len(bodies) < 2 * count:
            for event in shared.receive_many(timeout=LIMIT):
                assert isinstance(event, Message)
                bodies.add(event.body)
        for thread in threads:
            thread.join(LIMIT)


def test_other_threads_run_while_one_waits(daemon: Daemon) -> None:
    with daemon.connect() as waiting, daemon.connect() as other:
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(message(waiting).body))
        thread.start()
        other.multicast(ServiceLevel.FIFO, waiting.member, b"come in")
        thread.join(LIMIT)
        assert got == [b"come in"]


@contextlib.contextmanager
def raising_alarm() -> Iterator[None]:
    """SIGALRM raises KeyboardInterrupt inside ``with``."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_runs_while_the_main_thread_waits(daemon: Daemon) -> None:
    with raising_alarm(), daemon.connect() as waiting:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            waiting.receive()
        waiting.multicast(ServiceLevel.FIFO, waiting.member, b"unharmed")
        assert message(waiting).body == b"unharmed"


def test_a_batch_whose_end_a_signal_handler_interrupts_is_over(daemon: Daemon) -> None:
    with raising_alarm(), daemon.connect() as connection:
        with pytest.raises(KeyboardInterrupt), connection.batch():
            connection.multicast(ServiceLevel.FIFO, connection.member, b"gathered")
            # As a request of another thread that the daemon holds up.
            holding = threading.Thread(target=_hold, args=(connection._sending, 0.5))
            holding.start()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        holding.join(LIMIT)
        connection.multicast(ServiceLevel.FIFO, connection.member, b"alone")
        assert connection._session.unsent == 0


def test_a_signal_handler_that_raises_leaves_nothing_locked(two_daemons: tuple[Daemon, Daemon]) -> None:
    connection, left_locked = two_daemons[0].connect("ann"), 0
    ended = pytest.raises(antiphon.ConnectionClosed)
    with stopped(two_daemons[0], connection.fileno()), raising_alarm(), ended, connection.batch():
        connection.join("gathered")
        for _ in range(3000):
            with contextlib.suppress(KeyboardInterrupt, TimeoutError):
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 60e-6))
                while True:
                    with contextlib.suppress(TimeoutError):
                        connection.receive(timeout=0)
            if connection._sending.locked():
                left_locked += 1
                connection._sending.release()
        connection.close()
    assert left_locked == 0


def test_a_lock_is_held_if_it_can_be_had_in_time() -> None:
    lock = threading.Lock()
    with TimedLock(lock, None) as is_held:
        assert is_held and lock.locked()
        with TimedLock(lock, 0.01) as is_held_again:
            assert not is_held_again
        assert lock.locked()
    with pytest.raises(ValueError, match="inside"), TimedLock(lock, 0.0):
        raise ValueError("inside")
    assert not lock.locked()


def test_a_daemon_that_takes_nothing_before_its_events_are_received_is_not_waited_for(
    two_daemons: tuple[Daemon, Daemon],
) -> None:
    connection = two_daemons[0].connect("ann")
    connection.join("told")
    assert select.select([connection], [], [], LIMIT)[0]
    received: list[antiphon.Event] = []
    ended = pytest.raises(antiphon.ConnectionClosed)
    with stopped(two_daemons[0], connection.fileno()), ended, connection.batch():
        connection.join("gathered")
        receiver = threading.Thread(target=lambda: received.append(connection.receive()), daemon=True)
        receiver.start()
        receiver.join(LIMIT)
        connection.close()
    assert [type(event) for event in received] == [View]


def _hold(lock: threading.Lock, seconds: float) -> None:
    with lock:
        time.sleep(seconds)


def _waits_for_more_than_a_lock(thread: threading.Thread) -> bool:
    futex = {"x86_64": "202"}.get(platform.machine(), "98")
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()[0]
    return call not in ("running", "-1", futex)


def test_closing_wakes_the_thread_that_waits(daemon: Daemon) -> None:
    connection = daemon.connect()
    ends: list[BaseException] = []

    def wait() -> None:
        try:
            connection.receive()
        except antiphon.ConnectionClosed as end:
            ends.append(end)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + LIMIT
    while not _waits_for_more_than_a_lock(thread):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    connection.close()
    thread.join(LIMIT)
    assert [str(end) for end in ends] == ["this connection was closed"]
    assert repr(connection).startswith("<antiphon.Connection closed")


def test_what_was_sent_before_a_disconnect_is_delivered(daemon: Daemon) -> None:
    with daemon.connect("ben") as ben:
        ben.join("farewell")
        view(ben)
        ann = daemon.connect("ann")
        ann.join("farewell")
        view(ben)
        for number in range(500):
            ann.multicast(ServiceLevel.AGREED, "farewell", str(number).encode())
        ann.disconnect()
        ann.disconnect()
        with pytest.raises(antiphon.ConnectionClosed):
            ann.join("farewell")
        assert [message(ben).body for _ in range(500)] == [str(number).encode() for number in range(500)]
        assert view(ben).cause is Cause.DISCONNECT


@pytest.mark.parametrize("timeout", [30 * 86400, 1e300, math.inf])
def test_a_timeout_may_be_as_long_as_one_likes(daemon: Daemon, timeout: float) -> None:
    with antiphon.connect(daemon.address, "ann", timeout=timeout) as ann:
        ann.join("patience")
        assert isinstance(ann.receive(timeout=timeout), View)
        ann.leave("patience")
        assert ann.receive_many(timeout=timeout)


def test_a_stopped_daemon_delays_neither_a_timeout_nor_the_end(two_daemons: tuple[Daemon, Daemon]) -> None:
    connection = two_daemons[0].connect("ann")

    def give_up() -> None:
        with pytest.raises(antiphon.ConnectionClosed), connection.batch():
            connection.join("gathered")
            with pytest.raises(TimeoutError):
                connection.receive(timeout=0.01)
            connection.disconnect()

    with stopped(two_daemons[0], connection.fileno()):
        given_up = threading.Thread(target=give_up, daemon=True)
        given_up.start()
        given_up.join(LIMIT)
        assert not given_up.is_alive()
    assert connection.fileno() == -1


def test_an_end_wakes_a_sender_that_a_stopped_daemon_holds_up(two_daemons: tuple[Daemon, Daemon]) -> None:
    connection = two_daemons[0].connect("ann")
    outcome: list[BaseException] = []

    def send() -> None:
        try:
            connection.join("held_up")
        except antiphon.ConnectionClosed as error:
            outcome.append(error)

    with stopped(two_daemons[0], connection.fileno()):
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        ender = threading.Thread(target=connection.disconnect, daemon=True)
        ender.start()
        ender.join(LIMIT)
        sender.join(LIMIT)
        assert not ender.is_alive() and not sender.is_alive()
    assert len(outcome) == 1


def test_a_goodbye_waits_for_a_sender_that_gets_on() -> None:
    taken: list[int] = []
    go_on, is_over = threading.Event(), threading.Event()

    def take(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.sendall(b"\x05NULL \x01\x04\x04\x00\x08#me#fake")
            go_on.wait(LIMIT)
            while piece := client.recv(8 << 10):
                taken.append(len(piece))
                # What the sender has left takes it longer than a daemon may take nothing.
                is_over.wait(0.2)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        daemon = threading.Thread(target=take, args=(server,), daemon=True)
        daemon.start()
        connection = antiphon.connect(f"{server.getsockname()[1]}@127.0.0.1", "me", timeout=LIMIT)
        filled = fill(connection.fileno())
        body = bytes(143_000)
        sender = threading.Thread(
            target=connection.multicast, args=(ServiceLevel.FIFO, "group", body), daemon=True
        )
        sender.start()
        while connection._session.unsent == 0:
            time.sleep(0.01)
        go_on.set()
        begun = time.monotonic()
        connection.disconnect()
        took = time.monotonic() - begun
        is_over.set()
        for thread in (sender, daemon):
            thread.join(LIMIT)
        handshake, message, goodbye = 7 + 90, 48 + 32 + len(body), 48 + 32
        assert sum(taken) == handshake + filled + message + goodbye
        assert took > 3.0


def test_the_socket_can_be_waited_for(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        for text in (b"one", b"two"):
            alone.multicast(ServiceLevel.FIFO, alone.member, text)
        bodies: list[bytes] = []
        while len(bodies) < 2:
            assert select.select([alone], [], [], LIMIT)[0] == [alone]
            for event in alone.receive_many(timeout=0):
                assert isinstance(event, Message)
                bodies.append(event.body)
        assert bodies == [b"one", b"two"]


def test_iterating_ends_when_the_connection_does(daemon: Daemon) -> None:
    with daemon.connect() as alone:
        alone.multicast(ServiceLevel.FIFO, alone.member, b"only")
        with pytest.raises(antiphon.ConnectionClosed):
            for event in alone:
                assert isinstance(event, Message) and event.body == b"only"
                alone.disconnect()
