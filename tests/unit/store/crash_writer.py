"""Write transactions until killed, and say the number of each that is on the disk.

Run by test_crash.py as a process of its own: ``python crash_writer.py FILE [KEY]``.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from xmpp_onion.store import Database, Inbox, Keys, Outbox

PARTS = 8
WRITERS = 4


async def write(path: Path, key: bytes | None) -> None:
    async with Database.open(path, key=key) as database, asyncio.TaskGroup() as tasks:
        numbers = itertools.count(await database.generation() + 1)
        for _ in range(WRITERS):  # they wait for each other, and share commits
            tasks.create_task(write_on(database, numbers))


async def write_on(database: Database, numbers: Iterator[int]) -> None:
    keys, outbox, inbox = Keys(database), Outbox(database), Inbox(database)
    while True:
        async with database.transaction():
            number = next(numbers)
            await inbox.mark_seen(f"seen {number}")
            for part in range(PARTS):
                await keys.store(str(part), str(number))
            await outbox.add("x" * 500, to="bob", message_id=str(number))
            await inbox.add(str(number))
        print(number, flush=True)  # noqa: T201 - what the test reads


asyncio.run(write(Path(sys.argv[1]), bytes.fromhex("".join(sys.argv[2:])) or None))
