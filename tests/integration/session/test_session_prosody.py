import asyncio
import os
import secrets
import signal
import socket
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    DialTimeoutError,
    NotAcknowledgedError,
    RegistrationError,
)
from xmpp_onion.server import Prosody
from xmpp_onion.session import (
    Connected,
    Contact,
    Disconnected,
    Incoming,
    Received,
    Session,
    SubscriptionRequest,
    message_stanza,
    read_message,
    register,
)
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.visit import Connect
from xmpp_onion.transport import Isolation

pytestmark = pytest.mark.prosody

OMEMO = "{eu.siacs.conversations.axolotl}"


def stanza(to: JID, text: str) -> tuple[str, str]:
    encrypted = ET.Element(f"{OMEMO}encrypted")
    ET.SubElement(encrypted, f"{OMEMO}payload").text = text
    message_id = secrets.token_hex(16)
    return message_stanza(to.bare, message_id, [encrypted]), message_id


def text_of(received: Received, own: JID) -> str:
    incoming = read_message(received.element, own=own)
    assert isinstance(incoming, Incoming)
    (encrypted,) = incoming.encrypted
    return encrypted.findtext(f"{OMEMO}payload", "")


# --- accounts -------------------------------------------------------------------


async def test_an_invite_makes_one_account_and_no_second(prosody: Prosody) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    invite = await prosody.invite()
    seen = await register(invite, "alice", "pw", tor=tor)
    assert seen == prosody.certificate_fingerprint
    with pytest.raises(RegistrationError, match="used"):
        await register(invite, "mallory", "pw", tor=tor)
    who = JID(f"alice@{prosody.onion}")
    async with Session(who, "pw", tor=tor, certificate=seen) as session:
        await session.wait_online(60)
        assert session.jid.bare == who


async def test_a_name_that_is_taken_leaves_the_invite_good(prosody: Prosody) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    await prosody.add_account("alice", "pw")
    invite = await prosody.invite()
    with pytest.raises(RegistrationError, match="taken"):
        await register(invite, "alice", "other", tor=tor)
    await register(invite, "bob", "pw", tor=tor)


async def test_an_unknown_token_is_refused(prosody: Prosody) -> None:
    invite = Invite.build(prosody.onion, "A" * 24)
    with pytest.raises(RegistrationError):
        await register(invite, "eve", "pw", tor=LoopbackDialer(prosody.c2s_port))


class StuckOnce(LoopbackDialer):
    """Whose first circuit never answers."""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        if not self.dialed:
            self.dialed.append((address, port, isolation))
            raise DialTimeoutError("no answer", host=address)
        return await super().dial(
            address, port, isolation=isolation, timeout=timeout, first=first
        )


async def test_registering_takes_another_circuit_when_one_is_stuck(
    prosody: Prosody,
) -> None:
    tor = StuckOnce(prosody.c2s_port)
    await register(await prosody.invite(), "al", "pw", tor=tor)
    first, second = (isolation.credentials() for _, _, isolation in tor.dialed)
    assert first != second


async def test_registering_works_without_tls_inside_the_onion(
    prosody: Prosody,
) -> None:
    tor = LoopbackDialer(prosody.c2s_port)
    assert await register(await prosody.invite(), "al", "pw", tor=tor, tls=False) == ""


async def test_a_wrong_password_is_final_at_once(prosody: Prosody) -> None:
    who = await prosody.add_account("alice", "right")
    tor = LoopbackDialer(prosody.c2s_port)
    async with Session(who, "wrong", tor=tor) as session:
        with pytest.raises(AuthenticationError):
            await session.wait_online()
        with pytest.raises(AuthenticationError):
            async for _ in session.events():
                pass
    assert len(tor.dialed) == 1


async def test_a_wrong_pin_is_final_at_once(prosody: Prosody) -> None:
    who = await prosody.add_account("alice", "pw")
    tor = LoopbackDialer(prosody.c2s_port)
    async with Session(who, "pw", tor=tor, certificate="ab" * 32) as session:
        with pytest.raises(CertificateError):
            await session.wait_online()
    assert len(tor.dialed) == 1


# --- limits -----------------------------------------------------------------------


