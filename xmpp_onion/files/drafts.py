"""What was begun to be fetched of a message that disappears, and is to go with it.

A transfer that broke off leaves its drafts where the file should be, so that it can go
on. If the message is to be erased by then, so are they, also after a restart: a row in
the account's store remembers where they are. What was saved is the reader's, and a
transfer that runs ends first.
"""

import asyncio
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from xmpp_onion.store import Database, Keys

__all__ = ["Drafts"]

_PREFIX: Final = "/xmpp-onion/draft/"
# Until it is looked again, at the latest (a computer that slept is not told when it is
# late), and for what cannot be erased now.
_LOOK_AGAIN: Final = timedelta(minutes=1)
_SOONEST: Final = 1.0


class _Kept(NamedTuple):
    name: str
    paths: list[Path]
    until: datetime


class Drafts:
    """Remembers drafts, and erases them in their time.

    Args:
        database: Of the account.
        keys: Its table of texts.
        now: The time; tests pass their own.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keys = keys
        self._now = now
        self._due = asyncio.Event()

    async def note(self, paths: list[Path], until: datetime) -> None:
        """Remember the drafts of one file before it is fetched."""
        where = [str(path.absolute()) for path in paths]
        text = json.dumps({"paths": where, "until": until.isoformat()})
        async with self._database.transaction():
            await self._keys.store(_name(paths), text)
        self._due.set()

    async def forget(self, paths: list[Path]) -> None:
        """Forget them: the file is there."""
        async with self._database.transaction():
            await self._keys.delete(_name(paths))

    async def run(self) -> None:
        """Erase until cancelled."""
        while True:
            self._due.clear()
            await self.erase()
            times = [kept.until for kept in await self._kept()]
            pause = None
            if times:
                left = min(min(times) - self._now(), _LOOK_AGAIN).total_seconds()
                pause = max(left, _SOONEST)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def erase(self) -> None:
        """Erase what has had its time."""
        now = self._now()
        due = [kept for kept in await self._kept() if kept.until <= now]
        for kept in due:
            is_gone = all(_remove(path) for path in kept.paths)
            if not is_gone:
                await self.note(kept.paths, now + _LOOK_AGAIN)
                continue
            async with self._database.transaction():
                await self._keys.delete(kept.name)

    async def _kept(self) -> list[_Kept]:
        found = []
        for name in await self._keys.names(_PREFIX):
            values = json.loads(await self._keys.load(name) or "")
            paths = [Path(path) for path in values["paths"]]
            found.append(_Kept(name, paths, datetime.fromisoformat(values["until"])))
        return found


def _remove(path: Path) -> bool:
    """Remove a draft, and tell whether it is gone; not under who is at it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in {errno.ENOENT, errno.ENOTDIR}
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _name(paths: list[Path]) -> str:
    return _PREFIX + hashlib.sha256(os.fsencode(paths[0].absolute())).hexdigest()
