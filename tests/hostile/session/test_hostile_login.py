import asyncio
import base64
import ssl

import pytest
from slixmpp import ClientXMPP

from xmpp_onion.address import Invite
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    FeatureMissingError,
    RegistrationError,
    SessionError,
)
from xmpp_onion.session import register
from xmpp_onion.session.connection import State
from xmpp_onion.testing.hostile import (
    MECHANISMS,
    SASL,
    SESSION,
    STARTTLS,
    HostileServer,
    Peer,
)
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.visit import first_failure, visit

EVERYTHING = "".join(
    f"<mechanism>{name}</mechanism>"
    for name in (
        "PLAIN", "LOGIN", "DIGEST-MD5", "CRAM-MD5", "ANONYMOUS", "EXTERNAL",
        "OAUTHBEARER", "X-OAUTH2", "SCRAM-SHA-1", "SCRAM-SHA-256",
    )
)  # fmt: skip
FOREIGN = base64.b64encode(b"r=other,s=AAAA,i=4096").decode()
FAILURE = f"<failure {SASL}><not-authorized/></failure>"


async def refuse_each_login(peer: Peer) -> None:
    await peer.start_tls()
    await peer.greet(f"<mechanisms {SASL}>{EVERYTHING}</mechanisms>")
    while True:
        await peer.read("<auth ")
        await peer.send(FAILURE)


def plain(server: HostileServer) -> str:
    return base64.b64encode(f"\0victim\0{server.password}".encode()).decode()


async def test_the_error_of_a_refused_login_is_not_its_own_cause() -> None:
    async with HostileServer(refuse_each_login) as server, visit(server) as session:
        with pytest.raises(AuthenticationError) as raised:
            await session.wait_online(60)

    assert raised.value.__cause__ is not raised.value


async def test_after_a_refused_login_nothing_weaker_is_tried() -> None:
    async with HostileServer(refuse_each_login) as server, visit(server) as session:
        with pytest.raises(AuthenticationError, match="not-authorized"):
            await session.wait_online(60)
        assert session.state is State.CLOSED
        assert server.heard.count("<auth ") == 1
        assert len(server.peers) == 1
    assert "SCRAM-SHA-256" in server.heard
    assert plain(server) not in server.heard


async def put_away(bare: ClientXMPP) -> None:
    bare.cancel_connection_attempt()
    bare.abort()
    if bare._run_out_filters is not None:
        bare._run_out_filters.cancel()
    await asyncio.sleep(0.05)


async def test_bare_slixmpp_sends_the_password_after_a_refused_login() -> None:
    # What the test above guards against (T7): the same server, the bare library.
    async with HostileServer(refuse_each_login) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        bare = ClientXMPP(server.jid, server.password, ssl_context=context)
        bare.enable_direct_tls = False
        bare.connect("127.0.0.1", server.port)
        await server.wait_heard(plain(server))
        await put_away(bare)


async def test_without_a_safe_mechanism_nothing_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.greet(
            f"<mechanisms {SASL}><mechanism>PLAIN</mechanism>"
            "<mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
        )

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(FeatureMissingError, match="SCRAM-SHA-256"):
            await session.wait_online(60)
    assert "<auth" not in server.heard


async def test_stripped_tls_is_noticed_before_anything_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(MECHANISMS)

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(FeatureMissingError, match="does not offer TLS"):
            await session.wait_online(60)
    assert "<auth" not in server.heard
    assert "victim" not in server.heard


async def test_another_certificate_is_noticed_before_anything_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()

    async with HostileServer(script) as server, HostileServer(script) as impostor:
        server.certificate = impostor.certificate
        async with visit(server) as session:
            with pytest.raises(CertificateError, match="another certificate"):
                await session.wait_online(60)
        assert server.heard.endswith("xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")


async def test_the_first_certificate_is_kept_for_the_rest_of_the_session() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()

    async with HostileServer(script) as server, visit(server, pinned=False) as session:
        await session.wait_online(60)
        assert session.certificate == server.certificate


async def test_bytes_slipped_in_before_tls_are_not_believed_after_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(STARTTLS)
        await peer.read("<starttls")
        await peer.send(
            "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
            f"<stream:features>{MECHANISMS}</stream:features>"
        )
        await peer.writer.start_tls(peer.tls)

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(SessionError, match="more than it was asked for"):
            await first_failure(session)
    assert "<auth" not in server.heard


async def test_a_broken_handshake_is_an_error_of_ours() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(STARTTLS)
        await peer.read("<starttls")
        if len(server.peers) == 2:
            failed.set()
        await peer.read("/>")
        await peer.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await peer.reader.read(1)  # before it begins, our words would be XML
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    failed = asyncio.Event()
    async with HostileServer(script) as server, visit(server) as session:
        await failed.wait()
        with pytest.raises(SessionError, match="TLS with the server failed"):
            await session.wait_online(0)


async def reads_auth(peer: Peer) -> None:
    await peer.start_tls()
    await peer.greet(MECHANISMS)
    await peer.read("</auth>")


