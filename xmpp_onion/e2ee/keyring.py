"""The devices that an account knows, and what was decided about their keys."""

from collections.abc import Iterable

from xmpp_onion.address import JID
from xmpp_onion.e2ee.decisions import Decisions
from xmpp_onion.e2ee.directory import Directory
from xmpp_onion.e2ee.effect import withdrawn
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.succession import Succession
from xmpp_onion.e2ee.supply import Supply
from xmpp_onion.e2ee.trust import Device, TrustLevel, accepts, parse_fingerprint
from xmpp_onion.e2ee.trust_messages import Word
from xmpp_onion.e2ee.vouching import Vouching
from xmpp_onion.errors import DeviceListError, EncryptionError

__all__ = ["Keyring"]


class Keyring:
    """What is known of the devices of people, and what people decided about them.

    Everything but :meth:`fetch_anew` runs inside a transaction of the store, and what
    the ratchet wants from the network after it is an effect of `Omemo`.

    Args:
        device: This one.
        door: Where the library finds keys, and leaves what it wants done.
        directory: Lists and bundles of all.
        known: The devices that are known.
        sightings: When each was first seen.
        decisions: What was decided about them.
        vouching: What verified devices tell each other.
        succession: Lets one key take the place of another.
        supply: Fetches what is missing.
    """

    def __init__(  # noqa: PLR0913 - the parts of one account, by name
        self,
        device: OwnDevice,
        door: Door,
        directory: Directory,
        *,
        known: KnownDevices,
        sightings: Sightings,
        decisions: Decisions,
        vouching: Vouching,
        succession: Succession,
        supply: Supply,
    ) -> None:
        self._device = device
        self._door = door
        self._directory = directory
        self._known = known
        self._sightings = sightings
        self._decisions = decisions
        self._vouching = vouching
        self._succession = succession
        self._supply = supply

    async def devices(self, jid: JID) -> tuple[Device, ...]:
        """Return the known devices of a JID, ours without this one. In a transaction.

        Raises:
            DeviceListError: Nothing is known, and :meth:`Omemo.fetch` got no answer.
        """
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            devices = await self._known.others(jid.bare)
        if not devices and not self._directory.is_known(jid.bare):
            raise DeviceListError(
                "the devices are not known",
                why="the server did not answer",
                fix="Try again in a moment.",
            )
        return tuple([await self._sightings.add_to(device) for device in devices])

    async def level(self, jid: JID, fingerprint: str) -> TrustLevel:
        """Return what holds now about a device. In a transaction.

        Args:
            jid: Whose device it is.
            fingerprint: 64 hex digits.
        """
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            devices = await self._known.of(jid.bare)
        known = {device.fingerprint: device.trust for device in devices}
        return known.get(fingerprint, TrustLevel.UNDECIDED)

    async def known_level(self, jid: JID, fingerprint: str) -> TrustLevel | None:
        """Return what :meth:`level` would, if that takes no transaction; else None."""
        infos = self._door.records.at_hand(jid.bare)
        if infos is None:
            return None
        return await self._decisions.known_level(jid.bare, fingerprint, infos)

    def pin(self, jid: JID, fingerprint: str) -> None:
        """Believe a fingerprint from now on, as one that was given beforehand.

        Raises:
            InvalidFingerprintError: It is none.
        """
        self._decisions.pin(jid.bare, parse_fingerprint(fingerprint))

    def set_automatic_trust(self, *, is_on: bool) -> None:
        """Let verified devices tell each other whom to believe from now on, or not."""
        self._vouching.is_on = is_on

    async def set_trust(self, jid: JID, fingerprint: str, level: TrustLevel) -> Device:
        """Keep what a person decided about a device. In a transaction.

        Args:
            jid: Whose device it is.
            fingerprint: All 64 hex digits; spaces and case do not matter.
            level: TRUSTED or DISTRUSTED; UNDECIDED takes a decision back.

        Raises:
            EncryptionError: The JID has no such device.
        """
        with omemo_errors(EncryptionError, "the decision was not kept"):
            manager = await self._device.open()
            known = await self._known.of(jid.bare)
            device = await self._decisions.set(manager, jid.bare, fingerprint, level)
            await self._vouching.decided(manager, device, self._device.fingerprint)
        if level is TrustLevel.DISTRUSTED:
            self._door.effects += withdrawn(device, known)
        return device

    async def fetch_anew(self, jid: JID) -> None:
        """Fetch what :meth:`install` will need. NETWORK, outside of transactions."""
        await self._supply.fetch_anew(jid.bare)

    async def install(
        self, jid: JID, fingerprint: str, device_id: int | None = None
    ) -> None:
        """Let a key that a person compared take the place of what is known.

        In a transaction. Who had it, or its device, before loses that, unless
        somebody verified it; the sessions go, and what waits to be sent to them.

        Args:
            jid: Whose key it is.
            fingerprint: 64 hex digits.
            device_id: Of which device; else of that which shows it to
                :meth:`fetch_anew`.

        Raises:
            FingerprintMismatchError: It is ours, or verified as somebody else's.
        """
        with omemo_errors(EncryptionError, "the decision was not kept"):
            await self._device.open()
            device_id = device_id or self._supply.shown(jid.bare, fingerprint)
            await self._succession.install(jid.bare, fingerprint, device_id)
        self._directory.ask_again(jid.bare)
        self._known.forget_lists()
        self._supply.forget_sessions()

    async def promise(self, words: Iterable[tuple[JID, str, TrustLevel]]) -> None:
        """Keep decisions about keys that are not known yet. In a transaction.

        Args:
            words: Whose key, its fingerprint, TRUSTED or DISTRUSTED.
        """
        said = [Word(j.bare, f, level is TrustLevel.TRUSTED) for j, f, level in words]
        await self._vouching.promise(said, self._device.fingerprint)

    async def promised(self) -> dict[tuple[JID, str], TrustLevel]:
        """Return what was decided about keys that are not known yet. In a transaction.

        By whose key it is, and its fingerprint.
        """
        await self._device.open()
        return {
            (word.owner, word.fingerprint): TrustLevel.TRUSTED
            if word.is_trusted
            else TrustLevel.DISTRUSTED
            for word in await self._vouching.promised(self._device.fingerprint)
        }

    async def owners(self, fingerprints: Iterable[str]) -> dict[str, JID]:
        """Return whose key each fingerprint is beyond doubt. In a transaction."""
        return await self._succession.owners(fingerprints)

    async def known(self, jid: JID) -> tuple[Device, ...]:
        """Return what is known of a JID's devices, without this one. In a transaction.

        Unlike :meth:`devices`, whether or not its server ever answered.
        """
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            return await self._known.others(jid.bare)

    async def refused(self, jid: JID) -> tuple[Device, ...]:
        """Return the devices of a JID that nothing may reach. In a transaction."""
        known = await self.known(jid)
        return tuple(device for device in known if not accepts(device.trust))

    async def decided(self) -> tuple[Device, ...]:
        """Return the devices that somebody decided about, and their owners' others."""
        jids = await self._decisions.decided_jids()
        found = [await self.known(jid) for jid in jids]
        return tuple(device for devices in found for device in devices)
