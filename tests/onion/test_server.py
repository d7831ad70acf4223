"""A server on its onion: reached through Tor, by guests and after a restart."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, Client
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ClientAuthorizationError, DialError, ProsodyError
from xmpp_onion.server import Health, Server, State, initialise, keep, revoke_key
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Admission, Isolation, Purpose, Tor

pytestmark = pytest.mark.onion


async def read_greeting(client: Tor, onion: OnionAddress, port: int = 5222) -> bytes:
    """Open an XMPP stream through Tor, and return the server's first words."""
    loop = asyncio.get_running_loop()
    sock = await dial(client, onion, port)
    with sock:
        header = (
            "<stream:stream xmlns='jabber:client' version='1.0' "
            f"xmlns:stream='http://etherx.jabber.org/streams' to='{onion}'>"
        )
        await loop.sock_sendall(sock, header.encode())
        greeting = b""
        async with asyncio.timeout(60):
            while b"</stream:features>" not in greeting:
                data = await loop.sock_recv(sock, 4096)
                assert data, "the server hung up"
                greeting += data
    return greeting


async def dial(client: Tor, onion: OnionAddress, port: int) -> socket.socket:
    isolation = Isolation("guest", Purpose.CHECK)
    async with asyncio.timeout(120):
        while True:
            try:
                return await client.dial(onion, port, isolation=isolation)
            except DialError as error:
                # A descriptor may be known a moment after its upload.
                if not error.can_retry:
                    raise
                await asyncio.sleep(0.5)


async def test_a_server_is_reached_at_its_onion(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as client,
        Server(tmp_path / "server", tor=publisher) as server,
    ):
        greeting = await read_greeting(client, server.onion)
        invite = await server.invite("alice")

        await server.restart()
        greeting_after = await read_greeting(client, server.onion)

    assert f"from='{server.onion}'".encode() in greeting
    assert b"SCRAM-SHA-256" in greeting
    assert b"SCRAM-SHA-256" in greeting_after
    assert invite.onion == server.onion
    assert invite.cert_sha256 == server.certificate_fingerprint


async def test_an_onion_follows_prosody_to_other_ports(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as client,
        Server(tmp_path / "server", tor=publisher) as server,
    ):
        port = server.c2s_port
        await stop_prosody(server)
        thief = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
        async with thief:
            await server.restart()
            greeting = await read_greeting(client, server.onion)

    assert server.c2s_port != port
    assert b"SCRAM-SHA-256" in greeting


async def stop_prosody(server: Server) -> None:
    os.kill(server._prosody.pid, signal.SIGKILL)
    with pytest.raises(ProsodyError):
        await server.wait()


async def until(state: State, healths: AsyncIterator[Health]) -> Health:
    async with asyncio.timeout(120):
        async for health in healths:
            if health.state is state:
                return health
    raise AssertionError("the server was not kept running")


async def test_a_server_survives_the_death_of_prosody_and_of_tor(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    await tor_network.seed(tmp_path / "tor")
    async with (
        Tor.launch(tmp_path / "tor", extra=tor_network.torrc_lines) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as client,
        Server(tmp_path / "server", tor=publisher) as server,
    ):
        healths = keep(server, pause=0.2)
        first = await until(State.UP, healths)
        os.kill(server._prosody.pid, signal.SIGKILL)
        await until(State.MENDING, healths)
        second = await until(State.UP, healths)
        greeting = await read_greeting(client, server.onion)

        assert publisher._daemon.link.process
        publisher._daemon.link.process.kill()
        await until(State.UNREACHABLE, healths)
        await until(State.UP, healths)
        # Other servers are reached through the new one.
        async with asyncio.timeout(60):
            while server._prosody.options.socks != publisher.socks:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        await client.new_identity()  # forget the descriptor
        greeting_after = await read_greeting(client, server.onion)

        os.kill(server._prosody.pid, signal.SIGTERM)  # as `stop` does
        async with asyncio.timeout(60):
            assert [
                health async for health in healths if health.state is not State.UP
            ] == []

    assert first.load.version == second.load.version == server.version
    assert b"SCRAM-SHA-256" in greeting
    assert b"SCRAM-SHA-256" in greeting_after


async def test_who_has_a_key_comes_by_a_door_that_others_do_not_find(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    initialise(folder)
    place = Folder(folder, find_unprivileged_user())
    place.write_options(replace(place.read_options(), door=Door.BOTH))
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as guest,
        Tor.attach(tor_network.socks, tor_network.control) as stranger,
        Server(folder, tor=publisher) as server,
    ):
        invite = await server.invite("alice")
        assert invite.door is not None
        admission = Admission(*invite.door)
        by_name = await read_greeting(stranger, server.onion)
        guest.admit(server.onion, admission)
        certificate = await register(invite, "alice", "secret", tor=guest)

        # The key belongs to Tor, which these two share: so it is taken away again.
        control = await stranger._daemon.control()
        label = admission.address.removesuffix(".onion")
        await control.ask(f"ONION_CLIENT_AUTH_REMOVE {label}")
        await stranger.new_identity()
        with pytest.raises(ClientAuthorizationError):
            await dial(stranger, admission.address, 5222)

        # The public one is flooded away; alice does not even see it.
        assert server._doors is not None
        public, private = server._doors.services
        await public._delete(await publisher._daemon.control())
        await guest.new_identity()
        account = Account(
            profile="alice",
            folder=tmp_path / "data" / "alice",
            jid=JID(f"alice@{server.onion}"),
            password="secret",
            certificate=certificate,
            admission=admission,
        )
        account.save()
        async with Client(
            Account.load("alice", tmp_path / "data"), tor=guest, login_timeout=120
        ):
            pass  # logged in

        staying = await dial(guest, server.onion, 5222)
        revoke_key(folder, "alice")
        async with asyncio.timeout(120):
            with staying:
                # A Tor that reads a folder ends what is open; everybody else comes
                # back by themselves.
                assert private.tells_circuits
                assert await asyncio.get_running_loop().sock_recv(staying, 1) == b""
            while not await is_refused(guest, server.onion):  # noqa: ASYNC110 - no event
                await asyncio.sleep(1)

    assert admission.address != server.onion
    assert b"SCRAM-SHA-256" in by_name


async def is_refused(client: Tor, onion: OnionAddress) -> bool:
    await client.new_identity()
    try:
        isolation = Isolation("guest", Purpose.CHECK)
        (await client.dial(onion, 5222, isolation=isolation)).close()
    except ClientAuthorizationError:
        return True
    except DialError:
        pass  # between two descriptors
    return False
