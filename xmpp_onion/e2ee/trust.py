"""Which devices a message may be read by, and whose messages are acted upon.

Pure: values and functions of values. A *policy* says what happens to a device
that nobody has decided about; a *level* says what was decided. The functions
that join them are all here, so that "when is sending refused?" has one answer:
:func:`recipients`.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from xmpp_onion.address import JID
from xmpp_onion.errors import (
    EncryptionError,
    InvalidFingerprintError,
    InvalidLabelError,
    NoDevicesError,
    UndecidedDevicesError,
)

__all__ = [
    "Device",
    "Trust",
    "TrustLevel",
    "accepts",
    "decide",
    "in_force",
    "parse_fingerprint",
    "parse_label",
    "recipients",
    "verified",
]

# What XEP-0384 recommends: a name as long as that fits on a line.
_LABEL_LIMIT = 53
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ALIASES = {
    "firstusage": "tofu",
    "first-use": "tofu",
    "on-first-use": "tofu",
    "blind": "btbv",
    "blind-until-verified": "btbv",
    "pins": "pinned",
}


class Trust(StrEnum):
    """What to do about a device that nobody has decided about."""

    PINNED = "pinned"
    """Only devices whose fingerprints are given beforehand: for bots."""
    MANUAL = "manual"
    """A person decides about every device before anything is sent."""
    TOFU = "tofu"
    """The devices seen at the first contact; a person decides about later ones."""
    BTBV = "btbv"
    """Every device, until a person has decided about one of the contact's."""

    @classmethod
    def parse(cls, word: str) -> Self:
        """Return the policy of a configuration word.

        Args:
            word: A policy's value, or what other programs call it: ``firstusage``
                and ``on-first-use`` for TOFU, ``blind`` for BTBV. Case and
                underscores do not matter.

        Raises:
            EncryptionError: There is no such policy.
        """
        plain = word.strip().lower().replace("_", "-")
        try:
            return cls(_ALIASES.get(plain, plain))
        except ValueError:
            raise EncryptionError(
                "this is not a trust policy",
                why=f"{word[:40]!r} is unknown",
                fix=f"Choose one of {', '.join(cls)}.",
            ) from None


class TrustLevel(StrEnum):
    """What was decided about a device, by a person or by the policy."""

    TRUSTED = "TRUSTED"
    BLINDLY_TRUSTED = "BLINDLY_TRUSTED"
    UNDECIDED = "UNDECIDED"
    DISTRUSTED = "DISTRUSTED"

    @property
    def word(self) -> str:
        """What users read: verified, tofu, undecided or distrusted."""
        return _WORDS[self]

    @classmethod
    def from_word(cls, word: str) -> "TrustLevel":
        """Return the level that :attr:`word` names.

        Raises:
            EncryptionError: There is no such level.
        """
        for level, its_word in _WORDS.items():
            if its_word == word:
                return level
        raise EncryptionError(
            "this is not a level of trust", why=f"{word[:40]!r} is unknown"
        )


_WORDS = {
    TrustLevel.TRUSTED: "verified",
    TrustLevel.BLINDLY_TRUSTED: "tofu",
    TrustLevel.UNDECIDED: "undecided",
    TrustLevel.DISTRUSTED: "distrusted",
}


