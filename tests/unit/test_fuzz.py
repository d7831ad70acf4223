"""Stanzas that were spoiled: nothing raises, and the ratchet does not notice.

A few hundred in the suite; ``XMPP_ONION_FUZZ=10000`` for as many as that.
"""

import asyncio
import os
import random  # noqa: TID251 - the same each time, so that a failure comes again
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion import waiting
from xmpp_onion.address import JID
from xmpp_onion.chat import Message, Undecryptable, read_event
from xmpp_onion.clerk import Clerk
from xmpp_onion.confirmations import Confirmations
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import StoreError
from xmpp_onion.rooms import Moderations
from xmpp_onion.session import Session, message_stanza, parse_sent, read_message
from xmpp_onion.store import Attempts, Contacts, Inbox, Keys, Outbox, SetAside
from xmpp_onion.strangers import Shares, Strangers
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers
from xmpp_onion.timers import Timers

if TYPE_CHECKING:
    from xmpp_onion.rooms import Rooms

COUNT = int(os.environ.get("XMPP_ONION_FUZZ", "300"))
SEED = 20261125
WORDS = [
    "",
    "0",
    "-1",
    "4294967296",
    "9" * 400,
    "AAAA",
    "====",
    "\u202e",
    "é",
    "x" * 5000,
]
ENDLESS = Shares(
    burst=10**6, fetches=10**6, told_of_one=10**6, told_of_all=10**6, of_one=10**6
)
NAMESPACES = ["", "{jabber:client}", "{urn:xmpp:omemo:2}", "{urn:xmpp:carbons:2}"]


class Online:
    """Stands in for a session: it is up, and nothing goes out."""

    losses = 0

    def __init__(self, peer: OmemoPeer) -> None:
        self.jid = peer.jid

    async def wait_online(self) -> None:
        """It is."""


class NoRooms:
    """Stands in for the rooms of somebody who is in none."""

    def state(self, room: JID) -> None:
        """Return None: it is no room of ours."""


@dataclass
class Reader:
    """Bob as a client has him, without a network."""

    peer: OmemoPeer
    clerk: Clerk
    inbox: Inbox

    async def take(self, element: ET.Element) -> None:
        incoming = read_message(element, own=self.peer.jid)
        if incoming is not None:
            await self.clerk.take_in(incoming, None)
            while await SetAside(self.peer.database).senders():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

    async def texts(self) -> list[str]:
        events = [read_event(row.event_json) for row in await self.inbox.pending()]
        return [event.text for event in events if isinstance(event, Message)]

    async def sessions(self) -> list[tuple[str, str]]:
        """All that is kept of sessions and of our own keys."""
        rows = await self.peer.database.fetch(
            "SELECT key, text FROM keys WHERE key LIKE '%session%' "
            "OR key LIKE '%identity%' OR key LIKE '%pre_key%' ORDER BY key"
        )
        return [(row["key"], row["text"]) for row in rows]


@pytest.fixture
async def people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[OmemoPeer, Reader]]:
    monkeypatch.setattr(waiting, "NETWORK_PAUSE", 0)
    async with OmemoPeers(tmp_path) as peers:
        alice, bob = await peers.add("alice"), await peers.add("bob")
        await alice.meet(bob)
        database, session = bob.database, cast("Session", Online(bob))
        deliveries = Deliveries(database)
        courier = Courier(
            database, Outbox(database), session, bob.omemo, deliveries=deliveries
        )
        rooms = cast("Rooms", NoRooms())
        clerk = Clerk(
            database,
            session,
            bob.omemo,
            courier=courier,
            deliveries=deliveries,
            moderations=Moderations(database, session, rooms, news=deliveries.news),
            strangers=Strangers(
                database,
                contacts=Contacts(database),
                own=bob.jid,
                news=deliveries.news,
                shares=ENDLESS,
            ),
            confirmations=Confirmations(database, lambda _: False, asyncio.Event()),
            attempts=Attempts(database, Keys(database)),
            rooms=rooms,
            timers=Timers(database),
            own=bob.jid,
        )
        clerk.room.patience = 5.0
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(clerk.room.run())
            yield alice, Reader(bob, clerk, Inbox(database))
            running.cancel()


async def written(alice: OmemoPeer, bob: OmemoPeer, text: str, name: str) -> ET.Element:
    elements = (await alice.encrypt(bob, text)).elements
    stanza = parse_sent(message_stanza(bob.jid, name, elements))
    stanza.set("from", f"{alice.jid}/phone")
    return stanza


def spoil(stanza: ET.Element, dice: random.Random) -> ET.Element:
    """Return the stanza with one to five things changed that keep it well-formed."""
    copy = ET.fromstring(ET.tostring(stanza))  # noqa: S314 - our own text
    for _ in range(dice.randint(1, 5)):
        everything = list(copy.iter())
        victim = dice.choice(everything)
        parent = dice.choice(everything)
        match dice.randrange(6):
            case 0:
                victim.text = dice.choice([*WORDS, (victim.text or "")[:-1]])
            case 1 if victim.attrib:
                victim.set(dice.choice(list(victim.attrib)), dice.choice(WORDS))
            case 2 if victim is not copy:
                victim.tag = dice.choice(NAMESPACES) + victim.tag.rpartition("}")[2]
            case 3 if len(parent):
                parent.remove(dice.choice(list(parent)))
            case 4:
                parent.append(ET.fromstring(ET.tostring(victim)))  # noqa: S314 - our own text
            case _:
                victim.set(
                    dice.choice(["from", "sid", "rid", "id"]), dice.choice(WORDS)
                )
    return copy


