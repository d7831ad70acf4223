"""What a talk keeps in memory, however long it is and whoever comes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Message, NewDevice, RoomState
from xmpp_onion.cli.chat_talk import Talk, open_talk

ONION, OTHER = (OnionAddress.from_public_key(bytes([n]) * 32) for n in (0, 1))
ALICE, BOB = (JID(f"{name}@{ONION}") for name in ("alice", "bob"))
ROOM = JID(f"friends@muc.{ONION}")
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Paper(list[str]):
    show = list[str].append

    def show_mine(self, number: int, text: str) -> None:
        raise AssertionError((number, text))


class Quiet:
    """A client to whom nothing happens but what a test hands over."""

    def __init__(self, *rooms: RoomState) -> None:
        self.jid = ALICE
        self.is_away = False
        states = {room.jid: room for room in rooms}
        self.rooms = SimpleNamespace(all=lambda: rooms, state=states.get)
        self.notes = SimpleNamespace(load=self._load)

    async def _load(self, key: str) -> None:
        del key

    async def devices(self, jid: JID) -> tuple[()]:
        del jid
        return ()

    async def events(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield


def message(number: int, sender: JID, room: JID | None = None) -> Message:
    return Message(
        id=f"m{number}", sender=sender, to=ALICE, room=room, text=f"text {number}",
        namespace="urn:xmpp:omemo:2", device=7, fingerprint="ab" * 32, trust="verified",
        at=AT,
    )  # fmt: skip


async def test_a_long_talk_with_thousands_leaves_little_in_memory() -> None:
    paper = Paper()
    async with open_talk(Quiet(), paper, BOB) as talk:
        for number in range(10_000):
            person = BOB if number % 3 else JID(f"p{number % 3_001}x@{ONION}")
            talk.take(message(number, person))
            assert len(paper) == 1
            paper.clear()
        assert held(talk) <= 500 + 1_000 + 2_000
        assert talk.status.endswith(" elsewhere")


def held(talk: Talk) -> int:
    return len(list(talk.numbers)) + len(talk.unread) + len(talk.names._seen)


async def test_in_a_room_of_100_look_alikes_are_told_apart_and_all_are_completed() -> (
    None
):
    twins = [JID(f"bob@{ONION}"), JID(f"bob@{OTHER}")]
    members = frozenset({ALICE, *twins, *(JID(f"m{n}x@{ONION}") for n in range(100))})
    room = SimpleNamespace(jid=ROOM, members=members)
    paper = Paper()
    async with open_talk(Quiet(room), paper, ROOM) as talk:
        for sender in twins:
            talk.take(message(1, sender, ROOM))
        talk.take(message(2, JID(f"m7x@{ONION}"), ROOM))
        assert f" {twins[0]}: text 1" in paper[0]
        assert f" {twins[1]}: text 1" in paper[1]
        assert " m7x: text 2" in paper[2]
        assert set(members) - {ALICE} <= set(talk.addresses())


async def test_a_new_device_says_in_one_line_what_to_do() -> None:
    paper = Paper()
    new = NewDevice(
        sender=BOB, device=9, fingerprint="cd" * 32, trust="undecided", own=False, at=AT
    )
    async with open_talk(Quiet(), paper, BOB) as talk:
        talk.take(new)
        talk.go_to(None)
        talk.take(new)
    assert paper[0].endswith("bob has a new device 9, undecided: /verify compares it]")
    assert paper[1].endswith(f"undecided: /to {BOB}, then /verify compares it]")
    assert "\n" not in "".join(paper)
