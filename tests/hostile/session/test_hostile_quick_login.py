"""A server that is asked for everything at once, and does not play fair."""

import asyncio
import base64
import hmac
from dataclasses import replace

import pytest

from xmpp_onion.errors import AuthenticationError
from xmpp_onion.session import Remembered
from xmpp_onion.session.connection import State
from xmpp_onion.testing.hostile import MECHANISMS, SESSION, HostileServer, Peer
from xmpp_onion.testing.visit import visit

S2 = "xmlns='urn:xmpp:sasl:2'"
SM = "xmlns='urn:xmpp:sm:3'"
FAST = "xmlns='urn:xmpp:fast:0'"
SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
OFFER = (
    f"<authentication {S2}>"
    "<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-256</mechanism>"
    f"<inline><sm {SM}/><bind xmlns='urn:xmpp:bind:0'/>"
    f"<fast {FAST}><mechanism>HT-SHA-256-NONE</mechanism></fast></inline>"
    "</authentication><resumption xmlns='urn:xmpp-onion:resumption:0'/>"
)
KNOWN = Remembered(
    mechanism="SCRAM-SHA-256",
    is_current=True,
    is_quick=True,
    gives_tokens=True,
    acks_inline=True,
    resumes_whole=True,
    token="the token",
)
# Of an earlier session in which there was no TLS, and a token that is good.
KNOWN_ANEW = replace(KNOWN, is_current=False)
STREAM_ERROR = (
    "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
)
REFUSED = f"<failure {S2}><not-authorized {SASL}/></failure>"


def responder(token: str = KNOWN.token) -> str:
    mac = hmac.digest(token.encode(), b"Responder", "sha256")
    return base64.b64encode(mac).decode()


def success(
    peer: Peer, *, shown: str = "", who: str = "", acks: str = "resume='1' id='again'"
) -> str:
    """Return what a good server says to a good token."""
    return (
        f"<success {S2}><additional-data>{shown or responder()}</additional-data>"
        f"<authorization-identifier>{who or f'{peer.account}/here'}"
        f"</authorization-identifier><bound xmlns='urn:xmpp:bind:0'>"
        f"<enabled {SM} {acks}/></bound></success>"
        f"<stream:features>{SESSION}</stream:features>"
    )


async def meet(peer: Peer) -> None:
    """Let the client say what it says first, and say what we can do."""
    await peer.greet(OFFER)
    await peer.read("</authenticate>")


async def test_a_good_server_is_logged_in_to_with_one_question() -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(success(peer))

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        await session.wait_online(60)
        assert server.heard.count("<authenticate") == 1
        assert "the token" not in server.heard


@pytest.mark.parametrize("shown", [responder("another"), "AAAA", "="])
async def test_who_does_not_know_the_token_is_an_impostor(shown: str) -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(success(peer, shown=shown))

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        with pytest.raises(AuthenticationError):
            await session.wait_online(60)
        assert session.state is State.CLOSED
    assert "<presence" not in server.heard


async def test_an_answer_to_an_earlier_question_proves_nothing() -> None:
    # What was seen of a login by password says nothing about the next.
    seen: list[str] = []

    async def script(peer: Peer) -> None:
        await meet(peer)
        first = base64.b64decode(
            peer.heard.rpartition("<initial-response>")[2].partition("<")[0]
        ).decode()
        nonce = first.rpartition("r=")[2]
        seen.append(nonce)
        challenge = f"r={seen[0]}server,s=c2FsdA==,i=4096"
        encoded = base64.b64encode(challenge.encode()).decode()
        await peer.send(f"<challenge {S2}>{encoded}</challenge>")
        await peer.read("</response>")
        await peer.send(success(peer, shown=base64.b64encode(b"v=AAAA").decode()))

    async with HostileServer(script) as server:
        for _ in range(2):
            known = replace(KNOWN, token="")
            async with visit(server, tls=False, known=known) as session:
                with pytest.raises(AuthenticationError):
                    await session.wait_online(60)
    assert len(set(seen)) == 2


@pytest.mark.parametrize(
    "who", ["admin@{}/x", "{}", "victim@{}", "victim@{}/", "@", "victim@elsewhere/x"]
)
async def test_a_session_of_somebody_else_is_refused(who: str) -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(success(peer, who=who.format(peer.account.domain)))

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        with pytest.raises(AuthenticationError, match="somebody else"):
            await session.wait_online(60)
    assert "<presence" not in server.heard


