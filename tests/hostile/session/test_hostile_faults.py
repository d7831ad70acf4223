"""Mistakes of ours, planted in each reader: what one stanza may end, and how often."""

import asyncio
import logging
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable

import pytest

from tests.hostile.session.test_hostile_archive import (
    archive,
    names,
    poisoned,
    read_all,
    read_through,
)
from xmpp_onion.errors import ReaderFaultError
from xmpp_onion.session import (
    Connected,
    Disconnected,
    Received,
    Session,
    SessionEvent,
    SubscriptionRequest,
    read_message,
    stream,
)
from xmpp_onion.session import archive as archive_reader
from xmpp_onion.session.acks import OutgoingAcks
from xmpp_onion.session.connection import State
from xmpp_onion.session.gate import Gate
from xmpp_onion.session.guards import StanzaReader
from xmpp_onion.session.login import Attempt
from xmpp_onion.testing.hostile import HostileServer, Peer, make_onion_name
from xmpp_onion.testing.visit import visit

STRANGER = f"mallory@{make_onion_name()}"
SEED = "canary-2718"
MOST = 10


def message(body: str) -> str:
    return (
        f"<message from='{STRANGER}/x' type='chat' id='{body}'>"
        f"<body>{body} {SEED}</body></message>"
    )


def planted(of: Callable[..., object], where: str) -> Callable[..., object]:
    """Return a reader with a mistake that a stanza with this in it trips over."""

    def read(*given: object, **named: object) -> object:
        for each in given:
            if isinstance(each, ET.Element) and where in ET.tostring(each, "unicode"):
                raise KeyError(SEED)
        return of(*given, **named)

    return read


def always(*_given: object, **_named: object) -> object:
    raise KeyError(SEED)


def serving(text: str) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.send(text.replace("OWN", str(peer.account)))

    return script


async def take(session: Session, count: int) -> list[SessionEvent]:
    events = session.events()
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def until_given_up(session: Session) -> list[SessionEvent]:
    """Read until the session gives up; it has to say that it was our mistake."""
    seen = []
    with pytest.raises(ReaderFaultError, match="KeyError in "):  # noqa: PT012 - the loop ends by it
        async with asyncio.timeout(60):
            async for event in session.events():
                seen.append(event)  # noqa: PERF401 - what came before the error counts
    assert session.state is State.CLOSED
    return seen


# --- one stanza -------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["read_room_message", "size_of"])
async def test_a_message_that_breaks_our_reader_is_told_and_the_next_one_comes(
    reader: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        stream, reader, planted(getattr(stream, reader), "<ns0:body>bad")
    )
    async with (
        HostileServer(serving(message("bad") + message("good"))) as server,
        visit(server) as session,
    ):
        caplog.set_level(logging.DEBUG)
        _, *received = await take(session, 3)
        assert session.losses == 0
        assert session.faults.set_aside == 1

    read = {
        one.id: one.excess
        for each in received
        if isinstance(each, Received)
        and (one := read_message(each.element, own=server.jid)) is not None
    }
    assert read == {"bad": "our reader failed at it", "good": ""}
    assert "KeyError in " in caplog.text
    assert SEED not in caplog.text


async def test_what_is_no_message_and_breaks_our_reader_is_as_if_it_had_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "read_request", planted(stream.read_request, "seeded"))
    bad = f"<presence from='{STRANGER}' type='subscribe' id='seeded'/>"
    good = f"<presence from='{STRANGER}' type='subscribe' id='1'/>"
    async with (
        HostileServer(serving(bad + good)) as server,
        visit(server) as session,
    ):
        _, request = await take(session, 2)
        assert session.losses == 0
        assert session.faults.set_aside == 1
    assert isinstance(request, SubscriptionRequest)


async def test_a_stanza_that_breaks_the_gate_goes_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Gate, "judge", planted(Gate.judge, "seeded"))
    ping = f"<iq from='{STRANGER}' type='get' id='seeded'><ping/></iq>"
    async with (
        HostileServer(serving(ping + message("good"))) as server,
        visit(server) as session,
    ):
        _, received = await take(session, 2)
        assert session.losses == 0
        assert "seeded" not in server.heard
    assert isinstance(received, Received)


