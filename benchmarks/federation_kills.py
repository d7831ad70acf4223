"""Two people on two servers, whose Prosodys are killed again and again.

    python benchmarks/federation_kills.py [--messages 300] [--kills 20]

Each writes to the other at a steady pace, with ``xmpp_onion.Client``, while one
Prosody or the other gets SIGKILL at random moments and is started again. Between the
servers is a proxy that stands in for Tor (``SocksHub``). Told is what each read how
often, and what was said to have failed. Nothing may be lost unsaid, and nothing be
read twice.
"""

import argparse
import asyncio
import collections
import logging
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from xmpp_onion import JID, Account, Client, Message, Trust
from xmpp_onion.chat import DeliveryFailed
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.session import register
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.socks_hub import SocksHub
from xmpp_onion.transport import Endpoint, Tor

NAMES = ("alice", "bob")
_PAUSE = 0.1  # seconds between two messages of one person
# Seconds without news after which nothing more comes: a failed dial is tried again for
# 30, a link that does not answer is given up after 60.
_QUIET = 120.0


@dataclass(slots=True)
class Person:
    """Somebody, their server, and what came of what they read and wrote."""

    server: Prosody
    client: Client
    written: dict[str, str] = field(default_factory=dict)
    read: collections.Counter[str] = field(default_factory=collections.Counter)
    failed: list[DeliveryFailed] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Take in what comes, for ever."""
        async for event in self.client.events():
            if isinstance(event, Message) and event.text != "hello":
                self.read[event.text] += 1
            elif isinstance(event, DeliveryFailed):
                self.failed.append(event)
            self.news.set()

    async def write(self, to: JID, count: int) -> None:
        """Say so many things, each once, whatever happens to the server."""
        for number in range(count):
            text = f"{self.client.jid.local} {number}"
            delivery = await self.client.queue(to, text)
            self.written[delivery.id] = text
            await asyncio.sleep(_PAUSE)

    def lost(self, reader: "Person") -> list[str]:
        """Return what the other one never read, and we were not told of."""
        told = {self.written[failed.id] for failed in self.failed}
        return [
            text
            for text in self.written.values()
            if not reader.read[text] and text not in told
        ]


async def open_server(
    stack: AsyncExitStack, folder: Path, hub: SocksHub, program: str
) -> Prosody:
    """Start a server whose way to others is the hub."""
    place = Endpoint("127.0.0.1", hub.port)
    initialise(folder, lambda options: replace(options, socks=place, stamp_bits=0))
    server = await stack.enter_async_context(Prosody(folder, program=program))
    hub.routes[str(server.onion)] = server.options.ports.s2s
    return server


async def enrol(
    stack: AsyncExitStack, name: str, folder: Path, server: Prosody
) -> Client:
    """Make an account and log in."""
    proxy = ChaosProxy(routes={str(server.onion): server.c2s_port})
    await stack.enter_async_context(proxy)
    tor = await stack.enter_async_context(Tor.attach(proxy.socks))
    password = secrets.token_urlsafe()
    account = Account(
        profile=name,
        folder=folder,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=await register(await server.invite(name), name, password, tor=tor),
    )
    return await stack.enter_async_context(Client(account, tor=tor))


async def kill(servers: Sequence[Prosody], count: int, seconds: float) -> None:
    """Kill one server or the other, so many times over so many seconds."""
    for _ in range(count):
        await asyncio.sleep(2 * seconds / count * secrets.randbelow(1000) / 1000)
        server = secrets.choice(servers)
        os.kill(server.pid, signal.SIGKILL)
        await server.restart()


async def settle(people: Sequence[Person]) -> None:
    """Return when all was read or failed, or nothing has come for long."""
    one, other = people
    while one.lost(other) or other.lost(one):
        for person in people:
            person.news.clear()
        waiting = [asyncio.ensure_future(person.news.wait()) for person in people]  # noqa: TID251 - ended here
        done, _ = await asyncio.wait(
            waiting, timeout=_QUIET, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        if not done:
            return


async def main(chosen: argparse.Namespace) -> int:
    """Run it and print what came of it; 1 if something was lost or repeated."""
    logging.disable(logging.WARNING)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub = await enter(SocksHub())
        people = []
        for name in NAMES:
            server = await open_server(
                stack, folder / f"server-{name}", hub, chosen.prosody
            )
            client = await enrol(stack, name, folder / name, server)
            people.append(Person(server, client))
        one, other = people
        # Strangers may write so much; what contacts write is not counted.
        await one.client.add_contact(other.client.jid)
        await other.client.add_contact(one.client.jid)
        # Who never spoke has no keys, and cannot write while nobody is there to ask.
        await one.client.send(other.client.jid, "hello")
        await other.client.send(one.client.jid, "hello")
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(person.follow()) for person in people]
            async with asyncio.TaskGroup() as writing:
                writing.create_task(one.write(other.client.jid, chosen.messages))
                writing.create_task(other.write(one.client.jid, chosen.messages))
                servers = [person.server for person in people]
                seconds = chosen.messages * _PAUSE
                writing.create_task(kill(servers, chosen.kills, seconds))
            await settle(people)
            for task in following:
                task.cancel()
    return report(people, hub, chosen)


def report(people: Sequence[Person], hub: SocksHub, chosen: argparse.Namespace) -> int:
    """Print a row for each person."""
    version = people[0].server.version
    print("| Prosody | from | written | read | told that it failed | lost | twice |")
    print("|---|---|---:|---:|---:|---:|---:|")
    bad = 0
    for writer, reader in (people, people[::-1]):
        lost = writer.lost(reader)
        twice = [text for text, count in reader.read.items() if count > 1]
        bad += len(lost) + len(twice)
        print(
            f"| {version} | {writer.client.jid.local} | {len(writer.written)} "
            f"| {len(reader.read)} | {len(writer.failed)} | {len(lost)} "
            f"| {len(twice)} |"
        )
        for failed in writer.failed[:3]:
            print(f"  {failed.reason}", file=sys.stderr)
        if lost:
            print(f"  lost: {lost}", file=sys.stderr)
    print(f"{chosen.kills} kills, {len(hub.asked)} dials")
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300, help="of each person")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    sys.exit(asyncio.run(main(parser.parse_args())))
