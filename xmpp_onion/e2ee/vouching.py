"""What verified devices say of others' keys: heard, kept, acted upon and told.

The rules are those of :mod:`~xmpp_onion.e2ee.trust_messages`. Everything here is
inside a transaction; what is to be told leaves it as an effect.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast
from xml.etree import ElementTree as ET

from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.chat import TrustChanged
from xmpp_onion.e2ee.decisions import Decisions
from xmpp_onion.e2ee.effect import Effect, TellTrust, withdrawn
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.e2ee.trust_messages import (
    Change,
    Heard,
    Letter,
    Word,
    believable,
    bounded,
    letters,
    passed_on,
    read,
    settle,
    write,
)

__all__ = ["Vouching", "read_letter"]

_WAITING = "/xmpp-onion/words"


class Vouching:
    """Automatic trust of one account (XEP-0450).

    Args:
        own: Our account, bare.
        decisions: What is decided about devices.
        storage: Where words wait.
        notices: Where it is told that a device is believed or not because of a word.
        effects: Where what is to be told to other devices goes.
        is_on: Whether other devices are listened to and told. What a person says on
            this one about a key that is not known yet waits either way.
    """

    def __init__(
        self,
        own: JID,
        decisions: Decisions,
        storage: KeyStorage,
        *,
        notices: Notices,
        effects: list[Effect],
        is_on: bool,
    ) -> None:
        self._own = own
        self._decisions = decisions
        self._storage = storage
        self._notices = notices
        self._effects = effects
        self.is_on = is_on

    async def hear(
        self,
        manager: SessionManager,
        speaker: Device,
        payload: Iterable[ET.Element],
        own_fingerprint: str,
    ) -> None:
        """Take in what a device says, and act on it as far as that is verified.

        Args:
            manager: The library's.
            speaker: The device that encrypted it.
            payload: What was inside of the envelope; nothing else counts.
            own_fingerprint: Of this device: nobody else decides about it.
        """
        words = believable(
            read(payload),
            speaker.jid,
            own=self._own,
            own_fingerprint=own_fingerprint,
        )
        if self.is_on and words and speaker.trust is not TrustLevel.DISTRUSTED:
            await self._add(speaker.jid, speaker.fingerprint, words)
            await self._settle(manager, speaker.jid, own_fingerprint)

    async def promise(self, words: Iterable[Word], own_fingerprint: str) -> None:
        """Keep what a person decided about keys that are not known yet."""
        await self._add(self._own, own_fingerprint, words)

    async def promised(self, own_fingerprint: str) -> tuple[Word, ...]:
        """Return what a person decided about keys that are not known yet."""
        return tuple(
            one.word
            for one in await self._load()
            if (one.sender, one.speaker) == (self._own, own_fingerprint)
        )

    async def look_again(
        self, manager: SessionManager, jid: JID, own_fingerprint: str
    ) -> bool:
        """Act on what waited for devices of ``jid``; True if anything changed."""
        return await self._settle(manager, jid, own_fingerprint)

    async def decided(
        self, manager: SessionManager, device: Device, own_fingerprint: str
    ) -> None:
        """Tell verified devices what a person decided, and hear who is verified now."""
        if self.is_on:
            verified = await self._verified(manager, own_fingerprint)
            for letter in letters(device, verified, own=self._own):
                self._tell(letter)
        await self._settle(manager, device.jid, own_fingerprint)

    async def element(
        self, manager: SessionManager, words: Sequence[Word]
    ) -> ET.Element | None:
        """Return what a letter carries; None if no key of it is known any more."""
        keys: dict[str, bytes] = {}
        for owner in {word.owner for word in words}:
            keys |= await self._decisions.keys(manager, owner)
        return write(words, keys)

    async def _verified(
        self, manager: SessionManager, own_fingerprint: str
    ) -> list[Device]:
        jids = {self._own, *await self._decisions.decided_jids()}
        return [
            device
            for jid in sorted(jids)
            for device in await self._decisions.devices(manager, jid, ())
            if device.trust is TrustLevel.TRUSTED
            and device.active
            and (device.jid, device.fingerprint) != (self._own, own_fingerprint)
        ]

    async def _settle(
        self, manager: SessionManager, jid: JID, own_fingerprint: str
    ) -> bool:
        """Act on the words of an account's devices, and of ours about it."""
        waiting = await self._load()
        heard = [
            one
            for one in waiting
            if one.sender in {jid, self._own}
            and (self.is_on or one.speaker == own_fingerprint)
        ]
        if not heard:
            return False
        levels = await self._levels(manager, heard)
        settled = settle(heard, lambda owner, digits: levels.get((owner, digits)))
        others = [one for one in waiting if one not in heard]
        await self._save([*others, *settled.waiting])
        for change in settled.changes:
            await self._carry_out(manager, change)
        letter = passed_on(settled.changes, own=self._own)
        if self.is_on and letter is not None:
            self._tell(letter)
        return bool(settled.changes)

    async def _levels(
        self, manager: SessionManager, heard: Iterable[Heard]
    ) -> Mapping[tuple[JID, str], TrustLevel]:
        jids = {jid for one in heard for jid in (one.sender, one.word.owner)}
        return {
            (device.jid, device.fingerprint): device.trust
            for jid in sorted(jids)
            for device in await self._decisions.devices(manager, jid, ())
        }

    async def _carry_out(self, manager: SessionManager, change: Change) -> None:
        device = await self._decisions.set(
            manager, change.owner, change.fingerprint, change.level
        )
        if change.level is TrustLevel.DISTRUSTED:
            known = await self._decisions.devices(manager, change.owner, ())
            self._effects += withdrawn(device, known)
        self._notices.add(
            TrustChanged(
                sender=device.jid,
                device=device.device_id,
                fingerprint=device.fingerprint,
                trust=device.trust.word,
                by=change.by,
                at=self._notices.now(),
            )
        )

    def _tell(self, letter: Letter) -> None:
        words = [[str(w.owner), w.fingerprint, w.is_trusted] for w in letter.words]
        payload = json.dumps({"to": str(letter.to), "words": words})
        self._effects.append(TellTrust(payload))

    # --- what waits -------------------------------------------------------------

    async def _add(self, sender: JID, speaker: str, words: Iterable[Word]) -> None:
        waiting = await self._load()
        heard = [Heard(sender, speaker, word) for word in words]
        await self._save(bounded([*waiting, *heard]))

    async def _load(self) -> tuple[Heard, ...]:
        rows = (await self._storage.load(_WAITING)).maybe([])
        return tuple(
            Heard(JID(sender), speaker, Word(JID(owner), digits, bool(is_trusted)))
            for sender, speaker, owner, digits, is_trusted in cast(
                "list[tuple[str, str, str, str, bool]]", rows
            )
        )

    async def _save(self, waiting: Iterable[Heard]) -> None:
        await self._storage.store(
            _WAITING,
            [
                [
                    str(one.sender),
                    one.speaker,
                    str(one.word.owner),
                    one.word.fingerprint,
                    one.word.is_trusted,
                ]
                for one in waiting
            ],
        )


def read_letter(payload: str) -> Letter:
    """Return the letter that a :class:`~xmpp_onion.e2ee.effect.TellTrust` holds."""
    values = json.loads(payload)
    words = tuple(
        Word(JID(owner), digits, bool(is_trusted))
        for owner, digits, is_trusted in values["words"]
    )
    return Letter(JID(values["to"]), words)
