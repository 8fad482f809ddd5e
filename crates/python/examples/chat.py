"""A chat: lines that are typed go to a group, what the group says is shown.

python chat.py 4803@localhost alice
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from antiphon import AntiphonError, Message, ServiceLevel, View, aio

GROUP = "chat"


async def show(connection: aio.Connection) -> None:
    """Shows what the group says, and who comes and goes."""
    before: View | None = None
    async for event in connection:
        match event:
            case Message(sender, body):
                print(f"{sender}: {body.decode(errors='replace')}", flush=True)
            case View() as view:
                for member in view.members if before is None else view.new_since(before):
                    print(f"{member} is here", flush=True)
                for member in () if before is None else view.gone_since(before):
                    print(f"{member} has gone ({view.cause.name.lower()})", flush=True)
                before = view


async def say(connection: aio.Connection) -> None:
    """Sends what is typed, until the end of the input."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        await connection.multicast(ServiceLevel.AGREED, GROUP, line.rstrip("\n").encode())


async def chat(address: str, name: str) -> None:
    """Shows and says at the same time."""
    async with aio.connect(address, name) as connection:
        await connection.join(GROUP)
        showing = asyncio.create_task(show(connection))
        await say(connection)
        showing.cancel()


def main() -> None:
    """Chats as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="", help="of the daemon; its Unix socket if not given")
    parser.add_argument("name", nargs="?", default="", help="at most 10 characters")
    given = parser.parse_args()
    try:
        asyncio.run(chat(given.address, given.name))
    except AntiphonError as error:
        sys.exit(f"chat: {error}")


if __name__ == "__main__":
    main()
