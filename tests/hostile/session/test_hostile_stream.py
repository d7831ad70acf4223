import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import (
    DialTimeoutError,
    NotAcknowledgedError,
    SessionError,
    SessionLostError,
)
from xmpp_onion.session import (
    Connected,
    Disconnected,
    Received,
    RosterChange,
    Session,
    SessionEvent,
    SubscriptionRequest,
    Timing,
    client_xmpp,
    read_message,
    wire,
)
from xmpp_onion.session.connection import State
from xmpp_onion.testing.hostile import (
    SESSION,
    SM,
    HostileServer,
    Peer,
    make_onion_name,
)
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.visit import QUICK, read_until, visit
from xmpp_onion.transport import Isolation

STRANGER = f"mallory@{make_onion_name()}"


def message(body: str, sender: str = STRANGER, inside: str = "") -> str:
    return (
        f"<message from='{sender}' type='chat' id='m'><body>{body}</body>{inside}"
        "</message>"
    )


def bodies(events: Iterable[object]) -> list[str]:
    return [
        e.element.findtext("{jabber:client}body", "")
        for e in events
        if isinstance(e, Received)
    ]


async def take(session: Session, count: int) -> list[SessionEvent]:
    """Return the next events; the last of them counts as not handled yet."""
    events = session.events()
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


def serving(*texts: str | bytes) -> Callable[[Peer], Awaitable[None]]:
    """Return a script that logs the client in and then sends ``texts``."""

    async def script(peer: Peer) -> None:
        await peer.log_in()
        for text in texts:
            await peer.send(text)
            await peer.writer.drain()
            await asyncio.sleep(0.002)  # so that each is a piece of its own

    return script


# --- limits ---------------------------------------------------------------------


async def test_a_stanza_that_never_ends_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.log_in()
        await peer.send("<message><body>")
        for _ in range(200):  # of a MiB
            await peer.send(b"x" * 2**20)
            sent += 1
            await asyncio.sleep(0)

    async with HostileServer(script) as server, visit(server) as session:
        events = await read_until(session, Disconnected)
        await asyncio.sleep(0)
    assert events[-1] == Disconnected("a stanza is too long")
    assert bodies(events) == []
    assert sent < 20  # the kernel's buffers take a few


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ("<message a='" + "x" * 700_000, "a tag is too long"),
        ("<message><!-- x --></message>", "it has a document type or a comment"),
        ("<message>&lol;</message>", "undefined entity"),
        ("<message></iq>", "mismatched tag"),
    ],
)
async def test_poison_ends_the_connection_and_not_the_program(
    poison: str, reason: str
) -> None:
    async with HostileServer(serving(poison)) as server, visit(server) as session:
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected(reason)
        await read_until(session, Connected)  # and it goes on


@pytest.mark.parametrize(
    "inside",
    ["<a>" * 3000 + "</a>" * 3000, "<a/>" * 30_000, f"<a b='{'x' * 100_000}'/>"],
    ids=["deep", "many", "long"],
)
async def test_what_anybody_can_have_our_server_send_ends_no_stream(
    inside: str,
) -> None:
    poison = message("hi", inside=inside)
    async with (
        HostileServer(serving(poison, message("good"))) as server,
        visit(server) as session,
    ):
        connected, first, second = await take(session, 3)
    assert isinstance(connected, Connected)
    assert bodies([second]) == ["good"]
    assert isinstance(first, Received)
    incoming = read_message(first.element, own=server.jid)
    assert incoming is not None
    assert incoming.excess
    assert (incoming.id, incoming.sender) == ("m", STRANGER)


async def test_a_stanza_in_the_smallest_pieces_arrives_without_another_byte() -> None:
    whole = message("grüße").encode()
    pieces = [whole[i : i + 1] for i in range(len(whole))]
    async with HostileServer(serving(*pieces)) as server, visit(server) as session:
        assert bodies(await take(session, 2)) == ["grüße"]


