"""Trust messages as ``xmpp:`` URIs: what one scan says about many keys of a person.

``xmpp:bob@….onion?trust-message;encryption=urn:xmpp:omemo:2;trust=KEY;distrust=KEY``
names keys and no devices. KEY is what a trust message carries: the Ed25519 form with
``urn:xmpp:omemo:2``, the Curve25519 form with the older version; in hex, as others
write it, or in base64, as the elements have it.

Source: XEP-0434, section 8.1.1.
"""

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote

from xmpp_onion.address import JID
from xmpp_onion.e2ee.trust_messages import Word, curve_fingerprint
from xmpp_onion.e2ee.uri import read_person
from xmpp_onion.e2ee.versions import OMEMO_2, OMEMO_OLD
from xmpp_onion.errors import AddressError

__all__ = ["is_trust_message", "read_trust_message"]

# 64 words take 5 KB; no QR code holds more than 3 KB.
_LENGTH_LIMIT = 8 * 1024
_WORD_LIMIT = 64
_QUERY: Final = "trust-message"
_KINDS: Final = {"trust": True, "distrust": False}


def is_trust_message(text: str) -> bool:
    """Tell whether a text means to be such a URI."""
    place, _, query = text.strip().partition("?")
    is_uri = place.lower().startswith("xmpp:")
    return is_uri and query.partition(";")[0].lower() == _QUERY


def read_trust_message(text: str) -> tuple[Word, ...]:
    """Return what a URI says, all about keys of one person.

    Raises:
        AddressError: It is none, is about another encryption, is too long, says
            anything that is no word about a key, or two things about one. Nothing of
            it counts then.
    """
    if len(text) > _LENGTH_LIMIT or not is_trust_message(text):
        raise _no_words("it does not read xmpp:name@….onion?trust-message;…")
    place, _, query = text.strip().partition("?")
    owner = read_person(place.partition(":")[2])
    pairs = [_pair(part) for part in query.split(";")[1:]]
    versions = [value for name, value in pairs[:1] if name == "encryption"]
    if versions not in ([OMEMO_2], [OMEMO_OLD]):
        raise _no_words("it is not about OMEMO")
    if not 0 < len(pairs) - 1 <= _WORD_LIMIT:
        raise _no_words("it has no key, or too many")
    found: dict[str, Word] = {}
    for name, value in pairs[1:]:
        word = _read_word(owner, versions[0], name, value)
        if found.setdefault(word.fingerprint, word) != word:
            raise _no_words("it says two things about one key")
    return tuple(found.values())


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return unquote(name).lower(), unquote(value)


def _read_word(owner: JID, version: str, name: str, value: str) -> Word:
    key = _read_key(value)
    digits = curve_fingerprint(key) if version == OMEMO_2 else key.hex()
    if name not in _KINDS or len(key) != 32 or not digits:
        raise _no_words("what it says about a key is malformed")
    return Word(owner, digits, _KINDS[name])


def _read_key(value: str) -> bytes:
    if re.fullmatch("[0-9A-Fa-f]{64}", value):
        return bytes.fromhex(value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _no_words(why: str) -> AddressError:
    return AddressError(
        "this is not a URI with decisions about keys",
        why=why,
        fix="Have its owner show it again; or compare fingerprints, as in "
        "xmpp-onion trust verify JID FINGERPRINT",
    )
