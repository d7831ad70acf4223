"""What broke off of a message that disappears goes with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.files.disk import draft
from xmpp_onion.files.drafts import Drafts
from xmpp_onion.store import Database, Keys

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "account" / "store.db") as opened:
        yield opened


def begun(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / ".abc.part", folder / ".abc.new"]
    for path in paths:
        path.write_bytes(b"canary")
    return paths


async def test_drafts_are_erased_in_their_time_and_not_before(
    database: Database, tmp_path: Path
) -> None:
    clock, keys = Clock(), Keys(database)
    drafts = Drafts(database, keys, clock)
    paths, other = begun(tmp_path / "here"), begun(tmp_path / "there")
    await drafts.note(paths, START + HOUR)
    await drafts.note(other, START + 3 * HOUR)
    await drafts.erase()
    assert all(path.exists() for path in paths)

    clock.now += HOUR
    await Drafts(database, Keys(database), clock).erase()  # another process

    assert not any(path.exists() for path in paths)
    assert all(path.exists() for path in other)
    assert len(await Keys(database).names("")) == 1


async def test_what_was_saved_is_the_readers(
    database: Database, tmp_path: Path
) -> None:
    clock, keys = Clock(), Keys(database)
    drafts = Drafts(database, keys, clock)
    paths = begun(tmp_path / "here")
    saved = tmp_path / "here" / "photo.jpg"
    await drafts.note(paths, START + HOUR)
    paths[0].rename(saved)
    await drafts.forget(paths)

    clock.now += 2 * HOUR
    await drafts.erase()

    assert saved.exists()
    assert await keys.names("") == []


async def test_nobody_who_is_at_it_is_disturbed(
    database: Database, tmp_path: Path
) -> None:
    clock, keys = Clock(), Keys(database)
    drafts = Drafts(database, keys, clock)
    paths = begun(tmp_path / "here")
    await drafts.note(paths, START)
    with suppress(LookupError), draft(paths[0].parent, ".abc.part", keep=True):
        await drafts.erase()
        assert all(path.exists() for path in paths)
        raise LookupError  # it breaks off

    await drafts.erase()
    assert all(path.exists() for path in paths)  # looked at again in a minute
    clock.now += timedelta(minutes=1)
    await drafts.erase()

    assert not any(path.exists() for path in paths)
    assert await keys.names("") == []


async def test_no_link_is_followed_and_what_is_gone_is_forgotten(
    database: Database, tmp_path: Path
) -> None:
    clock, keys = Clock(), Keys(database)
    drafts = Drafts(database, keys, clock)
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    paths = begun(tmp_path / "here")
    paths[0].unlink()
    paths[0].symlink_to(precious)
    gone = [tmp_path / "nowhere" / ".x.part", tmp_path / "nowhere" / ".x.new"]
    await drafts.note(paths, START)
    await drafts.note(gone, START)

    await drafts.erase()

    assert precious.read_bytes() == b"mine"
    assert len(await keys.names("")) == 1


async def test_it_runs_until_cancelled_and_is_told_of_new_ones(
    database: Database, tmp_path: Path
) -> None:
    drafts = Drafts(database, Keys(database), Clock())
    paths = begun(tmp_path / "here")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(drafts.run())
        await asyncio.sleep(0)
        await drafts.note(paths, START)
        await until(lambda: not any(path.exists() for path in paths))
        running.cancel()


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - a file system tells nobody
        await asyncio.sleep(0)
