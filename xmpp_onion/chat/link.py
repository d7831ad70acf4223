"""Where an object lies, and the links that carry the key to it.

Pure, and the one place that decides which URL may be asked for: an onion, no user, no
fragment. At two ports it is asked in plain HTTP (the circuit is the encryption, and
its name is the server's key), at all others in TLS, which is what others' clients mean
by ``aesgcm``. A link is a secret: who has it can read the file.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final, Self

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import AddressError

__all__ = ["CHUNKS", "SINGLE", "Link", "Place", "Slot"]

# One object that others' clients read too (XEP-0454), or an index of several: ours.
SINGLE: Final = "aesgcm"
CHUNKS: Final = "aesgcm+chunks"
"""The schemes of a link: to one object, and to an index."""
# Prosody's have 120; a URL of more is somebody's attack.
_URL_LIMIT: Final = 2048
# RFC 3986, section 3: what a path and a query are made of, and nothing else.
_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)(?:#(?P<fragment>[A-Za-z0-9]*))?"
)
# XEP-0454, section 3: the IV, of 12 bytes (of 16 in old clients), and the key.
_FRAGMENT: Final = re.compile(r"(?P<iv>[0-9a-f]{24}|[0-9a-f]{32})(?P<key>[0-9a-f]{64})")
# Where our servers take and serve files: Prosody's own number for plain HTTP, and what
# a URL in TLS means if it names no port.
_HTTP_PORT: Final = 5280
_TLS_PORT: Final = 443
# A link names no protocol, so the port does.
_PLAIN_PORTS: Final = frozenset({80, _HTTP_PORT})
_USUAL: Final = {"http": 80}


@dataclass(frozen=True, slots=True)
class Place:
    """An object at an onion service.

    Attributes:
        host: The service.
        port: Its virtual port.
        target: Path and query, as they are sent.
    """

    host: OnionAddress
    port: int
    target: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``http://….onion:5280/path`` or ``https://….onion/path``.

        Raises:
            AddressError: It is anywhere else than at an onion, or its port speaks the
                other protocol.
        """
        found, fragment = _split(url, "http", "https")
        if fragment is not None:
            raise _refused("what it asks for has a fragment")
        place = cls(*found)
        if place.is_plain != url.startswith("http:"):
            raise _refused(f"port {place.port} stands for the other of http and https")
        return place

    @property
    def is_plain(self) -> bool:
        """Whether it is asked in plain HTTP; else in TLS."""
        return self.port in _PLAIN_PORTS

    @property
    def url(self) -> str:
        """The text that ``parse()`` reads."""
        scheme = "http" if self.is_plain else "https"
        return f"{scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """Host and port, for the header ``Host``."""
        usual = 80 if self.is_plain else _TLS_PORT
        return self.host if self.port == usual else f"{self.host}:{self.port}"

    @property
    def in_plain(self) -> Self:
        """The same object where one of our servers has it without TLS."""
        return replace(self, port=_HTTP_PORT) if self.port == _TLS_PORT else self

    @property
    def in_tls(self) -> Self:
        """The same object where one of our servers has it for others' clients."""
        return replace(self, port=_TLS_PORT) if self.port == _HTTP_PORT else self


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an object may be stored once, and where it can be fetched then.

    Attributes:
        put: Where to store it.
        get: Where it will be.
        headers: What the server wants to see with it; they hold a permission.
        resume: Where to store it instead if it shall go on after a break; None where
            the server keeps nothing of what broke off.
    """

    put: Place
    get: Place
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    resume: Place | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Where an encrypted object lies, and what decrypts it.

    Attributes:
        place: Where.
        key: Of AES-256.
        iv: 12 bytes; 16 where an old client made it.
        is_index: The object names others that hold the file (ours).
    """

    place: Place
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    is_index: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``aesgcm://….onion/path#IV-AND-KEY``, or one of our indexes.

        Raises:
            AddressError: It is no such link, or leads elsewhere than to an onion.
        """
        place, fragment = _split(text, SINGLE, CHUNKS)
        secret = _FRAGMENT.fullmatch((fragment or "").lower())
        if secret is None:
            raise _refused("its last part, after the #, is no key of AES-256-GCM")
        iv, key = bytes.fromhex(secret["iv"]), bytes.fromhex(secret["key"])
        return cls(Place(*place), key, iv, text.startswith(f"{CHUNKS}:"))

    @property
    def text(self) -> str:
        """The link in full, as ``parse()`` reads it. It holds the key."""
        scheme = CHUNKS if self.is_index else SINGLE
        host, port, target = self.place.host, self.place.port, self.place.target
        where = host if port == _TLS_PORT else f"{host}:{port}"
        return f"{scheme}://{where}{target}#{self.iv.hex()}{self.key.hex()}"


def _split(
    text: str, *schemes: str
) -> tuple[tuple[OnionAddress, int, str], str | None]:
    found = _URL.fullmatch(text) if len(text) <= _URL_LIMIT else None
    if found is None:
        raise _refused("it is no URL, or it has a user name or strange characters")
    if found["scheme"] not in schemes:
        raise _refused(
            f"it does not begin with {' or '.join(f'{s}://' for s in schemes)}"
        )
    port = int(found["port"] or _USUAL.get(found["scheme"], _TLS_PORT))
    if not 0 < port < 65536:
        raise _refused("its port is none")
    try:
        host = OnionAddress(found["host"])
    except AddressError as error:
        raise _refused("only files at onion services are fetched") from error
    return (host, port, found["target"]), found["fragment"]


def _refused(why: str) -> AddressError:
    return AddressError(
        "this is no link to a file that can be fetched",
        why=why,
        fix="It looks like aesgcm://….onion/…#…; copy the whole of it.",
    )
