"""The page of an invite through Tor, as a browser gets it; and that nothing else is."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from xmpp_onion.address import Invite, OnionAddress
from xmpp_onion.errors import DialError
from xmpp_onion.server import Server, create_invite, publish_page
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.onion

PATIENCE = 120.0
PICTURE = "<svg></svg>"


async def get(socks: str, onion: OnionAddress, path: str, port: int = 80) -> str:
    """Ask for a page as a browser without scripts does, through a SOCKS port.

    Source: SOCKS5 (RFC 1928), HTTP/1.1 (RFC 9112).
    """
    host, _, number = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(number))  # noqa: TID251 - to our own SOCKS port
    try:
        name = onion.encode()
        target = b"\3" + bytes([len(name)]) + name + port.to_bytes(2, "big")
        writer.write(b"\5\1\0" + b"\5\1\0" + target)
        await reader.readexactly(2)
        reply = await reader.readexactly(10)
        if reply[1] != 0:
            return f"refused, {reply[1]:#x}"
        request = f"GET {path} HTTP/1.1\r\nHost: {onion}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def get_at_last(socks: str, onion: OnionAddress, path: str) -> str:
    """Ask until there is an answer: a descriptor may be known a moment later."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await get(socks, onion, path)).startswith("refused"):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.5)
    return answer


async def join(invite: Invite, tor: Tor) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await register(invite, "bob", "secret", tor=tor)
            except DialError as error:
                if not error.can_retry:
                    raise
                await asyncio.sleep(0.5)
            else:
                return


def without_date(answer: str) -> str:
    return re.sub(r"(?im)^date: .*\r\n", "", answer)


async def test_a_browser_sees_one_page_and_only_while_its_invite_is_open(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    async with (
        Tor.attach(tor_network.service_socks, tor_network.service_control) as publisher,
        Tor.attach(tor_network.socks, tor_network.control) as guest,
        Server(folder, tor=publisher) as server,
    ):
        invite = await create_invite(folder, lifetime=timedelta(hours=1))
        address = await publish_page(folder, invite, PICTURE)
        path = address.removeprefix(f"http://{server.onion}")

        page = await get_at_last(tor_network.socks, server.onion, path)
        quiet = [
            without_date(await get_at_last(tor_network.socks, server.onion, other))
            for other in ("/", "/invite", path[:-1], "/robots.txt", "/favicon.ico")
        ]
        await join(invite, guest)
        used = await get_at_last(tor_network.socks, server.onion, path)
        closed = await get(tor_network.socks, server.onion, "/", port=81)

    head, _, body = page.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    assert "\r\nContent-Security-Policy: default-src 'none'; " in head
    assert not re.search(r"(?i)server:|prosody|lua|set-cookie|location", head)
    assert invite.token in body
    assert not re.search(r"(?i)<script|<link|<img|<iframe|\bsrc=|url\(|https?:", body)
    assert quiet[0].startswith("HTTP/1.1 404 ")
    assert set(quiet) == {without_date(used)}
    assert closed.startswith("refused")
