"""What the kernel and Prosody say of a server that runs: no way in or out but Tor."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from xmpp_onion.errors import ServerError, XmppOnionError
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import read_keeper
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.transport import connections, is_beside_tor, listeners

__all__ = ["Running", "check_dns", "check_listeners"]

_LOOPBACK = "127.0.0.1"
_UNSEEN = "not seen: the server does not run"
_PROC = Path("/proc")

# What Prosody says about itself: its process, its version, whether names could be
# looked up, and what it was told about other servers and strangers.
_QUESTION = """
local config = require "core.configmanager"
local fence = require "core.modulemanager".is_loaded("*", "s2s_onion")
return table.concat({
	require "util.pposix".getpid(), prosody.version, fence and "closed" or "open",
	tostring(config.get("*", "onion_federation")),
	tostring(config.get("*", "stamp_bits")),
}, " ")
"""


@dataclass(frozen=True, slots=True)
class Running:
    """What a Prosody that runs says about itself.

    Attributes:
        pid: Its process.
        version: Such as ``0.12.3``.
        is_fenced: Whether no part of it can look up a name.
        federation: With which other servers it talks; as in `Federation`.
        stamp_bits: What a stranger pays for a first word.
    """

    pid: int
    version: str
    is_fenced: bool
    federation: str
    stamp_bits: str

    @classmethod
    async def see(cls, place: Folder, options: Options) -> Self | None:
        """Find what runs the server of a folder; None if it does not run.

        Of an ejabberd no more is seen than its process. It talks to nobody, and its
        fence is a file that belongs to its configuration.
        """
        if options.engine is Engine.PROSODY:
            return await cls.find(place.data)
        data = (place.ejabberd / "data").resolve()
        for pid in sorted(_family(read_keeper(place))):
            with contextlib.suppress(OSError):
                if (_PROC / str(pid) / "cwd").readlink() == data:
                    bits = str(options.stamp_bits)
                    mode = options.federation
                    return cls(
                        pid, "", is_fenced=True, federation=mode, stamp_bits=bits
                    )
        return None

    def uses_replaced(self, library: str) -> bool:
        """Whether it has a library in its memory that is on the disk no more."""
        try:
            lines = (_PROC / str(self.pid) / "maps").read_text().splitlines()
        except OSError:
            return False  # this system does not tell, or tells its user alone
        return any(
            f"/{library}." in line and line.endswith(" (deleted)") for line in lines
        )

    @classmethod
    async def find(cls, data: Path) -> Self | None:
        """Ask the Prosody whose data folder this is; None if it does not answer."""
        try:
            words = (await ask(data, _QUESTION)).split()
            pid, version, fence, federation, bits = words
            return cls(int(pid), version, fence == "closed", federation, bits)
        except (XmppOnionError, ValueError):
            return None


def check_listeners(
    place: Folder, options: Options, running: Running | None
) -> str | XmppOnionError:
    """Tell whether the server can be reached otherwise than through Tor."""
    if running is None:
        return _UNSEEN
    pids = {running.pid, *_family(read_keeper(place))}
    found = {pid: listeners(_PROC / str(pid)) for pid in pids}
    own = found[running.pid]
    if own is None:
        return "not seen: this system does not tell, or tells the server's user alone"
    ends = {end for each in found.values() for end in each or ()}
    if beyond := sorted(
        f"{host} port {port}" for host, port in ends if host != _LOOPBACK
    ):
        return ServerError(
            "the server can be reached without Tor",
            why=f"it listens on {', '.join(beyond)}",
            fix="Stop it. If its configuration is as shipped, report this as a bug.",
        )
    if missing := options.listening_ports - {port for _, port in own}:
        return ServerError(
            "the server does not listen everywhere where it should",
            why=f"port {', '.join(map(str, sorted(missing)))} is not open",
            fix="Start it again: xmpp-onion server down DIR, and up",
        )
    return f"{len(ends)}, all of them on {_LOOPBACK}"


def _family(pid: int | None) -> set[int]:
    """Return a process and all that came from it, our Tor for instance."""
    if pid is None:
        return set()
    parents: dict[int, list[int]] = {}
    for stat_file in _PROC.glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything (proc(5)).
            fields = stat_file.read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue  # it ended meanwhile
        parents.setdefault(int(fields[1]), []).append(int(stat_file.parent.name))
    found, rest = set(), [pid]
    while rest:
        found.add(one := rest.pop())
        rest += parents.get(one, [])
    return found


def check_dns(options: Options, running: Running | None) -> str | XmppOnionError:
    """Tell whether names could be looked up, or anybody be reached, beside Tor."""
    if running is None:
        return _UNSEEN
    if not running.is_fenced:
        return ServerError(
            "the server could ask the DNS",
            why="its module s2s_onion is not loaded",
            fix="Stop it, and start it with: xmpp-onion server up DIR",
        )
    ends = connections(_PROC / str(running.pid))
    if ends is None:
        return "fenced off; its connections are not seen: this system does not tell us"
    tor = frozenset({(options.socks.host, options.socks.port)})
    if beside := sorted(
        f"{host} port {port}" for host, port in ends if is_beside_tor((host, port), tor)
    ):
        return ServerError(
            "the server has connections beside Tor",
            why=f"to {', '.join(beside)}",
            fix="Stop it. If its configuration is as shipped, report this as a bug.",
        )
    return f"fenced off; connections: {len(ends)}, none of them beside Tor"
