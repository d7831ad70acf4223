"""What is decrypted: from which device, and why it is not, when it cannot be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import omemo
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.answers import Answers
from xmpp_onion.e2ee.envelope import Plain, read_envelope
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.trust import Device, accepts
from xmpp_onion.e2ee.versions import OMEMO_OLD, addressed, read_message, sender_id
from xmpp_onion.e2ee.vouching import Vouching
from xmpp_onion.errors import DecryptionError

__all__ = ["Decrypted", "Decryption"]

_UNREADABLE = "a message cannot be decrypted"


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What was inside.

    Attributes:
        plain: The content; None if the message only carried keys.
        namespace: Of the OMEMO version that it was encrypted with.
        device: What it was sent from. Whether to act on it is for
            :func:`~xmpp_onion.e2ee.trust.accepts` to say.
    """

    plain: Plain | None
    namespace: str
    device: Device


class Decryption:
    """Decrypts what came for this device. Everything in a transaction.

    Args:
        own: Our account, bare.
        device: This device.
        door: Where effects go, and where the reasons are why keys were refused.
        known: The known devices.
        sightings: When each was last heard of.
        vouching: Who hears what verified devices say of others.
    """

    def __init__(
        self,
        own: JID,
        device: OwnDevice,
        door: Door,
        *,
        known: KnownDevices,
        sightings: Sightings,
        vouching: Vouching,
    ) -> None:
        self._own = own
        self._device = device
        self._door = door
        self._known = known
        self._sightings = sightings
        self._vouching = vouching
        self._answers = Answers()

    def forget_answers(self) -> None:
        """Take the next answer of every session for due, as after a roll-back."""
        self._answers.clear()

    async def decrypt(
        self, elements: Sequence[ET.Element], sender: JID, *, to: JID | None = None
    ) -> Decrypted:
        """Decrypt a message. In a transaction: roll it back if this raises.

        Of several elements the newest with a key for this device is read.

        Args:
            elements: The ``<encrypted/>`` elements of one stanza.
            sender: Who sent it, as the server says; in a room, the real JID.
            to: Whom it was sent to, if not to us: for what our own other devices
                sent.

        Raises:
            DecryptionError: It is not for this device, is a duplicate, or its
                keys do not fit. Do not answer it: an answer would tell the
                sender which.
        """
        jid = sender.bare
        found = addressed(elements, self._own, self._device.device_id)
        if found is None:
            why = "it is not encrypted for this device"
            raise DecryptionError(_UNREADABLE, why=why)
        namespace, element = found
        with omemo_errors(DecryptionError, _UNREADABLE):
            manager = await self._device.open()
            await self._known.apply_lists(manager, jid)
            try:
                message = await read_message(element, jid, self._own, manager)
                content, info, _ = await self._open(manager, message)
            except omemo.SenderNotFound as cause:
                raise self._not_found(element, jid) from cause
            devices = await self._known.of(jid)
        device = next(d for d in devices if d.device_id == info.device_id)
        self._answers.thin_out(
            self._door.effects,
            message,
            device,
            own_device_id=self._device.device_id,
            is_accepted=accepts(device.trust),
        )
        await self._sightings.note(device)
        plain = None if content is None else self._read(namespace, content, jid, to)
        if plain is not None:
            own = self._device.fingerprint
            await self._vouching.hear(manager, device, plain.payload, own)
        return Decrypted(plain, namespace, device)

    def _read(
        self, namespace: str, content: bytes, sender: JID, to: JID | None
    ) -> Plain:
        if namespace == OMEMO_OLD:
            return Plain(_text(content))
        return read_envelope(
            content, sender=sender, to=to or self._own, now=datetime.now(UTC)
        )

    async def _open(
        self, manager: SessionManager, message: omemo.Message
    ) -> tuple[bytes | None, omemo.DeviceInformation, object]:
        """Decrypt; a key exchange with another key than its device's is told."""
        try:
            return await manager.decrypt(message)
        except omemo.PublicDataInconsistency:
            await self._tell_change(message)
            raise

    async def _tell_change(self, message: omemo.Message) -> None:
        known = await self._door.storage.load_bytes(
            f"/devices/{message.bare_jid}/{message.device_id}/identity_key"
        )
        for _, exchange in message.keys:
            if exchange is not None and known.is_just:
                self._door.tell_change(
                    JID(message.bare_jid),
                    message.device_id,
                    exchange.identity_key,
                    known.from_just(),
                )

    def _not_found(self, element: ET.Element, jid: JID) -> DecryptionError:
        refused = self._door.refused.get((jid, sender_id(element)), "")
        return DecryptionError(
            _UNREADABLE,
            why=refused or "the sender's device is not published, or for contacts only",
            fix="Ask the sender to log in with it once, and to send again; or "
            f"become a contact: xmpp-onion contact add {jid}",
        )


def _text(plaintext: bytes) -> str:
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: that exception carries the plaintext.
        raise DecryptionError(_UNREADABLE, why="its text is not UTF-8") from None
