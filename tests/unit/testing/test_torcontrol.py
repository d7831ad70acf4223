import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from xmpp_onion.errors import TorError, TorNotRunningError
from xmpp_onion.testing.torcontrol import ControlConnection

COOKIE = bytes(32)


@asynccontextmanager
async def connected(answers: dict[str, str]) -> AsyncIterator[ControlConnection]:
    """Yield a connection to a tor that answers so, and hangs up on the rest."""
    answers = {f"AUTHENTICATE {COOKIE.hex()}": "250 OK\r\n", **answers}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            if line not in answers:
                break
            writer.write(answers[line].encode())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            async with await ControlConnection.open(port, COOKIE) as connection:
                yield connection
        finally:
            await ended.wait()


async def test_an_answer_of_several_lines_is_one_answer() -> None:
    answer = "250-ServiceID=abc\r\n250-PrivateKey=ED25519-V3:x\r\n250 OK\r\n"
    async with connected({"ADD_ONION": answer}) as control:
        lines = await control.ask("ADD_ONION")

    assert lines == ["ServiceID=abc", "PrivateKey=ED25519-V3:x", "OK"]


async def test_data_is_part_of_the_answer() -> None:
    answer = "250+circuits=\r\n1 BUILT\r\n2 BUILT\r\n.\r\n250 OK\r\n"
    async with connected({"GETINFO circuits": answer}) as control:
        lines = await control.ask("GETINFO circuits")

    assert lines == ["circuits=", "1 BUILT", "2 BUILT", "OK"]


async def test_an_event_before_the_answer_is_kept_for_who_waits_for_it() -> None:
    answer = "650 HS_DESC UPLOAD a\r\n250 OK\r\n650 HS_DESC UPLOADED a\r\n"
    async with connected({"ADD_ONION": answer}) as control:
        assert await control.ask("ADD_ONION") == ["OK"]
        assert await control.event() == "HS_DESC UPLOAD a"
        assert await control.event() == "HS_DESC UPLOADED a"


async def test_a_refusal_names_the_verb_and_no_key() -> None:
    command = "ADD_ONION ED25519-V3:secret"
    async with connected({command: "550 Onion address collision\r\n"}) as control:
        with pytest.raises(TorError) as caught:
            await control.ask(command)

    assert str(caught.value) == "tor refuses ADD_ONION: 550 Onion address collision"


async def test_the_wrong_cookie_is_refused() -> None:
    refuse = {f"AUTHENTICATE {COOKIE.hex()}": "515 Wrong cookie\r\n"}
    with pytest.raises(TorError, match="refuses AUTHENTICATE: 515"):
        async with connected(refuse):
            pass


async def test_a_tor_that_hangs_up_is_not_running() -> None:
    async with connected({}) as control:
        with pytest.raises(TorNotRunningError):
            await control.ask("SIGNAL SHUTDOWN")
