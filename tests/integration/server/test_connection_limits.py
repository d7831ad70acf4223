"""What connections to a real Prosody may cost, each ceiling at its edge."""

import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.test_federation import Place
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.server import Prosody
from xmpp_onion.testing.circuit import Caller, announcement, call
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import SocksHub

pytestmark = pytest.mark.prosody

ATTACKER, HONEST = 0x1_0093, 0x94
STANZAS = "urn:ietf:params:xml:ns:xmpp-streams"
PEER = OnionAddress.from_public_key(bytes([7] * 32))


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Let this process have as many connections as a flood needs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 4096), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def come(
    prosody: Prosody, circuit: int = ATTACKER, virtual_port: int = 5222
) -> AsyncIterator[Caller]:
    first = announcement(circuit, virtual_port)
    async with call(prosody.circuit_port.port, first) as caller:
        yield caller


async def with_less(prosody: Prosody, **settings: int) -> None:
    """Restart the server with other numbers, all of which its configuration has."""
    text = prosody.folder.config_file.read_text("utf-8")
    for name, value in settings.items():
        (line,) = [each for each in text.splitlines() if each.split()[:1] == [name]]
        text = text.replace(line, f"{name} = {value}")
    prosody.folder.config_file.write_text(text, "utf-8")
    await prosody.restart()


def member(prosody: Prosody, name: str, circuit: int = HONEST) -> LightMember:
    jid = JID(f"{name}@{prosody.onion}")
    first = announcement(circuit)
    return LightMember(jid, "pw", prosody.circuit_port.port, first=first)


