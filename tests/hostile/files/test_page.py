"""A page of an onion that means harm: nothing followed, nothing kept, no time."""

import asyncio
import gzip

import pytest

from xmpp_onion.errors import AddressError, OnionUnreachableError, TransferError
from xmpp_onion.files import Pace, fetch_page
from xmpp_onion.testing.hostile_http import ONION, Answer, Server, ok, serving

URL = f"http://{ONION}:5280/feed.xml"
PACE = Pace(idle=60, answer=60)
# For who is silent, or drips, and is to be given up within the test.
HURRIED = Pace(idle=0.2, answer=0.2)


async def fetch(
    server: Server, url: str = URL, limit_bytes: int = 10_000, pace: Pace = PACE
) -> bytes:
    async with asyncio.timeout(120):
        return await fetch_page(
            server.dialer,
            url,
            account="alice@x.onion",
            limit_bytes=limit_bytes,
            pace=pace,
        )


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"<rss/>"),
        chunked(b"<rs", b"s/>") + b"0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<rss/>",
    ],
    ids=["with a length", "in chunks", "to the end"],
)
async def test_a_page_comes_however_it_is_sent(answer: Answer) -> None:
    async with serving([answer]) as server:
        assert await fetch(server) == b"<rss/>"

    assert server.requests[0].lower() == (
        b"get /feed.xml http/1.1\r\n"
        b"host: %b:5280\r\naccept-encoding: identity\r\n\r\n" % ONION.encode()
    )


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(chunked())
    while True:
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(chunked())
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"", "Location: http://127.0.0.1/", status="302 Found"),
        ok(b"", status="404 Not Found"),
        ok(gzip.compress(b"x"), "Content-Encoding: gzip"),
        ok(b"x" * 10_001),
        ok(b"x", length=10),
        endless,
        drip,
        silence,
        b"SSH-2.0-OpenSSH\r\n",
    ],
    ids=[
        "redirect",
        "missing",
        "compressed",
        "large",
        "short",
        "endless",
        "drip",
        "silence",
        "SSH",
    ],
)
async def test_what_means_harm_is_given_up(answer: Answer) -> None:
    async with serving([answer]) as server:
        with pytest.raises(TransferError):
            await fetch(server, pace=HURRIED)
    assert len(server.dialer.dialed) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/feed.xml",
        "https://example.org/",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        f"http://{ONION}@example.org/",
        f"http://user@{ONION}/",
        f"http://{ONION}.example.org/",
        f"http://{ONION}:5280/a b",
    ],
)
async def test_nothing_but_an_onion_is_asked(url: str) -> None:
    async with serving([ok(b"")]) as server:
        with pytest.raises(AddressError):
            await fetch(server, url)
    assert server.dialer.dialed == []


async def test_each_page_has_a_circuit_of_its_own() -> None:
    async with serving([ok(b"x")]) as server:
        await fetch(server)
        await fetch(server)
    first, second = [isolation for _, _, isolation in server.dialer.dialed]
    assert first != second


async def test_a_client_without_a_way_says_so() -> None:
    async with serving([ok(b"x")]) as server:
        server.dialer.refusing = True
        with pytest.raises(OnionUnreachableError):
            await fetch(server)
