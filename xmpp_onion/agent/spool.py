"""Texts that wait where nobody holds the account: a file each, sent by who logs in.

Beside the store and not in it: whoever has the store open may be trying to log in for
hours, and a text has to be kept all the same. Each goes out under the id that it has
here, so that one is sent once, wherever a process is killed.
"""

import json
import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from xmpp_onion import private
from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.chat import Line
from xmpp_onion.errors import StoreError

__all__ = ["SPOOL_LIMIT", "Spool", "Spooled"]

log = logging.getLogger(__name__)

SPOOL_LIMIT: Final = 10_000
"""Texts that wait at most: a night of an alert a second is a mistake of somebody."""
# 128 KiB of text in JSON's escapes, in base64.
_FILE_LIMIT_BYTES: Final = 2 * 1024 * 1024
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Spooled:
    """A text that waits.

    Attributes:
        id: That of the message which it becomes.
        to: Who shall have it.
        text: What to say.
        expires: How long it may be kept, from when it was put here.
        at: When that was: nanoseconds since 1970.
    """

    id: str
    to: JID
    text: str
    expires: timedelta | None
    at: int

    def remaining(self, now: int) -> timedelta | None:
        """Return how long it may still be kept; nothing if its time is over.

        Args:
            now: Nanoseconds since 1970.
        """
        if self.expires is None:
            return None
        return max(
            timedelta(), self.expires - timedelta(seconds=(now - self.at) // _SECOND)
        )

    def as_line(self) -> Line:
        """Return the ``--json`` line that tells about it."""
        return {
            "v": 1,
            "event": "sent",
            "id": self.id,
            "to": self.to,
            "encrypted": False,
            "devices": 0,
            "skipped": [],
            "text_only": 0,
            "state": "queued",
            "reason": None,
        }


class Spool:
    """The texts of one account that wait, oldest first.

    Args:
        account: Encrypted at rest or not; its texts are as it is.
    """

    def __init__(self, account: Account) -> None:
        self._seal = account.seal
        self._folder = account.folder / "spool"

    def put(self, to: JID, text: str, expires: timedelta | None = None) -> Spooled:
        """Keep a text; it is on the disk when this returns.

        Raises:
            StoreError: It cannot be written, or too much waits already.
        """
        private.make_folder(self._folder)
        if len(self.names()) >= SPOOL_LIMIT:
            raise StoreError(
                "the text was not kept",
                why=f"{SPOOL_LIMIT} wait already",
                fix="See why they are not sent: xmpp-onion agent status",
            )
        kept = Spooled(secrets.token_hex(16), to, text, expires, time.time_ns())
        seconds = None if expires is None else round(expires.total_seconds())
        data = json.dumps({"to": to, "text": text, "expires": seconds})
        if self._seal is not None:
            data = json.dumps({"sealed": self._seal.encrypt(data)})
        path = self._folder / f"{kept.at:020d}-{kept.id}"
        with private.os_errors(path):
            private.write_new(path, data.encode())
        return kept

    def names(self) -> list[str]:
        """Return the names of what waits, in its order."""
        if not private.check_folder(self._folder):
            return []
        return sorted(
            path.name for path in self._folder.iterdir() if path.suffix != ".new"
        )

    def read(self, name: str) -> Spooled | None:
        """Return what waits under a name; None if that cannot be read.

        What is damaged stays where it is, and the log says so.
        """
        path = self._folder / name
        try:
            values = json.loads(private.read_bytes(path, _FILE_LIMIT_BYTES))
            if "sealed" in values and self._seal is not None:
                values = json.loads(self._seal.decrypt(values["sealed"]))
            at, _, message_id = name.partition("-")
            seconds = values["expires"]
            return Spooled(
                id=message_id,
                to=JID(values["to"]),
                text=str(values["text"]),
                expires=None if seconds is None else timedelta(seconds=seconds),
                at=int(at),
            )
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            log.warning("%s cannot be read: %s", path, type(error).__name__)
            return None

    def all(self) -> Iterator[tuple[str, Spooled]]:
        """Yield what waits with its name, oldest first, as far as it can be read."""
        for name in self.names():
            found = self.read(name)
            if found is not None:
                yield name, found

    def remove(self, name: str) -> None:
        """Forget what was accepted; twice is no error."""
        self._place(name).unlink(missing_ok=True)

    def seal_all(self) -> None:
        """Encrypt what was kept in the clear, once the account is encrypted.

        Raises:
            StoreError: It cannot be written.
        """
        for name in self.names():
            data = private.read(self._place(name))
            if self._seal is not None and "sealed" not in json.loads(data):
                sealed = json.dumps({"sealed": self._seal.encrypt(data)})
                private.replace(self._place(name), sealed.encode())

    def _place(self, name: str) -> Path:
        return self._folder / name
