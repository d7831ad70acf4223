import pytest

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
