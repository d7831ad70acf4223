"""A talk in a terminal, without the terminal: what is shown, and what a line does."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Message, Trust
from xmpp_onion.address import JID
from xmpp_onion.chat import TypingState
from xmpp_onion.cli.chat_commands import do
from xmpp_onion.cli.chat_talk import Talk, open_talk
from xmpp_onion.cli.chat_words import COMMANDS
from xmpp_onion.server import Prosody
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    return LoopbackDialer(prosody.c2s_port, ports={5280: prosody.http_port})


class Seen(list[str]):
    """The lines of a screen; those of one's own are marked where they stand."""

    def __init__(self) -> None:
        super().__init__()
        self._mine: dict[int, int] = {}

    show = list[str].append

    def show_mine(self, number: int, text: str) -> None:
        self._mine[number] = len(self)
        self.append(text)

    def mark(self, number: int, head: str, otherwise: Callable[[], None]) -> None:
        if number not in self._mine:
            otherwise()
            return
        at = self._mine[number]
        self[at] = head + self[at][len(head) :]

    def scroll_away(self) -> None:
        """Let no line that stands there be marked any more."""
        self._mine.clear()

    async def until(self, pattern: str) -> re.Match[str]:
        """Return where a line has it, once one does."""
        async with asyncio.timeout(60):
            while True:
                for line in self:
                    if found := re.search(pattern, line):
                        return found
                await asyncio.sleep(0.01)


