"""How far a file is, in one message."""

import asyncio
from pathlib import Path

from xmpp_onion.bot import Bot, Context
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


async def test_one_message_is_edited_until_all_is_done() -> None:
    bot, half, rest = Bot("test", trust=Trust.PINNED), asyncio.Event(), asyncio.Event()

    @bot.command
    async def report(ctx: Context) -> None:
        tell = ctx.progress("a.bin")
        tell(0, 200)
        await half.wait()
        tell(100, 200)
        await rest.wait()
        tell(200, 200)

    async with FakeServer(bot) as server, asyncio.TaskGroup() as tasks:
        alice = server.user("alice")
        tasks.create_task(alice.send("!report"))
        while not alice.inbox:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert alice.inbox == ["a.bin: 0 %"]
        half.set()
        await server.advance("5s")
        assert alice.inbox == ["a.bin: 50 %"]
        rest.set()
        await server.advance("5s")
        assert alice.inbox == ["a.bin: 100 %"]


async def test_a_file_is_sent_and_its_progress_told(tmp_path: Path) -> None:
    bot, path = Bot("test", trust=Trust.PINNED), tmp_path / "a.bin"
    path.write_bytes(b"x" * 100)

    @bot.command
    async def report(ctx: Context) -> None:
        await ctx.send_file(path, progress=ctx.progress(path.name))

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!report")
        assert [file.read_bytes() for file in alice.files] == [path.read_bytes()]
        assert alice.files[0].name == path.name
        assert alice.inbox == ["a.bin: 100 %"]
