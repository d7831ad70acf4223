"""What may be kept for a time only: told inside of the envelope, erased by all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Correction, Message
from xmpp_onion.e2ee import OMEMO_2
from xmpp_onion.errors import EncryptionError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

HOUR = timedelta(hours=1)
CANARY = "expiry-canary-" + "x" * 500


async def read(client: Client, number: int) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(30), aclosing(client.messages()) as messages:
        while len(found) < number:
            found.append(await anext(messages))
    return found


async def read_one(client: Client) -> Message:
    [message] = await read(client, 1)
    return message


def found(folder: Path) -> list[str]:
    """Return the files in which the canary is, of both people and their server."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return [p.name for p in files if b"expiry-canary" in p.read_bytes()]


async def rows_ever(client: Client) -> int:
    """Return how many events the inbox has ever kept, handled or erased since."""
    rows = await client._database.fetch(
        "SELECT seq FROM sqlite_sequence WHERE name = 'inbox'"
    )
    return int(rows[0]["seq"])


async def test_what_may_be_kept_for_a_time_is_read_in_it_and_then_nowhere(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    bobs = await enrol("bob")
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(bobs, tor=wire) as bob,
    ):
        await alice.send(bob.jid, CANARY, expires=timedelta(seconds=3))
        message = await read_one(bob)
        assert found(tmp_path / "data" / "bob")  # not handled: it would come again

        async with asyncio.timeout(60):
            while found(tmp_path):  # noqa: ASYNC110 - it is wiped after it is deleted
                await asyncio.sleep(0.05)

        assert await bob._inbox.next_expiry() is None
        await alice.send(bob.jid, "for ever")
        after = await read_one(bob)

    assert message.text == CANARY
    assert message.expires_at is not None
    assert message.expires_at - message.at == timedelta(seconds=3)
    assert (after.text, after.expires_at) == ("for ever", None)


async def test_a_device_that_comes_late_never_shows_it(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    bobs = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bobs, tor=wire) as bob:
            await alice.send(bob.jid, "hello")
            await read_one(bob)
            kept = await rows_ever(bob)
        bobs = bob.account
        sent = await alice.send(bob.jid, CANARY, expires=timedelta(seconds=1))
        await alice.send(bob.jid, "for ever")
        await asyncio.sleep(1.1)  # the server knows no other time than the real one

        async with Client(bobs, tor=wire) as bob:
            texts = [message.text for message in await read(bob, 2)]
            kept_late = await rows_ever(bob) - kept

    assert sent.devices == 1
    assert texts == ["hello", "for ever"]
    assert kept_late == 1  # the one for ever: the other was not even written down
    assert found(tmp_path) == []


async def test_what_nobody_read_before_a_restart_is_not_shown_after_its_time(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bobs = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bobs, tor=wire) as bob:
            await alice.send(bob.jid, CANARY, expires=HOUR)
            async with asyncio.timeout(30):
                while not await bob._inbox.next_expiry():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
            async with bob._database.transaction():  # as if an hour had passed
                await bob._database.execute(
                    "UPDATE inbox SET expires_at = ? WHERE expires_at != ''",
                    (datetime.now(UTC).isoformat(timespec="microseconds"),),
                )
        async with Client(bob.account, tor=wire) as bob:
            await alice.send(bob.jid, "for ever")
            assert (await read_one(bob)).text == "for ever"


async def test_a_conversation_has_a_timer_that_a_message_may_leave_out(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.set_timer(bob.jid, HOUR)
        sent = await alice.send(bob.jid, "an hour")
        await alice.send(bob.jid, "for ever", expires=timedelta(0))
        await alice.queue(bob.jid, "a day", expires=timedelta(days=1))
        await alice.correct(bob.jid, sent.id, "one hour")
        messages = await read(bob, 3)
        async with asyncio.timeout(30):
            async for event in bob.events():
                if isinstance(event, Correction):
                    break
        kept = await bob.timer(alice.jid)

    times = [m.expires_at and m.expires_at - m.at for m in messages]
    assert times == [HOUR, None, timedelta(days=1)]
    assert event.expires_at == event.at + HOUR
    assert kept is None  # what the other side wants says nothing about what we say


async def test_a_device_that_cannot_be_told_gets_nothing_unless_the_caller_says_so(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice._omemo.fetch([bob.jid])
        # As if Bob's device spoke the older version alone.
        alice._omemo._directory.keep(OMEMO_2, bob.jid, {})
        with pytest.raises(EncryptionError, match="nothing was sent") as raised:
            await alice.send(bob.jid, "secret", expires=HOUR)
        assert "how long it may be kept" in raised.value.why
        assert await alice._outbox.pending() == []

        await alice.send(bob.jid, "known", expires=HOUR, allow_clear_metadata=True)
        message = await read_one(bob)

    assert (message.text, message.expires_at) == ("known", None)  # only inside counts
