"""A server that says, after the login, that it has another name now."""

import logging
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import InvalidMoveError, MovedError, SessionError
from xmpp_onion.moves import LIMIT, MOVED, Move

__all__ = ["raise_if_moved", "read_moved"]

log = logging.getLogger(__name__)

_MOVED: Final = f"{{{MOVED}}}moved"
_ERROR: Final = "{jabber:client}error"
_GONE: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}gone"


def raise_if_moved(features: ET.Element, domain: OnionAddress) -> None:
    """Return unless the server has another name now; it serves nobody under this one.

    Args:
        features: What the server offers us, to whom it has proved that it knows us.
        domain: Its name as we know it.

    Raises:
        MovedError: It has, and both names signed that.
        SessionError: It says so, and cannot prove it.
    """
    found = features.findtext(_MOVED)
    if found is None:
        return
    try:
        move = Move.read(found, old=domain, now=datetime.now(UTC))
    except InvalidMoveError as error:
        log.warning("%s says that it moved: %s", domain.short, error.why)
        raise SessionError(
            "the server says that it has moved, and cannot prove it",
            why=error.why,
            fix="It is not followed. Ask the operator over another channel.",
        ) from None
    raise MovedError(
        f"your server has moved to {move.new}",
        old=move.old,
        new=move.new,
        document=move.document,
        why="it says so with the keys of both names, and serves nobody under the "
        "old one",
        fix="Follow it, with your keys, contacts and rooms: xmpp-onion account move",
    )


def read_moved(element: ET.Element) -> str:
    """Return what an error says about where somebody is now; empty if nothing.

    Nothing of it is looked at here but its length: see `Move.read`.

    Source: RFC 6120, section 8.3.3.5.
    """
    error = element.find(_ERROR) if element.get("type") == "error" else None
    if error is None or error.find(_GONE) is None:
        return ""
    document = error.findtext(_MOVED) or ""
    return document if len(document) <= LIMIT else ""
