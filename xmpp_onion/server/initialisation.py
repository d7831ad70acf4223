"""How a server's folder is made, and what is missing of it later.

Whoever does it twice has the same server: no other address takes the place of one
that people know, and nothing that lies there already is written over.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server import switch
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Options
from xmpp_onion.transport import create_key

__all__ = ["complete", "initialise"]

# What a start that was cut short, or a Tor of ours, may leave before there is a key.
# Drafts of a file begin with its name.
_OURS = (
    "onion.key",
    "address",
    "onion-service",
    "server.json",
    "lock",
    "keeper",
    "state",
    "background",
    "xmpp-onion.service",
    "output",
    "prosody",
    "tor",
    "former-",
    "rotation",
)


def initialise(
    folder: Path, change: Callable[[Options], Options] | None = None
) -> OnionAddress:
    """Make the keys, the certificate and the configuration of a new server.

    Neither Tor nor Prosody has to run. What is there already is kept: whoever
    calls this twice still has the same address.

    Args:
        folder: Where.
        change: Returns what the server is to be, from what it was; a server that
            runs becomes it at its next start.

    Raises:
        StorePermissionError: Others can read the folder or a key, or we cannot
            write there.
        StoreError: It cannot be made or written.
        ServerError: It is full of something else.
    """
    return complete(Folder(folder, find_unprivileged_user()), change)


def complete(
    place: Folder, change: Callable[[Options], Options] | None = None
) -> OnionAddress:
    """Make what is missing, and check what is there.

    Args:
        place: The folder.
        change: As of `initialise`.

    Raises:
        StorePermissionError: As `initialise`.
        StoreError: As `initialise`.
        ServerError: It cannot be set up, or has lost its address.
    """
    switch.finish(place.path, place.data)
    try:
        _make_folders(place)
        place.check()
        _mend_modes(place)
        _refuse_other_address(place)
        if not place.key_file.exists():
            create_key(place.key_file)
        onion = place.read_onion()
        place.write_address(onion)
        place.make_certificate(onion)
        exists = place.options_file.exists()
        options = place.read_options() if exists else Options()
        if change is not None:
            options = change(options)
        place.write_options(options.with_all_ports())
    except OSError as error:
        raise ServerError(
            f"the server in {place.path} cannot be set up",
            why=f"{error.strerror}: {error.filename}",
            fix="Choose a folder that is yours.",
        ) from error
    return onion


def _refuse_other_address(place: Folder) -> None:
    """Refuse to go on under a name that people do not know.

    Raises:
        ServerError: The key is gone, or another one's.
    """
    if not (known := place.read_known_addresses()):
        return
    name, why = min(known), f"{place.key_file} is missing"
    if place.key_file.exists():
        if (found := place.read_onion()) in known:
            return
        why = f"{place.key_file} is the key of {found}"
    raise ServerError(
        f"the server in {place.path} has lost its address, {name}",
        why=f"{why}, and its accounts are known by that address alone",
        fix="Put the key back from a copy of the folder, or restore a backup: "
        "xmpp-onion server restore FILE NEWDIR. A server with another address is "
        "made in a folder that is new: xmpp-onion server init NEWDIR",
    )


def _mend_modes(place: Folder) -> None:
    """Close what is no key and was left open; keys are refused instead."""
    place.data.chmod(0o700)
    for path in place.path.iterdir():
        status = path.lstat()
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if is_ours and path.suffix != ".key" and status.st_mode & 0o077:
            path.chmod(0o600)


def _make_folders(place: Folder) -> None:
    if not place.path.exists():
        private.make_folder(place.path)
    elif not place.path.is_symlink() and not any(place.path.iterdir()):
        place.path.chmod(0o700)  # empty: nothing was ever readable in it
    _refuse_foreign(place)  # or one would be told to close a home, or a web site
    private.check_folder(place.path)  # before anything is put into it
    for name in ("", "certs", "modules"):
        place.make_shared(place.prosody / name)
    if not place.data.exists():
        private.make_folder(place.data)
    place.give_away(place.data)


def _refuse_foreign(place: Folder) -> None:
    """Refuse to put a new server among other files, as into a home folder."""
    if place.key_file.exists():
        return
    others = sorted(
        path.name for path in place.path.iterdir() if not path.name.startswith(_OURS)
    )
    if others:
        raise ServerError(
            f"no server is made in {place.path}",
            why=f"it holds something else, such as {others[0]!a}",
            fix="Choose a folder that is new or empty.",
        )
