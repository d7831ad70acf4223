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
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee.agreement import LIBRARY_ERRORS
from xmpp_onion.e2ee.decisions import Decisions
from xmpp_onion.e2ee.decryption import Decrypted, Decryption
from xmpp_onion.e2ee.device_records import DeviceRecords
from xmpp_onion.e2ee.devices import Pep
from xmpp_onion.e2ee.directory import Directory
from xmpp_onion.e2ee.effect import (
    CheckNodes,
    Effect,
    RenewSession,
    SendEmpty,
    UploadBundle,
    UploadDeviceList,
)
from xmpp_onion.e2ee.encryption import UNSENT, Encrypted, Encryption
from xmpp_onion.e2ee.envelope import Plain
from xmpp_onion.e2ee.healing import Healing, Patient, is_broken
from xmpp_onion.e2ee.keyring import Keyring
from xmpp_onion.e2ee.known_devices import KnownDevices
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.policies import Policies
from xmpp_onion.e2ee.publisher import Publisher
from xmpp_onion.e2ee.read_back import Shown, read_back
from xmpp_onion.e2ee.room_encryption import RoomEncryption
from xmpp_onion.e2ee.session_manager import Door, omemo_errors
from xmpp_onion.e2ee.sightings import Sightings
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.succession import Succession
from xmpp_onion.e2ee.supply import Supply
from xmpp_onion.e2ee.trust import (
    Device,
    Trust,
    TrustLevel,
)
from xmpp_onion.e2ee.versions import (
    OMEMO_OLD,
    addressed,
    sender_id,
)
from xmpp_onion.e2ee.vouching import Vouching, read_letter
from xmpp_onion.errors import (
    DecryptionError,
    EncryptionError,
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
)


def quiet_libraries() -> None:
    """Cap the loggers of the libraries that handle keys.

    At DEBUG they print plaintexts and keys, at WARNING JIDs and device ids.
    """
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


