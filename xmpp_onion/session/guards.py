"""What is refused before anybody looks at it: a stream reader with limits.

Bytes in, elements out, no I/O. It stands in for slixmpp's parser, which has no
limits, accepts document types and, on newer expat, delivers a stanza late.

Anybody can have our server send us a stanza that is too deep; to end the stream for
it would bring it back with every login. Of such a stanza only an outline is kept,
so that it can be told and passed. What no server may send at all ends the stream.

Source: RFC 6120, section 11.1 (restricted XML) and section 4.9.3.14
(policy-violation).
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias
from xml.parsers import expat

from xmpp_onion.errors import StreamViolationError

__all__ = [
    "Limits",
    "Outline",
    "StanzaReader",
    "StreamClosed",
    "StreamOpened",
    "outline_of",
]

STREAM_TAG: Final = "{http://etherx.jabber.org/streams}stream"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one stanza may be, and how much one of its tags.

    Args:
        stanza_bytes: Prosody sends at most 512 KiB; twice that leaves room.
        tag_bytes: One start tag that does not end; a little more than the longest
            stanza between servers. It is read again with each piece that comes
            (CVE-2023-52425), so this also bounds the time: a quarter of a second.
        attribute_letters: All the attributes of one element.
        depth: Nesting. Python's own recursion ends near 1,000; no XEP needs 20.
        elements: Elements in one stanza, empty ones too.
    """

    stanza_bytes: int = 1024 * 1024
    tag_bytes: int = 576 * 1024
    attribute_letters: int = 64 * 1024
    depth: int = 64
    elements: int = 20_000


# What is kept of a stanza beyond a limit: enough to tell who sent it, and what the
# archive calls it (message, result, forwarded, delay, message).
_OUTLINE_TAGS: Final = 16
_OUTLINE_DEPTH: Final = 5
_OUTLINE_ATTRIBUTES: Final = 16
_OUTLINE_LETTERS: Final = 4096


_Tag: TypeAlias = tuple[int, str, dict[str, str]]
"""How deep it is, a stanza's own being 2; its name; its attributes."""


class Outline(ET.Element):
    """The outermost tags of a stanza that is beyond a limit; no text.

    A type of its own, because no sender can claim it.

    Attributes:
        why: Which limit, as a clause.
    """

    why = ""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer's stream header came.

    Attributes:
        stream_id: Its name for the stream; empty if it gave none.
    """

    stream_id: str


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The peer closed its stream; nothing may follow."""


