"""What strangers and bad moments do to a client that is logged in."""

import asyncio
import functools
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account, Client, Message, Trust, Undecryptable
from xmpp_onion import client as client_module
from xmpp_onion.session import Session
from xmpp_onion.session.connection import State
from xmpp_onion.store import Inbox
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[[str], Awaitable[Account]]

pytestmark = pytest.mark.prosody

OMEMO = "eu.siacs.conversations.axolotl"


def poison(to: str, sid: str) -> str:
    return (
        f"<message type='chat' id='p' to='{to}'><encrypted xmlns='{OMEMO}'>"
        f"<header sid='{sid}'><key rid='1'>AAAA</key><iv>AAAA</iv></header>"
        "<payload>AAAA</payload></encrypted><body>for people</body></message>"
    )


async def test_a_device_id_of_5000_digits_ends_no_client(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await mallory._session.send(poison(bob.jid, "1" * 5000), "p")
        await mallory.send(bob.jid, "and now")
        events = bob.events()
        async with asyncio.timeout(60):
            first, second = await anext(events), await anext(events)

    assert isinstance(first, Undecryptable)
    assert isinstance(second, Message)
    assert second.text == "and now"


@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize(
    "poisoned",
    [
        poison("TO", "7").replace("</encrypted>", "</encrypted>text"),
        poison("TO", "7").replace(
            "<key rid='1'>AAAA</key>", "<key rid='ID' a='1'/>text"
        ),
        poison("TO", "7").replace("</header>", "</header>text"),
    ],
    ids=["encrypted", "key", "header"],
)
async def test_text_between_elements_ends_no_client_and_no_connection(
    enrol: Enrol, wire: LoopbackDialer, poisoned: str, *, is_away: bool
) -> None:
    bobs = await enrol("bob")
    async with Client(await enrol("mallory"), tor=wire) as mallory:
        async with Client(bobs, tor=wire) as bob:
            device = str(bob._omemo.device_id)
            poisoned = poisoned.replace("TO", bobs.jid).replace("ID", device)
            if not is_away:
                await mallory._session.send(poisoned, "p")
                await mallory.send(bobs.jid, "and now")
                await expect(bob, "and now")
        if is_away:
            await mallory._session.send(poisoned, "p")
            await mallory.send(bobs.jid, "and now")
            async with Client(bobs, tor=wire) as bob:
                await expect(bob, "and now")


async def expect(client: Client, text: str) -> None:
    """See that something unreadable comes, and then this, on the first connection."""
    events = client.events()
    async with asyncio.timeout(60):
        first, second = await anext(events), await anext(events)
    assert isinstance(first, Undecryptable)
    assert isinstance(second, Message)
    assert second.text == text
    assert client._session.losses == 0


async def test_what_a_library_cannot_digest_is_reported_and_goes_no_further(
    enrol: Enrol,
    wire: LoopbackDialer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        decrypt = bob._omemo.decrypt

        async def choke(*_: object, **__: object) -> object:
            monkeypatch.setattr(bob._omemo, "decrypt", decrypt)
            raise KeyError("canary-3141")

        monkeypatch.setattr(bob._omemo, "decrypt", choke)
        await alice.send(bob.jid, "one")
        await alice.send(bob.jid, "two")
        events = bob.events()
        async with asyncio.timeout(60):
            first, second = await anext(events), await anext(events)

    assert isinstance(first, Undecryptable)
    assert isinstance(second, Message)
    assert second.text == "two"
    assert "KeyError" in caplog.text
    assert "canary" not in caplog.text


async def test_a_backlog_of_somebody_new_is_read_whatever_its_length(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire):
        pass  # publishes his keys, and leaves
    texts = [str(number) for number in range(60)]
    async with Client(alice_account, tor=wire) as alice:
        await asyncio.gather(*(alice.send(bob_account.jid, text) for text in texts))

    # The answer to his first question comes behind all of it.
    monkeypatch.setattr(
        client_module, "Session", functools.partial(Session, event_limit=2)
    )
    async with Client(bob_account, tor=wire) as bob:
        messages = bob.messages()
        async with asyncio.timeout(30):
            assert [(await anext(messages)).text for _ in texts] == texts


async def _close(client: Client, now: asyncio.Event) -> None:
    await now.wait()
    await client._stack.aclose()


async def test_what_waits_when_a_client_is_closed_comes_with_the_next_login(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(alice_account, tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            await alice.send(bob.jid, "first")
            assert (await anext(bob.messages())).text == "first"
            # Made here: a task that is begun inside of a transaction belongs to it.
            close = asyncio.Event()
            leaving = asyncio.ensure_future(_close(bob, close))  # noqa: TID251 - awaited below
            async with bob._database.transaction():  # nothing can be taken in
                for number in range(20):
                    await alice.send(bob.jid, str(number))
                async with asyncio.timeout(60):
                    while len(bob._session._queue) < 19:  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.01)
                close.set()
                await asyncio.sleep(0.1)
            await leaving

        async with Client(bob_account, tor=wire) as bob:
            messages = bob.messages()
            async with asyncio.timeout(30):
                texts = [(await anext(messages)).text for _ in range(21)]
    assert texts == ["first", *map(str, range(20))]


async def test_a_pin_that_is_taken_away_takes_what_waits_along(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        pinned = bob_account.pin(alice.jid, alice.fingerprint)
        async with Client(pinned, tor=wire, trust=Trust.PINNED) as bob:
            await alice.send(bob.jid, "obey")
            message = await anext(bob.messages())  # and is not handled
            assert bob.accepts(message)

        async with Client(bob_account, tor=wire, trust=Trust.PINNED) as bob:
            message = await anext(bob.messages())
            assert message.text == "obey"
            assert not bob.accepts(message)


async def test_a_device_that_is_distrusted_gives_no_more_orders(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "one")
        await alice.send(bob.jid, "two")
        messages = bob.messages()
        assert bob.accepts(await anext(messages))
        async with asyncio.timeout(60):
            while len(await Inbox(bob._database).pending()) < 2:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await bob.distrust(alice.jid, alice.fingerprint)
        message = await anext(messages)

    assert (message.text, message.trust) == ("two", "distrusted")
    assert not bob.accepts(message)


async def test_a_loop_that_was_left_can_be_begun_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "one")
        async for message in bob.messages():
            assert message.text == "one"
            break
        async for message in bob.messages():
            assert message.text == "one"  # nobody had asked for the next
            break


async def test_an_older_reader_is_told_that_another_has_taken_over(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "one")
        older, newer = bob.events(), bob.events()
        await anext(older)
        await anext(newer)
        with pytest.raises(RuntimeError, match="read elsewhere"):
            await anext(older)


async def test_a_client_can_be_entered_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    client, fingerprints = Client(await enrol("alice"), tor=wire), set()
    for _ in range(2):
        async with client:
            fingerprints.add(client.fingerprint)

    assert len(fingerprints) == 1


async def test_a_group_of_errors_of_the_caller_stays_whole(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    with pytest.raises(ExceptionGroup) as caught:
        async with Client(account, tor=wire):
            raise ExceptionGroup("mine", [KeyError("a"), ValueError("b")])
    assert [type(one) for one in caught.value.exceptions] == [KeyError, ValueError]


async def test_a_send_that_is_cancelled_while_it_is_kept_goes_out(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        messages = bob.messages()
        await alice.send(bob.jid, "warm")
        await anext(messages)
        await asyncio.sleep(0.5)  # his answer would wake the courier as well
        sending = asyncio.ensure_future(alice.send(bob.jid, "kept"))  # noqa: TID251 - awaited below

        async def cancel() -> None:
            if not sending.done() and len(await alice._outbox.pending()) == 1:
                sending.cancel()

        alice._database.before_commit(cancel)
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(60):
            assert (await anext(messages)).text == "kept"


async def test_a_signal_right_after_printing_does_not_show_a_message_twice(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob_account, printed = await enrol("bob"), Counter[str]()

    async def listen(bob: Client) -> None:
        async for message in bob.messages():
            printed[message.text] += 1

    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            forget = bob._inbox_reader._inbox.mark_handled

            async def interrupted(row_id: int) -> None:
                listening.cancel()
                await forget(row_id)

            monkeypatch.setattr(bob._inbox_reader._inbox, "mark_handled", interrupted)
            listening = asyncio.ensure_future(listen(bob))  # noqa: TID251 - awaited below
            await alice.send(bob.jid, "once")
            with pytest.raises(asyncio.CancelledError):
                await listening

        async with Client(bob_account, tor=wire) as bob:
            await alice.send(bob.jid, "then")
            assert (await anext(bob.messages())).text == "then"
    assert printed == {"once": 1}


async def test_a_connection_that_breaks_while_keys_are_fetched_is_a_pause(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        fetch = alice._omemo.fetch

        async def interrupted(_: Collection[JID]) -> None:
            monkeypatch.setattr(alice._omemo, "fetch", fetch)
            wire.cut()  # what was asked for does not come
            while alice._session.state is State.ONLINE:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

        monkeypatch.setattr(alice._omemo, "fetch", interrupted)
        await alice.send(bob.jid, "hello")
        async with asyncio.timeout(60):
            assert (await anext(bob.messages())).text == "hello"


async def test_a_storm_of_broken_connections_loses_and_repeats_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    to_bob = [f"to bob {number}" for number in range(30)]
    to_alice = [f"to alice {number}" for number in range(30)]

    async def write(client: Client, to: str, texts: list[str]) -> None:
        for text in texts:
            await client.queue(to, text)

    async def read(client: Client, count: int) -> list[str]:
        messages = client.messages()
        return [(await anext(messages)).text for _ in range(count)]

    async def storm() -> None:
        # It ends: a login may take longer than what lies between two cuts.
        for _ in range(40):
            await asyncio.sleep(0.25)
            wire.cut()

    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(120),
        asyncio.TaskGroup() as tasks,
    ):
        storming = tasks.create_task(storm())
        tasks.create_task(write(alice, bob.jid, to_bob))
        tasks.create_task(write(bob, alice.jid, to_alice))
        got_by_bob = tasks.create_task(read(bob, 30))
        assert await read(alice, 30) == to_alice
        assert await got_by_bob == to_bob
        storming.cancel()


async def test_a_sender_that_is_killed_again_and_again_loses_and_repeats_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, accepted = await enrol("alice"), []
    async with Client(await enrol("bob"), tor=wire) as bob:
        for delay in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2):
            sender = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                HASTY_SENDER,
                str(alice_account.folder.parent),
                str(wire.port),
                bob.jid,
                stdout=asyncio.subprocess.PIPE,
            )
            assert sender.stdout is not None
            accepted.append(await sender.stdout.readline())
            await asyncio.sleep(delay)
            sender.kill()
            accepted += (await sender.stdout.read()).splitlines(keepends=True)
            await sender.wait()

        async with Client(alice_account, tor=wire) as alice:  # sends what is left
            await alice.send(bob.jid, "end")
        messages, got = bob.messages(), []
        async with asyncio.timeout(60):
            while "end" not in got:
                got.append((await anext(messages)).text)

    assert len(got) == len(set(got))
    # What was cut off in the middle of its line was accepted all the same.
    whole = {line.decode().strip() for line in accepted if line.endswith(b"\n")}
    assert whole <= set(got)
    assert len(got) - 1 <= len(whole) + 12


# Queues as fast as it can, and says what was accepted.
HASTY_SENDER = """
import asyncio, secrets, sys
from pathlib import Path
from xmpp_onion import Account, Client
from xmpp_onion.testing.loopback import LoopbackDialer

async def main():
    account = Account.load("alice", Path(sys.argv[1]))
    async with Client(account, tor=LoopbackDialer(int(sys.argv[2]))) as client:
        while True:
            text = secrets.token_hex(8)
            await client.queue(sys.argv[3], text)
            print(text, flush=True)

asyncio.run(main())
"""
