"""Invites for contacts and with rooms, as the people notice them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.client.taken import all_taken
from xmpp_onion import JID, Account, Client, RoomEvent
from xmpp_onion.address import Invite
from xmpp_onion.chat import RoomChange
from xmpp_onion.errors import (
    InvalidInviteError,
    InvalidJIDError,
    RegistrationError,
    ServerError,
)
from xmpp_onion.server import (
    OpenInvite,
    Prosody,
    create_introduction,
    create_invite,
    list_invites,
    revoke_invite,
)
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[[str], Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def folder(prosody: Prosody) -> Path:
    return prosody.folder.path


async def bob_of(invite: Invite, wire: LoopbackDialer, tmp_path: Path) -> Account:
    certificate = await register(invite, "bob", "secret of bob", tor=wire)
    account = Account(
        profile="bob",
        folder=tmp_path / "data" / "bob",
        jid=JID(f"bob@{invite.onion}"),
        password="secret of bob",
        certificate=certificate,
    )
    account.save()
    return account


async def both(client: Client, jid: JID) -> None:
    """Return once two people see each other."""
    async with asyncio.timeout(60):
        while True:
            contacts = {each.jid: each.subscription for each in await client.contacts()}
            if contacts.get(jid) == "both":
                return
            await asyncio.sleep(0.05)


async def test_an_introduction_makes_a_contact_whom_nobody_has_to_accept(
    enrol: Enrol, wire: LoopbackDialer, folder: Path
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    introduction = await create_introduction(folder, "alice")
    async with Client(alice, tor=wire) as a, Client(bob, tor=wire) as b:
        await b.add_contact(introduction)

        await both(a, bob.jid)
        await both(b, alice.jid)
        await all_taken(a)
        assert (await a.requests()).waiting == ()
    assert await list_invites(folder) == ()


async def test_an_introduction_is_good_once(
    enrol: Enrol, wire: LoopbackDialer, folder: Path
) -> None:
    alice, bob, carol = [await enrol(name) for name in ("alice", "bob", "carol")]
    introduction = await create_introduction(folder, "alice")
    async with (
        Client(alice, tor=wire) as a,
        Client(bob, tor=wire) as b,
        Client(carol, tor=wire) as c,
    ):
        await b.add_contact(introduction)
        await both(a, bob.jid)
        await c.add_contact(introduction)
        await all_taken(c)
        await all_taken(a)

        assert [each.sender for each in (await a.requests()).waiting] == [carol.jid]


async def test_an_introduction_makes_no_account(
    enrol: Enrol, prosody: Prosody, wire: LoopbackDialer, folder: Path, tmp_path: Path
) -> None:
    await enrol("alice")
    introduction = await create_introduction(folder, "alice")

    with pytest.raises(RegistrationError):
        await bob_of(Invite.build(prosody.onion, introduction.token), wire, tmp_path)


async def test_nobody_is_introduced_to_who_has_no_account(folder: Path) -> None:
    with pytest.raises(ServerError, match="no account"):
        await create_introduction(folder, "nobody")


async def test_an_invite_with_a_room_makes_a_member_who_is_invited(
    enrol: Enrol, wire: LoopbackDialer, folder: Path, tmp_path: Path
) -> None:
    alice = await enrol("alice")
    async with Client(alice, tor=wire) as a:
        room = await a.create_room(JID(f"garden@muc.{alice.jid.domain}"))
        invite = await create_invite(folder, room="garden")
        (listed,) = await list_invites(folder)
        assert (listed.kind, listed.room) == ("account", room.jid)

        bob = await bob_of(invite, wire, tmp_path)
        async with Client(bob, tor=wire) as b, asyncio.timeout(60):
            async for event in b.events():
                if isinstance(event, RoomEvent):
                    break
            assert (event.change, event.sender) == (RoomChange.INVITED, room.jid)
            await b.join(room.jid)


async def test_no_invite_is_made_for_a_name_that_is_taken(
    enrol: Enrol, folder: Path
) -> None:
    await enrol("alice")

    with pytest.raises(ServerError, match="refused") as caught:
        await create_invite(folder, "alice")

    assert "an account of that name" in caught.value.why
    assert "Compare the name" in caught.value.fix
    assert await list_invites(folder) == ()


@pytest.mark.parametrize("room", ["cellar", "a@b"])
async def test_an_invite_with_a_room_that_is_none_is_refused(
    folder: Path, room: str
) -> None:
    with pytest.raises((ServerError, InvalidJIDError)):
        await create_invite(folder, room=room)

    assert await list_invites(folder) == ()


async def test_what_is_open_is_listed_without_a_token_and_can_be_taken_back(
    enrol: Enrol, wire: LoopbackDialer, folder: Path, tmp_path: Path
) -> None:
    await enrol("alice")
    invite = await create_invite(folder, "bob", lifetime=timedelta(hours=1))
    introduction = await create_introduction(folder, "alice")

    first, second = await list_invites(folder)

    assert (first.kind, first.local, first.expires) == (
        "account",
        "bob",
        invite.expires,
    )
    assert (second.kind, second.local) == ("contact", "alice")
    assert not any(
        token in repr((first, second)) for token in (invite.token, introduction.token)
    )
    gone: list[OpenInvite] = [
        await revoke_invite(folder, each.name) for each in (first, second)
    ]
    assert gone == [first, second]
    assert await list_invites(folder) == ()
    with pytest.raises(RegistrationError):
        await bob_of(invite, wire, tmp_path)
    with pytest.raises(ServerError, match="no invite"):
        await revoke_invite(folder, first.name)


async def test_an_introduction_that_was_taken_back_is_an_ordinary_request(
    enrol: Enrol, wire: LoopbackDialer, folder: Path
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    introduction = await create_introduction(folder, "alice")
    (listed,) = await list_invites(folder)
    await revoke_invite(folder, listed.name)
    async with Client(alice, tor=wire) as a, Client(bob, tor=wire) as b:
        await b.add_contact(introduction)
        await all_taken(b)
        await all_taken(a)

        assert [each.sender for each in (await a.requests()).waiting] == [bob.jid]


async def test_what_is_no_introduction_is_not_sent(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob = await enrol("bob")
    async with Client(bob, tor=wire) as b:
        with pytest.raises(InvalidInviteError):
            await b.add_contact(f"xmpp:{bob.jid.domain}?roster;preauth=abcdefgh")
