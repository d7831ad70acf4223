"""What is published is read as the library reads it, or not at all."""

import copy
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

import oldmemo.etree
import omemo
import pytest
import twomemo.etree
import x3dh
import xeddsa
from hypothesis import given
from hypothesis import strategies as st
from oldmemo import oldmemo as old
from twomemo import twomemo as new

from xmpp_onion.address import JID
from xmpp_onion.e2ee import NAMESPACES, OMEMO_2
from xmpp_onion.e2ee.published import MAX_PRE_KEYS, read_bundle, read_device_list
from xmpp_onion.e2ee.versions import write_bundle, write_device_list
from xmpp_onion.testing.omemo_peer import ONION

BOTH = pytest.mark.parametrize("version", NAMESPACES)
BOB = JID(f"bob@{ONION}")


def make_bundle(version: str, count: int = 3, *, secret: int = 7) -> omemo.Bundle:
    """Return a bundle with valid keys; another ``secret`` has another sign bit."""
    priv = bytes([secret]) * 32
    signed = xeddsa.priv_to_curve25519_pub(bytes([9]) * 32)
    pre_keys = {
        xeddsa.priv_to_curve25519_pub((8 * n).to_bytes(32, "little")): n
        for n in range(1, count + 1)
    }
    signature = xeddsa.ed25519_priv_sign(priv, signed)
    keys = x3dh.Bundle(
        xeddsa.priv_to_ed25519_pub(priv), signed, signature, frozenset(pre_keys)
    )
    if version == OMEMO_2:
        return new.BundleImpl(BOB, 1, keys, 5, pre_keys)
    return old.BundleImpl(BOB, 1, keys, 5, pre_keys)


def shown(bundle: omemo.Bundle) -> tuple[object, ...]:
    assert isinstance(bundle, new.BundleImpl | old.BundleImpl)
    return (
        *(bundle.namespace, bundle.bare_jid, bundle.device_id),
        *(bundle.bundle, bundle.signed_pre_key_id, bundle.pre_key_ids),
    )


def library_bundle(version: str, element: ET.Element) -> omemo.Bundle:
    if version == OMEMO_2:
        return twomemo.etree.parse_bundle(element, BOB, 1)
    return oldmemo.etree.parse_bundle(element, BOB, 1)


def library_list(version: str, element: ET.Element) -> omemo.DeviceList:
    if version == OMEMO_2:
        return twomemo.etree.parse_device_list(element)
    return oldmemo.etree.parse_device_list(element)


# --- what is well formed --------------------------------------------------------


@BOTH
@pytest.mark.parametrize("secret", range(1, 9))
@pytest.mark.parametrize("count", [1, 25, 100])
def test_a_bundle_is_read_as_the_library_reads_it(
    version: str, count: int, secret: int
) -> None:
    bundle = make_bundle(version, count, secret=secret)
    element = write_bundle(bundle)

    found = read_bundle(version, element, BOB, 1)

    assert shown(found) == shown(library_bundle(version, element))


@BOTH
def test_line_breaks_and_the_order_of_parts_do_not_matter(version: str) -> None:
    element = write_bundle(make_bundle(version))
    element[:] = [*element][::-1]
    for part in element.iter():
        if part.text:
            part.text = f"\n  {part.text[:20]}\n {part.text[20:]}\n"

    found = read_bundle(version, element, BOB, 1)

    assert shown(found) == shown(library_bundle(version, element))


@BOTH
def test_a_device_list_is_read_as_the_library_reads_it(version: str) -> None:
    label = omemo.SignedLabel("phone", b"s" * 64)
    element = write_device_list(version, {5: None, 2**31: label, 1: None})

    found = read_device_list(version, element)

    assert found == library_list(version, element)
    assert [*found] == [5, 2**31, 1]


# --- what is not ----------------------------------------------------------------

TEXTS = ["", " ", "x", "AAAA", "-1", "+5", "05", "4294967296", "٣", "1 2", "\u00a07"]
TAGS = ["pk", "{urn:xmpp:omemo:2}pk", "{jabber:client}body"]
NAMES = ["id", "preKeyId", "signedPreKeyId", "label", "labelsig", "other"]
ATTRIBUTES = [f"{name}={text}" for name in NAMES for text in TEXTS]