async def test_what_slixmpp_cannot_digest_does_not_take_the_stream_along() -> None:
    bad = (
        message("bad", sender="@@/@")
        + "<iq from='@' type='get' id='1'/><presence from='//'/>"
    )
    async with (
        HostileServer(serving(bad + message("good"))) as server,
        visit(server) as session,
    ):
        assert bodies(await take(session, 3))[-1] == "good"


async def test_nothing_counts_after_the_end_of_the_stream() -> None:
    late = "</stream:stream>"
    async with (
        HostileServer(serving(message("1") + late + message("2"))) as server,
        visit(server) as session,
    ):
        events = await read_until(session, Disconnected)
    assert "2" not in bodies(events)


# --- who decides ------------------------------------------------------------------


async def test_a_redirect_in_mid_session_is_not_followed() -> None:
    redirect = (
        "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
        "evil.example:5222</see-other-host></stream:error></stream:stream>"
    )
    async with HostileServer(serving(redirect)) as server:
        tor = LoopbackDialer(server.port)
        async with visit(server, tor=tor) as session:
            events = await read_until(session, Disconnected)
            await read_until(session, Connected)
    assert events[-1] == Disconnected("the server ended the stream (see-other-host)")
    assert {(address, port) for address, port, _ in tor.dialed} == {
        (server.onion, 5222)
    }


async def test_a_second_process_on_the_same_device_is_final() -> None:
    conflict = (
        "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        "</stream:error></stream:stream>"
    )
    async with HostileServer(serving(conflict)) as server, visit(server) as session:
        with pytest.raises(SessionLostError, match="another process"):
            await read_until(session, SubscriptionRequest)
        assert session.state is State.CLOSED
        with pytest.raises(SessionLostError):
            await session.wait_online()
        assert len(server.peers) == 1


async def test_strangers_get_no_answer_that_a_person_did_not_give() -> None:
    asking = (
        f"<presence from='{STRANGER}' type='subscribe' id='s'/>"
        f"<presence from='{STRANGER}/x'><c xmlns='http://jabber.org/protocol/caps' "
        "hash='sha-1' node='n' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>"
        + message("hi", inside="<request xmlns='urn:xmpp:receipts'/>")
        + f"<iq from='{STRANGER}/x' type='get' id='v'>"
        "<query xmlns='jabber:iq:version'/></iq><iq type='get' id='last'/>"
    )
    async with HostileServer(serving(asking)) as server, visit(server) as session:
        events = await read_until(session, Received)
        await server.wait_heard("feature-not-implemented")
    assert server.heard.count("feature-not-implemented") == 1  # the server's own
    assert SubscriptionRequest(JID(STRANGER)) in events
    words = ("subscribed", "urn:xmpp:receipts", "disco#info", "slixmpp", "mallory")
    for word in words:
        assert word not in server.heard


# --- acknowledgements ---------------------------------------------------------------


async def test_a_stanza_is_acknowledged_when_the_next_is_asked_for() -> None:
    three = "".join(message(str(n)) for n in range(3)) + f"<r {SM}/>"
    async with HostileServer(serving(three)) as server, visit(server) as session:
        await server.wait_heard(" h='0'/>")
        events = session.events()
        for _ in range(4):  # Connected, and three messages
            await anext(events)
        assert " h='3'/>" not in server.heard
        async with asyncio.TaskGroup() as tasks:
            more = tasks.create_task(read_until(session, Received))
            await server.wait_heard(" h='3'/>")
            more.cancel()


async def test_a_burst_asks_once_for_all_its_acks() -> None:
    async with HostileServer(serving()) as server, visit(server) as session:
        await take(session, 1)
        await server.wait_heard("<r ")
        before = server.heard.count("<r ")
        for number in range(10):
            session.send(f"<message to='{STRANGER}' id='n{number}'/>", f"n{number}")
        await server.wait_heard("n9")
        await server.wait_heard("<r ")
        await asyncio.sleep(0.05)
        assert server.heard.count("<r ") == before + 1


