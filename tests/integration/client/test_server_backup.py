"""A backup of a server while people talk, and the server that is made of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.server import Prosody, backup, restore
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.snapshot import freeze, walk
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[[str], Awaitable[Account]]

pytestmark = pytest.mark.prosody

SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time

# An account and an entry of a list for each number, in one turn: a copy of one moment
# has as many of both.
WRITE = """
local datamanager = require "core.storagemanager".olddm or require "util.datamanager"
for number = {first}, {first} + 9 do
	assert(datamanager.store("n"..number, {onion}, "load", {{ number = number }}))
	assert(datamanager.list_append("all", {onion}, "load", {{ number = number }}))
end
return ""
"""
COUNT = """
local datamanager = require "core.storagemanager".olddm or require "util.datamanager"
local list = datamanager.list_load("all", {onion}, "load") or {{ }}
local number = 0
while datamanager.load("n"..(number + 1), {onion}, "load") do number = number + 1; end
return #list.." "..number
"""


async def add_ten(prosody: Prosody, first: int) -> None:
    onion = lua_string(prosody.onion)
    await ask(prosody.data, WRITE.format(first=first, onion=onion))


async def count(prosody: Prosody) -> tuple[int, int]:
    answer = await ask(prosody.data, COUNT.format(onion=lua_string(prosody.onion)))
    listed, kept = answer.split()
    return int(listed), int(kept)


async def test_a_copy_has_one_moment_also_of_files_that_grow(prosody: Prosody) -> None:
    await add_ten(prosody, 1)

    async with freeze(prosody.folder) as data:
        await add_ten(prosody, 11)
        owner = prosody.folder.prosody_uid
        found = {
            each.path.name: each.file.read(each.size)
            for each in walk(data, owner=owner)
            if each.path.parent.name == "load"
        }

    assert found["all.list"].count(b"item(") == 10
    assert set(found) == {"all.list", *(f"n{number}.dat" for number in range(1, 11))}
    assert await count(prosody) == (20, 20)
    assert not (prosody.data / ".backup").exists()


async def test_backups_under_load_have_no_half_of_anything(
    prosody: Prosody, prosody_program: str, tmp_path: Path
) -> None:
    await add_ten(prosody, 1)

    async def load() -> None:
        for first in range(11, 100_000, 10):
            await add_ten(prosody, first)

    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(load())
        for number in range(3):
            await backup(tmp_path / "server", tmp_path / f"file-{number}", SECRET)
        writer.cancel()
    total = await count(prosody)

    seen = []
    for number in range(3):
        folder = tmp_path / f"restored-{number}"
        restore(tmp_path / f"file-{number}", folder, lambda _kind: SECRET)
        async with Prosody(folder, program=prosody_program) as restored:
            listed, kept = await count(restored)
            assert listed == kept
            seen.append(kept)
    assert seen == sorted(seen)
    assert 10 <= seen[0] <= seen[-1] <= total[0]


async def test_people_go_on_at_a_restored_server_as_if_nothing_had_happened(
    prosody_program: str,
    enrol: Enrol,
    wire: LoopbackDialer,
    tmp_path: Path,
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    async with Client(alice, tor=wire) as a:
        async with Client(bob, tor=wire) as b:
            await a.send(bob.jid, "first")
            await hear(b, "first")
            await b.send(alice.jid, "heard")
            await hear(a, "heard")
        await a.send(bob.jid, "while you are away")
        await backup(tmp_path / "server", tmp_path / "file", SECRET)
        await a.send(bob.jid, "after the backup")

    restore(tmp_path / "file", tmp_path / "restored", lambda _kind: SECRET)
    async with Prosody(tmp_path / "restored", program=prosody_program) as restored:
        there = LoopbackDialer(restored.c2s_port)
        async with (
            asyncio.timeout(120),
            Client(alice, tor=there) as a,
            Client(bob, tor=there) as b,
        ):
            await hear(b, "while you are away")
            await a.send(bob.jid, "at the other machine")
            await hear(b, "at the other machine")
            await b.send(alice.jid, "as before")
            await hear(a, "as before")


async def hear(client: Client, text: str) -> None:
    """Read until somebody said so; what was not asked for again comes again."""
    async with asyncio.timeout(60):
        async for message in client.messages():
            if message.text == text:
                return
