"""The keys of those who may come to a private door: ``clients.json`` in the folder.

The public half of each is kept for the onion service; the private half leaves with
the invite. A few keys that nobody has yet are made in advance and let in already:
so a new guest needs no new descriptor, and nobody's connection is disturbed. In a
descriptor they cost nothing, because Tor fills up its list to a multiple of sixteen
(Tor rendezvous specification v3, section 2.5.1.2).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from xmpp_onion import locks, private
from xmpp_onion.errors import ServerError
from xmpp_onion.transport import ClientKey, make_client_key

__all__ = ["ClientKeys", "Guest"]

# Tor's own manual names about 330 clients of one service (ClientOnionAuthDir): more
# do not fit into a descriptor of 50 kB.
_LIMIT: Final = 320
_SPARE: Final = 16
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was given a key.

    Attributes:
        name: By which the key is revoked; not always the name of an account.
        public: The public half, in base32.
        since: When the key was given.
    """

    name: str
    public: str
    since: datetime


@dataclass(frozen=True, slots=True)
class _State:
    """Who has a key, and which keys were made for those to come."""

    guests: tuple[Guest, ...] = ()
    spare: tuple[ClientKey, ...] = field(default=(), repr=False)

    @property
    def admitted(self) -> frozenset[str]:
        guests = (guest.public for guest in self.guests)
        return frozenset((*guests, *(key.public for key in self.spare)))

    def filled(self) -> Self:
        """Return it with spare keys, if there are none left and room for some."""
        room = min(_SPARE, _LIMIT - len(self.guests))
        if self.spare or room <= 0:
            return self
        return replace(self, spare=tuple(make_client_key() for _ in range(room)))

    def free_name(self, wanted: str) -> str:
        """Return ``wanted``, or with a number behind it if somebody has it."""
        taken = {guest.name for guest in self.guests}
        if wanted and wanted not in taken:
            return wanted
        base, number = wanted or "guest", 2 if wanted else 1
        while f"{base}-{number}" in taken:
            number += 1
        return f"{base}-{number}"


class ClientKeys:
    """The keys of one server's private door.

    Several processes may use them at once.

    Args:
        folder: The server's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clients.json"

    def admitted(self) -> frozenset[str]:
        """Return the public keys that the door is open for; never nobody's.

        Raises:
            ServerError: The file is damaged.
        """
        with self._changing() as states:
            return states[-1].admitted

    def guests(self) -> tuple[Guest, ...]:
        """Return who was given a key, in that order."""
        return self._load().guests

    def give(self, name: str = "") -> tuple[Guest, str]:
        """Give a key to somebody; return under which name, and the private half.

        The private half is kept nowhere: it cannot be asked for again.

        Args:
            name: Whose it shall be; numbered if there is one already.

        Raises:
            ServerError: There are as many as a service can have.
        """
        with self._changing() as states:
            state = states[-1]
            if not state.spare:
                raise ServerError(
                    "the private door has no room for one more",
                    why=f"{len(state.guests)} have a key, and Tor allows no more",
                    fix="Revoke those that nobody uses: xmpp-onion server door list "
                    "DIR",
                )
            key, *rest = state.spare
            now = datetime.now(UTC).replace(microsecond=0)
            guest = Guest(state.free_name(name), key.public, now)
            states.append(_State((*state.guests, guest), tuple(rest)))
        return guest, key.private

    def revoke(self, name: str) -> Guest:
        """Let in no more with the key that was given under a name.

        Raises:
            ServerError: There is none of that name.
        """
        with self._changing() as states:
            state = states[-1]
            for guest in state.guests:
                if guest.name == name:
                    rest = tuple(each for each in state.guests if each != guest)
                    states.append(replace(state, guests=rest))
                    return guest
        raise ServerError(
            f"nobody has a key of the name {name!a}",
            fix="See who has one: xmpp-onion server door list DIR",
        )

    @property
    def stamp(self) -> tuple[int, int]:
        """Something else after each change: which file it is, and when it was made."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    @contextmanager
    def _changing(self) -> Iterator[list[_State]]:
        """Yield the states so far; what is added last is kept."""
        with locks.hold(self._path.with_name("clients.lock")):
            before = self._load()
            states = [before.filled()]
            yield states
            after = states[-1].filled()
            if after != before:
                self._save(after)

    def _load(self) -> _State:
        try:
            return _parse(private.read(self._path))
        except FileNotFoundError:
            return _State()
        except (ValueError, LookupError, TypeError) as error:
            # Without its text: it may quote a key.
            raise ServerError(
                "the keys of the private door cannot be read",
                why=f"{self._path} is damaged ({type(error).__name__})",
                fix="Restore it from a backup: nobody gets in without it.",
            ) from None

    def _save(self, state: _State) -> None:
        guests = [
            {
                "name": guest.name,
                "public": guest.public,
                "since": guest.since.isoformat(),
            }
            for guest in state.guests
        ]
        values = {"v": _VERSION, "guests": guests, "spare": state.spare}
        private.replace(self._path, f"{json.dumps(values, indent=1)}\n".encode())


def _parse(text: str) -> _State:
    found = json.loads(text)
    if found["v"] != _VERSION:
        raise ValueError("a newer version wrote it")
    guests = (
        Guest(
            name=str(each["name"]),
            public=str(each["public"]),
            since=datetime.fromisoformat(each["since"]),
        )
        for each in found["guests"]
    )
    spare = (ClientKey(str(public), str(secret)) for public, secret in found["spare"])
    return _State(tuple(guests), tuple(spare))
