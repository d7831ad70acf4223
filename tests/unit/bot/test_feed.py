"""Feeds, as they are written and as somebody might who means harm."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.bot import Entry, read_feed

RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>All</title><link>http://x/</link>
<item><title> A
 title </title><link>http://x/1</link><guid isPermaLink="false">one</guid></item>
<item><title>Two</title><link>http://x/2</link></item>
<item><description>nothing to know it by</description></item>
</channel></rss>"""
RDF = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns="http://purl.org/rss/1.0/"><channel/><item rdf:about="http://x/1">
<title>Old</title><link>http://x/1</link></item></rdf:RDF>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>All</title>
<entry><id>urn:1</id><title type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">A
<b>bold</b> one</div></title>
<link rel="self" href="http://x/self"/><link href="http://x/1"/></entry></feed>"""


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (
            RSS,
            (
                Entry("one", "A title", "http://x/1"),
                Entry("http://x/2", "Two", "http://x/2"),
            ),
        ),
        (RDF, (Entry("http://x/1", "Old", "http://x/1"),)),
        (ATOM, (Entry("urn:1", "A bold one", "http://x/1"),)),
        (b"<html/>", ()),
    ],
    ids=["RSS 2.0", "RSS 1.0", "Atom", "none"],
)
def test_what_a_feed_tells(text: bytes, entries: tuple[Entry, ...]) -> None:
    assert read_feed(text) == entries


BOMB = b"""<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<rss><channel><item><title>&b;</title></item></channel></rss>"""
OUTSIDE = b"""<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<rss><channel><item><title>&a;</title></item></channel></rss>"""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no XML",
        b"<rss>",
        BOMB,
        OUTSIDE,
        BOMB.decode().encode("utf-16"),
        RSS.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        b"<!DOCTYPE rss SYSTEM 'http://x/dtd'><rss/>",
        b"<rss>" + b"<a>" * 40 + b"</a>" * 40 + b"</rss>",
        b"<rss>" + b"<a/>" * 20_001 + b"</rss>",
    ],
    ids=[
        "nothing",
        "no XML",
        "half",
        "bomb",
        "outside",
        "bomb in another coding",
        "in another coding",
        "type",
        "deep",
        "many",
    ],
)
def test_what_is_none_or_means_harm_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        read_feed(text)


def test_a_long_one_is_cut() -> None:
    item = b"<item><title>" + b"x" * 9000 + b"</title></item>"
    found = read_feed(b"<rss>" + item * 300 + b"</rss>")
    assert len(found) == 200
    assert {len(entry.title) for entry in found} == {200}


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        read_feed(data)


@given(st.text(max_size=50))
def test_a_title_is_one_line(title: str) -> None:
    text = title.encode("utf-8", "ignore").replace(b"&", b"").replace(b"<", b"")
    try:
        found = read_feed(
            b"<rss><item><guid>1</guid><title>" + text + b"</title></item></rss>"
        )
    except ValueError:
        return  # what XML cannot hold
    assert "\n" not in found[0].title
