"""The envelope: what is in it, what is hidden, and what is refused."""

import traceback
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee import Plain
from xmpp_onion.e2ee.envelope import read_envelope, write_envelope
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import ONION

ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
REPLY = "<reply xmlns='urn:xmpp:reply:0' to='x' id='1'/>"
FROM, TO = f"<from jid='{ALICE}'/>", f"<to jid='{BOB}'/>"


def write(plain: Plain) -> bytes:
    return write_envelope(plain, sender=ALICE, to=BOB, now=NOW)


def read(data: bytes, *, is_room: bool = False) -> Plain:
    return read_envelope(data, sender=ALICE, to=BOB, is_room=is_room)


def envelope(
    content: str = "<body xmlns='jabber:client'>CANARY</body>",
    affixes: str = FROM + TO,
) -> bytes:
    return (
        f"<envelope xmlns='urn:xmpp:sce:1'><content>{content}</content>"
        f"{affixes}<rpad>x</rpad></envelope>"
    ).encode()


def test_content_does_not_show_itself() -> None:
    plain = Plain("CANARY", (ET.Element("CANARY"),))

    assert "CANARY" not in repr(plain)


@given(st.text(), st.integers(0, 3))
def test_what_was_written_is_read(text: str, number: int) -> None:
    payload = tuple(ET.fromstring(REPLY) for _ in range(number))  # noqa: S314 - the test's own text

    got = read(write(Plain(text, payload)))

    forbidden = [*map(chr, range(9)), "\x0b", "\x0c", *map(chr, range(0x0E, 0x20))]
    expected = text
    for character in (*forbidden, "\ufffe", "\uffff"):
        expected = expected.replace(character, "\ufffd")
    assert got.text == expected
    assert [(one.tag, one.attrib) for one in got.payload] == [
        ("{urn:xmpp:reply:0}reply", {"to": "x", "id": "1"})
    ] * number


def test_a_message_without_text_has_none() -> None:
    assert read(write(Plain(None))) == Plain(None)
    assert read(write(Plain(""))) == Plain("")


@pytest.mark.parametrize(
    ("length", "size"),
    [(1, 512), (150, 512), (300, 1024), (5_000, 8192), (17_000, 32768)],
)
def test_the_length_tells_little(length: int, size: int) -> None:
    assert len(write(Plain("x" * length))) == size


def test_the_padding_is_never_the_same() -> None:
    assert write(Plain("yes")) != write(Plain("yes"))


def test_a_full_jid_names_its_account() -> None:
    affixes = f"<from jid='{ALICE}/phone'/><to jid='{BOB}/phone'/>"

    assert read(envelope(affixes=affixes)).text == "CANARY"


def test_names_of_before_a_move_count_as_those_of_now() -> None:
    old = JID(f"alice@{OnionAddress.from_public_key(bytes(32))}").domain
    rooms = JID(f"friends@muc.{ONION}")
    before = [JID(each.replace(ONION, old)) for each in (ALICE, BOB, rooms)]
    was = [
        write_envelope(Plain("hi"), sender=before[0], to=to, now=NOW)
        for to in before[1:]
    ]
    former = {old: ONION}

    said = read_envelope(was[0], sender=ALICE, to=BOB, former=former)
    in_room = read_envelope(was[1], sender=ALICE, to=rooms, is_room=True, former=former)

    assert (said.text, in_room.text) == ("hi", "hi")
    for names in ({}, {ONION: old}, {"another.onion": ONION}):
        with pytest.raises(DecryptionError):
            read_envelope(was[0], sender=ALICE, to=BOB, former=names)
    with pytest.raises(DecryptionError):  # of somebody else at the same server
        read_envelope(was[0], sender=BOB, to=ALICE, former=former)


