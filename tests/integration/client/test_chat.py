"""A talk in a terminal, without the terminal: what is shown, and what a line does."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Message
from xmpp_onion.address import JID
from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.chat_words import COMMANDS
from xmpp_onion.server import Prosody
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    return LoopbackDialer(prosody.c2s_port, ports={5280: prosody.http_port})


class Seen(list[str]):
    """The lines of a screen."""

    async def until(self, pattern: str) -> re.Match[str]:
        """Return where a line has it, once one does."""
        async with asyncio.timeout(60):
            while True:
                for line in self:
                    if found := re.search(pattern, line):
                        return found
                await asyncio.sleep(0.01)


@asynccontextmanager
async def talking(client: Client, to: JID | None) -> AsyncIterator[tuple[Talk, Seen]]:
    seen = Seen()
    talk = Talk(client, seen.append, to)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(talk.read())
        yield talk, seen
        reading.cancel()


async def test_two_people_talk_and_mean_each_others_messages(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        talking(alice, bob.jid.bare) as (her, she_sees),
        talking(bob, alice.jid.bare) as (his, he_sees),
    ):
        assert await her.type("hello\nBob")
        await she_sees.until(r"^#1 \d\d:\d\d you: hello\n  \| Bob$")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\): hello\n  \| Bob$")
        assert await his.type("/reply 1 hi")
        await she_sees.until(r"^#2 .* bob \(tofu\): \(to #1\) hi$")
        assert await her.type("/react 2 👍")
        await he_sees.until(r"^#2 \d\d:\d\d alice \(tofu\): 👍$")
        assert await her.type("/edit hello, Bob")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\) corrects: hello, Bob$")
        assert await her.type("/retract")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\) takes it back$")
        assert her.status.startswith("#1 ")
        assert await her.type("and")
        assert await her.type("more")
        assert re.fullmatch(r"#1 \w+, #3 \w+, #4 \w+", her.status)
        assert await her.type("still")
        assert re.fullmatch(r"#3 \w+, #4 \w+, #5 \w+", her.status)
        assert not await her.type("/quit")


async def test_what_cannot_be_done_is_said_and_ends_nothing(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        talking(alice, None) as (her, she_sees),
    ):
        for line, answer in (
            ("hello", "nobody would read it\n  Say whom first"),
            ("/nothing", "there is no command /nothing"),
            ("/to nobody", "nobody"),
            ("/reply 7 x", "there is no message 7 on the screen"),
            ("/edit x", "you have said nothing yet"),
            ("/retract", "that is no message of yours"),
            (f"/to ghost@{alice.jid.domain}", "You write to ghost@"),
            ("hello", "ghost@"),
            (f"/file {tmp_path}/gone", "gone"),
            ("/verify abc", "64 hex digits"),
            ("/timer soon", "not a duration"),
            ("/leave", "room"),
        ):
            she_sees.clear()
            assert await her.type(line)
            assert answer in "\n".join(she_sees), line
        she_sees.clear()
        assert await her.type("/help")
        assert len(she_sees) == len(COMMANDS) + 1


async def test_a_room_and_a_file(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    (tmp_path / "plan.txt").write_text("the plan")
    (tmp_path / "got").mkdir()
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        talking(alice, None) as (her, she_sees),
        talking(bob, None) as (his, he_sees),
    ):
        room = await alice.create_room(f"friends@muc.{alice.jid.domain}")
        await room.invite(bob.jid.bare)
        await her.type(f"/join {room.jid}")
        await his.type(f"/join {room.jid}")
        await her.type("/rooms")
        await she_sees.until(r"friends@muc.* 2 members$")
        await her.type("/who")
        await she_sees.until(r"^  bob@.*: tofu")
        await her.type(f"/file '{tmp_path}/plan.txt'")
        number = (await he_sees.until(r"plan.txt, 8 bytes: /save (\d+)\]"))[1]
        await his.type(f"/save {number} {tmp_path}/got")
        await he_sees.until("^Saved as ")
        assert (tmp_path / "got" / "plan.txt").read_text() == "the plan"
        await his.type("/leave")
        await he_sees.until("You have left friends@muc")
        assert his.to is None


async def test_nothing_that_comes_moves_the_terminal_or_forges_a_line(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    hostile = (
        "\x1b]0;title\x07\x1b[2J\r#9 12:00 bob: forged\n#9 12:00 bob: forged\u202e"
    )
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
        talking(alice, mallory.jid.bare) as (_, she_sees),
    ):
        await mallory.send(alice.jid, hostile)
        await she_sees.until("forged")
        (shown,) = [line for line in she_sees if "forged" in line]

    assert not set(shown) & {"\x1b", "\x07", "\r", "\u202e"}
    first, second = shown.split("\n")
    assert first.startswith("#1 ")
    assert second.startswith("  | ")


async def test_what_is_said_elsewhere_says_where(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        talking(alice, JID(f"carol@{alice.jid.domain}")) as (her, she_sees),
    ):
        await bob.send(alice.jid, "psst")
        await she_sees.until(rf"^#1 \d\d:\d\d {bob.jid.bare} \(tofu\): psst")
        assert her.status == "1 elsewhere"
        await her.type("/reply 1 what?")
        async with asyncio.timeout(60):
            answer = await anext(bob.messages())
        assert isinstance(answer, Message)
        assert answer.text == "what?"
        assert bob.jid.bare in her.addresses()
        assert her.status.startswith("#2 ")
        assert her.status.endswith(", 1 elsewhere")
        await her.type(f"/to {bob.jid.bare}")
        assert "elsewhere" not in her.status
