"""What is posted to a unix socket, and what is answered."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion.bot import receive_posts
from xmpp_onion.bot.webhook import Take
from xmpp_onion.errors import NoDevicesError
from xmpp_onion.transport import open_local


@asynccontextmanager
async def receiving(folder: Path, take: Take) -> AsyncIterator[Path]:
    path = folder / "hook"
    async with asyncio.TaskGroup() as tasks:
        receiver = tasks.create_task(receive_posts(path, take))
        while not path.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        yield path
        receiver.cancel()


async def ask(path: Path, request: bytes) -> int:
    """Return the status of the answer; 0 if there is none."""
    reader, writer = await open_local(path, limit_bytes=4096)
    try:
        async with asyncio.timeout(60):
            writer.write(request)
            answer = await reader.readline()
    except ConnectionResetError:  # closed with our bytes unread
        return 0
    finally:
        writer.close()
    return int(answer.split()[1]) if answer else 0


def post(body: bytes, *, length: int | None = None, method: str = "POST") -> bytes:
    size = len(body) if length is None else length
    return (
        f"{method} / HTTP/1.1\r\nHost: bot\r\nContent-Length: {size}\r\n\r\n".encode()
        + body
    )


async def refuse(_body: bytes) -> None:
    raise AssertionError("nothing of this gets here")


async def test_what_is_posted_is_answered_when_it_was_taken(tmp_path: Path) -> None:
    taken, done = [], asyncio.Event()

    async def take(body: bytes) -> None:
        taken.append(body)
        await done.wait()

    async with receiving(tmp_path, take) as path, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask(path, post(b"hello")))
        while not taken:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert not asking.done()
        done.set()
        assert await asking == 200

    assert taken == [b"hello"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError(), 400), (NoDevicesError("nothing was sent", jid="a@b"), 503)],
)
async def test_an_error_says_whether_to_try_again(
    tmp_path: Path, error: Exception, status: int
) -> None:
    async def take(_body: bytes) -> None:
        raise error

    async with receiving(tmp_path, take) as path:
        assert await ask(path, post(b"{}")) == status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: bot\r\n\r\n", 405),
        (post(b"x", method="PUT"), 405),
        (post(b"x" * (1024 * 1024 + 1)), 413),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: bot\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 431),
    ],
    ids=["get", "put", "large", "no HTTP", "a long head"],
)
async def test_what_is_no_post_gets_no_further(
    tmp_path: Path, request_: bytes, status: int
) -> None:
    async with receiving(tmp_path, refuse) as path:
        assert await ask(path, request_) == status


async def test_who_goes_away_harms_nobody(tmp_path: Path) -> None:
    taken = []

    async def take(body: bytes) -> None:
        taken.append(body)

    async with receiving(tmp_path, take) as path:
        _, writer = await open_local(path, limit_bytes=4096)
        writer.write(post(b"half", length=100))
        writer.close()
        assert await ask(path, post(b"whole")) == 200
    assert taken == [b"whole"]


async def test_only_this_user_may_and_what_a_dead_one_left_is_no_hindrance(
    tmp_path: Path,
) -> None:
    (tmp_path / "hook").write_text("")
    taken = []

    async def take(body: bytes) -> None:
        taken.append(body)

    async with receiving(tmp_path, take) as path:
        while not path.is_socket():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(path, post(b"x")) == 200
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test


async def test_another_programs_error_ends_no_receiver(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(body: bytes) -> None:
        if body == b"bad":
            raise ZeroDivisionError

    async with receiving(tmp_path, take) as path:
        assert await ask(path, post(b"bad")) == 500
        assert await ask(path, post(b"good")) == 200
    assert "ZeroDivisionError" in caplog.text
    assert "bad" not in caplog.text
