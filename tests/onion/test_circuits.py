"""Who asks too much of a server loses the circuit, on a private Tor network."""

import asyncio
import socket
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import DialError
from xmpp_onion.server import Server
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Isolation, Purpose, Tor

pytestmark = pytest.mark.onion

PATIENCE = 120.0


async def come(client: Tor, onion: OnionAddress, who: str) -> socket.socket:
    """Open a stream of XMPP; one name is one circuit."""
    loop = asyncio.get_running_loop()
    isolation = Isolation(who, Purpose.CHECK)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                sock = await client.dial(onion, 5222, isolation=isolation)
            except DialError as error:
                # A descriptor may be known a moment after its upload.
                if not error.can_retry:
                    raise
                await asyncio.sleep(0.5)
                continue
            break
    header = (
        "<stream:stream xmlns='jabber:client' version='1.0' "
        f"xmlns:stream='http://etherx.jabber.org/streams' to='{onion}'>"
    )
    try:
        await loop.sock_sendall(sock, header.encode())
        await hear(sock, b"</stream:features>")
    except BaseException:
        sock.close()
        raise
    return sock


async def hear(sock: socket.socket, wanted: bytes) -> None:
    loop = asyncio.get_running_loop()
    heard = b""
    async with asyncio.timeout(PATIENCE):
        while wanted not in heard:
            data = await loop.sock_recv(sock, 4096)
            assert data, "the server hung up"
            heard += data


async def ended(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        while await loop.sock_recv(sock, 4096):
            pass


async def guests_circuits(tor: Tor, onion: OnionAddress) -> set[str]:
    """Return the numbers of the circuits that end at a service of this Tor."""
    control = await tor._daemon.control()
    answer = await control.ask("GETINFO circuit-status")
    return {
        line.split()[0]
        for text in answer
        for line in text.splitlines()
        if "PURPOSE=HS_SERVICE_REND" in line
        and f"REND_QUERY={onion.removesuffix('.onion')}" in line
        and " BUILT " in line
    }


async def test_an_abusive_circuit_is_closed_and_no_other(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as client,
        Server(tmp_path / "server", tor=publisher) as server,
    ):
        assert server.tells_circuits
        honest = await come(client, server.onion, "honest")
        mallory = [await come(client, server.onion, "mallory") for _ in range(8)]
        circuits = await guests_circuits(publisher, server.onion)
        assert len(circuits) == 2

        control = await publisher._daemon.control()
        async with control.events("CIRC") as events:
            await come_and_be_cut(client, server.onion)
            for sock in mallory:
                await ended(sock)
                sock.close()
            async with asyncio.timeout(PATIENCE):
                while len(await guests_circuits(publisher, server.onion)) > 1:
                    await events.get()

        with honest:
            loop = asyncio.get_running_loop()
            sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
            auth = f"<auth xmlns='{sasl}' mechanism='NONE'/>"
            await loop.sock_sendall(honest, auth.encode())
            await hear(honest, b"invalid-mechanism")
        (await come(client, server.onion, "another")).close()
    assert not (tmp_path / "server" / "onion-service").exists()


async def come_and_be_cut(client: Tor, onion: OnionAddress) -> None:
    try:
        sock = await come(client, onion, "mallory")
    except (AssertionError, OSError, DialError):
        return
    sock.close()
