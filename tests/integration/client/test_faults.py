"""Mistakes of ours above the stream: a message is told as such, no login repeats."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Event, Message
from xmpp_onion import client as client_module
from xmpp_onion.chat import Undecryptable
from xmpp_onion.clerk import Clerk
from xmpp_onion.errors import NotAcknowledgedError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

SEED = "canary-1618"
OWNERS: dict[str, Callable[[Client], object]] = {
    "read_message": lambda _: client_module,
    "take": lambda client: client._feed,
    "_named": lambda client: client._clerk,
    "_is_for_others": lambda client: client._clerk,
    "_has_share": lambda client: client._clerk,
    "must_wait": lambda client: client._clerk.room,
}


def plant(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Plant a mistake that the next call trips over."""
    right = getattr(owner, name)

    def wrong(*_given: object, **_named: object) -> object:
        monkeypatch.setattr(owner, name, right)
        raise KeyError(SEED)

    monkeypatch.setattr(owner, name, wrong)


async def told(client: Client) -> tuple[Event, Event]:
    """Return the first that cannot be read, and what comes next."""
    events = client.events()
    async with asyncio.timeout(60):
        while not isinstance(event := await anext(events), Undecryptable):
            pass
        return event, await anext(events)


@pytest.mark.parametrize("reader", [*OWNERS])
async def test_a_message_that_breaks_us_is_told_and_the_next_one_comes(
    reader: str,
    enrol: Enrol,
    wire: LoopbackDialer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "zero")
        async for message in bob.messages():
            await message.reply("so that nothing more is owed")
            break
        async for _ in alice.messages():
            break
        plant(monkeypatch, OWNERS[reader](bob), reader)
        await alice.send(bob.jid, "one")
        await alice.send(bob.jid, "two")
        broken, after = await told(bob)
        assert bob._session.losses == 0

    assert isinstance(broken, Undecryptable)
    assert broken.reason == "our reader failed at it"
    assert isinstance(after, Message)
    assert after.text == "two"
    assert "KeyError in " in caplog.text
    assert SEED not in caplog.text


async def test_a_message_of_the_archive_that_breaks_us_is_told_and_passed(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(account, tor=wire) as bob:
            account = bob.account
        await alice.send(account.jid, "one")
        await alice.send(account.jid, "two")
    plant(monkeypatch, Clerk, "_is_for_others")

    async with Client(account, tor=wire) as bob:
        broken, after = await told(bob)
    assert isinstance(broken, Undecryptable)
    assert isinstance(after, Message)
    assert after.text == "two"
    async with Client(account, tor=wire) as bob:
        async for event in bob.events():
            assert isinstance(event, Message)  # the broken one does not come back
            break


@pytest.mark.parametrize("what", ["rooms", "contacts"])
async def test_news_of_rooms_and_contacts_that_break_us_are_all_read_anew(
    what: str, enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(f"den@muc.{alice.jid.domain}")
        await room.invite(bob.jid)
        connections = alice.connections()
        await anext(connections)
        if what == "rooms":
            plant(monkeypatch, alice.rooms, "take")
            await bob.join(room.jid)
        else:
            plant(monkeypatch, alice._contacts, "take_push")
            with suppress(NotAcknowledgedError):
                await alice.add_contact(bob.jid)
        async with asyncio.timeout(60):
            await anext(connections)
        await alice.settle_rooms()
        # What was missed is known: who is in the room, and who is a contact.
        state = alice.rooms.state(room.jid)
        assert state is not None
        assert state.is_private
        if what == "rooms":
            assert {occupant.jid for occupant in state.occupants.values()} == {
                alice.jid,
                bob.jid,
            }
        else:
            assert bob.jid in await alice._contacts.table.all()
        assert alice._session.losses == 1
