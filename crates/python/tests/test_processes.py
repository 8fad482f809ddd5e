"""What programs do with their process: signals that end it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import LIMIT, Daemon

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
