"""What published device lists and bundles hold, read strictly.

The libraries' parsers check each against its XML schema, which takes three
milliseconds for a bundle. What is read here is never more than they read, and some
less: each number, key and signature has one spelling and its length.

Source: XEP-0384, sections 3.1 (version 0.3) and 5.3 (version 0.9).
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

import omemo
import x3dh
import xeddsa
from oldmemo import oldmemo
from twomemo import twomemo

from xmpp_onion.address import JID

__all__ = [
    "DJB_TYPE",
    "MAX_PRE_KEYS",
    "NAMES",
    "Names",
    "read_bundle",
    "read_device_list",
]

MAX_PRE_KEYS: Final = 500
"""In a bundle: libsignal publishes 100. A list without end would only cost us time."""

_MAX_ID = 2**32 - 1
_SPACE = " \t\r\n"
# Characters of one value. A signature takes 88; some clients break the line.
_MAX_TEXT = 200
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
DJB_TYPE: Final = b"\x05"
"""What the older version puts before a key."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a version calls the parts."""

    devices: str
    is_labelled: bool
    signed: str
    signed_id: str
    signature: str
    identity: str
    pre_keys: str
    pre_key: str
    pre_key_id: str


NAMES: Final = {
    twomemo.NAMESPACE: Names(
        devices="devices",
        is_labelled=True,
        signed="spk",
        signed_id="id",
        signature="spks",
        identity="ik",
        pre_keys="prekeys",
        pre_key="pk",
        pre_key_id="id",
    ),
    oldmemo.NAMESPACE: Names(
        devices="list",
        is_labelled=False,
        signed="signedPreKeyPublic",
        signed_id="signedPreKeyId",
        signature="signedPreKeySignature",
        identity="identityKey",
        pre_keys="prekeys",
        pre_key="preKeyPublic",
        pre_key_id="preKeyId",
    ),
}


class _Read(NamedTuple):
    """A bundle as it is written, decoded."""

    identity: bytes
    signed: bytes
    signed_id: int
    signature: bytes
    pre_keys: dict[bytes, int]


def read_device_list(namespace: str, element: ET.Element) -> omemo.DeviceList:
    """Return what a device list says, in its order; ids are not checked for range.

    Raises:
        ValueError: It is malformed.
    """
    names = NAMES[namespace]
    optional = {"label", "labelsig"} if names.is_labelled else frozenset[str]()
    devices: omemo.DeviceList = {}
    for device in _children(element, f"{{{namespace}}}{names.devices}"):
        _check(device, f"{{{namespace}}}device", {"id"}, optional)
        if len(device) or device.text:
            raise ValueError("a device holds something")
        devices[_number(device.get("id", ""))] = _label(device)
    return devices


def read_bundle(
    namespace: str, element: ET.Element, jid: JID, device_id: int
) -> omemo.Bundle:
    """Return a bundle; its signature is checked when a session is built.

    Raises:
        ValueError: It is malformed.
    """
    read = _read(namespace, element)
    if namespace == twomemo.NAMESPACE:
        keys = x3dh.Bundle(
            read.identity, read.signed, read.signature, frozenset(read.pre_keys)
        )
        return twomemo.BundleImpl(
            jid.bare, device_id, keys, read.signed_id, read.pre_keys
        )
    # The identity key is in its Curve25519 form, and the sign that the other form
    # has besides is in the signature.
    sign, cleared = read.signature[63] >> 7, read.signature[63] & 0x7F
    keys = x3dh.Bundle(
        xeddsa.curve25519_pub_to_ed25519_pub(read.identity, bool(sign)),
        read.signed,
        read.signature[:63] + bytes([cleared]),
        frozenset(read.pre_keys),
    )
    return oldmemo.BundleImpl(jid.bare, device_id, keys, read.signed_id, read.pre_keys)


def _read(namespace: str, element: ET.Element) -> _Read:
    names = NAMES[namespace]
    start = b"" if names.is_labelled else DJB_TYPE
    wanted = [
        f"{{{namespace}}}{name}"
        for name in (names.signed, names.signature, names.identity, names.pre_keys)
    ]
    parts = {part.tag: part for part in _children(element, f"{{{namespace}}}bundle")}
    if parts.keys() != {*wanted} or len(element) != len(wanted):
        raise ValueError("a bundle with other parts, or one twice")
    signed, signature, identity, pre_keys = (parts[tag] for tag in wanted)
    _check(signed, signed.tag, {names.signed_id})
    _check(signature, signature.tag)
    _check(identity, identity.tag)
    return _Read(
        _key(identity, start),
        _key(signed, start),
        _number(signed.get(names.signed_id, "")),
        _bytes(_text(signature), _SIGNATURE_BYTES),
        _pre_keys(pre_keys, f"{{{namespace}}}{names.pre_key}", names.pre_key_id, start),
    )


def _pre_keys(
    element: ET.Element, tag: str, id_name: str, start: bytes
) -> dict[bytes, int]:
    if not 0 < len(element) <= MAX_PRE_KEYS:
        raise ValueError("no pre-keys, or too many")
    numbers: dict[bytes, int] = {}
    for child in _children(element, element.tag):
        _check(child, tag, {id_name})
        numbers[_key(child, start)] = _number(child.get(id_name, ""))
    return numbers


def _children(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    """Yield what is in an element of this name that holds only elements."""
    _check(element, tag)
    texts: Iterable[str | None] = (element.text, *(child.tail for child in element))
    if not all(map(_is_blank, texts)):
        raise ValueError("text between the elements")
    yield from element


def _check(
    element: ET.Element,
    tag: str,
    required: Set[str] = frozenset(),
    optional: Set[str] = frozenset(),
) -> None:
    """Raise ValueError unless an element has this name and these attributes."""
    if element.tag != tag:
        raise ValueError("an element of another name")
    attributes = element.attrib.keys()
    if not required <= attributes <= required | optional:
        raise ValueError("an element with other attributes")


def _label(device: ET.Element) -> omemo.SignedLabel | None:
    label, signature = device.get("label"), device.get("labelsig")
    decoded = None if signature is None else _bytes(signature)
    if label is None or decoded is None:
        return None
    return omemo.SignedLabel(label, decoded)


def _key(element: ET.Element, start: bytes) -> bytes:
    data = _bytes(_text(element), len(start) + _KEY_BYTES)
    if not data.startswith(start):
        raise ValueError("a key of another type")
    return data[len(start) :]


def _text(element: ET.Element) -> str:
    if len(element):
        raise ValueError("elements where bytes should be")
    return element.text or ""


def _bytes(text: str, length: int | None = None) -> bytes:
    """Return what a text encodes in base64, spaces and line breaks left out."""
    if len(text) > _MAX_TEXT:
        raise ValueError("too long")
    plain = "".join(text.split())
    try:
        data = b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if b64encode(data).decode() != plain or length not in {None, len(data)}:
        raise ValueError("not as many bytes, or not in their one spelling")
    return data


def _number(text: str) -> int:
    # Ten digits hold every id; Python refuses to read thousands of them.
    plain = text.strip(_SPACE)
    number = int(plain) if re.fullmatch("[0-9]{1,10}", plain) else -1
    if not 0 <= number <= _MAX_ID:
        raise ValueError("no id")
    return number


def _is_blank(text: str | None) -> bool:
    return not (text or "").strip(_SPACE)
