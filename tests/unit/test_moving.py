"""What servers of contacts say about where they are, and what is kept then."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion import JID, Account, Moved, OnionAddress
from xmpp_onion.account import Admission
from xmpp_onion.chat import (
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Message,
    read_event,
    write_event,
)
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.moves import LIMIT, MOVED, Move
from xmpp_onion.moving import (
    ContactMoves,
    follow,
    follow_contact,
    known_contact_move,
)
from xmpp_onion.session.moved import read_moved
from xmpp_onion.session.notices import read_error
from xmpp_onion.store import (
    ContactRow,
    Contacts,
    Database,
    Inbox,
    Keys,
    Outbox,
)
from xmpp_onion.transport import create_key, make_client_key, read_address, sign

GONE = "{urn:ietf:params:xml:ns:xmpp-stanzas}gone"


def name(key: Path) -> OnionAddress:
    return read_address(key) if key.exists() else create_key(key)


def move(place: Path, old: str, new: str, *, minutes: int = 0) -> Move:
    files = {name(place / each): place / each for each in (old, new)}
    first, second = files
    return Move.write(
        first,
        second,
        at=datetime.now(UTC) + timedelta(minutes=minutes),
        certificate="0" * 64,
        sign=lambda who, data: sign(files[who], data),
    )


@pytest.fixture
def alice(tmp_path: Path) -> Account:
    made = Account(
        profile="alice",
        folder=tmp_path / "data" / "alice",
        jid=JID(f"alice@{name(tmp_path / 'home')}"),
        password="secret",
    )
    made.save()
    return made


async def events(account: Account) -> list[object]:
    async with Database.open(account.store_path) as database:
        return [read_event(row.event_json) for row in await Inbox(database).pending()]


async def hear(account: Account, contact: str, *said: tuple[str, str]) -> bool:
    """Have servers say something, with one contact; return whether that was news."""
    news = asyncio.Event()
    async with Database.open(account.store_path) as database:
        table = Contacts(database)
        async with database.transaction():
            await table.put([ContactRow(contact, "both", ask=False)])
        moves = ContactMoves(database, table, news=news)
        for sender, document in said:
            await moves.hear(JID(sender), document)
    return news.is_set()


async def test_a_contact_that_moved_is_told_once(
    alice: Account, tmp_path: Path
) -> None:
    moved = move(tmp_path, "a", "b")
    bob = JID(f"bob@{moved.old}")

    assert await hear(alice, bob, (f"{bob}/phone", moved.document))
    assert not await hear(alice, bob, (bob, moved.document))

    [told] = await events(alice)
    assert isinstance(told, Moved)
    assert (told.sender, told.old, told.new) == (bob, moved.old, moved.new)
    assert not told.own
    assert await known_contact_move(alice, bob) == moved


async def test_the_newest_move_counts(alice: Account, tmp_path: Path) -> None:
    first, second = move(tmp_path, "a", "b"), move(tmp_path, "a", "c", minutes=1)
    bob = JID(f"bob@{first.old}")

    await hear(alice, bob, *((bob, each.document) for each in (first, second, first)))

    assert await known_contact_move(alice, bob) == second
    assert len(await events(alice)) == 2


async def test_nobody_else_is_listened_to(alice: Account, tmp_path: Path) -> None:
    moved, other = move(tmp_path, "a", "b"), move(tmp_path, "x", "y")
    bob = JID(f"bob@{moved.old}")
    forged = moved.document[:-8] + "AAAAAAAA"

    assert not await hear(
        alice,
        bob,
        (f"carol@{moved.old}", moved.document),  # no contact of ours
        (bob, other.document),  # about another server
        (bob, forged),
        (bob, "nonsense"),
    )
    assert await events(alice) == []
    assert await known_contact_move(alice, bob) is None


async def test_what_is_known_of_a_contact_goes_along_and_nothing_else(
    alice: Account, tmp_path: Path
) -> None:
    moved = move(tmp_path, "a", "b")
    bob, malice = JID(f"bob@{moved.old}"), JID(f"x.bob@{moved.old}")
    now = JID(f"bob@{moved.new}")
    pinned = replace(alice, pins={bob: frozenset({"1" * 64}), malice: frozenset()})
    pinned.save()
    async with Database.open(alice.store_path) as database:
        keys, table = Keys(database), Contacts(database)
        async with database.transaction():
            for who in (bob, malice):
                await keys.store(f"/trust/{who}/key", f'["{who}", "{who}/phone"]')
            await table.put([ContactRow(bob, "both", ask=False)])
            message = Message(
                id="1",
                sender=bob,
                to=alice.jid,
                at=datetime.now(UTC),
                encrypted=True,
                namespace="",
                device=1,
                fingerprint="",
                trust="tofu",
                text=f"I am {bob}",
            )
            await Inbox(database).add(write_event(message))

    after = await follow_contact(pinned, bob, moved)

    assert after.pins == {now: frozenset({"1" * 64}), malice: frozenset()}
    async with Database.open(alice.store_path) as database:
        keys = Keys(database)
        assert await keys.load(f"/trust/{now}/key") == f'["{now}", "{now}/phone"]'
        assert await keys.load(f"/trust/{bob}/key") is None
        kept = f'["{malice}", "{malice}/phone"]'
        assert await keys.load(f"/trust/{malice}/key") == kept
        assert set(await Contacts(database).all()) == {bob}  # the server's to say
    [said] = await events(alice)
    assert isinstance(said, Message)
    assert (said.sender, said.text) == (now, f"I am {bob}")


@pytest.mark.parametrize("whose", ["ours", "a contact's"])
async def test_what_was_not_sent_fails_and_is_told(
    alice: Account, tmp_path: Path, whose: str
) -> None:
    moved = move(tmp_path, "home", "new") if whose == "ours" else None
    contact = moved or move(tmp_path, "a", "b")
    bob, carol = JID(f"bob@{contact.old}"), JID(f"carol@{name(tmp_path / 'z')}")
    async with Database.open(alice.store_path) as database:
        deliveries = Deliveries(database)
        async with database.transaction():
            for number, to in enumerate((bob, carol)):
                await Outbox(database).add("<x/>", to=to, message_id=str(number))
                await deliveries.begin(
                    Delivery(
                        id=str(number),
                        to=to,
                        devices=1,
                        skipped=(),
                        state=DeliveryState.QUEUED,
                    )
                )

    if moved:
        await follow(alice, moved)
    else:
        await follow_contact(alice, bob, contact)

    found = await events(alice)
    assert all(isinstance(each, DeliveryFailed) for each in found)
    # Our own name is in the envelope of all that we wrote.
    assert len(found) == (2 if whose == "ours" else 1)
    async with Database.open(alice.store_path) as database:
        waiting = [row.to for row in await Outbox(database).pending()]
    assert waiting == ([] if whose == "ours" else [carol])


async def test_a_private_door_at_the_old_name_is_one_at_the_new(
    alice: Account, tmp_path: Path
) -> None:
    moved = move(tmp_path, "home", "new")
    key = make_client_key().private
    for address, then in (
        (moved.old, moved.new),
        (name(tmp_path / "door"),) * 2,
    ):
        account = replace(alice, admission=Admission(address, key))

        followed = account.follow(moved)

        assert followed.admission == Admission(then, key)


def error(*children: str, document: str = "text", kind: str = "error") -> ET.Element:
    message = ET.Element("{jabber:client}message", {"type": kind, "id": "1"})
    inner = ET.SubElement(message, "{jabber:client}error")
    for child in children:
        ET.SubElement(inner, child).text = document
    return message


def test_only_an_error_that_somebody_is_gone_says_where() -> None:
    moved = f"{{{MOVED}}}moved"

    assert read_moved(error(GONE, moved)) == "text"
    assert read_moved(error(moved)) == ""
    assert read_moved(error(GONE)) == ""
    assert read_moved(error(GONE, moved, kind="chat")) == ""
    assert read_moved(error(GONE, moved, document="x" * (LIMIT + 1))) == ""
    assert read_moved(ET.Element("{jabber:client}message", {"type": "error"})) == ""


def test_a_message_that_came_back_tells_where_its_reader_is(tmp_path: Path) -> None:
    bob, own = JID(f"bob@{name(tmp_path / 'a')}"), JID(f"me@{name(tmp_path / 'b')}")

    notice = read_error(error(GONE, f"{{{MOVED}}}moved"), bob, own)

    assert notice is not None
    assert (notice.by, notice.moved) == (bob, "text")
    assert notice.reason == "the recipient has moved to another address"
