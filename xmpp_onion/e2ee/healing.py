"""Sessions that broke: at most one fresh start for each, in an hour.

A message that cannot be read may mean that one side lost its session, or restored
an old one. A new key exchange, in a message without text, makes both sides whole.
It never tells what was wrong: it is the same for a wrong key, a lost session and a
forged message, and who sends ten thousand of them gets one.

Source: XEP-0384, section 5.7 (recovery of broken sessions).
"""

import json
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import doubleratchet
import omemo

from xmpp_onion.address import JID
from xmpp_onion.e2ee.agreement import LIBRARY_ERRORS
from xmpp_onion.e2ee.effect import RenewSession
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door

if TYPE_CHECKING:
    from omemo.types import JSONType

__all__ = ["Healing", "Patient", "is_broken"]

log = logging.getLogger(__name__)

_DEVICES = "/devices/"
_RENEWED = "/xmpp-onion/renewed"
_HOUR = 3600.0
# Fresh starts in an hour with whoever is no contact and not verified: each costs a
# bundle and a message. Who is, is one of few, and has a limit on bundles.
_MAX_AN_HOUR = 1000
# The same with the people of one server, whose owner can make as many as he likes.
_MAX_OF_A_DOMAIN = 200
# What a fresh session mends. Whoever is distrusted or unknown gets no answer.
_BROKEN = (
    omemo.NoSession,
    omemo.KeyExchangeFailed,
    omemo.TooManySkippedMessageKeys,
    omemo.DecryptionFailed,
)


@dataclass(frozen=True, slots=True)
class Patient:
    """A session that needs a fresh start.

    Attributes:
        namespace: Its OMEMO version.
        jid: The bare JID it is with.
        device_id: The device.
        session: What tells the session in use from another; empty if there is none.
            One that took its place meanwhile needs nothing.
    """

    namespace: str
    jid: JID
    device_id: int
    session: str = ""

    @classmethod
    def read(cls, payload: str) -> Self:
        """Return what :meth:`write` wrote."""
        namespace, jid, device_id, session = json.loads(payload)
        return cls(namespace, JID(jid), int(device_id), session)

    def write(self) -> str:
        """Return it as text for a job."""
        return json.dumps([self.namespace, self.jid, self.device_id, self.session])


class Healing:
    """Begins sessions anew, each once an hour, and all of them after a roll-back.

    Args:
        device: Ours.
        door: The library's way to keys and network.
        own: Our bare JID.
        now: Seconds of the wall clock: a restart must not forget the hour.
    """

    def __init__(
        self,
        device: OwnDevice,
        door: Door,
        own: JID,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._device = device
        self._door = door
        self._own = own
        self._now = now

    async def ask(
        self, namespace: str, jid: JID, device_id: int, *, is_known: bool = False
    ) -> None:
        """Wish for a fresh start, unless there was one. In a transaction.

        A clock that was put back by more than an hour grants another one.

        Args:
            namespace: The OMEMO version of the session.
            jid: Whom it is with, bare.
            device_id: The device.
            is_known: A contact, or a device that a person verified: they need no
                share of what all others have.
        """
        now, storage = self._now(), self._door.storage
        kept = (await storage.load_dict(_RENEWED, float)).maybe({})
        recent = {key: at for key, at in kept.items() if abs(now - at) < _HOUR}
        key = f"{namespace}/{jid}/{device_id}"
        if key in recent or not (is_known or _has_share(recent, jid.domain)):
            return
        marked: dict[str, JSONType] = {**recent, key: now}
        await storage.store(_RENEWED, marked)
        session = await self._device.backends[namespace].name_session(jid, device_id)
        patient = Patient(namespace, jid, device_id, session)
        self._door.effects.append(RenewSession(patient.write()))

    async def retire_all(self) -> None:
        """Use nothing that was used before the store was rolled back. In a transaction.

        All sessions are retired, what we offer to strangers is made new, and a fresh
        session is wished for with everybody who has one. What comes late is still
        decrypted.
        """
        await self._door.epoch.begin()
        known = await self._known_devices()
        for namespace, backend in self._device.backends.items():
            await backend.renew_pre_keys()
            await self._device.bundle(namespace)  # gives the new keys their numbers
            await self._door.upload_bundle(namespace)
            for jid, device_id in known:
                if await backend.name_session(jid, device_id):
                    await self.ask(namespace, jid, device_id, is_known=True)

    async def _known_devices(self) -> list[tuple[JID, int]]:
        storage, found = self._door.storage, []
        for name in await storage.names(_DEVICES):
            jid, _, what = name.removeprefix(_DEVICES).partition("/")
            if what == "list":
                ids = (await storage.load_list(name, int)).maybe([])
                found += [(JID(jid), device_id) for device_id in ids]
        return found

    async def begin_anew(self, patient: Patient) -> None:
        """Begin a session in place of one; the message that does is an effect.

        In a transaction. Its bundle was fetched before. Nothing is done if another
        session took its place meanwhile, or the bundle cannot be used.
        """
        backend = self._device.backends[patient.namespace]
        jid, number = patient.jid, patient.device_id
        if await backend.name_session(jid, number) != patient.session:
            return
        await backend.load_session(jid, number)  # it is kept when it is replaced
        content, plain = await backend.encrypt_empty()
        try:
            bundle = await self._door.bundle(patient.namespace, jid, number)
            session, material = await backend.build_session_active(
                jid, number, bundle, plain
            )
        except LIBRARY_ERRORS:
            log.info("a session with %s cannot be begun anew", jid.short)
            return
        message = omemo.Message(
            patient.namespace,
            self._own,
            self._device.device_id,
            content,
            frozenset({(material, session.key_exchange)}),
        )
        self._door.send_empty(message, jid)
        await backend.store_session(session)


def _has_share(recent: Collection[str], domain: str) -> bool:
    """Tell whether there may be one more with a server's people, in this hour."""
    theirs = sum(key.split("/")[1].endswith(f"@{domain}") for key in recent)
    return theirs < _MAX_OF_A_DOMAIN and len(recent) < _MAX_AN_HOUR


def is_broken(error: BaseException | None) -> bool:
    """Tell whether a fresh session helps with what a decryption raised.

    A duplicate is no sign of anything: servers repeat.
    """
    if not isinstance(error, _BROKEN):
        return False
    return not isinstance(error.__cause__, doubleratchet.DuplicateMessageException)
