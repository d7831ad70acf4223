"""A room of a hundred with two devices each: ours beside the bare libraries.

    python benchmarks/rooms.py [--members 100] [--rtt 0.5] [--seconds 60] [--only bare]

One person writes, with ``xmpp_onion.Client`` or with the bare libraries, and reaches
the server through a proxy that delays and counts. The others are bare streams
(``LightMember``) whose devices are python-omemo's own, and they decrypt everything.
All of it shares one machine with one Prosody. What the same costs the server is
measured by rooms_server.py.
Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from xml.etree import ElementTree as ET

import oldmemo.etree
import slixmpp
import twomemo.etree
from bare import BareClient
from roundtrips import Login, quiet

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Prosody
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.bare_account import BareAccount
from xmpp_onion.testing.fake_pep import FakePepServer
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.transport import Tor

DEVICES = 2
WARM = 30
RATE = 10  # messages a second
PATIENCE = 1800.0  # seconds; the bare libraries need many
_NEW, _OLD = "urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"
_FORMS = {_NEW: twomemo.etree, _OLD: oldmemo.etree}
_LISTS = {_NEW: f"{_NEW}:devices", _OLD: f"{_OLD}.devicelist"}
_CLIENT = "{jabber:client}"
_PUBSUB = "{http://jabber.org/protocol/pubsub}"
_ACCOUNTS_AT_ONCE = 8
PASSWORD = "pw"  # noqa: S105 - of accounts that live for minutes


class Writer(Protocol):
    """Who writes to the room, in either way."""

    async def say(self, text: str) -> None:
        """Encrypt for everybody and send."""


class Occupant:
    """Somebody who reads: a stream, and devices of the bare library.

    Args:
        member: The stream.
        pep: Where the library looks for lists and bundles; they are copies of what
            the real server has.
    """

    def __init__(self, member: LightMember, pep: FakePepServer) -> None:
        self.member = member
        self.devices = [BareAccount(member.jid, pep) for _ in range(DEVICES)]
        self._pep = pep

    async def publish(self) -> None:
        """Let the real server have what the library's devices published."""
        jid = self.member.jid
        for version, form in _FORMS.items():
            devices = self._pep.lists[version, jid]
            for number in devices:
                node, item = _bundle_place(version, number)
                element = form.serialize_bundle(self._pep.bundles[version, jid, number])
                await self.member.publish(
                    node, _text(element), item=item, max_items="max"
                )
            element = form.serialize_device_list(devices)
            await self.member.publish(_LISTS[version], _text(element))

    async def learn(self, jid: JID) -> None:
        """Copy an account's lists and bundles from the real server."""
        for version, form in _FORMS.items():
            [element] = await self._ask(jid, _LISTS[version])
            devices = form.parse_device_list(element)
            self._pep.put(jid, devices, [version])
            for number in devices:
                [element] = await self._ask(jid, *_bundle_place(version, number))
                bundle = form.parse_bundle(element, jid, number)
                self._pep.bundles[version, jid, number] = bundle

    async def _ask(self, jid: JID, node: str, item: str = "") -> list[ET.Element]:
        item = item and f"<item id='{item}'/>"
        answer = await self.member.ask(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            f"<items node='{node}'>{item}</items></pubsub>",
            to=jid,
        )
        return [child for found in answer.iter(f"{_PUBSUB}item") for child in found]

    async def read(self, sender: JID, text: str, *, all_devices: bool = True) -> float:
        """Return when the next message was decrypted, and that it is this one."""
        message = await self.member.next_message()
        [element] = [child for child in message if child.tag.endswith("}encrypted")]
        for device in self.devices if all_devices else self.devices[:1]:
            envelope = await device.read(element, sender)
            assert envelope is not None
            assert text in envelope.decode()
            self._answer(device, sender)
        return time.perf_counter()

    async def drop(self) -> None:
        """Take the next message without reading it."""
        await self.member.next_message()

    def _answer(self, device: BareAccount, sender: JID) -> None:
        """Send the messages without text that complete sessions."""
        while device.empties:
            keys = _text(device.empties.pop())
            self.member.send(
                f"<message type='chat' to='{sender}' id='{secrets.token_hex(8)}'>"
                f"{keys}<store xmlns='urn:xmpp:hints'/></message>"
            )


