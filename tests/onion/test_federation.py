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
from imposter import Mallory, Stream, attribute

from xmpp_onion import JID, Account, Client, Message, Trust
from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Server, initialise
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Federation
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.ports import free_ports
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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mallory(
    tor_network: TorNetwork, people: list[Person]
) -> AsyncIterator[Mallory]:
    """Somebody with an onion, who has it in for alice's server."""
    (port,) = free_ports(1)
    onion = await tor_network.add_onion({5269: port})
    async with Tor.attach(tor_network.socks, tor_network.control) as tor:
        found = Mallory(onion, people[0].server.onion, tor)
        async with await asyncio.start_server(found.serve, "127.0.0.1", port):
            yield found


async def told_nothing(person: Person, sender: Person, canary: str) -> None:
    """Return if nothing of an imposter came in: the next thing heard is true."""
    await sender.client.send(person.jid, f"true, not {canary}")
    assert (await person.hears()).text == f"true, not {canary}"
    folder = person.server._prosody.folder.path
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if canary.encode() in path.read_bytes()]


def false_message(sender: str, to: str, canary: str) -> str:
    return f"<message from='{sender}' to='{to}' id='f'><body>{canary}</body></message>"


async def test_a_name_and_a_certificate_are_no_proof(
    people: list[Person], mallory: Mallory
) -> None:
    alice, bob, _ = people
    name, victim = bob.server.onion, alice.server.onion

    stream = await Stream.dial(mallory.tor, victim, name, says=name)
    stream.claim(name, victim)
    answer = await stream.hears("<db:result")
    stream.send(false_message(bob.jid, alice.jid, "canary-certificate"))

    assert attribute(answer, "type") == "invalid"
    await told_nothing(alice, bob, "canary-certificate")
    stream.close()


async def test_who_has_an_onion_cannot_speak_for_another(
    people: list[Person], mallory: Mallory
) -> None:
    alice, bob, _ = people
    victim, own = alice.server.onion, mallory.onion

    claiming = await Stream.dial(mallory.tor, victim, own, says=own)
    claiming.claim(bob.server.onion, victim)
    refused = await claiming.ends()
    stream = await Stream.dial(mallory.tor, victim, own, says=own)
    stream.claim(own, victim)
    answer = await stream.hears("<db:result")
    stream.send(false_message(bob.jid, alice.jid, "canary-sender"))
    await stream.ends()

    assert "Use one stream for each onion" in refused
    assert attribute(answer, "type") == "valid"
    await told_nothing(alice, bob, "canary-sender")


async def test_an_answer_about_another_server_counts_for_nothing(
    people: list[Person], mallory: Mallory
) -> None:
    alice, bob, _ = people
    victim, own = alice.server.onion, mallory.onion
    away = OnionAddress.from_public_key(bytes([9] * 32))  # dialed for half a minute

    waiting = await Stream.dial(mallory.tor, victim, away, says=away)
    about = waiting.stream_id
    waiting.claim(away, victim)
    mallory.forge = (
        f"<db:verify from='{away}' to='{victim}' id='{about}' type='valid'/>"
    )
    stream = await Stream.dial(mallory.tor, victim, own, says=own)
    stream.claim(own, victim)
    assert attribute(await stream.hears("<db:result"), "type") == "valid"
    mallory.forge = ""
    waiting.send(false_message(f"x@{away}", alice.jid, "canary-answer"))

    assert "type='valid'" not in await waiting.ends()
    await told_nothing(alice, bob, "canary-answer")
    stream.close()


async def test_who_relays_a_key_does_not_become_its_owner(
    people: list[Person], mallory: Mallory
) -> None:
    alice, bob, _ = people
    name, target = alice.server.onion, bob.server.onion
    stream = await Stream.dial(mallory.tor, target, name, says=name)
    mallory.stream_id = stream.stream_id  # it goes into the key
    mallory.hang_up()
    jid = await alice.server.add_account("writer", "pw")
    async with LightMember(jid, "pw", alice.server.c2s_port) as writer:
        writer.send(
            false_message("", f"x@{mallory.onion}", "hello").replace(" from=''", "")
        )
        async with asyncio.timeout(PATIENCE):
            key = await mallory.keys.get()

        stream.claim(name, target, key)
        answer = await stream.hears("<db:result")
        stream.send(false_message(alice.jid, bob.jid, "canary-relay"))

    assert attribute(answer, "type") == "invalid"
    await told_nothing(bob, alice, "canary-relay")
    stream.close()
