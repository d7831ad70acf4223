import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.cli.chat_belief import Belief
from xmpp_onion.errors import DeviceListError

ONION = OnionAddress.from_public_key(bytes(32))
BOB, EVE, ROOM = (JID(f"{name}@{ONION}") for name in ("bob", "eve", "room"))


class People:
    """A client whose people have devices with these words; some are not active."""

    def __init__(self, **words: str) -> None:
        self.words = words
        self.asked: list[JID] = []
        known = {ROOM: object()}
        self.rooms = SimpleNamespace(state=known.get)

    async def fail(self, jid: JID) -> list[SimpleNamespace]:
        del jid
        raise DeviceListError("no answer")

    async def devices(self, jid: JID) -> list[SimpleNamespace]:
        self.asked.append(jid)
        return [
            SimpleNamespace(
                active=not word.startswith("-"),
                trust=SimpleNamespace(word=word.removeprefix("-")),
            )
            for word in self.words.get(jid.local, "").split()
        ]


@asynccontextmanager
async def looking(people: People) -> AsyncIterator[tuple[Belief, list[str]]]:
    """Yield a belief that looks, and each word that it came to."""
    words: list[str] = []
    belief = Belief(people, lambda: words.append(belief.word))  # type: ignore[arg-type] # as much of a client as it asks
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(belief.run())
        yield belief, words
        running.cancel()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ("verified", "verified"),
        ("verified tofu", "tofu"),
        ("tofu undecided verified", "undecided"),
        ("verified -undecided", "verified"),
        ("verified distrusted", "distrusted"),
        ("", ""),
    ],
)
async def test_the_word_is_that_of_the_device_that_is_believed_least(
    words: str, word: str
) -> None:
    async with looking(People(bob=words)) as (belief, told):
        belief.look(BOB)
        await turns()
    assert told == [word]


async def test_nobodys_word_is_taken_for_that_of_whom_one_writes_to_now() -> None:
    async with looking(People(bob="verified", eve="undecided")) as (belief, told):
        belief.look(BOB)
        belief.look(EVE)
        assert belief.word == ""
        await turns()
        assert belief.word == "undecided"
        belief.look(ROOM)
        assert belief.word == ""
        belief.look(None)
        await turns()
        assert belief.word == ""
    assert told == ["undecided"]


async def test_what_is_known_is_not_asked_for_with_each_message() -> None:
    people = People(bob="tofu")
    async with looking(people) as (belief, _):
        for _ in range(3):
            belief.look_if_unknown(BOB)
            await turns()
    assert people.asked == [BOB]


async def test_who_does_not_answer_is_no_error_and_is_asked_again() -> None:
    people = People(bob="tofu")
    right, people.devices = people.devices, people.fail  # type: ignore[method-assign] # as a network does
    async with looking(people) as (belief, _):
        belief.look(BOB)
        await turns()
        assert belief.word == ""
        people.devices = right  # type: ignore[method-assign] # it is back
        belief.look_if_unknown(BOB)
        await turns()
        assert belief.word == "tofu"