async def test_an_ack_completes_exactly_what_it_covers() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.read("id='two'")
        await peer.send(f"<a {SM} h='1'/>")

    async with HostileServer(script) as server, visit(server) as session:
        await take(session, 1)
        one = asyncio.ensure_future(session.send("<message id='one'/>", "one"))  # noqa: TID251 - to look at it
        two = asyncio.ensure_future(session.send("<message id='two'/>", "two"))  # noqa: TID251 - to look at it
        async with asyncio.timeout(60):
            await one
        assert not two.done()


async def test_an_impossible_ack_marks_nothing_as_delivered() -> None:
    async def script(peer: Peer) -> None:
        if "<enable" in server.heard:  # the second time: the stream is forgotten
            await peer.start_tls()
            await peer.scram()
            await peer.greet(SESSION)
            await peer.read("<resume")
            await peer.send(f"<failed {SM}/>")
            await peer.answer_bind(f"{peer.account}/again")
            await peer.read("<enable")
            await peer.send(f"<enabled {SM}/>")
            return
        await peer.log_in()
        await peer.read("id='one'")
        await peer.send(f"<a {SM} h='4000000000'/>")

    async with HostileServer(script) as server, visit(server) as session:
        await take(session, 1)
        with pytest.raises(NotAcknowledgedError):
            await session.send("<message id='one'/>", "one")
    assert "undefined-condition" in server.heard


@pytest.mark.parametrize("count", ["4000000000", "-1", "x", ""])
async def test_an_impossible_resumption_is_given_up(count: str) -> None:
    async def script(peer: Peer) -> None:
        if "<resume" not in server.heard and "<enable" in server.heard:
            await peer.start_tls()
            await peer.scram()
            await peer.greet(SESSION)
            await peer.read("<resume")
            await peer.send(f"<resumed {SM} previd='again' h='{count}'/>")
            return
        await peer.log_in()
        if len(server.peers) == 1:
            await peer.read("<r ")
            peer.writer.transport.abort()

    async with HostileServer(script) as server, visit(server) as session:
        events = await read_until(session, Disconnected)
        events += await read_until(session, Connected)
        assert events[-1] == Connected(resumed=False)
        assert server.heard.count("<resume ") == 1


async def resumes_and_is_deaf(peer: Peer, *, first: bool) -> None:
    if first:
        await peer.log_in()
        await peer.read("<r ")
        peer.writer.transport.abort()
        return
    await peer.start_tls()
    await peer.scram()
    await peer.greet(SESSION)
    await peer.read("<")
    if (await peer.read(" ")).strip() == "resume":
        await peer.read("/>")
        await peer.send(f"<resumed {SM} previd='again' h='0'/>")
        return  # and swallows everything from now on, as Prosody 0.12 may
    await peer.answer_bind(f"{peer.account}/again")
    await peer.read("<enable")
    await peer.send(f"<enabled {SM} resume='true' id='more'/>")


async def test_a_stream_that_is_resumed_and_deaf_is_given_up_for_a_new_one() -> None:
    async def script(peer: Peer) -> None:
        await resumes_and_is_deaf(peer, first=len(server.peers) == 1)

    timing = replace(QUICK, resumed_silence=0.3)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        await read_until(session, Disconnected)
        waiting = session.send("<message id='one'/>", "one")
        assert (await read_until(session, Connected))[-1] == Connected(resumed=True)
        gone = await read_until(session, Disconnected)
        assert gone[-1] == Disconnected("the server does not answer")
        with pytest.raises(NotAcknowledgedError):
            await waiting
        assert (await read_until(session, Connected))[-1] == Connected(resumed=False)
    # The question went first: all that goes again may take long on a slow way.
    resumed = server.heard.rpartition("<resume ")[2]
    assert resumed.index("<r ") < resumed.index("id='one'")


