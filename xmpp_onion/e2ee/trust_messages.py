"""Automatic trust: what verified devices tell each other about keys.

Pure. A *word* is what one device says of a key: that it belongs to whom it says, or
that nobody should believe it. A word counts only from a device that somebody
verified, and only about its own account, or about anybody if the device is ours. A
distrust counts more than a trust, whoever says it.

Source: XEP-0434 (``urn:xmpp:tm:1``) for the form, XEP-0450 (``urn:xmpp:atm:1``) for
who tells what to whom.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

import xeddsa

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.errors import InvalidJIDError

__all__ = [
    "Change",
    "Heard",
    "Letter",
    "Settled",
    "Word",
    "believable",
    "bounded",
    "curve_fingerprint",
    "letters",
    "passed_on",
    "read",
    "settle",
    "write",
]

TM: Final = "urn:xmpp:tm:1"
ATM: Final = "urn:xmpp:atm:1"
OMEMO: Final = "urn:xmpp:omemo:2"

WORDS_IN_A_LETTER = 64
"""More than anybody has devices; each takes 60 bytes of an envelope."""
# Of what others send: room for a letter of ours and half as many again.
_WORDS_READ = 100
# Waiting words: in all, and of one account. Who verifies nobody collects them for
# ever; 1,000 take 200 KB.
_MAX_WAITING = 1000
_MAX_WAITING_OF_ONE = 100


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of one key.

    Attributes:
        owner: Whose key it is said to be, bare.
        fingerprint: 64 hex digits, the Curve25519 form.
        is_trusted: Whether it is to be believed, or distrusted.
    """

    owner: JID
    fingerprint: str
    is_trusted: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A word that waits: for its speaker to be verified, or for its key.

    Attributes:
        sender: Whose device said it, bare.
        speaker: That device's fingerprint.
        word: What it said.
    """

    sender: JID
    speaker: str
    word: Word


@dataclass(frozen=True, slots=True)
class Change:
    """What a word made of a device.

    Attributes:
        owner: Whose device.
        fingerprint: Which.
        level: TRUSTED or DISTRUSTED.
        by: Whose device said so.
    """

    owner: JID
    fingerprint: str
    level: TrustLevel
    by: JID


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be done about what was heard.

    Attributes:
        changes: In this order.
        waiting: What goes on waiting.
    """

    changes: tuple[Change, ...]
    waiting: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """Words for the verified devices of one account.

    Attributes:
        to: The account, bare; our own for our other devices.
        words: What to tell them, ``WORDS_IN_A_LETTER`` at most.
    """

    to: JID
    words: tuple[Word, ...]


# --- on the wire --------------------------------------------------------------------


def write(words: Iterable[Word], keys: Mapping[str, bytes]) -> ET.Element | None:
    """Return the element for the inside of an envelope; None if nothing is left.

    Args:
        words: What to say.
        keys: The Ed25519 form of each fingerprint's key, 32 bytes: what the XEPs
            want for ``urn:xmpp:omemo:2``. A word without one is left out.
    """
    attributes = {"usage": ATM, "encryption": OMEMO}
    root = ET.Element(f"{{{TM}}}trust-message", attributes)
    owners: dict[JID, ET.Element] = {}
    for word in words:
        key = keys.get(word.fingerprint)
        if key is None:
            continue
        if word.owner not in owners:
            owners[word.owner] = ET.SubElement(
                root, f"{{{TM}}}key-owner", {"jid": word.owner}
            )
        name = "trust" if word.is_trusted else "distrust"
        said = ET.SubElement(owners[word.owner], f"{{{TM}}}{name}")
        said.text = base64.b64encode(key).decode("ascii")
    return root if owners else None


def read(payload: Iterable[ET.Element]) -> tuple[Word, ...]:
    """Return the words among what an envelope carried.

    What is malformed, for another purpose or another OMEMO version is left out, and
    so is all beyond the first hundred words.
    """
    words: list[Word] = []
    for element in payload:
        if (
            element.tag != f"{{{TM}}}trust-message"
            or element.get("usage") != ATM
            or element.get("encryption") != OMEMO
        ):
            continue
        for owner in element.iterfind(f"{{{TM}}}key-owner"):
            words += _read_owner(owner, _WORDS_READ - len(words))
    return tuple(words)


def _read_owner(element: ET.Element, limit: int) -> Iterable[Word]:
    try:
        owner = JID(element.get("jid", ""))
    except InvalidJIDError:
        return
    kinds = {f"{{{TM}}}trust": True, f"{{{TM}}}distrust": False}
    for said in list(element)[:limit]:
        fingerprint = _fingerprint((said.text or "").strip())
        if said.tag in kinds and fingerprint:
            yield Word(owner.bare, fingerprint, kinds[said.tag])


