"""What came while we were away: all of it, once, in order, whatever happens."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import asyncio
import sqlite3
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.client.taken import all_taken
from xmpp_onion import (
    JID,
    Account,
    Client,
    Event,
    Gap,
    Message,
    Undecryptable,
    backlog,
)
from xmpp_onion.chat import read_event
from xmpp_onion.clerk import Clerk
from xmpp_onion.server import Prosody
from xmpp_onion.session import CatchUp, Page, Session
from xmpp_onion.store import Outbox
from xmpp_onion.store.statements import Inserted
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import Tor

Enrol: TypeAlias = Callable[[str], Awaitable[Account]]

pytestmark = pytest.mark.prosody

OMEMO = "eu.siacs.conversations.axolotl"


async def write(sender: Client, to: JID, texts: list[str]) -> None:
    """Send all, and return when the server has the last."""
    for text in texts[:-1]:
        await sender.queue(to, text)
    await sender.send(to, texts[-1])


async def read_all(client: Client) -> list[Event]:
    """Return all that has come by now, and hand it out no more."""
    assert client._absence.settling is not None
    async with asyncio.timeout(60):
        await client._absence.settling
        await all_taken(client)
    async with client._database.transaction():
        rows = await client._inbox.pending()
        for row in rows:
            await client._inbox.mark_handled(row.id)
    return [read_event(row.event_json) for row in rows]


def by_sender(events: list[Event]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for event in events:
        assert isinstance(event, Message)
        found[event.sender.local].append(event.text)
    return found


@asynccontextmanager
async def away(enrol: Enrol, wire: LoopbackDialer) -> AsyncIterator[Account]:
    """Somebody whose keys are published, and who has left."""
    account = await enrol("bob")
    async with Client(account, tor=wire):
        pass
    yield account


@pytest.fixture
def archive_store(offline_store: Path) -> Path:
    """Return where a server keeps bob's archive."""
    return offline_store.parents[1] / "archive" / "bob.list"


@pytest.fixture
def offline_store(prosody: Prosody, tmp_path: Path) -> Path:
    """Return where a server keeps what waits for bob outside of the archive."""
    host = prosody.onion.replace(".", "%2e")
    return tmp_path / "server" / "prosody" / "data" / host / "offline" / "bob.list"


async def test_300_messages_of_two_strangers_come_once_and_in_order_for_two_answers(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [str(number) for number in range(150)]
    answers: list[str] = []
    put = Outbox.put

    async def note(outbox: Outbox, xml: str, *, to: str, message_id: str) -> Inserted:
        answers.append(JID(to).local)
        return await put(outbox, xml, to=to, message_id=message_id)

    async with away(enrol, wire) as bob_account:
        async with (
            Client(await enrol("alice"), tor=wire) as alice,
            Client(await enrol("carol"), tor=wire) as carol,
        ):
            await asyncio.gather(
                write(alice, bob_account.jid, texts),
                write(carol, bob_account.jid, texts),
            )

        monkeypatch.setattr(Outbox, "put", note)
        async with Client(bob_account, tor=wire) as bob:
            assert len(await bob._inbox.pending()) == 300  # ready means caught up
            got = by_sender(await read_all(bob))

    assert got == {"alice": texts, "carol": texts}
    # Each of the 300 begins a session or wants an answer.
    assert sorted(answers) == ["alice", "carol"]


async def test_the_archive_alone_is_enough(
    enrol: Enrol, wire: LoopbackDialer, offline_store: Path
) -> None:
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, ["one", "two", "three"])
        offline_store.unlink()

        async with Client(bob_account, tor=wire) as bob:
            got = by_sender(await read_all(bob))

    assert got == {"alice": ["one", "two", "three"]}


