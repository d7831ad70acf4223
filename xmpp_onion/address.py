"""The three names that travel between people: onion addresses, JIDs and invites.

Each is a string that was checked once, when it was made, so that no later code
has to. Each prints, compares, hashes and serialises as its text.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote, unquote

from xmpp_onion.errors import (
    InvalidInviteError,
    InvalidJIDError,
    InvalidOnionAddressError,
)

__all__ = ["JID", "Introduction", "Invite", "OnionAddress"]

# Tor rendezvous specification v3, section 6: PUBKEY (32) CHECKSUM (2) VERSION (1).
_ONION_BYTES = 35
_ONION_VERSION = b"\x03"
_LABEL = re.compile(r"[a-z2-7]{56}")
# RFC 1035, section 2.3.1, as far as a sub-domain of an onion service goes.
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# RFC 1035, section 2.3.4: a name has at most 253 characters.
_NAME_LIMIT = 253
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
# An x25519 key of 32 bytes in base32, whose last letter holds one bit only.
_DOOR_KEY = re.compile(r"[A-Za-z2-7]{51}[AaQq]")
# The JIDs that are what they will be but for capitals, as nearly all are: RFC 6122,
# appendices A.5 and B.5, as far as ASCII goes; the library knows of the rest.
_PLAIN_LOCAL = re.compile(r"[!#-%(-.0-9;=?A-Z\[-~]{1,1023}")
_PLAIN_RESOURCE = re.compile(r"[ -~]{1,1023}")
# What Prosody's mod_invites makes, with room to spare; URL-safe by construction.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,256}")


class OnionAddress(str):
    """The name of a version 3 onion service, in lower case.

    A sub-domain (``muc.….onion``) is kept: Tor ignores it, XMPP does not.

    Source: Tor rendezvous specification v3, section 6 [ONIONADDRESS].

    Raises:
        InvalidOnionAddressError: The length, the version or the checksum is
            wrong. The checksum has 16 bits: of 65,536 typos one goes unnoticed,
            and leads to a service that does not exist.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and return it in canonical form."""
        if isinstance(text, cls):
            return text
        # ASCII first: lower() would turn the Kelvin sign into a k.
        if not text.isascii() or len(text) > _NAME_LIMIT:
            raise _not_an_onion(text, "an onion name is plain letters and digits")
        host = text.lower()
        *subdomains, label, suffix = ["", *host.split(".")]
        if suffix != "onion":
            raise _not_an_onion(text, "it does not end in .onion")
        if not _LABEL.fullmatch(label):
            raise _not_an_onion(
                text, "a version 3 name has 56 characters, a to z and 2 to 7"
            )
        if not all(_SUBDOMAIN.fullmatch(part) for part in subdomains[1:]):
            raise _not_an_onion(text, "the part before the onion name is malformed")
        _check_key(text, label)
        return super().__new__(cls, host)

    @property
    def service(self) -> str:
        """The onion service itself, without a sub-domain."""
        return ".".join(self.rsplit(".", 2)[-2:])

    @property
    def public_key(self) -> bytes:
        """The Ed25519 key that it is the name of: 32 bytes."""
        return base64.b32decode(self.service.removesuffix(".onion").upper())[:32]

    @property
    def short(self) -> str:
        """Six characters for logs, where a whole name would name a person."""
        return f"{self.service[:6]}….onion"

    @classmethod
    def from_public_key(cls, key: bytes) -> Self:
        """Return the name that belongs to an Ed25519 public key of 32 bytes."""
        checksum = _checksum(key)
        raw = key + checksum + _ONION_VERSION
        return cls(base64.b32encode(raw).decode("ascii") + ".onion")


def _checksum(key: bytes) -> bytes:
    return hashlib.sha3_256(b".onion checksum" + key + _ONION_VERSION).digest()[:2]


# The same few names come with each stanza; this many are known in 200 kB.
@functools.lru_cache(maxsize=1024)
def _check_key(text: str, label: str) -> None:
    raw = base64.b32decode(label.upper())
    key, checksum, version = raw[:32], raw[32:34], raw[34:]
    if len(raw) != _ONION_BYTES or version != _ONION_VERSION:
        raise _not_an_onion(text, "it is not a version 3 name")
    if checksum != _checksum(key):
        raise _not_an_onion(text, "its checksum is wrong, so a character is mistyped")


def _not_an_onion(text: str, why: str) -> InvalidOnionAddressError:
    return InvalidOnionAddressError(
        f"{_shown(text)} is not an onion address",
        why=why,
        fix="Compare it with where you copied it from.",
    )


def _shown(text: str, limit: int = 80) -> str:
    """Quote foreign text for an error: escapes visible, length bounded."""
    return ascii(text if len(text) <= limit else text[:limit] + "...")


class JID(str):
    """Who somebody is: ``local@….onion/resource``, in canonical form.

    Two spellings of one JID are equal. Local part and resource are prepared as
    RFC 6122 says, by the XMPP library where they are more than plain ASCII: only such
    a name waits until the library is loaded. The domain has to be an onion service,
    because nothing else can be reached from here.

    Raises:
        InvalidJIDError: It is not a JID, or it lives on the open network.
    """

    __slots__ = ("_bare", "_parts")
    _parts: tuple[str, OnionAddress, str]
    _bare: Self | None  # what is asked for most, once it was asked for

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and return it in canonical form."""
        if isinstance(text, cls):
            return text
        jid, parts = _check_jid(str(text))
        made = super().__new__(cls, jid)
        made._parts, made._bare = parts, None
        return made

    @property
    def local(self) -> str:
        """The part before the @; empty for a server."""
        return self._parts[0]

    @property
    def domain(self) -> OnionAddress:
        """The server: an onion service, perhaps with a sub-domain."""
        return self._parts[1]

    @property
    def resource(self) -> str:
        """One of the account's connections, or a nick in a room; may be empty."""
        return self._parts[2]

    @property
    def bare(self) -> Self:
        """The account, without the resource."""
        if self._bare is not None:
            return self._bare
        local, domain, resource = self._parts
        if not resource:
            return self
        # What is left of a canonical form is canonical: nothing is checked again.
        bare = super().__new__(type(self), self.partition("/")[0])
        bare._parts, bare._bare = (local, domain, ""), None
        self._bare = bare
        return bare

    @property
    def short(self) -> str:
        """For logs: enough to tell two accounts apart, too little to name one."""
        return f"{self.local[:1]}…@{self.domain.short}"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self),)


