"""Servers that talk to each other, through a proxy that stands in for Tor."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Archive, Federation
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import Manner, SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

# How many streams from and to other servers there are, whatever their state.
LINKS = """
local count = 0
for _ in pairs(prosody.incoming_s2s) do count = count + 1 end
for _, host in pairs(prosody.hosts) do
	for _ in pairs(host.s2sout or { }) do count = count + 1 end
end
return count
"""
SERVICES = """
local names = { }
for name in require "core.portmanager".get_active_services():iter(nil, nil, nil) do
	table.insert(names, name)
end
return table.concat(names, " ")
"""
FAILED = "Server-to-server connection failed: "
PING = "<ping xmlns='urn:xmpp:ping'/>"
MESSAGE = "{jabber:client}message"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
UNKNOWN = OnionAddress.from_public_key(bytes([7] * 32))


@dataclass(frozen=True, slots=True)
class Place:
    """A server and somebody who is logged in there."""

    server: Prosody
    person: LightMember

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        folder: Path,
        hub: SocksHub,
        program: str,
        *,
        federation: Federation = Federation.OPEN,
        peers: tuple[OnionAddress, ...] = (),
    ) -> Self:
        initialise(folder)
        place = Folder(folder, find_unprivileged_user())
        options = replace(
            place.read_options(),
            federation=federation,
            peers=peers,
            stamp_bits=0,
            socks=Endpoint("127.0.0.1", hub.port),
        )
        place.write_options(options)
        server = await stack.enter_async_context(Prosody(folder, program=program))
        hub.routes[str(server.onion)] = server.options.ports.s2s
        jid = await server.add_account(folder.name, "pw")
        person = LightMember(jid, "pw", server.c2s_port)
        await stack.enter_async_context(person)
        person.send("<presence/>")
        return cls(server, person)

    @property
    def data(self) -> Path:
        """Where its admin socket is."""
        return self.server._folder.data

    @property
    def jid(self) -> str:
        return str(self.person.jid)

    def say(self, to: str, text: str) -> None:
        self.person.send(
            f"<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>"
        )

    async def loses_all_links(self, hub: SocksHub) -> None:
        """Return when no other server is connected, or about to be."""
        hub.cut()
        async with asyncio.timeout(60):
            while await ask(self.data, LINKS) != "0":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    async def hears(self) -> ET.Element:
        return await self.person.next(lambda stanza: stanza.tag == MESSAGE)


def body_of(message: ET.Element) -> str | None:
    return message.findtext("{jabber:client}body")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def hub() -> AsyncIterator[SocksHub]:
    async with SocksHub() as hub:
        yield hub


@pytest.fixture
async def alice(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> Place:
    return await Place.open(stack, tmp_path / "alice", hub, prosody_program)


@pytest.fixture
async def bob(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> Place:
    return await Place.open(stack, tmp_path / "bob", hub, prosody_program)


async def configure(place: Place, **settings: float) -> None:
    """Change settings of a running server; mod_s2s_onion reads them at each dial."""
    lines = "".join(
        f'require "core.configmanager".set("*", {lua_string(name)}, {value}) '
        for name, value in settings.items()
    )
    await ask(place.data, f'{lines} return ""')


def error_of(message: ET.Element) -> tuple[str, str, str]:
    """Return kind, condition and text of a bounce."""
    error = message.find("{jabber:client}error")
    assert error is not None, ET.tostring(message)
    condition = next(child.tag for child in error if not child.tag.endswith("}text"))
    text = error.findtext(f"{STANZAS}text") or ""
    return error.get("type", ""), condition.removeprefix(STANZAS), text


async def test_two_servers_talk_both_ways(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    alice.say(bob.jid, "hello")
    first = await bob.hears()
    bob.say(alice.jid, "hello-yourself")
    second = await alice.hears()

    assert (first.get("type"), body_of(first)) == ("chat", "hello")
    assert (first.get("from") or "").startswith(alice.jid)
    assert body_of(second) == "hello-yourself"
    assert {request.port for request in hub.asked} == {5269}


async def test_each_pair_of_onions_has_circuits_of_its_own(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    alice.say(bob.jid, "hello")
    await bob.hears()

    pairs = {(asked.username, asked.password.split()[0]) for asked in hub.asked}
    one, other = (str(place.server.onion)[:56] for place in (alice, bob))
    assert pairs == {(one, other), (other, one)}
    assert "s2s" in await ask(alice.data, SERVICES)


IPV4 = b"\x05\x00\x00\x01" + bytes(6)
IPV6 = b"\x05\x00\x00\x04" + bytes(18)
NAME = b"\x05\x00\x00\x03\x05onion" + bytes(2)
LONG_NAME = b"\x05\x00\x00\x03\xff" + bytes(257)


async def test_every_form_of_a_good_answer_leads_to_the_peer(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    for answer in (IPV4, IPV6, NAME, LONG_NAME):
        for is_bytewise in (False, True):
            manner = Manner(answer, is_bytewise=is_bytewise)
            hub.manners = dict.fromkeys(hub.routes, manner)

            alice.say(bob.jid, "hello")

            assert body_of(await bob.hears()) == "hello"
            await alice.person.ask(PING, to=str(bob.server.onion))  # it is confirmed
            await alice.loses_all_links(hub)
            await bob.loses_all_links(hub)
    assert len(hub.asked) == 2 * 8


FINAL = ("cancel", "remote-server-not-found")
LATER = ("wait", "remote-server-timeout")
REFUSALS = [
    (Manner.refusal(0x01), LATER, "the server does not answer"),
    (Manner.refusal(0x02), FINAL, "does not allow"),
    (Manner.refusal(0x03), LATER, "network is unreachable"),
    (Manner.refusal(0x04), LATER, "onion service is unreachable"),
    (Manner.refusal(0x05), FINAL, "takes no other servers"),
    (Manner.refusal(0x06), LATER, "timed out"),
    (Manner.refusal(0x07), FINAL, "does not know the command"),
    (Manner.refusal(0x08), FINAL, "takes no names"),
    (Manner.refusal(0xF0), FINAL, "no such onion service"),
    (Manner.refusal(0xF1), FINAL, "descriptor of the onion service is invalid"),
    (Manner.refusal(0xF2), LATER, "onion service is down"),
    (Manner.refusal(0xF3), LATER, "meeting with the onion service failed"),
    (Manner.refusal(0xF4), FINAL, "wants a key that we do not have"),
    (Manner.refusal(0xF5), FINAL, "does not accept our key"),
    (Manner.refusal(0xF6), FINAL, "no such onion address"),
    (Manner.refusal(0xF7), LATER, "did not answer in time"),
    (Manner.refusal(0x63), FINAL, "unknown code 99"),
    (Manner(b"\x05\x04", leads_on=False), LATER, "onion service is unreachable"),
    (Manner(leads_on=False), LATER, "the server does not answer"),
    (Manner(None), LATER, "Tor did not answer in time"),
    (Manner(b"", leads_on=False), LATER, "Tor hung up"),
    (Manner(b"\x05", leads_on=False), LATER, "Tor hung up"),
    (Manner(IPV6[:9], leads_on=False), LATER, "Tor hung up"),
    (Manner(b"HTTP/1.1 400 Bad Request\r\n"), FINAL, "does not speak SOCKS5"),
    (Manner(b"\x05\x00\x00\x02" + bytes(6)), FINAL, "does not speak SOCKS5"),
]


async def test_each_refusal_is_bounced_with_its_reason(
    alice: Place, hub: SocksHub
) -> None:
    await configure(alice, onion_patience=0, onion_answer_timeout=1)

    found = []
    for manner, _, _ in REFUSALS:
        hub.manners[str(UNKNOWN)] = manner
        alice.say(f"bob@{UNKNOWN}", "hello")
        found.append(error_of(await alice.hears()))

    expected = [expected for _, expected, _ in REFUSALS]
    assert [(kind, condition) for kind, condition, _ in found] == expected
    for (_, _, text), (_, _, words) in zip(found, REFUSALS, strict=True):
        assert words in text


async def test_what_may_be_over_in_a_moment_is_tried_again(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    codes = [0xF0, 0xF2, 0x01]
    hub.script = [Manner.refusal(code) for code in codes]
    hub.script.append(Manner(b"", leads_on=False))
    hub.script.append(Manner(leads_on=False))  # it was there, and hung up

    alice.say(bob.jid, "one")
    alice.say(bob.jid, "two")

    assert [body_of(await bob.hears()) for _ in range(2)] == ["one", "two"]
    dialed = [asked for asked in hub.asked if asked.host == bob.server.onion]
    # A circuit that is stuck is not asked twice.
    assert len({asked.password for asked in dialed}) == len(dialed) == len(codes) + 3


async def test_a_tor_that_comes_back_is_used_again(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    await hub.go_away()
    await configure(alice, onion_patience=0)
    alice.say(bob.jid, "lost")
    bounce = error_of(await alice.hears())
    await configure(alice, onion_patience=30)

    alice.say(bob.jid, "kept")
    await hub.come_back()

    assert bounce == (*LATER, f"{FAILED}Tor: Tor is not there")
    assert body_of(await bob.hears()) == "kept"


async def test_other_socks_ports_are_taken_without_a_restart(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    async with SocksHub(routes=hub.routes) as other:
        await alice.server.use_socks(Endpoint("127.0.0.1", other.port))
        alice.say(bob.jid, "hello")
        await bob.hears()

        assert [asked.host for asked in other.asked] == [bob.server.onion]


NO_ONIONS = [
    "example.com",
    "expyuzz4wqqyqhjn.onion",  # version 2
    f"{str(UNKNOWN)[:55]}b.onion",  # no version
    f"{str(UNKNOWN)[:54]}4d.onion",  # a version of 131
    f"{str(UNKNOWN)[:56]}.example.com",
    "onion",
    "10.0.0.1",
    "[::1]",
]


async def test_who_is_no_onion_is_not_even_dialed(alice: Place, hub: SocksHub) -> None:
    for name in NO_ONIONS:
        alice.say(f"bob@{name}", "hello")

        kind, condition, text = error_of(await alice.hears())

        assert (kind, condition) == FINAL
        assert text == "This server reaches .onion servers only"
    assert hub.greetings == 0


async def test_a_wrong_checksum_is_not_dialed_where_it_can_be_seen(
    alice: Place, hub: SocksHub
) -> None:
    wrong = f"{'a' if str(UNKNOWN)[0] != 'a' else 'b'}{str(UNKNOWN)[1:]}"

    alice.say(f"bob@{wrong}", "hello")

    assert error_of(await alice.hears())[:2] == FINAL
    # Prosody 0.12 has no SHA-3. Tor has, and builds no circuit then.
    assert hub.greetings == 0 or alice.server.version.startswith("0.12.")


class Stranger:
    """A server's stream to another one, spoken by hand."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, place: Place, name: str, *, says_so: bool = True) -> Self:
        """Open a stream that says that it comes from ``name``, or nothing."""
        port = place.server.options.ports.s2s
        stranger = cls(*await asyncio.open_connection("127.0.0.1", port))  # noqa: TID251 - the far end of a test, on loopback
        sender = f"from='{name}'" if says_so else ""
        stranger.send(
            "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
            f"xmlns:stream='http://etherx.jabber.org/streams' version='1.0' {sender} "
            f"to='{place.server.onion}'>"
        )
        return stranger

    def send(self, text: str) -> None:
        self._writer.write(text.encode())

    def claim(self, place: Place, name: str) -> None:
        """Say who we are; the server has to dial to know."""
        to = place.server.onion
        self.send(f"<db:result from='{name}' to='{to}'>0123</db:result>")

    async def hears(self, end: str = "</stream:stream>") -> str:
        """Return what comes up to some words."""
        async with asyncio.timeout(60):
            heard = b""
            while end.encode() not in heard:
                data = await self._reader.read(4096)
                assert data, heard
                heard += data
            return heard.decode()

    def close(self) -> None:
        self._writer.close()


