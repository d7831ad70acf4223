"""Where a bot tells how it is."""
# ruff: noqa: ASYNC240 - files in a folder of the test's own

import asyncio
import stat
from pathlib import Path

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import ConfigurationError, StorePermissionError
from xmpp_onion.testing import FakeServer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "alerts.sock"


@pytest.fixture
def bot(path: Path) -> Bot:
    return Bot("test", trust=Trust.PINNED, health_socket=path)


async def ask(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))  # noqa: TID251 - the far end
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


async def test_it_answers_this_user_alone_and_is_gone_with_the_bot(
    bot: Bot, path: Path
) -> None:
    async with FakeServer(bot):
        head, _, body = (await ask(path, b"GET /metrics HTTP/1.1\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        modes = (
            stat.S_IMODE(path.stat().st_mode),
            stat.S_IMODE(path.parent.stat().st_mode),
        )

    assert head.startswith(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"
    )
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"xmpp_onion_bot_connected 1\n" in body
    assert modes == (0o600, 0o700)
    assert not path.exists()


async def test_whoever_asks_nonsense_harms_nobody(bot: Bot, path: Path) -> None:
    async with FakeServer(bot):
        assert await ask(path, b"x" * 100_000 + b"\r\n\r\n") == b""
        _, silent = await asyncio.open_unix_connection(str(path))  # noqa: TID251 - as above
        for _ in range(3):
            silent.write(b"GET")
        answers = await asyncio.gather(
            *(ask(path, b"GET / HTTP/1.0\r\n\r\n") for _ in range(20))
        )
        silent.close()

    assert all(b"xmpp_onion_bot_connected 1" in answer for answer in answers)


async def test_what_a_process_that_died_left_is_in_nobodys_way(
    bot: Bot, path: Path
) -> None:
    path.parent.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(lambda *_: None, str(path))
    path.rename(path.with_suffix(".old"))
    server.close()
    path.with_suffix(".old").rename(path)

    async with FakeServer(bot):
        assert b"200 OK" in await ask(path, b"GET / HTTP/1.0\r\n\r\n")


async def test_a_file_is_not_taken_away(bot: Bot, path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("mine")
    with pytest.raises(ExceptionGroup) as caught:
        async with FakeServer(bot):
            pass
    assert caught.group_contains(ConfigurationError)
    assert path.read_text() == "mine"


async def test_a_folder_that_others_reach_is_refused(bot: Bot, path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with pytest.raises(ExceptionGroup) as caught:
        async with FakeServer(bot):
            pass
    assert caught.group_contains(StorePermissionError)
