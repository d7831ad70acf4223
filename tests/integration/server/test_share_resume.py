"""What the server keeps of uploads that broke off, and what it refuses."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, Client
from xmpp_onion.chat import Slot
from xmpp_onion.server import Prosody
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer

pytestmark = pytest.mark.prosody

DATA = secrets.token_bytes(300_000)
NOBODY = (("Authorization", "Bearer x"),)
# Of 100,000 bytes that came, what C's buffer of 4 KiB does not hold back.
WRITTEN = 24 * 4096

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Share:
    """The server's share, asked byte by byte."""

    def __init__(self, prosody: Prosody, slot: Slot, folder: Path) -> None:
        assert slot.resume is not None
        self.slot, self.resume = slot, slot.resume.target
        self._prosody, self._folder = prosody, folder

    async def ask(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        announced: int | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body; 0 for a request that breaks off by itself."""
        reader, writer = await asyncio.open_connection(  # noqa: TID251 - loopback
            "127.0.0.1", self._prosody.http_port
        )
        length = len(body) if announced is None else announced
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._prosody.onion}"]
        lines += ["Connection: close", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        async with asyncio.timeout(60):
            # A server that refuses closes before all came.
            with suppress(OSError):
                if length > len(body):
                    writer.write_eof()
                while data := await reader.read(65_536):
                    answer += data
        writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, rest

    async def put(
        self,
        body: bytes,
        start: int | str = 0,
        *,
        announced: int | None = None,
        headers: Sequence[tuple[str, str]] | None = None,
    ) -> int:
        """Send a part, and perhaps break off."""
        with_ = self.slot.headers if headers is None else headers
        offset = [("Upload-Offset", str(start))] if start != "" else []
        status, _ = await self.ask(
            "PUT", self.resume, [*with_, *offset], body, announced=announced
        )
        return status

    async def kept(self, headers: Sequence[tuple[str, str]] = ()) -> bytes:
        status, said = await self.ask("GET", self.resume, headers)
        assert status == 200
        return said

    @asynccontextmanager
    async def half_sent(self) -> AsyncIterator[Connection]:
        """Send a part and stay connected, as a circuit does that died far away."""
        reader, writer = await asyncio.open_connection(  # noqa: TID251 - loopback
            "127.0.0.1", self._prosody.http_port
        )
        lines = [f"PUT {self.resume} HTTP/1.1", f"Host: {self._prosody.onion}"]
        lines += [f"Content-Length: {len(DATA)}", "Upload-Offset: 0"]
        lines += [f"{name}: {value}" for name, value in self.slot.headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + DATA[:100_000])
        async with asyncio.timeout(60):
            while self.on_disk() < WRITTEN:  # noqa: ASYNC110 - a disk has no event
                await asyncio.sleep(0.02)
        try:
            yield reader, writer
        finally:
            writer.close()

    def on_disk(self) -> int:
        """Return bytes of what is being written."""
        return sum(path.stat().st_size for path in self._folder.rglob("*.bin~"))

    async def object(self) -> tuple[int, bytes]:
        return await self.ask("GET", self.slot.get.target)


@pytest.fixture
async def share(prosody: Prosody, tmp_path: Path) -> AsyncIterator[Share]:
    """With a slot for all of the data."""
    wire = LoopbackDialer(prosody.c2s_port)
    invite = await prosody.invite("alice")
    account = Account(
        profile="alice",
        folder=tmp_path / "alice",
        jid=JID(f"alice@{prosody.onion}"),
        password="secret",
        certificate=await register(invite, "alice", "secret", tor=wire),
    )
    account.save()
    async with Client(account, tor=wire) as client:
        slot = await client._sharing._ask(len(DATA))
        yield Share(prosody, slot, tmp_path / "server")


async def test_what_came_is_kept_and_the_rest_makes_the_object(share: Share) -> None:
    assert await share.kept() == b"0"
    assert await share.put(DATA[:100_000], announced=len(DATA)) == 0
    assert await share.kept() == b"100000"
    assert await share.put(DATA[100_000:200_000], 100_000, announced=200_000) == 0
    assert await share.kept() == b"200000"
    assert (await share.object())[0] in {404, 410}

    assert await share.put(DATA[200_000:], 200_000) == 201

    assert await share.kept() == b"all"
    assert await share.object() == (200, DATA)
    assert await share.put(DATA) in {0, 409}


@pytest.mark.parametrize("missing", [1, 1000, 64 * 1024, 64 * 1024 + 1])
async def test_a_rest_of_any_length_is_taken(share: Share, missing: int) -> None:
    kept = len(DATA) - missing
    assert await share.put(DATA[:kept], announced=len(DATA)) == 0
    assert await share.kept() == b"%d" % kept

    assert await share.put(DATA[kept:], kept) == 201

    assert await share.object() == (200, DATA)


async def until_closed(reader: asyncio.StreamReader) -> None:
    """Return when the server ended a connection, which it never answers."""
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_who_may_send_ends_a_connection_that_only_looks_alive(
    share: Share,
) -> None:
    async with share.half_sent() as (reader, writer):
        kept = int(await share.kept(share.slot.headers))

        assert WRITTEN <= kept <= 100_000
        await until_closed(reader)
        writer.write(b"x" * 200_000)  # what is on its way gets nowhere
        assert await share.kept() == b"%d" % kept
        assert await share.put(DATA[kept:], kept) == 201
    assert await share.object() == (200, DATA)


async def test_who_sends_anew_ends_who_sent_before(share: Share) -> None:
    async with share.half_sent() as (reader, _):
        assert await share.put(DATA, 0) == 201

        await until_closed(reader)
    assert await share.object() == (200, DATA)


async def test_nobody_without_the_permission_ends_an_upload(share: Share) -> None:
    async with share.half_sent() as (reader, writer):
        for headers in (NOBODY, ()):
            assert await share.kept(headers) == b"0"
            assert await share.put(DATA, headers=headers) in {0, 401, 409}

        writer.write(DATA[100_000:])
        async with asyncio.timeout(60):
            assert (await reader.readline()).split()[1] == b"201"
    assert await share.object() == (200, DATA)


async def test_less_than_was_kept_may_be_gone_on_from(share: Share) -> None:
    await share.put(b"x" * 100_000, announced=len(DATA))

    assert await share.put(DATA, 0) == 201

    assert await share.object() == (200, DATA)


async def test_nothing_is_kept_without_the_permission_for_this_slot(
    share: Share,
) -> None:
    for headers in (NOBODY, ()):
        assert await share.put(DATA, headers=headers) in {0, 401, 403}
        status = await share.put(DATA[:100_000], announced=len(DATA), headers=headers)
        assert status in {0, 401, 403}
    other = share.resume.replace("/resume/", "/resume/x")
    status, _ = await share.ask(
        "PUT", other, [*share.slot.headers, ("Upload-Offset", "0")], DATA
    )

    assert status in {0, 400, 401, 403, 413}
    assert await share.kept() == b"0"


@pytest.mark.parametrize("start", ["", "-1", "x", 1, 400_000])
async def test_a_beginning_that_is_not_there_makes_no_object(
    share: Share, start: int | str
) -> None:
    assert await share.put(DATA[1:], start) in {0, 400, 409, 413}

    assert await share.kept() == b"0"
    assert (await share.object())[0] in {404, 410}


@pytest.mark.parametrize("cut", [DATA[:-1], DATA + b"x"])
async def test_another_size_than_that_of_the_slot_makes_no_object(
    share: Share, cut: bytes
) -> None:
    assert await share.put(cut) in {0, 413}
    assert await share.put(DATA[:100_000], announced=10**12) in {0, 413}

    assert await share.kept() == b"0"
    assert (await share.object())[0] in {404, 410}


@pytest.mark.parametrize(
    "target",
    ["/resume/", "/resume/x", "/resume/../x/y", "/resume/%2e%2e/y", "/resume/a.b/y",
     "/resume/%00/y", "/resume//y"],
)  # fmt: skip
async def test_no_path_leads_elsewhere(share: Share, target: str) -> None:
    assert (await share.ask("GET", target))[0] in {400, 404}
