"""What is said in rooms, on a real server: by whom, for whom, and to nobody else."""

import asyncio
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

from xmpp_onion import (
    JID,
    Account,
    Affiliation,
    Client,
    Correction,
    DeliveryFailed,
    DeliveryState,
    Event,
    Message,
    Moderated,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    Room,
    RoomEvent,
    RoomState,
    Undecryptable,
    clerk,
    room_post,
)
from xmpp_onion.agent.requests import perform
from xmpp_onion.chat import Content, Line
from xmpp_onion.e2ee import OMEMO_2, OMEMO_OLD, Plain, reader_ids
from xmpp_onion.e2ee.devices import Listing
from xmpp_onion.errors import (
    AddressError,
    DeliveryFailedError,
    EncryptionError,
    NoDevicesError,
    RoomError,
)
from xmpp_onion.rooms import Kept
from xmpp_onion.server import Prosody
from xmpp_onion.session import CatchUp, Session, message_stanza, read_content
from xmpp_onion.store import Outbox
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]
T = TypeVar("T", bound=Event)

pytestmark = pytest.mark.prosody


def address(client: Client, name: str = "friends") -> str:
    return f"{name}@muc.{client.jid.domain}"


class Ear:
    """What one client is told, each event once."""

    def __init__(self, client: Client) -> None:
        self._events = client.events()

    async def next_of(self, kind: type[T] | tuple[type[T], ...]) -> T:
        async with asyncio.timeout(30):
            async for event in self._events:
                if isinstance(event, kind):
                    return event
        raise AssertionError

    async def messages(self, number: int) -> list[Message]:
        """Return the next messages; nothing that cannot be read may come before."""
        found: list[Message] = []
        while len(found) < number:
            event = await self.next_of((Message, Undecryptable))
            assert isinstance(event, Message), event
            found.append(event)
        return found

    async def message(self) -> Message:
        [message] = await self.messages(1)
        return message


async def until(
    client: Client, room: str, is_so: Callable[[RoomState], object]
) -> RoomState:
    async with asyncio.timeout(30):
        while True:
            changed = client.rooms.changed
            state = client.rooms.state(JID(room))
            if state is not None and is_so(state):
                return state
            await changed.wait()


async def come_together(owner: Client, others: Sequence[Client], name: str) -> Room:
    """Make a room, and let all come in."""
    room = await owner.create_room(name)
    for other in others:
        await room.invite(other.jid)
    for other in others:
        await other.join(name)
        await until(other, name, lambda state: state.is_private)
    everybody = {owner.jid, *(other.jid for other in others)}
    for client in (owner, *others):
        await until(client, name, lambda state: everybody <= set(state.members))
    return room


@asynccontextmanager
async def people(
    enrol: Enrol, wire: LoopbackDialer, *names: str
) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Client(await enrol(name), tor=wire))
            for name in names
        ]


