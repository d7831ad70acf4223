import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xmpp_onion.strict_xml import StrictReader, canonical

DOCUMENT = "<a xmlns='urn:x' k='v'><b>\u00e9</b><!-- c --><?d e?></a>"


def reader(*, depth: int = 2, elements: int = 2, bare: bool = False) -> StrictReader:
    return StrictReader(depth=depth, elements=elements, bare=bare)


def test_a_document_is_read_up_to_its_limits() -> None:
    root = reader().read(DOCUMENT.encode())

    assert (root.tag, root.attrib) == ("{urn:x}a", {"k": "v"})
    assert root.findtext("{urn:x}b") == "\u00e9"


@pytest.mark.parametrize(("depth", "elements"), [(1, 9), (9, 1)])
def test_one_more_than_a_limit_is_refused(depth: int, elements: int) -> None:
    with pytest.raises(ValueError, match="too large, or too deep"):
        reader(depth=depth, elements=elements).read(DOCUMENT.encode())


def test_what_is_beside_another_is_no_deeper() -> None:
    assert len(reader(elements=9).read(b"<a><b/><b/><b/></a>")) == 3


@pytest.mark.parametrize("inside", ["<!-- c -->", "<?d e?>"])
def test_who_wants_it_bare_gets_no_orders(inside: str) -> None:
    with pytest.raises(ValueError, match="orders"):
        reader(bare=True).read(f"<a>{inside}</a>".encode())


def test_no_document_type_is_looked_at() -> None:
    with pytest.raises(ValueError, match="document type"):
        reader().read(b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>")


@pytest.mark.parametrize("coding", ["utf-16", "utf-32", "latin-1"])
def test_another_coding_than_utf_8_is_refused(coding: str) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        reader().read(DOCUMENT.encode(coding))


@pytest.mark.parametrize("data", [b"", b"x", b"<a>", b"<a/><b/>", b"<a>\0</a>"])
def test_what_is_not_well_formed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no XML"):
        reader().read(data)


@pytest.mark.parametrize("behind", ["", " ", "text", "&lt;&amp;"])
def test_what_stands_behind_an_element_is_none_of_it(behind: str) -> None:
    root = reader().read(f"<a><b xmlns='urn:x' k='2' a='1'/>{behind}</a>".encode())
    tail = root[0].tail

    assert canonical(root[0]) == '<ns0:b xmlns:ns0="urn:x" a="1" k="2"></ns0:b>'
    assert root[0].tail == tail  # a copy was changed


XML = "http://www.w3.org/XML/1998/namespace"
SPACES = st.sampled_from(
    ["{urn:x}", "{urn:x}", "{urn:y}", "", f"{{{XML}}}", "{http://x}"]
)
NAMES = st.sampled_from(["a", "B-1", "rid", "kex", "_a", "\u00e4"])
TEXTS = st.sampled_from(
    ["", "1", "QUJD+/==", "a@b.onion/c", "<&>", '"', " ", "\n", "\u00e4"]
)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> ET.Element:
    """Whatever somebody may send, most of it as people do."""
    element = ET.Element(draw(SPACES) + draw(NAMES))
    for space, name, text in draw(
        st.lists(st.tuples(SPACES, NAMES, TEXTS), max_size=3)
    ):
        element.set(("" if space == "{urn:x}" else space) + name, text)
    element.text = draw(TEXTS)
    for _ in range(draw(st.integers(0, 2)) if depth else 0):
        child = draw(elements(depth - 1))
        child.tail = draw(st.one_of(st.just(""), TEXTS))
        element.append(child)
    return element


def made(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text


@given(element=elements())
@example(element=made("<k xmlns='urn:x' rid='1' kex='true'>QQ==</k>"))
@example(element=made("<e xmlns='urn:x' b='1' a='2'><k>QQ</k><k/></e>"))
@example(element=made("<e xmlns='urn:x'>A<k>B</k>C<k xmlns='urn:y'/></e>"))
@example(element=made("<e xmlns='urn:x'><k>B</k>C</e>"))
@example(element=made("<e xmlns='urn:x'><k xmlns='urn:y'/></e>"))
@example(element=made("<e xmlns='urn:x'><k xmlns=''/></e>"))
@example(element=made("<e xmlns='urn:x' xmlns:y='urn:y' y:a='1'/>"))
@example(element=made("<e xmlns='urn:x' a='&lt;'/>"))
@example(element=made("<e xmlns='urn:x'>&lt;</e>"))
@example(element=made(f"<xml:e xmlns:xml='{XML}'/>"))
@example(element=made("<e xmlns='http://www.w3.org/1999/xhtml'/>"))
@example(element=made("<e/>"))
def test_plain_elements_are_written_as_all_others(element: ET.Element) -> None:
    assert canonical(element) == ET.canonicalize(ET.tostring(element, "unicode"))


def test_what_people_send_is_written_as_it_always_was() -> None:
    key = "<key rid='1' kex='true'>QQ==</key>"
    sent = made(f"<encrypted xmlns='urn:xmpp:omemo:2'>{key}</encrypted>")

    assert canonical(sent) == (
        '<ns0:encrypted xmlns:ns0="urn:xmpp:omemo:2"><ns0:key kex="true" rid="1">QQ=='
        "</ns0:key></ns0:encrypted>"
    )
