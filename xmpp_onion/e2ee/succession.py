"""A person's word on whose key is whose, against what came first.

Whoever is first to show a key or a device id is believed until somebody compares:
a stranger may publish a copy of another's key, and a server a key of its own under
the number of a device. When a person then says whose key it is, who held the place
loses it: the key, the sessions made with it, and what waits to be sent to it.
"""

from collections.abc import Iterable

from xmpp_onion.address import JID
from xmpp_onion.e2ee.device_records import DeviceRecords
from xmpp_onion.e2ee.effect import Withdraw
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door, fingerprint_of
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.errors import FingerprintMismatchError

__all__ = ["Succession"]


class Succession:
    """Puts keys where a person says that they belong. All in a transaction.

    Args:
        own: Our account, bare: nobody takes a key of it.
        door: Where it is kept whose key is whose.
        device: This device; has the sessions.
        records: What the library keeps of devices.
    """

    def __init__(
        self, own: JID, door: Door, device: OwnDevice, records: DeviceRecords
    ) -> None:
        self._own = own
        self._door = door
        self._device = device
        self._records = records

    async def owners(self, fingerprints: Iterable[str]) -> dict[str, JID]:
        """Return whose each key is beyond doubt: ours, pinned, or verified."""
        found: dict[str, JID] = {}
        for digits in fingerprints:
            owner = await self._door.owner(digits)
            if owner is not None and await self._is_firm(owner, digits):
                found[digits] = owner
        return found

    async def _is_firm(self, owner: JID, digits: str) -> bool:
        return (
            owner == self._own
            or digits in self._door.pins.get(owner, ())
            or await self._records.is_verified(owner, digits)
        )

    async def install(
        self, jid: JID, fingerprint: str, device_id: int | None = None
    ) -> None:
        """Let a key be that of ``jid``, and of its device ``device_id``, from now on.

        Raises:
            FingerprintMismatchError: It is ours, pinned for somebody else, or
                verified as somebody else's.
        """
        owner = await self._door.owner(fingerprint)
        if owner is not None and owner != jid:
            if await self._is_firm(owner, fingerprint):
                raise _contradiction(jid, owner)
            for number in await self._records.numbers(owner, fingerprint):
                await self._depose(owner, number, fingerprint)
                self._door.tell_reuse(owner, number, fingerprint, jid)
        await self._door.give(fingerprint, jid)
        key = device_id and await self._records.key(jid, device_id)
        if device_id and key and (before := fingerprint_of(key)) != fingerprint:
            self._door.tell_changed(jid, device_id, fingerprint, before)
            await self._depose(jid, device_id, before)
            await self._door.bar(before, jid)

    async def _depose(self, jid: JID, device_id: int, fingerprint: str) -> None:
        for backend in self._device.backends.values():
            await backend.delete_session(jid, device_id)
        await self._records.take_key(jid, device_id)
        gone = Device(
            jid,
            device_id,
            fingerprint,
            TrustLevel.DISTRUSTED,
            active=True,
            own=jid == self._own,
        )
        self._door.effects.append(Withdraw(gone))


def _contradiction(jid: JID, owner: JID) -> FingerprintMismatchError:
    return FingerprintMismatchError(
        "ALARM: the key contradicts what was verified; nothing was changed",
        why=f"it is pinned for {owner}, or was verified as theirs",
        fix="Somebody may read along. Compare it with both owners, then take the wrong "
        f"decision back: xmpp-onion trust list {owner}; it is said to be of {jid}.",
    )
