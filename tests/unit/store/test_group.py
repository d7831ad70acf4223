"""Transactions that share a commit: whole or not at all, and each told the truth."""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreError
from xmpp_onion.store import Database, Inbox, Keys, Moment, group
from xmpp_onion.store.statements import Connection, Statement

MANY = 10
# What makes SQLite refuse a commit, and undo a transaction by itself.
TRAPS = (
    "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
    """CREATE TABLE orphans
    (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)""",
    "CREATE TABLE mines (id INTEGER)",
    """CREATE TRIGGER explode BEFORE INSERT ON mines
    BEGIN SELECT RAISE(ROLLBACK, 'mine'); END""",
)
ORPHAN = "INSERT INTO orphans VALUES (1)"
MINE = "INSERT INTO mines VALUES (1)"
WRONG = "INSERT INTO nowhere VALUES (1)"


class BrokenError(Exception):
    """What a caller's own code may raise."""


@pytest.fixture
async def trapped(path: Path) -> AsyncIterator[Database]:
    async with Database.open(path) as database:
        async with database.transaction():
            for sql in TRAPS:
                await database.execute(sql)
        yield database


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kind of statement was run."""
    counts: Counter[str] = Counter()
    run = Connection.run

    async def note(
        connection: Connection,
        statements: Iterable[Statement],
        *,
        is_inside: bool,
        is_short: bool = False,
    ) -> list[sqlite3.Row]:
        statements = [*statements]
        counts.update(statement.sql.split()[0] for statement in statements)
        return await run(connection, statements, is_inside=is_inside, is_short=is_short)

    monkeypatch.setattr(Connection, "run", note)
    return counts


def on_disk(database: Database) -> list[str]:
    """Return what another program sees of the inbox."""
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        rows = connection.execute("SELECT event_json FROM inbox ORDER BY id")
        return [row[0] for row in rows]


async def put(
    database: Database, text: str, *wrong: str, is_followed: bool = False
) -> list[str]:
    """Write a row, and what is wrong; return what was on the disk then."""
    async with database.transaction(follow=lambda: is_followed):
        await Inbox(database).put(text)
        await Keys(database).store(text, text)
        for sql in wrong:
            await database.execute(sql)
    return on_disk(database)


async def together(
    database: Database, *works: Awaitable[object]
) -> list[object | BaseException]:
    """Do things that all wait for their turn at the same moment."""
    async with database._turn:
        waiting = asyncio.gather(*works, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return await waiting


async def test_those_that_wait_for_each_other_share_one_commit(
    path: Path, ran: Counter[str]
) -> None:
    async with Database.open(path) as database:
        await together(database, *(put(database, str(n)) for n in range(MANY)))

        assert ran["COMMIT"] == 1
        assert (ran["SAVEPOINT"], ran["RELEASE"]) == (MANY - 1, MANY - 2)
        assert await database.generation() == MANY


async def test_none_ends_before_it_is_on_the_disk(path: Path) -> None:
    async with Database.open(path) as database:
        seen = await together(database, *(put(database, str(n)) for n in range(MANY)))

    assert seen == [[str(n) for n in range(MANY)]] * MANY


async def test_more_than_a_few_are_several_groups(
    path: Path, ran: Counter[str]
) -> None:
    async with Database.open(path) as database:
        await together(database, *(put(database, str(n)) for n in range(100)))

        assert ran["COMMIT"] == 4
        assert on_disk(database) == [str(n) for n in range(100)]


async def fail(database: Database, text: str) -> None:
    async with database.transaction():
        await Inbox(database).put(text)
        await Keys(database).store(text, text)
        await Inbox(database).pending()  # so that SQLite knows of it
        raise BrokenError


@pytest.mark.parametrize("place", [0, 4, MANY - 1])
@pytest.mark.parametrize(
    ("break_it", "kind"),
    [
        (fail, BrokenError),
        (lambda database, text: put(database, text, WRONG), StoreError),
    ],
    ids=["raises", "statement"],
)
async def test_one_that_fails_is_undone_alone(
    database: Database,
    place: int,
    break_it: Callable[[Database, str], Awaitable[object]],
    kind: type[Exception],
) -> None:
    works = [
        break_it(database, "wrong") if n == place else _put_only(database, str(n))
        for n in range(MANY)
    ]

    outcomes = await together(database, *works)

    right = [str(n) for n in range(MANY) if n != place]
    assert [n for n in range(MANY) if isinstance(outcomes[n], kind)] == [place]
    assert [outcomes[n] for n in range(MANY) if n != place] == [None] * (MANY - 1)
    assert [row.event_json for row in await Inbox(database).pending()] == right
    keys = Keys(database)
    assert [await keys.load(text) for text in [*right, "wrong"]] == [*right, None]
    assert await database.generation() == MANY - 1


async def test_one_that_only_read_leaves_no_savepoint_behind(
    path: Path, ran: Counter[str]
) -> None:
    async with Database.open(path) as database:

        async def look() -> None:
            async with database.transaction():
                await Inbox(database).pending()

        await together(database, look(), look(), put(database, "0"))

        assert (ran["SAVEPOINT"], ran["RELEASE"]) == (2, 1)


async def _put_only(database: Database, text: str) -> None:
    async with database.transaction():
        await Inbox(database).put(text)
        await Keys(database).store(text, text)


def reason(outcome: object) -> str:
    """Return what a store says of why it failed; empty where it did not."""
    return outcome.why if isinstance(outcome, StoreError) else ""


async def test_a_commit_that_fails_undoes_all_and_tells_each(
    trapped: Database,
) -> None:
    keys, undone = Keys(trapped), Counter[Moment]()
    for moment in Moment:
        trapped.at(moment, lambda moment=moment: undone.update([moment]))  # type: ignore[misc] # a default binds it
    works = [put(trapped, str(n), *([ORPHAN] * (n == 5))) for n in range(MANY)]

    outcomes = await together(trapped, *works)

    assert [type(outcome) for outcome in outcomes] == [StoreError] * MANY
    assert len({id(outcome) for outcome in outcomes}) == MANY
    assert {reason(outcome) for outcome in outcomes} == {
        "FOREIGN KEY constraint failed"
    }
    assert on_disk(trapped) == []
    assert [await keys.load(str(n)) for n in range(MANY)] == [None] * MANY
    assert undone == {Moment.ENDED: MANY - 1, Moment.UNDONE: 1, Moment.LOST: 1}
    assert await put(trapped, "later") == ["later"]


async def test_those_that_sqlite_undid_with_another_are_told(trapped: Database) -> None:
    works = [put(trapped, str(n), *([MINE] * (n == 5))) for n in range(MANY)]

    outcomes = await together(trapped, *works)

    reasons = [reason(outcome) for outcome in outcomes]
    assert reasons == ["mine"] * 6 + [""] * (MANY - 6)
    assert on_disk(trapped) == [str(n) for n in range(6, MANY)]
    assert await Keys(trapped).load("0") is None


async def test_one_that_cannot_be_undone_alone_is_undone_with_all_before_it(
    trapped: Database,
) -> None:
    async def lose_its_savepoint() -> None:
        async with trapped.transaction():
            await trapped.execute("RELEASE one")  # as a disk may that cannot be read
            await Inbox(trapped).put("1")
            await Inbox(trapped).pending()
            raise BrokenError

    outcomes = await together(
        trapped, put(trapped, "0"), lose_its_savepoint(), put(trapped, "2")
    )

    assert [type(outcome) for outcome in outcomes] == [StoreError, BrokenError, list]
    assert on_disk(trapped) == ["2"]


async def test_a_cancellation_of_one_that_has_ended_comes_when_it_is_on_the_disk(
    database: Database,
) -> None:
    first = asyncio.ensure_future(_put_only(database, "first"))  # noqa: TID251 - a test
    database.at(Moment.ENDED, lambda: first.cancel() and None)

    outcomes = await together(database, first, _put_only(database, "second"))

    assert [type(outcome) for outcome in outcomes] == [
        asyncio.CancelledError,
        type(None),
    ]
    pending = await Inbox(database).pending()
    assert [row.event_json for row in pending] == ["first", "second"]


async def test_a_read_outside_waits_for_the_commit_and_a_peek_does_not(
    path: Path,
) -> None:
    async with Database.open(path) as database:

        async def read() -> tuple[int, list[str]]:
            return len(await Inbox(database).pending()), on_disk(database)

        async def peek() -> tuple[int, list[str]]:
            rows = await database.peek("SELECT 1 FROM inbox")
            return len(rows), on_disk(database)

        outcomes = await together(
            database,
            *(put(database, str(n)) for n in range(3)),
            peek(),
            put(database, "3", is_followed=True),
            read(),
        )

        assert outcomes[-3] == (3, [])
        assert outcomes[-1] == (4, ["0", "1", "2", "3"])


async def test_one_that_did_nothing_waits_for_nobody(
    path: Path, ran: Counter[str]
) -> None:
    async with Database.open(path) as database:

        async def look() -> list[str]:
            async with database.transaction():
                pass
            return on_disk(database)

        outcomes = await together(
            database, put(database, "0"), look(), put(database, "1")
        )

        assert outcomes == [["0", "1"], [], ["0", "1"]]
        assert ran["COMMIT"] == 1


async def test_closing_keeps_what_has_ended(path: Path) -> None:
    async with Database.open(path) as database:
        closed = database._close()
        outcomes = await together(
            database,
            put(database, "0"),
            put(database, "1", is_followed=True),
            closed,
        )

        assert outcomes == [["0", "1"], ["0", "1"], None]


async def test_what_has_to_be_behind_one_may_come_before_its_commit(
    path: Path, ran: Counter[str]
) -> None:
    async with Database.open(path) as database:
        turn = asyncio.Event()

        def follow() -> bool:
            turn.set()
            return True

        async def lead() -> list[str]:
            async with database.transaction(follow=follow):
                await Inbox(database).put("0")
            return on_disk(database)

        async def behind() -> list[str]:
            await turn.wait()
            return await put(database, "1")

        outcomes = await asyncio.gather(lead(), behind())

        assert outcomes == [["0", "1"], ["0", "1"]]
        assert ran["COMMIT"] == 1


async def test_nobody_waits_long_for_one_who_does_not_come(path: Path) -> None:
    async with Database.open(path) as database:
        assert await put(database, "0", is_followed=True) == ["0"]


async def test_a_patient_read_lets_a_group_come_to_its_end(
    path: Path, ran: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_GRACE", 60.0)
    async with Database.open(path) as database:

        async def read() -> int:
            rows = await database.fetch("SELECT 1 FROM inbox", is_patient=True)
            return len(rows)

        outcomes = await together(
            database,
            put(database, "0", is_followed=True),
            read(),
            put(database, "1", is_followed=True),
            put(database, "2"),
        )

        assert outcomes[1] == 3
        assert ran["COMMIT"] == 1


async def test_a_cancelled_one_that_is_followed_comes_when_it_is_on_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_GRACE", 60.0)
    async with Database.open(path) as database:
        leading = asyncio.ensure_future(put(database, "0", is_followed=True))  # noqa: TID251 - a test
        while database._group is None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        for _ in range(10):  # until it waits for who was let come
            await asyncio.sleep(0)
        leading.cancel()
        await asyncio.sleep(0)
        assert not leading.done()

        await put(database, "1")

        with pytest.raises(asyncio.CancelledError):
            await leading
        assert on_disk(database) == ["0", "1"]
