"""What OMEMO costs: ours, the bare library and omemo-dr on the same work.

    python benchmarks/omemo.py [--rounds 3] [--devices 1 10 50 100]

CPU time of the process, all threads, per device or message, in milliseconds. Each
round does everything with every engine, one after the other, so that a busy machine
is busy for all; medians of the rounds, with the least and the most.

``ours`` writes each operation to a real SQLite file as one transaction; ``ours, in
memory`` does the same without the file. Both are driven by the library's own session
manager, as the bare library is. omemo-dr speaks the older namespace only, and its
store here keeps what it serialises in memory; it is left out unless it is installed:

    pip install --require-hashes -r requirements/foreign.lock
"""

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from typing import TYPE_CHECKING

import omemo
from oldmemo import oldmemo
from omemo.session_manager import SessionManager
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType
from twomemo import twomemo

from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.store import Database, Keys

if TYPE_CHECKING:
    from omemo.backend import Backend

try:
    import dr
except ImportError:
    dr = None

TEXT = b"x" * 96
NAMESPACES = {"old": oldmemo.NAMESPACE, "new": twomemo.NAMESPACE}
LIBRARY = {"old": oldmemo.Oldmemo, "new": twomemo.Twomemo}
OURS = {"old": LocalOldmemo, "new": LocalTwomemo}
READERS = 3
SKIPS = (0, 200, 1000)

Figures = dict[str, list[float]]


class Memory(Storage):
    """The library's storage in a dict, with its own cache."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, JSONType] = {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self.values[key] = value

    async def _delete(self, key: str) -> None:
        self.values.pop(key, None)


class MemoryKeys(Keys):
    """Our rows without a file."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.rows.get(key)

    async def store(self, key: str, text: str) -> None:
        self.rows[key] = text

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def names(self, prefix: str) -> list[str]:
        return [key for key in self.rows if key.startswith(prefix)]


class Post:
    """Bundles and device lists that everybody can see."""

    def __init__(self) -> None:
        self.bundles: dict[tuple[str, str, int], omemo.Bundle] = {}
        self.lists: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.answers: list[omemo.Message] = []


def manager_class(post: Post) -> type[SessionManager]:
    class Manager(SessionManager):
        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            key = bundle.namespace, bundle.bare_jid, bundle.device_id
            post.bundles[key] = bundle

        @staticmethod
        async def _download_bundle(
            namespace: str, bare_jid: str, device_id: int
        ) -> omemo.Bundle:
            return post.bundles[namespace, bare_jid, device_id]

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            pass

        @staticmethod
        async def _upload_device_list(
            namespace: str, device_list: omemo.DeviceList
        ) -> None:
            pass

        @staticmethod
        async def _download_device_list(
            namespace: str, bare_jid: str
        ) -> omemo.DeviceList:
            return dict.fromkeys(post.lists[namespace, bare_jid])

        async def _evaluate_custom_trust_level(
            self,
            device: omemo.DeviceInformation,  # noqa: ARG002 - everybody is trusted
        ) -> omemo.TrustLevel:
            return omemo.TrustLevel.TRUSTED

        async def _make_trust_decision(
            self,
            undecided: frozenset[omemo.DeviceInformation],
            identifier: str | None,
        ) -> None:
            pass

        @staticmethod
        async def _send_message(
            message: omemo.Message,
            bare_jid: str,  # noqa: ARG004 - there is one sender
        ) -> None:
            post.answers.append(message)

    return Manager


