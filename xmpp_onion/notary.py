"""Decides about devices for a person, and keeps and tells what was decided.

Each decision is one transaction. What it needs from the network is fetched before;
what other devices shall know of it is a job of the courier's.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from xmpp_onion.address import JID
from xmpp_onion.courier import Courier
from xmpp_onion.e2ee import (
    OMEMO_2,
    Device,
    Entry,
    Omemo,
    Shown,
    Trust,
    TrustLevel,
    TrustUri,
    UploadDeviceList,
    check_scan,
    check_words,
    entries_in,
    entries_of,
    parse_fingerprint,
    parse_label,
    read_entries,
)
from xmpp_onion.errors import DeviceListError, EncryptionError
from xmpp_onion.store import Database

__all__ = ["Change", "Notary"]


@dataclass(frozen=True, slots=True)
class Change:
    """What an import makes of a device.

    Attributes:
        jid: Whose it is.
        fingerprint: 64 hex digits.
        before: What held until now; undecided where the key is not known yet.
        after: What the text says.
    """

    jid: JID
    fingerprint: str
    before: TrustLevel
    after: TrustLevel


class Notary:
    """Trust of one account, as people use it.

    Args:
        database: Of the account.
        omemo: Keeps what is decided.
        courier: Tells it to other devices.
        own: Our bare JID.
    """

    def __init__(
        self, database: Database, omemo: Omemo, courier: Courier, own: JID
    ) -> None:
        self._database = database
        self._omemo = omemo
        self._keyring = omemo.keyring
        self._courier = courier
        self._own = own

    async def devices(self, owner: JID) -> tuple[Device, ...]:
        """Return the devices of somebody, or of ourselves, as published.

        What a server has promised to tell is not asked for: a change is seen a moment
        after it was made.
        """
        await self._omemo.fetch([owner])
        async with self._database.transaction():
            devices = await self._keyring.devices(owner)
            if owner == self._own:
                devices = (await self._omemo.this_device(), *devices)
            await self._courier.keep_effects()
        return devices

    async def devices_of(self, people: Collection[JID]) -> tuple[Device, ...]:
        """Return the devices of several; of whom none are known, none."""
        await self._omemo.fetch(people)
        found: list[Device] = []
        async with self._database.transaction():
            for owner in people:
                with suppress(DeviceListError):
                    found += await self._keyring.devices(owner)
            await self._courier.keep_effects()
        return tuple(found)

    async def decide(self, owner: JID, fingerprint: str, level: TrustLevel) -> Device:
        """Keep a decision about one device.

        A key that takes the place of another, or was shown by somebody else first,
        is believed when a person says so: see `Keyring.install`.
        """
        await self._omemo.fetch([owner])
        is_new = level is TrustLevel.TRUSTED and not await self._knows(
            owner, parse_fingerprint(fingerprint)
        )
        if is_new:
            await self._keyring.fetch_anew(owner)
        async with self._database.transaction():
            if is_new:
                await self._keyring.install(owner, parse_fingerprint(fingerprint))
            device = await self._keyring.set_trust(owner, fingerprint, level)
            await self._courier.keep_effects()
        return device

    async def _knows(self, owner: JID, fingerprint: str) -> bool:
        async with self._database.transaction():
            known = {device.fingerprint for device in await self._known(owner)}
            await self._courier.keep_effects()
        return fingerprint in known

    # --- our own devices --------------------------------------------------------

    async def read_back(self) -> tuple[Shown, ...]:
        """Return what our server shows of this device, as everybody sees it.

        Raises:
            DeviceListError: It did not answer.
        """
        return await self._omemo.read_back()

    async def set_label(self, label: str) -> Device:
        """Name this device, for everybody to read; empty takes the name away.

        Others can read it when this returns, or once the server answers again.

        Raises:
            InvalidLabelError: It is too long.
        """
        name = parse_label(label)
        async with self._database.transaction():
            await self._omemo.set_label(name or None)
            await self._courier.keep_effects()
            device = await self._omemo.this_device()
        with suppress(DeviceListError):  # it is a job, too
            await self._omemo.perform(UploadDeviceList.kind, OMEMO_2)
        return device

    async def remove_device(self, number: int, *, with_this: bool) -> Device:
        """Take a device of ours out of the account's published lists.

        One that is in use puts itself back, this one with its next login.

        Args:
            number: Its device id.
            with_this: Whether it may be this very device.

        Raises:
            EncryptionError: The account has no such device, or it is this one.
            DeviceListError: The server did not answer.
        """
        known = {device.device_id: device for device in await self.devices(self._own)}
        if number not in known:
            raise EncryptionError(
                "no device was removed",
                why=f"the account has no device {number}",
                fix="See xmpp-onion devices list",
            )
        if number == self._omemo.device_id and not with_this:
            raise EncryptionError(
                "the device was not removed",
                why="it is this very device, and nobody could write to it any more",
                fix=f"If you mean it: xmpp-onion devices remove {number} --yes",
            )
        await self._omemo.remove_device(number)
        return replace(known[number], active=False)

    # --- scanned codes ----------------------------------------------------------

    async def own_uri(self) -> TrustUri:
        """Return what our QR code says: this device, and our others if verified."""
        devices = await self.devices(self._own)
        mine = [d for d in devices if d.trust is TrustLevel.TRUSTED]
        return TrustUri.of(self._own, mine)

    async def scan(self, uri: TrustUri) -> tuple[Device, ...]:
        """Verify exactly the devices that a URI names.

        One that is not published yet is verified when it appears. Who shows one of
        the keys, or another key for one of the devices, and is not verified loses it.

        Raises:
            FingerprintMismatchError: The URI contradicts what was verified. Nothing was
                changed.
        """
        await self._omemo.fetch([uri.jid])
        async with self._database.transaction():
            devices = await self._known(uri.jid)
            owners = await self._keyring.owners(
                digits for _, digits in uri.fingerprints
            )
            check_scan(uri, devices, owners)
            done = [await self._verify(uri.jid, *pair) for pair in uri.fingerprints]
            await self._courier.keep_effects()
        return tuple(done)

    async def scan_words(self, uri: str) -> tuple[Device, ...]:
        """Take over what a trust message URI says about the keys of one person.

        What it says about a key that is not known yet waits for the key.

        Raises:
            AddressError: It cannot be read.
            FingerprintMismatchError: It contradicts what was verified. Nothing was
                changed.
        """
        entries = entries_in(uri)
        jid = entries[0].jid
        trusted = {e.fingerprint for e in entries if e.level is TrustLevel.TRUSTED}
        await self._omemo.fetch([jid])
        async with self._database.transaction():
            owners = await self._keyring.owners(trusted)
            check_words(jid, trusted, await self._known(jid), owners)
            for change in await self._compare(entries):
                await self._take_over(change)
            known = {each.fingerprint: each for each in await self._known(jid)}
            await self._courier.keep_effects()
        return tuple(known.get(e.fingerprint) or self._unknown(e) for e in entries)

    def _unknown(self, entry: Entry) -> Device:
        own = entry.jid == self._own
        digits, level = entry.fingerprint, entry.level
        return Device(entry.jid, 0, digits, level, active=False, own=own)

    async def _known(self, jid: JID) -> tuple[Device, ...]:
        devices = await self._keyring.known(jid)
        if jid != self._own:
            return devices
        return (await self._omemo.this_device(), *devices)

    async def _verify(self, jid: JID, device_id: int, fingerprint: str) -> Device:
        """Verify a device; keep the word for one whose key is not known yet."""
        known = {device.fingerprint: device for device in await self._known(jid)}
        if (jid, fingerprint) == (self._own, self._omemo.fingerprint):
            return await self._omemo.this_device()
        level = TrustLevel.TRUSTED
        if fingerprint in known:
            return await self._keyring.set_trust(jid, fingerprint, level)
        await self._keyring.install(jid, fingerprint, device_id)
        await self._keyring.promise([(jid, fingerprint, level)])
        own = jid == self._own
        return Device(jid, device_id, fingerprint, level, active=False, own=own)

    # --- as text ----------------------------------------------------------------

    async def export(self) -> tuple[Entry, ...]:
        """Return all that people decided; each is a line of text. No connection."""
        async with self._database.transaction():
            decided = entries_of(await self._keyring.decided())
            promised = await self._keyring.promised()
        waiting = {
            Entry(jid, digits, level) for (jid, digits), level in promised.items()
        }
        return tuple(sorted(waiting.union(decided)))

    async def changes(self, text: str) -> tuple[Change, ...]:
        """Return what :meth:`import_text` would change. Needs no connection.

        Raises:
            AddressError: The text cannot be read.
        """
        entries = read_entries(text)
        async with self._database.transaction():
            return await self._compare(entries)

    async def import_text(self, text: str) -> tuple[Change, ...]:
        """Take over what a text says, and return what that changed.

        Raises:
            AddressError: The text cannot be read; nothing was changed.
        """
        entries = read_entries(text)
        async with self._database.transaction():
            changes = await self._compare(entries)
            for change in changes:
                await self._take_over(change)
            await self._courier.keep_effects()
        return changes

    async def _compare(self, entries: tuple[Entry, ...]) -> tuple[Change, ...]:
        changes: list[Change] = []
        levels = await self._keyring.promised()
        for jid in {entry.jid for entry in entries}:
            levels |= {
                (device.jid, device.fingerprint): device.trust
                for device in await self._known(jid)
            }
        for entry in entries:
            before = levels.get((entry.jid, entry.fingerprint), TrustLevel.UNDECIDED)
            is_this = (entry.jid, entry.fingerprint) == (
                self._own,
                self._omemo.fingerprint,
            )
            if before is not entry.level and not is_this:
                changes.append(
                    Change(entry.jid, entry.fingerprint, before, entry.level)
                )
        return tuple(changes)

    async def _take_over(self, change: Change) -> None:
        known = {device.fingerprint for device in await self._known(change.jid)}
        if change.fingerprint in known:
            await self._keyring.set_trust(change.jid, change.fingerprint, change.after)
        else:
            await self._keyring.promise(
                [(change.jid, change.fingerprint, change.after)]
            )

    async def pin(self, owner: JID, fingerprint: str) -> None:
        """Believe a fingerprint as one that was given beforehand, from now on.

        Raises:
            InvalidFingerprintError: It is none.
        """
        async with self._database.transaction():  # no decision is half taken
            self._omemo.keyring.pin(owner, fingerprint)

    async def set_automatic_trust(self, *, is_on: bool) -> None:
        """Let verified devices tell each other whom to believe from now on, or not."""
        async with self._database.transaction():  # as above
            self._omemo.keyring.set_automatic_trust(is_on=is_on)

    # --- policies ---------------------------------------------------------------

    async def policies(self) -> Mapping[JID, Trust]:
        """Return the contacts that have a policy of their own."""
        return await self._omemo.policies.all()

    async def set_policy(self, jid: JID, policy: Trust | None) -> Trust:
        """Give a contact a policy of its own, or none; return what holds then.

        What waits to be sent reaches no device any more that it does not accept.

        Raises:
            EncryptionError: It is our own account.
        """
        async with self._database.transaction():
            await self._omemo.policies.set(jid, policy)
            await self._courier.review(jid.bare)
            return await self._omemo.policies.of(jid)
