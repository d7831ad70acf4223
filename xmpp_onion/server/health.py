"""How a server is: whether it runs and is reachable, and how much it has to do."""

import contextlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from xmpp_onion import locks, private
from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.lock import read_keeper
from xmpp_onion.server.options import Engine

__all__ = ["Health", "Load", "State", "note_state", "read_health"]

# Sessions of our people, links to other servers in both directions, and stanzas
# that wait for one of those. 13.0 keeps them in a queue object, 0.12 in a table.
_LOAD = """
local people, servers, queue = 0, 0, 0
for _ in pairs(prosody.full_sessions) do people = people + 1 end
for session in pairs(prosody.incoming_s2s) do
	if session.type == "s2sin" then servers = servers + 1 end
end
for _, host in pairs(prosody.hosts) do
	for _, session in pairs(host.s2sout or { }) do
		if session.type == "s2sout" then servers = servers + 1 end
		local held = session.sendq
		if held then queue = queue + (held.count and held:count() or #held) end
	end
end
local since = prosody.start_time
return table.concat({ people, servers, queue, since, prosody.version }, " ")
"""


class State(StrEnum):
    """Whether people can talk through it."""

    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    UNREACHABLE = "unreachable"  # it runs, and Tor is away
    MENDING = "mending"  # Prosody ended and is started again


@dataclass(frozen=True, slots=True)
class Load:
    """What Prosody has to do.

    Attributes:
        sessions: Clients that are logged in.
        servers: Links to other servers, in both directions.
        queue: Stanzas that wait for another server.
        version: Prosody's version.
        since: When Prosody was started.
    """

    sessions: int = 0
    servers: int = 0
    queue: int = 0
    version: str = ""
    since: datetime | None = None

    @classmethod
    async def measure(cls, data: Path) -> Self:
        """Ask the Prosody whose data folder this is.

        Raises:
            ServerError: It does not answer.
        """
        *numbers, version = (await ask(data, _LOAD)).split(maxsplit=4)
        people, servers, queue, since = (int(float(number)) for number in numbers)
        began = datetime.fromtimestamp(since, UTC)
        return cls(people, servers, queue, version=version, since=began)


_IDLE = Load()
# How it is noted whether a server's Tor tells circuits.
_CIRCUITS = {"circuits": True, "no-circuits": False}


@dataclass(frozen=True, slots=True)
class Health:
    """How a server is at one moment.

    Attributes:
        state: Whether people can talk through it.
        load: What it has to do.
        tells_circuits: Whether its limits for each circuit hold; None if nobody knows.
    """

    state: State
    load: Load = _IDLE
    tells_circuits: bool | None = None

    def as_line(self) -> dict[str, object]:
        """Return what ``--json`` prints, but for the version of the format."""
        line: dict[str, object] = {"event": "status", "state": str(self.state)}
        counts = asdict(self.load)
        since = counts.pop("since")
        line |= counts
        line["since"] = None if since is None else f"{since:%Y-%m-%dT%H:%M:%SZ}"
        line["circuits"] = self.tells_circuits
        return line


async def read_health(folder: Path) -> Health:
    """Return how the server in ``folder`` is, whoever runs it.

    Raises:
        ServerError: There is no server in the folder.
        StorePermissionError: Others can reach its files.
    """
    place = Folder(folder, find_unprivileged_user())
    place.read_onion()
    keeper = read_keeper(place)
    if keeper is None and not locks.is_held(place.lock_file):
        return Health(State.DOWN)
    try:
        load = await Load.measure(place.data)
    except ServerError:
        load = _IDLE
    state, circuits = State.UP if load.version else State.STARTING, None
    if keeper is not None:
        with contextlib.suppress(OSError, ValueError):  # not noted yet, or just now
            word, _, more = place.state_file.read_text("ascii").strip().partition(" ")
            state, circuits = State(word), _CIRCUITS.get(more)
    is_heard = load.version or place.read_options().engine is not Engine.PROSODY
    if not is_heard and state in {State.UP, State.UNREACHABLE}:
        state = State.MENDING  # it ended a moment ago, or its keeper did
    return Health(state, load, tells_circuits=circuits)


def note_state(
    folder: Path, state: State, *, tells_circuits: bool | None = None
) -> None:
    """Write down how the server is, for who asks with `read_health`.

    Raises:
        StoreError: It cannot be written.
    """
    more = [word for word, told in _CIRCUITS.items() if told is tells_circuits]
    file = Folder(folder, None).state_file
    private.replace(file, f"{' '.join([str(state), *more])}\n".encode())
