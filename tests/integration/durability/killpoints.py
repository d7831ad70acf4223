"""Let a process kill itself, or its connection, at a place that is named.

``store:17`` means: with SIGKILL, instead of the 17th statement. The package knows
nothing of this; a test program calls `install` before it does anything.
"""

import asyncio
import functools
import inspect
import os
import secrets
import signal
from collections.abc import Callable
from typing import Any

import x3dh

from xmpp_onion.client import Client
from xmpp_onion.e2ee import Omemo, SlixmppPep
from xmpp_onion.e2ee.room_encryption import RoomEncryption
from xmpp_onion.session import Session
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.session.wire import Wire
from xmpp_onion.store import Database
from xmpp_onion.store.statements import Connection

VARIABLE = "XMPP_ONION_KILL"

# kind -> (class, method, whether the kill comes before or after it)
_PLACES: dict[str, list[tuple[type, str, str]]] = {
    "store": [(Connection, "_run_one", "before")],
    "commit": [(Database, "_end", "before")],
    "ended": [(Database, "_end_in_group", "after")],
    "committed": [(Database, "_conclude", "before")],
    "encrypted": [(Omemo, "encrypt", "after"), (RoomEncryption, "encrypt", "after")],
    "decrypted": [(Omemo, "decrypt", "after")],
    "send": [(Session, "send", "before")],
    "sent": [(Session, "send", "after")],
    "wire": [(Wire, "_flush", "after")],
    "ack": [(OnionClient, "take_ack", "before")],
    "confirmed": [(OnionClient, "send_ack", "after")],
    "came": [(Client, "_take_in", "before")],
    "handled": [],  # the program calls `reach` itself
}
KINDS = tuple(_PLACES)


class KillPoint:
    """One place, and how often it is passed before it kills.

    Args:
        spec: ``KIND:N``; empty never kills.
    """

    def __init__(self, spec: str) -> None:
        self._kind, _, number = spec.partition(":")
        if spec and self._kind not in _PLACES:
            raise ValueError(f"{spec!r}: the kinds are {', '.join(KINDS)}")
        self._left = int(number or 0)

    def reach(self, kind: str) -> None:
        """Kill this process if this is the place."""
        if kind == self._kind:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Put the place where it belongs."""
        for owner, name, when in _PLACES.get(self._kind, []):
            _wrap(owner, name, when, functools.partial(self.reach, self._kind))


def install_cuts(percent: int, cut: Callable[[], None]) -> None:
    """Cut the connection at some of the calls that ask the network for something."""

    def perhaps() -> None:
        if secrets.randbelow(100) < percent:
            # At once, while the question is under way, or with the answer.
            asyncio.get_running_loop().call_later(secrets.randbelow(8) / 1000, cut)

    for name in (
        "fetch_device_list",
        "fetch_bundle",
        "publish_bundle",
        "publish_device_list",
    ):
        _wrap(SlixmppPep, name, "before", perhaps)
    _wrap(Session, "send", "before", perhaps)


def note_rotations(note: Callable[[], None]) -> None:
    """Call ``note`` whenever a signed pre-key is replaced."""
    _wrap(x3dh.BaseState, "rotate_signed_pre_key", "before", note)


def _wrap(owner: type, name: str, when: str, reach: Callable[[], None]) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            reach()
        result = original(*args, **kwargs)
        if when == "after":
            reach()
        return result

    @functools.wraps(original)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            reach()
        result = await original(*args, **kwargs)
        if when == "after":
            reach()
        return result

    is_async = inspect.iscoroutinefunction(original)
    setattr(owner, name, call_async if is_async else call)