async def test_what_comes_just_before_we_are_seen_is_neither_lost_nor_late(
    enrol: Enrol,
    wire: LoopbackDialer,
    offline_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announce = Session.announce
    async with (
        away(enrol, wire) as bob_account,
        Client(await enrol("alice"), tor=wire) as alice,
    ):

        async def announce_late(self: Session) -> None:
            await write(alice, bob_account.jid, ["late 0", "late 1", "late 2"])
            offline_store.unlink()
            await announce(self)
            await alice.send(bob_account.jid, "live")

        monkeypatch.setattr(Session, "announce", announce_late)
        async with Client(bob_account, tor=wire) as bob:
            got = by_sender(await read_all(bob))

    assert got == {"alice": ["late 0", "late 1", "late 2", "live"]}


async def test_what_was_taken_in_live_is_not_asked_for_again(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            await read_all(bob)
            for number in range(3):
                await alice.send(bob.jid, str(number))
            assert len(await read_all(bob)) == 3
            await bob.send(alice.jid, "mine")  # in his archive as well
            cursor = await bob._cursors.load(bob.jid)

        entries = []
        async with Client(bob_account, tor=wire) as bob:
            assert await read_all(bob) == []
            again = await bob._cursors.load(bob.jid)
            pages = [page async for page in _all_pages(bob)]
            entries = [entry.id for page in pages for entry in page.entries]

    assert cursor is not None
    assert again is not None
    assert cursor.last_id in entries
    assert cursor.last_id != entries[-1]
    assert again.last_id == entries[-1]


async def test_a_new_device_begins_with_now(enrol: Enrol, wire: LoopbackDialer) -> None:
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, ["for the old device"])
        async with Client(bob_account, tor=wire) as bob:
            await read_all(bob)
        bob_account.store_path.unlink()

        async with Client(bob_account, tor=wire) as bob:
            assert await read_all(bob) == []


async def test_a_forgotten_place_is_told_and_the_rest_comes(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with away(enrol, wire) as bob_account:
        with closing(sqlite3.connect(bob_account.store_path)) as store, store:
            store.execute(
                "UPDATE cursors SET last_id = 'expired', at = ?",
                ("2026-01-02T03:04:05+00:00",),
            )
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, ["one", "two"])

        async with Client(bob_account, tor=wire) as bob:
            gap, *rest = await read_all(bob)
        async with Client(bob_account, tor=wire) as bob:
            assert await read_all(bob) == []  # told once

    assert isinstance(gap, Gap)
    assert gap.since == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert gap.since < gap.until <= gap.at
    assert by_sender(rest) == {"alice": ["one", "two"]}


async def test_poison_in_the_archive_does_not_stop_the_rest(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            poisons = _poisons(bob_account.jid)
            for number, poison in enumerate(poisons):
                await write(alice, bob_account.jid, [str(number)])
                await alice._session.send(poison, "p")
            await write(alice, bob_account.jid, ["end"])

        async with Client(bob_account, tor=wire) as bob:
            events = await read_all(bob)
        async with Client(bob_account, tor=wire) as bob:
            assert await read_all(bob) == []

    read = [event for event in events if isinstance(event, Message)]
    bad = [event for event in events if isinstance(event, Undecryptable)]
    assert [event.text for event in read] == [*map(str, range(len(poisons))), "end"]
    assert len(bad) == len(poisons)


@pytest.mark.parametrize("kept", [0, 7, 260])  # the last is in the second page
async def test_a_catch_up_that_is_killed_goes_on_and_repeats_nothing(
    enrol: Enrol, wire: LoopbackDialer, offline_store: Path, kept: int
) -> None:
    texts = [str(number) for number in range(kept + 20)]
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, texts)
        offline_store.unlink()
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MORTAL_READER,
            str(bob_account.folder.parent),
            str(wire.port),
            str(kept),
        )
        assert await reader.wait() == -9

        async with Client(bob_account, tor=wire) as bob:
            got = by_sender(await read_all(bob))

    assert got == {"alice": texts}


