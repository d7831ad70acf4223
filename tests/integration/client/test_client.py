import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import (
    JID,
    Account,
    Client,
    ContactRequest,
    DeliveryState,
    Message,
    Trust,
    TrustLevel,
    Undecryptable,
)
from xmpp_onion.chat import Content
from xmpp_onion.e2ee import FarWitness
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    DeviceListError,
    NoDevicesError,
    NotAcknowledgedError,
    OnionUnreachableError,
    SessionError,
    StoreCorruptError,
    StoreLockedError,
    UndecidedDevicesError,
)
from xmpp_onion.server import Prosody
from xmpp_onion.session.connection import State
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def take(messages: AsyncIterator[Message], count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await anext(messages)).text for _ in range(count)]


async def test_two_people_talk_both_ways(enrol: Enrol, wire: LoopbackDialer) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
    ):
        delivery = await alice.send(bob.jid, "hello")
        message = await anext(bob.messages())
        await message.reply("hello back")
        answer = await anext(alice.messages())

    assert delivery.state is DeliveryState.ACKED
    assert delivery.id == message.id
    assert (message.text, message.sender, message.to) == (
        "hello",
        alice_account.jid,
        bob_account.jid,
    )
    assert message.trust == "tofu"
    assert (answer.text, answer.sender) == ("hello back", bob_account.jid)


