"""H8: a slot counts at our own onion alone, and brings three headers at most."""

import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import TransferError
from xmpp_onion.session.upload import read_slot

OWN = OnionAddress.from_public_key(bytes(32))
OTHER = OnionAddress.from_public_key(bytes(range(32)))
GET, PUT = f"http://{OWN}:5280/s/x", f"http://{OWN}:5280/s/x?put"


def slot(put: str = PUT, get: str = GET, headers: str = "") -> ET.Element:
    text = (
        f"<slot xmlns='urn:xmpp:http:upload:0'><get url={quoteattr(get)}/>"
        f"<put url={quoteattr(put)}>{headers}</put></slot>"
    )
    return ET.fromstring(text)  # noqa: S314 - our own text


def header(name: str, value: str) -> str:
    return f"<header name={quoteattr(name)}>{value}</header>"


def test_a_slot_at_our_own_onion_is_taken() -> None:
    read = read_slot(slot(headers=header("Authorization", "Bearer x")), OWN)

    assert (read.put.url, read.get.url) == (PUT, GET)
    assert read.headers == (("Authorization", "Bearer x"),)


def test_a_name_below_our_own_onion_is_taken() -> None:
    assert read_slot(slot(f"http://share.{OWN}/x"), OWN).put.host == f"share.{OWN}"


@pytest.mark.parametrize(
    "url",
    [
        f"http://{OTHER}/x",
        "http://example.org/x",
        "http://127.0.0.1:22/",
        f"https://{OWN}:5280/x",
        f"http://{OWN}:443/x",
        f"http://{OWN}@example.org/x",
        f"http://{OWN}.example.org/x",
        "file:///etc/passwd",
        f"http://{OWN}:0/x",
        f"http://{OWN}/x y",
        f"http://{OWN}/x#y",
        "",
    ],
)
def test_a_slot_anywhere_else_is_none(url: str) -> None:
    with pytest.raises(TransferError):
        read_slot(slot(put=url), OWN)
    with pytest.raises(TransferError):
        read_slot(slot(get=url), OWN)


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "X-Evil", "Range", "Transfer-Encoding", "Expect"]
)
def test_no_other_header_is_sent(name: str) -> None:
    assert read_slot(slot(headers=header(name, "x")), OWN).headers == ()


@pytest.mark.parametrize(
    "value", ["a&#13;&#10;Host: evil", "a&#10;b", "", "\u00e9", "x" * 10_000, "a\tb"]
)
def test_a_value_that_is_none_makes_it_no_slot(value: str) -> None:
    with pytest.raises(TransferError):
        read_slot(slot(headers=header("Cookie", value)), OWN)


def test_two_of_a_header_make_it_no_slot() -> None:
    twice = header("Cookie", "a") + header("cookie", "b")

    with pytest.raises(TransferError):
        read_slot(slot(headers=twice), OWN)


@pytest.mark.parametrize("text", ["<slot xmlns='urn:xmpp:http:upload:0'/>", "<x/>"])
def test_what_names_no_place_is_no_slot(text: str) -> None:
    with pytest.raises(TransferError):
        read_slot(ET.fromstring(text), OWN)  # noqa: S314 - our own text
    with pytest.raises(TransferError):
        read_slot(None, OWN)


def test_the_permission_is_in_no_repr() -> None:
    read = read_slot(slot(headers=header("Authorization", "Bearer s3")), OWN)

    assert "s3" not in repr(read)
