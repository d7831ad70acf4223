"""When a server was backed up last."""

from datetime import UTC, datetime, timedelta

from xmpp_onion import private
from xmpp_onion.errors import ServerError, StoreError
from xmpp_onion.server.folder import Folder

__all__ = ["check_backup", "note_backup"]

_FORM = "%Y-%m-%dT%H:%M:%SZ"
_LIMIT_BYTES = 64
# Who saves it at all would not like to lose more than this.
_OLD = timedelta(days=30)


def note_backup(place: Folder, now: datetime) -> None:
    """Write down that the server was saved.

    Raises:
        StoreError: It cannot be written.
    """
    private.replace(place.backup_file, f"{now.astimezone(UTC):{_FORM}}\n".encode())


def check_backup(place: Folder, now: datetime) -> str | ServerError | StoreError:
    """Tell how old the last backup is; to save it otherwise is no fault."""
    try:
        text = private.read_bytes(place.backup_file, _LIMIT_BYTES).decode("ascii")
        then = datetime.strptime(text.strip(), _FORM).replace(tzinfo=UTC)
    except (FileNotFoundError, ValueError):
        return f"none was made here: xmpp-onion server backup {place.path} FILE"
    except StoreError as error:
        return error
    if now - then < _OLD:
        return f"the last one is of {then:%Y-%m-%d %H:%M} UTC"
    return ServerError(
        f"the last backup is {(now - then).days} days old",
        why="what came since is lost with this machine",
        fix=f"Make one: xmpp-onion server backup {place.path} FILE",
    )
