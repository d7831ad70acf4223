"""OMEMO for one account: encrypt, decrypt, and what both want from the network.

The order is always the same: :meth:`Omemo.fetch` or :meth:`Omemo.fetch_sender`
does all network *before*; :meth:`Omemo.encrypt` or :meth:`Omemo.decrypt` runs
*inside* one transaction of the store and touches no network; what the ratchet
wants from the network is taken with :meth:`Omemo.take_effects` in the same
transaction, kept with the message, and done later with :meth:`Omemo.perform`.

Source: XEP-0384, versions 0.9 (``urn:xmpp:omemo:2``) and 0.3
(``eu.siacs.conversations.axolotl``).
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import omemo
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.agreement import LIBRARY_ERRORS
from xmpp_onion.e2ee.answers import Answers
from xmpp_onion.e2ee.decisions import Decisions
from xmpp_onion.e2ee.devices import Pep
from xmpp_onion.e2ee.directory import MAX_DEVICES, Directory, Place
from xmpp_onion.e2ee.effect import (
    CheckNodes,
    Effect,
    RenewSession,
    SendEmpty,
    UploadBundle,
    UploadDeviceList,
    Withdraw,
)
from xmpp_onion.e2ee.envelope import Plain, read_envelope, write_envelope
from xmpp_onion.e2ee.healing import Healing, Patient, is_broken
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.policies import Policies
from xmpp_onion.e2ee.publisher import Publisher
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import (
    Device,
    Trust,
    TrustLevel,
    accepts,
    recipients,
    verified,
)
from xmpp_onion.e2ee.trust_messages import Word
from xmpp_onion.e2ee.versions import (
    NAMESPACES,
    OMEMO_2,
    OMEMO_OLD,
    addressed,
    read_message,
    sender_id,
    write_message,
)
from xmpp_onion.e2ee.vouching import Vouching, read_letter
from xmpp_onion.e2ee.writer import Writer
from xmpp_onion.errors import (
    DecryptionError,
    DeviceListError,
    EncryptionError,
    NoDevicesError,
)
from xmpp_onion.store import Database, Keys

__all__ = ["Decrypted", "Encrypted", "Omemo", "quiet_libraries"]

log = logging.getLogger(__name__)

_LIBRARIES = (
    "omemo",
    "oldmemo",
    "twomemo",
    "doubleratchet",
    "x3dh",
    "slixmpp_omemo",
)
_UNREADABLE = "a message cannot be decrypted"
_UNSENT = "nothing was sent"


def quiet_libraries() -> None:
    """Cap the loggers of the libraries that handle keys.

    At DEBUG they print plaintexts and keys, at WARNING JIDs and device ids.
    """
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


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


class Omemo:
    """The OMEMO device of one account.

    Args:
        own: The account.
        keys: Where its keys are kept.
        pep: The way to device lists and bundles.
        policy: What to do about devices that nobody has decided about.
        pins: Fingerprints that were given beforehand, by JID.
        automatic_trust: Whether verified devices tell each other whom to believe.
        clock: Seconds that only go forward; tests pass their own.

    Attributes:
        policies: What holds for each contact.
        notices: What is to be told about devices.
    """

    def __init__(
        self,
        own: JID,
        keys: Keys,
        pep: Pep,
        *,
        policy: Trust,
        pins: Mapping[JID, frozenset[str]] | None = None,
        automatic_trust: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        quiet_libraries()
        bare_pins = {jid.bare: prints for jid, prints in (pins or {}).items()}
        self._own = own.bare
        self._storage = KeyStorage(keys)
        self.policies = Policies(self._own, self._storage, policy)
        self.notices = Notices()
        self._directory = Directory(pep, clock=clock)
        self._door = Door(
            storage=self._storage,
            bundles=self._directory.bundles,
            lists=self._directory.lists,
            pins=bare_pins,
            notices=self.notices,
            clock=clock,
        )
        self._device = OwnDevice(self._own, self._door, clock=clock)
        self._publisher = Publisher(
            self._own,
            self._device,
            self._door,
            directory=self._directory,
            pep=pep,
        )
        self._writer = Writer(self._device.backends, self._own, self._door)
        self._decisions = Decisions(
            self._own,
            self._storage,
            self.policies,
            pins=bare_pins,
            notices=self.notices,
        )
        self._vouching = Vouching(
            self._own,
            self._decisions,
            self._storage,
            notices=self.notices,
            effects=self._door.effects,
            is_on=automatic_trust,
        )
        self._sightings = Sightings(self._storage)
        self._answers = Answers()
        self._healing = Healing(self._device, self._door, self._own)
        self._database: Database | None = None
        self._applied: dict[tuple[str, str], omemo.DeviceList] = {}
        self._sessions: set[tuple[str, str, int]] = set()

    # --- the account's own device -------------------------------------------------

    @property
    def device_id(self) -> int:
        """The number of this device. Only after :meth:`prepare`."""
        return self._device.device_id

    @property
    def fingerprint(self) -> str:
        """What contacts compare: 64 hex digits. Only after :meth:`prepare`."""
        return self._device.fingerprint

    async def set_label(self, label: str | None) -> None:
        """Name this device, for everybody to read; None takes the name away.

        In a transaction; what to publish is an effect.

        Args:
            label: 53 characters at most, as XEP-0384 recommends.
        """
        await self._device.open()
        await self._device.set_label(label)

    async def this_device(self) -> Device:
        """Return this device as others see it. In a transaction."""
        await self._device.open()
        return Device(
            jid=self._own,
            device_id=self.device_id,
            fingerprint=self.fingerprint,
            trust=TrustLevel.TRUSTED,
            active=True,
            own=True,
            label=await self._device.label(),
        )

    async def remove_device(self, device_id: int) -> None:
        """Take a device out of our account's lists. NETWORK.

        Raises:
            DeviceListError: The server did not answer; some lists may be changed.
        """
        await self._publisher.remove(device_id)
        self._applied.clear()

    async def closed_nodes(self) -> tuple[str, ...]:
        """Return the nodes that the server keeps closed, as last checked.

        Strangers cannot find this device there; contacts can.
        """
        return await self._publisher.closed_nodes()

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
            self.notices.attach(database)
        self._directory.expire()
        self._applied.clear()
        failures = await self._directory.fetch_lists([self._own])
        if failures:
            raise failures[self._own]
        async with database.transaction():
            manager = await self._device.open()
            await self._apply_lists(manager, self._own)
            missing = await self._publisher.missing()
        if missing:
            await self._publisher.publish(missing, database)
            self._applied.clear()

    def begin_history(self) -> None:
        """Expect messages from while we were away, until :meth:`end_history`.

        Two devices may have begun a session with the same pre-key then, so a used
        one is kept; and one answer for each session is enough.
        """
        self._device.begin_history()

    async def end_history(self) -> None:
        """Delete the used pre-keys; what to answer is an effect. In a transaction.

        Without it they stay, and are deleted after the next time.
        """
        with omemo_errors(DecryptionError, "the used pre-keys were not deleted"):
            manager = await self._device.end_history()
            effects, self._door.effects[:] = list(self._door.effects), []
            for effect in effects:
                if not isinstance(effect, SendEmpty) or await self._may_answer(
                    manager, effect
                ):
                    self._door.effects.append(effect)

    async def _may_answer(self, manager: SessionManager, effect: SendEmpty) -> bool:
        """Tell whether the policy accepts the devices that an empty message is for."""
        element = ET.fromstring(effect.element)  # noqa: S314 - made by this package
        readers = {int(key.get("rid", "")) for key in element.iter() if key.get("rid")}
        devices = await self._known(manager, effect.to)
        return all(accepts(d.trust) for d in devices if d.device_id in readers)

    async def perform(self, kind: str, payload: str) -> None:
        """Do what an effect asked for. NETWORK; may be done twice.

        Args:
            kind: The effect's.
            payload: The effect's.

        Raises:
            DeviceListError: The server did not answer. Try again later.
            ValueError: Nothing of this kind is known.
        """
        database = self._database
        if database is None:
            raise RuntimeError("call prepare() first")
        namespace = payload or OMEMO_OLD  # jobs of before there were two
        match kind:
            case UploadBundle.kind:
                await self._publisher.upload_bundle(namespace, database)
            case UploadDeviceList.kind:
                await self._publisher.refresh_device_list(namespace)
                self._applied.clear()
            case CheckNodes.kind:
                await self._publisher.check_nodes(namespace, database)
            case RenewSession.kind:
                await self._fetch_patient(Patient.read(payload))
            case _:
                raise ValueError(f"unknown kind of job: {kind!r} {payload[:20]!r}")

    async def _fetch_patient(self, patient: Patient) -> None:
        failures = await self._directory.fetch_lists([patient.jid])
        if failures:
            raise failures[patient.jid]
        place = Place(patient.namespace, str(patient.jid), patient.device_id)
        await self._directory.fetch_bundles([place])

    async def conclude(self, kind: str, payload: str) -> None:
        """Do what is left of a job when :meth:`perform` has done it. In a transaction.

        Args:
            kind: The effect's.
            payload: The effect's.
        """
        if kind == RenewSession.kind:
            patient = Patient.read(payload)
            with omemo_errors(EncryptionError, _UNSENT):
                if await self._may_answer_device(patient.jid, patient.device_id):
                    await self._healing.begin_anew(patient)

    async def retire_sessions(self) -> None:
        """Send with no session that there is; wish for others. In a transaction.

        For a store that was rolled back: its sessions were further once.
        """
        with omemo_errors(EncryptionError, "the sessions were not replaced"):
            await self._device.open()
            await self._healing.retire_all()
        self._sessions.clear()

    async def heal(
        self, elements: Sequence[ET.Element], sender: JID, error: BaseException
    ) -> None:
        """Wish for a fresh session, if that helps with what could not be read.

        In a transaction. At most one an hour with each device, and none with one
        that the policy does not accept: who sends rubbish learns nothing.

        Args:
            elements: The ``<encrypted/>`` elements of the stanza.
            sender: Who sent it, as the server says.
            error: What :meth:`decrypt` raised.
        """
        if not is_broken(error.__cause__):
            return
        found = addressed(elements, self._own, self.device_id)
        if found is None:
            return
        namespace, element = found
        jid, device_id = sender.bare, sender_id(element)
        with suppress(*LIBRARY_ERRORS):  # what we cannot even look at stays as it is
            if await self._may_answer_device(jid, device_id):
                await self._healing.ask(namespace, jid, device_id)

    async def _may_answer_device(self, jid: JID, device_id: int) -> bool:
        devices = await self._known(await self._device.open(), jid)
        return any(
            device.device_id == device_id and device.active and accepts(device.trust)
            for device in devices
        )

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
        self._device.drop()
        self._door.effects.clear()
        self._answers.clear()
        self._applied.clear()
        self._sessions.clear()

    # --- before the transaction: network ------------------------------------------

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
        # A device whose newest bundle is missing may have an older one.
        for _ in NAMESPACES:
            devices = [(jid, i) for jid in wanted for i in await self._listed(jid)]
            missing = [await self._missing_bundle(*device) for device in devices]
            try:
                await self._directory.fetch_bundles([*filter(None, missing)])
            except DeviceListError:
                log.info("not all bundles could be fetched")

    async def _missing_bundle(self, jid: JID, device_id: int) -> Place | None:
        """Return the bundle to fetch before a device can be written to, if any."""
        if (jid, device_id) == (self._own, self.device_id):
            return None
        for place in self._directory.places(jid, device_id):
            if await self._has_session(place) or place in self._directory.bundles:
                return None
            if not self._directory.is_absent(place):
                return place
        return None

    async def fetch_sender(self, elements: Sequence[ET.Element], sender: JID) -> None:
        """Fetch what :meth:`decrypt` will need. NETWORK, outside of transactions.

        Two flights for an unknown device, none for one with a session.

        Args:
            elements: The ``<encrypted/>`` elements of one stanza.
            sender: Who sent it, as the server says.

        Raises:
            DeviceListError: The server did not answer. Try again: a message must
                not be given up for that.
        """
        found = addressed(elements, self._own, self.device_id)
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
        if device_id in await self._listed(jid):
            # Any bundle of the device tells its identity key.
            listed = self._directory.places(jid, device_id)
            used = [place for place in listed if place.namespace == namespace]
            await self._directory.fetch_bundles([(used or listed)[0]])

    async def is_at_hand(self, elements: Sequence[ET.Element], sender: JID) -> bool:
        """Tell whether a message can be decrypted without fetching anything."""
        found = addressed(elements, self._own, self.device_id)
        if found is None:
            return True  # nothing is: it is not for us
        device_id = sender_id(found[1])
        places = [Place(one, sender.bare, device_id) for one in NAMESPACES]
        return any(place in self._directory.bundles for place in places) or any(
            [await self._has_session(place) for place in places]
        )

    async def _listed(self, jid: JID) -> tuple[int, ...]:
        """Return the device ids to take notice of: known ones first, then in order."""
        ids = self._directory.ids(jid)
        if len(ids) <= MAX_DEVICES:
            return ids
        log.warning("%s lists %d devices", jid.short, len(ids))
        known = [i for i in ids if await self._is_known(jid, i)]
        return tuple(dict.fromkeys((*known, *ids)))[:MAX_DEVICES]

    async def _is_known(self, jid: JID, device_id: int) -> bool:
        if (jid, device_id) == (self._own, self.device_id):
            return True
        places = self._directory.places(jid, device_id)
        return any([await self._device.has_session(*place) for place in places])

    async def _has_session(self, place: Place) -> bool:
        """Tell whether there is a session to send with."""
        if place in self._sessions:
            self._directory.bundles.pop(place, None)
            return True
        if not await self._device.may_send(*place):
            return False
        self._sessions.add(place)
        return True

    # --- inside the transaction: no network ---------------------------------------

    @staticmethod
    def addressee(payload: str) -> JID:
        """Return for whom to :meth:`fetch` before :meth:`encrypt_letter`."""
        return read_letter(payload).to

    async def encrypt_letter(self, payload: str) -> tuple[JID, Encrypted] | None:
        """Encrypt what a ``TellTrust`` holds, for verified devices alone.

        In a transaction. None if nothing of it, or nobody to tell, is left.

        Raises:
            DeviceListError: The recipient's server did not answer. Try again.
        """
        letter = read_letter(payload)
        with omemo_errors(EncryptionError, _UNSENT):
            manager = await self._device.open()
            element = await self._vouching.element(manager, letter.words)
        if element is None:
            return None
        try:
            plain = Plain(None, (element,))
            return letter.to, await self.encrypt(letter.to, plain, verified_only=True)
        except NoDevicesError:
            return None

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
        with omemo_errors(EncryptionError, _UNSENT):
            manager = await self._device.open()
            theirs = await self._others(manager, jid)
            is_alone = verified_only or jid == self._own
            own = () if is_alone else await self._others(manager, self._own)
            if verified_only:
                chosen = verified(theirs)
            else:
                chosen = recipients(await self.policies.of(jid), jid, theirs)
            if not chosen:
                raise self._no_devices(jid, plain)
            # Our own other devices never stop a message: they are left out.
            chosen += tuple(d for d in own if d.active and accepts(d.trust))
            written = await self._writer.write(
                self._contents(plain, jid),
                self.device_id,
                [(d.jid, d.device_id, d.namespaces) for d in chosen],
                needed=jid,
            )
        self._note_broken(written.broken)
        if not written.messages:
            raise self._no_devices(jid, plain)
        skipped = self._skipped(jid, (*theirs, *own), written.readers)
        elements = tuple(write_message(message) for message in written.messages)
        return Encrypted(elements, len(written.readers), tuple(sorted(skipped)))

    def _contents(self, plain: Plain, to: JID) -> dict[str, bytes]:
        """Return what each version encrypts; the older one has room for a text."""
        now = datetime.now(UTC)
        envelope = write_envelope(plain, sender=self._own, to=to, now=now)
        if plain.text is None:
            return {OMEMO_2: envelope}
        return {OMEMO_2: envelope, OMEMO_OLD: plain.text.encode(errors="replace")}

    def _note_broken(self, places: Iterable[tuple[str, str, int]]) -> None:
        for place in places:
            if place not in self._sessions:
                self._directory.mark_absent(Place(*place))

    def _skipped(
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
                _UNSENT,
                why="the device list of the recipient could not be fetched",
                fix="Try again in a moment.",
            )
        if jid in self._directory.hidden and not listed:
            return NoDevicesError(
                _UNSENT,
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
            return NoDevicesError(_UNSENT, jid=jid, why=why)
        refused = {
            why for (whose, _), why in self._door.refused.items() if whose == jid
        }
        why = f"none of their {len(listed)} devices has a usable bundle"
        return NoDevicesError(
            _UNSENT,
            jid=jid,
            why=", ".join([why, *sorted(refused)]) if listed else "we see no device",
            fix="They have to log in once with an OMEMO client. Some clients show "
            f"their devices to contacts only: xmpp-onion contact add {jid}",
        )

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
        found = addressed(elements, self._own, self.device_id)
        if found is None:
            why = "it is not encrypted for this device"
            raise DecryptionError(_UNREADABLE, why=why)
        namespace, element = found
        with omemo_errors(DecryptionError, _UNREADABLE):
            manager = await self._device.open()
            await self._apply_lists(manager, jid)
            try:
                message = await read_message(element, jid, self._own, manager)
                content, info, _ = await self._open(manager, message)
            except omemo.SenderNotFound as cause:
                raise self._not_found(element, jid) from cause
            devices = await self._known(manager, jid)
        device = next(d for d in devices if d.device_id == info.device_id)
        self._answers.thin_out(
            self._door.effects,
            message,
            device,
            own_device_id=self.device_id,
            is_accepted=accepts(device.trust),
        )
        await self._sightings.note(device)
        plain = None if content is None else self._read(namespace, content, jid, to)
        if plain is not None:
            await self._vouching.hear(manager, device, plain.payload, self.fingerprint)
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
        known = await self._storage.load_bytes(
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

    # --- devices and trust --------------------------------------------------------

    async def devices(self, jid: JID) -> tuple[Device, ...]:
        """Return the known devices of a JID, ours without this one. In a transaction.

        Raises:
            DeviceListError: Nothing is known, and :meth:`fetch` got no answer.
        """
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            devices = await self._others(await self._device.open(), jid.bare)
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
            devices = await self._known(await self._device.open(), jid.bare)
        known = {device.fingerprint: device.trust for device in devices}
        return known.get(fingerprint, TrustLevel.UNDECIDED)

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
            await self._known(manager, jid.bare)
            device = await self._decisions.set(manager, jid.bare, fingerprint, level)
            await self._vouching.decided(manager, device, self.fingerprint)
        if level is TrustLevel.DISTRUSTED:
            self._door.effects.append(Withdraw(device))
        return device

    async def promise(self, words: Iterable[tuple[JID, str, TrustLevel]]) -> None:
        """Keep decisions about keys that are not known yet. In a transaction.

        Args:
            words: Whose key, its fingerprint, TRUSTED or DISTRUSTED.
        """
        said = [Word(j.bare, f, level is TrustLevel.TRUSTED) for j, f, level in words]
        await self._vouching.promise(said, self.fingerprint)

    async def owners(self, fingerprints: Iterable[str]) -> dict[str, JID]:
        """Return whose key each fingerprint is, where that is known."""
        found = {digits: await self._door.owner(digits) for digits in fingerprints}
        return {digits: owner for digits, owner in found.items() if owner is not None}

    async def known_devices(self, jid: JID) -> tuple[Device, ...]:
        """Return what is known of a JID's devices, without this one. In a transaction.

        Unlike :meth:`devices`, whether or not its server ever answered.
        """
        with omemo_errors(EncryptionError, "the devices cannot be read"):
            return await self._others(await self._device.open(), jid.bare)

    async def decided_devices(self) -> tuple[Device, ...]:
        """Return the devices that somebody decided about, and their owners' others."""
        jids = await self._decisions.decided_jids()
        found = [await self.known_devices(jid) for jid in jids]
        return tuple(device for devices in found for device in devices)

    async def _others(self, manager: SessionManager, jid: JID) -> tuple[Device, ...]:
        """Return the devices of a JID except this one."""
        devices = await self._known(manager, jid)
        if jid != self._own:
            return devices
        return tuple(d for d in devices if d.device_id != self.device_id)

    async def _known(self, manager: SessionManager, jid: JID) -> tuple[Device, ...]:
        await self._apply_lists(manager, jid)
        listed = await self._listed(jid)
        devices = await self._decisions.devices(manager, jid, listed)
        if not self._decisions.take_newcomers():
            return devices
        if not await self._vouching.look_again(manager, jid, self.fingerprint):
            return devices
        return await self._decisions.devices(manager, jid, listed)

    async def _apply_lists(self, manager: SessionManager, jid: JID) -> None:
        """Tell the library about the device lists that were fetched or pushed."""
        wanted = set(await self._listed(jid))
        for namespace in NAMESPACES:
            published = self._directory.lists.get((namespace, jid))
            if published is None:
                continue
            devices = {i: label for i, label in published.items() if i in wanted}
            if self._applied.get((namespace, jid)) != devices:
                await manager.update_device_list(namespace, jid, devices)
                self._applied[namespace, jid] = devices


def _text(plaintext: bytes) -> str:
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: that exception carries the plaintext.
        raise DecryptionError(_UNREADABLE, why="its text is not UTF-8") from None
