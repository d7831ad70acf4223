"""What goes out with a login, at a server that does not play fair with it."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.hostile.session.test_hostile_quick_login import (
    KNOWN,
    S2,
    SM,
    meet,
    responder,
    success,
)
from xmpp_onion.errors import NotAcknowledgedError
from xmpp_onion.session import (
    Asked,
    Connected,
    Received,
    Remembered,
    Session,
    message_stanza,
)
from xmpp_onion.session.connection import State
from xmpp_onion.testing.hostile import HostileServer, Peer
from xmpp_onion.testing.visit import QUICK, visit

QUESTION = "<r xmlns='urn:xmpp:sm:3'/>"


class Note:
    """One message to ourselves, said behind each login until the server has it."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.sent: list[asyncio.Future[None]] = []
        self.wants = at_once

    def __call__(self, session: Session) -> None:
        is_due = not self.sent or (self.sent[-1].done() and not self.has_arrived)
        if self.wants and is_due:
            text = message_stanza(session.xmpp.account, "the-note", [])
            self.sent.append(session.send(text, "the-note"))

    @property
    def has_arrived(self) -> bool:
        return any(one.done() and not one.exception() for one in self.sent)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def notes(peer: Peer) -> int:
    return peer.heard.count('id="the-note"') // 2  # in its origin-id, too


async def test_it_is_one_flight_and_acknowledged_when_the_server_says_so() -> None:
    note = Note()

    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.read(QUESTION)
        await peer.send(success(peer))
        await peer.send(f"<a {SM} h='1'/>")
        await peer.read("</stream:stream>")

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN, ahead=note) as session:
            await until(lambda: note.has_arrived)
            assert session.xmpp.outgoing.acknowledged == 1
        assert notes(server.peers[0]) == 1


async def test_nothing_follows_the_end_of_our_stream() -> None:
    # A server may take the end for a broken connection then, and keep our place.
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(success(peer))
        await peer.read("</stream:stream>")
        await peer.send(f"<r {SM}/>")
        await peer.hear()

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN) as session:
            await session.wait_online(60)
        assert server.peers[0].heard.endswith("</stream:stream>")


@pytest.mark.parametrize("early", ["<iq type='result' id='x'/>", f"<a {SM} h='1'/>"])
async def test_no_answer_counts_before_the_server_has_proved_itself(early: str) -> None:
    note = Note()

    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.read(QUESTION)
        if len(server.peers) == 1:
            await peer.send(early)
            await peer.send(success(peer))
            return
        await peer.log_in(tls=False)
        await peer.read(QUESTION)

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN, ahead=note) as session,
    ):
        await until(lambda: len(server.peers) > 1)
        assert not session.xmpp.online
        assert not note.has_arrived


@pytest.mark.parametrize("shown", [responder("another"), "AAAA"])
async def test_an_impostor_acknowledges_in_vain(shown: str) -> None:
    note = Note()

    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.read(QUESTION)
        await peer.send(success(peer, shown=shown))
        await peer.send(f"<a {SM} h='1'/>")

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN, ahead=note) as session,
    ):
        await until(lambda: session.state is State.CLOSED)
        assert not note.has_arrived
        with pytest.raises(NotAcknowledgedError):
            await note.sent[0]


async def test_a_place_of_somebody_else_takes_nothing_from_us() -> None:
    note = Note()

    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.read(QUESTION)
        who = f"admin@{peer.account.domain}/x"
        await peer.send(success(peer, who=who))
        await peer.send(f"<a {SM} h='1'/>")

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN, ahead=note) as session,
    ):
        await until(lambda: session.state is State.CLOSED)
        assert not note.has_arrived


async def test_behind_silence_it_is_all_said_again() -> None:
    note = Note()

    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.read(QUESTION)
        if len(server.peers) > 2:
            await peer.send(success(peer))
            await peer.send(f"<a {SM} h='1'/>")
        await peer.read("</stream:stream>")

    timing = replace(QUICK, login=0.5)
    async with HostileServer(script) as server:
        async with visit(
            server, tls=False, known=KNOWN, timing=timing, ahead=note
        ) as session:
            await until(lambda: note.has_arrived)
            assert session.xmpp.outgoing.acknowledged == 1
        assert {notes(peer) for peer in server.peers} == {1}


async def test_an_answer_counts_only_if_our_own_server_gives_it() -> None:
    asked: list[Asked] = []
    stranger = f"victim@{'a' * 56}.onion"

    def ask(session: Session) -> None:
        asked.append(session.people.ask_roster())

    async def script(peer: Peer) -> None:
        await meet(peer)
        request = re.search(r'<iq[^>]*id="([^"]+)"', await peer.read(QUESTION))
        assert request is not None
        answer = "<iq type='result' id='{}' from='{}'><query xmlns='jabber:iq:roster'>"
        answer += "<item jid='{}' subscription='both'/></query></iq>"
        await peer.send(success(peer))
        for sender in (stranger, f"{stranger}/x", "elsewhere", str(peer.account)):
            await peer.send(answer.format(request.group(1), sender, stranger))
            await peer.send(f"<a {SM} h='1'/>")
        await peer.read("</stream:stream>")

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN, ahead=ask) as session,
    ):
        await until(lambda: bool(asked) and asked[0].done())
        answer = asked[0].result()
        assert answer["from"] == server.jid
        assert session.xmpp.incoming.handled <= 4