async def test_members_read_what_is_said_and_who_said_it(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        at_alice, at_bob, at_carol = Ear(alice), Ear(bob), Ear(carol)

        delivery = await room.send("hello all")

        assert (delivery.devices, delivery.skipped) == (2, ())
        for ear in (at_bob, at_carol):
            message = await ear.message()
            assert (message.text, message.sender) == ("hello all", alice.jid)
            assert (message.room, message.to) == (name, name)
            assert message.fingerprint == alice.fingerprint
            assert message.id == delivery.id
        await alice.wait(delivery.id, DeliveryState.RECEIVED)
        await message.reply("hello yourself")
        for ear in (at_alice, at_bob):
            message = await ear.message()
            assert (message.text, message.sender) == ("hello yourself", carol.jid)


async def test_who_was_away_reads_all_of_it_also_of_one_who_left(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        account = await enrol("carol")
        async with Client(account, tor=wire) as carol:
            room = await come_together(alice, [bob, carol], name)
        at_bob = Ear(bob)
        await room.send("one")
        first = await at_bob.message()
        await first.reply("two")
        await room.send("three")
        await at_bob.message()
        await bob.room(name).leave()
        await until(alice, name, lambda state: len(state.occupants) == 1)

        async with Client(account, tor=wire) as carol:
            messages = await Ear(carol).messages(3)

    assert [(m.text, m.sender, m.room) for m in messages] == [
        ("one", alice.jid, name),
        ("two", bob.jid, name),
        ("three", alice.jid, name),
    ]


async def test_a_member_who_was_taken_out_reads_nothing_that_is_sent_then(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        await room.kick(carol.jid)
        await until(alice, name, lambda state: carol.jid not in state.members)

        delivery = await room.send("without you")

        assert delivery.devices == 1
        assert (await Ear(bob).message()).text == "without you"


async def test_nothing_is_said_in_a_room_that_is_open_to_others(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        open_it = {"muc#roomconfig_membersonly": "0"}
        await alice._session.rooms.configure(JID(name), open_it)

        for client in (alice, bob):
            await until(client, name, lambda state: not state.is_private)
            with pytest.raises(RoomError, match="not private"):
                await client.send(name, "secret")

        close_it = {"muc#roomconfig_membersonly": "1"}
        await alice._session.rooms.configure(JID(name), close_it)
        await until(alice, name, lambda state: state.is_private)
        await room.send("among us again")
        assert (await Ear(bob).message()).text == "among us again"


async def test_a_room_of_one_has_nobody_to_talk_to(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice") as [alice]:
        room = await alice.create_room(address(alice))

        with pytest.raises(NoDevicesError, match="only member"):
            await room.send("echo")


async def test_what_waited_goes_without_the_keys_of_who_was_taken_out_meanwhile(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        alice._courier.hold()
        waiting = await alice.queue(name, "without you")
        assert waiting.devices == 2
        await room.kick(carol.jid)
        await until(alice, name, lambda state: carol.jid not in state.members)
        alice._courier.open()

        assert (await Ear(bob).message()).text == "without you"
        delivery = await alice.delivery(waiting.id)
        assert delivery is not None
        assert (delivery.devices, delivery.skipped) == (1, (carol.jid,))
        [stored] = [
            entry.incoming
            async for page in CatchUp(bob._session.archive, "", room=JID(name)).pages()
            for entry in page.entries
            if entry.incoming is not None
        ]
        assert carol._omemo.device_id not in reader_ids(stored.encrypted)


async def test_what_waited_for_nobody_else_fails_and_says_so(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        alice._courier.hold()
        waiting = await alice.queue(name, "to nobody")
        await room.kick(bob.jid)
        await until(alice, name, lambda state: bob.jid not in state.members)

        alice._courier.open()

        with pytest.raises(DeliveryFailedError):
            await alice.wait(waiting.id, DeliveryState.ACKED)
        failed = await Ear(alice).next_of(DeliveryFailed)
        assert failed.sender == name
        assert not await alice._outbox.pending()


async def test_a_restarted_server_loses_nothing_that_was_said_and_keeps_its_order(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await come_together(alice, [bob], name)
        alice._courier.hold()
        for number in range(3):
            await alice.queue(name, str(number))
        await prosody.restart()
        async with asyncio.TaskGroup() as tasks:
            for number in range(3, 5):
                tasks.create_task(alice.send(name, str(number)))
                await asyncio.sleep(0)

        messages = await Ear(bob).messages(5)

    assert [message.text for message in messages] == ["0", "1", "2", "3", "4"]


async def test_what_is_said_while_we_come_in_survives_our_death_in_that_moment(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with people(enrol, wire, "alice") as [alice]:
        name, account = address(alice), await enrol("bob")
        async with Client(account, tor=wire):
            pass  # his keys are there
        room = await alice.create_room(name)
        await room.invite(account.jid)
        died = asyncio.Event()
        async with Client(account, tor=wire) as bob:
            keep, settled = bob.rooms._journal.keep, bob.rooms._settled

            async def settled_and_greeted(kept: Kept) -> None:
                await settled(kept)
                await alice.send(name, "welcome")

            async def kept_and_dead(*what: Any) -> None:
                await keep(*what)
                died.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(bob.rooms, "_settled", settled_and_greeted)
            monkeypatch.setattr(bob.rooms._journal, "keep", kept_and_dead)
            async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
                joining = tasks.create_task(bob.join(name))
                await died.wait()
                joining.cancel()

        async with Client(account, tor=wire) as bob:
            assert (await Ear(bob).message()).text == "welcome"


@pytest.mark.parametrize("domain", ["muc.", "rooms."])
async def test_a_room_that_we_are_not_in_is_no_person_without_keys(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await alice.create_room(name)
        if domain != "muc.":  # as if its name did not say it
            monkeypatch.setattr(bob.rooms, "check_joined", lambda _: None)

        with pytest.raises(RoomError, match="not in it") as raised:
            await bob.send(name, "anybody here?")
        assert f"room join {name}" in raised.value.fix

        nobody = f"nobody@{alice.jid.domain}"
        with pytest.raises(NoDevicesError):
            await bob.send(nobody, "anybody here?")


async def test_who_waits_for_rooms_has_all_that_was_said_there(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice") as [alice]:
        name, account = address(alice), await enrol("bob")
        async with Client(account, tor=wire) as bob:
            room = await come_together(alice, [bob], name)
        for number in range(3):
            await room.send(str(number))

        async with Client(account, tor=wire) as bob:
            await bob.settle_rooms()
            assert len(await bob._inbox.pending()) >= 3


async def test_what_is_said_in_private_or_in_the_clear_is_no_message(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await come_together(alice, [bob], name)
        await alice.send(bob.jid, "to bob alone")
        ear = Ear(bob)
        assert (await ear.next_of(Message)).room is None

        for kind, to in (("chat", f"{name}/bob"), ("groupchat", name)):
            text = f"<message type='{kind}' to='{to}'><body>psst</body></message>"
            await alice._session.send(text, "x")
            unread = await ear.next_of((Message, Undecryptable))
            assert isinstance(unread, Undecryptable)
            assert (unread.sender, unread.room) == (name, name)

        await alice._omemo.fetch([bob.jid])
        async with alice._database.transaction():
            sealed = await alice._omemo.encrypt(bob.jid, Plain("as if from a room"))
        private = message_stanza(JID(f"{name}/bob"), "y", sealed.elements)
        await alice._session.send(private, "y")
        unread = await ear.next_of((Message, Undecryptable))
        assert isinstance(unread, Undecryptable)
        assert (unread.sender, unread.room) == (name, name)


async def test_who_takes_the_nick_of_another_is_still_themselves(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "mallory") as [alice, bob, mallory]:
        name = address(alice)
        room = await come_together(alice, [bob, mallory], name)
        account = await enrol("carol")
        async with Client(account, tor=wire) as carol:
            await room.invite(carol.jid)
            await carol.join(name)
        await until(bob, name, lambda state: carol.jid in state.members)
        await bob.room(name).send("I am bob")
        await mallory.room(name).leave()
        await bob.room(name).leave()
        await until(alice, name, lambda state: len(state.occupants) == 1)
        await mallory.join(name, "bob")
        await until(mallory, name, lambda state: carol.jid in state.members)
        await mallory.room(name).send("I am bob, too")

        ears = [Ear(alice)]
        async with Client(account, tor=wire) as carol:
            for ear in (*ears, Ear(carol)):
                first, second = await ear.messages(2)
                assert (first.text, first.sender) == ("I am bob", bob.jid)
                assert (second.text, second.sender) == ("I am bob, too", mallory.jid)


async def test_one_stanza_carries_both_versions_to_a_room(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        await come_together(alice, [bob, carol], name)
        await alice._omemo.fetch([bob.jid, carol.jid])
        # As if Bob's device spoke the older version alone.
        alice._omemo._directory.keep(OMEMO_2, bob.jid, {})

        delivery = await alice.send(name, "to both", reply_to="a message")

        assert (delivery.devices, delivery.text_only) == (2, 1)
        at_bob, at_carol = await Ear(bob).message(), await Ear(carol).message()
        assert (at_bob.text, at_bob.namespace) == ("to both", OMEMO_OLD)
        assert (at_carol.text, at_carol.namespace) == ("to both", OMEMO_2)
        assert (at_bob.reply_to, at_carol.reply_to) == ("", "a message")


async def test_what_is_too_much_for_one_stanza_goes_as_several_and_is_read_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        await come_together(alice, [bob, carol], name)
        await alice._omemo.fetch([bob.jid, carol.jid])
        alice._omemo._directory.keep(OMEMO_2, bob.jid, {})
        alice._session.stanza_limit = 10_000  # the least that a server may take
        alice._courier.hold()
        at_bob, at_carol = Ear(bob), Ear(carol)

        # In both versions it takes more than that.
        queued = await alice.queue(name, "long" * 500)

        rows = await Outbox(alice._database).pending()
        assert len(rows) == 2
        assert max(len(row.stanza_xml.encode()) for row in rows) <= 10_000
        alice._courier.open()
        await alice.wait(queued.id, DeliveryState.ACKED)
        await alice.send(name, "the end")
        for ear in (at_bob, at_carol):
            long, end = await ear.messages(2)
            assert (long.text, end.text) == ("long" * 500, "the end")


async def test_what_we_say_in_a_room_reaches_our_other_devices_as_ours(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await come_together(alice, [bob], name)
        tablet = replace(alice.account, folder=tmp_path / "tablet", device="")
        tablet.save()
        async with Client(tablet, tor=wire) as other:
            await other.join(name, "alice on her tablet")
            await alice.verify(alice.jid, other.fingerprint)
            await other.verify(alice.jid, alice.fingerprint)

            await alice.send(name, "from my phone")

            said = await Ear(other).next_of((Message, OwnMessage))
            assert isinstance(said, OwnMessage)
            assert (said.text, said.room, said.to) == ("from my phone", name, name)


async def test_corrections_reactions_and_retractions_name_their_author_in_a_room(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await come_together(alice, [bob], name)
        ear = Ear(bob)
        first = await alice.send(name, "teh")
        assert (await ear.message()).id == first.id

        await alice.correct(name, first.id, "the")
        await alice.react(name, first.id, "!")
        await alice.retract(name, first.id)

        for kind in (Correction, Reaction, Retraction):
            said = await ear.next_of((Correction, Reaction, Retraction))
            assert isinstance(said, kind)
            assert isinstance(said, Correction | Reaction | Retraction)
            assert (said.sender, said.room, said.target) == (alice.jid, name, first.id)


async def test_who_is_mentioned_in_a_room_is_told_by_account_and_never_by_nick(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        await room.send("bob, do you hear?")
        await room.send("you too", mentions=[bob.jid, bob.jid])

        for ear, is_bob in ((Ear(bob), True), (Ear(carol), False)):
            by_nick, by_account = await ear.messages(2)
            assert (by_nick.mentions, by_nick.mentions_me) == ((), False)
            assert by_account.mentions == (bob.jid,)
            assert by_account.mentions_me is is_bob

        for wrong in (["bob"], [f"{bob.jid}/phone"], [bob.jid] * 21):
            with pytest.raises(AddressError):
                await room.send("nobody", mentions=wrong)


async def test_another_member_cannot_correct_or_retract_what_is_said_in_a_room(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "mallory") as [alice, bob, mallory]:
        name = address(alice)
        await come_together(alice, [bob, mallory], name)
        ear = Ear(bob)
        first = await alice.send(name, "the text")
        message = await ear.message()

        await mallory.correct(name, first.id, "another")
        await mallory.retract(name, first.id)
        await alice.correct(name, first.id, "a better text")

        for author, is_hers in ((mallory, False), (mallory, False), (alice, True)):
            said = await ear.next_of((Correction, Retraction))
            assert isinstance(said, Correction | Retraction)
            assert (said.sender, said.is_for(message)) == (author.jid, is_hers)


async def test_what_may_be_kept_for_a_time_says_so_to_all_members_or_to_none(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        await room.send("for an hour", expires=timedelta(hours=1))
        for client in (bob, carol):
            message = await Ear(client).message()
            assert message.text == "for an hour"
            assert message.expires_at == message.at + timedelta(hours=1)
        await carol._omemo.fetch([alice.jid, bob.jid])
        # As if Bob's device spoke the older version alone.
        carol._omemo._directory.keep(OMEMO_2, bob.jid, {})

        with pytest.raises(EncryptionError, match="nothing was sent"):
            await carol.room(name).send("secret", expires=timedelta(hours=1))

        assert await carol._outbox.pending() == []


async def test_what_is_meant_in_a_room_is_named_there_as_others_clients_name_it(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Content] = []

    def read(text: str | None, payload: Sequence[ET.Element]) -> Content:
        said.append(read_content(text, payload))
        return said[-1]

    monkeypatch.setattr(clerk, "read_content", read)
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        ear, at_bob = Ear(bob), bob.room(name)
        first = await room.send("teh")
        message = await ear.message()
        await alice.wait(first.id, DeliveryState.RECEIVED)
        [(entry, _)] = [
            (entry.id, entry.incoming)
            async for page in CatchUp(bob._session.archive, "", room=JID(name)).pages()
            for entry in page.entries
            if entry.incoming is not None
        ]
        said.clear()

        await room.react(first.id, "!")
        await room.correct(first.id, "the")
        await room.retract(first.id)
        targets = [
            (await ear.next_of((Correction, Reaction, Retraction))).target
            for _ in range(3)
        ]
        sent, send = [], bob._session.send

        def keep(xml: str | ET.Element, message_id: str) -> Awaitable[None]:
            sent.append(xml if isinstance(xml, str) else ET.tostring(xml, "unicode"))
            return send(xml, message_id)

        monkeypatch.setattr(bob._session, "send", keep)
        await at_bob.reply(message, "why?")
        answer = await Ear(alice).message()

    # Whom it answers is an account, and inside alone: a nick could be anybody's.
    assert [each.author for each in said if each.reply_to] == [message.sender]
    [outside] = [xml for xml in sent if "groupchat" in xml]
    assert "reply" not in outside
    assert entry not in outside
    assert targets == [first.id] * 3
    assert answer.reply_to == first.id
    named = [each.reacts_to or each.retracts or each.reply_to for each in said]
    assert [each for each in named if each] == [entry] * 3
    assert [each.corrects for each in said if each.corrects] == [first.id]


async def test_the_author_alone_is_told_who_read_what_in_a_room(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        at_alice, at_carol = Ear(alice), Ear(carol)
        first = await room.send("read me")
        second = await room.send("and me")
        third = await room.send("and me, later")
        [_, newest, _] = await Ear(bob).messages(3)

        marked = await bob.mark_displayed(newest)
        told = await at_alice.next_of(Receipt)
        while told.state is not DeliveryState.DISPLAYED:
            told = await at_alice.next_of(Receipt)

        assert (told.id, told.sender, told.room) == (second.id, bob.jid, name)
        assert told.authenticated
        assert await room.displayed_by(first.id) == (bob.jid,)
        assert await room.displayed_by(second.id) == (bob.jid,)
        assert await room.displayed_by(third.id) == ()
        assert await room.displayed_by("nothing of ours") == ()
        asked: Line = {"do": "shown-in-room", "room": name, "id": first.id}
        (reader,) = await perform(alice, asked)
        assert (reader["event"], reader["jid"]) == ("shown", bob.jid)
        (state,) = await perform(alice, {"do": "sent", "id": first.id})
        assert (state["event"], state["to"]) == ("sent", name)
        assert marked.devices == 1  # of alice, and carol has no key
        await bob.send(name, "the end")
        ends = [each.text for each in await at_carol.messages(4)]
        assert ends == ["read me", "and me", "and me, later", "the end"]
        assert await carol.displayed_by(second.id) == ()


async def test_a_device_that_is_not_accepted_is_not_believed_to_show_anything(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        sent = await room.send("read me")
        message = await Ear(bob).message()
        await alice.verify(bob.jid, bob.fingerprint)
        tablet = replace(bob.account, folder=tmp_path / "tablet", device="")
        tablet.save()
        async with Client(tablet, tor=wire) as other:
            await other.join(name, "bob on his tablet")

            await other.mark_displayed(message)
            await other.send(name, "the end")

            assert (await Ear(alice).message()).trust == "undecided"
            assert await room.displayed_by(sent.id) == ()


async def test_who_read_what_of_somebody_who_is_out_is_told_to_nobody(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob, carol], name)
        await carol.send(name, "read me")
        message = await Ear(bob).message()

        with monkeypatch.context() as patch:
            patch.setattr(room_post, "MARKED_MEMBERS", 2)
            with pytest.raises(RoomError, match="more than 2"):
                await bob.mark_displayed(message)
        await room.kick(carol.jid)
        await until(bob, name, lambda state: carol.jid not in state.members)
        with pytest.raises(RoomError, match="no member"):
            await bob.mark_displayed(message)


async def test_a_strict_room_says_nothing_before_each_new_member_is_accepted(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        at_bob = bob.room(name)
        await at_bob.set_strict()
        await at_bob.send("to alice")
        bob._courier.hold()
        waiting = await bob.queue(name, "still to alice")
        await room.grant(carol.jid, Affiliation.MEMBER)
        await until(bob, name, lambda state: state.unaccepted)
        bob._courier.open()

        with pytest.raises(RoomError, match="nobody accepted yet") as raised:
            await at_bob.send("to a stranger")
        assert str(carol.jid) in raised.value.why
        delivery = await bob.delivery(waiting.id)
        assert delivery is not None
        assert delivery.state is DeliveryState.QUEUED

        await at_bob.accept(carol.jid)
        await at_bob.send("to both")
        texts = [message.text for message in await Ear(alice).messages(3)]
        assert texts == ["to alice", "still to alice", "to both"]


async def test_a_member_whom_the_server_adds_in_silence_reads_nothing_and_is_told(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        name = address(alice)
        room = await come_together(alice, [bob], name)
        at_bob = bob.room(name)
        await at_bob.set_strict()
        told = Ear(bob)

        async def nothing(news: object) -> None:
            """As if the server had kept it to itself."""

        with monkeypatch.context() as patch:
            patch.setattr(bob.rooms, "take", nothing)
            await room.grant(carol.jid, Affiliation.MEMBER)
            unaware = await at_bob.send("to alice")
        assert unaware.devices == 1
        await bob.rooms.refresh(JID(name))

        while (event := await told.next_of(RoomEvent)).who != carol.jid:
            pass
        assert event.affiliation is Affiliation.MEMBER
        state = bob.rooms.state(JID(name))
        assert state is not None
        assert state.unaccepted == {carol.jid}
        with pytest.raises(RoomError, match="nobody accepted yet"):
            await at_bob.send("to a stranger")


async def test_a_flood_of_comings_and_goings_asks_for_each_device_list_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob", "carol") as [alice, bob, carol]:
        asked: Counter[tuple[str, str]] = Counter()
        fetch = alice._omemo._pep.fetch_device_list

        async def count(namespace: str, jid: JID) -> Listing:
            asked[namespace, jid.bare] += 1
            return await fetch(namespace, jid)

        alice._omemo._pep.fetch_device_list = count  # type: ignore[method-assign] # counts
        name = address(alice)
        room = await come_together(alice, [bob], name)
        again = Session(bob.jid, "secret of bob", tor=wire)
        async with again:
            await again.wait_online(60)
            for turn in range(30):
                going = [room.send(f"{turn}-{n}") for n in range(3)]
                await again.rooms.enter(JID(name), f"flood{turn}")
                await asyncio.gather(
                    again.rooms.leave(JID(name), f"flood{turn}"), *going
                )
                if turn == 10:
                    await room.invite(carol.jid)

        everybody = {bob.jid, carol.jid}
        assert {key: n for key, n in asked.items() if key[1] in everybody} == {
            (namespace, jid): 1
            for namespace in (OMEMO_2, OMEMO_OLD)
            for jid in everybody
        }


async def test_a_room_that_does_not_let_us_in_says_so_at_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice") as [alice]:
        account = await enrol("bob")
        name = address(alice)
        async with Client(account, tor=wire) as bob:
            room = await come_together(alice, [bob], name)
        await room.kick(account.jid)

        async with Client(account, tor=wire) as bob:
            with pytest.raises(RoomError, match="members only"):
                await bob.send(name, "let me in", timeout=None)


async def test_a_message_that_a_room_sends_back_has_failed(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        name = address(alice)
        await come_together(alice, [bob], name)
        occupancy = bob.rooms._rooms[JID(name)].occupancy
        occupancy.take_presence = lambda _: []  # type: ignore[method-assign] # it misses that it is out
        nick = occupancy.nick
        await bob._session.rooms.leave(JID(name), nick)

        delivery = await bob.send(name, "does anybody hear me?")

        with pytest.raises(DeliveryFailedError):
            await bob.wait(delivery.id, DeliveryState.RECEIVED)


async def test_what_an_owner_takes_out_of_a_room_is_told_and_not_read_by_who_comes_late(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        carols = await enrol("carol")
        name = address(alice)
        async with Client(carols, tor=wire) as carol:
            room = await come_together(alice, [bob, carol], name)
            carols = carol.account
        await bob.send(name, "the bad word")
        at_alice, at_bob = Ear(alice), Ear(bob)
        message = await at_alice.message()
        assert bob.rooms.state(JID(name)) is not None
        with pytest.raises(RoomError):
            await bob.room(name).moderate(message)
        with pytest.raises(EncryptionError, match="cannot be encrypted"):
            await room.moderate(message, "be kind")

        await room.moderate(message, "be kind", allow_clear=True)

        told = await at_bob.next_of(Moderated)
        assert (told.sender, told.by, told.reason) == (name, alice.jid, "be kind")
        assert (await at_alice.next_of(Moderated)).is_for(message)
        await alice.send(name, "the end")
        async with Client(carols, tor=wire) as carol:
            at_carol = Ear(carol)
            assert (await at_carol.message()).text == "the end"


async def test_who_was_away_learns_who_took_out_what_he_had_read(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with people(enrol, wire, "alice", "bob") as [alice, bob]:
        carols = await enrol("carol")
        name = address(alice)
        async with Client(carols, tor=wire) as carol:
            room = await come_together(alice, [bob, carol], name)
            await bob.send(name, "the bad word")
            message = await Ear(carol).message()
            carols = carol.account
        said = await Ear(alice).message()
        await room.take_out(said.sender, said.id)

        async with Client(carols, tor=wire) as carol:
            told = await Ear(carol).next_of(Moderated)

        assert told.is_for(message)
        assert (told.by, told.author) == (alice.jid, bob.jid)