@pytest.mark.parametrize(
    "answer",
    [
        f"<success {SASL}/>",
        f"<success {SASL}>dj1BQUFB</success>",
        f"<challenge {SASL}>not base64!</challenge>",
        f"<challenge {SASL}>\u00e9</challenge>",
        f"<challenge {SASL}>{FOREIGN}</challenge>",
        f"<challenge {SASL}/>",
    ],
)
async def test_an_impostor_that_cannot_answer_is_refused(answer: str) -> None:
    async def script(peer: Peer) -> None:
        await reads_auth(peer)
        await peer.send(answer)

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises((AuthenticationError, SessionError)):
            await first_failure(session)
        assert "<response" not in server.heard
        assert session.xmpp.authenticated is False


async def test_a_login_without_end_is_refused_before_it_fills_the_memory() -> None:
    stanza = f"<message><body>{'x' * 100_000}</body></message>"

    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        await peer.answer_bind(f"{peer.account}/here")
        await peer.read("<enable")
        for _ in range(200):  # and never <enabled/>
            await peer.send(stanza)

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(SessionError, match="not that long"):
            await first_failure(session)


@pytest.mark.parametrize("iterations", [1, 4095, 1_000_001, 2**31])
async def test_unsafe_and_insane_iterations_are_refused(iterations: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.greet(MECHANISMS)
        first = base64.b64decode(
            (await peer.read("</auth>")).rpartition("</")[0].rpartition(">")[2]
        ).decode()
        nonce = first.partition("r=")[2] + "x"
        challenge = f"r={nonce},s=AAAA,i={iterations}".encode()
        await peer.send(
            f"<challenge {SASL}>{base64.b64encode(challenge).decode()}</challenge>"
        )

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(AuthenticationError, match=f"{iterations} iterations"):
            await session.wait_online(60)
    assert "<response" not in server.heard


async def test_a_server_that_cannot_check_passwords_now_is_tried_again() -> None:
    async def script(peer: Peer) -> None:
        await reads_auth(peer)
        await peer.send(f"<failure {SASL}><temporary-auth-failure/></failure>")

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(SessionError, match="cannot check passwords"):
            await first_failure(session)
        async with asyncio.timeout(60):
            while len(server.peers) < 2:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("jid", ["admin@{}/x", "{}", "victim@{}", "@", ""])
async def test_a_session_of_somebody_else_is_refused(jid: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(SESSION)
        await peer.answer_bind(jid.format(peer.account.domain))

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(AuthenticationError, match="somebody else"):
            await session.wait_online(60)
    assert "<message" not in server.heard
    assert "<presence" not in server.heard


async def test_a_server_without_acknowledgements_is_not_used() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")

    async with HostileServer(script) as server, visit(server) as session:
        with pytest.raises(FeatureMissingError) as caught:
            await session.wait_online(60)
    assert caught.value.feature == "XEP-0198"


async def test_compression_and_other_offers_are_left_alone() -> None:
    extra = "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>"

    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.scram()
        await peer.greet(extra + SESSION)
        await peer.answer_bind(f"{peer.account}/x")
        await peer.read("<enable")

    async with HostileServer(script) as server, visit(server):
        await server.wait_heard("<enable")
    assert "compress" not in server.heard


async def redirect(peer: Peer) -> None:
    await peer.read("<stream:stream")
    await peer.send(
        "<stream:stream xmlns='jabber:client' id='x' version='1.0' "
        "xmlns:stream='http://etherx.jabber.org/streams'><stream:error>"
        "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
        f"127.0.0.1:{peer.writer.get_extra_info('sockname')[1]}"
        "</see-other-host></stream:error></stream:stream>"
    )


async def test_a_redirect_is_not_followed() -> None:
    async with HostileServer(redirect) as server:
        tor = LoopbackDialer(server.port)
        async with visit(server, tor=tor) as session:
            with pytest.raises(SessionError, match="see-other-host"):
                await first_failure(session)
            async with asyncio.timeout(60):
                while len(tor.dialed) < 2:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        assert {address for address, _, _ in tor.dialed} == {server.onion}


async def test_bare_slixmpp_rewrites_its_server_at_a_redirect() -> None:
    # What the test above guards against (T6).
    async with HostileServer(redirect) as server:
        bare = ClientXMPP(server.jid, server.password)
        bare.connect("127.0.0.1", server.port)
        await bare.wait_until("stream_error", 20)
        await asyncio.sleep(0)
        assert bare.default_domain == "127.0.0.1"
        await put_away(bare)


async def test_registering_with_another_certificate_sends_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.start_tls()
        await peer.greet("")

    async with HostileServer(script) as server:
        invite = Invite.build(server.onion, "t" * 24, cert_sha256="0" * 64)
        with pytest.raises(CertificateError):
            await register(invite, "me", "secret", tor=LoopbackDialer(server.port))
    assert "t" * 24 not in server.heard
    assert "secret" not in server.heard


async def test_an_invite_for_one_name_is_not_spent_on_another() -> None:
    async def script(peer: Peer) -> None:
        del peer

    async with HostileServer(script) as server:
        tor = LoopbackDialer(server.port)
        invite = Invite.build(server.onion, "t" * 24, local="anna")
        with pytest.raises(RegistrationError, match="another name"):
            await register(invite, "berta", "secret", tor=tor)
    assert tor.dialed == []