@pytest.mark.usefixtures("_many_files")
async def test_a_thousand_wait_to_log_in_and_then_the_oldest_goes(
    prosody: Prosody,
) -> None:
    await with_less(prosody, c2s_timeout=3600)  # a busy machine takes its minute
    await prosody.add_account("alice", "pw")
    async with AsyncExitStack() as stack:
        waiting = []
        for number in range(1000):
            caller = await stack.enter_async_context(come(prosody, number // 8 + 1000))
            if number % 4 == 0:  # the others say nothing, or not all of it
                caller.open(prosody.onion)
                await caller.hear("</stream:features>")
            else:
                caller.say("<?xml version='1.0'?><stream:stream"[: number % 40])
            waiting.append(caller)
        assert await is_open(waiting[0])

        late = await stack.enter_async_context(come(prosody, 2000))
        late.open(prosody.onion)
        await late.hear("</stream:features>")

        assert "Too many wait to log in" in await waiting[0].ended()
        assert await is_open(waiting[4])
        async with member(prosody, "alice") as alice:  # and so goes the next
            await alice.ask("<ping xmlns='urn:xmpp:ping'/>", to=str(prosody.onion))
        await waiting[1].ended()
        assert await is_open(waiting[4])


async def is_open(caller: Caller) -> bool:
    """Ask for a way in that does not exist, on a stream that was opened."""
    caller.heard = ""
    caller.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>")
    return "invalid-mechanism" in await caller.hear("</failure>")


async def test_120_connections_in_a_row_and_two_a_second(prosody: Prosody) -> None:
    taken = 0
    for _ in range(120):
        async with come(prosody, virtual_port=5280) as caller:
            caller.say(f"GET / HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n")
            await caller.hear("\r\n\r\n")
    for _ in range(1000):
        async with come(prosody, virtual_port=5280) as caller:
            caller.say(f"GET / HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n")
            if not await caller.ended_or("\r\n\r\n"):
                break
            taken += 1

    assert taken < 1000
    assert "A circuit was cut: too many new connections" in prosody.log_tail()


async def test_a_circuit_carries_so_many_bytes(prosody: Prosody) -> None:
    await prosody.add_account("alice", "pw")
    await with_less(
        prosody,
        onion_circuit_byte_burst=1_000_000,
        onion_circuit_bytes_per_second=1,
    )
    request = f"GET / HTTP/1.1\r\nHost: {prosody.onion}\r\nX: {'x' * 4900}\r\n\r\n"
    answered = 0
    async with member(prosody, "alice") as alice:
        while answered < 1000:
            async with come(prosody, virtual_port=5280) as caller:
                for _ in range(20):
                    caller.heard = ""
                    caller.say(request)
                    if not await caller.ended_or("\r\n\r\n"):
                        break
                    answered += 1
                else:
                    continue
                break
        await alice.ask("<ping xmlns='urn:xmpp:ping'/>", to=str(prosody.onion))

    assert answered == 1_000_000 // len(request)
    assert "A circuit was cut: too many bytes" in prosody.log_tail()


async def test_who_has_not_logged_in_says_64_kibibytes(prosody: Prosody) -> None:
    async with come(prosody, HONEST) as honest, come(prosody) as caller:
        for one in (honest, caller):
            one.open(prosody.onion)
            await one.hear("</stream:features>")
        for _ in range(60):  # whitespace between stanzas
            caller.say(" " * 1024)
            assert await is_open(caller)
        caller.say(" " * 4096)

        assert "policy-violation" in await caller.ended()
        assert await is_open(honest)
    assert "A circuit was cut: too many bytes without a log-in" in prosody.log_tail()


async def test_an_account_says_so_many_bytes_by_all_its_circuits(
    prosody: Prosody,
) -> None:
    await prosody.add_account("alice", "pw")
    await with_less(
        prosody, onion_account_byte_burst=300_000, onion_account_bytes_per_second=1
    )
    text = "<message><body>" + "x" * 100_000 + "</body></message>"
    question = "<ping xmlns='urn:xmpp:ping'/>"
    async with member(prosody, "alice", 1) as one, member(prosody, "alice", 2) as two:
        for each in (one, two):
            each.send(text)
            await each.ask(question, to=str(prosody.onion))
        two.send(text)
        with pytest.raises(AssertionError, match="closed the stream"):
            await two.ask(question, to=str(prosody.onion))
    assert "A circuit was cut: too many bytes of an account" in prosody.log_tail()


async def test_another_server_says_so_many_things(prosody: Prosody) -> None:
    await with_less(
        prosody,
        onion_circuit_s2s_stanza_burst=50,
        onion_circuit_s2s_stanzas_per_second=1,
    )
    header = (
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
        "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
        f"from='{PEER}' to='{prosody.onion}'>"
    )
    # A quarter of a stanza, for it belongs to no conversation.
    question = f"<db:verify from='{PEER}' to='{prosody.onion}' id='x'>0</db:verify>"
    answered = 0
    async with come(prosody, virtual_port=5269) as caller:
        caller.say(header)
        await caller.hear("</stream:features>")
        while answered < 300:
            caller.heard = ""
            caller.say(question)
            if not await caller.ended_or("type='invalid'"):
                break
            answered += 1

    assert 200 <= answered < 300
    assert "A circuit was cut: too many stanzas of a server" in prosody.log_tail()


async def test_who_does_not_log_in_is_sent_away_after_a_minute(
    prosody: Prosody,
) -> None:
    await with_less(prosody, c2s_timeout=1)
    await prosody.add_account("alice", "pw")
    async with member(prosody, "alice") as alice:
        async with come(prosody) as caller:
            caller.open(prosody.onion)
            said = await caller.ended()
        assert "connection-timeout" in said or "policy-violation" in said
        await alice.ask("<ping xmlns='urn:xmpp:ping'/>", to=str(prosody.onion))


def stanza_of(size: int, to: JID) -> str:
    begin, end = f"<message to='{to}' type='chat'><body>", "</body></message>"
    return begin + "x" * (size - len(begin) - len(end)) + end


async def test_a_stanza_has_512_kibibytes(prosody: Prosody) -> None:
    alice = await prosody.add_account("alice", "pw")
    most, reading = 512 * 1024, 8 * 1024  # it looks after each reading of so many bytes
    async with LightMember(alice, "pw", prosody.c2s_port) as one:
        one.send("<presence/>" + stanza_of(most, alice))
        await one.next(lambda stanza: stanza.tag.endswith("}message"))

        one.send(stanza_of(most + 2 * reading, alice))
        error = await one.next(lambda stanza: stanza.tag.endswith("}error"))
    assert error.find(f"{{{STANZAS}}}policy-violation") is not None


async def test_a_stanza_of_another_server_has_528_kibibytes(
    tmp_path: Path, prosody_program: str
) -> None:
    most, reading = (512 + 16) * 1024, 8 * 1024
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(SocksHub())
        alice = await Place.open(stack, tmp_path / "alice", hub, prosody_program)
        bob = await Place.open(stack, tmp_path / "bob", hub, prosody_program)
        await with_less(alice.server, c2s_stanza_size_limit=1024 * 1024)
        again = LightMember(alice.person.jid, "pw", alice.server.c2s_port)
        person = await stack.enter_async_context(again)
        person.send("<presence/>")
        bob.say(alice.jid, "hello")  # from now on Alice is no stranger
        await person.next(lambda stanza: stanza.tag.endswith("}message"))
        person.send(stanza_of(most - 1024, bob.person.jid))  # it is told who it is from
        await bob.hears()

        person.send(stanza_of(most + 2 * reading, bob.person.jid))
        bounced = await person.next(lambda stanza: stanza.get("type") == "error")
    assert "resource-constraint" not in ET.tostring(bounced, encoding="unicode")[-900:]
    assert "remote-server" in ET.tostring(bounced, encoding="unicode")[-900:]