async def _resume(peer: Peer, *, h: int, more: str = "") -> None:
    await peer.read(QUESTION)
    await peer.send(
        f"<success {S2}><additional-data>{responder()}</additional-data>"
        f"<authorization-identifier>{peer.account}/here</authorization-identifier>"
        f"<resumed {SM} h='{h}' previd='again'/></success>{more}"
    )


async def _begin(peer: Peer) -> None:
    """Take a stream that is at rest, and cut it."""
    await peer.send(success(peer))
    await peer.read(QUESTION)
    await peer.send(f"<a {SM} h='0'/>")


async def test_behind_a_resumption_it_is_counted_from_where_the_server_stands() -> None:
    note = Note(at_once=False)

    async def script(peer: Peer) -> None:
        await meet(peer)
        if len(server.peers) == 1:
            await _begin(peer)
            note.wants = True
            peer.writer.transport.abort()
            return
        await _resume(peer, h=0, more=f"<a {SM} h='1'/>")
        await peer.read("</stream:stream>")

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN, ahead=note) as session:
            await until(lambda: note.has_arrived)
            assert session.xmpp.outgoing.acknowledged == 1
        assert notes(server.peers[1]) == 1


async def test_a_server_that_had_it_before_it_was_said_is_not_believed() -> None:
    note = Note(at_once=False)

    async def script(peer: Peer) -> None:
        await meet(peer)
        if len(server.peers) == 1:
            await _begin(peer)
            note.wants = True
            peer.writer.transport.abort()
            return
        if len(server.peers) == 2:
            await _resume(peer, h=1)
        await peer.read("</stream:stream>")

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN, ahead=note),
    ):
        await until(lambda: len(server.peers) > 2)
        assert not note.has_arrived


async def test_where_the_stream_is_gone_it_is_the_first_of_the_new_one() -> None:
    note = Note(at_once=False)

    async def script(peer: Peer) -> None:
        await meet(peer)
        if len(server.peers) == 1:
            await _begin(peer)
            note.wants = True
            peer.writer.transport.abort()
            return
        await peer.read(QUESTION)
        gone = f"<failed {SM} h='0'/><bound xmlns='urn:xmpp:bind:0'>"
        await peer.send(success(peer).replace("<bound xmlns='urn:xmpp:bind:0'>", gone))
        await peer.send(f"<a {SM} h='1'/>")
        await peer.read("</stream:stream>")

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN, ahead=note) as session:
            await until(lambda: note.has_arrived)
            assert session.xmpp.outgoing.acknowledged == 1
            assert len(note.sent) == 1
        assert notes(server.peers[1]) == 1


async def test_what_may_have_arrived_is_not_said_behind_another_resumption() -> None:
    # The server's count would not tell then which of the two it had.
    note = Note(at_once=False)

    async def script(peer: Peer) -> None:
        await meet(peer)
        match len(server.peers):
            case 1:
                await _begin(peer)
                note.wants = True
            case 2:
                await peer.read(QUESTION)  # and nobody hears the answer
            case _:
                assert notes(peer) == 0
                await peer.send(
                    f"<success {S2}><additional-data>{responder()}</additional-data>"
                    f"<authorization-identifier>{peer.account}/here"
                    f"</authorization-identifier>"
                    f"<resumed {SM} h='1' previd='again'/></success>"
                )
                await peer.read("</stream:stream>")
        peer.writer.transport.abort()

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN, ahead=note):
            await until(lambda: note.has_arrived)
        assert [notes(peer) for peer in server.peers] == [0, 1, 0]


async def test_more_than_a_login_may_hold_waits_behind_it_and_all_of_it_is_taken() -> (
    None
):
    # A page of an archive comes at once, while the token is being kept.
    count, text = 120, "x" * 60_000
    note = f"<message from='{{}}' type='chat'><body>{text}</body></message>"
    is_kept = asyncio.Event()

    async def script(peer: Peer) -> None:
        await meet(peer)
        token = "<token xmlns='urn:xmpp:fast:0' token='the next one'/>"
        await peer.send(success(peer).replace("</success>", f"{token}</success>"))
        page = note.format(peer.account) * count
        sending = asyncio.ensure_future(peer.send(page))  # noqa: TID251 - of the far end
        await asyncio.sleep(0.3)  # so much of it is there as fits
        is_kept.set()
        await sending
        await peer.read("</stream:stream>")

    async def remember(known: Remembered) -> None:
        assert known.token == "the next one"
        await is_kept.wait()

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        session._remember = remember
        events = session.events()
        async with asyncio.timeout(60):
            seen = [await anext(events) for _ in range(count + 1)]
        assert isinstance(seen[0], Connected)
        assert all(isinstance(event, Received) for event in seen[1:])


async def test_a_resumption_that_ends_with_the_stream_is_not_tried_again() -> None:
    # So Prosody 0.12 answers where it could not keep all that came meanwhile.
    async def script(peer: Peer) -> None:
        await meet(peer)
        match len(server.peers):
            case 1:
                await _begin(peer)
                peer.writer.transport.abort()
            case 2:
                await peer.send(
                    f"<success {S2}><additional-data>{responder()}</additional-data>"
                    f"<authorization-identifier>{peer.account}/here"
                    f"</authorization-identifier><failed {SM} h='0'/></success>"
                    "<stream:error><resource-constraint "
                    "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
                )
            case _:
                await peer.send(success(peer))

    async with HostileServer(script) as server:
        async with visit(server, tls=False, known=KNOWN) as session:
            await until(lambda: len(server.peers) > 2)
            await session.wait_online(60)
        third = server.peers[2].heard
        assert "<resume" in server.peers[1].heard
    assert "<resume" not in third
    assert "SCRAM" not in third  # the server is still known