def onion(number: int) -> str:
    return str(OnionAddress.from_public_key(number.to_bytes(32)))


@pytest.mark.parametrize("says_so", [True, False], ids=["header", "key"])
async def test_who_says_that_he_is_no_onion_is_refused(
    alice: Place, hub: SocksHub, *, says_so: bool
) -> None:
    for name in NO_ONIONS[:-1]:
        stranger = await Stranger.open(alice, name, says_so=says_so)
        if not says_so:
            stranger.claim(alice, name)

        heard = await stranger.hears()
        stranger.close()

        assert "<policy-violation" in heard
        assert "This server reaches .onion servers only" in heard
    assert hub.greetings == 0


async def test_a_stream_makes_us_dial_one_onion_and_no_second(
    alice: Place, hub: SocksHub
) -> None:
    hub.manners[onion(1)] = Manner(None)
    stranger = await Stranger.open(alice, onion(1))
    stranger.claim(alice, onion(1))
    await hub.has_asked(1)

    stranger.claim(alice, onion(2))

    assert "Use one stream for each onion" in await stranger.hears()
    stranger.close()
    assert [asked.host for asked in hub.asked] == [onion(1)]


async def test_a_stream_has_eight_names_and_no_ninth(
    alice: Place, hub: SocksHub
) -> None:
    hub.manners[onion(1)] = Manner(None)
    stranger = await Stranger.open(alice, onion(1))
    for number in range(8):
        stranger.claim(alice, f"part{number}.{onion(1)}")

    assert "Too many names on one stream" in await stranger.hears()
    stranger.close()
    assert len(hub.asked) <= 7  # the name in the header is one of them