# The same few come with each stanza. A hostile one has 3 kB: this is 1 MB at most.
@functools.lru_cache(maxsize=256)
def _check_jid(text: str) -> tuple[str, tuple[str, OnionAddress, str]]:
    """Return the canonical form of a JID, and its parts."""
    host = text.partition("/")[0].rpartition("@")[2]
    try:
        # Before the library, which would take the Kelvin sign for a k.
        domain = OnionAddress(host)
    except InvalidOnionAddressError as error:
        raise _not_a_jid(text, f"its server: {error.why}") from error
    jid, local, resource = _prepare_plain(text, domain) or _prepare(text)
    return jid, (local, domain, resource)


def _prepare_plain(text: str, domain: OnionAddress) -> tuple[str, str, str] | None:
    """Return the JID, its local part and resource; None if the library has to look."""
    rest, slash, resource = text.partition("/")
    local, at, _ = rest.rpartition("@")
    # Two hyphens: the domain may be in the letters of IDNA (RFC 5891, 4.2.3.1).
    if "--" in domain or (at and not _PLAIN_LOCAL.fullmatch(local)):
        return None
    if slash and not _PLAIN_RESOURCE.fullmatch(resource):
        return None
    local = local.lower()
    return f"{local}{at}{domain}{slash}{resource}", local, resource


