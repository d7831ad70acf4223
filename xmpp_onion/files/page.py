"""Fetches a page of an onion service, over a circuit that nothing else uses."""

from typing import Final

from xmpp_onion.chat import Place
from xmpp_onion.files.http import Wire
from xmpp_onion.files.way import Dialer, Pace, isolated

__all__ = ["PAGE_BYTES", "fetch_page"]

PAGE_BYTES: Final = 1024 * 1024
"""Bytes that a page may have, if nobody says otherwise."""


async def fetch_page(
    dialer: Dialer,
    url: str,
    *,
    account: str,
    limit_bytes: int = PAGE_BYTES,
    pace: Pace | None = None,
) -> bytes:
    """Return a page; see ``Client.fetch``.

    Args:
        dialer: The one door.
        url: ``http://….onion/…``; in TLS, ``https``, too.
        account: Whose circuit it is: no other account uses it, and no other request.
        limit_bytes: Refuse more.
        pace: How slow the far end may be.
    """
    place = Place.parse(url)
    wire = await Wire.connect(
        dialer, place, isolation=isolated(account), pace=pace or Pace()
    )
    try:
        return await wire.page(place, limit_bytes)
    finally:
        wire.close()