@dataclass(frozen=True, slots=True)
class Device:
    """One OMEMO device of a contact, or of our own account.

    Attributes:
        jid: Whose it is, bare.
        device_id: 1 to 2**31 - 1; means nothing beyond this JID.
        fingerprint: 64 hex digits, the Curve25519 form of its identity key: what
            Conversations, Gajim and Profanity show.
        trust: What holds now, under the policy in use.
        active: Whether the JID's device list names it at present.
        own: Whether it belongs to our account.
        label: What its owner calls it, where known.
        seen: The hour in which we last got something from it, in UTC; only in lists
            of devices, and None if never.
        namespaces: The OMEMO versions it announces, the newest first.
    """

    jid: JID
    device_id: int
    fingerprint: str
    trust: TrustLevel
    active: bool
    own: bool
    label: str | None = None
    seen: datetime | None = None
    namespaces: tuple[str, ...] = ()


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in its one form; spaces, colons and case are ignored.

    Raises:
        InvalidFingerprintError: It does not have all 64 hex digits. Part of one is
            never enough: somebody can make a key whose first digits match.
    """
    plain = re.sub(r"[\s:]", "", text).lower()
    if not _FINGERPRINT.fullmatch(plain):
        raise InvalidFingerprintError(
            "this is not a fingerprint",
            why="it must have 64 hex digits",
            fix="Copy the whole of it; `xmpp-onion trust list JID` shows them.",
        )
    return plain


def parse_label(text: str) -> str:
    """Return the name of a device as it is published, on one line.

    Raises:
        InvalidLabelError: It is too long.
    """
    label = " ".join(text.split())
    if len(label) > _LABEL_LIMIT:
        raise InvalidLabelError(
            "the device was not named",
            why=f"a name has at most {_LABEL_LIMIT} letters",
            fix="Take a shorter one.",
        )
    return label


def decide(
    policy: Trust, known: Collection[Device], new: Device, pins: Collection[str]
) -> TrustLevel:
    """Return the level of a device that is seen for the first time.

    Args:
        policy: What holds for its owner.
        known: The devices of the same JID that were known before. Devices that
            appear together are all new to each other.
        new: The device; its ``trust`` is not looked at.
        pins: Fingerprints that were given for this JID beforehand.
    """
    if new.fingerprint in pins:
        return TrustLevel.TRUSTED
    if policy is Trust.PINNED:
        return TrustLevel.DISTRUSTED
    if new.own or policy is Trust.MANUAL:
        # Whoever can add a device to our account would read all that we send.
        return TrustLevel.UNDECIDED
    if policy is Trust.TOFU:
        return TrustLevel.UNDECIDED if known else TrustLevel.BLINDLY_TRUSTED
    by_person = {TrustLevel.TRUSTED, TrustLevel.DISTRUSTED}
    if any(device.trust in by_person for device in known):
        return TrustLevel.UNDECIDED
    return TrustLevel.BLINDLY_TRUSTED


def in_force(policy: Trust, level: TrustLevel, *, is_pinned: bool) -> TrustLevel:
    """Return what a level decided earlier means under the policy of today.

    A person's word stands under every policy. What an earlier policy trusted
    blindly does not survive a change to a stricter one.
    """
    if level in {TrustLevel.TRUSTED, TrustLevel.DISTRUSTED}:
        return level
    if is_pinned:
        return TrustLevel.TRUSTED
    if policy is Trust.PINNED:
        return TrustLevel.DISTRUSTED
    if policy is Trust.MANUAL:
        return TrustLevel.UNDECIDED
    return level


def accepts(level: TrustLevel) -> bool:
    """Tell whether to act on a message of a device at this level, or send to it.

    Args:
        level: What is :func:`in_force` under the policy that holds for its owner: no
            device is blindly trusted under one that does not allow it.
    """
    return level in {TrustLevel.TRUSTED, TrustLevel.BLINDLY_TRUSTED}


def recipients(
    policy: Trust, jid: JID, devices: Sequence[Device]
) -> tuple[Device, ...]:
    """Return the devices to encrypt for, or refuse.

    Args:
        policy: What holds for the recipient.
        jid: The recipient.
        devices: All known devices of the recipient.

    Raises:
        UndecidedDevicesError: Somebody has to decide first. Nothing was encrypted.
        NoDevicesError: There is no device, or all are distrusted.
    """
    active = [device for device in devices if device.active]
    undecided = [d for d in active if d.trust is TrustLevel.UNDECIDED]
    usable = tuple(device for device in active if accepts(device.trust))
    if policy is Trust.PINNED and active and not usable:
        undecided = active
    if undecided:
        raise _undecided(policy, jid, undecided)
    if not usable and active:
        raise NoDevicesError(
            "nothing was sent",
            jid=jid,
            why="all devices of the recipient are distrusted",
            fix=f"Trust one: `xmpp-onion trust verify {jid} {active[0].fingerprint}`.",
        )
    return usable


def verified(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Return the devices in use that a person, or a word of one that he did, verified.

    What is only believed blindly is none of them.
    """
    return tuple(d for d in devices if d.active and d.trust is TrustLevel.TRUSTED)


def _undecided(
    policy: Trust, jid: JID, devices: Sequence[Device]
) -> UndecidedDevicesError:
    prints = tuple(sorted(device.fingerprint for device in devices))
    state = "pinned" if policy is Trust.PINNED else "decided about"
    commands = "; ".join(f"`xmpp-onion trust verify {jid} {one}`" for one in prints)
    return UndecidedDevicesError(
        "nothing was sent",
        jid=jid,
        fingerprints=prints,
        why=f"{len(prints)} of the recipient's devices are not yet {state}",
        fix="Compare with the owner over another channel, then run " + commands + ".",
    )