def _prepare(text: str) -> tuple[str, str, str]:
    """Let the library do the same, whatever signs there are."""
    from slixmpp import jid  # noqa: PLC0415 - it takes a tenth of a second

    try:
        parsed = jid.JID(text)
    except (jid.InvalidJID, UnicodeError) as error:
        raise _not_a_jid(text, "it does not have the form name@….onion") from error
    return str(parsed), str(parsed.local), str(parsed.resource)


def _not_a_jid(text: str, why: str) -> InvalidJIDError:
    if not set("@./") & set(text):
        why = "it is a bare name: whose it is, or which room, is not said"
        return InvalidJIDError(
            f"{_shown(text)} is not a JID at an onion service",
            why=why,
            fix="A person is name@….onion, and a room name@muc.….onion; those that you "
            "are in: xmpp-onion room list",
        )
    return InvalidJIDError(
        f"{_shown(text)} is not a JID at an onion service",
        why=why,
        fix="Only names such as bob@….onion can be reached; check for typos.",
    )


class Invite(str):
    """An ``xmpp:`` URI that lets somebody make an account on an onion server.

    It is a credential: whoever reads it first may use it.

    Source: XEP-0401, section 3, and XEP-0445; ``cert-sha256``, ``expires``, ``door``
    and ``door-key`` are ours and are ignored by other clients.

    Raises:
        InvalidInviteError: It is not such a URI, or its server is no onion.
    """

    __slots__ = ("_fields",)
    _fields: tuple[
        OnionAddress, str, str, str, datetime | None, tuple[OnionAddress, str] | None
    ]

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and return it in canonical form."""
        if isinstance(text, cls):
            return text
        scheme, _, rest = text.strip().partition(":")
        place, _, query = rest.partition("?")
        action, *pairs = query.split(";")
        fields = dict(pair.partition("=")[::2] for pair in pairs)
        if scheme.lower() != "xmpp" or action != "register":
            raise _not_an_invite("it does not read xmpp:….onion?register;preauth=…")
        onion, local = _read_place(place)
        token = unquote(fields.get("preauth", ""))
        if not _TOKEN.fullmatch(token):
            raise _not_an_invite("it carries no token")
        certificate = unquote(fields.get("cert-sha256", "")).lower()
        if certificate and not _SHA256_HEX.fullmatch(certificate):
            raise _not_an_invite("its certificate fingerprint is malformed")
        invite = super().__new__(cls, f"xmpp:{rest}")
        expires = _read_time(fields.get("expires", ""))
        door = _read_door(fields, onion)
        invite._fields = (onion, local, token, certificate, expires, door)
        return invite

    @classmethod
    def build(
        cls,
        onion: OnionAddress,
        token: str,
        *,
        local: str = "",
        cert_sha256: str = "",
        expires: datetime | None = None,
        door: tuple[OnionAddress, str] | None = None,
    ) -> Self:
        """Return the URI that carries ``token``.

        Args:
            onion: The server.
            token: What the server will accept once.
            local: The account name that the invite is for; empty for any.
            cert_sha256: The server's certificate, so that the first connection
                is pinned already: 64 hex digits of the SHA-256 of its DER form.
            expires: When the server forgets the token.
            door: The onion service by which the guest comes, and their key for it;
                None if everybody may come.
        """
        uri = f"xmpp:{quote(local)}@{onion}" if local else f"xmpp:{onion}"
        uri += f"?register;preauth={quote(token)}"
        if cert_sha256:
            uri += f";cert-sha256={cert_sha256}"
        if expires is not None:
            uri += f";expires={expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if door is not None:
            address, key = door
            uri += "" if address == onion else f";door={address}"
            uri += f";door-key={key.lower()}"
        return cls(uri)

    @property
    def onion(self) -> OnionAddress:
        """The server that it is for."""
        return self._fields[0]

    @property
    def local(self) -> str:
        """The account name that it is for; empty if the guest may choose."""
        return self._fields[1]

    @property
    def token(self) -> str:
        """What the server accepts once (XEP-0445)."""
        return self._fields[2]

    @property
    def cert_sha256(self) -> str:
        """64 hex digits of the server's certificate, or empty: first use pins it."""
        return self._fields[3]

    @property
    def expires(self) -> datetime | None:
        """When the token ends, in UTC, if the URI says so."""
        return self._fields[4]

    @property
    def door(self) -> tuple[OnionAddress, str] | None:
        """The onion service by which the guest comes, and their key for it.

        None if everybody may come. The key is 52 letters of base32, in capitals, as
        Tor writes a client's private key.
        """
        return self._fields[5]

    def __repr__(self) -> str:
        return f"<Invite to {self.onion.short}>"  # a repr lands in logs: no token

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self),)


