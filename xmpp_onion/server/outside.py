"""How a server is seen from outside of its folder: by Tor, and by who comes through it.

Each finding is words if all is well, else the error.
"""

from pathlib import Path

from xmpp_onion.errors import ControlPortError, ServerError, XmppOnionError
from xmpp_onion.server.clients import ClientKeys
from xmpp_onion.server.doors import find_former_keys, name_service
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.health import Health, State
from xmpp_onion.server.options import Door, Engine, Options
from xmpp_onion.transport import Guard, Published, Tor, read_address

__all__ = ["check_circuits", "check_doors", "check_guards"]

_PUBLISHED = {
    Door.PRIVATE: "published; only who has a key can read where it is met",
    Door.PUBLIC: "published, and a flood is asked for proof of work",
    Door.BOTH: "both are published; the public one asks a flood for proof of work",
}
_AGAIN = "Start it again: xmpp-onion server down DIR, and up"


def check_circuits(health: Health, options: Options) -> str | XmppOnionError:
    """Tell whether guests have limits each, or none but those of their accounts."""
    if options.engine is not Engine.PROSODY:
        return f"not for {options.engine}: it has no limits for circuits"
    if health.state is State.DOWN or health.tells_circuits is None:
        return "not seen: the server does not run, or another program runs it"
    if health.tells_circuits:
        return "Tor tells them apart, so each guest has limits of their own"
    return ServerError(
        "who asks too much of the server is not cut off",
        why="its Tor does not tell circuits apart: it runs as another user, or is told "
        "what to do by somebody else",
        fix="Leave --socks and --control out: the server starts a Tor of its own then.",
    )


async def check_doors(
    tor: Tor, place: Folder, options: Options
) -> str | XmppOnionError:
    """Tell whether the directories of Tor have what the server published."""
    try:
        for key, guard in _doors(place, options).items():
            onion = read_address(key)
            if why := _find_fault(await tor.look_up(onion), guard):
                return ServerError(
                    f"{onion.short} is not published as it should be",
                    why=why,
                    fix=_AGAIN,
                )
    except ControlPortError as error:
        return f"not read back: {error.why or error.what}"
    except XmppOnionError as error:
        return error
    return _PUBLISHED[options.door]


def _find_fault(found: Published, guard: Guard) -> str:
    if found.is_readable != (guard.clients is None):
        return f"it can be read {'without' if found.is_readable else 'only with'} a key"
    if found.is_readable and not found.introductions:
        return "it names no point at which it can be met"
    if guard.asks_for_work and not found.has_work:
        return "it does not ask a flood for proof of work"
    return ""


async def check_guards(
    tor: Tor, place: Folder, options: Options
) -> str | XmppOnionError:
    """Tell whether Tor asks of guests what it was told to."""
    missing = []
    try:
        for key, guard in _doors(place, options).items():
            folder = _service_folder(place, key)
            found = await tor.service_options(folder)
            if not found:
                return "not seen: this Tor has not got the service from its folder"
            wanted = {"HiddenServiceExportCircuitID": "haproxy", **dict(guard.torrc)}
            missing += [
                f"{name} is {found.get(name, 'not set')} and not {value}"
                for name, value in wanted.items()
                if found.get(name) != value
            ]
            if guard.clients is not None:
                missing += _unlisted(folder, guard.clients)
    except ControlPortError as error:
        return f"not seen: {error.why or error.what}"
    except XmppOnionError as error:
        return error
    if missing:
        return ServerError(
            "Tor does not ask of guests what it should",
            why="; ".join(missing),
            fix=_AGAIN,
        )
    return "streams, introductions and work are limited, and circuits told"


def _doors(place: Folder, options: Options) -> dict[Path, Guard]:
    """Return the key of each service that has to be there, and its guard."""
    doors: dict[Path, Guard] = {}
    public = Guard.public()
    former = find_former_keys(place.path, options)
    if options.door is not Door.PRIVATE:
        doors |= dict.fromkeys((place.key_file, *former), public)
    if options.door is not Door.PUBLIC:
        private = Guard.private(ClientKeys(place.path).admitted())
        is_beside = options.door is Door.BOTH
        beside = (place.path / "private-door.key",)
        keys = beside if is_beside else (place.key_file, *former)
        doors |= dict.fromkeys(keys, private)
    return doors


def _service_folder(place: Folder, key: Path) -> Path:
    return name_service((place.path / "onion-service").absolute(), key)


def _unlisted(folder: Path, clients: frozenset[str]) -> list[str]:
    """Return what is wrong with the keys that Tor lets in."""
    found = {
        file.read_text("ascii").strip().rpartition(":")[2]
        for file in (folder / "authorized_clients").glob("*.auth")
    }
    if found == clients:
        return []
    return [
        f"it lets in {len(found)} key(s) and not the {len(clients)} that were given"
    ]