async def test_a_stream_that_is_resumed_and_deaf_and_talks_much_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await resumes_and_is_deaf(peer, first=len(server.peers) == 1)
        if len(server.peers) == 2:
            words = (
                f"<message from='{peer.account}'><body>{'x' * 8192}</body></message>"
            )
            while True:  # what others say to us
                await peer.send(f"{words}<r {SM}/>")
                await asyncio.sleep(0.05)

    timing = replace(QUICK, resumed_silence=0.5)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        await read_until(session, Disconnected)
        assert (await read_until(session, Connected))[-1] == Connected(resumed=True)
        gone = await read_until(session, Disconnected)
        assert gone[-1] == Disconnected("the server does not answer")
        assert (await read_until(session, Connected))[-1] == Connected(resumed=False)


def test_a_dead_connection_is_noticed_within_90_seconds() -> None:
    timing = Timing()
    assert 1.2 * timing.idle + timing.silence <= 90


@dataclass
class SlowDialer(LoopbackDialer):
    """The first dials get no answer."""

    turns: list[tuple[int, float]] = field(default_factory=list)

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        self.turns.append((isolation.turn, timeout))
        if len(self.turns) < 4:
            raise DialTimeoutError("no answer", host=str(address))
        return await super().dial(
            address, port, isolation=isolation, timeout=timeout, first=first
        )


async def test_a_dial_without_answer_is_repeated_by_other_circuits() -> None:
    timing = replace(QUICK, first_dial=20.0, dial=60.0)
    async with HostileServer(serving()) as server:
        tor = SlowDialer(server.port)
        async with visit(server, tor=tor, timing=timing) as session:
            await read_until(session, Connected)
            tor.cut()
            await read_until(session, Connected)

    assert tor.turns[:4] == [(0, 20.0), (1, 40.0), (2, 60.0), (3, 60.0)]
    assert tor.turns[4] == (3, 20.0)


async def test_a_server_that_falls_silent_is_left_and_dialed_again() -> None:
    timing = replace(QUICK, silence=0.3)
    async with (
        HostileServer(serving()) as server,
        visit(server, timing=timing) as session,
    ):
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected("the server does not answer")


async def test_a_silent_connection_is_left_when_another_one_is_there() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        if len(server.peers) > 1:
            await peer.read("<r ")
            await peer.send(f"<a {SM} h='0'/>")

    timing = replace(QUICK, silence=600.0, doubt=0.05)
    async with HostileServer(script) as server:
        tor = LoopbackDialer(server.port)
        async with visit(server, tor=tor, timing=timing) as session:
            events = await read_until(session, Disconnected)
            await read_until(session, Connected)

    why = "it is silent, and another circuit answers"
    assert events[-1] == Disconnected(why)
    assert [isolation.turn for _, _, isolation in tor.dialed] == [0, 1]


async def test_after_silence_the_next_dial_goes_by_other_circuits() -> None:
    timing = replace(QUICK, silence=0.3)
    async with HostileServer(serving()) as server:
        tor = LoopbackDialer(server.port)
        async with visit(server, tor=tor, timing=timing) as session:
            await read_until(session, Disconnected)
            await read_until(session, Connected)

    assert [isolation.turn for _, _, isolation in tor.dialed] == [0, 1]


async def test_the_answer_to_an_earlier_question_is_not_that_to_the_last() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.read("<r ")
        await peer.send(f"<a {SM} h='0'/>")
        await peer.read("id='two'")  # each has a question of its own behind it
        await peer.send(f"<a {SM} h='1'/>")

    timing = replace(QUICK, idle=600.0, silence=0.3)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        await read_until(session, Connected)
        async with asyncio.TaskGroup() as tasks:

            async def say(name: str) -> None:
                with suppress(NotAcknowledgedError):
                    await session.send(f"<message id='{name}'/>", name)

            first = tasks.create_task(say("one"))
            await asyncio.sleep(0.01)
            second = tasks.create_task(say("two"))
            events = await read_until(session, Disconnected)
            assert events[-1] == Disconnected("the server does not answer")
            assert first.done()
            second.cancel()


