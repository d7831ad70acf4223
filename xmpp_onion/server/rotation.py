"""A server under another name: a new onion, with all that the old one had.

Its people follow, because the old name says where it went (`xmpp_onion.moves`), and
keeps saying so for a while.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.moves import Move
from xmpp_onion.server import switch
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete
from xmpp_onion.server.lock import kept, locked
from xmpp_onion.server.options import Engine, Former, Options
from xmpp_onion.server.relocation import relocate
from xmpp_onion.transport import create_key, read_address, sign

__all__ = ["DEFAULT_GRACE", "Rotated", "rotate"]

DEFAULT_GRACE: Final = timedelta(days=90)
"""How long the old name says where the server is: for who is away in summer."""
# Each is an onion service of its own, published at each start. Who moves more often
# than that tells people nothing that they could rely on.
_FORMER_LIMIT: Final = 4


class Rotated(NamedTuple):
    """What became of a server.

    Attributes:
        old: The name that it had.
        new: The name that it has.
        certificate: SHA-256 of its certificate, 64 hex digits.
        until: How long the old name says where it went; None if it never does.
    """

    old: OnionAddress
    new: OnionAddress
    certificate: str
    until: datetime | None


async def rotate(
    folder: Path,
    *,
    grace: timedelta | None = DEFAULT_GRACE,
    new_key: Path | None = None,
) -> Rotated:
    """Give the server of ``folder`` another name, with all its people and rooms.

    Passwords stay, invites that nobody used yet have to be made anew. Killed at any
    point, it has its old name or its new one.

    Args:
        folder: The server's folder; it must not run.
        grace: How long the old name tells people where it went; None if never, for a
            key that may be in other hands. That key is removed.
        new_key: An onion key made before; a new one by default.

    Raises:
        ServerError: There is no server, it runs, or is none of Prosody; or the key is
            that of a name which it has or had.
        StoreError: The new folder cannot be written; nothing has changed.
    """
    place = Folder(folder, find_unprivileged_user())
    if not switch.is_pending(place.path):
        place.read_onion()  # or say that there is no server
    async with kept(place), locked(place):
        switch.finish(place.path, place.data)
        complete(place)
        old, options = place.read_onion(), place.read_options()
        _refuse_other_engines(place, options)
        _refuse_other_disk(place)
        with switch.draft(place.path) as draft:
            new = _put_key(draft / "onion.key", new_key)
            _refuse_known(new, {old, *(each.onion for each in options.former)})
            private.write_new(draft / "address", f"{new}\n".encode())
            certificate = place.make_certificate(new)
            now = datetime.now(UTC)
            former = _former(place, draft, grace, now)
            replace(options, former=former).save(draft / "server.json")
            relocate(
                place.data,
                draft / "data",
                old=old,
                new=new,
                owner=place.prosody_uid,
                hand_over=place.give_away,
            )
            switch.commit(place.path)
        switch.finish(place.path, place.data)
        complete(place)
    return Rotated(old, new, certificate, None if grace is None else now + grace)


def _former(
    place: Folder, draft: Path, grace: timedelta | None, now: datetime
) -> tuple[Former, ...]:
    """Return what the names say that the server had, each with the newest name.

    So nobody has to go from name to name: one document leads there, whichever of them
    somebody knows.
    """
    old, new_key = place.read_onion(), draft / "onion.key"
    new = read_address(new_key)
    certificate = place.read_certificate_fingerprint(new)
    keys = {new: new_key, old: place.key_file}
    untils: dict[OnionAddress, datetime] = {}
    for each in place.read_options().former:
        if each.until > now:
            keys[each.onion] = place.path / each.key_name
            untils[each.onion] = each.until
    if grace is not None:
        untils[old] = now + grace
    newest = sorted(untils.items(), key=lambda item: item[1])[-_FORMER_LIMIT:]
    found = []
    for name, until in newest:
        move = Move.write(
            name,
            new,
            at=now,
            certificate=certificate,
            sign=lambda signer, data: sign(keys[signer], data),
        )
        found.append(Former(name, until, move.document))
        if name == old:
            key = private.read_bytes(place.key_file)
            private.write_new(draft / found[-1].key_name, key)
    return tuple(found)


def _put_key(path: Path, given: Path | None) -> OnionAddress:
    if given is None:
        return create_key(path)
    read_address(given)  # or say what is wrong with it
    private.write_new(path, private.read_bytes(given))
    return read_address(path)


def _refuse_other_engines(place: Folder, options: Options) -> None:
    if options.engine is not Engine.PROSODY:
        raise ServerError(
            f"the server in {place.path} keeps its name",
            why="only what Prosody keeps can be given another one by this command",
            fix="Make a new server, and ask people to come there.",
        )


def _refuse_other_disk(place: Folder) -> None:
    """Refuse data that could not be exchanged by giving it another name."""
    if place.data.is_mount() or place.data.is_symlink():
        raise ServerError(
            f"the server in {place.path} keeps its name",
            why=f"{place.data} is a disk of its own, or lies elsewhere",
            fix="Mount the whole folder of the server instead.",
        )


def _refuse_known(new: OnionAddress, known: set[OnionAddress]) -> None:
    if new in known:
        raise ServerError(
            "the server keeps its name",
            why="the key given is that of a name which it has, or had",
            fix="Leave out --new-key: a new one is made.",
        )