class StanzaReader:
    """Cuts one XML stream into its top-level elements.

    One reader is for one stream: after TLS and after SASL a new one starts.

    Args:
        limits: What an element may be; the usual ones if there are none.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._fed = 0
        self._depth = 0
        self._elements = 0
        self._start = 0
        self._builder = ET.TreeBuilder()
        self._excess = ""
        self._tags: list[_Tag] = []
        self._items: list[StreamOpened | ET.Element | StreamClosed] = []
        self._names: dict[str, str] = {}
        self._is_broken = False
        self._parser = self._make_parser()

    def _make_parser(self) -> expat.XMLParserType:
        # The encoding is fixed: RFC 6120, section 11.6, knows only UTF-8.
        parser = expat.ParserCreate("UTF-8", "}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start_element
        parser.EndElementHandler = self._end_element
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._forbid
        parser.EntityDeclHandler = self._forbid
        parser.CommentHandler = self._forbid
        parser.ProcessingInstructionHandler = self._forbid
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # expat 2.6 otherwise keeps a complete stanza back until more bytes
            # come (python/cpython#115133). The limit on a tag bounds the cost.
            parser.SetReparseDeferralEnabled(False)  # noqa: FBT003 - expat takes no keyword
        return parser

    def feed(self, data: bytes) -> Iterator[StreamOpened | ET.Element | StreamClosed]:
        """Yield what became complete with ``data``, in order.

        Raises:
            StreamViolationError: The stream breaks a rule or a limit; what came
                before that was yielded. Close the connection.
            Exception: A mistake of ours; the same holds, for nobody knows where in
                the stream we are.
        """
        error: Exception | None = None
        try:
            self._fed += len(data)
            self._parser.Parse(data, False)  # noqa: FBT003 - expat takes no keyword
            self._check_unfinished()
        except expat.ExpatError as broken:
            # The text of the error has no content; the bytes stay out of it.
            error = _violation("not-well-formed", expat.ErrorString(broken.code) or "")
        except Exception as violation:  # noqa: BLE001 - raised below, behind what came before it
            error = violation
        items, self._items = self._items, []
        yield from items
        if error is not None:
            self._is_broken = True
            raise error

    def _check_unfinished(self) -> None:
        if self._depth > 1 and self._fed - self._start > self._limits.stanza_bytes:
            raise _violation("policy-violation", "a stanza is too long")
        if self._fed - self._parser.CurrentByteIndex > self._limits.tag_bytes:
            raise _violation("policy-violation", "a tag is too long")

    def _start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self._open_stream(name, attributes)
            return
        if self._depth == 2:
            self._builder = ET.TreeBuilder()
            self._excess, self._elements = "", 0
            self._tags.clear()
            self._start = self._parser.CurrentByteIndex
        self._elements += 1
        if self._depth <= _OUTLINE_DEPTH and len(self._tags) < _OUTLINE_TAGS:
            self._tags.append((self._depth, name, attributes))
        self._excess = self._excess or self._find_excess(attributes)
        if not self._excess:
            # Most have none, and each stanza has a dozen elements.
            named = attributes and {self._clark(k): v for k, v in attributes.items()}
            self._builder.start(self._clark(name), named)

    def _find_excess(self, attributes: dict[str, str]) -> str:
        """Return which limit an element takes its stanza beyond."""
        limits = self._limits
        if self._depth > limits.depth:
            return "it is nested too deeply"
        if self._elements > limits.elements:
            return "it has too many elements"
        if attributes and (
            sum(map(len, attributes.values())) > limits.attribute_letters
        ):
            return "its attributes are too long"
        return ""

    def _open_stream(self, name: str, attributes: dict[str, str]) -> None:
        if self._clark(name) != STREAM_TAG:
            raise _violation("invalid-namespace", "this is not an XMPP stream")
        self._items.append(StreamOpened(attributes.get("id", "")))

    def _end_element(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._items.append(StreamClosed())
            return
        if not self._excess:
            self._builder.end(self._clark(name))
        if self._depth == 1:
            size = self._parser.CurrentByteIndex - self._start
            if size > self._limits.stanza_bytes:
                raise _violation("policy-violation", "a stanza is too long")
            self._items.append(
                self._outline() if self._excess else self._builder.close()
            )
            self._tags.clear()

    def remains(self, why: str) -> Outline | None:
        """Return the outline of the stanza in which the stream was broken, if it was.

        Args:
            why: By what, as a clause.
        """
        if not self._is_broken or not self._tags:
            return None
        self._excess = why
        return self._outline()

    def _outline(self) -> Outline:
        tags = [
            (depth, self._clark(name), {self._clark(k): v for k, v in given.items()})
            for depth, name, given in self._tags
        ]
        return _outline(tags, self._excess)

    def _text(self, text: str) -> None:
        if self._depth > 1:
            if not self._excess:
                self._builder.data(text)
        elif text.strip():
            raise _violation("bad-format", "text stands between stanzas")

    def _clark(self, name: str) -> str:
        """Return ``{namespace}name`` for expat's ``namespace}name``."""
        try:
            return self._names[name]
        except KeyError:
            clark = "{" + name if "}" in name else name
            if len(self._names) < 1000:  # a peer chooses the names: bounded
                self._names[name] = clark
            return clark

    def _forbid(self, *_details: object) -> None:
        raise _violation("restricted-xml", "it has a document type or a comment")


def outline_of(element: ET.Element, why: str) -> Outline:
    """Return the outline of a stanza that cannot be read for another reason.

    Args:
        element: The stanza.
        why: That reason, as a clause.
    """

    def tags(inner: ET.Element, depth: int) -> Iterator[_Tag]:
        yield depth, inner.tag, inner.attrib
        if depth < _OUTLINE_DEPTH:
            for child in inner:
                yield from tags(child, depth + 1)

    return _outline(islice(tags(element, 2), _OUTLINE_TAGS), why)


def _outline(tags: Iterable[_Tag], why: str) -> Outline:
    path: list[Outline] = []
    for depth, name, attributes in tags:
        short = [
            (key, value)
            for key, value in attributes.items()
            if len(value) <= _OUTLINE_LETTERS
        ]
        tag = Outline(name, dict(short[:_OUTLINE_ATTRIBUTES]))
        tag.why = why
        del path[depth - 2 :]
        if path:
            path[-1].append(tag)
        path.append(tag)
    return path[0]


def _violation(condition: str, why: str) -> StreamViolationError:
    return StreamViolationError(
        "the server sent what an XMPP stream must not contain",
        condition=condition,
        why=why,
        fix="The connection was closed; tell the operator of the server.",
    )