async def test_who_claims_an_onion_that_is_not_there_is_told_so(alice: Place) -> None:
    await configure(alice, onion_patience=0)
    stranger = await Stranger.open(alice, onion(1))

    stranger.claim(alice, onion(1))

    heard = await stranger.hears()
    stranger.close()
    assert "<remote-connection-failed" in heard
    assert "no such onion service" in heard


async def test_an_imposter_is_found_out_by_whom_he_claims_to_be(
    alice: Place, bob: Place
) -> None:
    stranger = await Stranger.open(alice, str(bob.server.onion))

    stranger.claim(alice, str(bob.server.onion))

    assert "type='invalid'" in await stranger.hears("</db:result>")
    false = f"<message from='{bob.jid}' to='{alice.jid}'><body>false</body></message>"
    stranger.send(false)
    bob.say(alice.jid, "true")
    assert body_of(await alice.hears()) == "true"
    stranger.close()


async def test_a_flood_of_claims_holds_up_strangers_and_not_our_own_people(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    names = [onion(number) for number in range(1, 46)]
    hub.manners = dict.fromkeys(names, Manner(None))
    strangers = [await Stranger.open(alice, name) for name in names]
    for name, stranger in zip(names, strangers, strict=True):
        stranger.claim(alice, name)
    async with asyncio.TaskGroup() as tasks:
        hearing = [tasks.create_task(stranger.hears()) for stranger in strangers]
        # Eight are dialed and 32 wait; the others are told to come back.
        ended = asyncio.as_completed(hearing)
        refused = [await next(ended) for _ in range(5)]

        alice.say(bob.jid, "hello")
        heard = await bob.hears()
        bob.say(alice.jid, "hello-yourself")
        answer = await alice.hears()
        for task in hearing:
            task.cancel()

    assert all("<resource-constraint" in one for one in refused)
    assert (body_of(heard), body_of(answer)) == ("hello", "hello-yourself")
    dialed = {asked.host for asked in hub.asked} & set(names)
    assert len(dialed) == 8
    for stranger in strangers:
        stranger.close()


async def test_a_flood_of_claims_keeps_nobody_out_to_whom_we_wrote(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    alice.say(bob.jid, "hello")
    await bob.hears()
    await alice.person.ask(PING, to=str(bob.server.onion))  # it is confirmed
    await alice.loses_all_links(hub)
    await bob.loses_all_links(hub)
    names = [onion(number) for number in range(1, 41)]
    hub.manners = dict.fromkeys(names, Manner(None))
    asked = len(hub.asked)
    strangers = [await Stranger.open(alice, name) for name in names]
    for name, stranger in zip(names, strangers, strict=True):
        stranger.claim(alice, name)
    await hub.has_asked(asked + 8)  # there is no place for another claim

    bob.say(alice.jid, "hello-yourself")

    assert body_of(await alice.hears()) == "hello-yourself"
    for stranger in strangers:
        stranger.close()


async def test_sixty_claims_a_minute_are_followed_up_and_no_more(
    alice: Place, hub: SocksHub
) -> None:
    await configure(alice, onion_patience=0)
    heard = []
    for number in range(1, 71):
        stranger = await Stranger.open(alice, onion(number))
        stranger.claim(alice, onion(number))
        heard.append(await stranger.hears())
        stranger.close()

    refused = ["<resource-constraint" in one for one in heard]
    assert not any(refused[:60])
    # One a second comes back.
    assert 60 <= len(hub.asked) < 70
    assert refused.count(True) == 70 - len(hub.asked)


async def test_one_account_dials_so_much_and_others_go_on(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    await configure(alice, onion_patience=0)
    carol = await alice.server.add_account("carol", "pw")
    async with LightMember(carol, "pw", alice.server.c2s_port) as greedy:
        for number in range(1, 141):
            greedy.send(
                f"<message to='x@{onion(number)}' id='m'><body>x</body></message>"
            )
        bounces = [
            error_of(await greedy.next(lambda stanza: stanza.tag == MESSAGE))
            for _ in range(140)
        ]
        alice.say(bob.jid, "hello")

        assert body_of(await bob.hears()) == "hello"
    conditions = [condition for _, condition, _ in bounces]
    assert conditions.count("remote-server-not-found") == len(hub.asked) - 2
    assert 120 <= conditions.count("remote-server-not-found") < 140


async def test_after_a_partition_what_was_not_confirmed_arrives_in_its_order(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    await configure(alice, onion_confirm_timeout=1)
    alice.say(bob.jid, "before")
    await bob.hears()

    await alice.person.ask(PING, to=str(bob.server.onion))  # behind "before"

    hub.hold()
    alice.say(bob.jid, "one")
    alice.say(bob.jid, "two")
    await hub.has_asked(3)  # it gave the link up, and dials
    hub.let_go()
    alice.say(bob.jid, "three")

    heard = [body_of(await bob.hears()) for _ in range(3)]
    assert heard == ["one", "two", "three"]


async def test_a_partition_that_goes_on_is_bounced_as_one(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    await configure(
        alice, onion_confirm_timeout=1, onion_patience=0, onion_answer_timeout=1
    )
    alice.say(bob.jid, "before")
    await bob.hears()
    await alice.person.ask(PING, to=str(bob.server.onion))

    hub.hold()
    hub.manners[str(bob.server.onion)] = Manner(None)
    alice.say(bob.jid, "one")
    bounce = error_of(await alice.hears())

    assert bounce == (*LATER, f"{FAILED}Tor: Tor did not answer in time")


async def test_a_message_that_no_link_survives_goes_four_times_and_is_bounced(
    alice: Place, bob: Place
) -> None:
    await configure(alice, onion_confirm_timeout=0.5)
    confirm_nothing = f"""
    local events = prosody.hosts[{lua_string(bob.server.onion)}].events
    events.add_handler("iq/host", function () return true end, 1000)
    return ""
    """
    await ask(bob.data, confirm_nothing)

    alice.say(bob.jid, "one")
    heard = [body_of(await bob.hears()) for _ in range(4)]
    bounce = error_of(await alice.hears())
    bob.say(bob.jid, "nothing else")

    assert heard == ["one"] * 4
    assert bounce[:2] == LATER
    assert body_of(await bob.hears()) == "nothing else"


async def test_a_link_that_breaks_while_it_is_made_costs_no_message(
    alice: Place, bob: Place
) -> None:
    break_once = f"""
    local events, broken = prosody.hosts[{lua_string(bob.server.onion)}].events, false
    events.add_handler("s2s-stream-features", function (event)
        if not broken then
            broken = true
            event.origin.conn:close()
        end
    end, 2000)
    return ""
    """
    await ask(bob.data, break_once)

    alice.say(bob.jid, "one")
    alice.say(bob.jid, "two")

    assert [body_of(await bob.hears()) for _ in range(2)] == ["one", "two"]


def waiting(place: Place) -> bytes:
    """Return what is on its way to other servers, on the disk of one."""
    return (place.data / "s2s_onion.waiting").read_bytes()


async def nothing_waits(place: Place) -> None:
    async with asyncio.timeout(60):
        while waiting(place):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
async def test_what_waits_for_another_server_outlives_ours(
    alice: Place, bob: Place, hub: SocksHub, *, is_killed: bool
) -> None:
    hub.manners[str(bob.server.onion)] = Manner(None)
    for text in ("one", "two", "three"):
        alice.say(bob.jid, text)
    await hub.has_asked(1)
    await alice.person.ask(PING)  # behind them
    assert all(text in waiting(alice) for text in (b"one", b"two", b"three"))

    if is_killed:
        os.kill(alice.server.pid, signal.SIGKILL)
    hub.manners.clear()
    await alice.server.restart()

    heard = [body_of(await bob.hears()) for _ in range(3)]
    await nothing_waits(alice)
    bob.say(bob.jid, "nothing else")
    assert heard == ["one", "two", "three"]
    assert body_of(await bob.hears()) == "nothing else"


async def test_what_a_peer_has_is_not_kept_and_what_rooms_and_machines_say_never(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    alice.say(bob.jid, "one")
    await bob.hears()
    await nothing_waits(alice)

    hub.hold()
    hints = "<no-store xmlns='urn:xmpp:hints'/>"
    alice.person.send(f"<message to='{bob.jid}' id='t'>{hints}</message>")
    await alice.person.ask(PING)

    assert waiting(alice) == b""


async def test_a_message_that_is_there_whenever_the_server_dies_is_given_up(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    hub.manners[str(bob.server.onion)] = Manner(None)
    alice.say(bob.jid, "deadly")
    await hub.has_asked(1)
    for times in range(4):
        assert waiting(alice)
        os.kill(alice.server.pid, signal.SIGKILL)
        await alice.server.restart()
        if times < 3:
            await hub.has_asked(2 + times)

    await nothing_waits(alice)


async def test_with_messages_in_memory_nothing_waits_on_the_disk(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> None:
    folder = tmp_path / "alice"
    initialise(folder, lambda options: replace(options, archive=Archive.MEMORY))
    alice = await Place.open(stack, folder, hub, prosody_program)
    hub.manners[str(UNKNOWN)] = Manner(None)

    alice.say(f"bob@{UNKNOWN}", "canary")
    await hub.has_asked(1)

    assert not [
        path
        for path in alice.data.rglob("*")
        if path.is_file() and b"canary" in path.read_bytes()
    ]


async def test_a_listed_server_talks_to_its_peers_alone(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, bob: Place, alice: Place
) -> None:
    carol = await Place.open(
        stack,
        tmp_path / "carol",
        hub,
        alice.server._program,
        federation=Federation.LISTED,
        peers=(alice.server.onion,),
    )

    carol.say(alice.jid, "hello")
    heard = await alice.hears()
    carol.say(bob.jid, "hello")
    out = error_of(await carol.hears())
    bob.say(carol.jid, "hello")
    back = error_of(await bob.hears())

    assert body_of(heard) == "hello"
    assert out[:2] == ("cancel", "not-allowed")
    assert back[:2] == ("wait", "remote-server-timeout")
    assert "talks to few others" in back[2]


async def test_a_closed_server_neither_dials_nor_listens(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> None:
    alice = await Place.open(
        stack, tmp_path / "alice", hub, prosody_program, federation=Federation.OFF
    )

    alice.say(f"bob@{UNKNOWN}", "hello")
    bounce = error_of(await alice.hears())

    assert bounce[:2] == ("cancel", "not-allowed")
    assert hub.greetings == 0
    assert "s2s" not in await ask(alice.data, SERVICES)


async def test_a_sub_domain_of_ours_that_is_none_is_not_dialed(
    alice: Place, hub: SocksHub
) -> None:
    alice.say(f"x@news.{alice.server.onion}", "hello")

    assert error_of(await alice.hears())[:2] == FINAL
    assert hub.greetings == 0


async def test_people_of_other_servers_are_in_our_rooms(
    alice: Place, bob: Place
) -> None:
    room = f"friends@muc.{alice.server.onion}"
    await alice.person.create(room, "alice")
    await alice.person.make_members(room, [bob.jid])
    await bob.person.join(room, "bob")

    bob.person.send(
        f"<message type='groupchat' to='{room}' id='m'><body>hello</body></message>"
    )

    for place in (alice, bob):
        message = await place.person.next_message()
        assert (message.get("from"), body_of(message)) == (f"{room}/bob", "hello")


async def test_unloading_the_module_gives_back_what_it_replaced(alice: Place) -> None:
    state = """
    local service = require "net.resolvers.service"
    local connect = service.new
    local modules = require "core.modulemanager"
    local before = modules.is_loaded("*", "s2s_onion")
    modules.unload("*", "s2s_onion")
    local unloaded = service.new ~= connect
    local own = debug.getinfo(service.new).source:match("resolvers/service") ~= nil
    modules.load("*", "s2s_onion")
    local loaded = debug.getinfo(service.new).source:match("s2s_onion") ~= nil
    return tostring(before)..tostring(unloaded)..tostring(own)..tostring(loaded)
    """

    assert await ask(alice.data, state) == "truetruetruetrue"


async def test_nothing_else_of_prosody_looks_names_up(alice: Place) -> None:
    looked_up = """
    local basic = require "net.resolvers.basic"
    local found = "nobody"
    basic.new("example.com", 80, "tcp"):next(function (kind) found = kind or "none" end)
    return found
    """

    assert await ask(alice.data, looked_up) == "none"
