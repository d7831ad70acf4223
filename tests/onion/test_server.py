"""A server on its onion: reached through Tor, by guests and after a restart."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import DialError, ProsodyError
from xmpp_onion.server import Health, Server, State, keep
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Isolation, Purpose, Tor

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

        assert publisher._link
        assert publisher._link.process
        publisher._link.process.kill()
        await until(State.UNREACHABLE, healths)
        await until(State.UP, healths)
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
