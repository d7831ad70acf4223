"""What we write is what slixmpp writes, whatever the element; and it is read back."""

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from slixmpp.xmlstream.tostring import tostring

from xmpp_onion.session.serialising import CLIENT, serialise

_XML = "{http://www.w3.org/XML/1998/namespace}"
NAMESPACES = st.sampled_from(["", "{jabber:client}", "{urn:one}", "{urn:two}"])
TAGS = st.builds(str.__add__, NAMESPACES, st.sampled_from(["message", "key", "a"]))
# What XML can carry (XML 1.0, section 2.2), without the spaces that it changes.
TEXTS = st.text(
    st.characters(min_codepoint=32, codec="utf-8", exclude_characters="\ufffe\uffff"),
    max_size=20,
) | st.text("<>&'\"]{}", max_size=8)
KEYS = st.sampled_from(["rid", "to", f"{_XML}lang", "{urn:one}other"])
LEAVES = st.builds(ET.Element, TAGS, st.dictionaries(KEYS, TEXTS, max_size=3))


def _fill(
    element: ET.Element, children: list[ET.Element], text: str | None
) -> ET.Element:
    element.extend(children)
    element.text = text
    for child in children:
        child.tail = text
    return element


ELEMENTS = st.recursive(
    st.builds(_fill, LEAVES, st.just([]), st.none() | TEXTS),
    lambda inner: st.builds(
        _fill, LEAVES, st.lists(inner, max_size=3), st.none() | TEXTS
    ),
    max_leaves=8,
)


@given(ELEMENTS)
def test_it_writes_what_slixmpp_writes(element: ET.Element) -> None:
    assert serialise(element) == tostring(element, xmlns=CLIENT, top_level=True)


@given(TEXTS)
def test_what_looks_like_markup_is_read_back_as_text(text: str) -> None:
    element = ET.Element(f"{{{CLIENT}}}message", {"id": text})
    element.text = text

    back = ET.fromstring(f"<stream xmlns='{CLIENT}'>{serialise(element)}</stream>")[0]  # noqa: S314 - written a line above

    assert (back.tag, back.get("id"), back.text or "") == (element.tag, text, text)