async def test_an_idle_session_asks_for_a_sign_of_life_and_stays() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        while True:
            await peer.read("<r ")
            await peer.send(f"<a {SM} h='0'/>")

    timing = replace(QUICK, idle=0.05)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        await take(session, 1)
        async with asyncio.timeout(60):
            while server.heard.count("<r ") < 4:
                server.peers[0].news.clear()
                await server.peers[0].news.wait()
        assert session.state is State.ONLINE


async def test_a_server_that_falls_silent_later_is_left_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.read("<r ")
        await peer.send(f"<a {SM} h='0'/>")

    timing = replace(QUICK, idle=0.05, silence=0.3)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected("the server does not answer")


async def test_a_server_that_talks_and_never_answers_is_left() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        while True:
            await peer.send(" ")
            await asyncio.sleep(0.05)

    timing = replace(QUICK, silence=5, answer=0.4)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected("the server does not answer")


async def test_a_server_that_chats_and_does_not_hear_us_is_left_as_early() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        while True:
            await peer.send(" ")
            await asyncio.sleep(0.05)

    timing = replace(QUICK, silence=0.4, answer=300)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected("the server does not answer")


async def test_an_answer_may_stand_behind_much() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        for _ in range(40):
            await peer.send(" " * 2000)
            await asyncio.sleep(0.05)
        await peer.send(f"<a {SM} h='0'/><message from='{peer.account}'/>")

    timing = replace(QUICK, silence=1.0, answer=300)
    async with HostileServer(script) as server, visit(server, timing=timing) as session:
        events = await take(session, 2)
    assert [type(event) for event in events] == [Connected, Received]


async def test_what_comes_before_counting_is_read_and_not_counted() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        await peer.answer_bind(f"{peer.account}/here")
        await peer.read("<enable")
        await peer.send(
            message("early") + f"<enabled {SM}/>" + message("late") + f"<r {SM}/>"
        )

    async with HostileServer(script) as server, visit(server) as session:
        assert bodies(await take(session, 3)) == ["early", "late"]
        await session.announce()
        await server.wait_heard("<presence")
        assert " h='0'/>" in server.heard  # "late" is not handled yet


async def test_a_rule_broken_right_behind_the_login_is_noticed() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        await peer.answer_bind(f"{peer.account}/here")
        await peer.read("<enable")
        await peer.send(f"<enabled {SM}/><a {SM} h='77'/>")

    async with HostileServer(script) as server, visit(server) as session:
        events = await read_until(session, Disconnected)
        assert events[-1] == Disconnected("the server acknowledged what was never sent")
    assert "undefined-condition" in server.heard


async def test_a_request_that_the_server_refuses_is_an_error_of_ours() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        request = await peer.read("jabber:iq:roster")
        found = re.findall(r'id="([^"]+)"', request)[-1]
        await peer.send(
            f"<iq type='error' id='{found}'><error type='cancel'><forbidden "
            "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )

    async with HostileServer(script) as server, visit(server) as session:
        await take(session, 1)
        with pytest.raises(SessionError, match="forbidden"):
            await session.people.roster()


async def test_a_request_ends_with_its_session() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        if len(server.peers) == 1:
            await peer.read("jabber:iq:roster")
            peer.writer.transport.abort()

    async with HostileServer(script) as server, visit(server) as session:
        await take(session, 1)
        with pytest.raises(SessionError, match="no answer came"):
            await session.people.roster()


async def test_only_messages_and_presences_are_sent_by_hand() -> None:
    async with HostileServer(serving()) as server, visit(server) as session:
        for text in ("<iq/>", "</stream:stream>", "hello", " <message/>"):
            with pytest.raises(ValueError, match="only messages"):
                session.send(text, "x")


# --- flow ----------------------------------------------------------------------------


async def test_a_slow_reader_slows_the_server_and_loses_nothing() -> None:
    flood = [message(f"{n}:" + "x" * 10_000) for n in range(2000)]
    async with (
        HostileServer(serving()) as server,
        visit(server, limit=16) as session,
    ):
        await take(session, 1)
        peer = server.peers[0]
        for text in flood:
            peer.writer.write(text.encode())
        async with asyncio.timeout(60):
            while not session._paused:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(session._queue) < 16 * 16 + 100
        assert bodies(await take(session, 2000)) == [
            re.findall("<body>(.*)</body>", text)[0] for text in flood
        ]


async def test_a_friend_is_heard_before_the_flood_of_a_stranger() -> None:
    friend = f"friend@{make_onion_name()}"
    flood = [message(str(number)) for number in range(3000)]
    async with HostileServer(serving()) as server, visit(server) as session:
        await take(session, 1)
        session.know_contacts(frozenset({JID(friend)}))
        text = "".join([*flood, message("hello", friend), message("too", friend)])
        server.peers[0].writer.write(text.encode())
        async with asyncio.timeout(60):
            while len(session._queue) < 3002:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)

        heard = bodies(await take(session, 3002))

    assert heard[:2] == ["hello", "too"]
    assert heard[2:] == [str(number) for number in range(3000)]


