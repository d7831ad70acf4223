import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.errors import TorError
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.testing.tordirectory import (
    Directory,
    count_relays,
    fetch,
    fetch_directory,
    valid_after,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONSENSUS = b"""\
network-status-version 3 microdesc
valid-after 2026-01-02 03:00:00
r auth0 AAAA 2038-01-01 00:00:00 127.0.0.1 1 2
m first
r relay0 BBBB 2038-01-01 00:00:00 127.0.0.1 3 0
m second
"""
DOCUMENTS = {
    "/tor/status-vote/current/consensus-microdesc": CONSENSUS,
    "/tor/micro/d/first-second": b"onion-key\none\nonion-key\ntwo\n",
    "/tor/keys/all": b"certificates",
}


@asynccontextmanager
async def authority(documents: dict[str, bytes]) -> AsyncIterator[int]:
    """Hand out documents over HTTP at the port that it yields."""

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = documents.get(path)
        status = b"404 Not found" if body is None else b"200 OK"
        writer.write(b"HTTP/1.0 " + status + b"\r\n\r\n" + (body or b""))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_the_directory_is_fetched_with_what_its_consensus_names() -> None:
    async with authority(DOCUMENTS) as port:
        directory = await fetch_directory(port)

    assert directory == Directory(*DOCUMENTS.values())


@pytest.mark.parametrize("missing", list(DOCUMENTS))
async def test_there_is_no_directory_until_it_is_complete(missing: str) -> None:
    rest = {path: body for path, body in DOCUMENTS.items() if path != missing}

    async with authority(rest) as port:
        assert await fetch_directory(port) is None


async def test_an_authority_that_does_not_listen_has_nothing() -> None:
    assert await fetch(free_ports(1)[0], "/tor/keys/all") is None


def test_a_client_finds_each_microdescriptor_with_its_time(tmp_path: Path) -> None:
    Directory(*DOCUMENTS.values()).write(tmp_path / "data", now=NOW)

    listed = b"@last-listed 2026-01-02 03:04:05\n"
    assert (tmp_path / "data/cached-microdescs").read_bytes() == (
        listed + b"onion-key\none\n" + listed + b"onion-key\ntwo\n"
    )
    assert (tmp_path / "data/cached-microdesc-consensus").read_bytes() == CONSENSUS
    assert (tmp_path / "data/cached-certs").read_bytes() == b"certificates"
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_relays_are_counted_in_both_kinds_of_list() -> None:
    assert count_relays(CONSENSUS) == 2
    assert count_relays(b"router auth0 127.0.0.1\nrouter-signature\n") == 1
    assert count_relays(b"") == 0


def test_the_age_of_a_consensus_is_read() -> None:
    assert valid_after(CONSENSUS) == NOW.replace(minute=0, second=0)


def test_a_consensus_without_a_time_is_refused() -> None:
    with pytest.raises(TorError, match="valid-after"):
        valid_after(b"network-status-version 3\n")
