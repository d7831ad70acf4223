"""Stamps: what a first word to a stranger costs at a server that asks for it.

A name costs nothing on onions, so a server that everybody may come to cannot count
names. It asks strangers for work instead: a number that makes a hash, over who writes
to whom on which day, begin with so many zero bits. Contacts never need one.

Source: ours, ``urn:xmpp-onion:stamp:0``; ADR 0030. After "hashcash" (A. Back, 2002).
"""

import asyncio
import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final, TypeVar
from xml.etree import ElementTree as ET

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import StampError
from xmpp_onion.session.client_xmpp import OnionClient

__all__ = ["STAMP", "Stamps", "ask_price", "make_nonce", "read_price"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

STAMP: Final = "{urn:xmpp-onion:stamp:0}stamp"
"""The tag of what pays for a first word."""
# Of the work, in zero bits: 24 are sixteen million hashes, fourteen seconds here. A
# server that asks for more wants our computer and not our message.
_LIMIT_BITS: Final = 24
# Seconds for a server to say what it asks for; it may be dialed by ours meanwhile.
_PATIENCE: Final = 30.0
# How long a price counts, and silence: a server may change it, or begin to ask.
_PRICE_AGE: Final = timedelta(hours=1)
# Prices and stamps that are remembered: of the servers and people of a busy day.
_REMEMBERED: Final = 1000
# Hashes between two looks whether somebody still waits: some milliseconds' worth.
_CHUNK: Final = 4096


class Stamps:
    """The stamps of one account.

    Args:
        own: Our bare JID.
        ask: Returns how many bits a server asks for, 0 if it knows of no stamps, and
            None if it could not be asked.

    Attributes:
        known: Who has us as a contact, as far as our own list says.
    """

    def __init__(self, own: JID, ask: Callable[[str], Awaitable[int | None]]) -> None:
        self.known: frozenset[JID] = frozenset()
        self._own = own
        self._ask = ask
        self._prices: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._made: OrderedDict[tuple[JID, str], tuple[int, str]] = OrderedDict()

    async def get(self, to: JID) -> tuple[ET.Element, ...]:
        """Return what goes along with a word to somebody: one stamp, or nothing.

        Nothing where none is needed, and where the server does not say: then it may
        refuse, and says why.

        Raises:
            StampError: The server asks for more than we give.
        """
        if not to.local or self._own.domain == to.domain or to.bare in self.known:
            return ()
        bits = await self._price(to.domain)
        if bits <= 0:
            return ()
        if bits > _LIMIT_BITS:
            raise StampError(
                f"{to.domain.short} asks strangers for too much work",
                why=f"a stamp of {bits} bits, and we make none of more than "
                f"{_LIMIT_BITS}",
                fix="Ask the other person to add you as a contact first.",
            )
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        nonce = await self._stamp(to.bare, day, bits)
        return (ET.Element(STAMP, {"day": day, "nonce": nonce}),)

    async def _stamp(self, to: JID, day: str, bits: int) -> str:
        made = self._made.get((to, day))
        if made is not None and made[0] >= bits:
            return made[1]
        head = "\n".join(("urn:xmpp-onion:stamp:0", self._own, to, day, ""))
        given_up = threading.Event()
        try:
            nonce = await asyncio.to_thread(make_nonce, head, bits, given_up)
        finally:
            given_up.set()
        _remember(self._made, (to, day), (bits, nonce))
        return nonce

    async def _price(self, domain: str) -> int:
        now = datetime.now(UTC)
        known = self._prices.get(domain)
        if known is not None and now - known[1] < _PRICE_AGE:
            return known[0]
        bits = await self._ask(domain)
        if bits is None:
            return 0
        _remember(self._prices, domain, (bits, now))
        return bits


async def ask_price(xmpp: OnionClient, domain: str) -> int | None:
    """Return how many bits a server asks of strangers; None if it is not there now."""
    request = xmpp.make_iq_get(ito=domain)
    request.append(ET.Element(STAMP))
    try:
        answer = await request.send(timeout=_PATIENCE)
    except IqError:
        return 0  # it knows of no stamps
    except (IqTimeout, NotConnectedError):
        return None
    return read_price(answer.xml.find(STAMP))


def read_price(stamp: ET.Element | None) -> int:
    """Return how many bits an answer names; 0 for anything malformed."""
    bits = "" if stamp is None else stamp.get("bits", "")
    return int(bits) if bits.isascii() and bits.isdigit() and len(bits) < 4 else 0


def make_nonce(head: str, bits: int, given_up: threading.Event) -> str:
    """Return what makes the hash of ``head`` with it begin with so many zero bits.

    Blocks; call it in a thread. It holds the interpreter no longer than other threads
    let it.

    Args:
        head: What stands before it.
        bits: How much work it shall have cost.
        given_up: Set when nobody waits any more.
    """
    start = hashlib.sha256(head.encode())
    salt = secrets.token_hex(8)
    bound = 1 << (256 - bits)
    for number in count():
        nonce = f"{salt}-{number:x}"
        attempt = start.copy()
        attempt.update(nonce.encode())
        if int.from_bytes(attempt.digest()) < bound:
            return nonce
        if number % _CHUNK == 0 and given_up.is_set():
            break
    return ""  # nobody reads it


def _remember(table: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    table[key] = value
    if len(table) > _REMEMBERED:
        table.popitem(last=False)
