"""What a message wants from the network, fetched before its transaction begins."""

import logging
from collections.abc import Collection, Iterable, Sequence
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee.directory import Directory, Place
from xmpp_onion.e2ee.healing import Patient
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import fingerprint_of
from xmpp_onion.e2ee.trust import Device, accepts
from xmpp_onion.e2ee.versions import NAMESPACES, addressed, sender_id
from xmpp_onion.errors import DeviceListError

__all__ = ["Supply"]

# Sessions that are known without a look at the disk; each takes 200 bytes.
_MOST_SESSIONS = 10_000

log = logging.getLogger(__name__)


class Supply:
    """Fetches device lists and bundles. NETWORK, outside of transactions.

    Args:
        own: Our account, bare.
        device: This device.
        directory: Where what was fetched is kept.
        known: The known devices.
    """

    def __init__(
        self, own: JID, device: OwnDevice, directory: Directory, known: KnownDevices
    ) -> None:
        self._own = own
        self._device = device
        self._directory = directory
        self._known = known
        # Sessions to send with that there are; dropped by a roll-back.
        self._sessions: set[tuple[str, str, int]] = set()
        self._deletions = 0

    def forget_sessions(self) -> None:
        """Look again whether there are sessions: one went, or a roll-back may have."""
        self._sessions.clear()

    async def fetch(self, jids: Collection[JID]) -> None:
        """Fetch what encrypting for these JIDs will need; nothing is raised."""
        wanted = {jid.bare for jid in jids} | {self._own}
        await self._directory.fetch_lists(wanted, is_crowd=len(jids) > 1)
        # A device whose newest bundle is missing may have an older one.
        for _ in NAMESPACES:
            devices = [(j, i) for j in wanted for i in await self._known.listed(j)]
            found = [await self._missing_bundle(*device) for device in devices]
            missing = [*filter(None, found)]
            if not missing:
                return
            try:
                await self._directory.fetch_bundles(missing)
            except DeviceListError:
                log.info("not all bundles could be fetched")

    async def is_idle(self, jids: Collection[JID]) -> bool:
        """Tell whether :meth:`fetch` would ask nobody; waits for nothing."""
        wanted = {jid.bare for jid in jids} | {self._own}
        if not self._directory.is_fresh(wanted, is_crowd=len(jids) > 1):
            return False
        devices = [(j, i) for j in wanted for i in await self._known.listed(j)]
        return not any([await self._missing_bundle(*device) for device in devices])

    async def is_complete(self, jids: Collection[JID]) -> bool:
        """Tell whether each known device of these JIDs, and of ours, can be written to.

        In a transaction. A device that the policy refuses is none of them; nobody is
        complete of whom we know no device.
        """
        for jid in {jid.bare for jid in jids} | {self._own}:
            devices = [each for each in await self._known.others(jid) if each.active]
            if not devices and jid != self._own:
                return False
            numbers = {device.device_id for device in devices}
            for number in {*await self._known.listed(jid)} - numbers:
                if await self._missing_bundle(jid, number) is not None:
                    return False
            for device in devices:
                if accepts(device.trust) and not await self._is_usable(device):
                    return False
        return True

    async def _is_usable(self, device: Device) -> bool:
        places = [Place(n, device.jid, device.device_id) for n in device.namespaces]
        for place in places:
            if await self._has_session(place) or self._directory.has_usable(place):
                return True
        # What was asked for a moment ago is left out, whoever can be asked now.
        return all(self._directory.is_absent(place) for place in places)

    async def _missing_bundle(self, jid: JID, device_id: int) -> Place | None:
        """Return the bundle to fetch before a device can be written to, if any."""
        if (jid, device_id) == (self._own, self._device.device_id):
            return None
        for place in self._directory.places(jid, device_id):
            if await self._has_session(place) or self._directory.has_usable(place):
                return None
            if not self._directory.is_absent(place):
                return place
        return None

    async def fetch_sender(self, elements: Sequence[ET.Element], sender: JID) -> None:
        """Fetch what decrypting these elements will need.

        Raises:
            DeviceListError: The server did not answer.
        """
        found = addressed(elements, self._own, self._device.device_id)
        if found is None:
            return
        namespace, element = found
        jid, device_id = sender.bare, sender_id(element)
        places = [Place(one, jid, device_id) for one in NAMESPACES]
        if any([await self._has_session(place) for place in places]):
            return
        is_unlisted = device_id not in self._directory.ids(jid)
        failures = await self._directory.fetch_lists([jid], anew=is_unlisted)
        if failures:
            raise failures[jid]
        if device_id in await self._known.listed(jid):
            # Any bundle of the device tells its identity key.
            listed = self._directory.places(jid, device_id)
            used = [place for place in listed if place.namespace == namespace]
            needed = (used or listed)[0]
            await self._directory.fetch_bundles([needed], is_needed=True)

    async def is_at_hand(self, elements: Sequence[ET.Element], sender: JID) -> bool:
        """Tell whether a message can be decrypted without fetching anything."""
        found = addressed(elements, self._own, self._device.device_id)
        if found is None:
            return True  # nothing is: it is not for us
        device_id = sender_id(found[1])
        places = [Place(one, sender.bare, device_id) for one in NAMESPACES]
        return any(place in self._directory.bundles for place in places) or any(
            [await self._has_session(place) for place in places]
        )

    async def fetch_anew(self, jid: JID) -> None:
        """Fetch again what a JID shows of its devices now; nothing is raised."""
        await self._directory.fetch_lists([jid], anew=True)
        try:
            await self._directory.fetch_anew(jid)
        except DeviceListError:
            log.info("not all bundles could be fetched")

    def shown(self, jid: JID, fingerprint: str) -> int | None:
        """Return the device that shows a key in what was fetched, if one does."""
        for (_, owner, device_id), bundle in self._directory.bundles.items():
            if owner == jid and fingerprint_of(bundle.identity_key) == fingerprint:
                return device_id
        return None

    async def fetch_patient(self, patient: Patient) -> None:
        """Fetch what beginning a session anew will need.

        Raises:
            DeviceListError: The server did not answer.
        """
        failures = await self._directory.fetch_lists([patient.jid])
        if failures:
            raise failures[patient.jid]
        place = Place(patient.namespace, str(patient.jid), patient.device_id)
        await self._directory.fetch_bundles([place])

    def note_broken(self, places: Iterable[tuple[str, str, int]]) -> None:
        """Leave bundles that could not be used alone for a while."""
        for place in places:
            if place not in self._sessions:
                self._directory.mark_absent(Place(*place))

    async def _has_session(self, place: Place) -> bool:
        """Tell whether there is a session to send with."""
        if self._deletions != self._device.deletions:
            self._deletions = self._device.deletions
            self._sessions.clear()
        if place in self._sessions:
            self._directory.bundles.pop(place, None)
            return True
        if not await self._device.may_send(*place):
            return False
        if len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.clear()
        self._sessions.add(place)
        return True
