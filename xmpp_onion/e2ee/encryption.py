"""What is encrypted: for which devices, and why it is not, when it cannot be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee.directory import Directory
from xmpp_onion.e2ee.envelope import Plain, write_envelope
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.policies import Policies
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.supply import Supply
from xmpp_onion.e2ee.trust import Device, accepts, recipients, verified
from xmpp_onion.e2ee.versions import OMEMO_2, OMEMO_OLD, write_message
from xmpp_onion.e2ee.vouching import Vouching, read_letter
from xmpp_onion.e2ee.writer import Writer, Written
from xmpp_onion.errors import DeviceListError, EncryptionError, NoDevicesError

__all__ = ["UNSENT", "Encrypted", "Encryption"]

UNSENT = "nothing was sent"


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A message ready to be sent.

    Attributes:
        elements: An ``<encrypted/>`` element for each namespace, the newest first.
        devices: How many devices can read it.
        skipped: Those that cannot, although they are listed: a fingerprint, or
            ``device 123`` where no key is known.
    """

    elements: tuple[ET.Element, ...]
    devices: int
    skipped: tuple[str, ...]


class Encryption:
    """Encrypts for the devices that the policy accepts. Everything in a transaction.

    Args:
        own: Our account, bare.
        device: This device.
        door: Where bundles are.
        directory: The device lists as we know them.
        supply: Who has to know which bundles could not be used.
        known: The known devices.
        policies: What holds for each contact.
        vouching: What letters about trust carry.
    """

    def __init__(
        self,
        own: JID,
        device: OwnDevice,
        door: Door,
        *,
        directory: Directory,
        supply: Supply,
        known: KnownDevices,
        policies: Policies,
        vouching: Vouching,
    ) -> None:
        self._own = own
        self._device = device
        self._door = door
        self._directory = directory
        self._supply = supply
        self._known = known
        self._policies = policies
        self._vouching = vouching
        self._writer = Writer(device.backends, own, door)

    async def encrypt_letter(self, payload: str) -> tuple[JID, Encrypted] | None:
        """Encrypt what a ``TellTrust`` holds, for verified devices alone.

        In a transaction. None if nothing of it, or nobody to tell, is left.

        Raises:
            DeviceListError: The recipient's server did not answer, or none of the
                devices that could read it has a usable bundle. Try again.
        """
        letter = read_letter(payload)
        with omemo_errors(EncryptionError, UNSENT):
            manager = await self._device.open()
            element = await self._vouching.element(manager, letter.words)
        if element is None:
            return None
        try:
            plain = Plain(None, (element,))
            return letter.to, await self.encrypt(letter.to, plain, verified_only=True)
        except NoDevicesError as error:
            theirs = verified(await self._known.others(letter.to))
            if not any(OMEMO_2 in device.namespaces for device in theirs):
                return None
            why = "a verified device has no usable bundle"
            raise DeviceListError(UNSENT, why=why) from error

    async def encrypt(
        self, to: JID, plain: Plain, *, verified_only: bool = False
    ) -> Encrypted:
        """Encrypt for the devices of a contact and our own others. In a transaction.

        Args:
            to: The recipient.
            plain: What to say. A device that only speaks the old namespace gets
                the text alone; without one it gets nothing.
            verified_only: For the recipient's verified devices alone, and none of
                ours: what others must not learn.

        Raises:
            UndecidedDevicesError: Somebody has to decide about devices first.
            NoDevicesError: The recipient has no usable device.
            DeviceListError: The recipient's server did not answer :meth:`fetch`,
                and nothing is known from before. Try again.
            EncryptionError: The library failed; the cause is chained.
        """
        jid = to.bare
        with omemo_errors(EncryptionError, UNSENT):
            theirs = await self._known.others(jid)
            is_alone = verified_only or jid == self._own
            own = () if is_alone else await self._known.others(self._own)
            if verified_only:
                chosen = verified(theirs)
            else:
                chosen = recipients(await self._policies.of(jid), jid, theirs)
            if not chosen:
                raise self._no_devices(jid, plain)
            # Our own other devices never stop a message: they are left out.
            chosen += tuple(d for d in own if d.active and accepts(d.trust))
            written = await self.write(plain, jid, chosen, needed=[jid])
        if not written.messages:
            raise self._no_devices(jid, plain)
        skipped = self.left_out(jid, (*theirs, *own), written.readers)
        elements = tuple(write_message(message) for message in written.messages)
        return Encrypted(elements, len(written.readers), tuple(sorted(skipped)))

    async def write(
        self, plain: Plain, to: JID, devices: Sequence[Device], *, needed: Sequence[JID]
    ) -> Written:
        """Encrypt for devices that were chosen; the caller says why it may.

        Args:
            plain: What to say.
            to: The other side of the conversation: a contact, or a room.
            devices: For whom.
            needed: If no device of these can read it, nothing is written.
        """
        written = await self._writer.write(
            self._contents(plain, to),
            self._device.device_id,
            [(d.jid, d.device_id, await self._versions(d)) for d in devices],
            needed=needed,
        )
        self._supply.note_broken(written.broken)
        return written

    async def _versions(self, device: Device) -> tuple[str, ...]:
        """Return the versions in which a device may be written to.

        The newest alone, once there was a session of it: the lists are the server's
        word, and one that hides the newer list must not get the older version.
        """
        if await self._device.has_session(OMEMO_2, device.jid, device.device_id):
            return (OMEMO_2,)
        return device.namespaces

    def _contents(self, plain: Plain, to: JID) -> dict[str, bytes]:
        """Return what each version encrypts; the older one has room for a text."""
        now = datetime.now(UTC)
        envelope = write_envelope(plain, sender=self._own, to=to, now=now)
        if plain.text is None:
            return {OMEMO_2: envelope}
        return {OMEMO_2: envelope, OMEMO_OLD: plain.text.encode(errors="replace")}

    def left_out(
        self,
        jid: JID,
        devices: Collection[Device],
        readers: Collection[tuple[str, int]],
    ) -> list[str]:
        """Name the devices in the recipient's list, and ours, that cannot read it."""
        known = {d.device_id for d in devices if d.jid == jid}
        listed = self._directory.ids(jid)
        return [
            *(
                device.fingerprint
                for device in devices
                if device.active and (device.jid, device.device_id) not in readers
            ),
            *(f"device {number}" for number in listed if number not in known),
        ]

    def _no_devices(self, jid: JID, plain: Plain) -> EncryptionError:
        listed = self._directory.ids(jid)
        if not self._directory.is_known(jid):
            return DeviceListError(
                UNSENT,
                why="the device list of the recipient could not be fetched",
                fix="Try again in a moment.",
            )
        if jid in self._directory.hidden and not listed:
            return NoDevicesError(
                UNSENT,
                jid=jid,
                # Prosody says the same of an account that has no nodes at all.
                why="they show their devices to contacts only, or have none yet",
                fix=f"xmpp-onion contact add {jid}; or they have to log in once with "
                "an OMEMO client.",
            )
        if plain.text is None and not any(
            place.namespace == OMEMO_2
            for device_id in listed
            for place in self._directory.places(jid, device_id)
        ):
            why = "their devices speak an OMEMO version that carries only texts"
            return NoDevicesError(UNSENT, jid=jid, why=why)
        if jid == self._own and not {*listed} - {self._device.device_id}:
            return NoDevicesError(
                UNSENT,
                jid=jid,
                why="this is your only device; a note to yourself goes to the others",
                fix="Log in with another device, then verify it: "
                f"xmpp-onion trust list {jid}",
            )
        refused = {
            why for (whose, _), why in self._door.refused.items() if whose == jid
        }
        why = f"none of their {len(listed)} devices has a usable bundle"
        return NoDevicesError(
            UNSENT,
            jid=jid,
            why=", ".join([why, *sorted(refused)]) if listed else "we see no device",
            fix=_how_to_see_a_device(jid),
        )


def _how_to_see_a_device(jid: JID) -> str:
    if jid.domain != jid.domain.service:  # muc.….onion, as rooms are
        return f"If it is a room, join it first: xmpp-onion room join {jid}"
    return (
        "They have to log in once with an OMEMO client. Some clients show "
        f"their devices to contacts only: xmpp-onion contact add {jid}"
    )
