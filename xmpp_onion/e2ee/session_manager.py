"""The OMEMO library's session manager, cut off from the network.

python-omemo talks to the network in the middle of its ratchet operations: it
fetches bundles, and after a decryption it uploads one and answers. When that
fails the ratchet has moved and the plaintext is gone. So its network methods
are given a :class:`Door`: it answers questions only from what was fetched
before, and turns wishes into :data:`Effect` values that the caller keeps.
"""

import itertools
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from xml.etree import ElementTree as ET

import doubleratchet
import omemo
import xeddsa
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.chat import KeyChanged, KeyReuse
from xmpp_onion.e2ee.agreement import LIBRARY_ERRORS
from xmpp_onion.e2ee.backend import curve_form
from xmpp_onion.e2ee.directory import MAX_DEVICES, Place
from xmpp_onion.e2ee.effect import Effect, SendEmpty, UploadBundle, UploadDeviceList
from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.e2ee.remembered import Remembered
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.versions import OMEMO_OLD, write_message
from xmpp_onion.errors import EncryptionError

__all__ = [
    "NEW",
    "Door",
    "fingerprint_of",
    "omemo_errors",
    "session_manager_class",
    "unpublished",
]

log = logging.getLogger(__name__)

NEW = "NEW"
"""What the library stores as trust of a device that no policy has looked at."""

_OWNER = "/xmpp-onion/owner/"
# A key that a person says is not that of a JID: another has its place.
_BARRED = "/xmpp-onion/barred/"
# XEP-0384, section 5 asks clients to put themselves back into the device list;
# two clients that disagree would do so for ever.
_LIST_UPLOADS_PER_HOUR = 3
# Refusals that are remembered, to say why nothing is sent: the newest.
_MOST_REFUSED = 1000
_HOUR = 3600.0
_WHY: tuple[tuple[type[Exception], str], ...] = (
    (omemo.MessageNotForUs, "it is not encrypted for this device"),
    (omemo.SenderNotFound, "the sender's device is not published"),
    (omemo.SenderDistrusted, "the sender's device is distrusted"),
    (omemo.NoSession, "the sender uses a session that this device does not have"),
    (omemo.PublicDataInconsistency, "the sender's device shows another identity key"),
    (omemo.KeyExchangeFailed, "its key exchange does not fit"),
    (omemo.TooManySkippedMessageKeys, "too many messages before it are missing"),
    (omemo.DecryptionFailed, "its keys do not fit"),
    (ValueError, "it is malformed"),
)


_E = TypeVar("_E", bound=EncryptionError)


def unpublished(namespace: str) -> str:
    """Return what is set while the server may hold an older bundle than we do."""
    # The older version's was there first, without a name.
    suffix = "" if namespace == OMEMO_OLD else f"/{namespace}"
    return f"/xmpp-onion/unpublished{suffix}"


@contextmanager
def omemo_errors(error: type[_E], what: str) -> Iterator[None]:
    """Translate what the library raises, once; the cause stays chained."""
    try:
        yield
    except LIBRARY_ERRORS as cause:
        raise error(what, why=why(cause)) from cause


def why(error: BaseException) -> str:
    """Say in a clause why the library failed; no key and no text is quoted."""
    if isinstance(error.__cause__, doubleratchet.DuplicateMessageException):
        return "it is a duplicate: it was decrypted before"
    return next((text for kind, text in _WHY if isinstance(error, kind)), "")


def fingerprint_of(identity_key: bytes) -> str:
    """Return the 64 hex digits that people compare.

    Args:
        identity_key: 32 bytes in Ed25519 form, as the library keeps it; other
            clients show the Curve25519 form.
    """
    return curve_form(identity_key).hex()


def _shown(key: bytes) -> str:
    """Return the fingerprint of a key that may be malformed; its digits then."""
    try:
        return fingerprint_of(key)
    except (ValueError, xeddsa.XEdDSAException):
        return key.hex()[:64]


