"""What does not arrive is looked for before it is brought; nobody leaves too early."""

import asyncio
import json
from pathlib import Path
from typing import Any

import peer
import pytest
from arena import Arena
from whereabouts import read_store

from xmpp_onion.outgoing import Outgoing

pytestmark = pytest.mark.prosody


async def test_where_a_message_is_stands_there_before_anybody_is_started_anew(
    tmp_path: Path,
) -> None:
    async with Arena(tmp_path) as arena:
        for name in ("alice", "bob"):
            await arena.enrol(name)
        arena.start(arena.plan("bob"))
        await arena.reach("bob", "ready", 1, patience=60)
        await arena.stop("bob")
        arena.start(
            arena.plan("alice", to="bob", until=1, is_listening=False, is_brief=True)
        )
        await arena.wait("alice", 60)

        await arena.settle(["alice", "bob"], patience=1.0)

        told = json.loads((tmp_path / "stuck0.json").read_text("utf-8"))
        texts = [f"alice {number}" for number in range(1, 5)]
        assert (told["missing"], told["running"]) == (texts, [])
        assert told["stores"]["alice"]["outbox"] == []  # so the server has them
        assert told["stores"]["bob"]["set_aside"] == []
        assert told["states"]["bob"][-1].endswith(" stopped")
        assert not any("bob@" in each for each in told["sessions"])
        assert arena.hangs == len(texts)


def leave_one_behind(plan: peer.Plan) -> None:
    """Be a process whose last text is encrypted when all others have arrived."""
    encrypt = Outgoing._encrypt

    async def encrypt_late(self: Outgoing, to: Any, what: Any, **how: Any) -> Any:
        if what.text == "text 4":
            while await self._outbox.count():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        return await encrypt(self, to, what, **how)

    Outgoing._encrypt = encrypt_late  # type: ignore[method-assign] # the test says it
    peer.main(plan)


async def test_a_sender_that_ends_by_itself_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async with Arena(tmp_path) as arena:
        for name in ("alice", "bob"):
            await arena.enrol(name)
        arena.start(arena.plan("bob"))
        await arena.reach("bob", "ready", 1)
        plan = arena.plan("alice", to="bob", until=1, is_listening=False, is_brief=True)
        arena.start(plan, leave_one_behind)
        assert await arena.wait("alice", 60) == 0

        assert read_store(arena.data / "alice" / "store.sqlite3")["outbox"] == []
