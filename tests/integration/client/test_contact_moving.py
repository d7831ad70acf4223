"""Somebody of another server moves with it, and a contact goes on there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.client.test_moving import (
    become_contacts,
    enrol,
    learn_of_move,
    next_message,
)
from xmpp_onion import Account, Client, Event, Moved, TrustLevel, moving
from xmpp_onion.server import Prosody, initialise, rotate
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.socks_hub import SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody


async def until_moved(events: AsyncIterator[Event]) -> Moved:
    async with asyncio.timeout(60):
        while True:
            event = await anext(events)
            if isinstance(event, Moved):
                return event


async def start(
    stack: AsyncExitStack, folder: Path, hub: SocksHub, program: str
) -> Prosody:
    """Start a server that others reach through the hub, under all its names."""
    initialise(folder)
    place = Folder(folder, find_unprivileged_user())
    options = replace(place.read_options(), socks=Endpoint("127.0.0.1", hub.port))
    place.write_options(options)
    server = await stack.enter_async_context(Prosody(folder, program=program))
    for name in (server.onion, *(each.onion for each in server.options.former)):
        hub.routes[str(name)] = server.options.ports.s2s
    return server


async def test_a_contact_is_kept_with_the_keys_that_were_known(
    prosody_program: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(SocksHub())
        here = await start(stack, tmp_path / "here", hub, prosody_program)
        at_here = LoopbackDialer(here.c2s_port)
        alice = await enrol(here, "alice", tmp_path)
        async with AsyncExitStack() as first:
            there = await start(first, tmp_path / "there", hub, prosody_program)
            bob = await enrol(there, "bob", tmp_path)
            async with (
                Client(alice, tor=at_here) as at_alice,
                Client(bob, tor=LoopbackDialer(there.c2s_port)) as at_bob,
            ):
                await become_contacts(at_alice, at_bob)
                heard = at_bob.events()
                [device] = await at_alice.devices(bob.jid)
                await at_alice.verify(bob.jid, device.fingerprint)
                await at_alice.send(bob.jid, "hello")
                assert (await next_message(heard)).text == "hello"
        rotated = await rotate(tmp_path / "there")
        there = await start(stack, tmp_path / "there", hub, prosody_program)
        at_there = LoopbackDialer(there.c2s_port)
        bob = Account.load("bob", tmp_path)
        bob = await moving.follow(bob, await learn_of_move(bob, at_there))

        alice = Account.load("alice", tmp_path)
        old = f"bob@{rotated.old}"
        async with Client(alice, tor=at_here) as at_alice:
            events = at_alice.events()
            moved = await until_moved(events)  # nobody wrote: a login is enough
            assert (moved.sender, moved.new, moved.own) == (old, rotated.new, False)

        move = await moving.known_contact_move(alice, moved.sender)
        assert move is not None
        alice = await moving.follow_contact(alice, moved.sender, move)
        async with (
            Client(alice, tor=at_here) as at_alice,
            Client(bob, tor=at_there) as at_bob,
        ):
            await at_alice.add_contact(bob.jid)
            await at_alice.remove_contact(old)
            heard = at_bob.events()
            [known] = await at_alice.devices(bob.jid)
            assert (known.fingerprint, known.trust) == (
                device.fingerprint,
                TrustLevel.TRUSTED,
            )
            await at_alice.send(bob.jid, "under the new name")
            async with asyncio.timeout(60):
                while (said := await next_message(heard)).text == "hello":
                    pass
            assert said.text == "under the new name"
            assert said.sender == alice.jid
            contacts = {each.jid: each for each in await at_alice.contacts()}
            assert set(contacts) == {bob.jid}
            assert contacts[bob.jid].is_seen
