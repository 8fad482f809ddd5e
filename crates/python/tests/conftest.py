"""A real daemon for the tests, and what they share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

import antiphon

ROOT = Path(__file__).resolve().parents[3]
START_LIMIT = 20.0
"""Seconds that a daemon may take to accept clients."""
LIMIT = 20.0
"""Seconds that anything else may take; nothing does, unless it fails."""


@dataclass(frozen=True)
class Daemon:
    """A running daemon."""

    host: str
    port: int
    unix_directory: str
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where it listens with TCP."""
        return f"{self.port}@{self.host}"

    def connect(self, name: str = "", *, membership: bool = True) -> antiphon.Connection:
        """A connection."""
        return antiphon.connect(self.address, name, membership=membership, timeout=LIMIT)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon called ``localhost``, one for all tests: their groups and names differ."""
    with tempfile.TemporaryDirectory() as directory, _leased_port() as port:
        text = (
            f"Spread_Segment 127.0.0.1:{port} {{ localhost 127.0.0.1 {{ D 127.0.0.1 C 127.0.0.1 C ::1 }} }}"
        )
        Path(directory, "spread.conf").write_text(text)
        with _running(Path(directory), "localhost", "127.0.0.1", port) as made:
            yield made


@pytest.fixture
def two_daemons() -> Iterator[tuple[Daemon, Daemon]]:
    """Daemons called d2 and d3, on 127.0.0.2 and 127.0.0.3."""
    with tempfile.TemporaryDirectory() as directory, _leased_port() as port:
        hosts = (("d2", "127.0.0.2"), ("d3", "127.0.0.3"))
        lines = [f"Spread_Segment {host}:{port} {{ {name} {host} {{ {host} }} }}" for name, host in hosts]
        Path(directory, "spread.conf").write_text("\n".join(lines))
        first, second = (_running(Path(directory), name, host, port) for name, host in hosts)
        with first as one, second as other:
            yield one, other


@contextlib.contextmanager
def stopped(daemon: Daemon, connected: int) -> Iterator[None]:
    """Stops the daemon and fills the socket of a connection, so that nothing more can be written."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        fill(connected)
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def fill(connected: int) -> int:
    """Fills the socket of a connection whose daemon reads nothing with zeros; returns how many."""
    written = 0
    with socket.socket(fileno=os.dup(connected)) as filled:
        # For a moment the system finds room again.
        in_vain = 0
        while in_vain < 20:
            try:
                written += filled.send(bytes(4096), socket.MSG_DONTWAIT)
                in_vain = 0
            except BlockingIOError:
                in_vain += 1
                time.sleep(0.01)
    return written


@contextlib.contextmanager
def _running(directory: Path, name: str, host: str, port: int) -> Iterator[Daemon]:
    """The daemon of that name of the configuration in the directory."""
    own = directory / name
    own.mkdir()
    command = [_program(), "daemon", "-c", str(directory / "spread.conf"), "-n", name, "--unix-dir", str(own)]
    with (own / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        made = Daemon(host, port, str(own), process)
        _await_start(made, own / "log")
        yield made
    finally:
        process.terminate()
        process.wait(LIMIT)


def _program() -> str:
    given = os.environ.get("ANTIPHON")
    if given is not None:
        return given
    built = [ROOT / "target" / profile / "antiphon" for profile in ("debug", "release")]
    found = sorted((path for path in built if path.exists()), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.fail("no daemon: run `cargo build --package antiphon-cli`, or set ANTIPHON to the program")
    return str(found[-1])


@contextlib.contextmanager
def _leased_port() -> Iterator[int]:
    """A port and the one after it. Locked files keep other test programs away, those of Rust too."""
    directory = Path(tempfile.gettempdir(), "antiphon-test-ports")
    directory.mkdir(exist_ok=True)
    for port in random.sample(range(6_000, 15_000, 2), 1000):
        path = directory / str(port)
        with path.open("w") as lock:
            if _lock(lock, path):
                try:
                    if _is_free(port):
                        yield port
                        return
                finally:
                    path.unlink()
    pytest.fail("no free port")


def _lock(file: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its owner may have removed it after it was opened: the lock of such a file keeps nobody away.
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _is_free(port: int) -> bool:
    wanted = ((socket.SOCK_STREAM, port), (socket.SOCK_DGRAM, port), (socket.SOCK_DGRAM, port + 1))
    for kind, number in wanted:
        with socket.socket(socket.AF_INET, kind) as tried:
            try:
                tried.bind(("", number))
            except OSError:
                return False
    return True


def _await_start(daemon: Daemon, log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while True:
        try:
            with daemon.connect() as connection:
                connection.join("started")
                connection.receive(timeout=START_LIMIT)
                return
        except antiphon.ConnectError:
            if daemon.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the daemon does not start:\n{log.read_text()}")
            time.sleep(0.05)
