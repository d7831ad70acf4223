"""People on a real server: asking, accepting, refusing, leaving, blocking."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

import pytest

from xmpp_onion import (
    JID,
    Account,
    Client,
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Event,
)
from xmpp_onion.agent.caller import ask
from xmpp_onion.agent.desk import serve
from xmpp_onion.chat import Line
from xmpp_onion.errors import AddressError, SessionError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]
E = TypeVar("E", bound=Event)

pytestmark = pytest.mark.prosody


async def next_of(events: AsyncIterator[Event], kind: type[E]) -> E:
    async with asyncio.timeout(30):
        while True:
            event = await anext(events)
            if isinstance(event, kind):
                return event


async def states(client: Client) -> dict[JID, str]:
    return {each.jid: each.subscription for each in await client.contacts()}


async def test_two_become_contacts_by_hand_and_part_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        at_alice, at_bob = alice.events(), bob.events()
        await alice.add_contact(bob.jid)
        request = await next_of(at_bob, ContactRequest)
        assert request.sender == alice.jid
        assert [r.sender for r in (await bob.requests()).waiting] == [alice.jid]
        assert await states(bob) == {}  # and nothing was done by itself

        await bob.accept_contact(alice.jid)
        assert (await next_of(at_alice, ContactAccepted)).sender == bob.jid
        assert (await next_of(at_bob, ContactAccepted)).sender == alice.jid
        assert await states(alice) == {bob.jid: "both"}
        assert await states(bob) == {alice.jid: "both"}
        assert (await bob.requests()).waiting == ()

        await alice.remove_contact(bob.jid)
        assert (await next_of(at_bob, ContactRemoved)).sender == alice.jid
        assert await states(alice) == {}


async def test_who_did_not_ask_is_not_accepted(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        with pytest.raises(AddressError, match="did not ask") as caught:
            await bob.accept_contact(alice.jid)
        assert caught.value.fix.endswith(f"contact add {alice.jid}")
        assert await states(bob) == {}  # and nobody was asked


async def test_a_request_of_before_the_login_is_accepted_right_after_it(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        await alice.add_contact(bob_account.jid)
        async with Client(bob_account, tor=wire) as bob:
            await bob.accept_contact(alice.jid)
            await bob.accept_contact(alice.jid)  # who sees us may be accepted again
            async with asyncio.timeout(30):
                while (await states(bob)).get(alice.jid) not in {"from", "both"}:
                    pass


async def test_who_is_refused_learns_it(enrol: Enrol, wire: LoopbackDialer) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        at_alice, at_bob = alice.events(), bob.events()
        await alice.add_contact(bob.jid)
        await next_of(at_bob, ContactRequest)
        await bob.refuse_contact(alice.jid)
        assert (await next_of(at_alice, ContactRemoved)).sender == bob.jid
        assert (await bob.requests()).waiting == ()


async def test_what_happened_while_we_were_away_is_told_with_the_login(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        await alice.add_contact(bob_account.jid)
        async with asyncio.timeout(30):
            while await states(alice) != {bob_account.jid: "none"}:
                pass
    async with Client(bob_account, tor=wire) as bob:
        await next_of(bob.events(), ContactRequest)
        await bob.accept_contact(alice_account.jid)
        async with asyncio.timeout(30):
            while (await states(bob)).get(alice_account.jid) != "both":
                pass
    async with Client(alice_account, tor=wire) as alice:
        accepted = await next_of(alice.events(), ContactAccepted)
        assert accepted.sender == bob_account.jid


async def test_who_asked_and_went_is_a_contact_when_they_are_accepted(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        await alice.add_contact(bob_account.jid)
        assert await states(alice) == {bob_account.jid: "none"}
    async with Client(bob_account, tor=wire) as bob:
        await bob.accept_contact(alice_account.jid)
        async with asyncio.timeout(30):
            while await states(bob) != {alice_account.jid: "both"}:
                pass
    async with Client(alice_account, tor=wire) as alice:
        assert await states(alice) == {bob_account.jid: "both"}


async def test_nothing_comes_from_who_is_blocked_until_he_is_let_through(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        messages = bob.messages()
        await mallory.send(bob.jid, "before")
        async with asyncio.timeout(30):
            assert (await anext(messages)).text == "before"
        await bob.block(mallory.jid)
        assert await bob.blocked() == (mallory.jid,)
        await mallory.add_contact(bob.jid)
        await mallory.send(bob.jid, "blocked")
        await bob.unblock(mallory.jid)
        assert await bob.blocked() == ()
        await alice.send(bob.jid, "after")
        async with asyncio.timeout(30):
            assert (await anext(messages)).text == "after"
        assert (await bob.requests()).waiting == ()


async def test_a_whole_server_can_be_blocked(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    other = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
    async with Client(await enrol("bob"), tor=wire) as bob:
        await bob.block(other)
        assert await bob.blocked() == (JID(other),)


async def test_without_a_connection_it_is_an_error_in_time(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        wire.refusing = True
        wire.cut()
        async with asyncio.timeout(20):
            with pytest.raises(SessionError) as caught:
                await alice.contacts(timeout=0.5)
        wire.refusing = False

    assert caught.value.fix


async def test_others_ask_the_process_that_holds_the_account(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account = await enrol("bob")

    async def done(do: str, **more: object) -> list[Line]:
        return [line async for line in ask(bob_account.folder, {"do": do, **more})]

    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
        serve(bob),
    ):
        await alice.add_contact(bob.jid)
        await next_of(bob.events(), ContactRequest)
        (waiting,) = await done("contact-requests")
        (refused,) = await done("refuse-contacts")
        none = await done("contact-requests")
        (blocked,) = await done("block", jid=alice.jid)
        (listed,) = await done("blocked")
        (unblocked,) = await done("unblock", jid=alice.jid)
        (added,) = await done("add-contact", jid=alice.jid, timeout=120)
        (contact,) = await done("contacts")
        (removed,) = await done("remove-contact", jid=alice.jid)
        (failed,) = await done("block", jid=bob.jid)

    assert (waiting["event"], waiting["from"]) == ("request", alice.jid)
    assert (refused["jid"], refused["state"]) == (alice.jid, "refused")
    assert none == []
    assert blocked == listed
    assert (listed["jid"], listed["state"]) == (alice.jid, "blocked")
    assert unblocked["state"] == "unblocked"
    assert added["state"] == "asked"
    assert (contact["state"], contact["asked"]) == ("to", False)
    assert removed["state"] == "removed"
    assert (failed["event"], failed["what"]) == ("error", "that is your own account")


async def test_a_ping_is_answered_by_the_server(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        assert not alice.is_away
        await alice.ping()
        with pytest.raises(SessionError, match="did not do"):
            await alice.ping(timeout=0)
