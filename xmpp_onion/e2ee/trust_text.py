"""Decisions about devices as text, to keep, compare and take to another machine.

One a line, ``JID FINGERPRINT verified`` or ``… distrusted``, in a stable order. What
follows a ``#`` is for people. A line may be a trust message URI as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust import Device, TrustLevel, parse_fingerprint
from xmpp_onion.e2ee.trust_message_uri import is_trust_message, read_trust_message
from xmpp_onion.errors import AddressError, EncryptionError, InvalidJIDError

__all__ = ["Entry", "entries_in", "entries_of", "read_entries"]

# A thousand contacts with ten devices each; it takes 2 MB.
_ENTRY_LIMIT = 10_000
_LENGTH_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """What a person decided about one device.

    Attributes:
        jid: Whose it is, bare.
        fingerprint: 64 hex digits.
        level: TRUSTED or DISTRUSTED.
    """

    jid: JID
    fingerprint: str
    level: TrustLevel

    def __str__(self) -> str:
        return f"{self.jid} {self.fingerprint} {self.level.word}"


def entries_of(devices: Iterable[Device]) -> tuple[Entry, ...]:
    """Return those of the devices that somebody decided about, in order."""
    found = {
        Entry(device.jid, device.fingerprint, device.trust)
        for device in devices
        if device.trust in {TrustLevel.TRUSTED, TrustLevel.DISTRUSTED}
    }
    return tuple(sorted(found))


def read_entries(text: str) -> tuple[Entry, ...]:
    """Return what a text says.

    Raises:
        AddressError: A line cannot be read, or says the opposite of another one; the
            error names it. Nothing of the text counts then.
    """
    if len(text) > _LENGTH_LIMIT:
        raise _not_trust("it is too long")
    found: dict[tuple[JID, str], Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for entry in _read_line(line.partition("#")[0], number):
            before = found.setdefault((entry.jid, entry.fingerprint), entry)
            if before != entry:
                raise _not_trust(f"line {number} says the opposite of one before")
    if len(found) > _ENTRY_LIMIT:
        raise _not_trust("it has too many lines")
    return tuple(sorted(found.values()))


def _read_line(line: str, number: int) -> Iterable[Entry]:
    words = line.split()
    if is_trust_message(line):
        try:
            return entries_in(line)
        except AddressError as error:
            raise _not_trust(f"line {number}: {error.why}") from error
    return [_read_words(words, number)] if words else []


def entries_in(uri: str) -> tuple[Entry, ...]:
    """Return what a trust message URI says.

    Raises:
        AddressError: It cannot be read.
    """
    levels = {True: TrustLevel.TRUSTED, False: TrustLevel.DISTRUSTED}
    return tuple(
        Entry(word.owner, word.fingerprint, levels[word.is_trusted])
        for word in read_trust_message(uri)
    )


def _read_words(words: list[str], number: int) -> Entry:
    if len(words) < 3:
        raise _not_trust(f"line {number} does not have three words")
    try:
        jid = JID(words[0]).bare
        fingerprint = parse_fingerprint("".join(words[1:-1]))
        level = TrustLevel.from_word(words[-1])
    except (InvalidJIDError, EncryptionError) as error:
        raise _not_trust(f"line {number}: {error.why}") from error
    if level not in {TrustLevel.TRUSTED, TrustLevel.DISTRUSTED} or not jid.local:
        raise _not_trust(f"line {number} is no decision about somebody's device")
    return Entry(jid, fingerprint, level)


def _not_trust(why: str) -> AddressError:
    return AddressError(
        "these are not decisions about devices",
        why=why,
        fix="Each line has a JID, a fingerprint, and verified or distrusted; "
        "`xmpp-onion trust export` writes them.",
    )
