"""Three servers on three onions: what their people say to each other arrives once."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from xmpp_onion import JID, Account, Client, Message, Trust
from xmpp_onion.server import Server, initialise
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Federation
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.onion

NAMES = ("alice", "bob", "carol")
# Seconds until something that does not come is an error.
PATIENCE = 120


class Person:
    """Somebody on a server of their own, and what they are told, each message once."""

    def __init__(self, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.jid = client.jid
        self._messages = client.messages()

    async def hears(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await anext(self._messages)


async def open_server(stack: AsyncExitStack, folder: Path, publisher: Tor) -> Server:
    initialise(folder)
    place = Folder(folder, find_unprivileged_user())
    place.write_options(replace(place.read_options(), federation=Federation.OPEN))
    return await stack.enter_async_context(Server(folder, tor=publisher))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(
    tor_network: TorNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Person]]:
    """Alice, bob and carol, each on a server of their own."""
    folder = tmp_path_factory.mktemp("people")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        publisher = await enter(
            Tor.attach(tor_network.service_socks, tor_network.service_control)
        )
        tor = await enter(Tor.attach(tor_network.socks, tor_network.control))
        found = []
        for name in NAMES:
            server = await open_server(stack, folder / f"server-{name}", publisher)
            account = await make_account(name, folder, server, tor)
            found.append(Person(server, await enter(Client(account, tor=tor))))
        yield found


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


async def test_encrypted_messages_go_between_servers(people: list[Person]) -> None:
    alice, bob, carol = people

    await alice.client.send(bob.jid, "from alice")
    first = await bob.hears()
    await first.reply("from bob")
    second = await alice.hears()
    await alice.client.send(bob.jid, "again")
    await bob.hears()
    await bob.client.send(carol.jid, "from bob to carol")
    third = await carol.hears()

    assert (first.sender, first.text) == (alice.jid, "from alice")
    assert (second.sender, second.text) == (bob.jid, "from bob")
    assert (third.sender, third.text) == (bob.jid, "from bob to carol")


async def test_a_room_has_members_of_three_servers(people: list[Person]) -> None:
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

    assert (delivery.devices, delivery.skipped) == (2, ())
    assert (answer.devices, answer.skipped) == (2, ())
    assert {(one.sender, one.text) for one in first} == {(alice.jid, "welcome")}
    assert {(one.sender, one.text) for one in second} == {(bob.jid, "thank you")}


async def test_what_is_sent_while_a_server_restarts_arrives_once(
    people: list[Person],
) -> None:
    alice, bob, _ = people
    await alice.client.send(bob.jid, "before")
    assert (await bob.hears()).text == "before"

    os.kill(bob.server._prosody.pid, signal.SIGKILL)
    await alice.client.send(bob.jid, "meanwhile")
    await bob.server.restart()
    await alice.client.send(bob.jid, "after")

    assert [(await bob.hears()).text for _ in range(2)] == ["meanwhile", "after"]
