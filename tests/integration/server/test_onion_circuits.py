"""Limits for each circuit of Tor, on a real Prosody, each of them at its edge."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.circuit import Caller, announcement, call
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

ATTACKER, HONEST = 0x1_0093, 0x94
CUT = "policy-violation"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


@asynccontextmanager
async def come(
    prosody: Prosody, circuit: int = ATTACKER, virtual_port: int = 5222
) -> AsyncIterator[Caller]:
    first = announcement(circuit, virtual_port)
    async with call(prosody.circuit_port.port, first) as caller:
        yield caller


@asynccontextmanager
async def guest(prosody: Prosody, circuit: int = ATTACKER) -> AsyncIterator[Caller]:
    """Come and open a stream."""
    async with come(prosody, circuit) as caller:
        caller.open(prosody.onion)
        await caller.hear("</stream:features>")
        yield caller


async def member(
    prosody: Prosody, stack: AsyncExitStack, name: str, circuit: int
) -> LightMember:
    """Log in by way of a circuit."""
    jid = JID(f"{name}@{prosody.onion}")
    first = announcement(circuit)
    one = LightMember(jid, "pw", prosody.circuit_port.port, first=first)
    return await stack.enter_async_context(one)


async def test_who_comes_through_a_circuit_logs_in_and_writes(
    prosody: Prosody,
) -> None:
    for name in ("alice", "bob"):
        await prosody.add_account(name, "pw")
    async with AsyncExitStack() as stack:
        alice = await member(prosody, stack, "alice", 1)
        bob = await member(prosody, stack, "bob", 2)
        bob.send("<presence/>")
        await bob.next()

        alice.send(f"<message to='{bob.jid}' type='chat'><body>hi</body></message>")
        message = await bob.next(lambda stanza: stanza.tag.endswith("message"))

    assert message.findtext("{jabber:client}body") == "hi"


@pytest.mark.parametrize(
    "first",
    [
        b"<stream:stream to='x' xmlns='jabber:client'>\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 147 5222\r\n",
        b"PROXY TCP6 fc00:dead:beef:4dad::0:93 ::1 148 5222\r\n",
        b"PROXY TCP6 fc00:dead:beef:4dad::0:93 ::1 147 22\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n",
        b"P" * 200,
    ],
)
async def test_without_the_name_of_a_circuit_nobody_gets_in(
    prosody: Prosody, first: bytes
) -> None:
    async with call(prosody.circuit_port.port, first) as caller:
        assert await caller.ended() == ""


async def test_the_name_of_a_circuit_may_come_in_pieces(prosody: Prosody) -> None:
    async with call(prosody.circuit_port.port) as caller:
        for byte in announcement(ATTACKER).decode():
            caller.say(byte)
        caller.open(prosody.onion)
        await caller.hear("</stream:features>")


async def test_files_come_through_circuits_too(prosody: Prosody) -> None:
    async with come(prosody, virtual_port=5280) as caller:
        caller.say(f"GET /file_share/x/y HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n")

        assert "HTTP/1.1 404" in await caller.hear("\r\n\r\n")


async def test_files_in_tls_come_through_circuits_too(prosody: Prosody) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(  # noqa: TID251 - the far end of a test, on loopback
        "127.0.0.1", prosody.circuit_port.port
    )
    try:
        writer.write(announcement(ATTACKER, 443))
        await writer.start_tls(context)
        request = f"GET /file_share/x/y HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n"
        writer.write(request.encode())
        async with asyncio.timeout(60):
            assert b"404" in await reader.readline()
    finally:
        writer.transport.abort()


async def test_a_circuit_with_too_many_connections_is_cut_and_no_other(
    prosody: Prosody,
) -> None:
    async with AsyncExitStack() as stack:
        honest = await stack.enter_async_context(guest(prosody, HONEST))
        callers = [
            await stack.enter_async_context(come(prosody, virtual_port=5280))
            for _ in range(32)
        ]
        for caller in callers:
            caller.say(f"GET / HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n")
            await caller.hear("\r\n\r\n")

        one_more = await stack.enter_async_context(come(prosody, virtual_port=5280))
        for caller in [*callers, one_more]:
            await caller.ended()
        async with come(prosody) as late:
            assert await late.ended() == ""
        honest.say(f"<auth xmlns='{SASL}' mechanism='NONE'/>")
        await honest.hear("invalid-mechanism")


async def test_a_circuit_has_eight_connections_without_a_login(
    prosody: Prosody,
) -> None:
    async with AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(guest(prosody)) for _ in range(8)]
        await stack.enter_async_context(come(prosody))
        for one in guests:
            assert CUT in await one.ended()


async def test_who_has_logged_in_does_not_count_as_waiting(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    async with AsyncExitStack() as stack:
        for _ in range(12):
            await member(prosody, stack, "alice", ATTACKER)
        await stack.enter_async_context(guest(prosody))


async def test_ten_logins_may_fail(prosody: Prosody) -> None:
    wrong = f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>eHl6</auth>"
    async with guest(prosody) as caller:
        for _ in range(10):
            caller.say(wrong)
            await caller.hear("</failure>")
            caller.heard = ""
        caller.say(wrong)

        assert CUT in await caller.ended()


async def test_ten_accounts_may_be_asked_for(prosody: Prosody) -> None:
    attempt = "<iq type='set' id='r'><query xmlns='jabber:iq:register'/></iq>"
    async with guest(prosody) as caller:
        for _ in range(10):
            caller.say(attempt)
            await caller.hear("</iq>")
            caller.heard = ""
        caller.say(attempt)

        assert CUT in await caller.ended()


PING = "<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>"


async def answers_to(pings: int, one: LightMember) -> int:
    """Send so many questions at once, and return how many are answered."""
    one.send(PING * pings)
    answers = 0
    with contextlib.suppress(AssertionError, ConnectionError):
        while answers < pings:
            answers += (await one.next()).tag.endswith("}iq")
    return answers


async def test_a_burst_is_answered_and_a_flood_ends_it(prosody: Prosody) -> None:
    for name in ("alice", "mallory"):
        await prosody.add_account(name, "pw")
    async with AsyncExitStack() as stack:
        alice = await member(prosody, stack, "alice", HONEST)
        mallory = await member(prosody, stack, "mallory", ATTACKER)

        assert await answers_to(990, mallory) == 990
        assert await answers_to(20_000, mallory) < 20_000
        assert await answers_to(1, alice) == 1
    assert "A circuit was cut: too many stanzas" in prosody.log_tail()


async def test_an_account_has_one_ceiling_for_all_its_circuits(
    prosody: Prosody,
) -> None:
    for name in ("alice", "mallory"):
        await prosody.add_account(name, "pw")
    async with AsyncExitStack() as stack:
        alice = await member(prosody, stack, "alice", HONEST)
        sessions = [
            await member(prosody, stack, "mallory", number) for number in (1, 2)
        ]
        assert await answers_to(900, sessions[0]) == 900
        # The other one does not come near the ceiling of its own circuit.
        assert await answers_to(900, sessions[1]) < 900
        assert await answers_to(1, alice) == 1


async def test_who_asks_for_acks_is_held_back_and_not_cut(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    async with AsyncExitStack() as stack:
        alice = await member(prosody, stack, "alice", HONEST)
        alice.send("<enable xmlns='urn:xmpp:sm:3'/>")
        await alice.next(lambda one: one.tag.endswith("}enabled"))
        answered = 0
        for _ in range(20):  # twenty times a hundred: more than a burst holds
            answered += await answers_to(100, alice)
            alice.send("<r xmlns='urn:xmpp:sm:3'/>")
            await alice.next(lambda one: one.tag.endswith("}a"))

    assert answered == 2000
    assert "cut" not in prosody.log_tail()


async def test_who_does_not_ask_is_cut(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    async with AsyncExitStack() as stack:
        alice = await member(prosody, stack, "alice", HONEST)

        answered = await answers_to(20_000, alice)

    assert answered < 20_000
    assert "A circuit was cut: too many stanzas" in prosody.log_tail()


async def test_the_log_names_no_circuit(prosody: Prosody) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(9):
            caller = await stack.enter_async_context(come(prosody))
        await caller.ended()

        assert "A circuit was cut: too many connections" in prosody.log_tail()
        assert str(ATTACKER) not in prosody.log_tail()
