"""What is decrypted: from which device, and why it is not, when it cannot be."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import omemo

from xmpp_onion.address import JID
from xmpp_onion.e2ee.answers import Answers
from xmpp_onion.e2ee.envelope import Plain, read_envelope
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.parcel import Parcel, read_parcel, read_sender_id
from xmpp_onion.e2ee.receiver import Receiver
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.trust import Device, accepts
from xmpp_onion.e2ee.versions import OMEMO_OLD, addressed
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
        former: The names that our server had.
        languages: Which of several texts to take; their tags, best first.
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
        former: Collection[str] = (),
        languages: Sequence[str] = (),
    ) -> None:
        self._own = own
        self._languages = languages
        self._former = dict.fromkeys(former, own.domain.service)
        self._device = device
        self._door = door
        self._known = known
        self._sightings = sightings
        self._vouching = vouching
        self._receiver = Receiver(own, device, door)
        self._answers = Answers()

    def forget_answers(self) -> None:
        """Take the next answer of every session for due, as after a roll-back."""
        self._answers.clear()

    async def decrypt(
        self,
        elements: Sequence[ET.Element],
        sender: JID,
        *,
        to: JID | None = None,
        room: JID | None = None,
    ) -> Decrypted:
        """Do what :meth:`Omemo.decrypt <xmpp_onion.e2ee.Omemo.decrypt>` says."""
        jid = sender.bare
        found = addressed(elements, self._own, self._device.device_id)
        if found is None:
            why = "it is not encrypted for this device"
            raise DecryptionError(_UNREADABLE, why=why)
        namespace, element = found
        with omemo_errors(DecryptionError, _UNREADABLE):
            infos = await self._senders(namespace, element, jid)
            parcel, info = self._unpack(namespace, element, infos)
            try:
                content, answer_with = await self._receiver.open(parcel, info)
            except omemo.PublicDataInconsistency:
                self._tell_change(parcel, info)
                raise
            device = await self._sender(jid, info, infos)
            is_accepted = accepts(device.trust)
            if answer_with is not None and self._answers.is_due(
                device, parcel.begun, is_accepted=is_accepted
            ):
                await self._receiver.answer(answer_with)
        await self._sightings.note(device)
        plain = None
        if content is not None:
            plain = self._read(namespace, content, jid, to=to, room=room)
        if plain is not None:
            manager, own = await self._device.open(), self._device.fingerprint
            await self._vouching.hear(manager, device, plain.payload, own)
        return Decrypted(plain, namespace, device)

    async def _senders(
        self, namespace: str, element: ET.Element, jid: JID
    ) -> frozenset[omemo.DeviceInformation]:
        """Return what the library knows of a sender's devices, the sending one too."""
        manager, device_id = (
            await self._device.open(),
            read_sender_id(namespace, element),
        )
        await self._known.apply_lists(manager, jid)
        infos = await manager.get_device_information(jid)
        if all(info.device_id != device_id for info in infos):
            with suppress(omemo.DeviceListDownloadFailed):
                await manager.refresh_device_list(namespace, jid)
                infos = await manager.get_device_information(jid)
        if all(info.device_id != device_id for info in infos):
            raise self._not_found(device_id, jid)
        return infos

    def _unpack(
        self,
        namespace: str,
        element: ET.Element,
        infos: frozenset[omemo.DeviceInformation],
    ) -> tuple[Parcel, omemo.DeviceInformation]:
        device_id = read_sender_id(namespace, element)
        info = next(info for info in infos if info.device_id == device_id)
        own = self._own, self._device.device_id
        parcel = read_parcel(namespace, element, own, identity_key=info.identity_key)
        return parcel, info

    async def _sender(
        self,
        jid: JID,
        info: omemo.DeviceInformation,
        infos: frozenset[omemo.DeviceInformation],
    ) -> Device:
        devices = await self._known.of(jid, infos)
        return next(d for d in devices if d.device_id == info.device_id)

    def _read(
        self,
        namespace: str,
        content: bytes,
        sender: JID,
        *,
        to: JID | None,
        room: JID | None,
    ) -> Plain:
        if namespace == OMEMO_OLD:
            return Plain(_text(content))
        return read_envelope(
            content,
            sender=sender,
            to=room or to or self._own,
            is_room=room is not None,
            former=self._former,
            languages=self._languages,
        )

    def _tell_change(self, parcel: Parcel, info: omemo.DeviceInformation) -> None:
        if parcel.exchange is not None:
            self._door.tell_change(
                JID(info.bare_jid),
                info.device_id,
                parcel.exchange.identity_key,
                info.identity_key,
            )

    def _not_found(self, device_id: int, jid: JID) -> DecryptionError:
        refused = self._door.refused.get((jid, device_id), "")
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
