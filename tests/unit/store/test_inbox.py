"""The inbox: events until they are handled, and a bounded memory of stanzas."""

from pathlib import Path

from xmpp_onion.store import Database, Inbox


async def test_events_stay_in_order_until_they_are_handled(database: Database) -> None:
    inbox = Inbox(database)
    async with database.transaction():
        ids = [await inbox.add(f'{{"n": {number}}}') for number in range(3)]

    async with database.transaction():
        await inbox.mark_handled(ids[1])
        await inbox.mark_handled(ids[1])

    rows = await inbox.pending()
    assert [row.event_json for row in rows] == ['{"n": 0}', '{"n": 2}']
    assert [row.id for row in rows] == [ids[0], ids[2]]


async def test_an_event_that_was_begun_is_told_apart(database: Database) -> None:
    inbox = Inbox(database)
    async with database.transaction():
        first = await inbox.add('{"n": 1}')
        await inbox.add('{"n": 2}')

    async with database.transaction():
        await inbox.mark_begun(first)

    assert [row.is_begun for row in await inbox.pending()] == [True, False]


async def test_a_stanza_is_seen_once_it_is_marked(database: Database) -> None:
    inbox = Inbox(database)

    async with database.transaction():
        assert not await inbox.is_seen("alice 1")
        await inbox.mark_seen("alice 1")
        await inbox.mark_seen("alice 1")
        assert await inbox.is_seen("alice 1")

    assert await inbox.is_seen("alice 1")
    assert not await inbox.is_seen("alice 2")


async def test_only_the_newest_seen_stanzas_are_kept(database: Database) -> None:
    inbox = Inbox(database, seen_limit=10)

    for number in range(25):
        async with database.transaction():
            await inbox.mark_seen(str(number))

    kept = [number for number in range(25) if await inbox.is_seen(str(number))]
    assert kept == list(range(15, 25))


async def test_a_handled_event_leaves_no_byte_in_any_file(
    path: Path, key: bytes | None
) -> None:
    secret = "a plaintext that nobody else may ever read"
    async with Database.open(path, key=key) as database:
        inbox = Inbox(database)
        async with database.transaction():
            row = await inbox.add(secret)
        async with database.transaction():
            await inbox.mark_handled(row)

    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert set(files) == {"account.db", "account.db.lock"}
    assert all(secret.encode() not in content for content in files.values())


async def test_a_part_of_what_waits_can_be_had(database: Database) -> None:
    inbox = Inbox(database)
    async with database.transaction():
        ids = [await inbox.add(str(number)) for number in range(5)]

    assert [row.id for row in await inbox.pending(limit=2)] == ids[:2]


async def test_a_handled_text_is_on_the_disk_no_more(path: Path) -> None:
    canary = "plaintext-canary-" + "x" * 2000
    async with Database.open(path) as database:
        inbox = Inbox(database)
        async with database.transaction():
            ids = [await inbox.add(f"{canary} {number}") for number in range(20)]
        assert canary.encode() in raw(path)
        for number in ids:
            async with database.transaction():
                await inbox.mark_handled(number)

        await database.wipe_log()

        assert b"plaintext-canary" not in raw(path)
        async with database.transaction():  # it goes on as before
            await inbox.add("another")
    assert b"another" in raw(path)


def raw(path: Path) -> bytes:
    """Return every byte of a store, of its log and of what else lies by it."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())
