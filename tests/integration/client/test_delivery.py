"""How far a message has come, by what a real server and real clients say."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, DeliveryFailed, DeliveryState, Receipt
from xmpp_onion.errors import (
    DeliveryFailedError,
    NotAcknowledgedError,
    StoreError,
    StorePermissionError,
)
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def say(client: Client, to: str, inside: str, kind: str = "chat") -> None:
    """Send a stanza in the clear, as another client would."""
    name = secrets.token_hex(8)
    await client._session.send(
        f"<message type='{kind}' to='{to}' id='{name}'>{inside}"
        "<store xmlns='urn:xmpp:hints'/></message>",
        name,
    )


def received(message_id: str) -> str:
    return f"<received xmlns='urn:xmpp:receipts' id='{message_id}'/>"


async def test_a_receipt_of_another_client_moves_the_state(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        sent = await alice.send(bob.jid, "hello")
        before = await alice.delivery(sent.id)
        await say(bob, alice.jid, received(sent.id))
        after = await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=120)
        event = await anext(alice.events())

    assert before is not None
    assert before.state is DeliveryState.ACKED
    assert after.state is DeliveryState.RECEIVED
    assert isinstance(event, Receipt)
    assert (event.id, event.sender, event.authenticated) == (sent.id, bob.jid, False)


async def test_a_receipt_of_somebody_else_moves_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("mallory"), tor=wire) as mallory,
    ):
        sent = await alice.send(bob.jid, "hello")
        await say(mallory, alice.jid, received(sent.id))
        await say(mallory, alice.jid, "<body>and something to wait for</body>")
        await anext(alice.events())
        delivery = await alice.delivery(sent.id)

        assert delivery is not None
        assert delivery.state is DeliveryState.ACKED
        with pytest.raises(NotAcknowledgedError):
            await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=0)


async def test_an_error_that_comes_back_is_told_with_the_reason(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "hello")
        await bob.block(alice.jid)
        sent = await alice.send(bob.jid, "are you there?")
        async with asyncio.timeout(30):
            event = await anext(alice.events())
        with pytest.raises(DeliveryFailedError, match="not delivered"):
            await alice.wait(sent.id, DeliveryState.RECEIVED)

    assert isinstance(event, DeliveryFailed)
    assert event.id == sent.id
    assert event.reason == "the account does not exist, or takes no messages"


async def test_an_error_of_one_device_fails_nothing_that_others_may_have(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        sent = await alice.send(bob.jid, "hello")
        await bob._session.send(
            f"<message type='error' to='{alice._session.jid}' id='{sent.id}'>"
            "<error type='cancel'/></message>",
            sent.id,
        )
        await say(bob, alice.jid, received(sent.id))
        delivery = await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=120)

    assert delivery.state is DeliveryState.RECEIVED


async def test_states_are_known_after_a_restart_and_receipts_come_from_the_archive(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account = await enrol("alice")
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(alice_account, tor=wire) as alice:
            sent = await alice.send(bob.jid, "hello")
        await say(bob, alice_account.jid, received(sent.id))
        async with Client(alice_account, tor=wire) as alice:
            delivery = await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=120)

    assert delivery.to == bob.jid
    assert delivery.devices == sent.devices


@pytest.mark.parametrize(
    ("trouble", "mended", "error", "fix"),
    [
        ("query_only = 1", "query_only = 0", StorePermissionError, "ls -la"),
        ("max_page_count = 1", "max_page_count = 4294967294", StoreError, "Make room"),
    ],
    ids=["read-only", "full"],
)
async def test_what_cannot_be_kept_is_an_error_and_uses_up_nothing(
    enrol: Enrol,
    wire: LoopbackDialer,
    trouble: str,
    mended: str,
    error: type[StoreError],
    fix: str,
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        heard = bob.messages()
        await alice.send(bob.jid, "before")
        await anext(heard)
        await bob.send(alice.jid, "before, too")
        await anext(alice.messages())
        while await alice._outbox.pending():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)  # nothing else may have to be written
        await alice._database.fetch(f"PRAGMA {trouble}")

        with pytest.raises(error) as caught:
            await alice.send(bob.jid, "never kept" * 5_000)

        await alice._database.fetch(f"PRAGMA {mended}")
        assert fix in caught.value.fix
        assert "never kept" not in str(caught.value)
        await alice.send(bob.jid, "after")
        async with asyncio.timeout(60):
            assert (await anext(heard)).text == "after"
