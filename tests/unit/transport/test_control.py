import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest

from xmpp_onion.errors import ControlPortError, TorNotRunningError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.transport.control import Control, open_control
from xmpp_onion.transport.dial import Endpoint

Leftovers = Callable[..., Awaitable[tuple[int, int]]]


async def test_what_is_asked_is_answered_without_codes(pool: Executor) -> None:
    async with FakeControl() as fake, open_control(fake.place, pool=pool) as control:
        fake.answers["GETINFO"] = ("250-version=0.4.9", "250 OK")

        assert await control.ask("GETINFO version") == ("version=0.4.9", "OK")
        assert await control.get_info("version") == "0.4.9"


async def test_a_refused_command_raises_with_the_words_of_tor(pool: Executor) -> None:
    async with FakeControl() as fake, open_control(fake.place, pool=pool) as control:
        fake.answers["SIGNAL"] = ("552 Unrecognized signal",)

        with pytest.raises(ControlPortError, match=r"Unrecognized signal \(552\)"):
            await control.ask("SIGNAL NONSENSE")


async def test_a_cancelled_question_does_not_mix_up_the_answers(pool: Executor) -> None:
    async with FakeControl() as fake, open_control(fake.place, pool=pool) as control:
        fake.answers["GETINFO"] = None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await control.ask("GETINFO slow")
        late = asyncio.gather(control.ask("SIGNAL A"), control.ask("SIGNAL B"))
        await asyncio.sleep(0)
        fake.answers["SIGNAL"] = ("250 second",)
        fake.say("250 first, and late")

        assert tuple(await late) == (("second",), ("second",))


async def test_events_reach_who_asked_for_them(pool: Executor) -> None:
    async with (
        FakeControl() as fake,
        open_control(fake.place, pool=pool) as control,
        control.events("HS_DESC") as queue,
    ):
        fake.say("650 HS_DESC UPLOADED x")
        fake.say("650 BW 1 2")
        fake.say("650 HS_DESC FAILED x")

        assert await queue.get() == "HS_DESC UPLOADED x"
        assert await queue.get() == "HS_DESC FAILED x"

    assert [line for line in fake.asked if "SETEVENTS" in line] == [
        "SETEVENTS HS_DESC",
        "SETEVENTS",
    ]


async def test_the_end_of_tor_is_told_to_everybody_who_waits(pool: Executor) -> None:
    async with FakeControl() as fake, open_control(fake.place, pool=pool) as control:
        fake.answers["GETINFO"] = None
        async with control.events("HS_DESC") as queue:
            question = asyncio.gather(control.ask("GETINFO version"))
            await asyncio.sleep(0.01)
            fake.hang_up()

            with pytest.raises(TorNotRunningError, match="does not answer any more"):
                await question
            assert await queue.get() is None
        assert control.has_ended
        with pytest.raises(TorNotRunningError):
            await control.ask("GETINFO version")


@pytest.mark.parametrize(
    "junk", ["250", "999", "hello", "650", "250+data", "250 \udcff", "6" * 9999]
)
async def test_hostile_lines_end_the_connection_or_are_ignored(
    junk: str, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeControl() as fake, open_control(fake.place, pool=pool) as control:
        fake.answers["GETINFO"] = None
        question = asyncio.gather(control.ask("GETINFO version", timeout=0.2))
        await asyncio.sleep(0)
        fake.say(junk)
        (outcome,) = await asyncio.gather(question, return_exceptions=True)

        assert isinstance(outcome, ControlPortError | TorNotRunningError | list)
    assert await leftovers() == (0, 0)


# --- letting us in ------------------------------------------------------------------


async def test_a_password_is_given_where_it_is_asked_for(pool: Executor) -> None:
    async with FakeControl("HASHEDPASSWORD") as fake:
        await _open(fake.place, pool, password='a"b\\c')

    # In hex, so that nothing in it can be taken for the end of a quotation.
    assert fake.asked[1] == "AUTHENTICATE 6122625c63"


@pytest.mark.parametrize(
    ("password", "why"), [("wrong", "the password is wrong"), (None, "asks for a pass")]
)
async def test_a_wrong_or_missing_password_is_named(
    password: str | None, why: str, pool: Executor
) -> None:
    async with FakeControl("HASHEDPASSWORD") as fake:
        fake.answers["AUTHENTICATE"] = ("515 Authentication failed: Password did not",)

        with pytest.raises(ControlPortError, match=why) as caught:
            await _open(fake.place, pool, password=password)
    assert "wrong'" not in str(caught.value)


async def test_an_unreadable_cookie_says_how_to_get_access(
    pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeControl("COOKIE,SAFECOOKIE", "/nonexistent/cookie") as fake:
        with pytest.raises(ControlPortError, match="adduser") as caught:
            await _open(fake.place, pool)

    assert "/nonexistent/cookie" in caught.value.why
    assert await leftovers() == (0, 0)


async def test_a_file_is_never_sent_to_who_names_it(
    pool: Executor, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(32))

    async with FakeControl("COOKIE", secret) as fake:
        with pytest.raises(ControlPortError):
            await _open(fake.place, pool)

    assert secret.read_bytes().hex() not in " ".join(fake.asked)


async def test_a_false_tor_that_does_not_know_the_cookie_learns_nothing(
    pool: Executor, tmp_path: Path, leftovers: Leftovers
) -> None:
    cookie = tmp_path / "cookie"
    cookie.write_bytes(os.urandom(32))
    async with FakeControl("COOKIE,SAFECOOKIE", cookie) as fake:
        fake.answers["AUTHCHALLENGE"] = (
            f"250 AUTHCHALLENGE SERVERHASH={'0' * 64} SERVERNONCE={'0' * 64}",
        )

        with pytest.raises(ControlPortError, match="does not fit"):
            await _open(fake.place, pool)

    assert not [line for line in fake.asked if line.startswith("AUTHENTICATE")]
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("silent", ["PROTOCOLINFO", "AUTHENTICATE"])
async def test_a_silent_control_port_holds_no_thread(
    silent: str, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeControl() as fake:
        fake.answers[silent] = None

        with pytest.raises(TorNotRunningError, match="no Tor control port"):
            await _open(fake.place, pool, timeout=0.2)
        assert (await leftovers(sockets=99))[1] == 0
    assert await leftovers() == (0, 0)


async def test_something_else_than_a_control_port_is_named(
    pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeControl() as fake:
        fake.answers["PROTOCOLINFO"] = ("HTTP/1.1 400 Bad Request",)

        with pytest.raises(TorNotRunningError, match="no Tor control port"):
            await _open(fake.place, pool)
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("place", [Endpoint("127.0.0.1", 1), Path("/nonexistent")])
async def test_a_missing_control_port_is_named(
    place: Endpoint | Path, pool: Executor, leftovers: Leftovers
) -> None:
    with pytest.raises(TorNotRunningError, match="no Tor control port"):
        await _open(place, pool)
    assert await leftovers() == (0, 0)


async def _open(
    place: Endpoint | Path,
    pool: Executor,
    *,
    password: str | None = None,
    timeout: float = 10.0,
) -> Control:
    async with open_control(
        place, pool=pool, password=password, timeout=timeout
    ) as control:
        return control