async def test_what_the_server_takes_at_once_is_known_where_it_says_so(
    prosody: Prosody, connect: Connect
) -> None:
    alice = await connect("alice")

    # Prosody 0.12 has the same limit, and does not say so.
    says = not prosody.version.startswith("0.")
    assert alice.session.stanza_limit == (512 * 1024 if says else None)


# --- messages ---------------------------------------------------------------------


async def test_a_request_that_is_in_the_filters_when_the_connection_breaks_is_sent(
    connect: Connect,
) -> None:
    alice = await connect("alice")
    for turns in range(6):  # each lets the library come one step further
        people = alice.session.people
        requests = [asyncio.ensure_future(people.roster()) for _ in range(5)]  # noqa: TID251 - awaited below
        for _ in range(turns):
            await asyncio.sleep(0)
        assert alice.session._wire is not None
        alice.session._wire.drop("cut")

        async with asyncio.timeout(60):
            assert await asyncio.gather(*requests) == [()] * 5


async def test_two_sessions_chat(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob", tls=False)
    await alice.session.send(*stanza(bob.session.jid, "to bob"))
    received = await bob.next(Received)
    assert text_of(received, bob.session.jid.bare) == "to bob"
    incoming = read_message(received.element, own=bob.session.jid.bare)
    assert incoming is not None
    assert incoming.sender == alice.session.jid
    assert incoming.stanza_id  # Prosody's archive has it
    await bob.session.send(*stanza(alice.session.jid, "to alice"))
    answer = await alice.next(Received)
    assert text_of(answer, alice.session.jid.bare) == "to alice"


async def test_a_hundred_messages_at_once_arrive_in_order(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    acks = [alice.session.send(*stanza(bob.session.jid, str(n))) for n in range(100)]
    await asyncio.gather(*acks)
    own = bob.session.jid.bare
    got = [text_of(await bob.next(Received), own) for _ in range(100)]
    assert got == [str(n) for n in range(100)]


async def test_a_cut_connection_is_resumed_and_nothing_is_lost(
    connect: Connect,
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    await bob.next(Connected)
    bob.tor.refusing = True
    bob.tor.cut()
    await bob.next(Disconnected)
    waiting = bob.session.send(*stanza(alice.session.jid, "while down"))
    await alice.session.send(*stanza(bob.session.jid, "meanwhile"))
    bob.tor.refusing = False
    assert (await bob.next(Connected)).resumed
    assert text_of(await bob.next(Received), bob.session.jid.bare) == "meanwhile"
    await waiting
    answer = await alice.next(Received)
    assert text_of(answer, alice.session.jid.bare) == "while down"


async def test_a_stream_that_was_cut_inside_a_stanza_hears_us_again(
    connect: Connect,
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    await alice.next(Connected)
    # Prosody 0.12 resumes it with its old parser, and swallows what follows.
    alice.session.timing = replace(alice.session.timing, resumed_silence=1.0)
    alice.session.xmpp.transport.write(b"<message id='half'><body>what was cut o")
    await asyncio.sleep(0.3)  # it reads that
    alice.tor.cut()
    await alice.next(Connected)
    message = stanza(bob.session.jid, "after it")

    async with asyncio.timeout(60):
        try:
            await alice.session.send(*message)
        except NotAcknowledgedError:  # what the outbox does
            await alice.session.wait_online()
            await alice.session.send(*message)
        received = await bob.next(Received)

    assert text_of(received, bob.session.jid.bare) == "after it"


async def test_twenty_cuts_lose_and_double_nothing(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    acks = []
    for number in range(100):
        acks.append(alice.session.send(*stanza(bob.session.jid, str(number))))
        if number % 5 == 0:
            (alice if number % 2 else bob).tor.cut()
            await asyncio.sleep(0.05)
    await asyncio.gather(*acks)
    await bob.session.wait_online(60)
    own = bob.session.jid.bare
    got = [text_of(await bob.next(Received), own) for _ in range(100)]
    assert got == [str(number) for number in range(100)]
    assert all(event.resumed for event in bob.seen[1:] if isinstance(event, Connected))


async def test_a_restarted_server_means_a_new_session(
    connect: Connect, prosody: Prosody
) -> None:
    alice = await connect("alice")
    await alice.next(Connected)
    os.kill(prosody.pid, signal.SIGSTOP)  # so that the message is not acknowledged
    waiting = alice.session.send(*stanza(alice.session.jid, "in flight"))
    os.kill(prosody.pid, signal.SIGKILL)
    await alice.next(Disconnected)
    await prosody.restart()
    alice.tor.port = prosody.c2s_port
    assert not (await alice.next(Connected)).resumed
    with pytest.raises(NotAcknowledgedError):
        await waiting
    await alice.session.send(*stanza(alice.session.jid, "again"))


async def test_what_was_read_and_not_handled_comes_again_after_a_crash(
    connect: Connect,
) -> None:
    alice = await connect("alice")
    bob = await connect("bob", resource="one-device")
    for text in ("handled", "in hand", "waiting"):
        await alice.session.send(*stanza(bob.session.jid, text))
    own = bob.session.jid.bare
    assert text_of(await bob.next(Received), own) == "handled"
    assert text_of(await bob.next(Received), own) == "in hand"
    await alice.session.send(*stanza(bob.session.jid, "last"))
    for _ in range(2):  # the server asks what is handled, and hears it
        await bob.session.xmpp.make_iq_get(queryxmlns="jabber:iq:roster").send()
    bob.tor.refusing = True  # the process is gone and says nothing
    bob.tor.cut()
    again = await connect("bob", resource="one-device")
    got = [text_of(await again.next(Received), own) for _ in range(3)]
    assert got == ["in hand", "waiting", "last"]


async def test_offline_messages_come_when_we_announce_ourselves(
    connect: Connect, prosody: Prosody
) -> None:
    alice = await connect("alice")
    bob = await prosody.add_account("carol", "password of carol")
    await alice.session.send(*stanza(bob, "early"))
    tor = LoopbackDialer(prosody.c2s_port)
    async with Session(bob, "password of carol", tor=tor) as session:
        await session.wait_online(60)
        await session.announce()
        async for event in session.events():
            if isinstance(event, Received):
                assert text_of(event, bob) == "early"
                break


# --- people -----------------------------------------------------------------------


async def test_contacts_are_asked_for_accepted_and_removed(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    a, b = alice.session.jid.bare, bob.session.jid.bare
    await alice.session.people.subscribe(b)
    assert await alice.session.people.roster() == (Contact(b, "none", ask=True),)
    assert await bob.next(SubscriptionRequest) == SubscriptionRequest(a)
    await bob.session.people.subscribe(a)
    async with asyncio.timeout(30):
        while (await alice.session.people.roster())[0].subscription != "both":  # noqa: ASYNC110 - asking is the point
            await asyncio.sleep(0.05)
    assert await bob.session.people.roster() == (Contact(a, "both"),)
    await bob.session.people.remove(a)
    assert await bob.session.people.roster() == ()


async def test_a_refused_request_leaves_nothing(connect: Connect) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    await alice.session.people.subscribe(bob.session.jid.bare)
    request = await bob.next(SubscriptionRequest)
    await bob.session.people.refuse(request.sender)
    assert await bob.session.people.roster() == ()


# --- the end -----------------------------------------------------------------------


async def test_leaving_leaves_no_task_and_no_connection(prosody: Prosody) -> None:
    who = await prosody.add_account("alice", "pw")
    tor = LoopbackDialer(prosody.c2s_port)
    before = asyncio.all_tasks()
    async with Session(who, "pw", tor=tor) as session:
        await session.wait_online(60)
        wire = session._wire
    assert asyncio.all_tasks() == before
    assert wire is not None
    assert wire.transport is None
    with pytest.raises(NotAcknowledgedError):
        await session.send("<message/>", "late")


async def fail_inside(session: Session) -> None:
    async with session:
        await session.wait_online(60)
        raise ZeroDivisionError


async def test_the_error_of_the_body_is_not_wrapped(prosody: Prosody) -> None:
    who = await prosody.add_account("alice", "pw")
    session = Session(who, "pw", tor=LoopbackDialer(prosody.c2s_port))
    with pytest.raises(ZeroDivisionError):
        await fail_inside(session)
