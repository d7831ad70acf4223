"""An hour in which two servers cannot reach each other, by a clock of their own."""

import asyncio
import collections
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import Manner, SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

MESSAGE = "{jabber:client}message"
MINUTES = 60
STEP_SECONDS = (
    10  # shorter than each wait of mod_s2s_onion, so that none is jumped over
)


def find_libfaketime() -> Path:
    """Return what stands between a program and the clock."""
    for path in Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"):
        return path
    raise FileNotFoundError("install faketime")


class Clock:
    """The time of programs that are started through `program`: all of their clocks."""

    def __init__(self, folder: Path, program: str) -> None:
        self.program = folder / "prosody"
        self._file = folder / "time"
        self._seconds = 0
        self._set()
        self.program.write_text(
            "#!/bin/sh\n"
            f"export LD_PRELOAD={find_libfaketime()} FAKETIME_NO_CACHE=1\n"
            f"export FAKETIME_TIMESTAMP_FILE={self._file} NO_FAKE_STAT=1\n"
            f'exec {shutil.which(program)} "$@"\n'
        )
        self.program.chmod(0o755)

    async def advance(self, seconds: int, servers: Sequence[Prosody]) -> None:
        """Let time pass, and everybody notice it."""
        self._seconds += seconds
        self._set()
        for server in servers:
            await ask(server.data, 'return ""')  # it looks at the clock when it wakes

    def _set(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"+{self._seconds}\n")
        new.chmod(0o644)
        new.replace(self._file)


@dataclass
class Place:
    """A server, somebody who is logged in there, and what they got."""

    server: Prosody
    person: LightMember
    heard: collections.Counter[str]
    bounced: dict[str, str]

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, folder: Path, hub: SocksHub, clock: Clock
    ) -> Self:
        socks = Endpoint("127.0.0.1", hub.port)
        initialise(folder, lambda options: replace(options, socks=socks, stamp_bits=0))
        server = Prosody(folder, program=str(clock.program))
        await stack.enter_async_context(server)
        hub.routes[str(server.onion)] = server.options.ports.s2s
        jid = await server.add_account(folder.name, "pw")
        person = LightMember(jid, "pw", server.c2s_port)
        await stack.enter_async_context(person)
        person.send("<presence/>")
        return cls(server, person, collections.Counter(), {})

    @property
    def jid(self) -> str:
        return str(self.person.jid)

    @property
    def unconfirmed(self) -> bytes:
        return (self.server.data / "s2s_onion.waiting").read_bytes()

    def say(self, to: str, text: str) -> None:
        self.person.send(
            f"<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>"
        )

    async def follow(self) -> None:
        """Note what comes, for ever."""
        while True:
            message = await self.person.next(lambda stanza: stanza.tag == MESSAGE)
            error = message.find("{jabber:client}error")
            if error is None:
                self.heard[message.findtext("{jabber:client}body", "")] += 1
            else:
                self.bounced[message.get("id", "")] = _condition(error)


def _condition(error: ET.Element) -> str:
    return error[0].tag.partition("}")[2]


@pytest.fixture
def clock(prosody_program: str) -> Iterator[Clock]:
    # Prosody's user has to get at it, which pytest's folder does not allow.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Clock(folder, prosody_program)


async def test_in_an_hours_partition_each_message_arrives_once_or_is_bounced(
    tmp_path: Path, clock: Clock
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(SocksHub())
        alice = await Place.open(stack, tmp_path / "alice", hub, clock)
        bob = await Place.open(stack, tmp_path / "bob", hub, clock)
        servers = (alice.server, bob.server)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        following = [tasks.create_task(place.follow()) for place in (alice, bob)]
        alice.say(bob.jid, "before")
        bob.say(alice.jid, "before")
        await until(lambda: alice.heard["before"] and bob.heard["before"])
        # Confirmed: else nobody could know whether it has arrived.
        await until(lambda: not alice.unconfirmed and not bob.unconfirmed)

        # Tor finds the other one no more: it is silent at first, and says so later.
        hub.manners = dict.fromkeys(hub.routes, Manner(None))
        hub.hold()
        for minute in range(MINUTES):
            if minute == MINUTES // 2:
                hub.manners = dict.fromkeys(hub.routes, Manner.refusal(0xF2))
            for place, other in ((alice, bob), (bob, alice)):
                place.say(other.jid, str(minute))
            for _ in range(60 // STEP_SECONDS):
                await clock.advance(STEP_SECONDS, servers)
        said = {str(minute) for minute in range(MINUTES)}
        async with asyncio.timeout(120):
            while said - alice.bounced.keys() or said - bob.bounced.keys():
                await clock.advance(STEP_SECONDS, servers)
                await asyncio.sleep(0.05)

        asked = len(hub.asked)
        alice.say(bob.jid, "at-the-end")
        bob.say(alice.jid, "at-the-end")
        await hub.has_asked(asked + 2)
        hub.manners.clear()
        hub.let_go()
        async with asyncio.timeout(120):
            while not (alice.heard["at-the-end"] and bob.heard["at-the-end"]):
                await clock.advance(1, servers)
                await asyncio.sleep(1)  # time is as long as for everybody again
        for place, other in ((alice, bob), (bob, alice)):
            place.say(other.jid, "after")
        await until(lambda: alice.heard["after"] and bob.heard["after"])

        for task in following:
            task.cancel()
    for place in (alice, bob):
        assert place.bounced == dict.fromkeys(said, "remote-server-timeout")
        assert place.heard == {"before": 1, "at-the-end": 1, "after": 1}


async def until(condition: Callable[[], object]) -> None:
    """Return when something is true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
