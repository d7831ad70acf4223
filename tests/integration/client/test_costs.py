"""What a message between two contacts costs, counted where it can be counted."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec

import pytest

from tests.integration.client.conftest import Enrol
from tests.integration.client.taken import all_taken
from xmpp_onion import JID, Client
from xmpp_onion.store import ContactRow, group
from xmpp_onion.store.statements import Connection, Statement
from xmpp_onion.testing.loopback import LoopbackDialer

P = ParamSpec("P")

pytestmark = pytest.mark.prosody

MESSAGES = 20
MANY = 96
# What may come between: the word of a new bundle, a job, a look at what is due.
BESIDE = 6


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[Connection]:
    """How often each store called into SQLite's thread."""
    made: Counter[Connection] = Counter()
    execute = Connection._execute

    async def note(
        connection: Connection,
        fn: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> object:
        made[connection] += 1
        return await execute(connection, fn, *args, **kwargs)

    monkeypatch.setattr(Connection, "_execute", note)
    return made


async def befriend(client: Client, jid: JID) -> None:
    async with client._database.transaction():
        await client._contacts.table.put([ContactRow(jid, "both", ask=False)])


async def settle(client: Client) -> None:
    """Return when it has read its archive, done its jobs and sent all it has."""
    settling = client._absence.settling
    assert settling is not None
    async with asyncio.timeout(60):
        await asyncio.wait([settling])
        await all_taken(client)
        while await client._outbox.jobs() or await client._outbox.count():  # noqa: ASYNC110 - nothing tells when they are done
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("is_contact", "to_come"), [(True, 3), (False, 4)])
async def test_a_message_calls_sqlites_thread_three_times_to_go_and_few_to_come(
    enrol: Enrol,
    wire: LoopbackDialer,
    calls: Counter[Connection],
    *,
    is_contact: bool,
    to_come: int,
) -> None:
    alices, bobs = await enrol("alice"), await enrol("bob")
    async with Client(alices, tor=wire) as alice, Client(bobs, tor=wire) as bob:
        if is_contact:
            await befriend(alice, bobs.jid)
            await befriend(bob, alices.jid)
        to_alice, to_bob = alice.messages(), bob.messages()
        async with asyncio.timeout(120):
            await alice.send(bobs.jid, "begun")
            await anext(to_bob)
            await bob.send(alices.jid, "answered")
            await anext(to_alice)
            await settle(alice)
            await settle(bob)
            calls.clear()

            for number in range(MESSAGES):
                await alice.send(bobs.jid, f"message {number}")
                assert (await anext(to_bob)).text == f"message {number}"

            sent = calls[alice._database._connection]
            got = calls[bob._database._connection]

    assert sent <= 3 * MESSAGES + BESIDE
    assert got <= to_come * MESSAGES + BESIDE


async def test_a_burst_of_messages_is_one_write_with_the_question_for_its_ack(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alices, bobs = await enrol("alice"), await enrol("bob")
    async with Client(alices, tor=wire) as alice, Client(bobs, tor=wire) as bob:
        messages = bob.messages()
        async with asyncio.timeout(120):
            await alice.send(bobs.jid, "begun")
            await anext(messages)
            await settle(alice)
            await rest(alice)
            written = note_writes(alice, monkeypatch)

            await alice.send(bobs.jid, "one alone")
            alone = [*written]
            alice._courier.hold()
            for number in range(MESSAGES):
                await alice.queue(bobs.jid, str(number))
            await rest(alice, has=MESSAGES)
            written.clear()
            alice._courier.open()
            await rest(alice)
            texts = [(await anext(messages)).text for _ in range(1 + MESSAGES)]

    assert texts == ["one alone", *map(str, range(MESSAGES))]
    for writes, count in ((alone, 1), (written, MESSAGES)):
        (burst,) = (each for each in writes if b"<message " in each)
        assert burst.count(b"<message ") == count
        assert burst.count(b"<r ") == 1


async def rest(client: Client, *, has: int = 0) -> None:
    """Return when it has nothing to do, and the server has answered all it asked.

    Args:
        client: Whose.
        has: So many messages are held back.
    """
    xmpp = client._session.xmpp
    async with asyncio.timeout(60):
        while (  # noqa: ASYNC110 - nothing tells of all of it
            await client._outbox.count() != has
            or (not has and await client._outbox.jobs())
            or xmpp.ack_requested.is_set()
            or len(xmpp.outgoing)
        ):
            await asyncio.sleep(0.05)


def note_writes(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list of what is written to the socket from now on, write by write."""
    connection = client._session._wire
    assert connection is not None
    assert connection.transport is not None
    written: list[bytes] = []
    write = connection.transport.write

    def note(data: bytes) -> None:
        written.append(data)
        write(data)

    monkeypatch.setattr(connection.transport, "write", note)
    return written


async def test_messages_that_are_said_at_once_share_commits_and_keep_their_order(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: Counter[Connection] = Counter()
    run_one = Connection._run_one

    def note(connection: Connection, statement: Statement) -> list[sqlite3.Row]:
        commits[connection] += statement.sql == "COMMIT"
        return run_one(connection, statement)

    alices, bobs = await enrol("alice"), await enrol("bob")
    async with Client(alices, tor=wire) as alice, Client(bobs, tor=wire) as bob:
        to_bob = bob.messages()
        async with asyncio.timeout(120):
            await alice.send(bobs.jid, "begun")
            await anext(to_bob)
            await settle(alice)
            await settle(bob)
            # However slow this machine is just now: nobody is given up.
            monkeypatch.setattr(group, "_GRACE", 60.0)
            monkeypatch.setattr(Connection, "_run_one", note)

            await asyncio.gather(
                *(alice.send(bobs.jid, str(number)) for number in range(MANY))
            )
            sent = commits[alice._database._connection]
            read = [(await anext(to_bob)).text for _ in range(MANY)]

    assert read == [str(number) for number in range(MANY)]
    assert sent <= MANY // 4 + BESIDE
