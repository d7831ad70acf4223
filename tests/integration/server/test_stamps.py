"""Strangers of another server, who pay with work for a first word."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Federation
from xmpp_onion.session.stamps import STAMP, make_nonce
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

BITS = 10
CLIENT = "{jabber:client}"
CONDITION = "{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation"
DAY = timedelta(days=1)


class Place:
    """A server and somebody who is logged in there."""

    def __init__(self, server: Prosody, person: LightMember) -> None:
        self.server = server
        self.person = person

    @property
    def jid(self) -> str:
        return str(self.person.jid)

    def say(self, to: "Place", text: str, stamp: str = "", kind: str = "chat") -> None:
        self.person.send(
            f"<message type='{kind}' to='{to.jid}' id='{text}'>"
            f"<body>{text}</body>{stamp}</message>"
        )

    def request(self, to: "Place", beside: str = "") -> None:
        self.person.send(
            f"<presence type='subscribe' to='{to.jid}' id='r'>{beside}</presence>"
        )

    def stamp_for(
        self, to: "Place", *, bits: int = BITS, later: timedelta = timedelta()
    ) -> str:
        day = f"{datetime.now(UTC) + later:%Y-%m-%d}"
        head = "\n".join(("urn:xmpp-onion:stamp:0", self.jid, to.jid, day, ""))
        nonce = make_nonce(head, bits, threading.Event())
        return stamp_of(day, nonce)

    async def hears(self, text: str) -> ET.Element:
        """Return the next message or presence with this id."""
        return await self.person.next(lambda stanza: stanza.get("id") == text)


def stamp_of(day: str, nonce: str) -> str:
    return f"<stamp xmlns='urn:xmpp-onion:stamp:0' day='{day}' nonce='{nonce}'/>"


def body_of(stanza: ET.Element) -> str | None:
    assert stanza.get("type") != "error"
    return stanza.findtext(f"{CLIENT}body")


def price_in(stanza: ET.Element) -> tuple[str | None, str]:
    """Return what a refusal says for programs, and for people."""
    assert stanza.get("type") == "error"
    error = stanza.find(f"{CLIENT}error")
    assert error is not None
    assert error.find(CONDITION) is not None
    stamp = error.find(STAMP)
    assert stamp is not None
    return stamp.get("bits"), "".join(error.itertext())


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def pair(
    stack: AsyncExitStack, tmp_path: Path, prosody_program: str
) -> tuple[Place, Place]:
    """Alice and Bob, at a server each; both servers want stamps of some bits.

    They meet on a day that does not end within a minute or two: which days count, the
    server says when it looks, and the test when it begins.
    """
    now = datetime.now(UTC)
    if (now + timedelta(minutes=2)).day != now.day:
        await asyncio.sleep(121)
    hub = await stack.enter_async_context(SocksHub())
    places = []
    for name in ("alice", "bob"):
        folder = tmp_path / name
        initialise(folder)
        place = Folder(folder, find_unprivileged_user())
        options = replace(
            place.read_options(),
            federation=Federation.OPEN,
            stamp_bits=BITS,
            socks=Endpoint("127.0.0.1", hub.port),
        )
        place.write_options(options)
        server = await stack.enter_async_context(
            Prosody(folder, program=prosody_program)
        )
        hub.routes[str(server.onion)] = server.options.ports.s2s
        jid = await server.add_account(name, "pw")
        person = LightMember(jid, "pw", server.c2s_port)
        await stack.enter_async_context(person)
        # Only who asked for the contact list is told what happens to it.
        person.send("<iq type='get' id='c'><query xmlns='jabber:iq:roster'/></iq>")
        person.send("<presence/>")
        places.append(Place(server, person))
    return places[0], places[1]


async def test_a_stranger_is_heard_with_a_stamp_and_with_nothing_less(
    pair: tuple[Place, Place],
) -> None:
    alice, bob = pair
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    good = alice.stamp_for(bob)
    cheap = {
        "none": "",
        "junk": stamp_of(today, "junk"),
        "empty": "<stamp xmlns='urn:xmpp-onion:stamp:0'/>",
        "malformed": stamp_of(today, "a b"),
        "long": stamp_of(today, "a" * 65),
        "of-bob": bob.stamp_for(alice),
        "for-alice": alice.stamp_for(alice),
        "old": alice.stamp_for(bob, later=-4 * DAY),
        "early": alice.stamp_for(bob, later=2 * DAY),
        "no-day": alice.stamp_for(bob).replace(today, "today"),
    }

    for text, stamp in cheap.items():
        alice.say(bob, text, stamp)
        bits, words = price_in(await alice.hears(text))
        assert bits == str(BITS)
        assert f"stamp of {BITS} bits" in words
        assert "add you as a contact" in words
    alice.say(bob, "paid", good)

    # The first that Bob hears: nothing of the rest came through.
    first = await bob.person.next(lambda stanza: stanza.tag == f"{CLIENT}message")
    assert body_of(first) == "paid"
    alice.say(bob, "again", good)  # for the whole day
    assert body_of(await bob.hears("again")) == "again"


async def test_a_stamp_may_have_waited_for_its_network_for_three_days(
    pair: tuple[Place, Place],
) -> None:
    alice, bob = pair
    for name, later in {"waited": -3 * DAY, "clock": DAY}.items():
        alice.say(bob, name, alice.stamp_for(bob, later=later))
        assert body_of(await bob.hears(name)) == name


@pytest.mark.parametrize("bits", [0, 1, 4, 7, 8])
async def test_the_price_is_adjustable_to_a_bit(
    bits: int, pair: tuple[Place, Place]
) -> None:
    alice, bob = pair
    await set_price(bob, bits)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    exact = exactly(alice, bob, today, bits)

    alice.say(bob, "exact", stamp_of(today, exact))
    assert body_of(await bob.hears("exact")) == "exact"
    if bits:
        less = exactly(alice, bob, today, bits - 1)
        alice.say(bob, "less", stamp_of(today, less))
        assert price_in(await alice.hears("less"))[0] == str(bits)
    else:
        alice.say(bob, "free")
        assert body_of(await bob.hears("free")) == "free"


def exactly(sender: Place, recipient: Place, day: str, bits: int) -> str:
    """Return a nonce whose hash begins with so many zero bits and no more."""
    number = 0
    while True:
        number += 1
        text = "\n".join(
            ("urn:xmpp-onion:stamp:0", sender.jid, recipient.jid, day, f"{number}")
        )
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest())
        if 256 - digest.bit_length() == bits:
            return f"{number}"


async def set_price(place: Place, bits: int) -> None:
    onion = lua_string(str(place.server.onion))
    await ask(
        place.server.folder.data,
        f'require "core.configmanager".set("*", "stamp_bits", {bits}) '
        f'require "core.modulemanager".reload({onion}, "stamps") return ""',
    )


async def test_a_request_costs_a_stamp_and_contacts_none(
    pair: tuple[Place, Place],
) -> None:
    alice, bob = pair
    alice.request(bob)
    assert price_in(await alice.hears("r"))[0] == str(BITS)
    alice.request(bob, alice.stamp_for(bob))
    asked = await bob.hears("r")
    assert asked.get("type") == "subscribe"
    # Prosody repeats what waits at each log-in, without a stamp.
    alice.request(bob)
    alice.say(bob, "cheap")
    refused = await alice.person.next(lambda stanza: stanza.get("type") == "error")
    assert refused.get("id") == "cheap"

    # Bob lets her; from then on she writes as to anybody.
    bob.person.send(f"<presence type='subscribed' to='{alice.jid}' id='ok'/>")
    await alice.hears("ok")
    alice.say(bob, "contact")

    assert body_of(await bob.hears("contact")) == "contact"


async def test_whom_somebody_wrote_to_may_answer(pair: tuple[Place, Place]) -> None:
    alice, bob = pair
    alice.say(bob, "question", alice.stamp_for(bob))
    await bob.hears("question")

    bob.say(alice, "answer")

    assert body_of(await alice.hears("answer")) == "answer"


async def test_an_invite_of_a_contact_is_as_good_as_a_stamp(
    pair: tuple[Place, Place],
) -> None:
    alice, bob = pair
    token = await ask(
        bob.server.folder.data,
        'local invites = require "core.modulemanager".get_module('
        f'{lua_string(str(bob.server.onion))}, "invites") '
        'return invites.create_contact("bob", true, { }, 3600).token',
    )

    alice.request(bob, "<preauth xmlns='urn:xmpp:pars:0' token='forged'/>")
    assert price_in(await alice.hears("r"))[0] == str(BITS)
    alice.request(bob, f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>")
    answer = await alice.person.next(
        lambda stanza: stanza.get("type") in {"subscribed", "error"}
    )

    assert answer.get("type") == "subscribed"


async def test_the_price_can_be_asked_for(pair: tuple[Place, Place]) -> None:
    alice, bob = pair
    alice.person.send(
        f"<iq type='get' id='price' to='{bob.server.onion}'>"
        "<stamp xmlns='urn:xmpp-onion:stamp:0'/></iq>"
    )

    answer = await alice.hears("price")

    stamp = answer.find(STAMP)
    assert stamp is not None
    assert stamp.get("bits") == str(BITS)


async def test_people_of_one_server_pay_nothing(
    pair: tuple[Place, Place], stack: AsyncExitStack
) -> None:
    alice, _ = pair
    jid = await alice.server.add_account("carol", "pw")
    carol = LightMember(jid, "pw", alice.server.c2s_port)
    await stack.enter_async_context(carol)

    neighbour = Place(alice.server, carol)
    neighbour.say(alice, "hello")

    assert body_of(await alice.hears("hello")) == "hello"
