"""OMEMO for one account: encrypt, decrypt, and what both want from the network.

The order is always the same: :meth:`Omemo.fetch` or :meth:`Omemo.fetch_sender`
does all network *before*; :meth:`Omemo.encrypt` or :meth:`Omemo.decrypt` runs
*inside* one transaction of the store and touches no network; what the ratchet
wants from the network is taken with :meth:`Omemo.take_effects` in the same
transaction, kept with the message, and done later with :meth:`Omemo.perform`.

Source: XEP-0384, version 0.3 (``eu.siacs.conversations.axolotl``).
"""

import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

import oldmemo.etree
import omemo
import xeddsa
from oldmemo.oldmemo import ContentImpl, KeyExchangeImpl
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Pep
from xmpp_onion.e2ee.directory import MAX_DEVICES, Directory, together
from xmpp_onion.e2ee.session_manager import (
    NAMESPACE,
    NEW,
    UNPUBLISHED,
    Door,
    Effect,
    LocalOldmemo,
    SendEmpty,
    UploadBundle,
    UploadDeviceList,
    fingerprint_of,
    omemo_errors,
    session_manager_class,
)
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import (
    Device,
    Trust,
    TrustLevel,
    accepts,
    decide,
    in_force,
    parse_fingerprint,
    recipients,
)
from xmpp_onion.errors import (
    DecryptionError,
    DeviceListError,
    EncryptionError,
    NoDevicesError,
)
from xmpp_onion.store import Database, Keys

__all__ = ["Decrypted", "Encrypted", "Omemo", "quiet_libraries"]

log = logging.getLogger(__name__)

_NS = f"{{{NAMESPACE}}}"
_PUBLISHED = "/xmpp-onion/published"
"""Set when this device was published for the first time."""
_LIBRARIES = (
    "omemo",
    "oldmemo",
    "twomemo",
    "doubleratchet",
    "x3dh",
    "slixmpp_omemo",
)
# XEP-0384, section 5.2: between once a week and once a month. Seconds.
_SIGNED_PRE_KEY_LIFETIME = 7 * 24 * 3600
# Seconds between two looks at the age of the signed pre-key.
_ROTATION_CHECK = 3600.0
# A burst of messages without an answer asks for an empty message each; one in as
# many as the library counts for stale is enough to turn the ratchet.
_EMPTY_EVERY = SessionManager.STALENESS_MAGIC_NUMBER
_MAX_UNANSWERED = 10_000
# Lengths of the initialization vector: XEP-0384, section 4.3 wants 12 bytes;
# clients of before 2018 send 16.
_IV_LENGTHS = {12, 16}


def quiet_libraries() -> None:
    """Cap the loggers of the OMEMO libraries.

    At DEBUG they print plaintexts and keys, at WARNING JIDs and device ids.
    """
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A message ready to be sent.

    Attributes:
        element: The ``<encrypted/>`` element.
        devices: How many devices can read it.
        skipped: Those that cannot, although they are listed: a fingerprint, or
            ``device 123`` where no key is known.
    """

    element: ET.Element
    devices: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What was inside.

    Attributes:
        plaintext: The text; None if the message only carried keys.
        device: What it was sent from. Whether to act on it is for
            :func:`~xmpp_onion.e2ee.trust.accepts` to say.
    """

    plaintext: str | None = field(repr=False)
    device: Device


