"""What an ``<encrypted/>`` element holds for this device.

The libraries' parsers check an element against its XML schema and read the keys of
all devices, which takes longer than to decrypt. Here only what is for us is read,
strictly; what a sender wrote for others is theirs to judge.

Source: XEP-0384, sections 3.2 (version 0.3) and 5.5 (version 0.9).
"""

import binascii
import re
from base64 import b64decode
from typing import NamedTuple
from xml.etree import ElementTree as ET

from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it has no types
from oldmemo import oldmemo
from omemo.message import Content, EncryptedKeyMaterial, KeyExchange
from twomemo import twomemo

from xmpp_onion.address import JID
from xmpp_onion.e2ee.versions import OMEMO_2, OMEMO_OLD

__all__ = ["Parcel", "read_parcel", "read_sender_id"]

# A key exchange with its message takes 340 characters in either version.
_MAX_KEY = 4096
_MAX_ID = 2**32 - 1
# Ten digits hold every id; Python refuses to read thousands of them.
_NUMBER = re.compile("[0-9]{1,10}")
# XEP-0384 0.3, section 4.3 wants 12 bytes; clients of before 2018 send 16.
_IV_LENGTHS = {12, 16}
_TRUE = {"true", "1"}
_IS_EXCHANGE = {OMEMO_2: "kex", OMEMO_OLD: "prekey"}


class Parcel(NamedTuple):
    """What there is for this device.

    Attributes:
        namespace: The OMEMO version.
        device_id: What it says it was sent from.
        key: The key of the content, encrypted for this device.
        exchange: What begins the session, unless the sender knows that we have it.
        content: What the key opens; empty in a message that carries only keys.
    """

    namespace: str
    device_id: int
    key: EncryptedKeyMaterial
    exchange: KeyExchange | None
    content: Content

    @property
    def begun(self) -> bytes:
        """What tells the session that it begins from others; empty if there is none."""
        match self.exchange:
            case twomemo.KeyExchangeImpl() | oldmemo.KeyExchangeImpl() as exchange:
                return exchange.header.ephemeral_key
        return b""


def read_parcel(
    namespace: str,
    element: ET.Element,
    own: tuple[JID, int],
    *,
    identity_key: bytes,
) -> Parcel:
    """Return what an element holds for a device.

    Args:
        namespace: The element's version.
        element: One with a key for the device.
        own: The account, bare, and the device.
        identity_key: The sender's, in Ed25519 form. The older version leaves a bit
            of it out.

    Raises:
        ValueError: It is malformed.
    """
    header = _only(element, namespace, "header")
    jid, device_id = own
    found = [
        key
        for key in _keys(namespace, header, jid)
        if _read_id(key, "rid") == device_id
    ]
    # Profanity writes the older version, and to a room several keys for one device,
    # each good: one for each of its lists that an account stands in.
    if not found or (len(found) > 1 and namespace != OMEMO_OLD):
        raise ValueError("not one key for this device")
    entry = found[0]
    data = _read_bytes(entry, most=_MAX_KEY)
    is_exchange = entry.get(_IS_EXCHANGE[namespace], "") in _TRUE
    try:
        key, exchange = _read_key(
            namespace, data, own, sign=identity_key[31] >> 7 if is_exchange else None
        )
    except (DecodeError, ValueError):
        raise ValueError("its key is malformed") from None
    content = _read_content(namespace, element, header)
    return Parcel(namespace, _read_id(header, "sid"), key, exchange, content)


def read_sender_id(namespace: str, element: ET.Element) -> int:
    """Return the device that an element says it was sent from.

    Raises:
        ValueError: It is malformed.
    """
    return _read_id(_only(element, namespace, "header"), "sid")


def _read_key(
    namespace: str, data: bytes, own: tuple[JID, int], *, sign: int | None
) -> tuple[EncryptedKeyMaterial, KeyExchange | None]:
    """Return a key, and what begins its session.

    Args:
        namespace: The version.
        data: As the element carries it.
        own: For whom it is.
        sign: The sign bit of the sender's identity key; None if no session begins.
    """
    exchange: KeyExchange | None = None
    if namespace == OMEMO_2:
        if sign is not None:
            exchange, data = twomemo.KeyExchangeImpl.parse(data)
        return twomemo.EncryptedKeyMaterialImpl.parse(data, *own), exchange
    if sign is not None:
        exchange, data = oldmemo.KeyExchangeImpl.parse(data, bool(sign))
    return oldmemo.EncryptedKeyMaterialImpl.parse(data, *own), exchange


def _read_content(namespace: str, element: ET.Element, header: ET.Element) -> Content:
    payloads = element.findall(f"{{{namespace}}}payload")
    payload = _read_bytes(_only(element, namespace, "payload")) if payloads else None
    if namespace == OMEMO_2:
        if payload is None:
            return twomemo.ContentImpl.make_empty()
        return twomemo.ContentImpl(payload)
    vector = _read_bytes(_only(header, namespace, "iv"), most=_MAX_KEY)
    if payload is None:
        return oldmemo.ContentImpl.make_empty()
    if len(vector) not in _IV_LENGTHS:
        raise ValueError("the initialization vector has a wrong length")
    return oldmemo.ContentImpl(payload, vector)


def _keys(namespace: str, header: ET.Element, own: JID) -> list[ET.Element]:
    """Return the keys that may be for an account; the older version names none."""
    place = f"{{{namespace}}}key"
    if namespace == OMEMO_OLD:
        return header.findall(place)
    groups = header.findall(f"{place}s")
    ours = (group for group in groups if group.get("jid") == own)
    return [key for group in ours for key in group.findall(place)]


def _only(parent: ET.Element, namespace: str, name: str) -> ET.Element:
    """Return the one child of a name: of two, two readers might take different ones."""
    found = [child for child in parent if child.tag.endswith(f"}}{name}")]
    if len(found) != 1 or found[0].tag != f"{{{namespace}}}{name}":
        raise ValueError(f"not one <{name}/>")
    return found[0]


def _read_id(element: ET.Element, name: str) -> int:
    text = element.get(name, "")
    number = int(text) if _NUMBER.fullmatch(text) else -1
    if not 0 <= number <= _MAX_ID:
        raise ValueError(f"its {name} is no device id")
    return number


def _read_bytes(element: ET.Element, *, most: int | None = None) -> bytes:
    # Line breaks are allowed; some clients write them.
    text = "".join((element.text or "").split())
    if len(element) or not text or (most is not None and len(text) > most):
        raise ValueError("it holds something else than bytes")
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("it holds something else than bytes") from None
