"""What is inside an encrypted message."""

from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

__all__ = ["Plain"]


@dataclass(frozen=True, slots=True)
class Plain:
    """The content of a message before encryption, or after decryption.

    Attributes:
        text: What was said; None if the message says nothing to a person.
        payload: What travels beside the text: replies, reactions, receipts. Only
            ``urn:xmpp:omemo:2`` carries it.
    """

    text: str | None = field(repr=False)
    payload: tuple[ET.Element, ...] = field(default=(), repr=False)
