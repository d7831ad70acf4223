"""From elements to the text of a stanza, as slixmpp writes it and several times faster.

A message to a room of a hundred has 300 elements and 50 kB, and each is written once
before it goes to the disk. slixmpp looks at each character of them.
"""

import xml.etree.ElementTree as ET
from typing import Final

__all__ = ["CLIENT", "serialise"]

CLIENT: Final = "jabber:client"
"""The namespace of stanzas between a client and its server."""
_XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"
_XML: Final = f"{{{_XML_NAMESPACE}}}"
_SIGNS: Final = "&<>'\""
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
)


def serialise(stanza: ET.Element) -> str:
    """Return the text of a stanza as it stands inside a client's stream.

    Attributes of other namespaces than XML's own are left out: a stanza has none.
    """
    pieces: list[str] = []
    # An element without a namespace takes that of the stream.
    namespace, _ = _names(stanza.tag)
    _write(stanza, CLIENT if namespace else "", pieces)
    return "".join(pieces)


def _names(tag: str) -> tuple[str, str]:
    """Return the namespace and the name of an element."""
    namespace, brace, name = tag.rpartition("}")
    return (namespace[1:], name) if brace else ("", tag)


def _escape(text: str) -> str:
    """Return a text as it stands in a document.

    Nearly all is without such a sign, and to look for each is much faster than to look
    at each letter.
    """
    for sign in _SIGNS:
        if sign in text:
            return text.translate(_ESCAPES)
    return text


def _write(element: ET.Element, outer: str, pieces: list[str]) -> None:
    namespace, name = _names(element.tag)
    if namespace == _XML_NAMESPACE:
        # Anybody may send such an element, and only this prefix may name it.
        name, namespace = f"xml:{name}", outer
    declared = "" if namespace == outer else f' xmlns="{namespace}"'
    pieces.append(f"<{name}{declared}")
    for key, value in element.attrib.items():
        if "}" not in key:
            pieces.append(f' {key}="{_escape(value)}"')
        elif key.startswith(_XML):
            pieces.append(f' xml:{key.removeprefix(_XML)}="{_escape(value)}"')
    if element.text or len(element):
        pieces.append(f">{_escape(element.text or '')}")
        for child in element:
            _write(child, namespace, pieces)
        pieces.append(f"</{name}>")
    else:
        pieces.append(" />")
    if element.tail:
        pieces.append(_escape(element.tail))
