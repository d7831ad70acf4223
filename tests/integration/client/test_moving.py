"""A server gets another name, and its people go with it: all that they had is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, Client, Event, Message, Trust, moving
from xmpp_onion.errors import MovedError
from xmpp_onion.moves import Move
from xmpp_onion.server import Prosody, initialise, rotate
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules

pytestmark = pytest.mark.prosody


async def enrol(prosody: Prosody, name: str, folder: Path) -> Account:
    wire = LoopbackDialer(prosody.c2s_port)
    password = f"secret of {name}"
    certificate = await register(await prosody.invite(name), name, password, tor=wire)
    account = Account(
        profile=name,
        folder=folder / name,
        jid=JID(f"{name}@{prosody.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=certificate,
    )
    account.save()
    return account


async def next_message(events: AsyncIterator[Event]) -> Message:
    async with asyncio.timeout(60):
        while True:
            event = await anext(events)
            if isinstance(event, Message):
                return event


async def become_contacts(alice: Client, bob: Client) -> None:
    await alice.add_contact(bob.jid)
    async with asyncio.timeout(60):
        while not (await bob.requests()).waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    await bob.accept_contact(alice.jid)
    async with asyncio.timeout(60):
        while alice.jid not in bob._contacts.people:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def learn_of_move(account: Account, wire: LoopbackDialer) -> Move:
    """Log in under the old name, and return what the server says there."""
    with pytest.raises(MovedError) as caught:
        async with Client(account, tor=wire):
            pass
    assert caught.value.exit_code == 6
    known = await moving.known_move(account)
    assert known is not None
    assert known.document == caught.value.document
    return known


async def test_who_follows_a_server_has_all_that_was_there(
    prosody_program: str, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    async with Prosody(folder, program=prosody_program) as prosody:
        wire = LoopbackDialer(prosody.c2s_port)
        accounts = [await enrol(prosody, name, tmp_path) for name in ("alice", "bob")]
        async with Client(accounts[0], tor=wire) as alice:
            async with Client(accounts[1], tor=wire) as bob:
                await become_contacts(alice, bob)
                room = await alice.create_room(f"friends@muc.{prosody.onion}")
                await room.invite(bob.jid)
                await bob.join(room.jid)
                at_bob = bob.events()
                await alice.send(bob.jid, "hello")
                assert (await next_message(at_bob)).text == "hello"
                prints = alice.fingerprint, bob.fingerprint
                numbers = [
                    {device.device_id for device in await each.devices()}
                    for each in (alice, bob)
                ]
            await alice.send(accounts[1].jid, "while you were away")
            await room.send("in the room")

    rotated = await rotate(folder)

    assert rotated.old == accounts[0].jid.domain
    accounts = [Account.load(each.profile, tmp_path) for each in accounts]
    async with Prosody(folder, program=prosody_program) as prosody:
        assert prosody.onion == rotated.new
        assert prosody.certificate_fingerprint == rotated.certificate
        wire = LoopbackDialer(prosody.c2s_port)
        moves = [await learn_of_move(account, wire) for account in accounts]
        followed = [
            await moving.follow(account, move)
            for account, move in zip(accounts, moves, strict=True)
        ]
        assert followed[0].jid == f"alice@{rotated.new}"
        assert followed[0].certificate == rotated.certificate
        async with (
            Client(followed[1], tor=wire) as bob,
            Client(followed[0], tor=wire) as alice,
        ):
            at_bob = bob.events()
            # The first was shown, and nobody said that it was handled.
            said = {(await next_message(at_bob)).text for _ in range(3)}
            assert said == {"hello", "while you were away", "in the room"}
            assert (alice.fingerprint, bob.fingerprint) == prints
            assert [
                {device.device_id for device in await each.devices()}
                for each in (alice, bob)
            ] == numbers
            [friend] = await alice.contacts()
            assert (friend.jid, friend.subscription) == (bob.jid, "both")
            await alice.send(bob.jid, "under the new name")
            answer = await next_message(at_bob)
            assert (answer.text, answer.sender) == ("under the new name", alice.jid)
            await alice.room(f"friends@muc.{rotated.new}").send("all of us")
            heard = await next_message(at_bob)
            assert (heard.text, heard.room) == (
                "all of us",
                f"friends@muc.{rotated.new}",
            )


async def test_who_logs_in_with_one_question_is_told_and_follows(
    prosody_program: str, tmp_path: Path
) -> None:
    folder, modules = tmp_path / "server", find_modules()
    assert modules, "run scripts/fetch-prosody-modules"
    initialise(folder)
    add_quick_login(folder, modules, program=prosody_program)
    async with Prosody(folder, program=prosody_program) as prosody:
        wire = LoopbackDialer(prosody.c2s_port)
        account = await enrol(prosody, "alice", tmp_path)
        for _ in range(2):  # the second time with what it remembers of the first
            async with Client(account, tor=wire) as alice:
                account = alice.account
                print_before = alice.fingerprint

    rotated = await rotate(folder)

    async with Prosody(folder, program=prosody_program) as prosody:
        wire = LoopbackDialer(prosody.c2s_port)
        account = await moving.follow(account, await learn_of_move(account, wire))
        for _ in range(2):
            async with Client(account, tor=wire) as alice:
                assert alice.jid == f"alice@{rotated.new}"
                assert alice.fingerprint == print_before
                await alice.ping()
