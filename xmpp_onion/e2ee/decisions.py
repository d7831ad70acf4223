"""What was decided about each device, kept in the library's trust records."""

from collections.abc import Collection, MutableMapping
from typing import NamedTuple

import omemo
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.chat import NewDevice
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.e2ee.policies import Policies
from xmpp_onion.e2ee.session_manager import NEW, fingerprint_of
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import (
    Device,
    Trust,
    TrustLevel,
    decide,
    in_force,
    parse_fingerprint,
)
from xmpp_onion.e2ee.versions import NAMESPACES
from xmpp_onion.errors import EncryptionError

__all__ = ["Decisions", "is_decided"]

_FIRST_LIST = "/xmpp-onion/first-list/"
# The JIDs that have a device which somebody decided about.
_DECIDED = "/xmpp-onion/decided"
# Accounts of which is kept what was said, as many as the library's records are.
_ACCOUNTS = 256


class _Last(NamedTuple):
    """What was said of an account's devices, and what followed from what.

    Attributes:
        infos: What the library knew of them: the very object.
        policy: What held for the account.
        devices: What was said; each of them was known.
    """

    infos: Collection[omemo.DeviceInformation]
    policy: Trust
    devices: tuple[Device, ...]

    def holds(self, infos: Collection[omemo.DeviceInformation], policy: Trust) -> bool:
        """Tell whether the same would be said again."""
        return infos is self.infos and policy is self.policy


