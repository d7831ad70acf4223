from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.files import journal as module
from xmpp_onion.files.journal import Journal
from xmpp_onion.store import Database, Keys

PLACE = Place(OnionAddress.from_public_key(bytes(32)), 5280, "/share/x")
ONE, OTHER = b"1" * 32, b"2" * 32


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[tuple[Database, Keys]]:
    async with Database.open(tmp_path / "store.sqlite3") as database:
        yield database, Keys(database)


async def test_what_was_done_is_known_to_another_process(
    keys: tuple[Database, Keys],
) -> None:
    begun = await Journal(*keys).begin(ONE, 4096)
    await Journal(*keys).note(begun, 7, PLACE)

    again = await Journal(keys[0], Keys(keys[0])).begin(ONE, 4096)

    assert again == begun
    assert again.places == {7: PLACE}


async def test_another_content_or_another_cut_has_another_key(
    keys: tuple[Database, Keys],
) -> None:
    journal = Journal(*keys)
    one = await journal.begin(ONE, 4096)
    await journal.note(one, 0, PLACE)

    others = [
        await journal.begin(OTHER, 4096),
        await journal.begin(ONE, 4096, padded=True),
        await journal.begin(ONE, 8192),
    ]

    assert len({one.key, *(each.key for each in others)}) == 4
    assert [each.places for each in others] == [{}, {}, {}]


async def test_no_chunk_is_left_without_its_file_if_two_send_it_at_once(
    keys: tuple[Database, Keys],
) -> None:
    database, table = keys
    journal = Journal(database, table)
    first, second = await journal.begin(ONE, 4096), await journal.begin(ONE, 4096)
    await journal.note(second, 0, PLACE)
    await journal.forget(ONE)  # the first is done
    await journal.note(second, 1, PLACE)

    again = await Journal(*keys).begin(ONE, 4096)
    await journal.forget(ONE)

    assert (again.key, again.places) == (first.key, {1: PLACE})
    assert await table.names("") == []


async def test_lone_chunks_of_before_are_forgotten(
    keys: tuple[Database, Keys],
) -> None:
    database, table = keys
    async with database.transaction():
        await table.store(f"/xmpp-onion/upload/{ONE.hex()}/7", PLACE.url)
    begun = await Journal(database, table).begin(OTHER, 4096)

    assert await table.names("") == [begun.name]


@pytest.mark.parametrize("padded", [False, True])
async def test_nothing_is_left_of_what_is_done(
    keys: tuple[Database, Keys], *, padded: bool
) -> None:
    journal = Journal(*keys)
    begun = await journal.begin(ONE, 4096, padded=padded)
    await journal.note(begun, 0, PLACE)

    await journal.forget(ONE, padded=padded)

    assert await keys[1].names("/xmpp-onion/upload") == []
    assert (await journal.begin(ONE, 4096, padded=padded)).key != begun.key


async def test_uploads_that_are_never_finished_are_forgotten(
    keys: tuple[Database, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(*keys)
    for number in range(50):
        await journal.begin(number.to_bytes(32), 4096)

    assert len(await keys[1].names("/xmpp-onion/upload")) <= 20

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # as used
            del tz
            return datetime.now(UTC) + timedelta(days=2)

    old = await journal.begin(ONE, 4096)
    monkeypatch.setattr(module, "datetime", Later)
    assert (await journal.begin(ONE, 4096)).key != old.key
    assert len(await keys[1].names("/xmpp-onion/upload")) == 1


async def test_the_key_is_in_no_repr(keys: tuple[Database, Keys]) -> None:
    assert "key" not in repr(await Journal(*keys).begin(ONE, 4096))
