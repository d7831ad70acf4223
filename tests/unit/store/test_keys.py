"""Keys against a plain dict, through every order of store, delete and roll-back."""

import asyncio
import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from xmpp_onion.store import Database, Keys


class BrokenError(Exception):
    """What a caller's own code may raise."""


async def test_inside_a_transaction_a_read_sees_what_it_stored(
    database: Database,
) -> None:
    keys = Keys(database)

    async with database.transaction():
        await keys.store("key", "1")
        assert await keys.load("key") == "1"
        await keys.delete("key")
        assert await keys.load("key") is None
        await keys.store("key", "2")

    assert await keys.load("key") == "2"


async def test_unchanged_texts_are_not_written(database: Database) -> None:
    keys = Keys(database)
    async with database.transaction():
        await keys.store("key", "1")
    before = await database.generation()

    async with database.transaction():
        await keys.store("key", "2")
        await keys.store("key", "1")
        await keys.delete("unknown")

    assert await database.generation() == before


async def test_reads_come_from_memory_after_the_first(database: Database) -> None:
    keys = Keys(database)
    async with database.transaction():
        await keys.store("key", "1")
        await database.execute("UPDATE keys SET text = 'behind its back'")

    assert await keys.load("key") == "1"


async def test_a_rollback_drops_the_cache(database: Database) -> None:
    keys = Keys(database)
    async with database.transaction():
        await keys.store("key", "1")
    async with database.transaction():
        await database.execute(
            "UPDATE keys SET text = 'behind its back', checksum = NULL"
        )

    async def write() -> None:
        async with database.transaction():
            await keys.store("key", "2")
            raise BrokenError

    with pytest.raises(BrokenError):
        await write()

    assert await keys.load("key") == "behind its back"


async def test_a_thousand_changed_keys_are_one_statement(database: Database) -> None:
    keys = Keys(database)

    async with database.transaction():
        for number in range(1000):
            await keys.store(str(number), "text")
        rows = await database.fetch("SELECT count(*) FROM keys")
        assert rows[0][0] == 0  # nothing was written yet

    rows = await database.fetch("SELECT count(*) FROM keys")
    assert rows[0][0] == 1000


names = st.sampled_from("abcd")
texts = st.sampled_from(["", "1", "2", "\N{SNOWMAN}", "'; DROP TABLE keys; --"])


class KeysMachine(RuleBasedStateMachine):
    """The same steps on Keys and on a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.path = Path(self.folder.name, "account.db")
        self.disk: dict[str, str] = {}
        self.reopen()

    def reopen(self) -> None:
        self.opened = Database.open(self.path)
        self.database = self.runner.run(self.opened.__aenter__())
        self.keys = Keys(self.database)

    def close(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))

    @rule(
        steps=st.lists(st.tuples(names, st.none() | texts), max_size=8),
        undo=st.booleans(),
    )
    def transaction(self, steps: list[tuple[str, str | None]], *, undo: bool) -> None:
        self.runner.run(self.run_transaction(steps, undo=undo))

    async def run_transaction(
        self, steps: list[tuple[str, str | None]], *, undo: bool
    ) -> None:
        model = dict(self.disk)
        with contextlib.suppress(BrokenError):
            async with self.database.transaction():
                for name, text in steps:
                    await self.change(model, name, text)
                if undo:
                    raise BrokenError
            self.disk = model

    async def change(self, model: dict[str, str], name: str, text: str | None) -> None:
        if text is None:
            await self.keys.delete(name)
            model.pop(name, None)
        else:
            await self.keys.store(name, text)
            model[name] = text
        assert await self.keys.load(name) == model.get(name)

    @rule(name=names)
    def load(self, name: str) -> None:
        assert self.runner.run(self.keys.load(name)) == self.disk.get(name)

    @rule()
    @precondition(lambda self: bool(self.disk))
    def close_and_reopen(self) -> None:
        self.close()
        self.reopen()

    def teardown(self) -> None:
        rows = self.runner.run(self.database.fetch("SELECT key, text FROM keys"))
        assert {row["key"]: row["text"] for row in rows} == self.disk
        self.close()
        self.runner.close()
        self.folder.cleanup()


KeysMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None
)
test_keys_behave_as_a_dict = KeysMachine.TestCase
