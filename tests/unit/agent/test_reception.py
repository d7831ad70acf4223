"""Hostile callers of the holder: garbage, slow, huge and many harm nobody else."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion.agent import reception
from xmpp_onion.agent.caller import AGAIN, END, ask_at
from xmpp_onion.agent.reception import CALLERS, receive
from xmpp_onion.chat import Line
from xmpp_onion.errors import SessionError
from xmpp_onion.transport import open_local


async def _echo(request: Line, tell: Callable[[Line], None]) -> list[Line]:
    tell({"event": "progress"})
    return [request]


async def answers(path: Path, request: Line) -> list[Line]:
    async with asyncio.timeout(60):
        return [line async for line in ask_at(path, request)]


@asynccontextmanager
async def connection(
    path: Path, sent: bytes = b""
) -> AsyncIterator[asyncio.StreamReader]:
    """Connect, send something that need not be a request, and go on."""
    reader, writer = await open_local(path, limit_bytes=1 << 20)
    try:
        writer.write(sent)
        yield reader
    finally:
        writer.close()


async def test_a_request_is_answered_with_lines_and_an_end(tmp_path: Path) -> None:
    async with receive(tmp_path / "sock", _echo):
        assert await answers(tmp_path / "sock", {"do": "x"}) == [
            {"event": "progress"},
            {"do": "x"},
        ]


async def test_whoever_says_nothing_is_sent_away(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with (
        receive(path, _echo, patience=0.05),
        connection(path) as silent,
        connection(path, b"{") as slow,
        asyncio.timeout(60),
    ):
        assert await _rest(silent) == b""
        assert await _rest(slow) == b""


async def test_whoever_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    huge: Line = {"text": "x" * 900_000}

    async def answer(request: Line, tell: Callable[[Line], None]) -> list[Line]:
        for _ in range(100):
            tell(huge)
        return [huge] * 10 if request.get("do") == "much" else [request]

    async with (
        receive(path, answer, patience=0.05),
        connection(path, b'{"do": "much"}\n'),
        asyncio.timeout(60),
    ):
        assert await answers(path, {"do": "x"}) != []


async def test_no_more_are_let_in_than_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with receive(path, _echo), asyncio.timeout(60):
        waiting = [connection(path) for _ in range(CALLERS)]
        for each in waiting:
            await each.__aenter__()
        (line,) = await answers(path, {"do": "x"})
        for each in waiting:
            await each.__aexit__(None, None, None)
        lines = [line]
        while lines[-1] != {"do": "x"}:  # until it was noticed that they left
            lines = await answers(path, {"do": "x"})

    assert (line["event"], line["code"]) == ("error", 3)
    assert "too many" in str(line["why"])


async def test_many_requests_are_answered_each_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with receive(path, _echo):
        found = await asyncio.gather(
            *(answers(path, {"number": number}) for number in range(100))
        )

    assert [lines[-1] for lines in found] == [{"number": n} for n in range(100)]


async def test_another_user_is_not_answered_but_where_it_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "peer_user", lambda _sock: os.geteuid() + 1)
    async with receive(tmp_path / "own", _echo):
        with pytest.raises(SessionError, match="ended while it was asked"):
            await answers(tmp_path / "own", {"do": "x"})
    async with receive(tmp_path / "shared", _echo, group=os.getegid()):
        assert (await answers(tmp_path / "shared", {"do": "x"}))[-1] == {"do": "x"}


async def test_one_user_does_not_take_all_places_of_a_shared_socket(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sock"
    async with receive(path, _echo, group=os.getegid()), asyncio.timeout(60):
        waiting = [connection(path) for _ in range(16)]
        for each in waiting:
            await each.__aenter__()
        (line,) = await answers(path, {"do": "x"})
        for each in waiting:
            await each.__aexit__(None, None, None)

    assert "too many" in str(line["why"])


async def test_a_mistake_ends_one_answer_alone(tmp_path: Path) -> None:
    async def answer(request: Line, _: Callable[[Line], None]) -> list[Line]:
        return [{"inverse": 1 // int(str(request["number"]))}]

    async with receive(tmp_path / "sock", answer):
        with pytest.raises(SessionError):
            await answers(tmp_path / "sock", {"number": 0})
        assert await answers(tmp_path / "sock", {"number": 1}) == [{"inverse": 1}]


async def test_the_socket_goes_with_the_block_and_sends_everybody_away(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sock"
    path.touch()  # of a process that was killed
    begun = asyncio.Event()

    async def answer(_request: Line, _: Callable[[Line], None]) -> list[Line]:
        begun.set()
        await asyncio.Event().wait()
        return []

    async with receive(path, answer), asyncio.timeout(60):
        asking = connection(path, b"{}\n")
        reader = await asking.__aenter__()
        await begun.wait()
    assert json.dumps(END).encode() not in await _rest(reader)
    await asking.__aexit__(None, None, None)
    assert not path.exists()


async def test_who_comes_in_a_pause_waits_and_who_is_in_asks_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sock"
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def answer(request: Line, _: Callable[[Line], None]) -> list[Line]:
        if request.get("do") == "long":
            begun.set()
            await may_end.wait()
        return [request]

    async with (
        receive(path, answer) as reception,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        long = tasks.create_task(answers(path, {"do": "long"}))
        await begun.wait()
        reader, writer = await open_local(path, limit_bytes=1 << 20)
        await asyncio.sleep(0.05)  # it is let in
        reception.pause()
        draining = tasks.create_task(reception.drain())
        writer.write(b"{}\n")
        assert json.loads(await reader.readline()) == AGAIN
        writer.close()
        late = tasks.create_task(answers(path, {"do": "late"}))
        await asyncio.sleep(0.05)
        assert not draining.done()
        assert not late.done()
        may_end.set()
        await draining
        assert not late.done()
        reception.open()
    assert (long.result(), late.result()) == ([{"do": "long"}], [{"do": "late"}])


async def test_who_is_sent_away_again_and_again_hears_why(tmp_path: Path) -> None:
    asked: list[Line] = []

    async def answer(request: Line, _: Callable[[Line], None]) -> list[Line]:
        asked.append(request)
        return [AGAIN]

    async with receive(tmp_path / "sock", answer):
        with pytest.raises(SessionError, match="nothing was done"):
            await answers(tmp_path / "sock", {"do": "x"})
    assert asked == [{"do": "x"}] * 20


async def test_a_pause_waits_until_an_answer_was_read(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    huge: Line = {"text": "x" * 900_000}
    begun = asyncio.Event()

    async def answer(_request: Line, _: Callable[[Line], None]) -> list[Line]:
        begun.set()
        return [huge] * 3

    async with (
        receive(path, answer) as reception,
        connection(path, b"{}\n") as reader,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        await begun.wait()
        reception.pause()
        draining = tasks.create_task(reception.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        for _ in range(3):
            assert json.loads(await reader.readline()) == huge
        assert json.loads(await reader.readline()) == END
        await draining


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
