"""What a server is to be, as its owner chose it: ``server.json`` in its folder."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server.ports import NO_PORTS, VIRTUAL_PORTS, Ports, choose_ports
from xmpp_onion.transport import Endpoint

__all__ = [
    "STAMP_LIMIT",
    "Archive",
    "Door",
    "Engine",
    "Federation",
    "Former",
    "Options",
]

# A quarter of a million hashes: a quarter of a second of one of our clients. For a
# thousand strangers it is four minutes.
_STAMP_BITS = 18
STAMP_LIMIT = 24
"""Our clients make no stamp of more bits."""
_VERSION = 2  # 1 held two ports and nothing else
_PORT_LIMIT = 65535
# Where a Tor of the system listens; the running one says where it does.
_SOCKS = Endpoint("127.0.0.1", 9050)


class Door(StrEnum):
    """Who can find the server."""

    PRIVATE = "private"
    PUBLIC = "public"
    BOTH = "both"


class Federation(StrEnum):
    """Which other servers it talks to."""

    OFF = "off"
    LISTED = "listed"
    OPEN = "open"


class Archive(StrEnum):
    """Where messages are kept, in archives and for who is away."""

    DISK = "disk"
    MEMORY = "memory"


class Engine(StrEnum):
    """The program that speaks XMPP."""

    PROSODY = "prosody"
    EJABBERD = "ejabberd"


@dataclass(frozen=True, slots=True)
class Former:
    """A name that the server had, under which it says where it is now.

    Attributes:
        onion: The name.
        until: How long it says so, in UTC.
        document: What it says; see `xmpp_onion.moves`.
    """

    onion: OnionAddress
    until: datetime
    document: str = field(repr=False)

    @property
    def key_name(self) -> str:
        """The file in the server's folder that has its key."""
        return f"former-{self.onion}.key"


