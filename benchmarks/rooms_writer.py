"""The one who writes in a room that is measured, in a process of its own.

Who reads there is as busy as a hundred people are; in one process with them a writer
would be measured by their work. The two processes talk in lines of JSON: rooms.py
starts this file as a :class:`Writer` and says what to write.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from worker import Worker, serve

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.bench.bare import BareClient
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.transport import Tor

__all__ = ["CONTESTANTS", "Place", "Sent", "Writer", "text"]


@dataclass(frozen=True, slots=True)
class Place:
    """Who writes, and where.

    Attributes:
        contestant: A name among ``CONTESTANTS``.
        jid: The account.
        password: Its password.
        socks: The proxy to the server.
        folder: Where the contestant keeps what it keeps.
        fingerprint: Of the server's certificate.
        certificate: The file that it is in.
        room: The address of the room.
        members: Who reads; the bare libraries have to be told.
    """

    contestant: str
    jid: str
    password: str
    socks: str
    folder: str
    fingerprint: str
    certificate: str
    room: str
    members: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sent:
    """What writing took.

    Attributes:
        seconds: From one message that was due to its ack, the last quarter's median.
        cpu_seconds: Of this process, for each message.
    """

    seconds: float
    cpu_seconds: float


class Writer(Worker):
    """The other process; entering returns when it is logged in."""

    def __init__(self, place: Place) -> None:
        super().__init__(__file__, json.dumps(asdict(place)))

    async def join(self) -> None:
        """Enter the room; return when it is in."""
        await self.say("", 0)

    async def say(self, prefix: str, count: int = 1, rate: float = 1.0) -> Sent:
        """Say ``text(prefix, number)`` so often, as many a second; return when done.

        None waits for the one before: each goes out when it is due.
        """
        return Sent(**await self.ask(prefix, count, rate))


def text(prefix: str, number: int) -> str:
    """Return what is said for the n-th time, in no other of which it is found."""
    return f"{prefix} {number}."


# --- in the other process -----------------------------------------------------------


class Voice(Protocol):
    """Says something in a room, in either way."""

    async def enter(self) -> None:
        """Enter the room."""

    async def say(self, text: str) -> None:
        """Encrypt for everybody and send."""


class _Ours:
    def __init__(self, client: Client, room: str) -> None:
        self._client = client
        self._room = room

    async def enter(self) -> None:
        await self._client.join(self._room, "writer")

    async def say(self, text: str) -> None:
        await self._client.send(self._room, text)


class _Bare:
    """The bare libraries in a room, whose members they are told."""

    def __init__(self, client: BareClient, room: str, members: Sequence[str]) -> None:
        self._client = client
        self._room = room
        self._members = members

    async def enter(self) -> None:
        self._client.send_raw(
            f"<presence to='{self._room}/writer'>"
            "<x xmlns='http://jabber.org/protocol/muc'>"
            "<history maxstanzas='0'/></x></presence>"
        )

    async def say(self, text: str) -> None:
        await self._client.say_in_room(self._room, self._members, text)


@asynccontextmanager
async def ours(place: Place) -> AsyncIterator[Voice]:
    """Log in with xmpp_onion, and read what happens, as programs do."""
    account = Account(
        profile="benchmark",
        folder=Path(place.folder),
        jid=JID(place.jid),
        password=place.password,
        trust=Trust.BTBV,
        certificate=place.fingerprint,
    )

    async def read(client: Client) -> None:
        async for _ in client.events():
            pass

    async with (
        Tor.attach(place.socks) as tor,
        Client(account, tor=tor) as client,
        asyncio.TaskGroup() as tasks,
    ):
        reading = tasks.create_task(read(client))
        yield _Ours(client, place.room)
        reading.cancel()


@asynccontextmanager
async def bare(place: Place) -> AsyncIterator[Voice]:
    """Log in with the bare libraries."""
    async with Tor.attach(place.socks) as tor:
        client = BareClient(
            place.jid,
            place.password,
            tor=tor,
            certificate=Path(place.certificate),
            store=Path(place.folder, "omemo.json"),
        )
        try:
            await client.log_in()
            yield _Bare(client, place.room, place.members)
        finally:
            await client.leave()


CONTESTANTS = {"bare": bare, "ours": ours}


async def say(voice: Voice, prefix: str, count: int, rate: float) -> Sent:
    """Say something again and again; with no count, enter the room."""
    if not count:
        await voice.enter()
        return Sent(0.0, 0.0)
    took: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()

    async def one(number: int) -> None:
        await voice.say(text(prefix, number))
        took.append(time.perf_counter() - start - number / rate)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = start + number / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            tasks.create_task(one(number))
    last = sorted(took[-max(1, count // 4) :])
    return Sent(last[len(last) // 2], (time.process_time() - cpu) / count)


async def main(place: Place) -> None:
    """Do what stdin says until it ends."""
    async with CONTESTANTS[place.contestant](place) as voice:

        async def work(prefix: str, count: int, rate: float) -> dict[str, float]:
            return asdict(await say(voice, prefix, count, rate))

        await serve(work)


if __name__ == "__main__":
    asyncio.run(main(Place(**json.loads(sys.argv[1]))))
