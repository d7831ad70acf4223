"""Rooms on a real server: making, entering, knowing who is there, being thrown out."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

import pytest

from xmpp_onion import (
    JID,
    Account,
    Affiliation,
    Client,
    Event,
    Room,
    RoomChange,
    RoomEvent,
    RoomState,
)
from xmpp_onion.agent.caller import ask
from xmpp_onion.agent.desk import serve
from xmpp_onion.chat import Line
from xmpp_onion.errors import EncryptionError, RoomError
from xmpp_onion.session import Bookmark
from xmpp_onion.session import bookmarks as bookmarks_module
from xmpp_onion.session.room_service import RoomService, room_error
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def next_change(events: AsyncIterator[Event], change: RoomChange) -> RoomEvent:
    async with asyncio.timeout(30):
        while True:
            event = await anext(events)
            if isinstance(event, RoomEvent) and event.change is change:
                return event


async def state_when(
    client: Client, room: Room, is_so: Callable[[RoomState], object]
) -> RoomState:
    async with asyncio.timeout(30):
        while True:
            changed = client.rooms.changed
            state = client.rooms.state(room.jid)
            if state is not None and is_so(state):
                return state
            await changed.wait()


def address(client: Client, name: str = "friends") -> str:
    return f"{name}@muc.{client.jid.domain}"


async def test_a_room_that_we_make_is_private_and_knows_its_members(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        assert room.state is not None
        assert room.state.is_joined
        assert room.state.is_private
        assert room.state.members == {alice.jid: Affiliation.OWNER}

        await room.invite(bob.jid)
        assert await room.members() == {
            alice.jid: Affiliation.OWNER,
            bob.jid: Affiliation.MEMBER,
        }
        await room.invite(alice.jid)  # who is more than a member stays it
        assert (await room.members())[alice.jid] is Affiliation.OWNER
        await room.grant(bob.jid, Affiliation.ADMIN)
        await room.members()
        await room.invite(bob.jid)
        assert (await room.members())[bob.jid] is Affiliation.ADMIN
        at_alice = alice.events()
        entered = await bob.join(room.jid)
        came = await next_change(at_alice, RoomChange.JOINED)

        assert (came.who, came.nick) == (bob.jid, "bob")
        assert entered.state is not None
        assert entered.state.is_private
        assert entered.state.members == room.state.members
        assert {o.jid for o in entered.state.occupants.values()} == {
            alice.jid,
            bob.jid,
        }


async def test_who_is_no_member_does_not_come_in(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
    ):
        room = await alice.create_room(address(alice))
        with pytest.raises(RoomError) as caught:
            await mallory.join(room.jid)

        assert caught.value.condition == "registration-required"
        assert mallory.rooms.state(room.jid) is None


async def test_a_name_with_a_typo_makes_no_room(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        for _ in range(2):
            with pytest.raises(RoomError, match="there is no room"):
                await alice.join(address(alice, "fiends"))
        await bob.create_room(address(bob, "fiends"))


async def test_a_room_that_is_there_is_not_made_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        with pytest.raises(RoomError, match="already"):
            await bob.create_room(room.jid)

        assert bob.rooms.state(room.jid) is None


async def test_a_room_is_not_private_from_the_moment_that_it_is_opened_to_all(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        at_bob = bob.events()
        await bob.join(room.jid)
        for fields, why in (
            ({"muc#roomconfig_membersonly": "0"}, "no members"),
            (
                {
                    "muc#roomconfig_membersonly": "1",
                    "muc#roomconfig_whois": "moderators",
                },
                "hides who",
            ),
        ):
            await alice._session.rooms.configure(room.jid, fields)
            state = await state_when(bob, room, lambda s, why=why: why in s.why)
            assert not state.is_private
        told = await next_change(at_bob, RoomChange.CONFIGURATION)
        assert told.is_private is False

        await alice._session.rooms.configure(
            room.jid, {"muc#roomconfig_whois": "anyone"}
        )
        await state_when(bob, room, lambda s: s.is_private)


async def test_who_is_kicked_is_no_member_and_everybody_knows(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid, carol.jid)
        at_bob, at_carol = bob.events(), carol.events()
        await bob.join(room.jid)
        await carol.join(room.jid)
        await room.kick(bob.jid)
        out = await next_change(at_bob, RoomChange.REMOVED)
        gone = await next_change(at_carol, RoomChange.AFFILIATION)
        state = await state_when(carol, room, lambda s: bob.jid not in s.members)

        assert out.reason == "we are no member any more"
        assert bob.rooms.state(room.jid) is None
        assert (gone.who, gone.affiliation) == (bob.jid, Affiliation.NONE)
        assert bob.jid not in {o.jid for o in state.occupants.values()}
        with pytest.raises(RoomError):
            await bob.join(room.jid)


async def test_a_member_who_is_away_is_added_and_banned_before_everybodys_eyes(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    dave = await enrol("dave")
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        at_bob = bob.events()
        await bob.join(room.jid)
        await room.invite(dave.jid)
        added = await next_change(at_bob, RoomChange.AFFILIATION)
        await room.ban(dave.jid)
        banned = await next_change(at_bob, RoomChange.AFFILIATION)

        assert (added.who, added.affiliation) == (dave.jid, Affiliation.MEMBER)
        assert (banned.who, banned.affiliation) == (dave.jid, Affiliation.NONE)


async def test_a_fresh_login_enters_again_and_tells_what_changed_meanwhile(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account, dave = await enrol("bob"), await enrol("dave")
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        await room.invite(bob_account.jid)
        async with Client(bob_account, tor=wire) as bob:
            await bob.join(room.jid)
            await bob.rooms._journal.write_down()
        await room.invite(dave.jid)
        async with Client(bob_account, tor=wire) as bob:
            news = await next_change(bob.events(), RoomChange.AFFILIATION)
            state = await state_when(bob, room, lambda s: s.is_joined and s.is_private)

    assert news.who == dave.jid
    assert dave.jid in state.members


async def test_a_room_that_we_left_is_not_entered_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice:
        room = await alice.create_room(address(alice))
        await room.leave()
        assert room.state is None
    async with Client(account, tor=wire) as alice:
        assert alice.rooms.all() == ()


async def test_who_goes_out_is_not_brought_in_again_before_that_is_confirmed(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, enter = RoomService.leave, RoomService.enter
    entered: list[str] = []

    def note(service: RoomService, room: JID, nick: str) -> Awaitable[None]:
        entered.append(nick)
        return enter(service, room, nick)

    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))

        async def leave_late(service: RoomService, jid: JID, nick: str) -> None:
            await leave(service, jid, nick)
            await state_when(alice, room, lambda state: not state.is_joined)
            for _ in range(100):  # whoever wants to bring us in has its turn
                await asyncio.sleep(0)

        monkeypatch.setattr(RoomService, "leave", leave_late)
        monkeypatch.setattr(RoomService, "enter", note)
        await room.leave()

        assert entered == []


async def test_where_our_nick_is_somebody_elses_we_take_another(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice), "me")
        await room.invite(bob.jid)
        entered = await bob.join(room.jid, "me")

        assert entered.state is not None
        assert entered.state.nick == "me-2"
        assert entered.state.occupants["me"].jid == alice.jid
        assert entered.state.occupants["me-2"].jid == JID(bob.jid)


async def befriend(client: Client, other: JID) -> None:
    await client.add_contact(other)
    async with asyncio.timeout(30):
        while not await client._contacts.table.is_contact(other):
            await client.contacts()


async def test_an_invitation_of_a_contact_waits_and_nothing_is_joined(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(bob, alice.jid)
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        invited = await next_change(bob.events(), RoomChange.INVITED)
        waiting = await bob.rooms.invitations.all()

        assert (invited.sender, invited.who) == (room.jid, alice.jid)
        assert [(each.sender, each.who) for each in waiting] == [(room.jid, alice.jid)]
        assert bob.rooms.all() == ()

        await bob.join(room.jid)
        assert await bob.rooms.invitations.all() == ()


async def test_who_is_away_finds_the_invitation_and_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("bob")
    async with Client(account, tor=wire):
        pass  # it has been there: what comes from now on is its
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        await room.invite(account.jid)
    async with Client(account, tor=wire) as bob:
        invited = await next_change(bob.events(), RoomChange.INVITED)
        assert (invited.sender, invited.who) == (room.jid, alice.jid)
        assert await bob.rooms.invitations.refuse(room.jid)
    async with Client(account, tor=wire) as bob:
        assert bob._absence.settling is not None
        await bob._absence.settling
        assert await bob.rooms.invitations.all() == ()


async def test_who_has_no_account_is_not_invited_and_no_member(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        ghost = JID(f"ghost@{alice.jid.domain}")
        with pytest.raises(RoomError, match=r"ghost@.* was not invited") as caught:
            await room.invite(ghost)

        assert "no such account" in caught.value.why
        assert await room.members() == {alice.jid: Affiliation.OWNER}
        bob = await enrol("bob")  # who was never online has an account, too
        await room.invite(bob.jid)
        assert bob.jid in await room.members()


async def test_a_room_that_lets_members_invite_makes_who_is_invited_a_member(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        await befriend(carol, bob.jid)
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        allowing = {
            "{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites": "1"
        }
        await alice._session.rooms.configure(room.jid, allowing)
        entered = await bob.join(room.jid)
        with pytest.raises(RoomError):
            await entered.invite(carol.jid)
        await entered.invite(carol.jid, through_room=True)
        invited = await next_change(carol.events(), RoomChange.INVITED)
        at_alice = await state_when(alice, room, lambda s: carol.jid in s.members)

        assert (invited.sender, invited.who) == (room.jid, bob.jid)
        assert at_alice.members[carol.jid] is Affiliation.MEMBER


async def test_a_strangers_invitation_is_told_as_one_and_not_followed(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(bob, alice.jid)
        trap = await mallory.create_room(address(mallory, "trap"))
        await trap.invite(bob.jid)
        at_bob = bob.events()
        strange = await next_change(at_bob, RoomChange.INVITED)
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        told = await next_change(at_bob, RoomChange.INVITED)
        waiting = await bob.rooms.invitations.all()

        assert (strange.sender, strange.who) == (trap.jid, mallory.jid)
        assert "no contact" in strange.reason
        assert (told.sender, told.reason) == (room.jid, "")
        assert [each.sender for each in waiting] == [room.jid, trap.jid]
        assert bob.rooms.all() == ()


async def test_a_strict_room_waits_for_each_new_member_to_be_accepted(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    carol, account = await enrol("carol"), await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        await room.invite(account.jid)
        async with Client(account, tor=wire) as bob:
            entered = await bob.join(room.jid)
            await entered.set_strict()
            await room.invite(carol.jid)
            state = await state_when(bob, room, lambda s: carol.jid in s.members)
            assert state.unaccepted == {carol.jid}
            await bob.rooms._journal.write_down()
        async with Client(account, tor=wire) as bob:
            entered = bob.room(room.jid)
            state = await state_when(bob, room, lambda s: s.is_private)
            assert state.is_strict
            assert state.unaccepted == {carol.jid}
            await entered.accept(carol.jid)
            assert entered.state is not None
            assert entered.state.unaccepted == frozenset()
        async with Client(account, tor=wire) as bob:
            state = await state_when(bob, room, lambda s: s.is_private)
            assert state.unaccepted == frozenset()


async def test_the_subject_goes_out_in_the_clear_only_if_that_is_said(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        with pytest.raises(EncryptionError, match="cannot be encrypted"):
            await room.set_subject("a secret")
        await room.set_subject("no secret", allow_clear=True)


async def test_a_room_that_is_destroyed_is_gone_for_everybody(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        at_bob = bob.events()
        await bob.join(room.jid)
        await room.destroy()
        out = await next_change(at_bob, RoomChange.REMOVED)

        assert out.reason == "the room was closed for good"
        assert bob.rooms.all() == alice.rooms.all() == ()


async def test_a_room_that_lost_us_without_a_word_is_entered_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        room = await alice.create_room(address(alice))
        await room.invite(bob.jid)
        await bob.join(room.jid)
        await state_when(alice, room, lambda s: "bob" in s.occupants)
        service = bob._session.rooms
        service.known = set()
        await service.leave(room.jid, "bob")
        await state_when(alice, room, lambda s: "bob" not in s.occupants)
        service.known = {room.jid}
        bob.rooms._clock = lambda: 10.0**9
        bob.rooms._work.set()
        await state_when(alice, room, lambda s: "bob" in s.occupants)

        state = await state_when(bob, room, lambda s: s.is_joined and s.is_private)
        assert state.occupants["alice"].jid == alice.jid


async def test_a_session_that_cannot_be_resumed_enters_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        room = await alice.create_room(address(alice))
        logins = alice.rooms._care.logins
        alice._session.xmpp.resume_id = ""
        wire.cut()
        await state_when(
            alice,
            room,
            lambda s: (
                s.is_joined and s.is_private and alice.rooms._care.logins > logins
            ),
        )


async def test_others_ask_the_process_that_holds_the_account_about_rooms(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob = await enrol("alice"), await enrol("bob")

    async def done(do: str, **more: object) -> list[Line]:
        return [line async for line in ask(account.folder, {"do": do, **more})]

    async with Client(account, tor=wire) as alice, serve(alice):
        (made,) = await done("create-room", room="friends", nick="me")
        (invited,) = await done("invite-to-room", room="friends", people=[bob.jid])
        (listed,) = await done("rooms")
        members = await done("room-members", room=str(made["room"]), timeout=120)
        (strict,) = await done("strict-room", room="friends", on=True)
        (accepted,) = await done("accept-in-room", room="friends", people=[bob.jid])
        (granted,) = await done(
            "grant-in-room", room="friends", people=[bob.jid], affiliation="admin"
        )
        about: Line = {"room": "friends", "subject": "a plan"}
        (unsaid,) = await done("room-subject", **about)
        (renamed,) = await done("room-subject", **about, in_clear=True)
        (unknown,) = await done(
            "moderate-in-room", room="friends", author=bob.jid, id="none"
        )
        (kicked,) = await done("kick-from-room", room="friends", people=[bob.jid])
        (banned,) = await done(
            "kick-from-room", room="friends", people=[bob.jid], ban=True
        )
        none = await done("room-invitations")
        (again,) = await done("create-room", room="friends")
        (left,) = await done("leave-room", room="friends", destroy=True)
        (gone,) = await done("room-members", room="friends")
        (nowhere,) = await done("join-room", room=f"a@muc.{account.jid.domain}/nick")

    assert made["room"] == f"friends@muc.{account.jid.domain}"
    assert (made["nick"], made["members"], made["private"]) == ("me", 1, True)
    assert (invited["jid"], invited["state"]) == (bob.jid, "invited")
    assert (listed["members"], listed["here"], listed["joined"]) == (2, 1, True)
    assert {(each["jid"], each["state"], each["here"]) for each in members} == {
        (account.jid, "owner", True),
        (bob.jid, "member", False),
    }
    assert strict["state"] == "strict"
    assert accepted["state"] == "accepted"
    assert (granted["jid"], granted["state"]) == (bob.jid, "admin")
    assert (unsaid["event"], renamed["state"]) == ("error", "renamed")
    assert "cannot be encrypted" in str(unsaid["what"])
    assert unknown["what"] == "nothing was taken out"
    assert (kicked["state"], banned["state"]) == ("none", "outcast")
    assert none == []
    assert "we are in it" in str(again["why"])
    assert "not the address of a room" in str(nowhere["what"])
    assert again["event"] == gone["event"] == nowhere["event"] == "error"
    assert left["state"] == "destroyed"


async def marks_when(
    client: Client, is_so: Callable[[Sequence[Bookmark]], object]
) -> Sequence[Bookmark]:
    async with asyncio.timeout(30):
        while not is_so(marks := await client.rooms.marks.all(20)):
            pass
    return marks


async def test_our_other_devices_learn_where_we_are_and_nobody_else_does(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
    ):
        assert await alice.rooms.marks.all(20) == ()
        room = await alice.create_room(address(alice), "me")
        (mark,) = await marks_when(alice, len)
        assert (mark.room, mark.nick, mark.is_joined) == (room.jid, "me", True)

        await befriend(mallory, alice.jid)
        await befriend(alice, mallory.jid)
        request = mallory._session.xmpp.make_iq_get(ito=alice.jid)
        pubsub = ET.fromstring(  # noqa: S314 - our own text
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            "<items node='urn:xmpp:bookmarks:1'/></pubsub>"
        )
        request.append(pubsub)
        with pytest.raises(RoomError):
            await mallory._session.rooms.ask(request)

        await room.leave()
        (left,) = await marks_when(alice, lambda marks: not marks[0].is_joined)
        assert left.nick == "me"


async def test_what_another_client_noted_with_a_room_stays(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        bookmarks = alice._session.rooms.bookmarks
        room = JID(address(alice))
        noted = ET.fromstring(  # noqa: S314 - our own text
            "<conference xmlns='urn:xmpp:bookmarks:1' autojoin='false' name='Ours'>"
            "<extensions><pinned xmlns='urn:x'/></extensions></conference>"
        )
        await bookmarks._publish(room, noted)
        await alice.create_room(room)
        await marks_when(alice, lambda marks: marks[0].is_joined)
        kept = await bookmarks._find(room)

        assert kept is not None
        assert kept.get("name") == "Ours"
        assert kept.find(".//{urn:x}pinned") is not None


async def test_where_others_could_read_it_no_room_is_noted(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = ("pubsub#access_model", "open")
    options = (*bookmarks_module._OPTIONS[:-1], open_to_all)
    monkeypatch.setattr(bookmarks_module, "_OPTIONS", options)
    async with Client(await enrol("alice"), tor=wire) as alice:
        bookmarks = alice._session.rooms.bookmarks
        with pytest.raises(RoomError, match="would show others"):
            await bookmarks.keep(JID(address(alice)), "me")

        assert await bookmarks.all() == ()


@pytest.mark.parametrize("condition", ["forbidden", "not-allowed"])
def test_what_we_may_not_do_in_a_room_says_who_may(condition: str) -> None:
    assert "owners or admins" in room_error(condition).fix
