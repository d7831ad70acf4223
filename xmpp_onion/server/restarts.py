"""What of a server ended by itself and was started again, and when."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from xmpp_onion import private
from xmpp_onion.errors import ServerError, StoreError
from xmpp_onion.server.folder import Folder

__all__ = ["Restart", "check_restarts", "note_restart", "read_restarts"]

# What is remembered; more of it says nothing new.
_KEPT = 100
_LIMIT_BYTES = 64 * 1024
# So many within a day are a fault that somebody should look at.
_MANY, _DAY = 3, timedelta(days=1)
_FORM = "%Y-%m-%dT%H:%M:%SZ"


class Restart(NamedTuple):
    """One of them.

    Attributes:
        at: When it was noticed.
        what: What ended: ``prosody``, ``server`` or ``tor``.
    """

    at: datetime
    what: str


def note_restart(folder: Path, what: str, *, now: datetime | None = None) -> None:
    """Write down that something ended; where that cannot be written it is not."""
    place = Folder(folder, None)
    with contextlib.suppress(StoreError):
        kept = [*read_restarts(place), Restart(now or datetime.now(UTC), what)]
        lines = [f"{one.at:{_FORM}} {one.what}\n" for one in kept[-_KEPT:]]
        private.replace(place.restarts_file, "".join(lines).encode("ascii"))


def read_restarts(place: Folder) -> list[Restart]:
    """Return what was noted, the oldest first.

    Raises:
        StorePermissionError: The file is not ours alone.
    """
    try:
        text = private.read_bytes(place.restarts_file, _LIMIT_BYTES).decode("ascii")
        pairs = [line.split(" ", 1) for line in text.splitlines()]
        return [
            Restart(datetime.strptime(at, _FORM).replace(tzinfo=UTC), what)
            for at, what in pairs
        ]
    except (FileNotFoundError, ValueError):  # none, or damaged: begun anew
        return []


def check_restarts(place: Folder, now: datetime) -> str | ServerError | StoreError:
    """Tell whether something of the server ends again and again."""
    try:
        lately = [one for one in read_restarts(place) if one.at > now - _DAY]
    except StoreError as error:
        return error
    if not lately:
        return "nothing ended by itself within a day"
    last = lately[-1]
    words = f"the last was {last.what}, at {last.at:%H:%M} UTC"
    if len(lately) < _MANY:
        return f"{len(lately)} within a day; {words}"
    return ServerError(
        "the server ends by itself again and again",
        why=f"{len(lately)} times within a day; {words}",
        fix=f"Read {place.log_file}, {place.background_file} and "
        f"{place.path / 'tor' / 'tor.log'}.",
    )