async def test_200_concurrent_messages_each_way_arrive_once_and_in_order(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        to_alice = [f"from bob {number}" for number in range(200)]
        to_bob = [f"from alice {number}" for number in range(200)]
        got_by_alice, got_by_bob, *_ = await asyncio.gather(
            take(alice.messages(), 200),
            take(bob.messages(), 200),
            *(alice.send(bob.jid, text) for text in to_bob),
            *(bob.send(alice.jid, text) for text in to_alice),
        )

    assert got_by_alice == to_alice
    assert got_by_bob == to_bob


async def test_a_message_waits_for_who_is_away(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire):
        pass  # publishes his keys, and leaves
    async with Client(alice_account, tor=wire) as alice:
        await alice.send(bob_account.jid, "while you were out")

    async with Client(bob_account, tor=wire) as bob:
        assert await take(bob.messages(), 1) == ["while you were out"]


async def test_a_message_not_yet_handled_is_yielded_again_after_a_restart(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
    ):
        await alice.send(bob.jid, "one")
        await alice.send(bob.jid, "two")
        assert (await anext(bob.messages())).text == "one"  # not asked for the next

    async with Client(bob_account, tor=wire) as bob:
        messages = bob.messages()
        assert await take(messages, 2) == ["one", "two"]


async def test_sessions_and_identity_survive_a_restart(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    fingerprints = set()
    async with Client(bob_account, tor=wire) as bob:
        messages = bob.messages()
        for number in range(3):
            async with Client(alice_account, tor=wire) as alice:
                fingerprints.add(alice.fingerprint)
                await alice.send(bob.jid, str(number))
                assert await take(messages, 1) == [str(number)]

    assert len(fingerprints) == 1


async def test_the_server_never_sees_a_word(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    canary = "canary-4711"
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, canary)
        assert await take(bob.messages(), 1) == [canary]
    async with Client(await enrol("carol"), tor=wire):
        pass

    files = [p for p in (tmp_path / "server").rglob("*") if p.is_file()]
    archived = [p for p in files if b"axolotl" in p.read_bytes()]
    assert archived != []  # it did keep the encrypted message
    assert [p for p in files if canary.encode() in p.read_bytes()] == []
    assert canary not in prosody.log_tail()


async def test_a_broken_connection_is_a_pause(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        messages = bob.messages()
        for number in range(3):
            await alice.send(bob.jid, str(number))
            wire.cut()
        assert await take(messages, 3) == ["0", "1", "2"]


async def test_a_restarted_server_loses_nothing_that_was_sent(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        messages = bob.messages()
        await alice.send(bob.jid, "before")
        await prosody.restart()
        await alice.send(bob.jid, "after")
        assert await take(messages, 2) == ["before", "after"]


async def test_what_the_server_does_not_confirm_stays_queued_and_goes_out_later(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
    ):
        messages = bob.messages()
        await alice.send(bob.jid, "warm")
        wire.refusing = True
        queued = await alice.queue(bob.jid, "kept")  # still connected: on disk
        wire.cut()
        wire.refusing = False
        assert await take(messages, 2) == ["warm", "kept"]

    assert queued.state is DeliveryState.QUEUED


async def test_what_is_queued_last_goes_out_before_its_client_is_gone(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice_account = await enrol("alice")

    async def tell_nothing(self: FarWitness) -> None:
        """Take no time: in that it might go out by chance."""

    monkeypatch.setattr(FarWitness, "close", tell_nothing)
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(alice_account, tor=wire) as alice:
            await alice.send(bob.jid, "first")
            await alice.queue(bob.jid, "last")

        assert await take(bob.messages(), 2) == ["first", "last"]


async def test_no_ack_in_time_says_that_it_is_queued(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
    ):
        await alice.send(bob.jid, "warm")
        with pytest.raises(NotAcknowledgedError, match="queued") as caught:
            await alice.send(bob.jid, "kept", timeout=1e-9)

        assert caught.value.exit_code == 8
        assert await take(bob.messages(), 2) == ["warm", "kept"]


async def test_nothing_is_sent_when_a_device_is_undecided(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice", Trust.MANUAL), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        with pytest.raises(UndecidedDevicesError) as caught:
            await alice.send(bob.jid, "secret")
        assert caught.value.fingerprints == (bob.fingerprint,)
        assert bob.fingerprint in caught.value.fix

        device = await alice.verify(bob.jid, bob.fingerprint)
        await alice.send(bob.jid, "verified now")

        assert device.trust is TrustLevel.TRUSTED
        assert await take(bob.messages(), 1) == ["verified now"]


async def test_a_pinned_fingerprint_needs_no_decision(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account = await enrol("alice", Trust.PINNED)
    async with Client(await enrol("bob"), tor=wire) as bob:
        pinned = alice_account.pin(bob.jid, bob.fingerprint)
        async with Client(pinned, tor=wire) as alice:
            await alice.send(bob.jid, "pinned")
            await bob.send(alice.jid, "hello")
            (message,) = [await anext(alice.messages())]

            assert await take(bob.messages(), 1) == ["pinned"]
            assert message.trust == "verified"
            assert alice.accepts(message)


async def test_who_has_no_keys_cannot_be_written_to(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    dave = await enrol("dave")  # registered, and never logged in
    async with Client(await enrol("alice"), tor=wire) as alice:
        with pytest.raises(NoDevicesError, match="log in once"):
            await alice.send(dave.jid, "x")
        with pytest.raises(NoDevicesError):
            await alice.send(f"nobody@{dave.jid.domain}", "x")


async def test_a_note_to_oneself_needs_another_device(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        with pytest.raises(NoDevicesError) as caught:
            await alice.send(alice.jid, "remember the milk")

    assert "only device" in caught.value.why
    assert "contact add" not in caught.value.fix


async def test_a_second_process_cannot_hold_the_account(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire):
        with pytest.raises(StoreLockedError):
            async with Client(account, tor=wire):
                pass


async def test_a_wrong_password_is_a_plain_error(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = replace(await enrol("alice"), password="wrong")

    with pytest.raises(AuthenticationError):
        async with Client(account, tor=wire):
            pass


async def test_another_certificate_ends_it_before_anything_is_sent(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = replace(await enrol("alice"), certificate="00" * 32, tls=True)

    with pytest.raises(CertificateError):
        async with Client(account, tor=wire):
            pass


async def test_the_first_certificate_is_pinned(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    account = replace(await enrol("alice"), certificate="", tls=True)

    async with Client(account, tor=wire):
        pass

    saved = Account.load("alice", account.folder.parent)
    assert saved.certificate == prosody.certificate_fingerprint


async def test_a_server_that_is_away_is_named_when_the_time_is_over(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    wire.refusing = True

    with pytest.raises(OnionUnreachableError):
        async with Client(account, tor=wire, login_timeout=5):
            pass


async def test_a_contact_request_is_an_event_and_is_never_accepted_by_itself(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.add_contact(bob.jid)
        request = await anext(bob.events())
        before = await bob.contacts()
        await bob.accept_contact(alice.jid)
        # The server pushes the change to her; asking is ordered behind it.
        after = await alice.contacts()

    assert isinstance(request, ContactRequest)
    assert request.sender == alice.jid
    assert [c for c in before if c.subscription != "none"] == []
    assert [(c.jid, c.subscription) for c in after] == [(bob.jid, "both")]


async def test_plaintext_is_reported_and_never_becomes_a_message(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice._session.send(
            f"<message type='chat' to='{bob.jid}'><body>pay me</body></message>", "p1"
        )
        event = await anext(bob.events())

    assert isinstance(event, Undecryptable)
    assert "without encryption" in event.reason
    assert event.plaintext
    assert "pay me" not in repr(event)


async def test_the_same_stanza_twice_is_one_message(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
    ):
        messages = bob.messages()
        await alice.send(bob.jid, "warm")
        assert await take(messages, 1) == ["warm"]
        wire.refusing = True
        wire.cut()  # what is queued now stays in the outbox
        await alice.queue(bob.jid, "once")
        (row,) = await alice._outbox.pending()
        wire.refusing = False
        assert await take(messages, 1) == ["once"]
        await alice._session.send(row.stanza_xml, row.message_id)
        await alice.send(bob.jid, "then")

        assert await take(messages, 1) == ["then"]


async def test_one_reader_at_a_time(enrol: Enrol, wire: LoopbackDialer) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        first = asyncio.ensure_future(anext(alice.events()))  # noqa: TID251 - cancelled below
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="being read already"):
            await anext(alice.events())
        first.cancel()


async def test_the_store_holds_no_password_and_no_open_transaction(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire):
        pass

    raw = account.store_path.read_bytes()
    assert account.password.encode() not in raw
    with sqlite3.connect(account.store_path) as database:
        (check,) = database.execute("PRAGMA integrity_check").fetchone()
    database.close()
    assert check == "ok"


async def test_who_waits_for_an_ack_is_told_when_the_client_closes(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire) as bob:
        async with Client(alice_account, tor=wire) as alice:
            await alice.send(bob.jid, "warm")
            _, confirmed = await alice._outgoing.accept(
                bob.jid, Content(text="kept"), None
            )
            wire.refusing = True
            wire.cut()

        with pytest.raises(NotAcknowledgedError, match="next login"):
            await confirmed
        wire.refusing = False
        async with Client(alice_account, tor=wire):  # the same bytes go out now
            assert await take(bob.messages(), 2) == ["warm", "kept"]


async def test_a_server_that_is_away_sends_nothing_and_says_so(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        wire.refusing = True
        wire.cut()
        async with asyncio.timeout(60):
            while alice._session.state is State.ONLINE:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

        with pytest.raises(SessionError, match="nothing was sent"):
            await alice.send(bob_account.jid, "x", timeout=0.2)
        assert await alice._outbox.pending() == []


async def test_what_a_killed_reader_had_not_handled_comes_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            DEAF_READER,
            str(bob_account.folder.parent),
            str(wire.port),
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"ready\n"
        for number in range(5):
            await alice.send(bob_account.jid, str(number))
        reader.kill()
        await reader.wait()

        async with Client(bob_account, tor=wire) as bob:
            assert await take(bob.messages(), 5) == ["0", "1", "2", "3", "4"]


# Logs in and takes nothing in: what arrives is in its memory alone.
DEAF_READER = """
import asyncio, sys
from pathlib import Path
from xmpp_onion import Account, Client
from xmpp_onion.testing.loopback import LoopbackDialer

async def main():
    account = Account.load("bob", Path(sys.argv[1]))
    async with Client(account, tor=LoopbackDialer(int(sys.argv[2]))) as client:
        async with client._database.transaction():  # nothing can be kept
            print("ready", flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_message_waits_while_connections_break_under_the_fetch_of_its_keys(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        pep, broken = bob._omemo._directory._pep, []

        async def fetch(namespace: str, jid: JID, device_id: int) -> object:
            if len(broken) < 4:  # more often than a silent server is asked
                broken.append(device_id)
                losses = bob._session.losses
                wire.cut()
                while bob._session.losses == losses:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0)
                raise DeviceListError("no answer")
            return await original(namespace, jid, device_id)

        original = pep.fetch_bundle
        monkeypatch.setattr(pep, "fetch_bundle", fetch)
        await alice.send(bob.jid, "patience")

        assert await take(bob.messages(), 1) == ["patience"]
        assert len(broken) == 4


async def test_a_server_that_never_answers_makes_a_message_unreadable_not_the_client(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        asked: list[int] = []

        async def fetch(namespace: str, jid: JID, device_id: int) -> object:  # noqa: ARG001 - as the real one
            asked.append(device_id)
            raise DeviceListError("no answer", why="the server is silent")

        with monkeypatch.context() as silence:
            silence.setattr(bob._omemo._directory._pep, "fetch_bundle", fetch)
            await alice.send(bob.jid, "lost")
            event = await anext(bob.events())
        await alice.send(bob.jid, "heard")

        assert isinstance(event, Undecryptable)
        assert event.reason == "the server is silent"
        assert not event.plaintext
        assert len(asked) in {3, 4}  # one more if it came with the end of the archive
        assert await take(bob.messages(), 1) == ["heard"]


async def test_keys_that_are_gone_are_an_error_and_no_new_identity(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice:
        fingerprint = alice.fingerprint
    for file in account.folder.glob("store.sqlite3*"):
        file.unlink()

    known = Account.load("alice", account.folder.parent)
    with pytest.raises(StoreCorruptError):
        async with Client(known, tor=wire):
            pass

    assert known.device == fingerprint
    assert not account.store_path.exists()