def _bundle_place(version: str, number: int) -> tuple[str, str]:
    """Return node and item of a bundle."""
    if version == _NEW:
        return f"{_NEW}:bundles", str(number)
    return f"{_OLD}.bundles:{number}", "current"


def _text(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


class _Ours:
    def __init__(self, client: Client, room: str) -> None:
        self._client = client
        self._room = room

    async def say(self, text: str) -> None:
        await self._client.send(self._room, text)


class _Bare:
    """The bare libraries in a room, whose members they are told."""

    def __init__(self, client: BareClient, room: str, members: Sequence[JID]) -> None:
        self._client = client
        self._room = room
        self._members = {slixmpp.JID(member) for member in members}

    async def say(self, text: str) -> None:
        message = self._client.make_message(
            mto=slixmpp.JID(self._room), mbody=text, mtype="groupchat"
        )
        message["id"] = self._client.new_id()
        omemo = cast("dict[str, object]", self._client.plugin)["xep_0384"]
        encrypt = cast("BareEncrypt", omemo)
        encrypted, errors = await encrypt.encrypt_message(message, self._members)
        assert encrypted is not None, errors
        encrypted.send()


class BareEncrypt(Protocol):
    """What is used of slixmpp-omemo."""

    async def encrypt_message(
        self, stanza: slixmpp.Message, to: set[slixmpp.JID]
    ) -> tuple[slixmpp.Message | None, object]:
        """Encrypt for all devices of all these."""
        ...


@asynccontextmanager
async def ours(login: Login, room: str, _: Sequence[JID]) -> AsyncIterator[Writer]:
    """Be in the room with xmpp_onion."""
    account = Account(
        profile="benchmark",
        folder=login.folder,
        jid=login.jid,
        password=login.password,
        trust=Trust.BTBV,
        certificate=login.server.certificate_fingerprint,
    )
    async with Tor.attach(login.socks) as tor, Client(account, tor=tor) as client:
        await client.join(room, "writer")
        yield _Ours(client, room)


@asynccontextmanager
async def bare(
    login: Login, room: str, members: Sequence[JID]
) -> AsyncIterator[Writer]:
    """Be in the room with the bare libraries."""
    client = BareClient(
        login.jid,
        login.password,
        proxy=login.socks,
        certificate=next(login.folder.parent.glob("server/prosody/certs/*.crt")),
        store=login.folder / "omemo.json",
    )
    try:
        await client.log_in()
        client.send_raw(
            f"<presence to='{room}/writer'><x xmlns='http://jabber.org/protocol/muc'>"
            "<history maxstanzas='0'/></x></presence>"
        )
        yield _Bare(client, room, members)
    finally:
        await client.leave()


WRITERS = {"bare": bare, "ours": ours}


@dataclass(frozen=True, slots=True)
class Place:
    """Where it happens."""

    server: Prosody
    proxy: ChaosProxy
    occupants: Sequence[Occupant]
    folder: Path
    room: str

    @property
    def jids(self) -> list[JID]:
        """Who reads."""
        return [one.member.jid for one in self.occupants]

    async def tell(self, writer: Writer, sender: JID) -> float:
        """Say something, and return the seconds until the last has decrypted it."""
        text = secrets.token_hex(8)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(writer.say(text))
            reading = [
                group.create_task(one.read(sender, text)) for one in self.occupants
            ]
        return max(task.result() for task in reading) - start


async def each(
    occupants: Sequence[Occupant], do: Callable[[Occupant], Awaitable[object]]
) -> None:
    """Do something for all, a few at once."""
    gate = asyncio.Semaphore(_ACCOUNTS_AT_ONCE)

    async def one(occupant: Occupant) -> None:
        async with gate:
            await do(occupant)

    async with asyncio.TaskGroup() as group:
        for occupant in occupants:
            group.create_task(one(occupant))


async def fill(server: Prosody, stack: AsyncExitStack, count: int) -> list[Occupant]:
    """Make so many occupants in a new room, their keys published."""
    pep = FakePepServer()
    room = f"room@muc.{server.onion}"
    occupants = []
    for number in range(count):
        jid = await server.add_account(f"member{number}", PASSWORD)
        member = LightMember(jid, PASSWORD, server.c2s_port, patience=PATIENCE)
        occupants.append(Occupant(await stack.enter_async_context(member), pep))
    for occupant in occupants:
        for device in occupant.devices:
            await stack.enter_async_context(device)
    await each(occupants, lambda one: one.publish())
    owner = occupants[0].member
    await owner.create(room, "member0")
    await owner.make_members(room, [str(one.member.jid) for one in occupants[1:]])
    for number, occupant in enumerate(occupants[1:], start=1):
        await occupant.member.join(room, f"member{number}")
    return occupants


async def run(name: str, place: Place, rtt: float, seconds: float) -> None:
    """Measure one contestant and print its rows."""
    proxy = place.proxy
    jid = await place.server.add_account(name, PASSWORD)
    await place.occupants[0].member.make_members(place.room, [str(jid)])
    home = place.folder / name
    home.mkdir(mode=0o700)
    login = Login(jid, PASSWORD, proxy.socks, place.server, home)
    proxy.rtt = rtt
    before, start = proxy.round_trips, time.perf_counter()
    async with WRITERS[name](login, place.room, place.jids) as writer:
        took, trips = time.perf_counter() - start, proxy.round_trips - before
        print(f"| {name} | log in and join | {took:.1f} s | {trips} |", flush=True)
        await quiet(proxy)
        await place.occupants[0].learn(jid)
        before, up = proxy.round_trips, proxy.bytes_up
        took = await place.tell(writer, jid)
        trips, up = proxy.flights - before, proxy.bytes_up - up
        print(
            f"| {name} | first message | {took:.1f} s, {up / 1e3:.0f} kB up | {trips} |"
        )
        await quiet(proxy)
        before, up = proxy.round_trips, proxy.bytes_up
        times = [await place.tell(writer, jid) for _ in range(WARM)]
        up = (proxy.bytes_up - up) // WARM
        middle, high = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        print(
            f"| {name} | later, median and p95 | {middle:.2f} s, {high:.2f} s, "
            f"{up / 1e3:.0f} kB up | {(proxy.flights - before) / WARM:.1f} |",
            flush=True,
        )
        if seconds:
            await stream(place, writer, jid, seconds)


async def stream(place: Place, writer: Writer, jid: JID, seconds: float) -> None:
    """Say ten a second; three members decrypt, the others take it."""
    count = int(seconds * RATE)
    texts = [secrets.token_hex(8) for _ in range(count)]
    sent: list[float] = []
    readers = [place.occupants[index] for index in (0, len(place.jids) // 2, -1)]

    async def read(occupant: Occupant) -> list[float]:
        return [await occupant.read(jid, text, all_devices=False) for text in texts]

    async def drop(occupant: Occupant) -> None:
        for _ in texts:
            await occupant.drop()

    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(read(one)) for one in readers]
        for one in place.occupants:
            if one not in readers:
                group.create_task(drop(one))
        start = time.perf_counter()
        for number, text in enumerate(texts):
            await asyncio.sleep(max(0, start + number / RATE - time.perf_counter()))
            sent.append(start + number / RATE)
            group.create_task(writer.say(text))
    late = [
        max(arrivals) - begun
        for begun, *arrivals in zip(
            sent, *(task.result() for task in reading), strict=True
        )
    ]
    quarter = count // 4
    print(
        f"| {jid.local} | {RATE} a second for {seconds:.0f} s: median of the first "
        f"quarter, of the last | {statistics.median(late[:quarter]):.2f} s, "
        f"{statistics.median(late[-quarter:]):.2f} s | |",
        flush=True,
    )


async def main(chosen: argparse.Namespace) -> None:
    """Measure the chosen contestants in one room."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(
            Prosody(folder / "server", program=chosen.prosody)
        )
        routes = {str(server.onion): server.c2s_port}
        proxy = await stack.enter_async_context(ChaosProxy(routes=routes))
        start = time.perf_counter()
        occupants = await fill(server, stack, chosen.members)
        print(
            f"Prosody {server.version}, {chosen.members} members, {DEVICES} devices, "
            f"RTT {chosen.rtt} s; filled in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        room = f"room@muc.{server.onion}"
        place = Place(server, proxy, occupants, folder, room)
        for name in [chosen.only] if chosen.only else list(WRITERS):
            await run(name, place, chosen.rtt, chosen.seconds if name == "ours" else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--rtt", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=60, help="of ten a second")
    parser.add_argument("--only", choices=WRITERS)
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    asyncio.run(main(parser.parse_args()))
