"""What stands beside the text: it survives the way, and nothing bad gets in."""

import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Content, TypingState
from xmpp_onion.session.content import read_content, write_content

XML_TEXT = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1
)
IDS = st.one_of(st.just(""), XML_TEXT.filter(lambda text: len(text) < 200))
TIMERS = st.integers(1, 366 * 86400).map(lambda n: timedelta(seconds=n))
EMOJIS = st.lists(XML_TEXT.filter(lambda t: len(t) < 33), max_size=20, unique=True)
ONION = OnionAddress.from_public_key(bytes(32))
NAMES = ["alice", "b%40b", "b+b", "\N{GREEK SMALL LETTER ALPHA}"]
MENTIONS = st.lists(st.sampled_from(NAMES), unique=True).map(
    lambda names: tuple(JID(f"{name}@{ONION}") for name in names)
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    reply_to, reacts_to = draw(IDS), draw(IDS)
    return Content(
        text=draw(st.none() | st.text()),
        reply_to=reply_to,
        author="bob@x.onion" if reply_to else "",
        corrects=draw(IDS),
        reacts_to=reacts_to,
        emojis=tuple(draw(EMOJIS)) if reacts_to else (),
        retracts=draw(IDS),
        received=draw(IDS),
        displayed=draw(IDS),
        typing=draw(st.none() | st.sampled_from(TypingState)),
        asks=draw(st.booleans()),
        markable=draw(st.booleans()),
        mentions=draw(MENTIONS),
        expires=draw(st.none() | TIMERS),
    )


@given(contents())
def test_every_content_survives_the_envelope(content: Content) -> None:
    sent = [ET.tostring(element) for element in write_content(content)]
    payload = [ET.fromstring(text) for text in sent]  # noqa: S314 - our own text

    assert read_content(content.text, payload) == content


def element(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text


@pytest.mark.parametrize(
    "payload",
    [
        ["<retract xmlns='urn:xmpp:message-retract:1'/>"],
        ["<retract xmlns='urn:xmpp:message-retract:1' id=''/>"],
        [f"<retract xmlns='urn:xmpp:message-retract:1' id='{'x' * 2000}'/>"],
        ["<retract xmlns='urn:xmpp:message-retract:1' id='a'/>"] * 2,
        ["<retract xmlns='other' id='a'/>"],
        ["<x><retract xmlns='urn:xmpp:message-retract:1' id='a'/></x>"],
        ["<reactions xmlns='urn:xmpp:reactions:0'><reaction>x</reaction></reactions>"],
        ["<dancing xmlns='http://jabber.org/protocol/chatstates'/>"],
    ],
)
def test_what_is_malformed_or_twice_says_nothing(payload: list[str]) -> None:
    assert read_content("hi", [element(text) for text in payload]) == Content(text="hi")


def timer(*values: str) -> timedelta | None:
    elements = [
        ET.Element("{urn:xmpp:ephemeral:0}ephemeral", {"timer": each})
        for each in values
    ]
    return read_content("hi", elements).expires


def test_a_timer_is_a_number_of_seconds_and_a_year_at_most() -> None:
    assert timer("1") == timedelta(seconds=1)
    for long in ("99999999", "9" * 5000):
        assert timer(long) == timedelta(days=366)
    for nothing in ("", "0", "000", "-1", "1.5", "1e3", "\u0661", "x"):
        assert timer(nothing) is None
    assert timer("1", "2") is None


def test_reactions_are_few_short_and_different() -> None:
    inside = "".join(f"<reaction>{number}</reaction>" for number in range(100))
    bad = f"<reaction/><reaction>{'x' * 1000}</reaction><reaction>0</reaction>"
    payload = element(
        f"<reactions xmlns='urn:xmpp:reactions:0' id='a'>{bad}{inside}</reactions>"
    )

    content = read_content(None, [payload])

    assert content.reacts_to == "a"
    assert content.emojis == tuple(str(number) for number in range(17))


REPLY = "<reply xmlns='urn:xmpp:reply:0' id='m1'/>"


def quoting(inside: str, of: str = "urn:xmpp:reply:0") -> str:
    return f"<fallback xmlns='urn:xmpp:fallback:0' for='{of}'>{inside}</fallback>"


def read_text(text: str, *payload: str) -> str | None:
    return read_content(text, [element(one) for one in payload]).text


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        ("0", "8", "yes"),
        ("3", "6", "> \U0001f60a?\nyes"),  # counted in characters, not in bytes
        ("8", "11", "> \U0001f60a he?\n"),
    ],
)
def test_what_a_reply_quotes_is_not_its_text(start: str, end: str, left: str) -> None:
    quote = quoting(f"<body start='{start}' end='{end}'/>")

    assert read_text("> \U0001f60a he?\nyes", REPLY, quote) == left


@pytest.mark.parametrize(
    "payload",
    [
        (quoting("<body start='0' end='2'/>"),),  # it answers nothing
        (REPLY, quoting("<body start='0' end='2'/>", of="urn:xmpp:reactions:0")),
        (REPLY, quoting("<body start='0' end='7'/>")),
        (REPLY, quoting("<body start='5' end='9'/>")),
        (REPLY, quoting("<body start='0' end='99'/>")),
        (REPLY, quoting("<body start='2' end='2'/>")),
        (REPLY, quoting("<body start='3' end='1'/>")),
        (REPLY, quoting("<body start='-1' end='2'/>")),
        (REPLY, quoting("<body start='0' end='\u0662'/>")),
        (REPLY, quoting(f"<body start='0' end='{'9' * 5000}'/>")),
        (REPLY, quoting("<body start='0'/>")),
        (REPLY, quoting("<body/>")),
        (REPLY, quoting("<subject start='0' end='2'/>")),
        (REPLY, quoting("<body start='0' end='1'/>" * 2)),
        (REPLY, *[quoting("<body start='0' end='2'/>")] * 2),
        (REPLY, "<fallback xmlns='other' for='urn:xmpp:reply:0'><body/></fallback>"),
    ],
)
def test_a_range_that_makes_no_sense_takes_no_text_away(
    payload: tuple[str, ...],
) -> None:
    assert read_text("> q\nyes", *payload) == "> q\nyes"


def test_who_asks_for_a_receipt_may_be_told_that_it_was_shown() -> None:
    content = Content(text="hi", asks=True, markable=True)
    tags = [element.tag for element in write_content(content)]

    assert tags == ["{urn:xmpp:receipts}request", "{urn:xmpp:chat-markers:0}markable"]


def test_no_content_is_in_the_repr() -> None:
    content = Content(text="canary", reacts_to="a", emojis=("canary",))

    assert "canary" not in repr(content)
