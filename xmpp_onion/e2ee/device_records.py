"""What the library keeps about each device, and for how many.

A device list takes the place of the one before, but the library forgets none of the
devices that it ever saw, and looks at all of them for each message. A contact whose
list names others every time could make us slow, and fill the disk.
"""

import base64
from collections.abc import Collection

from xmpp_onion.address import JID
from xmpp_onion.e2ee.decisions import is_decided
from xmpp_onion.e2ee.directory import MAX_DEVICES
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door, fingerprint_of
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.trust import TrustLevel
from xmpp_onion.e2ee.versions import NAMESPACES

__all__ = ["DeviceRecords"]

# Devices of one account, besides those that somebody decided about, and those that
# there is a session with, which have a bound of their own. Three full lists: what
# was written long ago may still be on its way.
_MOST = 3 * MAX_DEVICES
_PARTS = ("active", "label", "namespaces", "identity_key")


class DeviceRecords:
    """The devices of each account that the library knows. In transactions.

    Args:
        door: The library's way to its keys.
        device: This device; knows its sessions.
        sightings: When each device was last heard of.
    """

    def __init__(self, door: Door, device: OwnDevice, sightings: Sightings) -> None:
        self._door = door
        self._storage = door.storage
        self._device = device
        self._sightings = sightings

    async def trim(self, jid: JID, wanted: Collection[int]) -> None:
        """Forget devices that are not listed any more, if there are too many.

        Those whose key was never seen go first, then those that were heard of
        longest ago. What somebody decided about stays, listed or not, and so does
        what there is a session with: it is bound to the key that would be forgotten.

        Args:
            jid: Whose, bare.
            wanted: The devices in the list, which stay. This very one stays as well: it
                is verified.
        """
        place = f"/devices/{jid}/list"
        ids = (await self._storage.load_list(place, int)).maybe([])
        if len(ids) <= _MOST:
            return
        ranked = sorted(
            [(await self._worth(jid, i), i) for i in ids if i not in wanted]
        )
        spare = [i for (worth, _), i in ranked if worth < _KEPT]
        gone = set(spare[: len(ids) - _MOST])
        for device_id in gone:
            await self._forget(jid, device_id)
        await self._storage.store(place, [i for i in ids if i not in gone])

    async def _worth(self, jid: JID, device_id: int) -> tuple[int, str]:
        """Return what is sorted by: the least worth keeping is first."""
        key = await self.key(jid, device_id)
        if key is None:
            return _UNKNOWN, ""
        level = await self._storage.load_primitive(_trust(jid, key), str)
        places = [(namespace, jid, device_id) for namespace in NAMESPACES]
        if is_decided(level.maybe("")) or any(
            [await self._device.has_session(*place) for place in places]
        ):
            return _KEPT, ""
        return _SEEN, await self._sightings.last(jid, device_id)

    async def key(self, jid: JID, device_id: int) -> bytes | None:
        """Return the identity key of a device, in Ed25519 form, if it is known."""
        place = f"/devices/{jid}/{device_id}/identity_key"
        found = await self._storage.load_bytes(place)
        return found.from_just() if found.is_just else None

    async def numbers(self, jid: JID, fingerprint: str) -> tuple[int, ...]:
        """Return the devices of a JID that show a key."""
        ids = (await self._storage.load_list(f"/devices/{jid}/list", int)).maybe([])
        keys = [(number, await self.key(jid, number)) for number in ids]
        return tuple(n for n, key in keys if key and fingerprint_of(key) == fingerprint)

    async def is_verified(self, jid: JID, fingerprint: str) -> bool:
        """Tell whether somebody verified a key as that of a JID."""
        for number in await self.numbers(jid, fingerprint):
            key = await self.key(jid, number)
            level = key and await self._storage.load_primitive(_trust(jid, key), str)
            if level and level.maybe("") == TrustLevel.TRUSTED.name:
                return True
        return False

    async def take_key(self, jid: JID, device_id: int) -> None:
        """Forget which key a device has, and what was decided about that."""
        key = await self.key(jid, device_id)
        if key is None:
            return
        await self._storage.delete(f"/devices/{jid}/{device_id}/identity_key")
        await self._sightings.forget(jid, device_id)
        if not await self.numbers(jid, fingerprint_of(key)):
            await self._storage.delete(_trust(jid, key))

    async def _forget(self, jid: JID, device_id: int) -> None:
        key = await self.key(jid, device_id)
        if key is not None:
            await self._storage.delete(_trust(jid, key))
            await self._door.disown(key, jid)
            await self._sightings.forget(jid, device_id)
        for part in _PARTS:
            await self._storage.delete(f"/devices/{jid}/{device_id}/{part}")


_UNKNOWN, _SEEN, _KEPT = range(3)


def _trust(jid: JID, key: bytes) -> str:
    """Return where the library keeps what was decided about a key."""
    return f"/trust/{jid}/{base64.urlsafe_b64encode(key).decode('ascii')}"