class Device:
    """A device with a session manager of the library."""

    def __init__(
        self,
        name: str,
        namespace: str,
        manager: SessionManager,
        database: Database | None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.manager = manager
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._database.transaction() if self._database else nullcontext()

    async def learn(self, *names: str) -> None:
        async with self.transaction():
            for name in names:
                await self.manager.refresh_device_list(self.namespace, name)

    async def encrypt(self, *names: str) -> omemo.Message:
        async with self.transaction():
            messages, errors = await self.manager.encrypt(
                frozenset(names), {self.namespace: TEXT}
            )
        assert not errors, errors
        return next(iter(messages))

    async def decrypt(self, message: omemo.Message) -> None:
        async with self.transaction():
            text, _, _ = await self.manager.decrypt(message)
        assert text in {TEXT, None}  # None: an answer that only carries keys


class Engine:
    """A way to make devices."""

    def __init__(self, kind: str, make: str, post: Post, folder: Path) -> None:
        self.kind, self.make = kind, make
        self.namespace = NAMESPACES[kind]
        self._post = post
        self._folder = folder
        self._stack = AsyncExitStack()
        self._count = 0

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def with_make(self, make: str) -> "Engine":
        """Return a way to make other devices for the same post."""
        return Engine(self.kind, make, self._post, self._folder)

    async def answer(self, to: Device) -> None:
        """Let the readers' answers arrive, so that their sessions are confirmed."""
        for answer in self._post.answers:
            await to.decrypt(answer)
        self._post.answers.clear()

    async def device(self, name: str) -> Device:
        self._count += 1
        storage: Storage = Memory()
        database: Database | None = None
        backend: Backend
        if self.make == "library":
            backend = LIBRARY[self.kind](storage)
        else:
            keys: Keys = MemoryKeys()
            if self.make == "ours":
                path = self._folder / f"{self.kind}-{self._count}" / "store.db"
                database = await self._stack.enter_async_context(Database.open(path))
                keys = Keys(database)
            storage = KeyStorage(keys)
            backend = OURS[self.kind](storage)
        async with database.transaction() if database else nullcontext():
            manager = await manager_class(self._post).create(
                [backend], storage, name, None, "new"
            )
            await manager.shutdown()
            await manager.after_history_sync()
            info, _ = await manager.get_own_device_information()
        self._post.lists[self.namespace, name].add(info.device_id)
        return Device(name, self.namespace, manager, database)


@contextmanager
def measured(figures: Figures, name: str, count: int) -> Iterator[None]:
    """Note the CPU time of the block, for each of ``count`` things, in ms."""
    before = time.process_time()
    yield
    figures[name].append((time.process_time() - before) / count * 1e3)


async def run_engine(engine: Engine, count: int, figures: Figures) -> None:
    """Measure sending to ``count`` devices, two of each person."""
    places = [f"reader{number // 2}@x" for number in range(count)]
    readers = [await engine.device(name) for name in places[:READERS]]
    others = engine.with_make("memory")  # which reads nothing
    for name in places[READERS:]:
        await others.device(name)
    names = sorted(set(places))
    sender = await engine.device("sender@x")
    await sender.learn(*names)
    for reader in readers:
        await reader.learn("sender@x")

    with measured(figures, f"cold {count}", count):
        message = await sender.encrypt(*names)
    for reader in readers:
        with measured(figures, f"first {count}", 1):
            await reader.decrypt(message)
    await engine.answer(sender)
    for _ in range(3):
        with measured(figures, f"warm {count}", count):
            message = await sender.encrypt(*names)
        for reader in readers:
            with measured(figures, f"decrypt {count}", 1):
                await reader.decrypt(message)


async def run_skipped(engine: Engine, figures: Figures) -> None:
    """Measure decrypting with skipped keys in the session."""
    sender, reader = await engine.device("skipper@x"), await engine.device("late@x")
    await reader.learn("skipper@x")
    await sender.learn("late@x")
    await reader.decrypt(await sender.encrypt("late@x"))
    await engine.answer(sender)
    skipped = 0
    for skip in SKIPS:
        for _ in range(skip - skipped):
            await sender.encrypt("late@x")
        await reader.decrypt(await sender.encrypt("late@x"))
        skipped = skip
        for _ in range(20):
            message = await sender.encrypt("late@x")
            with measured(figures, f"with {skip} skipped", 1):
                await reader.decrypt(message)


async def run(rounds: int, counts: list[int]) -> None:
    results: dict[str, Figures] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for kind in NAMESPACES:
                for make in ("library", "ours", "memory"):
                    for count in counts:
                        place = Path(folder) / f"{number}-{make}-{count}"
                        async with Engine(kind, make, Post(), place) as engine:
                            await run_engine(engine, count, results[f"{kind} {make}"])
                    place = Path(folder) / f"{number}-{make}-skipped"
                    async with Engine(kind, make, Post(), place) as engine:
                        await run_skipped(engine, results[f"{kind} {make}"])
            if dr:
                for count in counts:
                    dr.run(count, results["old omemo-dr"], measured)
                dr.run_skipped(SKIPS, results["old omemo-dr"], measured)
            print(f"round {number + 1} done", flush=True)
    report(results)


def report(results: dict[str, Figures]) -> None:
    """Print a table for each namespace: medians, and how many times ours they are."""
    engines = ("library", "ours", "memory", "omemo-dr")
    for kind, namespace in NAMESPACES.items():
        columns = [name for name in engines if f"{kind} {name}" in results]
        others = [name for name in columns if name not in {"ours", "memory"}]
        names = {"ours": "ours, on disk", "memory": "ours, in memory"}
        heads = [names.get(name, name) for name in columns]
        heads += [f"{name} / ours, in memory" for name in others]
        print(f"\n{namespace}\n\n| ms of CPU | {' | '.join(heads)} |")
        print("| --- |" + " ---: |" * len(heads))
        for row in results[f"{kind} ours"]:
            values = {name: results[f"{kind} {name}"][row] for name in columns}
            ours = statistics.median(values["memory"])
            cells = [
                f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"
                for v in values.values()
            ]
            cells += [f"{statistics.median(values[o]) / ours:.1f}" for o in others]
            print(f"| {row} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 10, 50, 100])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    asyncio.run(run(options.rounds, options.devices))


if __name__ == "__main__":
    main()