def _fingerprint(text: str) -> str:
    """Return the fingerprint of a key in base64; empty if it is none."""
    try:
        return curve_fingerprint(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return ""


def curve_fingerprint(key: bytes) -> str:
    """Return the fingerprint of a key in Ed25519 form; empty if it is none."""
    try:
        return xeddsa.ed25519_pub_to_curve25519_pub(key).hex()
    except (ValueError, xeddsa.XEdDSAException):
        return ""


# --- hearing ------------------------------------------------------------------------


def believable(
    words: Iterable[Word], sender: JID, *, own: JID, own_fingerprint: str
) -> tuple[Word, ...]:
    """Return the words that this account may ever say with effect.

    Anybody speaks for the own account only; our own devices for everybody, except
    about this very device.
    """
    return tuple(
        word
        for word in words
        if sender.bare in {word.owner, own.bare}
        and (word.owner, word.fingerprint) != (own.bare, own_fingerprint)
    )


def bounded(waiting: Sequence[Heard]) -> tuple[Heard, ...]:
    """Return what may wait: the newest word on each matter, and not too many.

    Where there are too many, the account that said most loses its oldest first: no
    crowd of words pushes out the few of somebody else.
    """
    newest = {
        (heard.sender, heard.speaker, heard.word.owner, heard.word.fingerprint): heard
        for heard in waiting
    }
    kept = list(newest.values())
    counts = Counter(heard.sender for heard in kept)
    while counts and (
        len(kept) > _MAX_WAITING or max(counts.values()) > _MAX_WAITING_OF_ONE
    ):
        loudest = counts.most_common(1)[0][0]
        kept.remove(next(heard for heard in kept if heard.sender == loudest))
        counts[loudest] -= 1
    return tuple(kept)


def settle(
    waiting: Sequence[Heard], level: Callable[[JID, str], TrustLevel | None]
) -> Settled:
    """Return what the words that wait make of the devices that are known now.

    A device that a word makes verified is listened to as well, so one word may set
    others free.

    Args:
        waiting: What was heard, oldest first.
        level: What a person or an earlier word decided about a key; None if the key
            is not known yet.
    """
    levels: dict[tuple[JID, str], TrustLevel | None] = {}
    for heard in waiting:
        for key in _keys_of(heard):
            levels.setdefault(key, level(*key))
    left, changes = list(waiting), list[Change]()
    while (ready := _next(left, levels)) is not None:
        left.remove(ready)
        change = _change(ready, levels)
        if change is not None:
            levels[change.owner, change.fingerprint] = change.level
            changes.append(change)
    silenced = TrustLevel.DISTRUSTED
    still = [h for h in left if levels[h.sender, h.speaker] is not silenced]
    return Settled(tuple(changes), tuple(still))


def _keys_of(heard: Heard) -> tuple[tuple[JID, str], tuple[JID, str]]:
    return (
        (heard.sender, heard.speaker),
        (heard.word.owner, heard.word.fingerprint),
    )


def _next(
    left: Sequence[Heard], levels: Mapping[tuple[JID, str], TrustLevel | None]
) -> Heard | None:
    """Return a word that counts now; every distrust comes before any trust."""
    ready = [
        heard
        for heard in left
        if levels[heard.sender, heard.speaker] is TrustLevel.TRUSTED
        and levels[heard.word.owner, heard.word.fingerprint] is not None
    ]
    distrusts = [heard for heard in ready if not heard.word.is_trusted]
    return next(iter([*distrusts, *ready]), None)


def _change(
    heard: Heard, levels: Mapping[tuple[JID, str], TrustLevel | None]
) -> Change | None:
    word = heard.word
    wanted = TrustLevel.TRUSTED if word.is_trusted else TrustLevel.DISTRUSTED
    if levels[word.owner, word.fingerprint] in {wanted, TrustLevel.DISTRUSTED}:
        return None
    return Change(word.owner, word.fingerprint, wanted, heard.sender)


# --- telling ------------------------------------------------------------------------


def letters(
    decided: Device, verified: Sequence[Device], *, own: JID
) -> tuple[Letter, ...]:
    """Return what to tell whom after a person decided about a device.

    Args:
        decided: The device, with its level.
        verified: All devices that are verified now, of everybody: ours without this
            one, and ``decided`` itself if it was verified.
        own: Our account.
    """
    if decided.trust not in {TrustLevel.TRUSTED, TrustLevel.DISTRUSTED}:
        return ()
    word = _word(decided)
    ours = [_word(device) for device in verified if device.jid == own]
    theirs = [_word(device) for device in verified if device.jid != own]
    others = sorted({device.jid for device in verified if device.jid != own})
    if decided.jid != own:
        mail = [(own, [word])] if ours else []
        if word.is_trusted:
            mail.append((decided.jid, ours))
    else:
        # To ours at once what the new one has to learn: they know most of it.
        told = [word, *(w for w in (*ours, *theirs) if w != word)]
        mail = [(own, told if word.is_trusted else [word])] if ours else []
        mail += [(jid, [word]) for jid in others]
    return tuple(
        Letter(to, tuple(words[at : at + WORDS_IN_A_LETTER]))
        for to, words in mail
        for at in range(0, len(words), WORDS_IN_A_LETTER)
    )


def passed_on(changes: Iterable[Change], *, own: JID) -> Letter | None:
    """Return what our other devices should know of what a contact's device said.

    It spoke to this device alone: the others it had not verified by then.
    """
    words = tuple(
        Word(c.owner, c.fingerprint, c.level is TrustLevel.TRUSTED)
        for c in changes
        if own not in {c.by, c.owner}
    )
    return Letter(own, words[:WORDS_IN_A_LETTER]) if words else None


def _word(device: Device) -> Word:
    return Word(
        device.jid, device.fingerprint, device.trust is not TrustLevel.DISTRUSTED
    )