async def test_who_becomes_a_contact_does_not_overtake_himself() -> None:
    async with HostileServer(serving()) as server, visit(server) as session:
        await take(session, 1)
        server.peers[0].writer.write(message("first").encode())
        async with asyncio.timeout(60):
            while len(session._queue) < 1:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        session.know_contacts(frozenset({JID(STRANGER)}))
        server.peers[0].writer.write(message("second").encode())
        async with asyncio.timeout(60):
            while len(session._queue) < 2:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)

        assert bodies(await take(session, 2)) == ["first", "second"]


@pytest.mark.parametrize("is_contact", [True, False])
async def test_a_few_huge_stanzas_slow_the_server_too(
    is_contact: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    huge = message("x" * 1_000_000)
    async with HostileServer(serving()) as server, visit(server) as session:
        await take(session, 1)
        if is_contact:
            session.know_contacts(frozenset({JID(STRANGER)}))
        for _ in range(50):
            server.peers[0].writer.write(huge.encode())
        async with asyncio.timeout(60):
            while not session._paused:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(session._queue) < (12 if is_contact else 36)
        assert len(bodies(await take(session, 50))) == 50


async def test_an_answer_gets_through_though_the_reader_is_slow() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.send("".join(message(str(n)) for n in range(20)))
        request = await peer.read("jabber:iq:roster")
        found = re.findall(r'id="([^"]+)"', request)[-1]
        await peer.send("".join(message(str(n)) for n in range(20)))
        await peer.send(
            f"<iq type='result' id='{found}'><query xmlns='jabber:iq:roster'>"
            f"<item jid='{STRANGER}' subscription='to'/></query></iq>"
        )

    async with (
        HostileServer(script) as server,
        visit(server, limit=1) as session,
    ):
        await take(session, 1)
        async with asyncio.timeout(60):
            while not session._paused:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
            (contact,) = await session.people.roster()
        assert contact.jid == STRANGER


# --- silence --------------------------------------------------------------------------


async def test_no_log_has_the_password_a_message_or_a_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)  # the root logger: what an application would do
    canary = "canary-7261"
    poison = message(canary) + f"<message><body>{canary}</oops>"
    async with (
        HostileServer(serving(poison), password=canary) as server,
        visit(server) as session,
    ):
        await read_until(session, Disconnected)
        session.xmpp.send_message(mto=session.xmpp.boundjid, mbody=canary)
    assert caplog.text
    for secret in (canary, "mallory", "victim", server.onion):
        assert secret not in caplog.text


