"""The devices of each account: which are listed, which are known, what holds for them.

The library keeps a record for each device. It is told about a device list only when
that differs from what it was told before, and a list's length is bounded here.
"""

import logging
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.decisions import Decisions
from xmpp_onion.e2ee.device_records import DeviceRecords
from xmpp_onion.e2ee.directory import MAX_DEVICES, Directory, Place
from xmpp_onion.e2ee.effect import SendEmpty
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.trust import Device, accepts
from xmpp_onion.e2ee.versions import NAMESPACES
from xmpp_onion.e2ee.vouching import Vouching

if TYPE_CHECKING:
    from collections.abc import Collection

    import omemo

__all__ = ["KnownDevices"]

log = logging.getLogger(__name__)

# Lists that need not be told to the library again; each is 2 KB, with 32 devices.
_MOST_APPLIED = 4000


class _Applied(NamedTuple):
    """A list that the library was told about.

    Attributes:
        devices: With their labels.
        unread: Those whose label was left out, because the key was not known that has
            to have signed it.
    """

    devices: "omemo.DeviceList"
    unread: tuple[int, ...]


class KnownDevices:
    """What this store knows of devices. All but :meth:`listed` in a transaction.

    Args:
        own: Our account, bare.
        device: This device.
        directory: The device lists that were fetched or pushed.
        decisions: What is decided about devices.
        vouching: What verified devices say of others.
        records: What the library keeps of devices.
    """

    def __init__(
        self,
        own: JID,
        device: OwnDevice,
        directory: Directory,
        *,
        decisions: Decisions,
        vouching: Vouching,
        records: DeviceRecords,
    ) -> None:
        self._own = own
        self._device = device
        self._directory = directory
        self._decisions = decisions
        self._vouching = vouching
        self._records = records
        self._applied: dict[tuple[str, str], _Applied] = {}

    def forget_lists(self) -> None:
        """Tell the library about all lists again: one changed, or a roll-back did."""
        self._applied.clear()

    async def of(
        self, jid: JID, infos: "Collection[omemo.DeviceInformation] | None" = None
    ) -> tuple[Device, ...]:
        """Return the known devices of a JID, this one among ours.

        Args:
            jid: Whose, bare.
            infos: What the library knows of them, if it was just asked.
        """
        manager = await self._device.open()
        await self.apply_lists(manager, jid)
        listed = await self.listed(jid)
        devices = await self._decisions.devices(manager, jid, listed, infos)
        if not self._decisions.take_newcomers():
            return devices
        if not await self._vouching.look_again(manager, jid, self._device.fingerprint):
            return devices
        return await self._decisions.devices(manager, jid, listed)

    async def others(self, jid: JID) -> tuple[Device, ...]:
        """Return the known devices of a JID except this one."""
        devices = await self.of(jid)
        if jid != self._own:
            return devices
        return tuple(d for d in devices if d.device_id != self._device.device_id)

    async def may_answer(self, jid: JID, device_id: int) -> bool:
        """Tell whether the policy accepts a device that is in use."""
        return await self.accepted(jid, device_id) is not None

    async def accepted(self, jid: JID, device_id: int) -> Device | None:
        """Return a device that is in use, if the policy accepts it."""
        for device in await self.of(jid):
            if device.device_id == device_id and device.active:
                return device if accepts(device.trust) else None
        return None

    async def may_send(self, effect: SendEmpty) -> bool:
        """Tell whether the policy accepts the devices that an empty message is for."""
        element = ET.fromstring(effect.element)  # noqa: S314 - made by this package
        readers = {int(key.get("rid", "")) for key in element.iter() if key.get("rid")}
        devices = await self.of(effect.to)
        return all(accepts(d.trust) for d in devices if d.device_id in readers)

    async def listed(self, jid: JID) -> tuple[int, ...]:
        """Return the device ids to take notice of: known ones first, then in order."""
        ids = self._directory.ids(jid)
        if len(ids) <= MAX_DEVICES:
            return ids
        log.warning("%s lists %d devices", jid.short, len(ids))
        known = [i for i in ids if await self._has_session(jid, i)]
        return tuple(dict.fromkeys((*known, *ids)))[:MAX_DEVICES]

    async def _has_session(self, jid: JID, device_id: int) -> bool:
        if (jid, device_id) == (self._own, self._device.device_id):
            return True
        places = self._directory.places(jid, device_id)
        return any([await self._device.has_session(*place) for place in places])

    async def apply_lists(self, manager: SessionManager, jid: JID) -> None:
        """Tell the library about the device lists that were fetched or pushed."""
        wanted, key = set(await self.listed(jid)), self._records.key
        for namespace in NAMESPACES:
            published = self._directory.lists.get((namespace, jid))
            if published is None:
                continue
            devices = {i: label for i, label in published.items() if i in wanted}
            if not await self._is_applied(namespace, jid, devices):
                await manager.update_device_list(namespace, jid, devices)
                if len(self._applied) >= _MOST_APPLIED:
                    self._applied.clear()
                unread = [i for i in devices if devices[i] and not await key(jid, i)]
                self._applied[namespace, jid] = _Applied(devices, tuple(unread))
                await self._records.trim(jid, wanted)

    async def _is_applied(
        self, namespace: str, jid: JID, devices: "omemo.DeviceList"
    ) -> bool:
        """Tell whether the library would learn nothing from a list."""
        before = self._applied.get((namespace, jid))
        if before is None or before.devices != devices:
            return False
        for number in before.unread:
            has_bundle = self._directory.has_usable(Place(namespace, jid, number))
            if has_bundle or await self._records.key(jid, number):
                return False
        return True