def set_text(one: ET.Element, _parent: ET.Element | None, text: str) -> None:
    one.text = text


def add_text(one: ET.Element, _parent: ET.Element | None, text: str) -> None:
    one.text = (one.text or "") + text


def set_tail(one: ET.Element, parent: ET.Element | None, text: str) -> None:
    one.tail = text if parent is not None else None


def set_attribute(one: ET.Element, _parent: ET.Element | None, text: str) -> None:
    name, _, value = text.rpartition("=")
    one.set(name or "id", value)


def set_tag(one: ET.Element, _parent: ET.Element | None, text: str) -> None:
    one.tag = text if text in TAGS else "pk"


def drop_attributes(one: ET.Element, _parent: ET.Element | None, _text: str) -> None:
    one.attrib.clear()


def drop(one: ET.Element, parent: ET.Element | None, _text: str) -> None:
    if parent is not None:
        parent.remove(one)


def repeat(one: ET.Element, parent: ET.Element | None, _text: str) -> None:
    if parent is not None:
        parent.append(copy.deepcopy(one))


def adopt(one: ET.Element, parent: ET.Element | None, _text: str) -> None:
    if parent is not None:
        one.append(copy.deepcopy(parent[0]))


CHANGES: list[Callable[[ET.Element, ET.Element | None, str], None]] = [
    *(set_text, add_text, set_tail, set_attribute, set_tag),
    *(drop_attributes, drop, repeat, adopt),
]


def changed(element: ET.Element, data: st.DataObject) -> ET.Element:
    """Return a copy that something was done to, as it arrives."""
    other = copy.deepcopy(element)
    for _ in range(data.draw(st.integers(1, 2))):
        parents = {child: parent for parent in other.iter() for child in parent}
        one = data.draw(st.sampled_from([*other.iter()]))
        text = data.draw(st.sampled_from(TEXTS + TAGS + ATTRIBUTES))
        data.draw(st.sampled_from(CHANGES))(one, parents.get(one), text)
    return ET.fromstring(ET.tostring(other))  # noqa: S314 - the test's own text


@BOTH
@given(data=st.data())
def test_no_bundle_is_read_that_the_library_refuses(
    version: str, data: st.DataObject
) -> None:
    element = changed(write_bundle(make_bundle(version)), data)
    try:
        found = read_bundle(version, element, BOB, 1)
    except ValueError:
        return

    assert shown(found) == shown(library_bundle(version, element))


@BOTH
@given(data=st.data())
def test_no_device_list_is_read_that_the_library_refuses(
    version: str, data: st.DataObject
) -> None:
    label = omemo.SignedLabel("phone", b"s" * 64)
    written = write_device_list(version, {5: label, 17: None})
    element = changed(written, data)
    try:
        found = read_device_list(version, element)
    except ValueError:
        return

    assert found == library_list(version, element)


def parts_of(element: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Yield copies of a bundle with a part that is wrong, and what is wrong with it."""
    for position, part in enumerate(element.iter()):
        if not part.text:
            continue
        for what, text in {
            "one byte less": part.text[:-4],
            "one byte more": part.text.rstrip("=") + "AAAA",
            "another spelling": part.text.rstrip("=")[:-1] + "/" + "=",
            "no base64": "!" + part.text[1:],
            "nothing": "",
            "without end": part.text + " " * 10_000,
        }.items():
            other = copy.deepcopy(element)
            [*other.iter()][position].text = text
            yield f"{part.tag} {what}", other


@BOTH
def test_a_key_of_another_length_or_spelling_is_refused(version: str) -> None:
    for what, element in parts_of(write_bundle(make_bundle(version))):
        try:
            read_bundle(version, element, BOB, 1)
        except ValueError:
            continue
        pytest.fail(what)


@BOTH
def test_a_bundle_with_too_many_pre_keys_is_refused(version: str) -> None:
    most = write_bundle(make_bundle(version, MAX_PRE_KEYS))
    more = write_bundle(make_bundle(version, MAX_PRE_KEYS + 1))

    read_bundle(version, most, BOB, 1)
    with pytest.raises(ValueError, match="too many"):
        read_bundle(version, more, BOB, 1)
