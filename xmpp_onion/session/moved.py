"""A server that says, after the login, that it has another name now."""

import logging
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import InvalidMoveError, MovedError, SessionError
from xmpp_onion.moves import MOVED, Move

__all__ = ["raise_if_moved"]

log = logging.getLogger(__name__)

_MOVED: Final = f"{{{MOVED}}}moved"


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