class Typist:
    """Types into a talk."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    async def type(self, line: str) -> bool:
        return await do(self.talk, line)


@asynccontextmanager
async def couple(
    enrol: Enrol, wire: LoopbackDialer
) -> AsyncIterator[tuple[Client, Client]]:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        yield alice, bob


@asynccontextmanager
async def talking(client: Client, to: JID | None) -> AsyncIterator[tuple[Typist, Seen]]:
    seen = Seen()
    async with open_talk(client, seen, to) as talk:
        yield Typist(talk), seen


async def test_two_people_talk_and_mean_each_others_messages(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        couple(enrol, wire) as (alice, bob),
        talking(alice, bob.jid.bare) as (her, she_sees),
        talking(bob, alice.jid.bare) as (his, he_sees),
    ):
        assert await her.type("hello\nBob")
        await until(lambda: her.talk.belief.word == "tofu")
        await she_sees.until(r"^#1 \d\d:\d\d ✓+ *you: hello\n  \| Bob$")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\): hello\n  \| Bob$")
        assert await his.type("/reply 1 hi")
        await she_sees.until(r"^#2 .* bob \(tofu\): \(to #1\) hi$")
        assert await her.type("/react 2 👍")
        await he_sees.until(r"^#2 \d\d:\d\d alice \(tofu\) reacts: 👍$")
        assert await her.type("/edit hello, Bob")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\) corrects: hello, Bob$")
        assert await her.type("/retract")
        await he_sees.until(r"^#1 \d\d:\d\d alice \(tofu\) takes it back$")
        assert her.talk.status.startswith("#1 ")
        assert await her.type("and")
        assert await her.type("more")
        assert re.fullmatch(r"#1 .+, #3 .+, #4 .+", her.talk.status)
        assert await her.type("still")
        assert re.fullmatch(r"#3 .+, #4 .+, #5 .+", her.talk.status)
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
        assert len(she_sees) == len(COMMANDS) + 2


async def test_a_room_and_a_file(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    (tmp_path / "plan.txt").write_text("the plan")
    (tmp_path / "got").mkdir()
    async with (
        couple(enrol, wire) as (alice, bob),
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
        assert his.talk.to is None


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
        couple(enrol, wire) as (alice, bob),
        talking(alice, JID(f"carol@{alice.jid.domain}")) as (her, she_sees),
    ):
        await bob.send(alice.jid, "psst")
        await she_sees.until(rf"^#1 \d\d:\d\d {bob.jid.bare} \(tofu\): psst")
        assert her.talk.status.startswith("1 from bob@")
        await her.type("/reply 1 what?")
        async with asyncio.timeout(60):
            answer = await anext(bob.messages())
        assert isinstance(answer, Message)
        assert answer.text == "what?"
        assert bob.jid.bare in her.talk.addresses()
        assert her.talk.status.startswith("#2 ")
        assert her.talk.status.endswith("…")
        await her.type(f"/to {bob.jid.bare}")
        assert "from" not in her.talk.status


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def befriend(one: Client, other: Client) -> None:
    await one.add_contact(other.jid.bare)
    async with asyncio.timeout(60):
        while not (await other.requests()).waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    await other.accept_contact(one.jid.bare)
    await until(
        lambda: one._is_friend(other.jid.bare) and other._is_friend(one.jid.bare)
    )


async def test_a_line_tells_how_far_it_has_come_where_it_stands_or_in_one_of_its_own(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        couple(enrol, wire) as (alice, bob),
    ):
        await befriend(alice, bob)
        async with (
            talking(alice, bob.jid.bare) as (her, she_sees),
            talking(bob, alice.jid.bare) as (his, he_sees),
        ):
            assert await her.type("hello")
            await she_sees.until(r"^#1 \d\d:\d\d ✓    you: hello$")
            await he_sees.until("hello")
            # Nobody is told what was shown unless the person wants that.
            assert his.talk.courtesy._shown == {}
            await his.type("/seen")
            await he_sees.until("^Contacts may not see what you were shown")
            await his.type("/seen on")
            await he_sees.until("^Contacts may see what you were shown")
            await her.type("and more")
            await she_sees.until(r"^#2 \d\d:\d\d ✓✓✓  you: and more$")
            # One word stands for what was shown before.
            assert her.talk.status == "#1 ✓✓✓, #2 ✓✓✓"

            await her.type("scrolled away")
            she_sees.scroll_away()
            await she_sees.until("^✓✓✓ displayed: #3 scrolled away$")


async def test_who_writes_is_seen_only_where_both_sides_want_that(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        couple(enrol, wire) as (alice, bob),
    ):
        await befriend(alice, bob)
        async with (
            talking(alice, bob.jid.bare) as (her, _),
            talking(bob, alice.jid.bare) as (his, he_sees),
        ):
            told: list[str] = []

            async def tell(to: str, state: TypingState, **_: object) -> None:
                told.append(f"{state}")
                await Client.tell_typing(alice, to, state)

            alice.tell_typing = tell
            her.talk.courtesy.typed(bob.jid.bare, "he")
            assert told == []  # she does not want that
            await her.type("/typing on")
            her.talk.courtesy.typed(bob.jid.bare, "hel")
            await asyncio.sleep(0)
            assert told in ([], ["active"])  # he has not said that he does
            await his.type("/typing on")
            await until(lambda: bob.jid.bare in her.talk.courtesy._willing)
            her.talk.courtesy.typed(bob.jid.bare, "/verify")
            her.talk.courtesy.typed(bob.jid.bare, "hello")
            her.talk.courtesy.typed(bob.jid.bare, "hello B")
            await until(lambda: "alice writes…" in his.talk.status)
            assert told == ["active", "composing"]
            await her.type("hello Bob")
            await he_sees.until("hello Bob")
            assert "writes" not in his.talk.status
            # It is kept for the next talk.
            assert await alice.notes.load("chat typing") == "on"
            await her.type("/typing off")
            assert await alice.notes.load("chat typing") is None


async def test_a_device_is_believed_when_its_last_groups_are_typed(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice", Trust.MANUAL), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        talking(alice, bob.jid.bare) as (her, she_sees),
        talking(bob, alice.jid.bare) as (his, he_sees),
    ):
        await her.type("hello")
        await she_sees.until("trust verify")
        await her.type("/verify")
        await she_sees.until(r"^  ([0-9a-f]{8} ){6}\?{8} \?{8}  undecided$")
        assert not [line for line in she_sees[1:] if bob.fingerprint[-8:] in line]
        await her.type("/verify 00000000 00000000")
        await she_sees.until("^! no device of bob@.* ends so, and nothing was changed")
        await his.type("/trust")
        own = await he_sees.until(r"^  ([0-9a-f ]{71})  this device of yours$")
        await her.type(f"/verify {own[1][-17:]}")
        await she_sees.until("^You believe ")
        assert await her.type("hello")
        await he_sees.until("alice .*: hello$")


async def test_a_room_is_made_filled_and_looked_at(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        couple(enrol, wire) as (alice, bob),
        talking(alice, None) as (her, she_sees),
        talking(bob, None) as (his, he_sees),
    ):
        await her.type("/room create friends")
        await she_sees.until("^You write to friends@muc")
        await her.type(f"/room invite {bob.jid.bare}")
        await she_sees.until("^Invited: bob@")
        await he_sees.until("invites you")
        await his.type("/room")
        room = (await he_sees.until("invited: /join (friends@muc.*)$"))[1]
        await her.type("/room members")
        await she_sees.until(r"^  bob@.* \(member, away\)$")
        await his.type(f"/room join {room}")
        await his.type("hello all")
        await she_sees.until(r"bob \(tofu\): hello all$")
        await he_sees.until(r"^#1 \d\d:\d\d ✓✓   you: hello all$")
        await her.type(f"/room kick {bob.jid.bare}")
        await he_sees.until("you are out")


async def test_what_is_typed_wrong_says_how_it_is_used(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no sound")
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        talking(alice, None) as (her, she_sees),
    ):
        for line, answer in (
            ("/room invite", "/room"),
            ("/room invite bob", "you are in no room here|nobody would read it"),
            ("/room fly away", "/room"),
            ("/trust blindly", "there is no such policy"),
            ("/typing maybe", "/typing"),
            ("/seen no", "/seen"),
            ("/voice", "/voice"),
            ("/voice /nowhere", "nobody would read it|No such file"),
            ("/play", "/play"),
            ("/play 7", "no message 7"),
            ("/contacts add", "/contacts"),
            ("/contacts eat bob@x", "/contacts"),
            ("/devices", "nobody would read it"),
            ("/verify", "nobody would read it"),
            ("/to 'x", "a quote is not closed"),
            ("/trust", "this device of yours"),
            (f"/to {alice.jid.bare}", "You write to"),
            (f"/voice {tmp_path}", "directory"),
            (f"/file {tmp_path}", "directory"),
        ):
            she_sees.clear()
            assert await her.type(line)
            assert re.search(answer, "\n".join(she_sees)), (line, she_sees)


async def test_without_a_connection_lines_wait_on_the_disk_and_go_out_in_order(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=LoopbackDialer(wire.port)) as bob,
        talking(alice, bob.jid.bare) as (her, she_sees),
        talking(bob, alice.jid.bare) as (_, he_sees),
    ):
        await her.type("before")
        await she_sees.until("✓    you: before$")
        wire.refusing = True
        wire.cut()
        await until(lambda: alice.is_away)
        # Nobody waits for a server to type on, and each line says where it is.
        for text in ("one", "two"):
            await her.type(text)
            await she_sees.until(rf"^#\d \d\d:\d\d ·    you: {text}$")
        assert her.talk.is_away
        wire.refusing = False
        for text in ("one", "two"):
            await she_sees.until(rf"^#\d \d\d:\d\d ✓    you: {text}$")
            await he_sees.until(f": {text}$")
        said = [line.rpartition(": ")[2] for line in he_sees]
        assert said == ["before", "one", "two"]


async def test_what_the_disk_does_not_take_is_said_and_the_talk_goes_on(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        couple(enrol, wire) as (alice, bob),
        talking(alice, bob.jid.bare) as (her, she_sees),
    ):
        await her.type("before")
        (row,) = await alice._database.fetch("PRAGMA page_count")
        await alice._database.fetch(f"PRAGMA max_page_count = {row['page_count']}")
        for _ in range(50):
            assert await her.type("x" * 20_000)
            if any(line.startswith("! ") for line in she_sees):
                break
        await she_sees.until("^! .*(full|disk|written)")
        await alice._database.fetch("PRAGMA max_page_count = 1000000")
        await her.type("after")
        await she_sees.until("✓    you: after$")
