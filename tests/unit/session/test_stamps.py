import asyncio
import hashlib
import threading
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import StampError
from xmpp_onion.session.stamps import STAMP, Stamps, make_nonce, read_price

HOME = OnionAddress.from_public_key(b"\x01" * 32)
AWAY = OnionAddress.from_public_key(b"\x02" * 32)
ALICE, BOB = JID(f"alice@{HOME}"), JID(f"bob@{AWAY}")


class Server:
    """Answers, and counts who asks."""

    def __init__(self, bits: int | None) -> None:
        self.asked: list[str] = []
        self.bits = bits

    async def ask(self, domain: str) -> int | None:
        self.asked.append(domain)
        return self.bits


def stamps(bits: int | None) -> tuple[Stamps, Server]:
    server = Server(bits)
    return Stamps(ALICE, server.ask), server


def zeros(stamp: ET.Element, to: JID) -> int:
    text = "\n".join(
        (
            "urn:xmpp-onion:stamp:0",
            ALICE,
            to,
            stamp.attrib["day"],
            stamp.attrib["nonce"],
        )
    )
    digest = hashlib.sha256(text.encode()).digest()
    return 256 - int.from_bytes(digest).bit_length()


async def test_a_stranger_gets_a_stamp_of_what_their_server_asks() -> None:
    book, server = stamps(12)

    (stamp,) = await book.get(BOB)

    assert zeros(stamp, BOB) >= 12
    assert server.asked == [AWAY]


async def test_one_stamp_and_one_question_do_for_the_day() -> None:
    book, server = stamps(8)

    first, second = await book.get(BOB), await book.get(JID(f"{BOB}/phone"))
    (other,) = await book.get(JID(f"carol@{AWAY}"))

    assert first[0].attrib == second[0].attrib
    assert other.attrib["nonce"] != first[0].attrib["nonce"]
    assert server.asked == [AWAY]


async def test_contacts_neighbours_and_servers_cost_nothing() -> None:
    book, server = stamps(8)
    book.known = frozenset({BOB})

    for to in (JID(f"{BOB}/phone"), JID(f"carol@{HOME}"), JID(AWAY)):
        assert await book.get(to) == ()
    assert server.asked == []


@pytest.mark.parametrize(
    "bits", [None, "", "0", "-1", "x", "1e3", "\u0663", "1000000", " 1"]
)
def test_what_names_no_price_costs_nothing(bits: str | None) -> None:
    stamp = ET.Element(STAMP, {} if bits is None else {"bits": bits})

    assert read_price(stamp) == 0
    assert read_price(None) == 0
    assert read_price(ET.Element(STAMP, {"bits": "18"})) == 18


async def test_a_server_that_asks_for_nothing_is_not_asked_again() -> None:
    book, server = stamps(0)

    assert await book.get(BOB) == ()
    assert await book.get(BOB) == ()
    assert server.asked == [AWAY]


async def test_a_server_that_was_silent_is_asked_again() -> None:
    book, server = stamps(None)

    assert await book.get(BOB) == ()
    server.bits = 4
    assert len(await book.get(BOB)) == 1


async def test_a_server_that_wants_our_computer_does_not_get_it() -> None:
    book, _ = stamps(25)

    with pytest.raises(StampError, match="25 bits"):
        await book.get(BOB)


async def test_nobody_computes_for_who_has_gone() -> None:
    before = threading.active_count()
    given_up = threading.Event()
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(
            asyncio.to_thread(make_nonce, "head", 64, given_up), name="work"
        )
        await asyncio.sleep(0)
        given_up.set()

    assert work.result() == ""
    assert threading.active_count() <= before + 1  # of the pool, idle


async def test_who_gives_up_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    begun = threading.Event()

    def work(head: str, bits: int, given_up: threading.Event) -> str:
        begun.set()
        nonce = make_nonce(head, bits + 64, given_up)  # for ever
        ended.set()
        return nonce

    monkeypatch.setattr("xmpp_onion.session.stamps.make_nonce", work)
    book, _ = stamps(20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await book.get(BOB)

    assert not begun.is_set() or await asyncio.to_thread(ended.wait, 60)
