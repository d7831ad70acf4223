"""Where the accounts of this user lie: names of folders, nothing of what is in them.

Light, so that a command that only asks the process which holds an account finds it
without loading what an account is.
"""

import os
import re
from pathlib import Path

from platformdirs import user_data_path, user_state_path

from xmpp_onion.errors import StoreError

__all__ = ["account_folder", "data_folder", "state_folder"]

# Letters that are safe in a file name on every system; no dot at the start.
_PROFILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def data_folder(data_dir: Path | None = None) -> Path:
    """Return where profiles live.

    ``data_dir`` if given, else ``$XMPP_ONION_DATA_DIR``, else the user's data
    folder (XDG).
    """
    chosen = data_dir or os.environ.get("XMPP_ONION_DATA_DIR")
    return Path(chosen) if chosen else _default_folder()


def account_folder(profile: str, data_dir: Path | None = None) -> Path:
    """Return the folder of a profile, which need not exist.

    Raises:
        StoreError: The name is not fit for a folder.
    """
    if not _PROFILE.fullmatch(profile):
        raise StoreError(
            f"{profile!a} cannot be the name of a profile",
            why="letters, digits, dots, dashes and underscores can",
            fix="Take another name, such as `work`.",
        )
    return data_folder(data_dir) / profile


def state_folder(folder: Path) -> Path:
    """Return where to note how far the store in an account's folder has come.

    In the user's state folder (XDG), or in ``.state`` beside the profiles if they
    live elsewhere: never inside the account, whose older copy it tells from the
    newest. No profile can have that name.
    """
    if folder.parent == _default_folder():
        state = user_state_path("xmpp-onion", appauthor=False)
    else:
        state = folder.parent / ".state"
    return state / folder.name


def _default_folder() -> Path:
    return user_data_path("xmpp-onion", appauthor=False)
