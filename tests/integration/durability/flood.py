"""What a hostile stranger sends: as much as he can, and none of it cheap to read."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain, cycle, repeat

from xmpp_onion import Client
from xmpp_onion.address import JID
from xmpp_onion.e2ee import Plain
from xmpp_onion.session import message_stanza

PER_SECOND = 1_000
TEXT = "flood"
_TICK = 0.05  # seconds
# Stanzas that the server has not confirmed: who sends without end fills his own memory.
_AT_ONCE = 2_000
# Messages that decrypt, for each second of the flood: within a minute as many as are
# opened of one stranger at once.
_READABLE = 65
_JUNK_BETWEEN_COPIES = 19
_OMEMO = "eu.siacs.conversations.axolotl"


async def flood(client: Client, to: str, seconds: int) -> tuple[int, float]:
    """Send a thousand stanzas a second, or as many as the server takes.

    Returns:
        How many it has taken, and how many in a second.
    """
    await client.send(to, TEXT)  # there is a session from now on
    readable = [await _readable(client, JID(to)) for _ in range(_READABLE * seconds)]
    stanzas, waiting = _stanzas(readable, to), deque[asyncio.Future[None]]()
    sent = taken = 0
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds or waiting:
        await client._session.wait_online()
        due = int(min(passed, seconds) * PER_SECOND) - sent
        for _ in range(min(due, _AT_ONCE - len(waiting)) if passed < seconds else 0):
            done = client._session.send(next(stanzas), "flood")
            waiting.append(asyncio.ensure_future(done))  # noqa: TID251 - it is one
            sent += 1
        await asyncio.sleep(_TICK)
        while waiting and waiting[0].done():
            taken += waiting.popleft().exception() is None
    return taken, taken / (time.monotonic() - started)


def _stanzas(readable: list[str], to: str) -> Iterator[str]:
    """Yield what decrypts, and then for ever junk and copies of it."""
    yield from readable
    for copy in cycle(readable):
        junk = (_junk(to) for _ in repeat(None, _JUNK_BETWEEN_COPIES))
        yield from chain(junk, [copy])


async def _readable(client: Client, to: JID) -> str:
    """Return a message that decrypts."""
    async with client._database.transaction():
        encrypted = await client._omemo.encrypt(to, Plain(TEXT))
        client._omemo.take_effects()
    return message_stanza(to, secrets.token_hex(8), encrypted.elements)


def _junk(to: str) -> str:
    """Return a message of a device that nobody has heard of."""
    device = 1 + secrets.randbelow(2**31 - 1)
    return (
        f"<message type='chat' id='{secrets.token_hex(8)}' to='{to}'><body>x</body>"
        f"<encrypted xmlns='{_OMEMO}'>"
        f"<header sid='{device}'><key rid='1'>AAAA</key><iv>AAAA</iv></header>"
        "<payload>AAAA</payload></encrypted></message>"
    )
