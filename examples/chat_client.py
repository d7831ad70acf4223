"""A chat in a terminal with nothing but the client: type a line, see the answers.

Run it with `python examples/chat_client.py bob@….onion`, and end it with Ctrl-D. For
people there is `xmpp-onion chat`.
"""

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable

from xmpp_onion import JID, Account, Client, Message, Tor, XmppOnionError


async def typed() -> AsyncIterator[str]:
    """Yield what is typed, line by line."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.rstrip("\n")


async def show(client: Client, peer: JID, say: Callable[[str], None]) -> None:
    """Show what the other says; what is marked was checked by nobody."""
    async for event in client.events():
        if isinstance(event, Message) and event.sender == peer and event.room is None:
            mark = " " if event.trust == "verified" else "?"
            # Not as it came: an escape sequence could do anything to a terminal.
            text = "".join(c if c.isprintable() else "\ufffd" for c in event.text)
            say(f"{mark} {peer.local}: {text}")


async def chat(
    client: Client, peer: JID, lines: AsyncIterable[str], say: Callable[[str], None]
) -> None:
    """Talk until no more lines come. What could not be sent is said."""
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(show(client, peer, say))
        async for line in lines:
            try:
                await client.send(peer, line)
            except XmppOnionError as error:
                say(f"! not sent: {error}")
        showing.cancel()


async def main() -> None:
    """Log the default profile in, through Tor, and talk."""
    async with (
        Tor.attach() as tor,
        Client(Account.load("default"), tor=tor) as client,
    ):
        await chat(client, JID(sys.argv[1]), typed(), print)


if __name__ == "__main__":
    asyncio.run(main())