async def test_a_result_that_breaks_our_reader_is_told_and_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = planted(archive_reader.read_archived, "text of 3<")
    monkeypatch.setattr(archive_reader, "read_archived", broken)
    async with (
        HostileServer(archive(poisoned(5, {}))) as server,
        visit(server) as session,
    ):
        await session.wait_online(20)
        pages = await read_all(session.archive)
        assert session.losses == 0

    assert names(pages) == ["1", "2", "3", "4", "5"]
    told = [each.incoming for page in pages for each in page.entries]
    assert [one.excess for one in told if one is not None] == [
        *("", ""),
        "our reader failed at it",
        *("", ""),
    ]


async def test_a_result_that_even_its_outline_breaks_is_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_reader, "_read_entry", always)
    async with (
        HostileServer(archive(poisoned(3, {}))) as server,
        visit(server) as session,
    ):
        await session.wait_online(20)
        pages = await read_all(session.archive)
    assert names(pages) == ["1", "2", "3"]


# --- what a connection may not go on after ------------------------------------------


async def test_a_change_of_our_contacts_that_breaks_us_begins_the_stream_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "read_push", always)
    push = "<iq from='OWN' type='set' id='p'><query xmlns='jabber:iq:roster'/></iq>"
    async with HostileServer(serving(push)) as server, visit(server) as session:
        seen = await until_given_up(session)

    # Each began anew, and not where the earlier one was left.
    assert [each for each in seen if isinstance(each, Connected)] == MOST * [
        Connected(resumed=False)
    ]
    assert len(server.peers) == MOST


async def test_a_change_that_a_stranger_claims_ends_no_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "read_push", always)
    query = "<query xmlns='jabber:iq:roster'/>"
    push = f"<iq from='{STRANGER}' type='set' id='p'>{query}</iq>"
    async with (
        HostileServer(serving(push + message("good"))) as server,
        visit(server) as session,
    ):
        _, received = await take(session, 2)
        assert session.losses == 0
    assert isinstance(received, Received)


async def test_a_mistake_in_counting_ends_no_later_than_the_tenth_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OutgoingAcks, "acknowledge", always)
    ack = "<a xmlns='urn:xmpp:sm:3' h='0'/>"
    async with HostileServer(serving(ack)) as server, visit(server) as session:
        seen = await until_given_up(session)
    assert Disconnected("our reader failed") in seen
    assert len(server.peers) == MOST


@pytest.mark.parametrize("place", ["_start_element", "_end_element", "_text"])
async def test_a_mistake_in_reading_the_stream_ends_no_later_than_the_tenth_time(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = getattr(StanzaReader, place)

    def broken(self: StanzaReader, text: str, *rest: object) -> None:
        if text.endswith("seeded"):
            raise KeyError(SEED)
        read(self, text, *rest)

    monkeypatch.setattr(StanzaReader, place, broken)
    poison = f"<message from='{STRANGER}' id='m'><seeded>seeded</seeded></message>"
    async with HostileServer(serving(poison)) as server, visit(server) as session:
        await until_given_up(session)
        assert SEED not in repr(session._last_error)
    assert len(server.peers) == MOST
    assert all("undefined-condition" in peer.heard for peer in server.peers)


async def test_a_result_that_breaks_the_stream_by_our_mistake_is_passed_the_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = StanzaReader._end_element

    def broken(self: StanzaReader, name: str) -> None:
        if name.endswith("seeded"):
            raise KeyError(SEED)
        read(self, name)

    monkeypatch.setattr(StanzaReader, "_end_element", broken)
    places = {2: "<seeded/>", 3: "<seeded/>"}
    async with (
        HostileServer(archive(poisoned(4, places))) as server,
        visit(server) as session,
    ):
        found = await read_through(session)

    assert [entry.id for entry in found] == ["1", "2", "3", "4"]
    excess = [entry.incoming.excess for entry in found if entry.incoming is not None]
    assert excess == ["", *2 * ["our reader failed at it"], ""]
    assert len(server.peers) == 1 + 2 * 2


async def test_a_mistake_in_the_login_is_an_error_of_ours_and_no_endless_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Attempt, "_look_at", always)
    async with HostileServer(serving("")) as server, visit(server) as session:
        with pytest.raises(ReaderFaultError):
            await session.wait_online(60)
    assert len(server.peers) == MOST
