"""What is said of a file survives the envelope, and nothing bad gets in."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Attachment, Content, Link, Place
from xmpp_onion.session.content import read_content, write_content
from xmpp_onion.session.file_sharing import read_attachment, write_attachment

ONION = OnionAddress.from_public_key(bytes(32))
TEXT = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=100
)
LINKS = st.builds(
    Link,
    st.builds(Place, st.just(ONION), st.integers(1, 65535), st.just("/share/x/y")),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([bytes(12), bytes(16)]),
    st.booleans(),
)
ATTACHMENTS = st.builds(
    Attachment,
    url=LINKS.map(lambda link: link.text),
    name=TEXT,
    size=st.none() | st.integers(0, 2**48),
    media_type=TEXT,
    sha256=st.just("") | st.binary(min_size=32, max_size=32).map(bytes.hex),
    seconds=st.none() | st.integers(0, 10**9).map(lambda n: n / 1000),
)


def parsed(element: ET.Element) -> ET.Element:
    return ET.fromstring(ET.tostring(element))  # noqa: S314 - our own text


@given(ATTACHMENTS)
def test_every_attachment_survives_the_envelope(attachment: Attachment) -> None:
    content = Content(text=attachment.url, attachment=attachment)

    payload = [parsed(each) for each in write_content(content)]

    assert read_content(attachment.url, payload).attachment == attachment


def shared(url: str = f"http://{ONION}:5280/x") -> ET.Element:
    link = Link(Place(ONION, 5280, "/x"), bytes(32), bytes(12))
    element = parsed(write_attachment(Attachment(url=link.text, name="n", size=1)))
    for target in element.iter("{http://jabber.org/protocol/url-data}url-data"):
        target.set("target", url)
    return element


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", f"https://{ONION}:5280/x", "file:///etc/passwd", "",
     "data:x", f"http://{ONION}/x#fragment", f"http://u@{ONION}/x"],
)  # fmt: skip
def test_a_source_elsewhere_is_none(url: str) -> None:
    assert read_attachment([shared()]) is not None
    assert read_attachment([shared(url)]) is None


def test_two_files_in_one_message_contradict_each_other() -> None:
    assert read_attachment([shared(), shared()]) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("key", ""),
        ("key", "AAAA"),
        ("key", "!" * 44),
        ("iv", "AAAA"),
        ("iv", "A" * 10**6),
    ],
)
def test_a_key_of_another_form_is_none(name: str, text: str) -> None:
    element = shared()
    for each in element.iter(f"{{urn:xmpp:esfs:0}}{name}"):
        each.text = text

    assert read_attachment([element]) is None


@pytest.mark.parametrize("size", ["-1", "x", "1e9", "9" * 20, "\u0661", ""])
def test_a_size_that_is_no_number_is_not_known(size: str) -> None:
    element = shared()
    for each in element.iter("{urn:xmpp:file:metadata:0}size"):
        each.text = size

    found = read_attachment([element])
    assert found is not None
    assert found.size is None


def test_another_cipher_is_not_taken_for_ours() -> None:
    element = shared()
    for each in element.iter("{urn:xmpp:esfs:0}encrypted"):
        each.set("cipher", "urn:xmpp:ciphers:aes-256-cbc-pkcs7:0")

    assert read_attachment([element]) is None
