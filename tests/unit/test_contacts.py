"""Requests of strangers in their box; no connection is needed for that."""

import asyncio
import gc
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Event,
    MoreRequests,
    read_event,
)
from xmpp_onion.contacts import Contacts
from xmpp_onion.errors import AddressError, SessionError
from xmpp_onion.session import REMOVED, Contact, Session
from xmpp_onion.silence import Silence
from xmpp_onion.store import Database, Inbox
from xmpp_onion.testing.loopback import LoopbackDialer

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
OWN, ALICE = JID(f"victim@{ONION}"), JID(f"alice@{ONION}")
# 10,000 by name: XMPP_ONION_FULL=1
REQUESTS = 10_000 if os.environ.get("XMPP_ONION_FULL") else 1_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
async def contacts(database: Database) -> Contacts:
    return make(database)


def make(database: Database) -> Contacts:
    session = Session(OWN, "secret", tor=LoopbackDialer(1))
    contacts = Contacts(database, session, own=OWN, news=asyncio.Event())
    contacts._silence = Silence(contacts.tell_rest, first=0.3)
    return contacts


async def events(database: Database) -> list[Event]:
    return [read_event(row.event_json) for row in await Inbox(database).pending()]


def stranger(number: int) -> JID:
    return JID(f"stranger{number}@{ONION}")


async def test_ten_thousand_requests_cost_one_event_and_a_bounded_box(
    contacts: Contacts, database: Database
) -> None:
    for number in range(50):  # so that what Python keeps for itself is not counted
        await contacts.take_request(stranger(number))
    gc.collect()
    tracemalloc.start()
    for number in range(REQUESTS):
        await contacts.take_request(stranger(number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    (told,) = await events(database)
    assert isinstance(told, ContactRequest)
    assert told.sender == stranger(0)
    box = await contacts.requests()
    assert [each.sender for each in box.waiting] == [stranger(n) for n in range(200)]
    assert box.more == REQUESTS - 200
    assert size < 2_000_000


async def test_what_came_in_silence_is_told_as_one_number(
    contacts: Contacts, database: Database
) -> None:
    for number in range(250):
        await contacts.take_request(stranger(number))

    assert await contacts.tell_rest()
    assert not await contacts.tell_rest()
    _, more = await events(database)
    assert isinstance(more, MoreRequests)
    assert (more.sender, more.count) == (OWN, 249)


async def test_the_silence_ends_by_itself_and_the_next_is_told_at_once(
    contacts: Contacts, database: Database
) -> None:
    async def wait_for(count: int) -> list[Event]:
        async with asyncio.timeout(60):
            while len(told := await events(database)) < count:
                contacts._news.clear()
                await contacts._news.wait()
        return told

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(contacts.run())
        for number in range(3):
            await contacts.take_request(stranger(number))
        told = await wait_for(2)
        assert isinstance(told[1], MoreRequests)
        async with asyncio.timeout(60):
            while contacts._silence.is_kept:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await contacts.take_request(stranger(9))
        told = await wait_for(3)
        assert isinstance(told[2], ContactRequest)
        running.cancel()


async def test_a_process_after_a_killed_one_tells_what_was_not_told(
    contacts: Contacts, database: Database
) -> None:
    for number in range(3):
        await contacts.take_request(stranger(number))

    after = make(database)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(after.run())
        async with asyncio.timeout(60):
            await after._news.wait()
        running.cancel()

    told = (await events(database))[-1]
    assert isinstance(told, MoreRequests)
    assert told.count == 2


async def test_a_request_that_comes_with_every_login_is_told_once(
    contacts: Contacts, database: Database
) -> None:
    for _ in range(3):
        await contacts.take_roster()
        await contacts.take_request(ALICE)
        contacts = make(database)

    assert len(await events(database)) == 1
    assert len((await contacts.requests()).waiting) == 1


async def test_those_left_out_are_counted_anew_with_each_login(
    contacts: Contacts,
) -> None:
    for _ in range(2):
        await contacts.take_roster()
        for number in range(205):
            await contacts.take_request(stranger(number))
    await contacts.tell_rest()

    assert (await contacts.requests()).more == 5


async def test_a_request_leaves_the_box_when_it_was_accepted_anywhere(
    contacts: Contacts,
) -> None:
    await contacts.take_request(ALICE)
    await contacts.take_push(Contact(ALICE, "from"))

    assert (await contacts.requests()).waiting == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([Contact(ALICE, "none", ask=True)], []),
        ([Contact(ALICE, "none", ask=True), Contact(ALICE, "to")], [ContactAccepted]),
        ([Contact(ALICE, "none", ask=True), Contact(ALICE, "none")], [ContactRemoved]),
        ([Contact(ALICE, "from")], []),
        ([Contact(ALICE, "both"), Contact(ALICE, "both")], [ContactAccepted]),
        (
            [Contact(ALICE, "both"), Contact(ALICE, "from")],
            [ContactAccepted, ContactRemoved],
        ),
        (
            [Contact(ALICE, "to"), Contact(ALICE, REMOVED)],
            [ContactAccepted, ContactRemoved],
        ),
        ([Contact(ALICE, REMOVED)], []),
    ],
    ids=["ask", "agree", "no", "seen", "again", "left", "removed", "unknown"],
)
async def test_a_change_of_the_list_is_told_by_what_it_means(
    contacts: Contacts,
    database: Database,
    changes: list[Contact],
    told: list[type[Event]],
) -> None:
    for change in changes:
        await contacts.take_push(change)

    found = await events(database)
    assert [type(event) for event in found] == told
    assert {event.sender for event in found} <= {ALICE}


async def test_only_who_may_see_us_is_answered(contacts: Contacts) -> None:
    await contacts.take_push(Contact(ALICE, "from"))
    await contacts.take_push(Contact(stranger(1), "to"))
    assert contacts._session.xmpp.gate.friends == {ALICE}

    await contacts.take_push(Contact(ALICE, REMOVED))
    assert contacts._session.xmpp.gate.friends == set()


async def test_without_a_connection_the_list_is_an_error_in_time(
    contacts: Contacts,
) -> None:
    with pytest.raises(SessionError) as caught:
        await contacts.list(0.01)
    assert caught.value.fix


async def test_nobody_blocks_himself_or_his_own_server(contacts: Contacts) -> None:
    for jid in (OWN, JID(ONION)):
        with pytest.raises(AddressError) as caught:
            await contacts.block(jid, 0.01)
        assert caught.value.fix