class Decisions:
    """Levels of trust under a policy. Everything here is inside a transaction.

    Args:
        own: Our account, bare.
        storage: Where the first device list of each contact is kept.
        policies: What to do about devices that nobody has decided about.
        notices: Where a new device is told.
        pins: Fingerprints given beforehand, by bare JID. They are looked up each
            time and never stored: a pin that is taken away is gone.
    """

    def __init__(
        self,
        own: JID,
        storage: KeyStorage,
        policies: Policies,
        *,
        pins: MutableMapping[JID, frozenset[str]],
        notices: Notices,
    ) -> None:
        self._own = own
        self._storage = storage
        self._policies = policies
        self._pins = pins
        self._notices = notices
        self._has_newcomers = False
        self._last: dict[str, _Last] = {}

    async def devices(
        self,
        manager: SessionManager,
        jid: JID,
        listed: Collection[int],
        infos: Collection[omemo.DeviceInformation] | None = None,
    ) -> tuple[Device, ...]:
        """Return the known devices of a JID; decide about those that are new.

        Args:
            manager: The library's.
            jid: Whose, bare.
            listed: The device list as known now; it counts as the first contact
                if there was none before.
            infos: What the library knows of them, if it was just asked.
        """
        policy = await self._policies.of(jid)
        if infos is None:
            infos = await manager.get_device_information(jid)
        last = self._last.get(jid)
        if last is not None and last.holds(infos, policy):
            return last.devices
        first = await self._first_list(jid, listed)
        known = [
            self._device(policy, jid, info) for info in infos if self._is_known(info)
        ]
        devices = list(known)
        for info in infos:
            if self._is_known(info):
                continue
            is_first = policy is Trust.TOFU and info.device_id in first
            level = decide(
                policy,
                [] if is_first else known,
                self._device(policy, jid, info),
                self._pinned(jid),
            )
            if policy is not Trust.PINNED:
                await manager.set_trust(jid, info.identity_key, level.name)
            device = self._device(
                policy, jid, info._replace(trust_level_name=level.name)
            )
            devices.append(device)
            self._has_newcomers = True
            if device.own or (first and info.device_id not in first):
                self._tell(device)
        found = tuple(sorted(devices, key=lambda device: device.device_id))
        if first and len(known) == len(found):
            self._note_last(jid, _Last(infos, policy, found))
        return found

    def _note_last(self, jid: str, last: "_Last") -> None:
        self._last.pop(jid, None)
        self._last[jid] = last
        if len(self._last) > _ACCOUNTS:
            del self._last[next(iter(self._last))]

    def pin(self, jid: JID, fingerprint: str) -> None:
        """Give one more fingerprint beforehand; whoever shares the pins sees it."""
        self._pins[jid] = self._pinned(jid) | {fingerprint}
        self._last.pop(jid, None)

    async def known_level(
        self, jid: JID, fingerprint: str, infos: Collection[omemo.DeviceInformation]
    ) -> TrustLevel | None:
        """Return what :meth:`devices` last said of a device, while that still holds.

        None if it has to be asked again. Needs no transaction.

        Args:
            jid: Whose, bare.
            fingerprint: Of the device.
            infos: What the library knows of their devices.
        """
        last = self._last.get(jid)
        if last is None or not last.holds(infos, await self._policies.of(jid)):
            return None
        levels = {device.fingerprint: device.trust for device in last.devices}
        return levels.get(fingerprint)

    def take_newcomers(self) -> bool:
        """Tell whether devices became known since the last call."""
        has_newcomers, self._has_newcomers = self._has_newcomers, False
        return has_newcomers

    async def keys(self, manager: SessionManager, jid: JID) -> dict[str, bytes]:
        """Return the Ed25519 form of a JID's identity keys, by fingerprint."""
        infos = await manager.get_device_information(jid)
        return {fingerprint_of(info.identity_key): info.identity_key for info in infos}

    async def decided_jids(self) -> tuple[JID, ...]:
        """Return the JIDs that have a device which somebody decided about."""
        kept = (await self._storage.load_list(_DECIDED, str)).maybe([])
        return tuple(JID(jid) for jid in kept)

    def _tell(self, device: Device) -> None:
        self._notices.add(
            NewDevice(
                sender=device.jid,
                device=device.device_id,
                fingerprint=device.fingerprint,
                trust=device.trust.word,
                own=device.own,
                at=self._notices.now(),
            )
        )

    async def set(
        self, manager: SessionManager, jid: JID, fingerprint: str, level: TrustLevel
    ) -> Device:
        """Keep what a person decided about a device.

        Raises:
            EncryptionError: Not a fingerprint, or the JID has no such device.
        """
        wanted = parse_fingerprint(fingerprint)
        policy = await self._policies.of(jid)
        for info in await manager.get_device_information(jid):
            if fingerprint_of(info.identity_key) == wanted:
                await manager.set_trust(jid, info.identity_key, level.name)
                await self._note_decided(jid)
                return self._device(
                    policy, jid, info._replace(trust_level_name=level.name)
                )
        raise EncryptionError(
            "the decision was not kept",
            why="this JID has no device with that fingerprint",
            fix=f"Compare it with `xmpp-onion trust list {jid}`.",
        )

    async def _note_decided(self, jid: JID) -> None:
        known = await self.decided_jids()
        if jid not in known:
            await self._storage.store(_DECIDED, [str(one) for one in (*known, jid)])

    async def _first_list(self, jid: JID, listed: Collection[int]) -> Collection[int]:
        """Return the device list of the first contact.

        Its devices belong together, although their keys come to be known one by
        one: we may be written to by one before we write to all.
        """
        key = _FIRST_LIST + jid
        first = await self._storage.load_list(key, int)
        if first.is_nothing and listed:
            await self._storage.store(key, list(listed))
            return listed
        return first.maybe([])

    def _is_known(self, info: omemo.DeviceInformation) -> bool:
        if info.trust_level_name != NEW:
            return True
        return fingerprint_of(info.identity_key) in self._pinned(JID(info.bare_jid))

    def _pinned(self, jid: JID) -> frozenset[str]:
        return self._pins.get(jid, frozenset())

    def _device(self, policy: Trust, jid: JID, info: omemo.DeviceInformation) -> Device:
        fingerprint = fingerprint_of(info.identity_key)
        namespaces = tuple(one for one in NAMESPACES if dict(info.active).get(one))
        is_new = info.trust_level_name == NEW
        stored = TrustLevel.UNDECIDED if is_new else TrustLevel(info.trust_level_name)
        return Device(
            jid=jid,
            device_id=info.device_id,
            fingerprint=fingerprint,
            trust=in_force(policy, stored, is_pinned=fingerprint in self._pinned(jid)),
            active=bool(namespaces),
            own=jid == self._own,
            label=info.label,
            namespaces=namespaces,
        )


def is_decided(name: str) -> bool:
    """Tell whether a stored level is somebody's word, and not a policy's."""
    return name in {TrustLevel.TRUSTED.name, TrustLevel.DISTRUSTED.name}