MORTAL_READER = """
import asyncio, os, sys
from pathlib import Path
from xmpp_onion import Account, Client
from xmpp_onion.store import Inbox
from xmpp_onion.testing.loopback import LoopbackDialer

put, count = Inbox.put, 0

async def put_and_die(self, event_json, **more):
    global count
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    count += 1
    await put(self, event_json, **more)

async def main():
    Inbox.put = put_and_die
    account = Account.load("bob", Path(sys.argv[1]))
    async with Client(account, tor=LoopbackDialer(int(sys.argv[2]))) as client:
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_broken_connections_in_a_catch_up_lose_and_repeat_nothing(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [str(number) for number in range(280)]
    read = Clerk._keep_read

    async def read_and_cut(self: Clerk, *what: object) -> None:
        await read(self, *what)  # type: ignore[arg-type] # passed on
        if len(await self._inbox.pending()) in {3, 260, 261}:
            wire.cut()

    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, texts)
        monkeypatch.setattr(Clerk, "_keep_read", read_and_cut)
        async with Client(bob_account, tor=wire) as bob:
            got = by_sender(await read_all(bob))

    assert got == {"alice": texts}


async def test_an_archive_that_cannot_be_read_is_read_as_soon_as_it_can_be(
    enrol: Enrol,
    wire: LoopbackDialer,
    archive_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without another login: what it has, the server sends by no other way."""
    monkeypatch.setattr(backlog, "_PAUSE", 0.0)
    monkeypatch.setattr(backlog, "_RETRY", 0.01)
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, ["one", "two"])
            whole = archive_store.rename(archive_store.with_suffix(".whole"))
            archive_store.symlink_to(archive_store)  # no server can open that

            async with Client(bob_account, tor=wire) as bob:
                before = await bob._cursors.load(bob.jid)
                assert await read_all(bob) == []
                archive_store.unlink()
                whole.rename(archive_store)
                async with asyncio.timeout(60):
                    events = bob.messages()
                    texts = [(await anext(events)).text for _ in range(2)]
                assert bob._absence.retrying is not None
                await bob._absence.retrying  # and it is not asked any more
                await alice.send(bob_account.jid, "three")
                assert (await anext(events)).text == "three"
                after = await bob._cursors.load(bob.jid)

        assert texts == ["one", "two"]
        assert before is not None
        assert after is not None
        assert after.last_id != before.last_id


async def test_a_server_that_lies_about_its_archive_lets_us_in(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor stays, and what the server kept elsewhere comes."""
    async with away(enrol, wire) as bob_account:
        async with Client(await enrol("alice"), tor=wire) as alice:
            await write(alice, bob_account.jid, ["one"])
        with monkeypatch.context() as context:
            context.setattr("xmpp_onion.session.archive.MAM", "urn:xmpp:mam:none")
            async with Client(bob_account, tor=wire) as bob:
                before = await bob._cursors.load(bob.jid)
                assert by_sender(await read_all(bob)) == {"alice": ["one"]}
                assert await bob._cursors.load(bob.jid) == before
        async with Client(bob_account, tor=wire) as bob:
            assert await read_all(bob) == []
            assert await bob._cursors.load(bob.jid) != before


@pytest.mark.alone
async def test_300_messages_take_four_round_trips_more_than_a_login(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    async with (
        away(enrol, wire) as bob_account,
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("carol"), tor=wire) as carol,
    ):
        costs = []
        for count in (0, 150):
            for sender in (alice, carol):
                if count:
                    texts = [str(number) for number in range(count)]
                    await write(sender, bob_account.jid, texts)
            async with (
                ChaosProxy(routes={prosody.onion: prosody.c2s_port}, rtt=0.5) as proxy,
                Tor.attach(proxy.socks) as tor,
                Client(bob_account, tor=tor) as bob,
            ):
                costs.append(proxy.round_trips)
                assert len(await bob._inbox.pending()) == 2 * count

    assert costs[1] - costs[0] <= 4, costs


async def _all_pages(client: Client) -> AsyncIterator[Page]:
    async for page in CatchUp(client._session.archive, "").pages():
        yield page


def _poisons(to: JID) -> list[str]:
    def encrypted(inside: str) -> str:
        return (
            f"<message type='chat' id='p' to='{to}'><encrypted xmlns='{OMEMO}'>"
            f"{inside}</encrypted><body>x</body>"
            "<store xmlns='urn:xmpp:hints'/></message>"
        )

    def message(name: str, inside: str) -> str:
        return (
            f"<message type='chat' id='{name}' to='{to}'><body>x</body>"
            f"<x xmlns='urn:x'>{inside}</x><store xmlns='urn:xmpp:hints'/></message>"
        )

    return [
        encrypted(
            "<header sid='1'><key rid='1'>AAAA</key><iv>AAAA</iv></header>"
            "<payload>AAAA</payload>"
        ),
        encrypted(f"<header sid='{'1' * 5000}'/><payload>AAAA</payload>"),
        encrypted("<header sid='-1'><key rid='x'>!</key></header><payload>*</payload>"),
        encrypted("<payload/>"),
        f"<message type='chat' id='p' to='{to}'><body>in the clear</body></message>",
        # Beyond our limits, and within those of a server: Prosody 0.12 keeps none
        # that is 300 deep.
        message("deep", "<a>" * 100 + "</a>" * 100),
        message("many", "<a/>" * 25_000),
        message("long", f"<a b='{'x' * 70_000}'/>"),
    ]
