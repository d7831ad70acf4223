"""What is not believed reaches one handler, bounded, and no answer in the clear."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.bot import Bot, Router, Untrusted
from xmpp_onion.bot.untrusted import Doubt, read_doubt
from xmpp_onion.chat import Affiliation, Message, Undecryptable
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.testing import FakeServer

ONION = OnionAddress.from_public_key(bytes(32))
Crypto = Literal["none", "real"]


@pytest.fixture
def bot() -> Bot:
    bot = Bot("test", trust=Trust.MANUAL)

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    @bot.command
    async def open_() -> str:
        raise AssertionError("nobody may")

    return bot


@pytest.fixture
def seen(bot: Bot) -> list[Untrusted]:
    """What its handler gets; it answers everything."""
    seen: list[Untrusted] = []

    @bot.untrusted
    async def knock(who: Untrusted) -> str:
        seen.append(who)
        return "who are you?"

    return seen


@pytest.mark.parametrize("crypto", ["none", "real"])
async def test_an_undecided_device_reaches_this_handler_alone_and_gets_nothing(
    bot: Bot, seen: list[Untrusted], crypto: Crypto
) -> None:
    async with FakeServer(bot, crypto=crypto) as server:
        mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
        eve = server.user("eve", trust=TrustLevel.DISTRUSTED)
        await mallory.send("!open")
        await eve.send("!open")
        assert [(who.sender, who.doubt, who.text) for who in seen] == [
            (mallory.jid, Doubt.UNDECIDED, "!open")
        ]
        assert len(seen[0].fingerprint) == 64
        assert seen[0].device
        assert mallory.inbox == eve.inbox == []


@pytest.mark.parametrize("crypto", ["none", "real"])
async def test_who_sends_plaintext_is_answered_encrypted_and_not_read(
    bot: Bot, seen: list[Untrusted], crypto: Crypto
) -> None:
    async with FakeServer(bot, crypto=crypto) as server:
        alice = server.user("alice")
        await alice.send_plain("!open")
        assert [(who.sender, who.doubt, who.text) for who in seen] == [
            (alice.jid, Doubt.PLAINTEXT, "")
        ]
        assert alice.inbox == ["who are you?"]  # she has a device that is accepted
        await alice.send("hi")
        assert alice.last == "hi"
        assert len(seen) == 1


async def test_plaintext_in_a_room_names_the_room_and_no_person(
    bot: Bot, seen: list[Untrusted]
) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send_plain("hi", room=friends)
        assert [(who.sender, who.room) for who in seen] == [(friends.jid, friends.jid)]
        assert alice.inbox == ["who are you?"]


async def test_without_the_handler_nothing_of_it_is_handled(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
        await alice.send_plain("hi")
        await mallory.send("hi")
        health = await bot.health()
        assert (health.counts.unreadable, health.counts.ignored) == (1, 1)
        assert alice.inbox == mallory.inbox == []


async def test_each_sender_has_a_share_and_all_of_them_one(
    bot: Bot, seen: list[Untrusted]
) -> None:
    async with FakeServer(bot) as server:
        for number in range(12):
            eve = server.user(f"eve{number}", trust=TrustLevel.UNDECIDED)
            for _ in range(8):
                await eve.send("let me in")
        senders = [who.sender for who in seen]
        assert max(map(senders.count, senders)) == 6
        assert len(seen) == 60
        await server.advance("1m")
        await eve.send("and now?")
        assert len(seen) == 61


async def test_a_handler_that_hangs_over_strangers_holds_up_nobody_known(
    bot: Bot,
) -> None:
    @bot.untrusted
    async def knock(own: Bot) -> None:
        await own.clock.sleep(3600)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        for number in range(20):
            eve = server.user(f"eve{number}", trust=TrustLevel.UNDECIDED)
            await eve.send("let me in")
        await alice.send("hi")
        assert alice.last == "hi"


async def test_one_that_raises_harms_nobody(bot: Bot) -> None:
    @bot.untrusted
    async def knock(who: Untrusted) -> None:
        raise LookupError(who.text)

    async with FakeServer(bot) as server:
        mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
        await mallory.send("hi")
        assert (await bot.health()).counts.failed == 1
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"


async def test_what_a_server_says_in_the_clear_ends_nothing(
    bot: Bot, seen: list[Untrusted]
) -> None:
    async with FakeServer(bot) as server:
        event = plaintext(sender=JID(server.jid.domain))
        await server.tell(event)
        assert len(seen) == 1


def plaintext(sender: JID) -> Undecryptable:
    now = datetime.now(UTC)
    return Undecryptable(id="1", sender=sender, reason="?", at=now, plaintext=True)


def test_what_cannot_be_read_for_other_reasons_is_none_of_it() -> None:
    other = Undecryptable(
        id="1", sender=JID(f"alice@{ONION}"), reason="?", at=datetime.now(UTC)
    )
    assert read_doubt(other) is None


async def test_what_the_bot_writes_elsewhere_is_none_of_it(
    bot: Bot, seen: list[Untrusted]
) -> None:
    async with FakeServer(bot) as server:
        await server.tell(plaintext(sender=server.jid))
        assert seen == []


def test_its_text_is_cut_and_not_in_its_repr() -> None:
    message = Message(
        id="1",
        sender=JID(f"eve@{ONION}"),
        to=JID(f"bot@{ONION}"),
        namespace="urn:xmpp:omemo:2",
        device=1,
        fingerprint="0" * 64,
        trust="undecided",
        at=datetime.now(UTC),
        text="secret" * 1000,
    )
    found = read_doubt(message)
    assert found is not None
    assert len(found.text) == 1_000
    assert "secret" not in repr(found)


def test_there_is_one_such_handler(bot: Bot, seen: list[Untrusted]) -> None:
    router = Router()

    @router.untrusted
    async def knock(who: Untrusted) -> None: ...

    assert seen == []
    with pytest.raises(ValueError, match="already"):
        bot.include(router)
    empty = Bot("empty", trust=Trust.PINNED)
    empty.include(router)
    assert empty.stranger_handler is not None


async def test_it_gets_no_context_to_answer_with() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.untrusted
    async def knock(msg: Message) -> None: ...

    with pytest.raises(TypeError, match="wants a Message"):
        bot.check()