@dataclass(slots=True)
class Door:
    """All that the library sees of the network while a transaction is open.

    Attributes:
        storage: Where the library keeps its keys.
        bundles: What was fetched before, by namespace, JID and device id.
        lists: The device lists fetched before, by namespace and JID; those of
            the library are no longer than these.
        pins: Fingerprints given beforehand: they name a key's owner for good.
        refuse: Told where the bundle is from that is refused.
        notices: Where a key that is refused is told.
        effects: What the library wants done on the network, in order.
        refused: Why a device's bundle was not let in.
        epoch: Which sessions may be sent with.
        records: What the library knows of devices.
    """

    storage: KeyStorage
    bundles: Mapping[tuple[str, str, int], omemo.Bundle]
    lists: Mapping[tuple[str, str], omemo.DeviceList]
    pins: Mapping[JID, frozenset[str]]
    notices: Notices
    refuse: Callable[[Place], None]
    clock: Callable[[], float] = time.monotonic
    effects: list[Effect] = field(default_factory=list)
    refused: dict[tuple[str, int], str] = field(default_factory=dict)
    epoch: Epoch = field(init=False)
    records: Remembered = field(init=False)
    _list_uploads: defaultdict[str, deque[float]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    def __post_init__(self) -> None:
        self.epoch = Epoch(self.storage)
        self.records = Remembered(self.storage)

    async def upload_bundle(self, namespace: str) -> None:
        """Note that a bundle has to be published; survives a crash."""
        await self.storage.store(unpublished(namespace), "yes")
        if UploadBundle(namespace) not in self.effects:
            self.effects.append(UploadBundle(namespace))

    def upload_device_list(self, namespace: str) -> None:
        """Note that a device list has to be published, a few times an hour."""
        if UploadDeviceList(namespace) in self.effects:
            return
        now, times = self.clock(), self._list_uploads[namespace]
        while times and now - times[0] > _HOUR:
            times.popleft()
        if len(times) >= _LIST_UPLOADS_PER_HOUR:
            log.warning("another client keeps removing our device; giving way")
            return
        times.append(now)
        self.effects.append(UploadDeviceList(namespace))

    def device_list(self, namespace: str, bare_jid: str) -> omemo.DeviceList:
        """Return a device list fetched before.

        Raises:
            omemo.DeviceListDownloadFailed: It was not fetched. An empty one would
                put all devices out of use.
        """
        found = self.lists.get((namespace, bare_jid))
        if found is None:
            raise omemo.DeviceListDownloadFailed("not fetched before this operation")
        return dict(itertools.islice(found.items(), MAX_DEVICES))

    def send_empty(self, message: omemo.Message, to: str) -> None:
        """Note a message that carries only keys, if they were not used before."""
        if self.epoch.is_mute:
            return
        text = ET.tostring(write_message(message), encoding="unicode")
        self.effects.append(SendEmpty(JID(to), text))

    async def bundle(
        self, namespace: str, bare_jid: str, device_id: int
    ) -> omemo.Bundle:
        """Return a bundle fetched before, if its identity key belongs there.

        Raises:
            omemo.BundleNotFound: It was not fetched, or it is refused.
        """
        bundle = self.bundles.get((namespace, bare_jid, device_id))
        if bundle is None:
            raise omemo.BundleNotFound("not fetched before this operation")
        refusal = await self._refusal(bundle)
        if refusal:
            self._note_refusal(bare_jid, device_id, refusal)
            self.refuse(Place(namespace, bare_jid, device_id))
            log.warning("device %d of %s: %s", device_id, JID(bare_jid).short, refusal)
            raise omemo.BundleNotFound(refusal)
        return bundle

    def _note_refusal(self, bare_jid: str, device_id: int, refusal: str) -> None:
        self.refused.pop((bare_jid, device_id), None)
        self.refused[bare_jid, device_id] = refusal
        if len(self.refused) > _MOST_REFUSED:
            del self.refused[next(iter(self.refused))]

    async def _refusal(self, bundle: omemo.Bundle) -> str:
        """Say why a bundle must not be used; empty if it may be."""
        known = await self.storage.load_bytes(
            f"/devices/{bundle.bare_jid}/{bundle.device_id}/identity_key"
        )
        # The library would build the session with the new key and the old trust.
        before = known.maybe(bundle.identity_key)
        if before != bundle.identity_key:
            self.tell_change(
                JID(bundle.bare_jid), bundle.device_id, bundle.identity_key, before
            )
            return "its bundle shows another identity key than before"
        if await self._is_barred(bundle):
            return "somebody verified another identity key for it"
        try:
            owner = await self.claim(bundle.identity_key, bundle.bare_jid)
        except (ValueError, xeddsa.XEdDSAException):
            return "its identity key is malformed"
        if owner != bundle.bare_jid:
            jid, shown = JID(bundle.bare_jid), fingerprint_of(bundle.identity_key)
            self.tell_reuse(jid, bundle.device_id, shown, JID(owner))
            return "its identity key belongs to another account"
        return ""

    def tell_change(self, jid: JID, device_id: int, key: bytes, before: bytes) -> None:
        """Have it told that a device shows another key than before."""
        self.tell_changed(jid, device_id, _shown(key), _shown(before))

    def tell_changed(self, jid: JID, device_id: int, now: str, before: str) -> None:
        """Have it told, by fingerprints, that a device has another key than before."""
        self.notices.add(
            KeyChanged(
                sender=jid,
                device=device_id,
                fingerprint=now,
                before=before,
                at=self.notices.now(),
            )
        )

    def tell_reuse(self, jid: JID, device_id: int, shown: str, owner: JID) -> None:
        """Have it told that a device shows somebody else's key."""
        self.notices.add(
            KeyReuse(
                sender=jid,
                device=device_id,
                fingerprint=shown,
                owner=owner,
                at=self.notices.now(),
            )
        )

    async def _is_barred(self, bundle: omemo.Bundle) -> bool:
        place = f"{_BARRED}{bundle.bare_jid}/{_shown(bundle.identity_key)}"
        return (await self.storage.load_primitive(place, str)).is_just

    async def bar(self, fingerprint: str, jid: JID) -> None:
        """Let a key be no device's of ``jid`` until a person says otherwise."""
        await self.storage.store(f"{_BARRED}{jid}/{fingerprint}", "yes")

    async def give(self, fingerprint: str, jid: JID) -> None:
        """Let a key be that of ``jid``, whoever showed it first."""
        await self.storage.store(_OWNER + fingerprint, jid)
        await self.storage.delete(f"{_BARRED}{jid}/{fingerprint}")
        for place in [place for place in self.refused if place[0] == jid]:
            del self.refused[place]

    async def claim(self, identity_key: bytes, bare_jid: str) -> str:
        """Return whose key it is: this JID's, unless another had it before.

        A session is bound to keys, not to JIDs. Whoever publishes a copy of
        somebody's bundle under an own JID could pass on that person's messages
        as their own.
        """
        fingerprint = fingerprint_of(identity_key)
        owner = await self._owner(fingerprint)
        if owner and owner != bare_jid:
            return owner
        await self.storage.store(_OWNER + fingerprint, bare_jid)
        return bare_jid

    async def owner(self, fingerprint: str) -> JID | None:
        """Return whose key it is, if that is known."""
        owner = await self._owner(fingerprint)
        return JID(owner) if owner else None

    async def _owner(self, fingerprint: str) -> str:
        for jid, pinned in self.pins.items():
            if fingerprint in pinned:
                return jid.bare
        return (await self.storage.load_primitive(_OWNER + fingerprint, str)).maybe("")

    async def disown(self, identity_key: bytes, bare_jid: str) -> None:
        """Forget whose key it is, if it is this JID's and not given beforehand."""
        place = _OWNER + fingerprint_of(identity_key)
        owner = await self.storage.load_primitive(place, str)
        if owner.maybe("") == bare_jid:
            await self.storage.delete(place)

    def level(self, device: omemo.DeviceInformation) -> omemo.TrustLevel:
        """Answer the library's question about trust.

        The library only decrypts. Whether to act on what was received is decided
        after; only a person's distrust stops it.
        """
        if device.trust_level_name == omemo.TrustLevel.DISTRUSTED.name:
            return omemo.TrustLevel.DISTRUSTED
        return omemo.TrustLevel.UNDECIDED


def session_manager_class(door: Door) -> type[SessionManager]:
    """Return a session manager whose network is ``door``.

    A class for each account, because the library calls static methods before it
    hands out an instance.
    """

    class LocalSessionManager(SessionManager):
        async def get_device_information(
            self, bare_jid: str
        ) -> frozenset[omemo.DeviceInformation]:
            return await door.records.of(bare_jid, super().get_device_information)

        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            # Read again when it is published, so that the newest goes out.
            await door.upload_bundle(bundle.namespace)

        @staticmethod
        async def _download_bundle(
            namespace: str, bare_jid: str, device_id: int
        ) -> omemo.Bundle:
            return await door.bundle(namespace, bare_jid, device_id)

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            """Nothing: no backend is ever purged."""

        @staticmethod
        async def _upload_device_list(
            namespace: str,
            device_list: omemo.DeviceList,  # noqa: ARG004 - fetched again when it is published, so that no other device is lost
        ) -> None:
            door.upload_device_list(namespace)

        @staticmethod
        async def _download_device_list(
            namespace: str, bare_jid: str
        ) -> omemo.DeviceList:
            return door.device_list(namespace, bare_jid)

        async def _evaluate_custom_trust_level(
            self, device: omemo.DeviceInformation
        ) -> omemo.TrustLevel:
            return door.level(device)

        async def _make_trust_decision(
            self,
            undecided: frozenset[omemo.DeviceInformation],
            identifier: str | None,
        ) -> None:
            """Nothing: the library is not asked to send."""

        @staticmethod
        async def _send_message(message: omemo.Message, bare_jid: str) -> None:
            door.send_empty(message, bare_jid)

    return LocalSessionManager