def test_between_two_people_the_recipient_may_be_left_out() -> None:
    assert read(envelope(affixes=FROM)).text == "CANARY"

    with pytest.raises(DecryptionError, match="for somebody else"):
        read(envelope(affixes=FROM), is_room=True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "malformed"),
        (b"CANARY", "malformed"),
        (b"<CANARY", "malformed"),
        (b"\xff\xfeCANARY", "malformed"),
        (envelope().decode().encode("utf-16"), "malformed"),
        (envelope() + b"<more/>", "malformed"),
        (envelope("<body xmlns='jabber:client'>CANARY\x00</body>"), "malformed"),
        (envelope("<body xmlns='jabber:client'>CANARY\xed\xa0\x80</body>")
         .replace("\xed\xa0\x80".encode(), b"\xed\xa0\x80"), "malformed"),
        (b"<!DOCTYPE x [<!ENTITY a 'CANARY'>]>" + envelope(), "malformed"),
        (b"<?CANARY ?>" + envelope(), "malformed"),
        (envelope("<!-- CANARY -->"), "malformed"),
        (envelope("<a>" * 20 + "CANARY" + "</a>" * 20), "malformed"),
        (envelope("<a>CANARY</a>" * 600), "malformed"),
        (envelope("<a>CANARY</a>" * 33), "beside its text"),
        (envelope(f"<a>CANARY{'x' * 70_000}</a>"), "beside its text"),
        (envelope(f"<body xmlns='jabber:client'>{'CANARY' * 100_000}</body>"), "long"),
        (b"<body xmlns='jabber:client'>CANARY</body>", "no envelope"),
        (envelope().replace(b"sce:1", b"sce:0"), "no envelope"),
        (envelope().replace(b"content>", b"contents>"), "no envelope"),
        (envelope(affixes=TO), "name its sender"),
        (envelope(affixes=f"<from jid='{BOB}'/>{TO}"), "name its sender"),
        (envelope(affixes=f"{FROM}<from jid='{BOB}'/>{TO}"), "name its sender"),
        (envelope(affixes=f"<from jid='a@CANARY@'/>{TO}"), "name its sender"),
        (envelope(affixes=f"<from/>{TO}"), "name its sender"),
        (envelope(affixes=f"{FROM}<to jid='{ALICE}'/>"), "for somebody else"),
        (envelope(affixes=f"{FROM}{TO}<to jid='{ALICE}'/>"), "for somebody else"),
        (envelope(affixes=f"{FROM}<to/>"), "for somebody else"),
        (envelope(affixes=f"{FROM}{TO}<time stamp='CANARY'/>"), "time in its envelope"),
        (envelope(affixes=f"{FROM}{TO}<time/>"), "time in its envelope"),
    ],
)  # fmt: skip
def test_what_is_refused_shows_nothing_of_its_content(data: bytes, why: str) -> None:
    with pytest.raises(DecryptionError, match=why) as caught:
        read(data)

    assert "CANARY" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("year", [1, 1970, 2000, 2026, 2040, 9999])
def test_no_clock_is_so_wrong_that_a_message_is_refused(year: int) -> None:
    affixes = f"{FROM}{TO}<time stamp='{year:04}-01-01T00:00:05Z'/>"

    assert read(envelope(affixes=affixes)).text == "CANARY"


BODIES = "".join(
    f"<body xmlns='jabber:client'{lang}>{text}</body>"
    for lang, text in (
        (" xml:lang='fr'", "bonjour"),
        ("", "hello"),
        (" xml:lang='de-AT'", "servus"),
        (" xml:lang='de-AT'", "baba"),
    )
)


@pytest.mark.parametrize(
    ("languages", "text"),
    [
        ((), "hello"),
        (("de",), "servus"),
        (("sv", "fr-ca"), "bonjour"),
        (("sv",), "hello"),
    ],
)
def test_of_several_languages_the_one_that_is_read_is_taken_and_else_the_default(
    languages: tuple[str, ...], text: str
) -> None:
    plain = read_envelope(
        envelope(BODIES + REPLY), sender=ALICE, to=BOB, languages=languages
    )

    assert plain.text == text
    assert [one.tag for one in plain.payload] == ["{urn:xmpp:reply:0}reply"]


def test_without_a_default_the_first_language_is_taken() -> None:
    both = BODIES.replace("<body xmlns='jabber:client'>hello</body>", "")
    assert read(envelope(both)).text == "bonjour"