class Introduction(str):
    """An ``xmpp:`` URI that makes us somebody's contact, without their being asked.

    It is a credential: whoever reads it first may use it.

    Source: XEP-0379, section 3.

    Raises:
        InvalidInviteError: It is not such a URI, or its server is no onion.
    """

    __slots__ = ("_jid", "_token")
    _jid: JID
    _token: str

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and return it."""
        scheme, _, rest = text.strip().partition(":")
        place, _, query = rest.partition("?")
        action, *pairs = query.split(";")
        fields = dict(pair.partition("=")[::2] for pair in pairs)
        if scheme.lower() != "xmpp" or action != "roster":
            raise _not_an_invite("it does not read xmpp:name@….onion?roster;preauth=…")
        onion, local = _read_place(place)
        token = unquote(fields.get("preauth", ""))
        if not local or not _TOKEN.fullmatch(token):
            raise _not_an_invite("it carries no name, or no token")
        made = super().__new__(cls, f"xmpp:{rest}")
        made._jid, made._token = JID(f"{local}@{onion}"), token
        return made

    @classmethod
    def build(cls, jid: JID, token: str) -> Self:
        """Return the URI that carries what the server of ``jid`` accepts once."""
        return cls(
            f"xmpp:{quote(jid.local)}@{jid.domain}?roster;preauth={quote(token)}"
        )

    @property
    def jid(self) -> JID:
        """Whose contact it makes."""
        return self._jid

    @property
    def token(self) -> str:
        """What their server accepts once (XEP-0445)."""
        return self._token

    def __repr__(self) -> str:
        return f"<Introduction to {self._jid.short}>"  # a repr lands in logs: no token

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self),)


def _read_place(place: str) -> tuple[OnionAddress, str]:
    """Return the server and the account name of ``[name@]….onion``.

    What is wrong with them is told without a chained error: that would quote
    text in which a mangled URI may carry its token.
    """
    local, _, host = (unquote(part) for part in place.rpartition("@"))
    try:
        onion = OnionAddress(host)
    except InvalidOnionAddressError as error:
        raise _not_an_invite(f"its server: {error.why}") from None
    if not local:
        return onion, ""
    try:
        jid = JID(f"{local}@{onion}")
    except InvalidJIDError:
        jid = None
    if jid is None or jid.domain != onion or jid.resource:
        raise _not_an_invite("its account name is malformed")
    return onion, jid.local


def _read_door(
    fields: Mapping[str, str], onion: OnionAddress
) -> tuple[OnionAddress, str] | None:
    key = unquote(fields.get("door-key", ""))
    if not key:
        if "door" in fields:
            raise _not_an_invite("it names a private door and has no key for it")
        return None
    if not _DOOR_KEY.fullmatch(key):
        raise _not_an_invite("its key for the private door is malformed")
    try:
        address = OnionAddress(unquote(fields.get("door", onion)))
    except InvalidOnionAddressError as error:
        raise _not_an_invite(f"its private door: {error.why}") from None
    return address, key.upper()


def _read_time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(unquote(text), "%Y-%m-%dT%H:%M:%SZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise _not_an_invite("its expiry time is malformed") from None


def _not_an_invite(why: str) -> InvalidInviteError:
    # The text itself stays out of the error: it is a credential.
    return InvalidInviteError(
        "this is not an invite to an onion server",
        why=why,
        fix="Ask for a new one; the operator makes it with "
        "`xmpp-onion server invite DIR`.",
    )
