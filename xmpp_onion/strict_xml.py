"""XML of somebody else: read with limits, nothing resolved; and written to compare."""

import copy
import re
import xml.etree.ElementTree as ET
from xml.parsers import expat

__all__ = ["StrictReader", "canonical"]


# What has nothing to escape, as nearly all that people send inside of <encrypted/>.
# No namespace with a slash: those may have a prefix of their own in ElementTree.
_NAME = re.compile("[A-Za-z][A-Za-z0-9-]*")
_NAMESPACE = re.compile("[A-Za-z0-9:._-]+")
_TEXT = re.compile("[A-Za-z0-9+/=@._-]*")


def canonical(element: ET.Element) -> str:
    """Return one element as canonical XML, and not the text that follows on it.

    That text belongs to its parent, and two roots, or text behind one, are no document.
    Names of messages that were seen come from what this returns, so it must never
    become another for the same element.
    """
    pieces: list[str] = []
    namespace, brace, _ = element.tag[1:].partition("}")
    if brace and _NAMESPACE.fullmatch(namespace):
        declared = f' xmlns:ns0="{namespace}"'
        if _write_plain(element, f"{{{namespace}}}", declared, pieces):
            return "".join(pieces)
    alone = copy.copy(element)
    alone.tail = None
    return ET.canonicalize(ET.tostring(alone, "unicode"))


def _write_plain(
    element: ET.Element, start: str, declared: str, pieces: list[str]
) -> bool:
    """Write what has one namespace and nothing to escape, a tenth of the work.

    Returns:
        Whether it is of that kind; if not, what was written is of no use.
    """
    if not element.tag.startswith(start):
        return False  # of another namespace, or of none
    name, text = element.tag[len(start) :], element.text or ""
    is_plain = (
        _NAME.fullmatch(name)
        and _TEXT.fullmatch(text)
        and all(map(_NAME.fullmatch, element.attrib))
        and all(map(_TEXT.fullmatch, element.attrib.values()))
    )
    if not is_plain:
        return False
    attributes = "".join(
        f' {key}="{element.attrib[key]}"' for key in sorted(element.attrib)
    )
    pieces.append(f"<ns0:{name}{declared}{attributes}>{text}")
    for child in element:
        if child.tail or not _write_plain(child, start, "", pieces):
            return False
    pieces.append(f"</ns0:{name}>")
    return True


class StrictReader:
    """Reads one document in UTF-8: no document type, hence no entities.

    Args:
        depth: How deeply its elements may be nested.
        elements: How many it may have.
        bare: Comments and instructions are refused, too.
    """

    def __init__(self, *, depth: int, elements: int, bare: bool) -> None:
        self._builder = ET.TreeBuilder()
        self._depth = depth
        self._elements = elements
        # The encoding is fixed, whatever a declaration says; read() sees to byte order
        # marks, which count for more.
        parser = self._parser = expat.ParserCreate("UTF-8", "}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._builder.data
        parser.StartDoctypeDeclHandler = self._forbid
        if bare:
            parser.CommentHandler = self._forbid
            parser.ProcessingInstructionHandler = self._forbid

    def read(self, data: bytes) -> ET.Element:
        """Return the document.

        Raises:
            ValueError: It is not well-formed, or breaks a limit; says which, and
                nothing of the document.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ValueError("it is no UTF-8") from None
        try:
            self._parser.Parse(text, True)  # noqa: FBT003 - expat takes no keyword
        except expat.ExpatError:
            raise ValueError("it is no XML") from None
        return self._builder.close()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth -= 1
        self._elements -= 1
        if self._depth < 0 or self._elements < 0:
            raise ValueError("it is too large, or too deep")
        clark = {_clark(key): value for key, value in attributes.items()}
        self._builder.start(_clark(name), clark)

    def _end(self, name: str) -> None:
        self._depth += 1
        self._builder.end(_clark(name))

    def _forbid(self, *_details: object) -> None:
        raise ValueError("it has a document type, or other orders to its reader")


def _clark(name: str) -> str:
    """Return ``{namespace}name`` for expat's ``namespace}name``."""
    return "{" + name if "}" in name else name
