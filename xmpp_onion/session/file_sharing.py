"""What is said of a file inside of an envelope, to and from a plain value.

Source: XEP-0446 (metadata), 0447 (stateless file sharing), 0448 (encrypted sources).
An index of several objects is ours: it stands where 0448 has its cipher, so that
others see a source that they do not know, and not one that they would misread.
"""

import base64
import binascii
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Final

from xmpp_onion.chat import Attachment, Link, Place
from xmpp_onion.errors import AddressError

__all__ = ["read_attachment", "write_attachment"]

SFS: Final = "urn:xmpp:sfs:0"
ESFS: Final = "urn:xmpp:esfs:0"
METADATA: Final = "urn:xmpp:file:metadata:0"
HASHES: Final = "urn:xmpp:hashes:2"
URL_DATA: Final = "http://jabber.org/protocol/url-data"
CIPHER: Final = "urn:xmpp:ciphers:aes-256-gcm-nopadding:0"
INDEX: Final = "urn:xmpp-onion:file-index:0"
# Characters. Names and types are shown to people, and kept with the message.
_NAME_LIMIT: Final = 1024
_TYPE_LIMIT: Final = 128
# 2**53 bytes: more than any disk, and exact in every JSON reader.
_SIZE_DIGITS: Final = 15
_KEY_CHARACTERS: Final = 64
_KEY_BYTES: Final = 32


def write_attachment(attachment: Attachment) -> ET.Element:
    """Return the element that says all of a file, its key too."""
    shared = ET.Element(f"{{{SFS}}}file-sharing", {"disposition": "attachment"})
    file = ET.SubElement(shared, f"{{{METADATA}}}file")
    said = {
        "media-type": attachment.media_type,
        "name": attachment.name,
        "size": "" if attachment.size is None else str(attachment.size),
        "length": _milliseconds(attachment.seconds),
    }
    for name, text in said.items():
        if text:
            ET.SubElement(file, f"{{{METADATA}}}{name}").text = text
    if attachment.sha256:
        digest = ET.SubElement(file, f"{{{HASHES}}}hash", {"algo": "sha-256"})
        digest.text = _base64(bytes.fromhex(attachment.sha256))
    sources = ET.SubElement(shared, f"{{{SFS}}}sources")
    sources.append(_source(Link.parse(attachment.url)))
    return shared


def read_attachment(payload: Sequence[ET.Element]) -> Attachment | None:
    """Return the file that is shared. Two, or a malformed one, are none."""
    found = [each for each in payload if each.tag == f"{{{SFS}}}file-sharing"]
    if len(found) != 1:
        return None
    link = _read_link(found[0])
    file = found[0].find(f"{{{METADATA}}}file")
    if link is None or file is None:
        return None
    length = _number(file.findtext(f"{{{METADATA}}}length"))
    return Attachment(
        url=link.text,
        name=_text(file, "name", _NAME_LIMIT),
        size=_number(file.findtext(f"{{{METADATA}}}size")),
        media_type=_text(file, "media-type", _TYPE_LIMIT),
        sha256=_read_hash(file),
        seconds=None if length is None else length / 1000,
    )


def _source(link: Link) -> ET.Element:
    name, cipher = (INDEX, {}) if link.is_index else (ESFS, {"cipher": CIPHER})
    source = ET.Element(f"{{{name}}}encrypted", cipher)
    ET.SubElement(source, f"{{{name}}}key").text = _base64(link.key)
    ET.SubElement(source, f"{{{name}}}iv").text = _base64(link.iv)
    sources = ET.SubElement(source, f"{{{SFS}}}sources")
    ET.SubElement(sources, f"{{{URL_DATA}}}url-data", {"target": link.place.url})
    return source


def _read_link(shared: ET.Element) -> Link | None:
    """Return the first source that can be fetched."""
    for source in shared.iterfind(f"{{{SFS}}}sources/*"):
        for name in (ESFS, INDEX):
            is_known = name == INDEX or source.get("cipher") == CIPHER
            if source.tag == f"{{{name}}}encrypted" and is_known:
                link = _read_source(source, name)
                if link is not None:
                    return link
    return None


def _read_source(source: ET.Element, name: str) -> Link | None:
    key = _bytes(source.findtext(f"{{{name}}}key"))
    iv = _bytes(source.findtext(f"{{{name}}}iv"))
    target = source.find(f"{{{SFS}}}sources/{{{URL_DATA}}}url-data")
    if target is None or len(key) != _KEY_BYTES or len(iv) not in {12, 16}:
        return None
    try:
        place = Place.parse(target.get("target", ""))
    except AddressError:
        return None
    return Link(place, key, iv, is_index=name == INDEX)


def _read_hash(file: ET.Element) -> str:
    for each in file.iterfind(f"{{{HASHES}}}hash"):
        if each.get("algo") == "sha-256":
            digest = _bytes(each.text)
            return digest.hex() if len(digest) == 32 else ""
    return ""


def _text(file: ET.Element, name: str, limit: int) -> str:
    return (file.findtext(f"{{{METADATA}}}{name}") or "")[:limit]


def _number(digits: str | None) -> int | None:
    text = (digits or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS
    return int(text) if is_number else None


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else str(round(seconds * 1000))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str | None) -> bytes:
    """Return what base64 stands for; what is none, or too long, is nothing."""
    stripped = (text or "").strip()
    if len(stripped) > _KEY_CHARACTERS:
        return b""
    try:
        return base64.b64decode(stripped, validate=True)
    except (binascii.Error, ValueError):
        return b""
