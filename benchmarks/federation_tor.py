"""Three servers on a private Tor network: a first message, later ones, a room of all.

    python benchmarks/federation_tor.py [--messages 100]

Bare members, one on each server, without encryption: what is measured are Tor, the
servers and the way between them. First a message from one server to another that has
never spoken to it; then one by one over the link that is there; then a room on the
first server, in which all three talk at once. Prints a table for
docs/reference/performance.md.
"""

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from xmpp_onion.server import Server, initialise
from xmpp_onion.testing import TorNetwork, default_template
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.transport import Tor

NAMES = ("alice", "bob", "carol")
_PAUSE = 0.2  # seconds between two messages of one member of the room


async def deliver(writer: LightMember, reader: LightMember, text: str) -> float:
    """Say something, and return the seconds until it is read."""
    start = time.perf_counter()
    writer.send(
        f"<message type='chat' to='{reader.jid}' id='{text}'>"
        f"<body>{text}</body></message>"
    )
    message = await reader.next(lambda stanza: stanza.get("id") == text)
    if message.get("type") == "error":
        raise RuntimeError("the first message was bounced; start again")
    return time.perf_counter() - start


async def talk(
    people: list[LightMember], room: str, count: int
) -> tuple[list[float], int]:
    """Let all talk at once; return the seconds of each message to each, and losses."""
    sent: dict[str, float] = {}
    taken: list[float] = []

    async def say(person: LightMember) -> None:
        for number in range(count):
            text = f"{person.jid.local}-{number}"
            sent[text] = time.perf_counter()
            person.send(
                f"<message type='groupchat' to='{room}' id='{text}'>"
                f"<body>{text}</body></message>"
            )
            await asyncio.sleep(_PAUSE)

    async def hear(person: LightMember) -> int:
        heard = set()
        try:
            while len(heard) < count * len(people):
                text = (await person.next_message()).findtext("{jabber:client}body", "")
                taken.append(time.perf_counter() - sent[text])
                heard.add(text)
        except TimeoutError:
            pass
        return count * len(people) - len(heard)

    async with asyncio.TaskGroup() as tasks:
        hearing = [tasks.create_task(hear(person)) for person in people]
        for person in people:
            tasks.create_task(say(person))
    return taken, sum(task.result() for task in hearing)


async def main(chosen: argparse.Namespace) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = await enter(TorNetwork(relays=8, template=default_template()))
        publisher = await enter(
            Tor.attach(network.service_socks, network.service_control)
        )
        people = []
        for name in NAMES:
            initialise(folder / name, lambda options: replace(options, stamp_bits=0))
            server = await enter(
                Server(folder / name, tor=publisher, prosody=chosen.prosody)
            )
            jid = await server.add_account(name, "pw")
            people.append(await enter(LightMember(jid, "pw", server.c2s_port)))
            people[-1].send("<presence/>")
        alice, bob, carol = people
        cold = [await deliver(alice, bob, "a"), await deliver(carol, bob, "b")]
        warm = [
            await deliver(alice, bob, f"warm-{number}")
            for number in range(min(50, chosen.messages))
        ]
        room = f"room@muc.{alice.jid.domain}"
        await alice.create(room, "alice")
        await alice.make_members(room, [str(bob.jid), str(carol.jid)])
        await bob.join(room, "bob")
        await carol.join(room, "carol")
        taken, lost = await talk(people, room, chosen.messages)
        print(f"Prosody {server.version}, load {os.getloadavg()[0]:.1f}")
    print(f"| first message, twice | {cold[0]:.2f}, {cold[1]:.2f} s |")
    print(
        f"| later, median and p95 | {statistics.median(warm):.3f}, "
        f"{statistics.quantiles(warm, n=20)[-1]:.3f} s |"
    )
    print(
        f"| room of three servers, {3 * chosen.messages} messages, to each: median and "
        f"p95 | {statistics.median(taken):.3f}, "
        f"{statistics.quantiles(taken, n=20)[-1]:.3f} s |"
    )
    print(f"| lost of {9 * chosen.messages} | {lost} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100, help="of each in the room")
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    asyncio.run(main(parser.parse_args()))