async def test_a_token_that_is_refused_for_ever_costs_one_proof_each_time() -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(REFUSED)
        await peer.read("</authenticate>")
        await peer.send(REFUSED)

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        with pytest.raises(AuthenticationError, match="refused"):
            await session.wait_online(60)
        assert session.state is State.CLOSED
    assert server.heard.count("<authenticate") == 2
    assert "PLAIN" not in server.heard
    plain = base64.b64encode(f"\0victim\0{server.password}".encode()).decode()
    assert plain not in server.heard


async def test_who_asks_for_more_than_a_token_gets_nothing() -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(f"<challenge {S2}>cj1hLHM9YSxpPTE=</challenge>")

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        with pytest.raises(AuthenticationError, match="more than a token"):
            await session.wait_online(60)
    assert "<response" not in server.heard


async def test_a_weaker_way_than_before_is_not_taken() -> None:
    known = Remembered(mechanism="SCRAM-SHA-512")

    async def script(peer: Peer) -> None:
        await peer.greet(OFFER)

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=known) as session,
    ):
        with pytest.raises(AuthenticationError, match="weaker"):
            await session.wait_online(60)
    assert "<auth" not in server.heard


async def test_a_server_that_lost_its_modules_is_asked_before_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.greet(MECHANISMS)
            await peer.send(STREAM_ERROR.format("unsupported-stanza-type"))
            return
        await peer.log_in(tls=False)

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        await session.wait_online(60)
        second = server.peers[1].heard
    assert "<authenticate" not in second
    assert second.count("<auth ") == 1
    told = [text for text in caplog.messages if "does not offer" in text]
    assert ("SASL2" in told[0], "FAST" in told[1], len(told)) == (True, True, 2)


@pytest.mark.parametrize(
    "condition",
    [
        "conflict",
        "connection-timeout",
        "internal-server-error",
        "policy-violation",
        "reset",
        "resource-constraint",
        "system-shutdown",
    ],
)
async def test_a_server_that_has_no_room_for_us_is_still_known(condition: str) -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        if len(server.peers) == 1:
            await peer.send(STREAM_ERROR.format(condition))
            return
        await peer.send(success(peer))

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        await session.wait_online(60)
        assert "SCRAM" not in server.heard


async def test_a_server_that_ends_each_login_is_asked_before_it_is_told() -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        await peer.send(STREAM_ERROR.format("policy-violation"))

    async with HostileServer(script) as server, visit(server, tls=False, known=KNOWN):
        await server.wait_heard("SCRAM-SHA-256")
        proved = ["SCRAM" in peer.heard for peer in server.peers]
    assert proved == [False, False, False, False, True]


async def test_before_tls_nothing_is_said_about_us() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await meet(peer)
        await peer.send(success(peer))

    known = replace(KNOWN, has_tls=True)
    async with HostileServer(script) as server, visit(server, known=known) as session:
        await session.wait_online(60)
        before = server.heard.partition("<starttls")[0]
    assert "victim" not in before
    assert "authenticate" not in before


async def test_an_acknowledgement_of_nothing_we_sent_gives_the_stream_up() -> None:
    async def script(peer: Peer) -> None:
        await meet(peer)
        if "<resume" not in peer.heard:
            await peer.send(success(peer))
            await peer.read("<r ")
            peer.writer.transport.abort()
            return
        await peer.send(
            f"<success {S2}><additional-data>{responder()}</additional-data>"
            f"<authorization-identifier>{peer.account}/here</authorization-identifier>"
            f"<resumed {SM} h='7' previd='again'/></success>"
        )

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN) as session,
    ):
        await session.wait_online(60)
        await server.wait_heard('previd="again"')
        async with asyncio.timeout(60):
            while session.xmpp.resume_id:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


async def test_a_server_that_lets_nobody_in_without_tls_gets_it_from_the_start() -> (
    None
):
    known: list[Remembered] = []

    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await meet(peer)
        await peer.send(success(peer))

    async def remember(now: Remembered) -> None:
        known.append(now)

    async with HostileServer(script) as server:
        for _ in range(2):
            async with visit(server, tls=False, known=KNOWN_ANEW) as session:
                session._remember = remember
                await session.wait_online(60)
            assert known[-1].needs_tls
        async with visit(server, tls=False, known=known[-1]) as session:
            await session.wait_online(60)
        before = server.peers[-1].heard.partition("<starttls")[0]
    assert "victim" not in before
    assert "authenticate" not in before


async def test_tls_that_is_needed_all_of_a_sudden_comes_before_anything_else() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await meet(peer)

    async with (
        HostileServer(script) as server,
        visit(server, tls=False, known=KNOWN),
        asyncio.timeout(60),
    ):
        while len(server.peers) < 2 or "</auth" not in server.peers[1].heard:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        second = server.peers[1].heard
    assert second.index("<starttls") < second.index("<authenticate")
