"""What is said while nobody can be asked: kept from what is known, carried later."""
# ruff: noqa: ASYNC110 - nobody tells how far a session is: look again

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, DeliveryState, Message
from xmpp_onion.errors import DeliveryFailedError, NotAcknowledgedError, SessionError
from xmpp_onion.server import Prosody
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def alices_wire(wire: LoopbackDialer) -> LoopbackDialer:
    """Hers alone is cut."""
    return LoopbackDialer(wire.port)


async def go_away(client: Client, wire: LoopbackDialer) -> None:
    wire.refusing = True
    wire.cut()
    async with asyncio.timeout(30):
        while not client._session.is_away:
            await asyncio.sleep(0.01)


async def take(messages: AsyncIterator[Message], count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await anext(messages)).text for _ in range(count)]


async def test_a_message_to_known_devices_is_kept_without_a_network(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        await alice.send(bob.jid, "warm")
        await go_away(alice, alices_wire)
        kept = [await alice.queue(bob.jid, f"kept {n}", timeout=15) for n in range(3)]
        assert alice._session.is_away
        alices_wire.refusing = False
        texts = await take(bob.messages(), 4)

    assert {each.state for each in kept} == {DeliveryState.QUEUED}
    assert texts == ["warm", "kept 0", "kept 1", "kept 2"]


async def test_it_goes_out_with_the_next_login_of_another_process(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    alices = await enrol("alice")
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(alices, tor=alices_wire) as alice:
            await alice.send(bob.jid, "warm")
            await go_away(alice, alices_wire)
            await alice.queue(bob.jid, "kept", timeout=15)
        alices_wire.refusing = False
        async with Client(Account.load("alice", alices.folder.parent), tor=alices_wire):
            texts = await take(bob.messages(), 2)

    assert texts == ["warm", "kept"]


async def test_send_says_that_it_is_queued_and_it_goes_out(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        await alice.send(bob.jid, "warm")
        await go_away(alice, alices_wire)
        with pytest.raises(NotAcknowledgedError, match="queued") as caught:
            await alice.send(bob.jid, "kept", timeout=0.5)
        alices_wire.refusing = False
        texts = await take(bob.messages(), 2)

    assert caught.value.exit_code == 8
    assert texts == ["warm", "kept"]


async def test_who_is_unknown_cannot_be_written_to_without_a_network(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        await go_away(alice, alices_wire)
        with pytest.raises(SessionError, match="nothing was sent") as caught:
            await alice.queue(bob.jid, "never", timeout=0.5)

        assert "no session with us" in caught.value.why
        assert await alice._outbox.pending() == []


async def test_a_device_that_is_distrusted_meanwhile_gets_nothing_of_it(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        await alice.send(bob.jid, "warm")
        await go_away(alice, alices_wire)
        kept = await alice.queue(bob.jid, "kept", timeout=15)
        await alice.distrust(bob.jid, bob.fingerprint)
        with pytest.raises(DeliveryFailedError, match="not delivered"):
            await alice.wait(kept.id, DeliveryState.ACKED)

        assert await alice._outbox.pending() == []


async def test_a_server_that_hangs_holds_back_no_message_to_known_devices(
    enrol: Enrol, prosody: Prosody, wire: LoopbackDialer
) -> None:
    alices = await enrol("alice")
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(alices, tor=wire) as alice:
            await alice.send(bob.jid, "warm")
        # Another process, which has not asked for his device lists yet.
        async with Client(Account.load("alice", alices.folder.parent), tor=wire) as her:
            her._outgoing._provision._patience = 0.2
            os.kill(prosody.pid, signal.SIGSTOP)
            try:
                kept = await her.queue(bob.jid, "kept", timeout=15)
            finally:
                os.kill(prosody.pid, signal.SIGCONT)
            texts = await take(bob.messages(), 2)

    assert kept.state is DeliveryState.QUEUED
    assert texts == ["warm", "kept"]


async def test_in_a_room_a_message_is_kept_for_the_members_as_they_were_read(
    enrol: Enrol, wire: LoopbackDialer, alices_wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        room = await alice.create_room(f"friends@muc.{alice.jid.domain}")
        await room.invite(bob.jid)
        await bob.join(room.jid)
        await room.send("warm")
        await go_away(alice, alices_wire)
        kept = await alice.queue(room.jid, "kept", timeout=15)
        assert alice._session.is_away
        alices_wire.refusing = False
        texts = await take(bob.messages(), 2)

    assert kept.state is DeliveryState.QUEUED
    assert texts == ["warm", "kept"]
