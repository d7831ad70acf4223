"""What is encrypted for a room: for whom, and who is left out.

One message for all members. A member whose keys cannot be had is left out and named:
one person's broken device must not silence a room.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee.encryption import UNSENT, Encryption
from xmpp_onion.e2ee.envelope import Plain
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.parts import SIZE_LIMIT, split
from xmpp_onion.e2ee.policies import Policies
from xmpp_onion.e2ee.session_manager import omemo_errors
from xmpp_onion.e2ee.trust import Device, Trust, accepts, recipients
from xmpp_onion.e2ee.versions import write_message
from xmpp_onion.errors import EncryptionError, NoDevicesError

__all__ = ["RoomEncrypted", "RoomEncryption"]


@dataclass(frozen=True, slots=True)
class RoomEncrypted:
    """A message to a room, ready to be sent.

    Attributes:
        parts: The ``<encrypted/>`` elements of each stanza; mostly there is one.
        devices: How many devices can read it, our own others included.
        skipped: Who cannot, although a member: a JID, or the JID and one of its
            devices, where the others can.
        readers: The devices that can, by JID.
    """

    parts: tuple[tuple[ET.Element, ...], ...]
    devices: int
    skipped: tuple[str, ...]
    readers: Mapping[JID, frozenset[int]] = field(repr=False)


class RoomEncryption:
    """Encrypts for the members of a room. Everything in a transaction.

    Args:
        own: Our account, bare.
        encryption: Encrypts for devices.
        known: The known devices.
        policies: What holds for each member.
    """

    def __init__(
        self,
        own: JID,
        encryption: Encryption,
        *,
        known: KnownDevices,
        policies: Policies,
    ) -> None:
        self._own = own
        self._encryption = encryption
        self._known = known
        self._policies = policies

    async def encrypt(
        self,
        members: Collection[JID],
        plain: Plain,
        room: JID,
        *,
        limit_bytes: int = SIZE_LIMIT,
    ) -> RoomEncrypted:
        """Encrypt for the devices of all members and our own others.

        Fetch for the members before (:meth:`Omemo.fetch`).

        Args:
            members: Who may read it, whether they are there or not.
            plain: What to say.
            room: Where; its envelope names it, so that it cannot be shown elsewhere.
            limit_bytes: What one stanza may carry.

        Raises:
            UndecidedDevicesError: Somebody has to decide about a member's devices.
            NoDevicesError: No other member has a usable device.
            EncryptionError: It is too long, or the library failed.
        """
        others = sorted({jid.bare for jid in members} - {self._own})
        with omemo_errors(EncryptionError, UNSENT):
            known = {jid: await self._known.others(jid) for jid in others}
            chosen = [
                device
                for jid, devices in known.items()
                for device in await self._choose(jid, devices)
            ]
            own = await self._known.others(self._own)
            # Our own other devices never stop a message: they are left out.
            chosen += [d for d in own if d.active and accepts(d.trust)]
            written = await self._encryption.write(plain, room, chosen, needed=others)
        if not written.messages:
            raise _nobody(room, others)
        named = {str(jid): jid for jid in (*others, self._own)}
        readers: dict[JID, set[int]] = {}
        for name, device_id in written.readers:
            readers.setdefault(named[name], set()).add(device_id)
        skipped = [
            each
            for jid, devices in known.items()
            for each in (
                self._left_out(jid, devices, written.readers)
                if jid in readers
                else [str(jid)]
            )
        ]
        elements = [write_message(message) for message in written.messages]
        return RoomEncrypted(
            split(elements, limit_bytes),
            len(written.readers),
            tuple(skipped),
            {jid: frozenset(ids) for jid, ids in readers.items()},
        )

    async def _choose(
        self, jid: JID, devices: tuple[Device, ...]
    ) -> tuple[Device, ...]:
        """Return the devices of a member to encrypt for; none leaves them out."""
        policy = await self._policies.of(jid)
        if policy is Trust.PINNED:  # it has decided about all others
            return tuple(d for d in devices if d.active and accepts(d.trust))
        try:
            return recipients(policy, jid, devices)
        except NoDevicesError:
            return ()

    def _left_out(
        self,
        jid: JID,
        devices: tuple[Device, ...],
        readers: Collection[tuple[str, int]],
    ) -> list[str]:
        """Name the devices of a member that cannot read it, where another can."""
        found = self._encryption.left_out(jid, devices, readers)
        return [f"{jid} {each}" for each in sorted(found)]


def _nobody(room: JID, others: Collection[JID]) -> NoDevicesError:
    if not others:
        return NoDevicesError(
            UNSENT,
            jid=room,
            why="you are its only member",
            fix=f"Invite somebody: xmpp-onion room invite {room} JID",
        )
    return NoDevicesError(
        UNSENT,
        jid=room,
        why=f"none of its {len(others)} other members has a usable device",
        fix="They have to log in once with an OMEMO client. Some clients show their "
        "devices to contacts only.",
    )
