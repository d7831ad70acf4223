"""When we last got something from each device: which of them are still in use."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from xmpp_onion.address import JID
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import Device

__all__ = ["Sightings"]

_SEEN = "/xmpp-onion/last-seen/"


class Sightings:
    """The hour in which each device was last heard of. In transactions.

    Not the minute: a row for each message would be a write for each message, and
    whoever gets hold of the file would read from it when people talk.

    Args:
        storage: Where they are kept.
        now: The time in UTC; tests pass their own.
    """

    def __init__(
        self,
        storage: KeyStorage,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._storage = storage
        self._now = now

    async def note(self, device: Device) -> None:
        """Note that a message of a device was decrypted."""
        hour = self._now().replace(minute=0, second=0, microsecond=0)
        place = _key(device.jid, device.device_id)
        await self._storage.store(place, hour.isoformat())

    async def add_to(self, device: Device) -> Device:
        """Return the device with when it was last heard of."""
        text = await self.last(device.jid, device.device_id)
        return replace(device, seen=datetime.fromisoformat(text)) if text else device

    async def last(self, jid: JID, device_id: int) -> str:
        """Return when a device was last heard of, in ISO 8601; empty if never."""
        place = _key(jid, device_id)
        return (await self._storage.load_primitive(place, str)).maybe("")

    async def forget(self, jid: JID, device_id: int) -> None:
        """Forget that a device was ever heard of."""
        await self._storage.delete(_key(jid, device_id))


def _key(jid: JID, device_id: int) -> str:
    return f"{_SEEN}{jid}/{device_id}"
