"""``xmpp:`` URIs that carry fingerprints: what the QR code of a person holds.

``xmpp:bob@….onion?omemo-sid-123=HEX;omemo-sid-456=HEX`` is what Conversations
writes and reads. HEX is the Curve25519 form of an identity key, the one that people
compare, whichever OMEMO version the device speaks.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.errors import (
    AddressError,
    FingerprintMismatchError,
    InvalidJIDError,
)

__all__ = ["TrustUri", "check_scan", "check_words", "read_person"]

# 32 devices take 2.6 KB, and no QR code holds more than 3 KB.
_LENGTH_LIMIT = 8 * 1024
# As many as are looked at in a device list.
_DEVICE_LIMIT = 32
_PARAMETER = re.compile(r"omemo-sid-(0|[1-9][0-9]{0,9})")
_HEX = re.compile(r"[0-9a-f]{64}")
# XEP-0384, section 5.3.1.
_MAX_DEVICE_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TrustUri:
    """Somebody's devices with their fingerprints, as scanned or to be shown.

    Attributes:
        jid: Whose, bare.
        fingerprints: 64 hex digits for each device id, by id.
    """

    jid: JID
    fingerprints: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, jid: JID, devices: Iterable[Device]) -> "TrustUri":
        """Return the URI of devices of one account; those not in use are left out."""
        found = {d.device_id: d.fingerprint for d in devices if d.active}
        return cls(jid.bare, tuple(sorted(found.items())))

    @classmethod
    def parse(cls, text: str) -> "TrustUri":
        """Read a URI. Parameters of other kinds do not matter.

        Raises:
            AddressError: It is none, carries no fingerprint, is too long, or says
                two things about one device.
        """
        scheme, _, rest = text.strip().partition(":")
        if len(text) > _LENGTH_LIMIT or scheme.lower() != "xmpp":
            raise _no_uri("it does not read xmpp:name@….onion?omemo-sid-…")
        place, _, query = rest.partition("?")
        return cls(read_person(place), _read_query(query))

    def __str__(self) -> str:
        """The text that other clients read."""
        pairs = ";".join(f"omemo-sid-{i}={digits}" for i, digits in self.fingerprints)
        return f"xmpp:{quote(self.jid, safe='@')}?{pairs}"


def check_scan(
    uri: TrustUri, devices: Iterable[Device], owners: Mapping[str, JID]
) -> None:
    """Refuse a URI that contradicts what was verified.

    Args:
        uri: What was scanned.
        devices: All known devices of its JID.
        owners: Whose key each fingerprint is, as far as that is beyond doubt.

    Raises:
        FingerprintMismatchError: A device that was verified has another key, a key
            has another device or belongs to somebody else, or a person distrusted it.
    """
    known = tuple(devices)
    for device_id, digits in uri.fingerprints:
        if owners.get(digits, uri.jid) != uri.jid:
            raise _mismatch(uri.jid, "one of the keys belongs to another account")
        for device in known:
            same_key = device.fingerprint == digits
            same_device = device.device_id == device_id
            is_doubtful = not same_key and device.trust is not TrustLevel.TRUSTED
            if same_key != same_device and not is_doubtful:
                raise _mismatch(
                    uri.jid,
                    f"device {device.device_id} shows us another key than the code",
                )
            if same_key and device.trust is TrustLevel.DISTRUSTED:
                raise _mismatch(uri.jid, f"device {device_id} was distrusted before")


def check_words(
    jid: JID,
    verified: Collection[str],
    devices: Iterable[Device],
    owners: Mapping[str, JID],
) -> None:
    """Refuse words of a scanned code that contradict what was verified.

    Args:
        jid: Whose keys they are about.
        verified: The fingerprints that the code says to trust.
        devices: All known devices of the JID.
        owners: Whose key each fingerprint is, as far as that is beyond doubt.

    Raises:
        FingerprintMismatchError: A key belongs to somebody else, or a person
            distrusted it.
    """
    if any(owners.get(digits, jid) != jid for digits in verified):
        raise _mismatch(jid, "one of the keys belongs to another account")
    for device in devices:
        if device.fingerprint in verified and device.trust is TrustLevel.DISTRUSTED:
            raise _mismatch(jid, f"device {device.device_id} was distrusted before")


def _mismatch(jid: JID, why: str) -> FingerprintMismatchError:
    return FingerprintMismatchError(
        "ALARM: the scanned code contradicts what was verified; nothing was changed",
        why=why,
        fix="Somebody may read along. Compare each fingerprint with the owner: "
        f"xmpp-onion trust list {jid}",
    )


def read_person(place: str) -> JID:
    """Return whom a URI is about, bare.

    Args:
        place: What stands between the scheme and the question mark.

    Raises:
        AddressError: It names no person.
    """
    try:
        jid = JID(unquote(place))
    except InvalidJIDError as error:
        raise _no_uri(f"its JID: {error.why}") from error
    if not jid.local or jid.resource:
        raise _no_uri("its JID does not name a person")
    return jid


def _read_query(query: str) -> tuple[tuple[int, str], ...]:
    found: dict[int, str] = {}
    for part in query.split(";"):
        name, _, value = part.partition("=")
        match = _PARAMETER.fullmatch(unquote(name).lower())
        if match is None:
            continue
        device_id, digits = int(match[1]), value.lower()
        if not 0 < device_id <= _MAX_DEVICE_ID or not _HEX.fullmatch(digits):
            raise _no_uri("a fingerprint in it is malformed")
        if found.setdefault(device_id, digits) != digits:
            raise _no_uri("it has two fingerprints for one device")
    if not found:
        raise _no_uri("it carries no fingerprint")
    if len(found) > _DEVICE_LIMIT:
        raise _no_uri("it has too many devices")
    return tuple(sorted(found.items()))


def _no_uri(why: str) -> AddressError:
    return AddressError(
        "this is not a URI with fingerprints",
        why=why,
        fix="Its owner shows it with: xmpp-onion trust qr",
    )
