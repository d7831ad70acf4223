"""An introduction that somebody of another server uses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.client.taken import all_taken
from xmpp_onion import JID, Account, Client
from xmpp_onion.server import (
    Options,
    Prosody,
    create_introduction,
    initialise,
    list_invites,
    revoke_invite,
)
from xmpp_onion.server.console import ask
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.socks_hub import SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

PATIENCE = 120.0
# For the server it is two hours later from now on; a stamp of another day is none.
LATER = """
local now = os.time
os.time = function (when) return when and now(when) or now() + 2 * 3600 end
return ""
"""


@dataclass(frozen=True, slots=True)
class Town:
    """Servers that reach each other through one proxy, and their people."""

    stack: AsyncExitStack
    folder: Path
    hub: SocksHub
    program: str

    async def server(self, name: str) -> Prosody:
        """Open a server that federates, with the usual price for strangers."""
        place = self.folder / name

        def reach_others(options: Options) -> Options:
            return replace(options, socks=Endpoint("127.0.0.1", self.hub.port))

        initialise(place, reach_others)
        server = Prosody(place, program=self.program)
        await self.stack.enter_async_context(server)
        self.hub.routes[str(server.onion)] = server.options.ports.s2s
        return server

    async def person(self, server: Prosody, name: str) -> Client:
        """Return somebody who is logged in."""
        account = Account(
            profile=name,
            folder=self.folder / f"of-{name}",
            jid=await server.add_account(name, f"secret of {name}"),
            password=f"secret of {name}",
            certificate=server.certificate_fingerprint,
        )
        account.save()
        client = Client(account, tor=LoopbackDialer(server.c2s_port))
        return await self.stack.enter_async_context(client)


@pytest.fixture
async def town(tmp_path: Path, prosody_program: str) -> AsyncIterator[Town]:
    async with SocksHub() as hub, AsyncExitStack() as stack:
        yield Town(stack, tmp_path, hub, prosody_program)


async def until_both(client: Client, jid: JID) -> None:
    """Return once somebody is a contact who sees us and is seen."""
    async with asyncio.timeout(PATIENCE):
        while True:
            contacts = {each.jid: each.subscription for each in await client.contacts()}
            if contacts.get(jid) == "both":
                return
            await asyncio.sleep(0.05)


async def until_asked_by(client: Client, *people: JID) -> None:
    """Return once these and no others wait for an answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await all_taken(client)
            waiting = (await client.requests()).waiting
            if {each.sender for each in waiting} == set(people):
                return
            await asyncio.sleep(0.05)


async def test_two_people_of_two_servers_are_contacts_and_talk_at_once(
    town: Town,
) -> None:
    ours, theirs = await town.server("ours"), await town.server("theirs")
    alice = await town.person(ours, "alice")
    bob = await town.person(theirs, "bob")
    introduction = await create_introduction(ours.folder.path, "alice")

    await bob.add_contact(introduction, PATIENCE)
    await until_both(bob, alice.jid)
    await until_both(alice, bob.jid)
    await bob.send(alice.jid, "hello")
    async with asyncio.timeout(PATIENCE):
        first = await anext(alice.messages())
        await first.reply("welcome")
        second = await anext(bob.messages())

    assert (first.sender, first.text) == (bob.jid, "hello")
    assert (second.sender, second.text) == (alice.jid, "welcome")
    assert (await alice.requests()).waiting == ()
    assert await list_invites(ours.folder.path) == ()


async def test_of_those_who_use_one_at_once_one_is_a_contact(town: Town) -> None:
    ours = await town.server("ours")
    alice = await town.person(ours, "alice")
    others = [await town.server("second"), await town.server("third")]
    guests = [
        await town.person(server, name)
        for server, name in zip((*others, *others), ("b", "c", "d", "e"), strict=True)
    ]
    introduction = await create_introduction(ours.folder.path, "alice")

    async with asyncio.TaskGroup() as tasks:
        for guest in guests:
            tasks.create_task(guest.add_contact(introduction, PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while len((await alice.requests()).waiting) < len(guests) - 1:
            await all_taken(alice)
            await asyncio.sleep(0.05)

    contacts = {each.jid for each in await alice.contacts()}
    asking = {each.sender for each in (await alice.requests()).waiting}
    everybody = {guest.jid for guest in guests}
    assert len(contacts & everybody) == 1
    assert asking == everybody - contacts


@pytest.mark.parametrize("end", ["expired", "revoked"])
async def test_one_that_ended_is_a_request_like_any_other(town: Town, end: str) -> None:
    ours, theirs = await town.server("ours"), await town.server("theirs")
    alice = await town.person(ours, "alice")
    bob = await town.person(theirs, "bob")
    introduction = await create_introduction(
        ours.folder.path, "alice", lifetime=timedelta(hours=1)
    )
    if end == "expired":
        await ask(ours.data, LATER)
    else:
        (invite,) = await list_invites(ours.folder.path)
        await revoke_invite(ours.folder.path, invite.name)

    await bob.add_contact(introduction, PATIENCE)

    await until_asked_by(alice, bob.jid)
    assert bob.jid not in {each.jid for each in await alice.contacts()}