async def test_an_outage_is_warned_of_once_and_the_next_one_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    logins = 0

    async def script(peer: Peer) -> None:
        nonlocal logins
        logins += 1
        if logins in {6, 12}:  # twice it is well, and lost again when that is proved
            await peer.log_in()
            await peer.read("<r ")
            await peer.send(f"<a {SM} h='0'/>")
            await asyncio.sleep(0.1)
        raise ConnectionResetError("hang up")

    async with HostileServer(script) as server, visit(server):
        async with asyncio.timeout(60):
            while logins < 16:  # noqa: ASYNC110 - the server has no event
                await asyncio.sleep(0.01)
    told = [one for one in caplog.records if "next attempt" in one.message]
    warned = [one for one in told if one.levelno == logging.WARNING]
    assert len(told) >= 14
    assert len(warned) == 3


# --- whose word counts ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["result", "error"])
async def test_an_answer_of_somebody_else_is_none(kind: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        request = await peer.read("jabber:iq:roster")
        found = re.findall(r'id="([^"]+)"', request)[-1]

        def answer(sender: str, kind: str, jid: str) -> str:
            return (
                f"<iq type='{kind}' id='{found}' {sender}>"
                f"<query xmlns='jabber:iq:roster'><item jid='{jid}' "
                "subscription='both'/></query></iq>"
            )

        for sender in (STRANGER, f"{STRANGER}/x", f"{server.jid}.", "//"):
            await peer.send(answer(f"from='{sender}'", kind, STRANGER))
        await peer.send(answer("", "result", f"friend@{server.onion}"))

    async with HostileServer(script) as server, visit(server) as session:
        await take(session, 1)
        (contact,) = await session.people.roster()
    assert contact.jid == f"friend@{server.onion}"


async def test_only_our_own_account_changes_our_contacts() -> None:
    def push(sender: str, name: str, items: int = 1) -> str:
        item = f"<item jid='{name}@{server.onion}' subscription='both'/>"
        return (
            f"<iq type='set' id='{name}' {sender}><query xmlns='jabber:iq:roster'>"
            f"{item * items}</query></iq>"
        )

    async def script(peer: Peer) -> None:
        await peer.log_in()
        await peer.send(
            push(f"from='{STRANGER}'", "stranger")
            + push(f"from='{server.jid}/other'", "resource")
            + push(f"from='{server.onion}'", "domain")
            + push("", "two", items=2)
            + push("", "good")
            + push(f"from='{server.jid}'", "better")
        )

    async with HostileServer(script) as server, visit(server) as session:
        first = await take(session, 3)
        await server.wait_heard("better")

    changes = [event.contact.jid for event in first if isinstance(event, RosterChange)]
    assert changes == [f"good@{server.onion}", f"better@{server.onion}"]
    assert server.heard.count("service-unavailable") == 3
    assert STRANGER not in server.heard


# --- a server that does not read, or does not confirm --------------------------------


async def test_a_server_that_never_reads_our_answers_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The real limit takes long to come to; the kernel's own buffers are beside it.
    monkeypatch.setattr(wire, "_UNREAD_BYTES", 64 * 1024)
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await peer.log_in()
        with suppress(ConnectionError):
            while True:  # never again does it read
                await peer.send(f"<r {SM}/>" * 1000)
                asked += 1000

    async with HostileServer(script) as server, visit(server) as session:
        events = await read_until(session, Disconnected)

    assert events[-1] == Disconnected("the server does not read what we say")
    assert asked > 1000


async def test_a_server_that_confirms_none_of_our_answers_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_xmpp, "_UNCONFIRMED", 20_000)
    empty = "<iq type='set' id='1'><query xmlns='jabber:iq:roster'/></iq>"

    async def script(peer: Peer) -> None:
        await peer.log_in()
        with suppress(ConnectionError):
            while True:
                await peer.send(f"{empty}<a {SM} h='0'/>")
                await peer.hear()

    async with HostileServer(script) as server, visit(server) as session:
        events = await read_until(session, Disconnected)
        unconfirmed, resume_id = (
            session.xmpp.outgoing.characters,
            session.xmpp.resume_id,
        )

    assert events[-1] == Disconnected("the server confirms nothing")
    assert unconfirmed < 21_000
    assert resume_id == ""
