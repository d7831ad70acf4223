import xml.etree.ElementTree as ET
from collections.abc import Iterable
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import StreamViolationError
from xmpp_onion.session.guards import (
    Limits,
    Outline,
    StanzaReader,
    StreamClosed,
    StreamOpened,
)

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='s1' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
MESSAGE = (
    "<message from='a@b'><body>grüße &amp; 🧅</body><x xmlns='urn:x' y='1'/></message>"
)
FOOTER = b"</stream:stream>"


def opened(limits: Limits | None = None) -> StanzaReader:
    reader = StanzaReader(limits)
    assert list(reader.feed(HEADER)) == [StreamOpened("s1")]
    return reader


def texts(items: Iterable[StreamOpened | ET.Element | StreamClosed]) -> list[str]:
    return [ET.tostring(i, "unicode") for i in items if isinstance(i, ET.Element)]


def refused(reader: StanzaReader, data: bytes) -> StreamViolationError:
    with pytest.raises(StreamViolationError) as caught:
        list(reader.feed(data))
    return caught.value


def test_a_stream_becomes_its_header_its_stanzas_and_its_end() -> None:
    whole = HEADER + MESSAGE.encode() + b"\n<r xmlns='s'/>" + FOOTER
    items = list(StanzaReader().feed(whole))
    assert items[0] == StreamOpened("s1")
    assert isinstance(items[1], ET.Element)
    assert items[1].tag == "{jabber:client}message"
    assert items[1].findtext("{jabber:client}body") == "grüße & 🧅"
    assert items[1].find("{urn:x}x") is not None
    assert isinstance(items[2], ET.Element)
    assert items[2].tag == "{s}r"
    assert items[3] == StreamClosed()


def test_an_element_equals_the_one_of_the_standard_parser() -> None:
    text = MESSAGE.replace("<message", "<message xmlns='jabber:client' xml:lang='en'")
    (element,) = texts(opened().feed(text.encode()))
    bare = ET.fromstring(text)  # noqa: S314 - it is our own text
    assert element == ET.tostring(bare, "unicode")


@given(st.lists(st.integers(0, len(HEADER + MESSAGE.encode())), max_size=6))
def test_a_stanza_is_delivered_at_its_last_byte_however_it_is_cut(
    cuts: list[int],
) -> None:
    # T14: expat 2.6 keeps complete stanzas back unless told not to.
    whole = HEADER + MESSAGE.encode()
    reader, start = StanzaReader(), 0
    items: list[StreamOpened | ET.Element | StreamClosed] = []
    for end in [*sorted(cuts), len(whole)]:
        items += reader.feed(whole[start:end])
        start = end
    assert [type(item) for item in items] == [StreamOpened, ET.Element]


def pieces(data: bytes, first: int, second: int) -> list[bytes]:
    return [data[:first], data[first:second], data[second:]]


def test_the_standard_parser_stalls_where_ours_does_not() -> None:
    message = MESSAGE.encode()
    stalled = 0
    for first in range(1, len(message)):
        for second in range(first + 1, len(message)):
            bare: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("end",))
            ours = opened()
            bare.feed(HEADER)
            items: list[StreamOpened | ET.Element | StreamClosed] = []
            for piece in pieces(message, first, second):
                bare.feed(piece)
                items += ours.feed(piece)
            stalled += "message" not in str(list(bare.read_events()))
            assert len(items) == 1
    assert (stalled > 0) == (expat.version_info >= (2, 6))


@pytest.mark.parametrize(
    ("condition", "data"),
    [
        ("restricted-xml", b"<!-- hidden -->"),
        ("restricted-xml", b"<?php x?>"),
        ("not-well-formed", b"<!DOCTYPE x>"),
        ("not-well-formed", b"<a></b>"),
        ("not-well-formed", b"<a>&bomb;</a>"),
        ("not-well-formed", b"\xff\xfe"),
        ("bad-format", b"words"),
    ],
)
def test_what_xmpp_forbids_is_refused(condition: str, data: bytes) -> None:
    assert refused(opened(), data).condition == condition


@pytest.mark.parametrize(
    "prolog",
    [
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>",
        b"<?xml version='1.0'?><!DOCTYPE stream:stream SYSTEM 'http://x/'>",
        b"<!-- x -->",
    ],
)
def test_a_document_type_before_the_stream_is_refused(prolog: bytes) -> None:
    assert refused(StanzaReader(), prolog).condition == "restricted-xml"


def test_another_document_is_not_a_stream() -> None:
    assert refused(StanzaReader(), b"<html>").condition == "invalid-namespace"


