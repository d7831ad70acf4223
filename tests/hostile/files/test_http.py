"""H3 and H5: a hostile server gets nothing kept, nothing followed, and no time."""

import asyncio
import gzip
import io
from dataclasses import replace

import pytest

from xmpp_onion.chat import Place, Slot
from xmpp_onion.errors import FileError, FileTooLargeError, TransferError
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.way import Pace
from xmpp_onion.testing.hostile_http import PLACE, Answer, Server, ok, part, serving

DATA = bytes(range(256)) * 1000
PACE = Pace(idle=60, answer=60, window=60)
# For who is silent, or drips, and is to be given up within the test.
HURRIED = Pace(idle=0.2, answer=0.2, window=0.2, window_bytes=1000)
ACCOUNT = "alice@x.onion"


def lane(server: Server, pace: Pace = PACE, patience: float = 0.0) -> Lane:
    return Lane(server.dialer, ACCOUNT, pace=pace, patience=patience)


def limit(size: int) -> None:
    if size > 1_000_000:
        raise FileTooLargeError("too large")


async def fetch(
    server: Server, before: bytes = b"", patience: float = 0.0, pace: Pace = PACE
) -> bytes:
    file = io.BytesIO(before)
    async with lane(server, pace, patience) as one, asyncio.timeout(120):
        size = await one.fetch(PLACE, file, allow=limit, told=lambda _d, _t: None)
    assert len(file.getvalue()) == size
    return file.getvalue()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte now and then: never idle, and never done."""
    writer.write(ok(b"", length=100_000))
    for _ in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Header: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def endless_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 ")
    while True:
        writer.write(b"y" * 1000)
        await writer.drain()


async def test_an_object_comes_as_it_is() -> None:
    async with serving([ok(DATA)]) as server:
        assert await fetch(server) == DATA

    assert server.requests[0].lower() == (
        b"get /share/object http/1.1\r\nhost: " + PLACE.authority.encode() + b"\r\n"
        b"accept-encoding: identity\r\n\r\n"
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize(
    "target", ["http://example.org/", PLACE.url.replace("5280", "80"), "//evil/x"]
)
async def test_no_redirect_is_followed(status: int, target: str) -> None:
    answer = ok(b"", f"Location: {target}", status=f"{status} Moved")
    async with serving([answer]) as server:
        with pytest.raises(TransferError, match="elsewhere"):
            await fetch(server)

    assert len(server.requests) == 1
    assert {(host, port) for host, port, _ in server.dialer.dialed} == {
        (PLACE.host, PLACE.port)
    }


LIES: dict[str, Answer] = {
    "shorter than announced": ok(DATA[:100], length=1000),
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + DATA,
    "two lengths": ok(DATA, "Content-Length: 5"),
    "no number": b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n" + DATA,
    "huge number": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "both": ok(DATA, "Transfer-Encoding: chunked"),
    "both, and they agree": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip": ok(gzip.compress(DATA), "Content-Encoding: gzip"),
    "gzip as a coding": ok(DATA, "Transfer-Encoding: gzip, chunked"),
    "endless head": endless_head,
    "endless line": endless_line,
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
    "nothing": b"",
    "silence": silence,
    "a drip": drip,
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "a change of protocol": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a part that nobody asked for": part(DATA, 0, len(DATA)),
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
async def test_nothing_is_taken_from_who_breaks_the_rules(answer: Answer) -> None:
    async with serving([answer]) as server:
        with pytest.raises(FileError):
            await fetch(server, pace=HURRIED)


async def test_what_stands_behind_an_answer_answers_nothing() -> None:
    forged = ok(b"forged")
    kept = ok(b"first", "Connection: keep-alive") + forged
    async with serving([kept, ok(b"second")]) as server, lane(server) as one:
        for expected in (b"first", b"second"):
            file = io.BytesIO()
            await one.fetch(PLACE, file, allow=limit, told=lambda _d, _t: None)
            assert file.getvalue() == expected

    assert len(server.dialer.dialed) == 2


async def test_a_connection_serves_one_object_after_the_other() -> None:
    answer = ok(b"x", "Connection: keep-alive")
    async with serving([answer]) as server, lane(server) as one:
        for _ in range(3):
            file = io.BytesIO()
            await one.fetch(PLACE, file, allow=limit, told=lambda _d, _t: None)

    assert len(server.requests) == 3
    assert len(server.dialer.dialed) == 1


@pytest.mark.parametrize("status", ["401 No", "403 No", "404 No", "410 Gone", "418 X"])
async def test_a_refusal_is_final(status: str) -> None:
    async with serving([ok(b"page", status=status)]) as server:
        with pytest.raises(TransferError, match=status[:3]):
            await fetch(server, patience=60)

    assert len(server.requests) == 1


async def test_an_object_that_is_too_large_is_refused_by_its_head() -> None:
    async with serving([ok(DATA, length=2_000_000)]) as server:
        with pytest.raises(FileTooLargeError):
            await fetch(server, patience=60)

    assert len(server.requests) == 1


async def test_what_broke_off_goes_on_where_it_was_over_another_circuit() -> None:
    total = len(DATA)
    answers = [ok(DATA[:1000], length=total), part(DATA[1000:], 1000, total)]
    async with serving(answers) as server:
        assert await fetch(server, patience=60) == DATA

    assert b"range: bytes=1000-\r\n" in server.requests[1].lower()
    first, second = (isolation for _, _, isolation in server.dialer.dialed)
    assert first.credentials() != second.credentials()


async def test_the_range_that_prosody_0_12_names_is_taken() -> None:
    total = len(DATA)
    said = f"bytes 1000-{total}/{total}"
    async with serving([part(DATA[1000:], 1000, total, said=said)]) as server:
        assert await fetch(server, DATA[:1000]) == DATA


WRONG = {
    "another start": "bytes 999-{last}/{total}",
    "another end": "bytes 1000-{start}/{total}",
    "another total": "bytes 1000-{last}/9",
    "no total": "bytes 1000-{last}/*",
    "no range": "x",
    "other units": "lines 1000-{last}/{total}",
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
async def test_no_part_is_spliced_that_is_not_the_one_asked_for(said: str) -> None:
    total = len(DATA)
    said = said.format(last=total - 1, start=1001, total=total)
    file = io.BytesIO(DATA[:1000])
    async with (
        serving([part(DATA[1000:], 1000, total, said=said)]) as server,
        lane(server) as one,
    ):
        with pytest.raises(TransferError, match="another part"):
            await one.fetch(PLACE, file, allow=limit, told=lambda _d, _t: None)

    assert file.getvalue() == DATA[:1000]


async def test_a_server_that_sends_all_again_is_begun_anew() -> None:
    async with serving([ok(DATA)]) as server:
        assert await fetch(server, b"rubbish" * 100) == DATA


async def test_a_range_behind_the_end_is_begun_anew() -> None:
    answers = [ok(b"", status="416 No"), ok(DATA)]
    async with serving(answers) as server:
        assert await fetch(server, bytes(len(DATA)), patience=60) == DATA


# --- storing ------------------------------------------------------------------------

SLOT = Slot(PLACE, Place(PLACE.host, 5280, "/get"), (("Authorization", "Bearer x"),))


async def store(
    server: Server, data: bytes = DATA, patience: float = 0.0, pace: Pace = PACE
) -> Place:
    async def ask(_size: int) -> Slot:
        return SLOT

    async with lane(server, pace, patience) as one, asyncio.timeout(120):
        return await one.store(ask, len(data), lambda: [data], lambda _sent: None)


async def test_an_object_goes_as_it_is_with_the_permission_and_nothing_else() -> None:
    async with serving([ok(b"", status="201 Created")]) as server:
        assert await store(server) == SLOT.get

    assert server.bodies == [DATA]
    names = [line.partition(b":")[0] for line in server.requests[0].splitlines()[1:-1]]
    assert names == [b"Host", b"Accept-Encoding", b"Content-Length", b"Authorization"]


@pytest.mark.parametrize("status", ["307 There", "403 No", "413 Large", "409 There"])
async def test_a_server_that_does_not_take_it_is_not_asked_again(status: str) -> None:
    async with serving([ok(b"", "Location: /x", status=status)]) as server:
        with pytest.raises(TransferError, match=status[:3]):
            await store(server, patience=60)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"x" * 100_000, status="201 Created"),
        b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * 100_000,
        endless_head,
        silence,
        drip,
    ],
    ids=["long page", "endless page", "endless head", "silence", "drip"],
)
async def test_an_answer_that_goes_on_is_not_waited_for(answer: Answer) -> None:
    async with serving([answer]) as server:
        with pytest.raises(TransferError):
            await store(server, pace=HURRIED)


async def test_what_broke_off_is_stored_again() -> None:
    async with serving([b"", ok(b"", status="201 Created")]) as server:
        assert await store(server, patience=60) == SLOT.get

    assert server.bodies == [DATA, DATA]
    first, second = (isolation for _, _, isolation in server.dialer.dialed)
    assert first.credentials() != second.credentials()


RESUME = Place(PLACE.host, 5280, "/resume/x/y")
CREATED = ok(b"", status="201 Created")
STAYS = "Connection: keep-alive"


async def store_resumable(server: Server) -> Place:
    async def ask(_size: int) -> Slot:
        return replace(SLOT, resume=RESUME)

    async with lane(server, patience=60) as one, asyncio.timeout(120):
        return await one.store(
            ask, len(DATA), lambda: [DATA], lambda _sent: None, again=lambda: [DATA]
        )


@pytest.mark.parametrize("kept", [1, 100_000, len(DATA)])
async def test_what_broke_off_goes_on_where_the_server_has_it(kept: int) -> None:
    async with serving([b"", ok(b"%d" % kept, STAYS), CREATED]) as server:
        assert await store_resumable(server) == SLOT.get

    assert server.bodies == [DATA, b"", DATA[kept:]]
    assert [head.split()[:2] for head in server.requests] == [
        [b"PUT", b"/resume/x/y"],
        [b"GET", b"/resume/x/y"],
        [b"PUT", b"/resume/x/y"],
    ]
    for request in server.requests:  # so that the old connection can be ended
        assert b"\r\nAuthorization: " in request
    assert b"Upload-Offset: %d\r\n" % kept in server.requests[2]


async def test_what_the_server_has_all_of_is_not_sent_again() -> None:
    async with serving([b"", ok(b"all")]) as server:
        assert await store_resumable(server) == SLOT.get

    assert server.bodies == [DATA, b""]


@pytest.mark.parametrize(
    "said",
    [
        ok(b"0"), ok(b""), ok(b"-5"), ok(b"9" * 15), ok(b"9" * 16), ok(b"1e3"),
        ok(b"\xb2"), ok(b"x" * 100_000), ok(b"", status="404 No"),
        ok(b"", "Location: http://example.org/", status="302 There"),
    ],
)  # fmt: skip
async def test_who_tells_nonsense_of_what_it_has_gets_all_of_it_anew(
    said: bytes,
) -> None:
    async with serving([b"", said, CREATED]) as server:
        assert await store_resumable(server) == SLOT.get

    assert server.bodies == [DATA, b"", DATA]


async def test_who_does_not_take_the_rest_gets_all_of_it_anew() -> None:
    gone = ok(b"", status="409 Gone")
    async with serving([b"", ok(b"7", STAYS), gone, CREATED]) as server:
        assert await store_resumable(server) == SLOT.get

    assert server.bodies == [DATA, b"", DATA[7:], DATA]
