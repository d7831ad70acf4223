"""Which messages are meant."""

import pytest

from xmpp_onion.bot import (
    Bot,
    Context,
    Filter,
    affiliation,
    direct,
    from_,
    has_file,
    regex,
    role,
    room,
    trusted,
)
from xmpp_onion.chat import Affiliation, Attachment
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.errors import InvalidJIDError
from xmpp_onion.testing import FakeServer
from xmpp_onion.testing.fake_world import ONION

ALICE = f"alice@{ONION}"


async def heard_by(when: Filter) -> list[str]:
    """Return which of some messages a filter lets through."""
    bot = Bot("test", trust=Trust.TOFU, roles={"admin": {ALICE}})
    heard = []

    @bot.message(when)
    async def listen(ctx: Context) -> None:
        heard.append(ctx.message.text)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        bob = server.user("bob", trust=TrustLevel.BLINDLY_TRUSTED)
        friends = server.room(
            "friends", {alice: Affiliation.OWNER, bob: Affiliation.MEMBER}
        )
        await alice.send("alice")
        await bob.send("bob")
        await alice.send("alice in the room", room=friends)
        await bob.send("bob in the room", room=friends)
        await bob.send("bob's file", file=Attachment(url="aesgcm://…"))
    return heard


@pytest.mark.parametrize(
    ("when", "heard"),
    [
        (direct, ["alice", "bob", "bob's file"]),
        (room, ["alice in the room", "bob in the room"]),
        (trusted, ["alice", "alice in the room"]),
        (has_file, ["bob's file"]),
        (from_(ALICE + "/phone"), ["alice", "alice in the room"]),
        (regex("^bob") & direct, ["bob", "bob's file"]),
        (role("admin"), ["alice", "alice in the room"]),
        (role("nobody"), []),
        (affiliation(Affiliation.OWNER), ["alice in the room"]),
        (
            affiliation(Affiliation.OWNER, Affiliation.MEMBER),
            ["alice in the room", "bob in the room"],
        ),
        (~room & ~trusted, ["bob", "bob's file"]),
        (has_file | role("admin"), ["alice", "alice in the room", "bob's file"]),
    ],
    ids=repr,
)
async def test_a_filter_lets_through_what_it_says(
    when: Filter, heard: list[str]
) -> None:
    assert await heard_by(when) == heard


def test_a_filter_says_what_it_is() -> None:
    assert repr(room & ~(trusted | regex("a"))) == "(room & ~(trusted | regex('a')))"


def test_who_is_nobody_cannot_be_named() -> None:
    with pytest.raises(InvalidJIDError):
        from_("alice")


async def test_what_was_found_is_at_hand() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.message(regex(r"(\d+) apples"))
    async def apples(ctx: Context) -> str:
        assert ctx.found is not None
        return ctx.found[1]

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("give me 12 apples")
        assert alice.last == "12"
