"""What test_faults.py runs as processes of their own: ``python fault_writer.py HOW …``.

``write FILE COUNT``  writes transactions, and says the number of each that is there
``together FILE COUNT``  the same, three at a time
``fill FOLDER``       fills a small file system, makes room, and says what came of it
``open FILE``         opens a store of any version, and brings it forward
"""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

from xmpp_onion.errors import StoreError
from xmpp_onion.store import Database, Inbox, Keys, Outbox

PARTS = 8
FILLER_BYTES = 64 * 1024


async def write_one(database: Database, number: int) -> None:
    inbox, outbox, keys = Inbox(database), Outbox(database), Keys(database)
    async with database.transaction():
        await inbox.mark_seen(f"seen {number}")
        for part in range(PARTS):
            await keys.store(str(part), str(number))
        await outbox.add("x" * 500, to="bob", message_id=str(number))
        await inbox.add(str(number))


async def write(path: Path, count: int) -> None:
    async with Database.open(path) as database:
        first = await database.generation() + 1
        for number in range(first, first + count):
            await write_one(database, number)
            print(number, flush=True)  # noqa: T201 - what the test reads


async def write_together(path: Path, count: int) -> None:
    """Write in threes, which wait for each other and share a commit."""

    async def one(number: int) -> None:
        await write_one(database, number)
        print(number, flush=True)  # noqa: T201 - what the test reads

    async with Database.open(path) as database:
        for first in range(1, count, 3):
            async with asyncio.TaskGroup() as tasks:
                for number in range(first, first + 3):
                    tasks.create_task(one(number))


def fill_up(folder: Path) -> Path:
    """Leave no block free, and return what takes them."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (FILLER_BYTES, 512, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


async def fill(folder: Path) -> None:
    """Write until the disk is full, open it then, make room, and go on."""
    path, errors, number = folder / "account" / "store.db", [], 0
    async with Database.open(path, witness=folder / ".state") as database:
        await write_one(database, number := 1)
        filler = fill_up(folder)
        try:
            while True:
                await write_one(database, number + 1)
                number += 1
        except StoreError as error:
            errors.append([error.why, error.fix])
        promised = number
    try:
        async with Database.open(path, witness=folder / ".state") as database:
            await write_one(database, number + 1)
            promised = number + 1
    except StoreError as error:
        errors.append([error.why, error.fix])
    filler.unlink()
    async with Database.open(path, witness=folder / ".state") as database:
        found = len(await Inbox(database).pending())
        [row] = await database.fetch("PRAGMA integrity_check")
        is_rolled_back = database.progress.is_rolled_back
        await write_one(database, found + 1)
        later = len(await Inbox(database).pending())
    print(  # noqa: T201 - what the test reads
        json.dumps([promised, found, later, row[0], is_rolled_back, errors])
    )


def make_where_room_is_short(folder: Path) -> None:
    """Make stores on disks of many sizes, most too small; print those that stay bad."""
    refused, bad = 0, []
    for size in range(64, 720, 24):
        run("mount", "-t", "tmpfs", "-o", f"size={size}k,mode=700", "none", str(folder))
        refused += attempt(folder / "store.db") is not None
        run("mount", "-o", "remount,size=8m", str(folder))
        if error := attempt(folder / "store.db"):
            bad.append([size, error])
        run("umount", str(folder))
    print(json.dumps([refused, bad]))  # noqa: T201 - what the test reads


def run(*words: str) -> None:
    program = shutil.which(words[0]) or words[0]
    subprocess.run([program, *words[1:]], check=True)


def attempt(path: Path) -> str | None:
    try:
        asyncio.run(open_it(path))
    except StoreError as error:
        return str(error)
    return None


async def open_it(path: Path) -> None:
    async with Database.open(path):
        pass


match sys.argv[1:]:
    case ["write", path, count]:
        asyncio.run(write(Path(path), int(count)))
    case ["together", path, count]:
        asyncio.run(write_together(Path(path), int(count)))
    case ["fill", folder]:
        asyncio.run(fill(Path(folder)))
    case ["make", folder]:
        make_where_room_is_short(Path(folder))
    case ["open", path]:
        asyncio.run(open_it(Path(path)))
