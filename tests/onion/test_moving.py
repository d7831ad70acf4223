"""A server that moved, through Tor: the old onion tells where it is, and people go."""

import asyncio
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, Client, Message, moving
from xmpp_onion.errors import DialError, MovedError
from xmpp_onion.server import Server, rotate
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.onion


async def enrol(server: Server, client: Tor, name: str, folder: Path) -> Account:
    invite = await server.invite(name)
    async with asyncio.timeout(120):
        while True:
            try:
                certificate = await register(invite, name, "secret", tor=client)
                break
            except DialError as error:  # its descriptor is known in a moment
                if not error.can_retry:
                    raise
                await asyncio.sleep(0.5)
    account = Account(
        profile=name,
        folder=folder / name,
        jid=JID(f"{name}@{server.onion}"),
        password="secret",
        certificate=certificate,
    )
    account.save()
    return account


async def hear(client: Client, text: str) -> Message:
    """Return the message that says ``text``; what came before may come again."""
    async with asyncio.timeout(120):
        async for message in client.messages():
            if message.text == text:
                return message
    raise AssertionError("nothing came")


async def test_people_follow_a_server_through_its_old_onion(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as tor,
    ):
        async with Server(folder, tor=publisher) as server:
            accounts = [
                await enrol(server, tor, name, tmp_path) for name in ("alice", "bob")
            ]
            async with (
                Client(accounts[0], tor=tor) as alice,
                Client(accounts[1], tor=tor) as bob,
            ):
                prints = alice.fingerprint, bob.fingerprint
                await alice.send(bob.jid, "before")
                await hear(bob, "before")
            old = server.onion

        rotated = await rotate(folder)
        followed = []
        async with Server(folder, tor=publisher) as server:
            for account in [Account.load(one.profile, tmp_path) for one in accounts]:
                with pytest.raises(MovedError) as caught:
                    async with Client(account, tor=tor):
                        pass
                assert (caught.value.old, caught.value.new) == (old, server.onion)
                move = await moving.known_move(account)
                assert move is not None
                followed.append(await moving.follow(account, move))
            async with (
                Client(followed[0], tor=tor) as alice,
                Client(followed[1], tor=tor) as bob,
            ):
                assert (alice.fingerprint, bob.fingerprint) == prints
                await alice.send(bob.jid, "after")
                assert (await hear(bob, "after")).sender == alice.jid

    assert server.onion == rotated.new != old
