"""What programs do with their process: signals that end it, and forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import LIMIT, Daemon

import antiphon
from antiphon import aio

BEGINNING = """
import asyncio, os, signal, socket, sys
import antiphon
from antiphon import _connection, aio
from antiphon._antiphon import Handshake

signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def gone():
    one, other = socket.socketpair()
    other.close()
    return one


def cut(connection):
    socket.socket(fileno=os.dup(connection._socket.fileno())).shutdown(socket.SHUT_RDWR)
    return connection
"""
"""Of a program that SIGPIPE ends, as is the default of programs that are not written in Python."""

CALLS = {
    "a request": """
connection = cut(antiphon.connect(sys.argv[1]))
connection.multicast(antiphon.ServiceLevel.FIFO, "group", b"body")
""",
    "a goodbye": """
connection = cut(antiphon.connect(sys.argv[1]))
connection.disconnect()
connection.join("group")
""",
    "a handshake": """
_connection._shake_hands(gone(), Handshake("", False, 0, ["NULL"]), _connection._Deadline(None), 256)
""",
    "a request of a task": """
async def main():
    connection = cut(await aio.connect(sys.argv[1]))
    await connection.multicast(antiphon.ServiceLevel.FIFO, "group", b"body")
    await connection.flush()

asyncio.run(main())
""",
    "a handshake of a task": """
async def main():
    opened = gone()
    opened.setblocking(False)
    await aio._shake_hands(opened, Handshake("", False, 0, ["NULL"]))

asyncio.run(main())
""",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_that_has_gone_ends_no_program(daemon: Daemon, call: str) -> None:
    program = f"{BEGINNING}\ntry:\n" + "".join(f"    {line}\n" for line in CALLS[call].splitlines())
    program += "except antiphon.ConnectionClosed:\n    print('told')\n"
    command = [sys.executable, "-c", program, daemon.address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (ended.returncode, ended.stdout) == (0, "told\n"), ended.stderr


def in_child(run: Callable[[], None]) -> None:
    """Runs it in a child, to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("end", [antiphon.Connection.close, antiphon.Connection.disconnect])
def test_a_child_lets_go_of_a_connection_without_ending_it(
    daemon: Daemon, end: Callable[[antiphon.Connection], None]
) -> None:
    with daemon.connect() as connection:

        def let_go() -> None:
            end(connection)
            assert connection.fileno() == -1
            with pytest.raises(antiphon.ConnectionClosed):
                connection.join("child")

        in_child(let_go)
        connection.join("parent")
        event = connection.receive(LIMIT)
        assert isinstance(event, antiphon.View) and event.group == "parent"


@pytest.mark.parametrize("goodbye", [False, True])
def test_a_child_lets_go_of_a_connection_of_tasks_without_ending_it(daemon: Daemon, goodbye: bool) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT), aio.connect(daemon.address) as connection:
            # The loop watches the socket, and the child has the same set of watched ones.
            await connection.join("task")
            assert isinstance(await connection.receive(), antiphon.View)

            def let_go() -> None:
                if not goodbye:
                    return connection.close()
                # It waits for nothing.
                with pytest.raises(StopIteration):
                    connection.disconnect().send(None)

            in_child(let_go)
            await connection.leave("task")
            assert isinstance(await connection.receive(), antiphon.SelfLeave)

    asyncio.run(main())