def has_the_key(stanza: ET.Element, alice: OmemoPeer, bob: OmemoPeer) -> bool:
    """Tell whether what a ratchet authenticates is still there, from its author.

    Without a payload that is a message which only carries keys: whoever takes the
    payload away suppresses a message, which a server can do anyway.
    """
    if not stanza.get("from", "").startswith(alice.jid):
        return False
    return any(
        header.get("sid") == str(alice.omemo.device_id)
        and any(key.get("rid") == str(bob.omemo.device_id) for key in header.iter())
        for header in stanza.iter()
    )


async def test_no_spoiled_stanza_raises_and_nothing_but_the_truth_is_shown(
    people: tuple[OmemoPeer, Reader],
) -> None:
    alice, bob = people
    dice = random.Random(SEED)  # noqa: S311 - the same each time is what is wanted
    stanza = await written(alice, bob.peer, "the truth", "m1")
    for _ in range(COUNT):
        await bob.take(spoil(stanza, dice))

    assert await bob.texts() in ([], ["the truth"])
    await bob.take(await written(alice, bob.peer, "and more", "m2"))
    assert (await bob.texts())[-1] == "and more"


async def test_what_no_library_should_raise_is_told_once_and_ends_nothing(
    people: tuple[OmemoPeer, Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = people

    async def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError("canary")

    stanza = await written(alice, bob.peer, "the truth", "m1")
    with monkeypatch.context() as broken:
        broken.setattr(bob.peer.omemo, "decrypt", stumble)
        await bob.take(stanza)
    await bob.take(stanza)

    (row,) = await bob.inbox.pending()
    event = read_event(row.event_json)
    assert isinstance(event, Undecryptable)
    assert event.reason == "it is malformed"


def renamed(stanza: ET.Element, name: str) -> ET.Element:
    """The same envelope with all the names that a server can give it."""
    copy = ET.fromstring(ET.tostring(stanza))  # noqa: S314 - our own text
    copy.set("id", name)
    for origin in copy.findall("{urn:xmpp:sid:0}origin-id"):
        origin.set("id", name)
    ET.SubElement(copy, "{urn:xmpp:sid:0}stanza-id", {"by": "x", "id": name})
    return copy


async def test_a_copy_under_other_names_or_without_keys_of_others_is_dropped(
    people: tuple[OmemoPeer, Reader],
) -> None:
    alice, bob = people
    stanza = await written(alice, bob.peer, "the truth", "m1")
    await bob.take(stanza)
    slim = renamed(stanza, "m2")
    for header in slim.iter():
        for key in [k for k in header if "rid" in k.attrib]:
            if key.get("rid") != str(bob.peer.omemo.device_id):
                header.remove(key)
    for copy in (renamed(stanza, "m3"), renamed(stanza, ""), slim):
        await bob.take(copy)

    assert len(await bob.inbox.pending()) == 1
    assert await bob.texts() == ["the truth"]


async def test_a_message_under_the_names_of_another_neither_hides_nor_replaces_it(
    people: tuple[OmemoPeer, Reader],
) -> None:
    alice, bob = people
    first = await written(alice, bob.peer, "first", "m1")
    second = renamed(await written(alice, bob.peer, "second", "m2"), "m1")
    from_another = ET.fromstring(ET.tostring(first))  # noqa: S314 - our own text
    from_another.set("from", f"mallory@{alice.jid.domain}/x")
    for stanza in (from_another, second, first):
        await bob.take(stanza)

    assert await bob.texts() == ["second", "first"]


@pytest.mark.parametrize("error", [OSError, MemoryError, StoreError])
async def test_what_is_ours_to_mend_leaves_a_message_with_the_server(
    people: tuple[OmemoPeer, Reader],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    alice, bob = people

    async def stumble(*_: object, **__: object) -> None:
        raise error("no room")

    stanza = await written(alice, bob.peer, "the truth", "m1")
    with monkeypatch.context() as broken:
        broken.setattr(bob.peer.omemo, "decrypt", stumble)
        with pytest.raises(error):
            await bob.take(stanza)
    assert await bob.inbox.pending() == []

    await bob.take(stanza)
    assert await bob.texts() == ["the truth"]


async def test_the_ratchet_does_not_notice_what_its_author_did_not_make(
    people: tuple[OmemoPeer, Reader],
) -> None:
    alice, bob = people
    dice = random.Random(SEED + 1)  # noqa: S311 - as above
    stanza = await written(alice, bob.peer, "the truth", "m1")
    before = await bob.sessions()
    assert before != []
    taken = 0
    while taken < COUNT // 2:
        spoiled = spoil(stanza, dice)
        if not has_the_key(spoiled, alice, bob.peer):
            await bob.take(spoiled)
            taken += 1

    assert await bob.sessions() == before
    await bob.take(stanza)
    assert await bob.texts() == ["the truth"]