@dataclass(frozen=True, slots=True)
class Options:
    """What a server is to be.

    Attributes:
        door: Who can find it.
        federation: Which other servers it talks to, where it can be found; see
            `partners`.
        peers: Those servers, where only listed ones count; in no order.
        stamp_bits: What strangers of other servers pay for a first word, as zero bits
            of a hash: each doubles the work. 0 asks for nothing.
        archive: Where messages are kept; what is in memory ends with Prosody.
        engine: The program that speaks XMPP.
        socks: Where Tor takes its connections to other servers.
        ports: Where it listens, on 127.0.0.1.
        former: The names that it had, and answers to for a while.
    """

    door: Door = Door.PUBLIC
    federation: Federation = Federation.OPEN
    peers: tuple[OnionAddress, ...] = ()
    stamp_bits: int = _STAMP_BITS
    archive: Archive = Archive.DISK
    engine: Engine = Engine.PROSODY
    socks: Endpoint = _SOCKS
    ports: Ports = NO_PORTS
    former: tuple[Former, ...] = ()

    @property
    def partners(self) -> Federation:
        """Which other servers it talks to in the end.

        None, if others cannot find it: a peer makes sure of a name by dialing it, and
        behind a private door nobody answers who has no key. To dial out all the same
        would only tell the peer that the server is there.
        """
        return Federation.OFF if self.door is Door.PRIVATE else self.federation

    @property
    def listeners(self) -> frozenset[str]:
        """The names of the `Ports` that are listened on."""
        if self.engine is Engine.EJABBERD:
            return frozenset({"c2s", "https"})
        names = {"c2s", "http", "https", "c2s_proxy"}
        if self.partners is not Federation.OFF:
            names.add("s2s")
        return frozenset(names)

    @property
    def onion_ports(self) -> dict[int, int]:
        """The ports of the onion service, each with the one on 127.0.0.1."""
        ports = self.ports._asdict()
        return {
            virtual: ports[name]
            for virtual, name in VIRTUAL_PORTS.items()
            if name in self.listeners
        }

    @property
    def listening_ports(self) -> frozenset[int]:
        """The ports on 127.0.0.1 that have to be open once it runs."""
        ports = self.ports._asdict()
        return frozenset(ports[name] for name in self.listeners)

    def with_all_ports(self) -> Self:
        """Return the same with a port for each name."""
        return replace(self, ports=choose_ports(self.ports))

    def with_new_ports(self) -> Self:
        """Return the same with other ports, free at this moment."""
        return replace(self, ports=choose_ports())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``server.json``, also of earlier versions.

        What a file does not mention has its default.

        Raises:
            ServerError: It is missing or damaged, or knows more than we do.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            version = found.pop("v")
            if version == 1:
                ports = {name: found.pop(f"{name}_port") for name in ("c2s", "http")}
                # It was made when servers were closed; its owner opens it.
                found |= {"ports": ports, "federation": Federation.OFF}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise _unreadable(path, "it is missing or damaged") from error
        if version not in {1, _VERSION}:
            raise _unreadable(path, "a newer xmpp-onion wrote it")
        return cls._read(found, path)

    def save(self, path: Path) -> None:
        """Write ``server.json``, the whole file or nothing.

        Raises:
            StoreError: It cannot be written.
        """
        values: dict[str, object] = {
            "v": _VERSION,
            "door": self.door,
            "federation": self.federation,
            "peers": self.peers,
            "stamp_bits": self.stamp_bits,
            "archive": self.archive,
            "engine": self.engine,
            "socks": str(self.socks),
            "ports": self.ports._asdict(),
        }
        if self.former:
            values["former"] = [_write_former(each) for each in self.former]
        data = f"{json.dumps(values, indent=1)}\n".encode()
        if not path.exists() or path.read_bytes() != data:
            private.replace(path, data)

    @classmethod
    def _read(cls, found: Mapping[str, object], path: Path) -> Self:
        values = dict(found)
        default = cls()
        try:
            options = cls(
                door=Door(str(values.pop("door", default.door))),
                federation=Federation(
                    str(values.pop("federation", default.federation))
                ),
                peers=_read_peers(values.pop("peers", ())),
                stamp_bits=_read_bits(values.pop("stamp_bits", default.stamp_bits)),
                archive=Archive(str(values.pop("archive", default.archive))),
                engine=Engine(str(values.pop("engine", default.engine))),
                socks=Endpoint.parse(str(values.pop("socks", default.socks))),
                ports=_read_ports(values.pop("ports", {})),
                former=_read_former(values.pop("former", ())),
            )
        except (
            ValueError,
            TypeError,
            KeyError,
        ) as error:  # an address error is a ValueError
            raise _unreadable(path, f"a value in it is none: {error}") from error
        if values:
            raise _unreadable(path, f"nothing is known about {_shown(values)} in it")
        return options


def _read_bits(found: object) -> int:
    if type(found) is not int or not 0 <= found <= STAMP_LIMIT:
        raise ValueError(f"a stamp has 0 to {STAMP_LIMIT} bits")
    return found


def _read_peers(found: object) -> tuple[OnionAddress, ...]:
    if not isinstance(found, (list, tuple)):
        raise TypeError("peers is a list of onion names")
    return tuple(OnionAddress(str(name)) for name in found)


def _read_former(found: object) -> tuple[Former, ...]:
    if not isinstance(found, (list, tuple)):
        raise TypeError("former is a list of names with what they say")
    return tuple(
        Former(
            OnionAddress(str(each["onion"])),
            datetime.fromisoformat(str(each["until"])).astimezone(UTC),
            str(each["document"]),
        )
        for each in found
    )


def _write_former(former: Former) -> dict[str, str]:
    until = former.until.astimezone(UTC).isoformat(timespec="seconds")
    return {"onion": former.onion, "until": until, "document": former.document}


def _read_ports(found: object) -> Ports:
    if not isinstance(found, dict):
        raise TypeError("ports is an object of names and numbers")
    if unknown := found.keys() - set(Ports._fields):
        raise ValueError(f"there is no port {_shown(unknown)}")
    for port in found.values():
        if type(port) is not int or not 0 <= port <= _PORT_LIMIT:
            raise ValueError("a port is a number up to 65535")
    return Ports(**found)


def _shown(names: Iterable[str]) -> str:
    return ", ".join(ascii(name) for name in sorted(names))


def _unreadable(path: Path, why: str) -> ServerError:
    return ServerError(
        f"the options of the server cannot be read: {path}",
        why=why,
        fix="Mend it, or remove it: the next start makes one with the defaults, and "
        f"chooses new ports. rm -f {path}",
    )
