"""Turn what a file or the environment has into a value.

A reader raises ValueError; what it says begins with a verb and quotes nothing that
may be a secret.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from xmpp_onion.errors import XmppOnionError

__all__ = [
    "Reader",
    "Table",
    "one_of",
    "read_bool",
    "read_path",
    "read_pins",
    "read_place",
    "read_prefix",
    "read_profile",
    "read_roles",
    "read_seconds",
    "read_text",
    "read_trust",
]

T = TypeVar("T")

Reader: TypeAlias = Callable[[object], T]
"""Returns a value, or raises ValueError."""

Table: TypeAlias = Mapping[str, frozenset[str]]
"""Texts by a name."""

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_PLACE: Final = re.compile(r"\S+:[0-9]{1,5}")


def read_text(value: object) -> str | None:
    """Return a text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value


def read_profile(value: object) -> str:
    """Return the name of a profile."""
    return read_text(value) or ""


def read_path(value: object) -> Path | None:
    """Return a path; ``~`` is the user's folder."""
    return Path(read_text(value) or "").expanduser()


def read_place(value: object) -> str | None:
    """Return ``HOST:PORT``."""
    if not isinstance(value, str) or not _PLACE.fullmatch(value):
        raise ValueError("must be HOST:PORT")
    return value


def read_bool(value: object) -> bool:
    """Return true or false."""
    if isinstance(value, str) and value.casefold() in {"true", "false"}:
        return value.casefold() == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - what a reader raises
    return value


def read_seconds(value: object) -> float:
    """Return seconds, more than none and less than ten years of them."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError("must be a number of seconds")  # noqa: TRY004 - as above
    if not 0 < number <= 10 * 366 * 86400:
        raise ValueError("must be more than 0 seconds, and less than ten years")
    return float(number)


def one_of(*words: str) -> Reader[str]:
    """Return a reader of one of these words."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return read


def read_trust(value: object) -> str | None:
    """Return the policy's word; what other programs call it will do, too."""
    from xmpp_onion.e2ee.trust import Trust  # noqa: PLC0415 - slow, and rarely wanted

    try:
        return str(Trust.parse(read_text(value) or ""))
    except XmppOnionError:
        raise ValueError(f"must be one of {', '.join(Trust)}") from None


def read_prefix(value: object) -> str:
    """Return what commands begin with."""
    if not isinstance(value, str) or not value or any(map(str.isspace, value)):
        raise ValueError("must be a text without blanks")
    return value


def read_pins(value: object) -> Table:
    """Return fingerprints by JID, both in their one form."""
    found: dict[str, frozenset[str]] = {}
    for jid, digits in _lists(value):
        plain = [re.sub(r"[\s:]", "", each).lower() for each in digits]
        if not all(map(_FINGERPRINT.fullmatch, plain)):
            raise ValueError(f"has no fingerprint of 64 hex digits for {_bare(jid)}")
        found[_bare(jid)] = frozenset(plain)
    return found


def read_roles(value: object) -> Table:
    """Return people by role."""
    return {role: frozenset(map(_bare, people)) for role, people in _lists(value)}


def _lists(value: object) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(value, dict):
        raise ValueError("must be a table")  # noqa: TRY004 - what a reader raises
    for name, texts in value.items():
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"must have a list of texts for {name!a}")
        yield name, texts


def _bare(text: str) -> str:
    from xmpp_onion.address import JID  # noqa: PLC0415 - slow, and rarely wanted

    try:
        jid = JID(text).bare
    except XmppOnionError as error:
        raise ValueError(
            f"has {text[:80]!a}, which is no address: {error.why}"
        ) from None
    if not jid.local:
        raise ValueError(f"has {text[:80]!a}, which is nobody's address")
    return str(jid)