class Omemo:
    """The OMEMO device of one account.

    Args:
        own: The account.
        keys: Where its keys are kept.
        pep: The way to device lists and bundles.
        policy: What to do about devices that nobody has decided about.
        pins: Fingerprints that were given beforehand, by JID.
        automatic_trust: Whether verified devices tell each other whom to believe.
        is_contact: Tells who is on our contact list; what is known of all others is
            forgotten when there is too much of it.
        former: The names that our server had; what names them in old messages means us.
        languages: Which of several texts of a message to take; their tags, best first.
        clock: Seconds that only go forward; tests pass their own.

    Attributes:
        policies: What holds for each contact.
        notices: What is to be told about devices.
        keyring: What is known of devices, and was decided about them.
        rooms: Encrypts for all members of a room at once.
    """

    def __init__(  # noqa: PLR0913 - facts about an account, by name
        self,
        own: JID,
        keys: Keys,
        pep: Pep,
        *,
        policy: Trust,
        pins: Mapping[JID, frozenset[str]] | None = None,
        automatic_trust: bool = True,
        is_contact: Callable[[JID], bool] = lambda _: False,
        former: Collection[str] = (),
        languages: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        quiet_libraries()
        bare_pins = {jid.bare: prints for jid, prints in (pins or {}).items()}
        self._own, self._pep = own.bare, pep
        self._is_contact = is_contact
        self._storage = KeyStorage(keys)
        self.policies = Policies(self._own, self._storage, policy, bare_pins)
        self.notices = Notices()
        self._directory = Directory(
            pep,
            is_contact=lambda jid: jid == self._own or is_contact(JID(jid)),
            clock=clock,
        )
        self._door = Door(
            storage=self._storage,
            bundles=self._directory.bundles,
            lists=self._directory.lists,
            pins=bare_pins,
            notices=self.notices,
            refuse=self._directory.mark_refused,
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
        decisions = Decisions(
            self._own,
            self._storage,
            self.policies,
            pins=bare_pins,
            notices=self.notices,
        )
        vouching = Vouching(
            self._own,
            decisions,
            self._storage,
            notices=self.notices,
            effects=self._door.effects,
            is_on=automatic_trust,
        )
        sightings = Sightings(self._storage)
        records = DeviceRecords(self._door, self._device, sightings)
        succession = Succession(self._own, self._door, self._device, records)
        self._known = KnownDevices(
            self._own,
            self._device,
            self._directory,
            decisions=decisions,
            vouching=vouching,
            records=records,
        )
        self._supply = Supply(self._own, self._device, self._directory, self._known)
        self.keyring = Keyring(
            self._device,
            self._door,
            self._directory,
            known=self._known,
            sightings=sightings,
            decisions=decisions,
            vouching=vouching,
            succession=succession,
            supply=self._supply,
        )
        self._encryption = Encryption(
            self._own,
            self._device,
            self._door,
            directory=self._directory,
            supply=self._supply,
            known=self._known,
            policies=self.policies,
            vouching=vouching,
        )
        self.rooms = RoomEncryption(
            self._own, self._encryption, known=self._known, policies=self.policies
        )
        self._decryption = Decryption(
            self._own,
            self._device,
            self._door,
            known=self._known,
            sightings=sightings,
            vouching=vouching,
            former=former,
            languages=languages,
        )
        self._healing = Healing(self._device, self._door, self._own)
        self._database: Database | None = None

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

    async def read_back(self) -> tuple[Shown, ...]:
        """Return what our server shows of this device. NETWORK.

        Raises:
            DeviceListError: It did not answer.
        """
        return await read_back(self._pep, self._own, self.device_id)

    async def remove_device(self, device_id: int) -> None:
        """Take a device out of our account's lists. NETWORK.

        Raises:
            DeviceListError: The server did not answer; some lists may be changed.
        """
        await self._publisher.remove(device_id)
        self._known.forget_lists()

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
        self._known.forget_lists()
        failures = await self._directory.fetch_lists([self._own])
        if failures:
            raise failures[self._own]
        async with database.transaction():
            manager = await self._device.open()
            await self._known.apply_lists(manager, self._own)
            missing = await self._publisher.missing()
        if missing:
            await self._publisher.publish(missing, database)
            self._known.forget_lists()

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
            await self._device.end_history()
            effects, self._door.effects[:] = list(self._door.effects), []
            for effect in effects:
                if not isinstance(effect, SendEmpty) or await self._known.may_send(
                    effect
                ):
                    self._door.effects.append(effect)

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
                self._known.forget_lists()
            case CheckNodes.kind:
                await self._publisher.check_nodes(payload.split(), database)
            case RenewSession.kind:
                await self._supply.fetch_patient(Patient.read(payload))
            case _:
                raise ValueError(f"unknown kind of job: {kind!r} {payload[:20]!r}")

    async def conclude(self, kind: str, payload: str) -> None:
        """Do what is left of a job when :meth:`perform` has done it. In a transaction.

        Args:
            kind: The effect's.
            payload: The effect's.
        """
        if kind == RenewSession.kind:
            patient = Patient.read(payload)
            with omemo_errors(EncryptionError, UNSENT):
                if await self._known.may_answer(patient.jid, patient.device_id):
                    await self._healing.begin_anew(patient)

    async def retire_sessions(self) -> None:
        """Send with no session that there is; wish for others. In a transaction.

        For a store that was rolled back: its sessions were further once.
        """
        with omemo_errors(EncryptionError, "the sessions were not replaced"):
            await self._device.open()
            await self._healing.retire_all()
        self._supply.forget_sessions()

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
            device = await self._known.accepted(jid, device_id)
            if device is not None:
                is_known = device.trust is TrustLevel.TRUSTED or self._is_contact(jid)
                await self._healing.ask(namespace, jid, device_id, is_known=is_known)

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
        self._decryption.forget_answers()
        self._known.forget_lists()
        self._supply.forget_sessions()

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
        await self._supply.fetch(jids)

    async def has_all_for(self, jids: Collection[JID]) -> bool:
        """Tell whether :meth:`fetch` would ask nobody. No network, no transaction."""
        return await self._supply.is_idle(jids)

    async def is_ready_for(self, jids: Collection[JID]) -> bool:
        """Tell whether fetching could change nothing that matters. In a transaction.

        All devices that we know of these JIDs, and of ourselves, have a session with
        us; which ones they are may be old news, if nobody can be asked.
        """
        with omemo_errors(EncryptionError, UNSENT):
            return await self._supply.is_complete(jids)

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
        await self._supply.fetch_sender(elements, sender)

    async def is_at_hand(self, elements: Sequence[ET.Element], sender: JID) -> bool:
        """Tell whether a message can be decrypted without fetching anything."""
        return await self._supply.is_at_hand(elements, sender)

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
        return await self._encryption.encrypt_letter(payload)

    async def encrypt(self, to: JID, plain: Plain) -> Encrypted:
        """Encrypt for the devices of a contact and our own others. In a transaction.

        Args:
            to: The recipient.
            plain: What to say. A device that only speaks the old namespace gets
                the text alone; without one it gets nothing.

        Raises:
            UndecidedDevicesError: Somebody has to decide about devices first.
            NoDevicesError: The recipient has no usable device.
            DeviceListError: The recipient's server did not answer :meth:`fetch`,
                and nothing is known from before. Try again.
            EncryptionError: The library failed; the cause is chained.
        """
        return await self._encryption.encrypt(to, plain)

    async def decrypt(
        self,
        elements: Sequence[ET.Element],
        sender: JID,
        *,
        to: JID | None = None,
        room: JID | None = None,
    ) -> Decrypted:
        """Decrypt a message. In a transaction: roll it back if this raises.

        Of several elements the newest with a key for this device is read.

        Args:
            elements: The ``<encrypted/>`` elements of one stanza.
            sender: Who sent it, as the server says; in a room, the real JID.
            to: Whom it was sent to, if not to us: for what our own other devices
                sent.
            room: The room it was sent to.

        Raises:
            DecryptionError: It is not for this device, is a duplicate, or its
                keys do not fit. Do not answer it: an answer would tell the
                sender which.
        """
        return await self._decryption.decrypt(elements, sender, to=to, room=room)
