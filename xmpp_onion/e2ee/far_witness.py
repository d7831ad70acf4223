"""How far an account's file has come, told to our own server.

The note beside the file (:mod:`xmpp_onion.store.witness`) is lost with the disk, and
restored with it. The server keeps another: a private item, with a code that only
this device can make. So the server cannot invent a higher number, which would have
us begin all sessions anew; it can withhold the item, or repeat an older one, and
then we notice what we would have noticed without it.
"""

import asyncio
import hmac
import logging
import re
from typing import Final
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from xmpp_onion.e2ee.nodes import Asked, HiddenNodeError, Nodes
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.errors import DeviceListError
from xmpp_onion.store import Database, Keys

__all__ = ["NODE", "FarWitness", "read_testimony", "write_testimony"]

log = logging.getLogger(__name__)

NODE: Final = "xmpp-onion:generation:0"
"""The node; the id of an item is that of the store it is about."""

_TAG: Final = f"{{{NODE}}}generation"
# Transactions until the server is told again: a restored disk that is younger than
# that may go unnoticed, if the program did not end by itself.
_EVERY: Final = 1_000
# Holds every integer of SQLite; Python refuses to read thousands of digits.
_NUMBER: Final = re.compile("[0-9]{1,19}")
# What our server refused to keep private is not told, now and later.
_REFUSED: Final = "/xmpp-onion/generation-refused"
_CHECKED: Final = "/xmpp-onion/generation-private"


class FarWitness:
    """Asks the server how far the store was, once, and tells it how far it is.

    Nothing is told before it was asked: that would wipe out what the server knows.

    Args:
        database: Of the account.
        keys: Its keys.
        nodes: The way to our server.

    Attributes:
        heard: The generation that the server knew; 0 for none.
        told: The generation that it has confirmed; 0 for none yet.
        confirmed: Set from then on.
    """

    def __init__(self, database: Database, keys: Keys, nodes: Nodes) -> None:
        self._database = database
        self._storage = KeyStorage(keys)
        self._nodes = nodes
        self._key = b""
        self.told = self.heard = 0
        self.confirmed = asyncio.Event()
        self._has_heard = False
        self._asked: Asked | None = None
        self._due = asyncio.Event()
        database.after_commit(self._look)

    async def open(self) -> None:
        """Load what the code is made with."""
        if self._key or (await self._storage.load(_REFUSED)).is_just:
            return
        identity = await self._storage.load_bytes("/ikp/key")
        if identity.is_just:
            self._key = derive_key(identity.from_just())
        else:
            self._has_heard = True  # a device that is not made yet has said nothing

    async def ask_ahead(self) -> None:
        """Send the question with the next login, for :meth:`ask` to await."""
        await self.open()
        self._asked = None
        if not self._has_heard and self._key:
            node = (NODE, self._database.progress.store_id)
            self._asked = self._nodes.ask(self._nodes.own, node, newest=False)

    async def ask(self) -> None:
        """Ask how far the store was before it was opened. NETWORK, one request.

        Once in the life of a process, after :meth:`open`. No answer is no alarm.
        """
        asked, self._asked = self._asked, None
        if self._has_heard or not self._key:
            return
        try:
            found = await self._nodes.fetch(
                self._nodes.own,
                (NODE, self._database.progress.store_id),
                newest=False,
                asked=asked,
            )
        except (DeviceListError, HiddenNodeError):
            return
        self._has_heard = True
        if found is not None:
            store_id = self._database.progress.store_id
            self.heard = read_testimony(found, self._key, store_id)
            self._database.progress.heed(self.heard)

    async def run(self) -> None:
        """Tell the server after each login, and when there is much to tell."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.open()
            if not self._may_tell():
                continue
            generation = self._database.progress.reached
            try:
                await self._nodes.publish(
                    (NODE, self._database.progress.store_id),
                    write_testimony(
                        generation, self._key, self._database.progress.store_id
                    ),
                    max_items="max",
                    access_model="whitelist",
                )
                await self._see_to_privacy()
            except DeviceListError:
                log.info("our server was not told how far the store is")
            else:
                self.told = generation
                self.confirmed.set()

    def tell(self) -> None:
        """Have the server told soon; costs no time here."""
        self._due.set()

    def _may_tell(self) -> bool:
        is_old = self._database.progress.is_rolled_back
        return bool(self._key) and self._has_heard and not is_old

    def _look(self) -> None:
        if self.told and self._database.progress.reached - self.told >= _EVERY:
            self._due.set()

    async def _see_to_privacy(self) -> None:
        """See, once in a store's life, that nobody else may read it. NETWORK."""
        if (await self._storage.load(_CHECKED)).is_just:
            return
        is_private = await self._nodes.restrict(NODE)
        if not is_private:
            log.warning("the server keeps nothing private: it is not told any more")
            await self._nodes.delete(NODE)
            self._key = b""
        async with self._database.transaction():
            await self._storage.store(_CHECKED if is_private else _REFUSED, "yes")

    async def close(self) -> None:
        """Tell the server once more, and do not wait for what it says."""
        generation = self._database.progress.reached
        if not self._may_tell() or generation <= self.told:
            return
        if (await self._storage.load(_CHECKED)).is_just:  # the node is there
            await self._nodes.post(
                (NODE, self._database.progress.store_id),
                write_testimony(
                    generation, self._key, self._database.progress.store_id
                ),
            )


def derive_key(identity: bytes) -> bytes:
    """Return what codes are made with: of this device, and of nothing else."""
    purpose = b"xmpp-onion generation at the server"
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(identity)


def write_testimony(generation: int, key: bytes, store_id: str) -> ET.Element:
    """Return what the server keeps."""
    text = str(generation)
    return ET.Element(_TAG, {"value": text, "mac": _code(text, key, store_id)})


def read_testimony(element: ET.Element, key: bytes, store_id: str) -> int:
    """Return what the server kept; 0 for what this store did not say."""
    text, code = element.get("value", ""), element.get("mac", "")
    is_ours = hmac.compare_digest(
        code.encode(), _code(text, key, store_id).encode()
    )  # as bytes: a text may hold anything
    if element.tag != _TAG or not is_ours or not _NUMBER.fullmatch(text):
        log.warning("what the server says about the store is not of this store")
        return 0
    return int(text)


def _code(text: str, key: bytes, store_id: str) -> str:
    return hmac.digest(key, f"{store_id} {text}".encode(), "sha256").hex()