def test_a_stanza_that_never_ends_is_refused_at_the_limit() -> None:
    reader = opened(Limits(stanza_bytes=1000))
    assert not list(reader.feed(b"<message><body>"))
    assert not list(reader.feed(b"x" * 900))
    error = refused(reader, b"x" * 200)
    assert (error.condition, error.why) == ("policy-violation", "a stanza is too long")


def test_a_long_stanza_in_one_piece_is_refused_too() -> None:
    reader = opened(Limits(stanza_bytes=1000))
    data = b"<message><body>" + b"x" * 1000 + b"</body></message><iq/>"
    assert refused(reader, data).why == "a stanza is too long"


def test_many_short_stanzas_in_one_piece_are_fine() -> None:
    reader = opened(Limits(stanza_bytes=1000))
    assert (
        len(list(reader.feed(b"<iq>" + b"x" * 900 + b"</iq>" + b"<iq/>" * 1000)))
        == 1001
    )


def test_a_tag_that_never_ends_is_refused_before_it_costs_time() -> None:
    reader = opened(Limits(tag_bytes=500))
    assert not list(reader.feed(b"<message a='"))
    assert refused(reader, b"x" * 600).why == "a tag is too long"


FORWARDED = (
    "<message from='own' id='env'><result xmlns='m' id='42' queryid='q'>"
    "<forwarded xmlns='f'><delay xmlns='d' stamp='s'/>"
    "<message xmlns='jabber:client' from='a@b' id='m' type='chat'>"
)
CLOSED = "</message></forwarded></result></message>"


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ("<a>" * 9 + "</a>" * 9, "it is nested too deeply"),
        ("<a/>" * 100 + "text", "it has too many elements"),
        (f"<a b='{'x' * 2000}'/>", "its attributes are too long"),
    ],
)
def test_of_a_stanza_beyond_a_limit_an_outline_is_left(inside: str, why: str) -> None:
    reader = opened(Limits(depth=10, elements=100, attribute_letters=1000))
    first, outline, last = reader.feed(
        f"<iq/>{FORWARDED}<body>hi</body>{inside}{CLOSED}<iq/>".encode()
    )

    assert not isinstance(first, Outline)
    assert not isinstance(last, Outline)
    assert isinstance(outline, Outline)
    assert outline.why == why
    inner = outline.find("{m}result/{f}forwarded/{jabber:client}message")
    assert isinstance(inner, Outline)
    assert (inner.why, dict(inner.attrib)) == (
        why,
        {"from": "a@b", "id": "m", "type": "chat"},
    )
    assert "hi" not in ET.tostring(outline, "unicode")


def test_what_is_just_within_the_limits_is_whole() -> None:
    reader = opened(Limits(depth=10, elements=100, attribute_letters=1000))
    for text in ("<a>" * 9 + "</a>" * 9, "<a>" + "<b/>" * 99 + "</a>"):
        (element,) = reader.feed(text.encode())
        assert not isinstance(element, Outline)


def test_an_outline_is_small_whatever_the_stanza_is() -> None:
    attributes = " ".join(f"a{number}='{number}'" for number in range(5000))
    reader = opened(Limits(elements=100))
    inside = "<a><b/></a>" * 5000
    (outline,) = reader.feed(
        f"<message {attributes} id='{'x' * 5000}'>{inside}</message>".encode()
    )

    assert isinstance(outline, Outline)
    assert len(ET.tostring(outline)) < 1000
    assert "id" not in outline.attrib


@given(st.lists(st.sampled_from(["<a>", "</a>", "<b/>", "x"]), max_size=60))
def test_any_nesting_has_an_outline_or_is_whole(parts: list[str]) -> None:
    text, depth = "", 0
    for part in parts:
        if part == "</a>" and not depth:
            continue
        depth += (part == "<a>") - (part == "</a>")
        text += part
    reader = opened(Limits(depth=4, elements=10))
    items = list(reader.feed(f"<iq>{text}{'</a>' * depth}</iq><iq/>".encode()))
    assert len(items) == 2


def test_an_error_does_not_repeat_what_was_sent() -> None:
    assert "secret" not in str(refused(opened(), b"<secret></oops>"))


def test_names_of_attributes_keep_their_namespace() -> None:
    (element,) = opened().feed(b"<a xmlns:p='urn:p' p:q='1' r='2' xml:lang='en'/>")
    assert isinstance(element, ET.Element)
    assert element.attrib == {
        "{urn:p}q": "1",
        "r": "2",
        "{http://www.w3.org/XML/1998/namespace}lang": "en",
    }


def test_what_was_complete_before_the_rule_was_broken_is_kept() -> None:
    items = opened().feed(b"<iq/><iq/><!-- x -->")
    assert [next(items), next(items)]
    with pytest.raises(StreamViolationError):
        next(items)
