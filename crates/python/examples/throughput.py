"""How many messages a second go from one process to another through one daemon.

    python throughput.py 4803@localhost --bytes 100 --seconds 3 [--asyncio]

The sender is as fast as the daemon lets it be. The receiver checks that every message comes once and in
order; it prints the rate as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import time
from collections.abc import Iterator

import antiphon
from antiphon import Event, Message, ServiceLevel, aio

GROUP = "throughput"
NUMBER_BYTES = 8
WARM_UP_SECONDS = 0.5
BATCH = 500


def numbered(number: int, size: int) -> bytes:
    """A body that says which message it is."""
    return number.to_bytes(NUMBER_BYTES, "big").ljust(size, b"\0")


def send(address: str, size: int) -> None:
    """Sends until the process is ended."""
    with antiphon.connect(address, membership=False) as connection:
        first = 0
        while True:
            with connection.batch():
                for number in range(first, first + BATCH):
                    connection.multicast(ServiceLevel.AGREED, GROUP, numbered(number, size))
            first += BATCH


async def send_async(address: str, size: int) -> None:
    """Sends until the process is ended."""
    async with aio.connect(address, membership=False) as connection:
        number = 0
        while True:
            await connection.multicast(ServiceLevel.AGREED, GROUP, numbered(number, size))
            number += 1


class Count:
    """Checks the messages and counts those after the warm-up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expected = 0
        self._begin: float | None = None
        self._counted_from = 0
        self.rate = 0.0

    def is_over(self, events: list[Event]) -> bool:
        """Counts these; says whether the time is over."""
        for event in events:
            assert isinstance(event, Message)
            number = int.from_bytes(event.body[:NUMBER_BYTES], "big")
            if number != self._expected:
                raise RuntimeError(f"message {number} came instead of {self._expected}")
            self._expected += 1
        now = time.monotonic()
        if self._begin is None:
            self._begin = now + WARM_UP_SECONDS
        if now <= self._begin:
            self._counted_from = self._expected
            return False
        self.rate = (self._expected - self._counted_from) / (now - self._begin)
        return now - self._begin > self._seconds


@contextlib.contextmanager
def sender(address: str, size: int, uses_asyncio: bool) -> Iterator[None]:
    """Another process that sends."""
    process = multiprocessing.get_context("spawn").Process(target=_send, args=(address, size, uses_asyncio))
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _send(address: str, size: int, uses_asyncio: bool) -> None:
    if uses_asyncio:
        asyncio.run(send_async(address, size))
    else:
        send(address, size)


def measure(address: str, size: int, seconds: float) -> float:
    """Messages a second with calls that wait."""
    count = Count(seconds)
    with antiphon.connect(address, membership=False) as connection:
        connection.join(GROUP)
        with sender(address, size, uses_asyncio=False):
            while not count.is_over(connection.receive_many()):
                pass
    return count.rate


async def measure_async(address: str, size: int, seconds: float) -> float:
    """Messages a second with asyncio."""
    count = Count(seconds)
    async with aio.connect(address, membership=False) as connection:
        await connection.join(GROUP)
        await connection.flush()
        with sender(address, size, uses_asyncio=True):
            while not count.is_over(await connection.receive_many()):
                pass
    return count.rate


def main() -> None:
    """Measures as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--bytes", type=int, default=100, help="of a body, at least 8")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--asyncio", action="store_true")
    given = parser.parse_args()
    if given.bytes < NUMBER_BYTES:
        parser.error(f"a body has at least {NUMBER_BYTES} bytes")
    arguments = (given.address, given.bytes, given.seconds)
    rate = asyncio.run(measure_async(*arguments)) if given.asyncio else measure(*arguments)
    face = "asyncio" if given.asyncio else "sync"
    print(json.dumps({"face": face, "bytes": given.bytes, "messages_per_second": round(rate)}))


if __name__ == "__main__":
    main()