class Omemo:
    """The OMEMO device of one account.

    Args:
        own: The account.
        keys: Where its keys are kept.
        pep: The way to device lists and bundles.
        policy: What to do about devices that nobody has decided about.
        pins: Fingerprints that were given beforehand, by bare JID.
        clock: Seconds that only go forward; tests pass their own.
    """

    def __init__(
        self,
        own: JID,
        keys: Keys,
        pep: Pep,
        *,
        policy: Trust,
        pins: Mapping[JID, frozenset[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        quiet_libraries()
        self._own = own.bare
        self._policy = policy
        self._pins = {jid.bare: prints for jid, prints in (pins or {}).items()}
        self._pep = pep
        self._clock = clock
        self._storage = KeyStorage(keys)
        self._backend = LocalOldmemo(self._storage)
        self._directory = Directory(pep, clock=clock)
        self._door = Door(
            self._own,
            self._storage,
            self._directory.bundles,
            self._directory.lists,
            self._pins,
            clock,
        )
        self._database: Database | None = None
        self._manager: SessionManager | None = None
        self._identity: tuple[int, str] | None = None
        self._applied: dict[str, tuple[int, ...]] = {}
        self._sessions: set[tuple[str, int]] = set()
        self._unanswered: dict[tuple[str, int, bytes], int] = {}
        self._next_rotation_check = 0.0

    # --- the account's own device --------------------------------------------------

    @property
    def device_id(self) -> int:
        """The number of this device. Only after :meth:`prepare`."""
        return self._prepared[0]

    @property
    def fingerprint(self) -> str:
        """What contacts compare: 64 hex digits. Only after :meth:`prepare`."""
        return self._prepared[1]

    @property
    def _prepared(self) -> tuple[int, str]:
        if self._identity is None:
            raise RuntimeError("call prepare() first")
        return self._identity

    async def prepare(self, database: Database) -> None:
        """Make or load this device and see that others can find it.

        Call it after every login that did not resume a session: device lists may
        have changed unseen. NETWORK, and a transaction of its own. On the first
        run the device is published when this returns; later, what is missing on
        the server waits in :meth:`take_effects`.

        Raises:
            DeviceListError: The server did not answer. Call it again; what was
                made before is kept.
        """
        if self._database is None:
            self._database = database
            database.on_rollback(self.drop_caches)
        self._directory.expire()
        failures = await self._directory.fetch_lists([self._own])
        if failures:
            raise failures[self._own]
        async with database.transaction():
            manager = await self._open()
            await self._apply_list(manager, self._own)
            is_published = (await self._storage.load(_PUBLISHED)).is_just
            is_listed = UploadDeviceList() not in self._door.effects
            if not is_listed or (await self._storage.load(UNPUBLISHED)).is_just:
                await self._door.upload_bundle()
        if not is_published:
            self.take_effects()
            await self._publish_first(database)

    async def _publish_first(self, database: Database) -> None:
        """Publish bundle, then list: who sees the list finds the bundle.

        In one flight: a stream keeps the order.
        """
        await together(self._upload_bundle(), self._upload_device_list())
        async with database.transaction():
            await self._storage.store(_PUBLISHED, "yes")

    async def perform(self, kind: str, payload: str) -> None:
        """Do what an effect asked for. NETWORK; may be done twice.

        Args:
            kind: The effect's.
            payload: The effect's.

        Raises:
            DeviceListError: The server did not answer. Try again later.
            ValueError: Nothing of this kind is known.
        """
        if kind == UploadBundle().kind:
            await self._upload_bundle()
        elif kind == UploadDeviceList().kind:
            await self._restore_device_list()
        else:
            raise ValueError(f"unknown kind of job: {kind!r} {payload[:20]!r}")

    async def _upload_bundle(self) -> None:
        if self._database is None:
            raise RuntimeError("call prepare() first")
        async with self._database.transaction():
            # Read when it goes out: an older one would offer used-up pre-keys.
            bundle = await self._backend.get_bundle(self._own, self.device_id)
        await self._pep.publish_bundle(bundle)
        async with self._database.transaction():
            newest = await self._backend.get_bundle(self._own, self.device_id)
            if newest == bundle:
                await self._storage.delete(UNPUBLISHED)

    async def _upload_device_list(self) -> None:
        known = self._directory.lists[self._own]
        await self._pep.publish_device_list((*known, self.device_id))
        self._directory.lists[self._own] = (*known, self.device_id)

    async def _restore_device_list(self) -> None:
        """Put this device back, beside whatever the list holds by now."""
        found = await self._pep.fetch_device_list(self._own)
        self._directory.lists[self._own] = found.ids
        if self.device_id not in found.ids:
            await self._upload_device_list()

    def take_effects(self) -> list[Effect]:
        """Return what the operations since the last call want from the network.

        Call it in the transaction of the operation and keep the result there: as
        jobs, and an empty message as a row of the outbox.
        """
        effects = list(self._door.effects)
        self._door.effects.clear()
        return effects

    def drop_caches(self) -> None:
        """Forget what a roll-back may have undone; the next operation reads anew."""
        self._manager = None
        self._door.effects.clear()
        self._applied.clear()
        self._sessions.clear()
        self._unanswered.clear()
        self._next_rotation_check = 0.0

    # --- before the transaction: network ---------------------------------------------

    async def fetch(self, jids: Collection[JID]) -> None:
        """Fetch what :meth:`encrypt` will need. NETWORK, outside of transactions.

        At most two flights for any number of recipients: all device lists that
        nobody watches for us, then all missing bundles. None, usually, after the
        first message. Nothing is raised for a recipient that cannot be fetched:
        :meth:`encrypt` knows whether that matters.

        Args:
            jids: The recipients.
        """
        wanted = {jid.bare for jid in jids} | {self._own}
        await self._directory.fetch_lists(wanted)
        missing = [
            (jid, device_id)
            for jid in wanted
            for device_id in await self._listed(jid)
            if (jid, device_id) != (self._own, self.device_id)
            and not await self._has_session(jid, device_id)
        ]
        await self._directory.fetch_bundles(missing)

    async def fetch_sender(self, element: ET.Element, sender: JID) -> None:
        """Fetch what :meth:`decrypt` will need. NETWORK, outside of transactions.

        One flight for an unknown device, none for one with a session.

        Args:
            element: The ``<encrypted/>`` element.
            sender: Who sent it, as the server says.
        """
        device = (sender.bare, _sender_id(element))
        if await self._has_session(*device):
            return
        await self._directory.fetch_lists([sender.bare])
        if device[1] in await self._listed(sender.bare):
            await self._directory.fetch_bundles([device])

    async def _listed(self, jid: JID) -> tuple[int, ...]:
        """Return the device ids to take notice of: known ones first, then in order."""
        ids = self._directory.lists.get(jid, ())
        if len(ids) <= MAX_DEVICES:
            return ids
        log.warning("%s lists %d devices", jid.short, len(ids))
        known = [i for i in ids if await self._has_session(jid, i)]
        return tuple(dict.fromkeys((*known, *ids)))[:MAX_DEVICES]

    async def _has_session(self, jid: JID, device_id: int) -> bool:
        key = (str(jid), device_id)
        if key in self._sessions:
            self._directory.bundles.pop(key, None)
            return True
        if await self._backend.load_session(*key) is None:
            return False
        self._sessions.add(key)
        return True

    # --- inside the transaction: no network -------------------------------------------

    async def encrypt(self, to: JID, plaintext: str) -> Encrypted:
        """Encrypt for the devices of a contact and our own others. In a transaction.

        Raises:
            UndecidedDevicesError: Somebody has to decide about devices first.
            NoDevicesError: The recipient has no usable device.
            DeviceListError: The recipient's server did not answer :meth:`fetch`,
                and nothing is known from before. Try again.
            EncryptionError: The library failed; the cause is chained.
        """
        jid = to.bare
        with omemo_errors(EncryptionError, "nothing was sent"):
            manager = await self._open()
            await self._apply_list(manager, jid)
            await self._apply_list(manager, self._own)
            theirs = await self._look_at(manager, jid)
            theirs = tuple(d for d in theirs if not self._is_this(d))
            own = await self._look_at(manager, self._own) if jid != self._own else ()
        chosen = recipients(self._policy, jid, theirs)
        if not chosen:
            raise self._no_devices(jid)
        others = [d for d in own if d.active and not self._is_this(d)]
        chosen += tuple(d for d in others if self._accepts(d))
        message = await self._run_encrypt(manager, jid, chosen, plaintext)
        readers = {(key.bare_jid, key.device_id) for key, _ in message.keys}
        skipped = [
            d.fingerprint
            for d in (*theirs, *others)
            if d.active and (d.jid, d.device_id) not in readers
        ]
        known_ids = {device.device_id for device in theirs}
        listed = self._directory.lists.get(jid, ())
        skipped += [f"device {i}" for i in listed if i not in known_ids]
        element = oldmemo.etree.serialize_message(message)
        return Encrypted(element, len(message.keys), tuple(sorted(skipped)))

    async def _run_encrypt(
        self,
        manager: SessionManager,
        jid: JID,
        chosen: Collection[Device],
        plaintext: str,
    ) -> omemo.Message:
        self._door.chosen = frozenset((str(d.jid), d.device_id) for d in chosen)
        try:
            with omemo_errors(EncryptionError, "nothing was sent"):
                messages, failed = await manager.encrypt(
                    frozenset({str(jid)}), {NAMESPACE: plaintext.encode()}
                )
        except EncryptionError as error:
            if isinstance(error.__cause__, omemo.NoEligibleDevices):
                for device in chosen:
                    self._note_broken(device.jid, device.device_id)
                raise self._no_devices(jid) from error.__cause__
            raise
        finally:
            self._door.chosen = None
        for failure in failed:
            self._note_broken(JID(failure.bare_jid), failure.device_id)
        return next(iter(messages))

    def _note_broken(self, jid: JID, device_id: int) -> None:
        if (jid, device_id) not in self._sessions:
            self._directory.mark_absent((jid, device_id))

    def _no_devices(self, jid: JID) -> EncryptionError:
        if jid not in self._directory.lists:
            return DeviceListError(
                "nothing was sent",
                why="the device list of the recipient could not be fetched",
                fix="Try again in a moment.",
            )
        refused = {
            why for (whose, _), why in self._door.refused.items() if whose == jid
        }
        listed = self._directory.lists[jid]
        why = "they have no OMEMO device"
        if listed:
            why = f"none of their {len(listed)} devices has a usable bundle"
        return NoDevicesError(
            "nothing was sent",
            jid=jid,
            why=" and ".join([why, *sorted(refused)]),
            fix="They have to log in once with an OMEMO client; then send again.",
        )

    async def decrypt(self, element: ET.Element, sender: JID) -> Decrypted:
        """Decrypt a message. In a transaction: roll it back if this raises.

        Args:
            element: The ``<encrypted/>`` element.
            sender: Who sent it, as the server says; in a room, the real JID.

        Raises:
            DecryptionError: It is not for this device, is a duplicate, or its
                keys do not fit. Do not answer it: an answer would tell the
                sender which.
        """
        with omemo_errors(DecryptionError, "a message cannot be decrypted"):
            manager = await self._open()
            await self._apply_list(manager, sender.bare)
            try:
                message = await self._parse(manager, element, sender.bare)
                plaintext, info, _ = await manager.decrypt(message)
            except omemo.SenderNotFound as cause:
                raise self._not_found(element, sender.bare) from cause
            devices = await self._look_at(manager, sender.bare)
        device = next(d for d in devices if d.device_id == info.device_id)
        self._thin_out(device, message)
        return Decrypted(_text(plaintext), device)

    async def _parse(
        self, manager: SessionManager, element: ET.Element, jid: JID
    ) -> omemo.Message:
        if element.tag != f"{_NS}encrypted":
            raise ValueError("not an <encrypted/> element of this OMEMO version")
        message = await oldmemo.etree.parse_message(element, jid, self._own, manager)
        content = message.content
        if not isinstance(content, ContentImpl) or content.empty:
            return message
        if len(content.initialization_vector) not in _IV_LENGTHS:
            raise ValueError("the initialization vector has a wrong length")
        return message

    def _not_found(self, element: ET.Element, jid: JID) -> DecryptionError:
        refused = self._door.refused.get((jid, _sender_id(element)), "")
        return DecryptionError(
            "a message cannot be decrypted",
            why=refused or "the sender's device is not published",
            fix="Ask the sender to log in with it once, and to send again.",
        )

    def _thin_out(self, device: Device, message: omemo.Message) -> None:
        """Keep an empty answer only if it is due and the sender may know of us.

        To a device that is not accepted it would only tell that we are online; in
        a burst one for each session is enough. One that is dropped is a gap in the
        ratchet, which the other side bridges.
        """
        effects = self._door.effects
        empties = [
            e for e in effects if isinstance(e, SendEmpty) and e.to == device.jid
        ]
        if not empties:
            return
        begun = b"".join(
            kex.header.ephemeral_key
            for key, kex in message.keys
            if isinstance(kex, KeyExchangeImpl) and key.device_id == self.device_id
        )
        session = (str(device.jid), device.device_id, begun)
        count = self._unanswered.pop(session, 0)
        self._unanswered[session] = count + 1
        if len(self._unanswered) > _MAX_UNANSWERED:
            self._unanswered.pop(next(iter(self._unanswered)))
        if count % _EMPTY_EVERY or not self._accepts(device):
            for effect in empties:
                effects.remove(effect)

    # --- trust ------------------------------------------------------------------

    async def devices(self, jid: JID) -> tuple[Device, ...]:
        """Return the known devices of a JID. In a transaction."""
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            manager = await self._open()
            await self._apply_list(manager, jid.bare)
            return await self._look_at(manager, jid.bare)

    async def set_trust(self, jid: JID, fingerprint: str, level: TrustLevel) -> None:
        """Keep what a person decided about a device. In a transaction.

        Args:
            jid: Whose device it is.
            fingerprint: All 64 hex digits; spaces and case do not matter.
            level: TRUSTED or DISTRUSTED; UNDECIDED takes a decision back.

        Raises:
            EncryptionError: The JID has no such device.
        """
        wanted = parse_fingerprint(fingerprint)
        with omemo_errors(EncryptionError, "the decision was not kept"):
            manager = await self._open()
            await self._apply_list(manager, jid.bare)
            for info in await manager.get_device_information(jid.bare):
                if fingerprint_of(info.identity_key) == wanted:
                    await manager.set_trust(jid.bare, info.identity_key, level.name)
                    return
        raise EncryptionError(
            "the decision was not kept",
            why="this JID has no device with that fingerprint",
            fix=f"Compare it with `xmpp-onion trust list {jid.bare}`.",
        )

    def _accepts(self, device: Device) -> bool:
        return accepts(self._policy, device.trust)

    def _is_this(self, device: Device) -> bool:
        return device.own and device.device_id == self.device_id

    async def _look_at(self, manager: SessionManager, jid: JID) -> tuple[Device, ...]:
        """Return the devices of a JID, with a level decided for each new one."""
        infos = await manager.get_device_information(jid)
        pins = self._pins.get(jid, frozenset())
        known = [
            self._device(info)
            for info in infos
            if info.trust_level_name != NEW or fingerprint_of(info.identity_key) in pins
        ]
        devices = list(known)
        for info in infos:
            device = self._device(info)
            if device in known:
                continue
            level = decide(self._policy, known, device, pins)
            if self._policy is not Trust.PINNED:
                await manager.set_trust(jid, info.identity_key, level.name)
            devices.append(self._device(info._replace(trust_level_name=level.name)))
        return tuple(sorted(devices, key=lambda device: device.device_id))

    def _device(self, info: omemo.DeviceInformation) -> Device:
        jid = JID(info.bare_jid)
        fingerprint = fingerprint_of(info.identity_key)
        stored = TrustLevel.UNDECIDED
        if info.trust_level_name != NEW:
            stored = TrustLevel(info.trust_level_name)
        pinned = fingerprint in self._pins.get(jid, frozenset())
        trust = in_force(self._policy, stored, is_pinned=pinned)
        if (info.device_id, fingerprint) == self._identity and jid == self._own:
            trust = TrustLevel.TRUSTED
        return Device(
            jid=jid,
            device_id=info.device_id,
            fingerprint=fingerprint,
            trust=trust,
            active=dict(info.active).get(NAMESPACE, False),
            own=jid == self._own,
            label=info.label,
        )

    # --- the library's session manager ------------------------------------------

    async def _open(self) -> SessionManager:
        """Return the session manager, made anew after a roll-back; no network."""
        if self._manager is None:
            self._door.refused.clear()
            if (await self._storage.load("/ikp/key")).is_nothing:
                await self._draw_identity()
            manager = await session_manager_class(self._door).create(
                [self._backend],
                self._storage,
                self._own,
                initial_own_label=None,
                undecided_trust_level_name=NEW,
            )
            # Its task writes to the store whenever it likes; _rotate does its work.
            await manager.shutdown()
            await manager.after_history_sync()
            await self._remember_identity(manager)
            self._manager = manager
        await self._rotate()
        return self._manager

    async def _remember_identity(self, manager: SessionManager) -> None:
        own, _ = await manager.get_own_device_information()
        owner = await self._door.claim(own.identity_key, self._own)
        if owner != self._own:
            raise EncryptionError("our own identity key is pinned for another JID")
        self._identity = own.device_id, fingerprint_of(own.identity_key)

    async def _draw_identity(self) -> None:
        """Draw our identity key, one whose Ed25519 form has a clear sign bit.

        Some clients refuse the signatures of the others.
        """
        seed = secrets.token_bytes(32)
        while xeddsa.seed_to_ed25519_pub(seed)[31] & 0x80:
            seed = secrets.token_bytes(32)
        await self._storage.store("/ikp/is_seed", value=True)
        await self._storage.store_bytes("/ikp/key", seed)

    async def _rotate(self) -> None:
        """Replace the signed pre-key when it is old enough."""
        if self._clock() < self._next_rotation_check:
            return
        self._next_rotation_check = self._clock() + _ROTATION_CHECK
        if await self._backend.signed_pre_key_age() > _SIGNED_PRE_KEY_LIFETIME:
            await self._backend.rotate_signed_pre_key()
            await self._backend.get_bundle(self._own, self.device_id)
            await self._door.upload_bundle()

    async def _apply_list(self, manager: SessionManager, jid: JID) -> None:
        """Tell the library about a device list that was fetched or pushed."""
        if jid not in self._directory.lists:
            return
        ids = await self._listed(jid)
        if self._applied.get(jid) != ids:
            await manager.update_device_list(NAMESPACE, jid, dict.fromkeys(ids))
            self._applied[jid] = ids


def _text(plaintext: bytes | None) -> str | None:
    if plaintext is None:
        return None
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: that exception carries the plaintext.
        raise DecryptionError(
            "a message cannot be decrypted", why="its text is not UTF-8"
        ) from None


def _sender_id(element: ET.Element) -> int:
    header = element.find(f"{_NS}header")
    text = "" if header is None else header.get("sid", "")
    return int(text) if text.isascii() and text.isdigit() else 0
