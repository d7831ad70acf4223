"""A room of three, and files, through Tor to a real server on its onion."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import pytest_asyncio

from xmpp_onion import JID, Account, Attachment, Client, Message, Trust
from xmpp_onion.errors import ControlPortError
from xmpp_onion.files import CHUNK_BYTES
from xmpp_onion.server import Server
from xmpp_onion.session import register
from xmpp_onion.sharing import SINGLE_BYTES
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.onion

NAMES = ("alice", "bob", "carol")
# Seconds until something that does not come is an error.
PATIENCE = 60
CHUNKED = SINGLE_BYTES + CHUNK_BYTES + 12_345


class Person:
    """Somebody who is logged in, and what they are told, each message once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.jid = client.jid
        self._messages = client.messages()

    async def hears(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await anext(self._messages)

    async def gets(self) -> Attachment:
        attachment = (await self.hears()).attachment
        assert attachment is not None
        return attachment


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(
    tor_network: TorNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Person]]:
    """Alice, bob and carol, logged in through Tor."""
    folder = tmp_path_factory.mktemp("people")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        publisher = await enter(
            Tor.attach(tor_network.service_socks, tor_network.service_control)
        )
        server = await enter(Server(folder / "server", tor=publisher))
        tor = await enter(Tor.attach(tor_network.socks, tor_network.control))
        accounts = [await make_account(name, folder, server, tor) for name in NAMES]
        yield [Person(await enter(Client(one, tor=tor))) for one in accounts]


async def make_account(name: str, folder: Path, server: Server, tor: Tor) -> Account:
    password = secrets.token_urlsafe()
    invite = await server.invite(name)
    return Account(
        profile=name,
        folder=folder / name,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=await register(invite, name, password, tor=tor),
    )


async def test_three_talk_in_a_room_behind_an_onion(people: list[Person]) -> None:
    alice, bob, carol = people
    address = f"friends@muc.{alice.jid.domain}"
    room = await alice.client.create_room(address)
    for guest in (bob, carol):
        await room.invite(guest.jid)
        await guest.client.join(address)

    delivery = await room.send("welcome")
    first = [await guest.hears() for guest in (bob, carol)]
    answer = await first[0].reply("thank you")
    second = [await other.hears() for other in (alice, carol)]

    assert set(await room.members()) == {alice.jid, bob.jid, carol.jid}
    assert (delivery.devices, delivery.skipped) == (2, ())
    assert (answer.devices, answer.skipped) == (2, ())
    assert {(one.sender, one.text) for one in first} == {(alice.jid, "welcome")}
    assert {(one.sender, one.text) for one in second} == {(bob.jid, "thank you")}
    assert {one.room for one in first + second} == {address}


async def test_a_file_goes_through_an_onion_and_arrives_as_it_was(
    people: list[Person], tmp_path: Path
) -> None:
    alice, bob, _ = people
    source = tmp_path / "photo.jpg"
    source.write_bytes(secrets.token_bytes(300_001))

    await alice.client.send_file(bob.jid, source)
    saved = await (await bob.gets()).save(tmp_path)

    assert saved.read_bytes() == source.read_bytes()


async def test_a_file_in_chunks_survives_the_death_of_every_circuit_both_ways(
    people: list[Person], tor_network: TorNetwork, tmp_path: Path
) -> None:
    alice, bob, _ = people
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(CHUNKED))

    async with Cut(tor_network, CHUNKED // 3) as up:
        await alice.client.send_file(bob.jid, source, up.watch)
    attachment = await bob.gets()
    async with Cut(tor_network, CHUNKED // 3) as down:
        saved = await attachment.save(tmp_path, down.watch)

    assert attachment.url.startswith("aesgcm+chunks:")
    assert saved.read_bytes() == source.read_bytes()
    assert up.closed > 0
    assert down.closed > 0


class Cut:
    """Closes every circuit of the client to an onion when so much is done."""

    def __init__(self, network: TorNetwork, at: int) -> None:
        self._network = network
        self._at = at
        self._reached = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self.closed = 0

    def watch(self, done: int, total: int) -> None:
        if self._at <= done < total:
            self._reached.set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._close())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._reached.is_set():
            self._task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def _close(self) -> None:
        await self._reached.wait()
        async with Tor.attach(self._network.socks, self._network.control) as tor:
            control = await tor._daemon.control()
            for line in "\n".join(
                await control.ask("GETINFO circuit-status")
            ).splitlines():
                if "PURPOSE=HS_CLIENT_REND" not in line:
                    continue
                with suppress(ControlPortError):  # it has closed by itself
                    await control.ask(f"CLOSECIRCUIT {line.split()[0]}")
                    self.closed += 1
